package main

import (
	"slices"
	"sync"
	"time"

	"github.com/gcsync/gcsync"
)

// A referee watches the goroutines that want the lock and writes down what happens. It sees all of them on one clock,
// so that what it says about exclusion and order needs no trust in the lock.
//
// What it measures lies between two grants: the first after the warm-up and the last before the end. So it covers whole
// cycles, and no part of an acquisition whose other part was not counted.
type referee struct {
	usage func() gcsync.Usage // requests of all clients so far
	from  time.Time           // end of the warm-up

	mu       sync.Mutex
	closed   bool
	players  []player
	waiting  int
	inside   int       // believe to hold the lock; more than one is an overlap
	token    int64     // the greatest granted
	released time.Time // when the last holder called Unlock, if somebody was waiting then; otherwise zero

	overlaps, regressions int64 // since the beginning, warm-up included

	first, last           time.Time // the grants that the measurement lies between
	firstUsage, lastUsage gcsync.Usage
	handoffs              []time.Duration
	acquisitions          int64
	longest               time.Duration // wait
	failures              int
	failure               error // the first
}

// player is one goroutine.
type player struct {
	since        time.Time // when it began to wait; zero: it does not
	acquisitions int64
}

func newReferee(players int, from time.Time, usage func() gcsync.Usage) *referee {
	return &referee{usage: usage, from: from, players: make([]player, players)}
}

// waits is told that player i calls Lock now.
func (r *referee) waits(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.players[i].since = time.Now()
	r.waiting++
}

// gaveUp is told that player i's Lock has failed.
func (r *referee) gaveUp(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.players[i].since = time.Time{}
	r.waiting--
}

// enters is told that player i's Lock has returned.
func (r *referee) enters(i int, token int64) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.players[i]
	wait := now.Sub(p.since)
	p.since = time.Time{}
	r.waiting--

	r.inside++
	if r.inside > 1 {
		r.overlaps++
	}
	if token != 0 {
		if token <= r.token {
			r.regressions++
		}
		r.token = max(r.token, token)
	}

	if r.closed || now.Before(r.from) {
		return
	}
	usage := r.usage()
	if r.first.IsZero() {
		r.first, r.firstUsage = now, usage
		return
	}
	r.last, r.lastUsage = now, usage
	r.acquisitions++
	p.acquisitions++
	r.longest = max(r.longest, wait)
	if !r.released.IsZero() {
		r.handoffs = append(r.handoffs, now.Sub(r.released))
	}
}

// leaves is told that player i calls Unlock now, or has seen that it lost the lock: it believes no longer.
func (r *referee) leaves(i int, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside--
	r.released = time.Time{}
	if r.waiting > 0 && !lost {
		r.released = time.Now()
	}
}

// failed is told of a call that failed.
func (r *referee) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures++
	if r.failure == nil {
		r.failure = err
	}
}

// counted returns how many acquisitions were measured so far.
func (r *referee) counted() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acquisitions
}

// close ends the measurement. It goes on to watch over exclusion and order.
func (r *referee) close() {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, p := range r.players {
		if !p.since.IsZero() {
			r.longest = max(r.longest, now.Sub(p.since))
		}
	}
}

// jain is Jain's index of fairness over the acquisitions of all players: (sum x)^2 / (n * sum x^2).
func (r *referee) jain() float64 {
	var sum, squares float64
	for _, p := range r.players {
		x := float64(p.acquisitions)
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(r.players)) * squares)
}

// percentile returns the smallest sample that at least the fraction q of the samples does not exceed. It sorts them.
func percentile(samples []time.Duration, q float64) time.Duration {
	slices.Sort(samples)
	i := int(q*float64(len(samples))+0.999999) - 1
	return samples[min(max(i, 0), len(samples)-1)]
}
