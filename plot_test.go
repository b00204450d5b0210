package gcsync_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// plot is what a schedule is out to provoke. Faults at random find what goes wrong often; what goes wrong only if two
// rare things meet is found by having one of them happen all the time, and the other at the worst moment.
type plot struct {
	name string

	calm      bool            // nothing goes wrong but that clients are closed in an orderly way: nobody may be given up
	tidy      bool            // no request arrives whose sender has given up on it: no ghost may stay behind
	fresh     bool            // every few seconds everybody comes for a name that was never used before
	fleet     int             // more machines than elsewhere
	crowd     int             // goroutines of the first machine; 0: as many as the others have
	trying    float64         // share of the calls that do not wait
	impatient float64         // share of the calls with a deadline of a few seconds
	long      float64         // share of the holds that last for many seconds
	shortest  bool            // the other holds are very short
	claims    []time.Duration // of the machines
	deceived  float64         // share of the deletes that something answers in the service's place
	slow      []slowness
	strikes   []strike
}

// slowness delays a share of the requests of a kind, or their answers, by up to two seconds.
type slowness struct {
	kind gcstest.Kind
	odds float64
}

// strike is a disaster that befalls a machine at a certain step: within a moment after it has sent a request of a kind.
type strike struct {
	kind   gcstest.Kind
	odds   float64
	what   disaster
	within time.Duration // 0: some round trips
}

type disaster int

const (
	cutOff disaster = iota
	stopped
	suspended
	dies
	leaves
	impostor // something on the way answers in the service's place
	clockSet // somebody sets the wall clock, forward or back
	nothing
	disasters // their number

	tablesTurn // all that are stopped wake up, and all others stop
	othersStop // all but this one stop
	naps       // stops for less than a second
	massDeath  // a third of all die, and some stop
)

var (
	shortClaims = []time.Duration{3 * time.Second, 4 * time.Second}
	allClaims   = []time.Duration{3 * time.Second, 4 * time.Second, 10 * time.Second}
)

// plots are drawn from by chance.
var plots = []plot{
	{
		name: "anything", trying: 0.17, impatient: 0.25, long: 0.08, claims: allClaims,
	},
	{
		name: "anything", trying: 0.17, impatient: 0.25, long: 0.08, claims: allClaims,
		strikes: []strike{{kind: gcstest.Insert, odds: 0.02, what: stopped}, {kind: gcstest.Delete, odds: 0.02, what: stopped}, {kind: gcstest.Patch, odds: 0.1, what: stopped}},
	},
	{ // holders are cut off at the worst moment, and hold on
		name: "lonely holders", impatient: 0.1, long: 0.3, claims: allClaims,
		strikes: []strike{{kind: gcstest.Patch, odds: 0.3, what: stopped}, {kind: gcstest.Patch, odds: 0.2, what: cutOff}, {kind: gcstest.Get, odds: 0.01, what: cutOff}, {kind: gcstest.Delete, odds: 0.1, what: stopped}},
	},
	{ // everything is late
		name: "slow", impatient: 0.05, long: 0.1, claims: allClaims,
		slow:    []slowness{{gcstest.Get, 0.1}, {gcstest.Insert, 0.15}, {gcstest.Delete, 0.4}, {gcstest.Patch, 0.1}, {gcstest.List, 0.1}},
		strikes: []strike{{kind: gcstest.Delete, odds: 0.1, what: othersStop, within: 2 * time.Second}},
	},
	{ // who has released sleeps through the next few turns, while ghosts come
		name: "naps", claims: []time.Duration{10 * time.Second},
		slow:    []slowness{{gcstest.Insert, 0.3}},
		strikes: []strike{{kind: gcstest.Delete, odds: 0.4, what: naps, within: 60 * time.Millisecond}},
	},
	{ // what was released is still there, while ghosts come
		name: "false releases", shortest: true, claims: allClaims, deceived: 0.2,
		slow:    []slowness{{gcstest.Insert, 0.3}},
		strikes: []strike{{kind: gcstest.Insert, odds: 0.1, what: naps}},
	},
	{ // a third of the row dies at once
		name: "mass death", fleet: 6, impatient: 0.1, long: 0.2, claims: allClaims,
		strikes: []strike{{kind: gcstest.Insert, odds: 0.03, what: massDeath, within: 2 * time.Second}},
	},
	{ // nobody waits, and who has drawn a ticket sleeps on it
		name: "tries", trying: 0.95, impatient: 0.3, shortest: true, claims: shortClaims,
		slow:    []slowness{{gcstest.Insert, 0.4}},
		strikes: []strike{{kind: gcstest.Insert, odds: 0.15, what: stopped, within: 30 * time.Millisecond}},
	},
	{ // many names, each of which begins
		name: "fresh names", fresh: true, tidy: true, shortest: true, claims: []time.Duration{10 * time.Second},
		slow: []slowness{{gcstest.Insert, 0.15}, {gcstest.List, 0.2}},
	},
	{ // one process against the others
		name: "crowd", calm: true, crowd: 6, shortest: true, claims: allClaims,
	},
	{ // clients come and go
		name: "comings and goings", calm: true, claims: allClaims, long: 0.05,
		strikes: []strike{{kind: gcstest.Insert, odds: 0.2, what: leaves}, {kind: gcstest.Get, odds: 0.01, what: leaves}},
	},
}

