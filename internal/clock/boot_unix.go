//go:build linux || darwin

package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot reads the clock that counts through suspensions and that nobody can set.
func sinceBoot() (time.Duration, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(clockBoot, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
