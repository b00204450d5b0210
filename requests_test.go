package gcsync_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

// costed is one row of docs/costs.md: an acquisition with its release.
type costed struct {
	row string
	do  func(b *bed, h *host)
}

// costs are the operations, each in a state of the bucket and of the client that prepare leads to.
var costs = []costed{
	{"Mutex: Lock, Unlock", func(b *bed, h *host) { b.lock(h.Mutex("m")); b.unlock(h.Mutex("m")) }},
	{"Mutex: TryLock of a held one", func(b *bed, h *host) {
		if ok, err := h.Mutex("held").TryLock(b.Context()); ok || err != nil {
			b.Error(ok, err)
		}
	}},
	{"Semaphore: Acquire, Release", func(b *bed, h *host) { b.giveBack(b.take(h.Semaphore("s", 4), 1)) }},
	{"RWMutex: Lock, Unlock", func(b *bed, h *host) { b.wlock(h.RWMutex("w")); b.wunlock(h.RWMutex("w")) }},
	{"RWMutex: RLock, RUnlock", func(b *bed, h *host) { b.rlock(h.RWMutex("r")); b.runlock(h.RWMutex("r")) }},
}

// TestCosts measures what docs/costs.md says.
func TestCosts(t *testing.T) {
	said := costTable(t)
	measured := make(map[string]gcsync.Usage)
	inBubble(t, gcstest.Model{Median: 30 * time.Millisecond}, func(b *bed) {
		b.lock(b.host("holder").Mutex("held"))
		for _, c := range costs {
			spent := func(h *host) gcsync.Usage {
				before := h.Usage()
				c.do(b, h)
				after := h.Usage()
				return gcsync.Usage{ClassA: after.ClassA - before.ClassA, ClassB: after.ClassB - before.ClassB, Free: after.Free - before.Free}
			}
			c.do(b, b.host("first")) // so that the name has its queue
			h := b.host("second")
			measured[c.row+", cold"] = spent(h)
			measured[c.row+", warm"] = spent(h)
		}
	})
	for what, got := range measured {
		want, ok := said[what]
		if row := fmt.Sprintf("| %s | %d | %d | %d |", what, got.ClassA, got.ClassB, got.Free); !ok || got != want {
			t.Errorf("docs/costs.md should have the row\n%s", row)
		}
		delete(said, what)
	}
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
