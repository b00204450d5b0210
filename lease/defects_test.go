package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// The tests of this file are named after the defects of gcs-atomic-lock, each of which was reproduced there.

// Defect 1: double hold by ABA. A reads a free object at its first metageneration and pauses before it writes; meanwhile
// the object is taken, deleted and made again, and is at its first metageneration once more when A's write arrives.
func TestDefect1DoubleHoldByABA(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a, d, c := w.machine("A"), w.python("D"), w.machine("C")
		must(t, d.acquire(t.Context(), key, 0)) // generation 1, metageneration 1, expired as soon as it is written

		a.Script(gcstest.On(gcstest.Patch, key), gcstest.Fault{Kind: gcstest.Delay, Delay: 5 * time.Second})
		errs := make(chan error)
		go func() {
			h, err := a.try(t)
			if h != nil {
				t.Error("A holds the lease as well")
				release(t, h)
			}
			errs <- err
		}()
		time.Sleep(time.Second)
		must(t, d.acquire(t.Context(), key, 20))
		must(t, d.release(t.Context(), key))
		h := c.acquire(t)
		if o := w.object(key); o.Metageneration != 1 {
			t.Fatalf("the object is at metageneration %d: this test tests nothing", o.Metageneration)
		}
		wantHeld(t, <-errs, "C")
		release(t, h)
	})
}

// Defect 2: two instances with the same owner id both hold.
func TestDefect2SameOwnerTwice(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a, b := w.machine("us"), w.machine("us")
		h := a.acquire(t)
		_, err := a.try(t)
		wantHeld(t, err, "us")
		_, err = b.try(t)
		wantHeld(t, err, "us")
		_, err = b.acquireWithin(t, 10*time.Minute)
		wantHeld(t, err, "us")
		wantErr(t, err, context.DeadlineExceeded)
		release(t, h)
		release(t, b.acquire(t))
	})
}

// Defect 3: a waiter whose clock is fast takes a live lock; one whose clock is slow never takes a dead one.
func TestDefect3SkewedClock(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, -31 * time.Second, 31 * time.Second, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			inBubble(t, real, func(t *testing.T, w *world) {
				a, b := w.machine("A"), w.machine("B")
				a.Skew(-skew, 0)
				b.Skew(skew, 0)
				h := a.acquire(t)
				for range 20 {
					_, err := b.try(t)
					wantHeld(t, err, "A")
					time.Sleep(7 * time.Second)
				}
				_, err := b.acquireWithin(t, 5*time.Minute)
				wantHeld(t, err, "A")
				must(t, h.Err())

				a.Crash()
				crashed := time.Now()
				next := b.acquire(t)
				within(t, "taking over", time.Since(crashed), ttl*2/3, ttl+3*time.Second)
				neverBoth(t, h, next)
				lost(t, h)
				release(t, next)
			})
		})
	}
}

// Defect 4: a block that outlives the expiry fails on exit, and the user's own exception is replaced.
func TestDefect4NoRenewal(t *testing.T) {
	inBubble(t, real, func(t *testing.T, w *world) {
		a, b := w.machine("A"), w.machine("B")
		own := errors.New("the user's own")
		err := lease.Do(t.Context(), a.bucket, key, &a.opts, func(ctx context.Context) error {
			_, err := b.acquireWithin(t, 20*ttl)
			wantHeld(t, err, "A")
			must(t, ctx.Err())
			return own
		})
		if err != own {
			t.Errorf("Do returns %v, want what the function returned and nothing else", err)
		}
		h, err := b.try(t)
		must(t, err)
		release(t, h)
	})
}

// Defect 5: a lock lost in the middle of the block is never reported.
func TestDefect5LossIsReported(t *testing.T) {
	ways := map[string]func(t *testing.T, w *world, a *machine){
		"cut off": func(t *testing.T, w *world, a *machine) { a.Partition(true) },
		"taken by force": func(t *testing.T, w *world, a *machine) {
			p := w.python("P")
			p.ahead = time.Hour
			must(t, p.acquire(t.Context(), key, 60))
		},
		"deleted": func(t *testing.T, w *world, a *machine) {
			must(t, w.machine("").bucket.Object(key).Delete(t.Context()))
		},
		"deleted and made again": func(t *testing.T, w *world, a *machine) {
			must(t, w.machine("").bucket.Object(key).Delete(t.Context()))
			must(t, w.python("P").acquire(t.Context(), key, 60))
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			inBubble(t, ideal, func(t *testing.T, w *world) {
				a := w.machine("A")
				own := errors.New("the user's own")
				err := lease.Do(t.Context(), a.bucket, key, &a.opts, func(ctx context.Context) error {
					time.Sleep(time.Minute)
					way(t, w, a)
					done := time.Now()
					<-ctx.Done()
					within(t, "noticing", time.Since(done), 0, ttl-margin)
					wantErr(t, context.Cause(ctx), lease.ErrLost)
					wantErr(t, ctx.Err(), context.Canceled)
					return own
				})
				wantErr(t, err, lease.ErrLost)
				wantErr(t, err, own)
			})
		})
	}
}

