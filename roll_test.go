package gcsync_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/queue"
)

// rowOfDead returns a host that holds the mutex m, with so many behind it who have died while they waited.
func (b *bed) rowOfDead(n int) *host {
	b.Helper()
	x := b.host("x")
	b.lock(x.Mutex("m"))
	for range n {
		w := b.host("w")
		go w.Mutex("m").Lock(context.Background())
		time.Sleep(500 * time.Millisecond)
		w.vanish()
	}
	return x
}

// However many waiters have died, they cost whoever comes next little more than one claim, together.
func TestTheDeadCostOneClaimTogether(t *testing.T) {
	for _, dead := range []int{1, 50} {
		inBubble(t, typical, func(b *bed) {
			x := b.rowOfDead(dead)
			b.unlock(x.Mutex("m"))
			y := b.host("y")
			began := time.Now()
			b.lock(y.Mutex("m"))
			b.within("the lock", began, 0, 13*time.Second)
			if struck := y.events.count(queue.Struck); struck != dead-1 {
				b.Errorf("%d of %d dead were struck from the roll", struck, dead-1)
			}
			b.unlock(y.Mutex("m"))
		})
	}
}

// The same if some of them are only paused, come back sooner or later, or were closed. Those who live get their turns, one
// at a time.
func TestTheDeadAndTheLivingInOneRow(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		var inside, turns atomic.Int32
		wait := func(h *host) {
			m := h.Mutex("m")
			if m.Lock(context.Background()) != nil {
				return
			}
			if inside.Add(1) > 1 {
				b.Error("two hold it")
			}
			turns.Add(1)
			inside.Add(-1)
			if err := m.Unlock(context.Background()); err != nil {
				b.Error(err)
			}
		}
		x := b.host("x")
		b.lock(x.Mutex("m"))
		lives := int32(0)
		for i := range 50 {
			w := b.host("w")
			go wait(w)
			time.Sleep(500 * time.Millisecond)
			switch i % 10 {
			case 0, 1, 5, 6:
				w.vanish()
			case 2, 7, 8: // comes back when all is over
				w.faults.Pause()
				time.AfterFunc(time.Minute, w.faults.Resume)
				lives++
			case 3: // comes back while the others are waited for
				w.faults.Pause()
				time.AfterFunc(time.Duration(50-i)*500*time.Millisecond+time.Duration(i)*200*time.Millisecond, w.faults.Resume)
				lives++
			case 4, 9:
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				w.Close(ctx)
				cancel()
			}
		}
		b.unlock(x.Mutex("m"))
		y := b.host("y")
		began := time.Now()
		b.lock(y.Mutex("m"))
		b.within("the lock, with the turns of five who are before it and live", began, 0, 13500*time.Millisecond)
		b.unlock(y.Mutex("m"))
		time.Sleep(3 * time.Minute)
		if turns.Load() != lives {
			b.Errorf("%d of %d who live had their turn", turns.Load(), lives)
		}
	})
}

// Where nobody dies the roll is not called, however long somebody holds.
func TestTheLivingAreNotCalled(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		hosts := []*host{x}
		b.lock(x.Mutex("m"))
		for range 5 {
			w := b.host("w")
			hosts = append(hosts, w)
			go func() {
				b.lock(w.Mutex("m"))
				time.Sleep(time.Minute)
				b.unlock(w.Mutex("m"))
			}()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		b.unlock(x.Mutex("m"))
		time.Sleep(6 * time.Minute)
		for _, h := range hosts {
			if h.events.count(queue.Called)+h.events.count(queue.Requeued) > 0 {
				b.Errorf("the roll was called %d times", h.events.count(queue.Called))
			}
		}
	})
}

// Those who live answer, behind a holder that has died, and keep their places.
func TestTheLivingAnswer(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		b.lock(x.Mutex("m"))
		var hosts []*host
		var order atomic.Int32
		for i := range 5 {
			w := b.host("w")
			hosts = append(hosts, w)
			go func() {
				b.lock(w.Mutex("m"))
				if n := order.Add(1); n != int32(i+1) {
					b.Errorf("number %d came as number %d", i+1, n)
				}
				b.unlock(w.Mutex("m"))
			}()
			time.Sleep(200 * time.Millisecond)
		}
		x.vanish()
		time.Sleep(15 * time.Second)
		if order.Load() != 5 {
			b.Errorf("%d of 5 had their turn", order.Load())
		}
		answered := 0
		for _, h := range hosts {
			answered += h.events.count(queue.CallAnswered)
			if h.events.count(queue.Struck)+h.events.count(queue.CallMissed)+h.events.count(queue.Requeued) > 0 {
				b.Error("somebody lost a place")
			}
		}
		if answered < 4 {
			b.Errorf("%d answers", answered)
		}
	})
}

