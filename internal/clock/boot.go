package clock

import "time"

// booted is the machine's clock that counts through suspensions, if it has one, and how it stood when the program began.
type booted struct {
	there bool
	mono  time.Time
	boot  time.Duration
}

var machine = begin()

func begin() booted {
	boot, there := sinceBoot()
	return booted{there, time.Now(), boot}
}

// read returns the clock's reading, or, where there is none, that of the wall clock.
//
// In a testing/synctest bubble, too, it is the wall clock, which is as virtual as all the rest there. Such a bubble gives
// itself away: its time is years before the program began, or ahead of a clock that can only have counted more.
func (b *booted) read(now time.Time) time.Duration {
	if b.there {
		boot, ok := sinceBoot()
		if runs := now.Sub(b.mono); ok && runs >= 0 && runs < boot-b.boot+time.Minute {
			return boot
		}
	}
	return time.Duration(now.UnixNano())
}
