package clock

import "golang.org/x/sys/unix"

// It goes on while the system is asleep, and is unaffected by adjustments: clock_gettime(3) of macOS.
const clockBoot = unix.CLOCK_MONOTONIC_RAW
