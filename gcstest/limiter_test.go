package gcstest

import (
	"strconv"
	"testing"
	"time"
)

// TestLimiterForgets checks that names that rest do not stay in memory.
func TestLimiterForgets(t *testing.T) {
	l := newLimiter(Model{Rate: 1})
	now := time.Unix(0, 0)
	for i := range 100_000 {
		l.spend(strconv.Itoa(i), now)
		now = now.Add(10 * time.Millisecond) // about 100 names are within their second
		if len(l.full) > minSweep {
			t.Fatalf("%d names are remembered after %d", len(l.full), i)
		}
	}
	// Many busy names must not be forgotten, and not looked through each time.
	for i := range 10_000 {
		l.spend("busy"+strconv.Itoa(i), now)
	}
	for i := range 10_000 {
		if l.allows("busy"+strconv.Itoa(i), now) {
			t.Fatal("a busy name was forgotten")
		}
	}
}
