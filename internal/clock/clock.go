// Package clock reads the two clocks that a lease lives by.
//
// Go's monotonic clock may stand still while the machine is suspended, and the wall clock jumps when somebody sets it. A
// lease therefore ends when either of two clocks says so: the monotonic one, and one that counts through suspensions. Where
// the system has such a clock that nobody can set, that is it: CLOCK_BOOTTIME of Linux, CLOCK_MONOTONIC_RAW of macOS,
// GetTickCount64 of Windows. Elsewhere it is the wall clock, and to set that forward ends leases early, as if the machine had
// been suspended.
package clock

import "time"

// Clock is a source of time. The zero Clock is the machine's own; tests put another in its place.
type Clock struct {
	// Mono returns a time whose differences follow the monotonic clock. Nil means time.Now.
	Mono func() time.Time
	// Wall returns a time whose differences follow the wall clock. Nil means time.Now.
	Wall func() time.Time
	// Boot returns the reading of the clock that counts through suspensions. Nil means the machine's own, or the wall clock if
	// Mono or Wall is set.
	Boot func() time.Duration
}

// Instant is one reading of the clocks.
type Instant struct {
	mono, wall time.Time
	boot       time.Duration
}

// Now reads the clocks.
func (c Clock) Now() Instant {
	now := time.Now()
	i := Instant{mono: now, wall: now.Round(0)}
	if c.Mono != nil {
		i.mono = c.Mono()
	}
	if c.Wall != nil {
		i.wall = c.Wall().Round(0)
	}
	switch {
	case c.Boot != nil:
		i.boot = c.Boot()
	case c.Mono == nil && c.Wall == nil:
		i.boot = machine.read(now)
	default:
		i.boot = time.Duration(i.wall.UnixNano())
	}
	return i
}

// Since returns the time that has passed between the reading j and i by the monotonic clock: the one to judge others
// by, because it never runs ahead of real time.
func (i Instant) Since(j Instant) time.Duration { return i.mono.Sub(j.mono) }

// Longest returns the time that has passed between the reading j and i by whichever clock saw more of it: the one to
// judge oneself by.
func (i Instant) Longest(j Instant) time.Duration {
	return max(i.mono.Sub(j.mono), i.boot-j.boot)
}

// After reports whether i was read after j, by the monotonic clock.
func (i Instant) After(j Instant) bool { return i.mono.After(j.mono) }

// IsZero reports whether i is no reading at all.
func (i Instant) IsZero() bool { return i.mono.IsZero() }

// Wall returns the wall clock's reading, for people.
func (i Instant) Wall() time.Time { return i.wall }