// Defect 5 as well: a loss that nobody had time to notice is reported by the release.
func TestDefect5LossIsReportedByRelease(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a, p := w.machine("A"), w.python("P")
		h := a.acquire(t)
		p.ahead = time.Hour
		must(t, p.acquire(t.Context(), key, 60))
		must(t, h.Err())
		wantErr(t, h.Release(t.Context()), lease.ErrLost)
		if got := w.object(key).Metadata["expires_sec"]; got != "60" {
			t.Errorf("the release touched the lock of another: expires_sec is %s", got)
		}
	})
}

// Defect 6: a waiter sleeps until the expiry even if the lock is released before, and all wake at once.
func TestDefect6WaitingReactsAndSpreads(t *testing.T) {
	inBubble(t, real, func(t *testing.T, w *world) {
		const waiters = 20
		h := w.machine("A").acquire(t)
		var mu sync.Mutex
		var polls []time.Time
		acquired := make(chan *lease.Held)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range waiters {
			m := w.machine(fmt.Sprint("waiter ", i))
			all.Go(func() {
				if h, err := lease.Acquire(ctx, m.bucket, key, &m.opts); err == nil {
					acquired <- h
				}
			})
		}
		time.Sleep(time.Minute)
		w.server.Observe(func(r gcstest.Record) {
			mu.Lock()
			polls = append(polls, r.Time)
			mu.Unlock()
		})
		time.Sleep(time.Minute)
		w.server.Observe(nil)
		w.server.ResetStats()
		billed := func() int { s := w.server.Stats(); return s.ClassA + s.ClassB }

		released := time.Now()
		release(t, h)
		next := <-acquired
		within(t, "the hand-off", time.Since(released), 0, 2*time.Second)

		time.Sleep(time.Minute)
		if n := billed(); n > waiters*50 {
			t.Errorf("%d waiters cost %d billed requests in a minute: they poll hot", waiters, n)
		}
		stop()
		all.Wait()
		release(t, next)

		// A minute of polling at up to 2 s, with 20 waiters: about 10 a second, and nowhere near 20 at once.
		slices.SortFunc(polls, time.Time.Compare)
		if len(polls) < waiters*25 || len(polls) > waiters*60 {
			t.Errorf("%d polls in a minute by %d waiters", len(polls), waiters)
		}
		for i := range polls {
			j := i
			for j < len(polls) && polls[j].Sub(polls[i]) < 20*time.Millisecond {
				j++
			}
			if j-i > waiters/2 {
				t.Fatalf("%d of %d waiters came within 20 ms", j-i, waiters)
			}
		}
	})
}

// Defect 6 as well: an early release is noticed early however short the hold.
func TestDefect6EarlyRelease(t *testing.T) {
	inBubble(t, gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond}, func(t *testing.T, w *world) {
		for _, hold := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
			h, b := w.machine("A").acquire(t), w.machine("B")
			released := make(chan time.Time, 1)
			go func() {
				time.Sleep(hold)
				released <- time.Now()
				release(t, h)
			}()
			next := b.acquire(t)
			within(t, fmt.Sprintf("the hand-off after %v", hold), time.Since(<-released), 0, 500*time.Millisecond+hold/5)
			release(t, next)
		}
	})
}

// Defect 6 as well: a release is noticed although the metageneration is two ahead of what the waiter has seen.
func TestDefect6ReleaseAfterUnseenWrite(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a, b := w.machine("A"), w.machine("B")
		h := a.acquire(t)
		released := make(chan time.Time, 1)
		go func() {
			time.Sleep(25 * time.Second) // the last renewal is five seconds old, and the next as far
			_, err := a.bucket.Object(key).Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"color": "red"}})
			if err != nil {
				t.Error(err)
			}
			release(t, h)
			released <- time.Now()
		}()
		next := b.acquire(t)
		within(t, "the hand-off", time.Since(<-released), 0, 4*time.Second)
		release(t, next)
	})
}

// Defect 7: any 429 or 5xx aborts the wait.
func TestDefect7FaultsDoNotAbortTheWait(t *testing.T) {
	inBubble(t, real, func(t *testing.T, w *world) {
		a, b := w.machine("A"), w.machine("B")
		h := a.acquire(t)
		for _, m := range []*machine{a, b} {
			m.Random(gcstest.Profile{
				Odds: map[gcstest.FaultKind]float64{
					gcstest.Refuse: 0.2, gcstest.Reset: 0.1, gcstest.LoseAnswer: 0.1, gcstest.FailAfter: 0.1, gcstest.Truncate: 0.05,
				},
			})
		}
		var releasing sync.WaitGroup
		releasing.Go(func() {
			time.Sleep(3 * time.Minute)
			if err := h.Err(); err != nil {
				t.Error(err)
			}
			if err := h.Release(t.Context()); err != nil && !errors.Is(err, lease.ErrUnconfirmed) {
				t.Error(err)
			}
		})
		next, err := b.acquireWithin(t, 4*time.Minute)
		must(t, err)
		neverBoth(t, h, next)
		b.Random(gcstest.Profile{})
		release(t, next)
		releasing.Wait()
	})
}