// prepare makes a machine's requests go wrong as the plot wants it.
func (p *plot) prepare(m *machine, rng *rand.Rand) {
	m.faults.Always(func(op gcstest.Op) bool {
		m.w.ref.sending(m, op)
		for _, s := range p.strikes {
			if op.Kind == s.kind && rng.Float64() < s.odds {
				within := cmp.Or(s.within, 150*time.Millisecond)
				time.AfterFunc(time.Millisecond+time.Duration(rng.Int64N(int64(within))), func() { m.w.strike(m, s.what) })
			}
		}
		return false
	}, gcstest.Fault{})
	m.faults.Always(func(op gcstest.Op) bool {
		return op.Kind == gcstest.Delete && !m.w.over.Load() && rng.Float64() < p.deceived
	}, gcstest.Fault{Kind: gcstest.Foreign, Status: http.StatusNoContent})
	for _, s := range p.slow {
		for _, kind := range []gcstest.FaultKind{gcstest.Delay, gcstest.DelayAnswer} {
			for range 3 {
				m.faults.Always(func(op gcstest.Op) bool {
					return op.Kind == s.kind && !m.w.over.Load() && rng.Float64() < s.odds/6
				}, gcstest.Fault{Kind: kind, Delay: time.Duration(rng.Int64N(int64(1700 * time.Millisecond)))})
			}
		}
	}
}

// strike asks for a disaster now.
func (w *world) strike(m *machine, what disaster) {
	select {
	case w.strikes <- aimed{m, what}:
	default: // there is enough going on
	}
}

// aimed is a disaster and its victim.
type aimed struct {
	m    *machine
	what disaster
}

// torment lets disasters happen until the end.
func (w *world) torment(end time.Duration) {
	over := time.After(end)
	for {
		pause := time.Duration(w.rng.Int64N(int64(5 * time.Second)))
		select {
		case <-over:
			return
		case a := <-w.strikes:
			w.befall(a.m, a.what)
		case <-time.After(pause):
			m := w.machines[w.rng.IntN(len(w.machines))]
			switch {
			case !w.plot.calm && !w.plot.tidy:
				w.befall(m, disaster(w.rng.IntN(int(disasters))))
			case w.plot.calm && w.rng.IntN(4) == 0:
				w.befall(m, leaves)
			}
		}
	}
}

