// Package clock reads the two clocks that a lease lives by.
//
// A process that is stopped or moved sees one of them betray it: Go's monotonic clock stands still while a virtual
// machine is suspended, and the wall clock jumps when somebody sets it. A lease therefore ends when either of the two
// says so.
package clock

import "time"

// Clock is a source of time. The zero Clock is the machine's own; tests put another in its place.
type Clock struct {
	// Mono returns a time whose differences follow the monotonic clock. Nil means time.Now.
	Mono func() time.Time
	// Wall returns a time whose differences follow the wall clock. Nil means time.Now.
	Wall func() time.Time
}

// Instant is one reading of both clocks.
type Instant struct {
	mono, wall time.Time
}

// Now reads both clocks.
func (c Clock) Now() Instant {
	if c.Mono == nil && c.Wall == nil {
		now := time.Now()
		return Instant{mono: now, wall: now.Round(0)}
	}
	var i Instant
	if c.Mono != nil {
		i.mono = c.Mono()
	} else {
		i.mono = time.Now()
	}
	if c.Wall != nil {
		i.wall = c.Wall().Round(0)
	} else {
		i.wall = time.Now().Round(0)
	}
	return i
}

// Since returns the time that has passed between the reading j and i by the monotonic clock: the one to judge others
// by, because it never runs ahead of real time.
func (i Instant) Since(j Instant) time.Duration { return i.mono.Sub(j.mono) }

// Longest returns the time that has passed between the reading j and i by whichever clock saw more of it: the one to
// judge oneself by.
func (i Instant) Longest(j Instant) time.Duration {
	return max(i.mono.Sub(j.mono), i.wall.Sub(j.wall))
}

// After reports whether i was read after j, by the monotonic clock.
func (i Instant) After(j Instant) bool { return i.mono.After(j.mono) }

// IsZero reports whether i is no reading at all.
func (i Instant) IsZero() bool { return i.mono.IsZero() }

// Wall returns the wall clock's reading, for people.
func (i Instant) Wall() time.Time { return i.wall }