// An answer that arrives after the caller has drawn its conclusion is none: that its own call is gone proves to a waiter only in
// time that it was not struck.
func TestAnswerThatArrivesTooLate(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, w, y := b.host("x"), b.host("w"), b.host("y")
		b.lock(x.Mutex("m"))
		believes := func(h *host) bool { l := h.Mutex("m").Lease(); return l != nil && l.Err() == nil }
		go w.Mutex("m").Lock(context.Background())
		time.Sleep(500 * time.Millisecond)
		go y.Mutex("m").Lock(context.Background())
		time.Sleep(500 * time.Millisecond)
		x.vanish()
		w.faults.Script(gcstest.On(gcstest.Delete, "/w/call-"), gcstest.Fault{Kind: gcstest.Ghost, Delay: 5500 * time.Millisecond})
		calls := func() (n int) {
			for _, o := range b.srv.Objects(bucket, "gcsync/m/w/") {
				if strings.Contains(o.Name, "/w/call-") {
					n++
				}
			}
			return n
		}
		for calls() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		for w.events.count(queue.CallAnswered) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
		w.faults.Pause() // with the answer on its way
		for calls() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if y.events.count(queue.Struck) > 0 {
			b.Fatal("struck before the answer arrived: the test tests nothing")
		}
		w.faults.Resume()
		for range 4000 {
			time.Sleep(5 * time.Millisecond)
			if believes(w) && believes(y) {
				b.Fatal("two believe")
			}
		}
		if y.events.count(queue.Struck) != 1 || w.events.count(queue.CallMissed) != 1 {
			b.Errorf("struck %d, missed %d", y.events.count(queue.Struck), w.events.count(queue.CallMissed))
		}
		y.vanish()
		w.vanish()
	})
}

// A row of the dead is cleared by callers who never wait, in a number of calls that does not depend on how many they are.
func TestTriesClearARowOfTheDead(t *testing.T) {
	for _, wait := range []time.Duration{0, 2 * time.Second} {
		var took []int
		for _, dead := range []int{2, 20} {
			inBubble(t, typical, func(b *bed) {
				x := b.rowOfDead(dead)
				x.vanish()
				for n := 1; n < 30; n++ {
					y := b.host("y") // a process of its own, each minute
					ok, err := false, error(nil)
					if wait == 0 {
						ok, err = y.Mutex("m").TryLock(context.Background())
					} else {
						ctx, cancel := context.WithTimeout(context.Background(), wait)
						ok = y.Mutex("m").Lock(ctx) == nil
						cancel()
					}
					if err != nil {
						b.Fatal(err)
					}
					if ok {
						b.unlock(y.Mutex("m"))
						took = append(took, n)
						return
					}
					y.Close(context.Background())
					time.Sleep(time.Minute)
				}
				b.Errorf("%d dead keep everybody out", dead)
			})
		}
		if len(took) == 2 && took[1] > took[0]+4 { // in two seconds there is time for a dozen of them
			t.Errorf("waiting for %v: %d calls for 2 dead, %d for 20", wait, took[0], took[1])
		}
		t.Logf("waiting for %v: %v calls", wait, took)
	}
}

// Who was called, and has become the head meanwhile, is waited for like any holder: seldom.
func TestCalledHolderIsReadSeldom(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, w, y := b.host("x"), b.host("w"), b.host("y")
		b.lock(x.Mutex("m"))
		go w.Mutex("m").Lock(context.Background())
		time.Sleep(300 * time.Millisecond)
		go y.Mutex("m").Lock(context.Background())
		x.faults.Pause()
		for y.events.count(queue.Called) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		x.faults.Resume()
		b.unlock(x.Mutex("m"))
		time.Sleep(10 * time.Second)
		before := y.Usage()
		time.Sleep(time.Minute)
		if n := y.Usage().ClassB - before.ClassB; n > 120 {
			b.Errorf("%d charged reads in a minute", n)
		}
		b.unlock(w.Mutex("m"))
		time.Sleep(time.Second)
		b.unlock(y.Mutex("m"))
	})
}
