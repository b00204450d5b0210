package gcstest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Faults stands between one simulated machine and the service and makes its
// requests go wrong. Make one for each machine, and pass it to [Server.Client]
// or [Listener.Client]; for any other transport there is [Faults.Wrap].
//
// What decides on a request is, in this order, the first script with a fault
// left for it, the first standing rule for it, and chance.
//
// Requests are carried out in the background with a context of their own, as
// those of a real network are, which no longer listens to its caller once
// something is sent. [Faults.Close] waits for them.
type Faults struct {
	background group
	crashed    chan struct{}

	mu      sync.Mutex
	rng     *rand.Rand
	seq     int
	scripts []*script
	rules   []*rule
	profile Profile
	counts  [faultKinds]int
	skew    skew
	cut     chan struct{} // non-nil while partitioned; closed when healed
	stopped chan struct{} // non-nil while paused; closed on resumption
	dead    bool
}

type script struct {
	match  Match
	faults []Fault
}

type rule struct {
	match Match
	fault Fault
}

// NewFaults returns faults of which none happens yet. The seed makes those of
// [Faults.Random] repeatable.
func NewFaults(seed uint64) *Faults {
	return &Faults{
		crashed: make(chan struct{}),
		rng:     rand.New(rand.NewPCG(seed, 3)),
	}
}

// Wrap returns a transport that sends over base what the faults let through.
// One Faults may wrap several transports.
func (f *Faults) Wrap(base http.RoundTripper) http.RoundTripper {
	return &faultyTransport{faults: f, base: base}
}

// Script has the next requests that match go wrong, each with one of the
// faults, in order. A nil match takes every request.
func (f *Faults) Script(m Match, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts = append(f.scripts, &script{m, slices.Clone(faults)})
}

// Always has every request that matches go wrong, until the returned function
// is called. A nil match takes every request.
func (f *Faults) Always(m Match, fault Fault) (cancel func()) {
	r := &rule{m, fault}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.rules = slices.DeleteFunc(f.rules, func(x *rule) bool { return x == r })
	}
}

// Random has requests go wrong by chance. The zero Profile ends that. It panics
// if the odds make no sense.
func (f *Faults) Random(p Profile) {
	sum := 0.0
	for kind, odds := range p.Odds {
		if kind <= NoFault || kind >= faultKinds || odds < 0 {
			panic(fmt.Sprintf("gcstest: odds of %v for %v", odds, kind))
		}
		sum += odds
	}
	if sum > 1+1e-9 {
		panic(fmt.Sprintf("gcstest: the odds add up to %v", sum))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.profile = p
}

// Counts returns how many requests have met each kind of fault so far.
func (f *Faults) Counts() map[FaultKind]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := make(map[FaultKind]int)
	for kind, n := range f.counts {
		if n > 0 && FaultKind(kind) != NoFault {
			m[FaultKind(kind)] = n
		}
	}
	return m
}

// Wait returns once nothing is under way in the background: no request, ghost
// or duplicate.
func (f *Faults) Wait() { f.background.wait() }

// Close crashes the machine and waits for what it has under way.
func (f *Faults) Close() {
	f.Crash()
	f.Wait()
}

// choose decides what happens to a request.
func (f *Faults) choose(op *Op) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	op.Seq = f.seq
	fault := f.pick(op)
	f.counts[fault.Kind]++
	return fault
}

func (f *Faults) pick(op *Op) Fault {
	for i, s := range f.scripts {
		if len(s.faults) == 0 || s.match != nil && !s.match(*op) {
			continue
		}
		fault := s.faults[0]
		if s.faults = s.faults[1:]; len(s.faults) == 0 {
			f.scripts = slices.Delete(f.scripts, i, i+1)
		}
		return fault
	}
	for _, r := range f.rules {
		if r.match == nil || r.match(*op) {
			return r.fault
		}
	}
	return f.chance()
}

// chance draws a fault. It draws the same numbers whatever the outcome, so that
// one fault more or less does not change all that follow.
func (f *Faults) chance() Fault {
	if len(f.profile.Odds) == 0 {
		return Fault{}
	}
	p, d, s, b := f.rng.Float64(), f.rng.Float64(), f.rng.IntN(1<<16), f.rng.IntN(int(bodies))
	for kind := NoFault + 1; kind < faultKinds; kind++ {
		if p -= f.profile.Odds[kind]; p < 0 {
			span := f.profile.MaxDelay - f.profile.MinDelay
			statuses := ownStatuses
			if kind == Foreign || kind == ForeignAnswer {
				statuses = foreignStatuses
			}
			return Fault{
				Kind:   kind,
				Status: statuses[s%len(statuses)],
				Body:   Body(b),
				Delay:  f.profile.MinDelay + time.Duration(d*float64(max(span, 0))),
			}
		}
	}
	return Fault{}
}

// The statuses that faults by chance come with: of a service that is overloaded or broken, and of what stands in its way.
var (
	ownStatuses     = []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	foreignStatuses = []int{
		http.StatusNotFound, http.StatusNotFound, http.StatusOK, http.StatusOK, http.StatusNoContent,
		http.StatusForbidden, http.StatusUnauthorized, http.StatusPreconditionFailed, http.StatusNotModified,
		http.StatusBadRequest, http.StatusTooManyRequests, http.StatusFound, http.StatusBadGateway,
	}
)
