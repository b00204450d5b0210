package gcstest

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// Model describes how the simulated service behaves in time. The zero Model is
// an ideal service: it answers at once and refuses nothing for its rate.
type Model struct {
	// Median and P99 are the median and the 99th percentile of the time that one
	// request takes, which has a lognormal distribution cut off at a sixth of
	// the median. Without a Median there is no latency; a P99 below the Median
	// counts as the Median.
	Median, P99 time.Duration

	// Rate limits the mutations per second of one object name: creations,
	// overwrites, changes of metadata and deletions, of which only the
	// successful ones count. Those beyond are refused with status 429. Zero
	// means no limit. The real service documents one per second.
	Rate float64

	// Burst is how many mutations of a name that has rested pass at once. Zero
	// means 1. It has no meaning without a Rate.
	Burst int

	// Seed makes everything random here repeatable: latencies and generations.
	Seed uint64
}

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// latency draws the time a request takes.
type latency struct {
	median float64 // in nanoseconds
	sigma  float64

	mu  sync.Mutex
	rng *rand.Rand
}

func newLatency(m Model) *latency {
	l := &latency{median: float64(m.Median), rng: rand.New(rand.NewPCG(m.Seed, 1))}
	if m.Median > 0 && m.P99 > m.Median {
		l.sigma = math.Log(float64(m.P99)/float64(m.Median)) / z99
	}
	return l
}

// draw returns the time a request takes until the service applies it and the
// time from there until the answer is back.
func (l *latency) draw() (before, after time.Duration) {
	if l.median <= 0 {
		return 0, 0
	}
	l.mu.Lock()
	z, u := l.rng.NormFloat64(), l.rng.Float64()
	l.mu.Unlock()
	total := max(l.median*math.Exp(l.sigma*z), l.median/6)
	before = time.Duration(total * (0.35 + 0.30*u))
	return before, time.Duration(total) - before
}

// limiter holds each name to a rate of mutations. It keeps one time per name,
// the one at which all of the name's allowance is back, and forgets the names
// for which that has passed.
type limiter struct {
	interval time.Duration // between mutations in the long run; 0: no limit
	slack    time.Duration // how far ahead of its allowance a burst may run
	full     map[string]time.Time
	sweepAt  int // size at which to look for names to forget
}

const minSweep = 1024

func newLimiter(m Model) *limiter {
	l := &limiter{full: make(map[string]time.Time), sweepAt: minSweep}
	if m.Rate > 0 {
		l.interval = time.Duration(float64(time.Second) / m.Rate)
		l.slack = time.Duration(max(m.Burst, 1)-1) * l.interval
	}
	return l
}

// allows reports whether a mutation of name may happen now.
func (l *limiter) allows(name string, now time.Time) bool {
	if l.interval == 0 {
		return true
	}
	return !l.full[name].After(now.Add(l.slack))
}

// spend notes that a mutation of name has happened.
func (l *limiter) spend(name string, now time.Time) {
	if l.interval == 0 {
		return
	}
	from := now
	if t := l.full[name]; t.After(now) {
		from = t
	}
	l.full[name] = from.Add(l.interval)
	if len(l.full) >= l.sweepAt {
		l.sweep(now)
	}
}

// sweep forgets the names whose allowance is whole again. The next sweep comes
// when the rest has doubled, which keeps the cost per mutation constant.
func (l *limiter) sweep(now time.Time) {
	for name, t := range l.full {
		if !t.After(now) {
			delete(l.full, name)
		}
	}
	l.sweepAt = max(2*len(l.full), minSweep)
}