// Defect 7 as well: a lost answer leaves the lock held by nobody that knows it. Every write of an acquisition and of a
// release meets every fault that hides its outcome; afterwards the lease is held by the caller, or by nobody.
func TestDefect7LostAnswersDoNotOrphan(t *testing.T) {
	faults := []gcstest.Fault{
		{Kind: gcstest.LoseAnswer}, {Kind: gcstest.FailAfter}, {Kind: gcstest.Truncate},
		{Kind: gcstest.StallAnswer}, {Kind: gcstest.Stall}, {Kind: gcstest.Reset}, {Kind: gcstest.Refuse, Status: 429},
		{Kind: gcstest.Ghost, Delay: 300 * time.Millisecond}, {Kind: gcstest.Ghost, Delay: 8 * time.Second},
		{Kind: gcstest.Duplicate}, {Kind: gcstest.DuplicateLast}, {Kind: gcstest.Delay, Delay: 7 * time.Second},
	}
	for _, kind := range []gcstest.Kind{gcstest.Insert, gcstest.Patch} {
		for _, f := range faults {
			t.Run(fmt.Sprintf("%v/%v %d %v", kind, f.Kind, f.Status, f.Delay), func(t *testing.T) {
				inBubble(t, ideal, func(t *testing.T, w *world) {
					a, b := w.machine("A"), w.machine("B")
					if kind == gcstest.Patch { // the object is there and free
						release(t, b.acquire(t))
					}
					a.Script(gcstest.On(kind, key), f)
					h := a.acquire(t)
					_, err := b.try(t)
					wantHeld(t, err, "A")
					time.Sleep(time.Minute)
					must(t, h.Err())
					a.Script(gcstest.On(gcstest.Patch, key), f)
					release(t, h)
					next, err := b.try(t)
					must(t, err)
					time.Sleep(time.Minute)
					must(t, next.Err())
					release(t, next)
				})
			})
		}
	}
}

// Defect 7 as well: a caller that leaves while its write is under way leaves nothing behind.
func TestDefect7LeavingDoesNotOrphan(t *testing.T) {
	for _, kind := range []gcstest.Kind{gcstest.Insert, gcstest.Patch} {
		for _, f := range []gcstest.Fault{
			{Kind: gcstest.StallAnswer}, {Kind: gcstest.Delay, Delay: 1500 * time.Millisecond},
			{Kind: gcstest.Delay, Delay: 20 * time.Second}, {Kind: gcstest.DelayAnswer, Delay: 2 * time.Second},
		} {
			t.Run(fmt.Sprint(kind, f), func(t *testing.T) {
				inBubble(t, ideal, func(t *testing.T, w *world) {
					a, b := w.machine("A"), w.machine("B")
					if kind == gcstest.Patch {
						release(t, b.acquire(t))
					}
					a.Script(gcstest.On(kind, key), f)
					left := time.Now()
					_, err := a.acquireWithin(t, time.Second)
					wantErr(t, err, context.DeadlineExceeded)
					if errors.Is(err, lease.ErrUnconfirmed) {
						t.Errorf("not withdrawn: %v", err)
					}
					within(t, "leaving", time.Since(left), time.Second, 7*time.Second)
					h, err := b.try(t)
					must(t, err)
					time.Sleep(time.Minute) // whatever is late has come by now
					must(t, h.Err())
					release(t, h)
				})
			})
		}
	}
}

// Defect 8: the key is not escaped, and "lock#1" addresses "lock".
func TestDefect8KeysAreEscaped(t *testing.T) {
	keys := []string{
		"lock", "lock#1", "lock?a=b", "lock%31", "lock%2F1", "lock/1", "lock//1", "../lock", "a/../lock", "lock/", "lock 1",
		"lock+1", "lock&x=y", "Schloß/鎖/🔒", "lock\t1", `lock"1\`, "...", strings.Repeat("k", 1024),
	}
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		var held []*lease.Held
		for _, k := range keys {
			h, err := lease.TryAcquire(t.Context(), a.bucket, k, &a.opts)
			if err != nil {
				t.Fatalf("%q: %v", k, err)
			}
			held = append(held, h)
		}
		for _, k := range keys {
			o := w.object(k)
			if o == nil {
				t.Fatalf("no object is called %q", k)
			}
			if string(o.Content) != "lock" || o.Metadata["expires_sec"] != "30" {
				t.Errorf("%q holds %q and %v", k, o.Content, o.Metadata)
			}
		}
		time.Sleep(time.Minute) // renewals
		for _, h := range held {
			release(t, h)
		}
		if n := len(w.server.Objects("b", "")); n != len(keys) {
			t.Errorf("%d objects for %d keys", n, len(keys))
		}
		for _, k := range []string{"", ".", "..", "a\nb", "\xff", strings.Repeat("k", 1025)} {
			if _, err := lease.TryAcquire(t.Context(), a.bucket, k, &a.opts); err == nil || !strings.Contains(err.Error(), "illegal name") {
				t.Errorf("%q: %v, want a refusal", k, err)
			}
		}
	})
}
