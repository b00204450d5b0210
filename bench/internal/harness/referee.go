package harness

import (
	"slices"
	"sync"
	"time"
)

// A referee watches the goroutines that want the lock and writes down what happens. It sees all of them on one clock,
// so that what it says about exclusion and order needs no trust in the lock.
//
// What it measures lies between two grants: the first after the warm-up and the last before the end. So it covers whole
// cycles, and no part of an acquisition whose other part was not counted. If at the end nobody has got the lock for longer
// than ever before, that time counts as well: a lock that got stuck is not a fast one.
type referee struct {
	scenario Scenario
	usage    func() Usage // requests of all clients so far
	from     time.Time    // end of the warm-up

	mu       sync.Mutex
	closed   bool
	players  []player
	waiting  int
	load     int64       // of those who believe to hold; more than the capacity is an overlap
	token    int64       // the greatest granted
	released []time.Time // calls of Unlock at which somebody was waiting, and that nobody has gained by yet
	vanished time.Time   // when the last holder did; zero if somebody has got the lock since
	grants   int         // since the warm-up

	overlaps, regressions, lost, crashes int64 // since the beginning, warm-up included

	first, last           time.Time     // the grants that the measurement lies between
	gap                   time.Duration // the longest between two of them
	firstUsage, lastUsage Usage
	handoffs, recoveries  []time.Duration
	acquisitions          int64
	waited                []time.Duration
	longest               time.Duration // wait, those that never ended included
	again                 int64         // calls that failed and were tried again
	spans                 []Span
	failures              int
	failure               error // the first
}

// player is one goroutine.
type player struct {
	weight       int64
	since        time.Time // when it began to wait; zero: it does not
	entered      time.Time
	acquisitions int64
}

// A Span says who held the lock when, in seconds since the warm-up.
type Span struct {
	Player   int     `json:"player"`
	From     float64 `json:"from"`
	To       float64 `json:"to"`
	Vanished bool    `json:"vanished,omitempty"`
}

// maxSpans is how many are kept: as many as a picture can show.
const maxSpans = 2000

func newReferee(s Scenario, from time.Time, usage func() Usage) *referee {
	r := &referee{scenario: s, usage: usage, from: from, players: make([]player, s.players())}
	for i := range r.players {
		_, r.players[i].weight = s.want(i)
	}
	return r
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

// triesAgain is told that a call of player i's has failed, and that it goes on waiting.
func (r *referee) triesAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again++
}

// enters is told that player i's Lock has returned. It decides whether the player is to vanish.
func (r *referee) enters(i int, token int64) (vanish bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.players[i]
	wait := now.Sub(p.since)
	p.since, p.entered = time.Time{}, now
	r.waiting--

	capacity := r.scenario.capacity()
	alone := p.weight == capacity
	r.load += p.weight
	if r.load > capacity {
		r.overlaps++
	}
	if token != 0 && alone && r.scenario.Names == 0 { // those who share may be told in any order
		if token <= r.token {
			r.regressions++
		}
		r.token = max(r.token, token)
	}
	handoff, handed := r.took(now, alone)
	recovery, recovered := r.recovered(now)

	if r.closed || now.Before(r.from) {
		return false
	}
	r.grants++
	if r.measures(p, now, wait) {
		if handed {
			r.handoffs = append(r.handoffs, handoff)
		}
		if recovered {
			r.recoveries = append(r.recoveries, recovery)
		}
	}
	return r.scenario.Crash > 0 && r.grants%r.scenario.Crash == 1
}

// measures notes that a player has got what it waited for. It reports false if that is what the measurement begins with.
func (r *referee) measures(p *player, now time.Time, wait time.Duration) bool {
	usage := r.usage()
	if r.first.IsZero() {
		r.first, r.firstUsage = now, usage
		r.last, r.lastUsage = now, usage
		return false
	}
	r.gap = max(r.gap, now.Sub(r.last))
	r.last, r.lastUsage = now, usage
	r.acquisitions++
	p.acquisitions++
	r.waited = append(r.waited, wait)
	r.longest = max(r.longest, wait)
	return true
}

// took returns how long it took to hand on what was released, if anything was. Who gets all of the lock had to wait for
// the last release; who gets a part, for the first.
func (r *referee) took(now time.Time, all bool) (handoff time.Duration, handed bool) {
	n := len(r.released)
	switch {
	case n == 0:
		return 0, false
	case all:
		handoff = now.Sub(r.released[n-1])
		r.released = r.released[:0]
	default:
		handoff = now.Sub(r.released[0])
		r.released = slices.Delete(r.released, 0, 1)
	}
	return handoff, true
}

// recovered returns how long nobody held the lock because its holder had vanished, if it had.
func (r *referee) recovered(now time.Time) (recovery time.Duration, recovered bool) {
	if r.vanished.IsZero() {
		return 0, false
	}
	recovery = now.Sub(r.vanished)
	r.vanished = time.Time{}
	return recovery, true
}

// leaves is told that player i calls Unlock now, or has seen that it lost the lock: it believes no longer.
func (r *referee) leaves(i int, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left(i, false)
	switch {
	case lost:
		r.lost++
	case r.waiting > 0:
		r.released = append(r.released, time.Now())
	}
}

// vanishes is told that player i, who holds the lock, is no more: it believes nothing.
func (r *referee) vanishes(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left(i, true)
	r.crashes++
	r.vanished = time.Now()
}

func (r *referee) left(i int, vanished bool) {
	p := &r.players[i]
	r.load -= p.weight
	if !p.entered.Before(r.from) && !r.closed && len(r.spans) < maxSpans {
		r.spans = append(r.spans, Span{i, p.entered.Sub(r.from).Seconds(), time.Since(r.from).Seconds(), vanished})
	}
}

// foundLost is told that an Unlock found that the lock had been lost.
func (r *referee) foundLost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost++
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
	if r.closed {
		return
	}
	r.closed = true
	if !r.first.IsZero() && now.Sub(r.last) > r.gap {
		r.last, r.lastUsage = now, r.usage()
	}
	for _, p := range r.players {
		if !p.since.IsZero() {
			r.longest = max(r.longest, now.Sub(p.since))
		}
	}
	if !r.vanished.IsZero() { // still not recovered: at least so long
		r.recoveries = append(r.recoveries, now.Sub(r.vanished))
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
