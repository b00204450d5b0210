package clock

import (
	"time"

	"golang.org/x/sys/windows"
)

// sinceBoot reads GetTickCount64, which includes the time that the system spends in sleep or hibernation
// (https://learn.microsoft.com/windows/win32/sysinfo/windows-time).
func sinceBoot() (time.Duration, bool) { return windows.DurationSinceBoot(), true }