// befall lets a disaster happen to a machine.
func (w *world) befall(m *machine, what disaster) {
	if m != nil && m.ctx.Err() != nil {
		return
	}
	while := time.Duration(w.rng.Int64N(int64(20 * time.Second)))
	switch what {
	case cutOff:
		w.logf("machine %d is cut off for %v", m.id, while)
		m.faults.Partition(true)
		time.AfterFunc(while, func() { m.faults.Partition(false) })
	case impostor:
		fault := gcstest.Fault{Kind: gcstest.Foreign, Status: foreignStatuses[w.rng.IntN(len(foreignStatuses))], Body: gcstest.Body(w.rng.IntN(int(gcstest.BodyCut) + 1))}
		if w.rng.IntN(4) == 0 {
			fault.Kind = gcstest.ForeignAnswer
		}
		w.logf("machine %d is answered by something else for %v: %+v", m.id, while, fault)
		time.AfterFunc(while, m.faults.Always(nil, fault))
	case clockSet:
		to := time.Duration(w.rng.Int64N(int64(4*time.Hour))) - 2*time.Hour
		w.logf("machine %d has its wall clock set to %v ahead", m.id, to)
		m.step.Store(int64(to))
	case stopped:
		w.logf("machine %d stops for %v", m.id, while)
		m.sleep(while)
	case suspended:
		w.logf("machine %d is suspended for %v", m.id, while)
		m.suspend()
		time.AfterFunc(while, m.resume)
	case dies:
		w.logf("machine %d dies, and comes back", m.id)
		m.faults.Crash()
		w.ref.forget(m)
		m.halt(0)
		w.replace(m)
	case leaves:
		w.logf("machine %d leaves, and comes back", m.id)
		m.close(w.plot.manners(w.rng))
		w.ref.forget(m)
		m.halt(0)
		w.replace(m)
	case naps:
		m.sleep(while / 20)
	case massDeath:
		for _, m := range slices.Clone(w.machines) {
			switch w.rng.IntN(6) {
			case 0, 1:
				w.befall(m, dies)
			case 2:
				w.befall(m, stopped)
			}
		}
	case othersStop:
		w.logf("all but machine %d sleep for %v", m.id, while)
		for _, other := range w.machines {
			if other != m {
				other.sleep(while)
			}
		}
	case tablesTurn:
		w.logf("those who slept wake up, and the others sleep for %v", while)
		for _, m := range w.machines {
			if m.sleeping.Swap(false) {
				m.faults.Resume()
			} else {
				m.sleep(while)
			}
		}
	}
}

// foreignStatuses are those that something on the way answers with for a while.
var foreignStatuses = []int{200, 204, 301, 302, 400, 401, 403, 404, 412, 429, 502}

// sleep stops a machine for a while.
func (m *machine) sleep(while time.Duration) {
	m.sleeping.Store(true)
	m.faults.Pause()
	time.AfterFunc(while, func() {
		m.sleeping.Store(false)
		m.faults.Resume()
	})
}

// manners is for how long a client that closes is waited for.
func (p *plot) manners(rng *rand.Rand) time.Duration {
	if p.calm {
		return time.Minute
	}
	return time.Duration(rng.Int64N(int64(2 * time.Second)))
}

// replace boots a machine in the place of one that is no more.
func (w *world) replace(m *machine) {
	for i, old := range w.machines {
		if old == m {
			w.machines[i] = w.boot(m.id + 10)
		}
	}
}

// name chooses what to come for, and comes when it is time.
func (p *plot) nameFor(m *machine, rng *rand.Rand) string {
	w := m.w
	if !p.fresh {
		return w.names[rng.IntN(len(w.names))]
	}
	const age = 3 * time.Second
	round := time.Since(w.start)/age + 1
	time.Sleep(time.Until(w.start.Add(round*age + time.Duration(rng.Int64N(int64(150*time.Millisecond))))))
	return w.use(fmt.Sprintf("name-%d", round))
}
