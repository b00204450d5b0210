package clock

import "golang.org/x/sys/unix"

// "Similar to CLOCK_MONOTONIC, except that it also includes any time that the system is suspended": clock_gettime(2).
const clockBoot = unix.CLOCK_BOOTTIME
