package gcsync_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

// costed is an acquisition that is given back by what hold returns.
type costed struct {
	call  string
	hold  func(b *bed, h *host) (release func())
	other func(b *bed, h *host) (release func()) // what it waits for; nil: the same
}

var costs = []costed{
	{call: "Mutex: Lock, Unlock", hold: func(b *bed, h *host) func() {
		b.lock(h.Mutex("m"))
		return func() { b.unlock(h.Mutex("m")) }
	}},
	{call: "Semaphore: Acquire, Release", hold: func(b *bed, h *host) func() {
		p := b.take(h.Semaphore("s", 1), 1)
		return func() { b.giveBack(p) }
	}},
	{call: "Semaphore: Acquire of 3, Release", hold: func(b *bed, h *host) func() {
		p := b.take(h.Semaphore("s", 3), 3)
		return func() { b.giveBack(p) }
	}},
	{call: "RWMutex: Lock, Unlock", hold: writing},
	{call: "RWMutex: RLock, RUnlock", other: writing, hold: func(b *bed, h *host) func() {
		b.rlock(h.RWMutex("w"))
		return func() { b.runlock(h.RWMutex("w")) }
	}},
	{call: "Election: Campaign, Resign", hold: func(b *bed, h *host) func() {
		t := b.campaign(h, "x")
		return func() { b.resign(t) }
	}},
}

func writing(b *bed, h *host) func() {
	b.wlock(h.RWMutex("w"))
	return func() { b.wunlock(h.RWMutex("w")) }
}

// TestCosts measures what docs/costs.md says.
func TestCosts(t *testing.T) {
	said := costTable(t)
	saw := func(what string, h *host, before gcsync.Usage) {
		t.Helper()
		after := h.Usage()
		got := gcsync.Usage{ClassA: after.ClassA - before.ClassA, ClassB: after.ClassB - before.ClassB, Free: after.Free - before.Free}
		close := func(a, b int64) bool { return a == b || strings.Contains(what, "behind") && max(a-b, b-a) <= 2+b/10 }
		want, ok := said[what]
		// Of several requests at one instant, any may come first, and save another that is free.
		free := close(got.Free, want.Free) || strings.Contains(what, " of 3") && max(got.Free-want.Free, want.Free-got.Free) <= 2
		if !ok || !close(got.ClassA, want.ClassA) || !close(got.ClassB, want.ClassB) || !free {
			t.Errorf("docs/costs.md should have the row\n| %s | %d | %d | %d |", what, got.ClassA, got.ClassB, got.Free)
		}
		delete(said, what)
	}
	always := gcstest.Model{Median: 30 * time.Millisecond} // the same time for every request, so that the counts are exact, but for the waiting
	for _, c := range costs {
		inBubble(t, always, func(b *bed) {
			first, h := b.host("first"), b.host("second")
			c.hold(b, first)() // so that the name is not new
			for _, state := range []string{"cold", "warm"} {
				before := h.Usage()
				c.hold(b, h)()
				time.Sleep(300 * time.Millisecond) // for the look after the release
				saw(c.call+", "+state, h, before)
			}
			time.Sleep(time.Minute)
			other := c.other
			if other == nil {
				other = c.hold
			}
			time.AfterFunc(time.Second, other(b, first))
			before := h.Usage()
			c.hold(b, h)()
			saw(c.call+", behind another for a second", h, before)
		})
	}
	inBubble(t, always, func(b *bed) {
		ctx := context.Background()
		first, h := b.host("first"), b.host("second")
		one := func(what string, call func()) {
			b.Helper()
			before := h.Usage()
			call()
			time.Sleep(time.Minute) // for what goes on in the background
			saw(what, h, before)
		}
		b.lock(first.Mutex("held"))
		one("Mutex: TryLock of a held one", func() { _, _ = h.Mutex("held").TryLock(ctx) })

		work := func(context.Context) error { return nil }
		one("Once: Do that runs it", func() { _ = h.Once("o").Do(ctx, work) })
		one("Once: Do again", func() { _ = h.Once("o").Do(ctx, work) })
		_ = first.Once("other").Do(ctx, work)
		one("Once: Do of what is done, cold", func() { _ = h.Once("other").Do(ctx, work) })

		one("Every: Do that runs it", func() { _, _ = h.Every("e", time.Hour).Do(ctx, work) })
		one("Every: Do again in the slot", func() { _, _ = h.Every("e", time.Hour).Do(ctx, work) })
		_, _ = first.Every("other", time.Hour).Do(ctx, work)
		one("Every: Do of what is done, cold", func() { _, _ = h.Every("other", time.Hour).Do(ctx, work) })

		one("Election: Leader", func() { _, _ = h.Election("led").Leader(ctx) })
	})
	for what := range said {
		t.Errorf("docs/costs.md has a row %q that nothing measures", what)
	}
}

// costTable reads the table.
func costTable(t *testing.T) map[string]gcsync.Usage {
	f, err := os.Open("docs/costs.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := make(map[string]gcsync.Usage)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		cells := strings.Split(strings.Trim(lines.Text(), "| "), " | ")
		var u gcsync.Usage
		if len(cells) != 4 {
			continue
		}
		if _, err := fmt.Sscan(strings.Join(cells[1:], " "), &u.ClassA, &u.ClassB, &u.Free); err == nil {
			table[cells[0]] = u
		}
	}
	return table
}
