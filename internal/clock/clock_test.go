package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

// The machine's own clock for suspensions is read where there is one, and follows the monotonic one.
func TestMachine(t *testing.T) {
	boot, there := sinceBoot()
	if !there {
		t.Skip("this system has none")
	}
	a := Clock{}.Now()
	if a.boot < boot || a.boot > boot+time.Hour {
		t.Errorf("read %v at a moment after %v", a.boot, boot)
	}
	for range 1000 {
		b := Clock{}.Now()
		if d := b.boot - a.boot; d < 0 || b.Longest(a) < b.Since(a) {
			t.Fatalf("runs backwards: %v", d)
		}
		a = b
	}
}

// In a bubble time is virtual, whatever clock is asked.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := Clock{}.Now()
		time.Sleep(time.Hour)
		b := Clock{}.Now()
		if b.Longest(a) != time.Hour || b.Since(a) != time.Hour || b.boot-a.boot != time.Hour {
			t.Errorf("an hour lasts %v, %v, %v", b.Longest(a), b.Since(a), b.boot-a.boot)
		}
	})
}

// Somebody who sets the wall clock changes nothing where there is a better one, and a suspension is seen by that one alone.
func TestLongest(t *testing.T) {
	start := time.Now()
	mono, wall, boot := start, start, time.Duration(0)
	c := Clock{Mono: func() time.Time { return mono }, Wall: func() time.Time { return wall }, Boot: func() time.Duration { return boot }}
	a := c.Now()
	wall = wall.Add(time.Hour)
	if d := c.Now().Longest(a); d != 0 {
		t.Errorf("%v have passed because somebody set the wall clock", d)
	}
	boot += time.Minute
	if d := c.Now().Longest(a); d != time.Minute {
		t.Errorf("%v have passed in a suspension of a minute", d)
	}
	c.Boot = nil
	a = c.Now()
	wall = wall.Add(time.Hour)
	if d := c.Now().Longest(a); d != time.Hour {
		t.Errorf("without a better clock, the wall clock's hour is %v", d)
	}
}
