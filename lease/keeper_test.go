package lease_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// TestLostAnswersOfRenewals: a renewal whose answer is lost is recognised by its nonce, in every way to lose it.
func TestLostAnswersOfRenewals(t *testing.T) {
	for _, f := range []gcstest.Fault{
		{Kind: gcstest.LoseAnswer}, {Kind: gcstest.FailAfter}, {Kind: gcstest.Truncate}, {Kind: gcstest.StallAnswer},
		{Kind: gcstest.Stall}, {Kind: gcstest.Reset}, {Kind: gcstest.Refuse}, {Kind: gcstest.Refuse, Status: 429},
		{Kind: gcstest.Duplicate}, {Kind: gcstest.DuplicateLast}, {Kind: gcstest.Ghost, Delay: 50 * time.Millisecond},
		{Kind: gcstest.Ghost, Delay: 2 * time.Second}, {Kind: gcstest.Delay, Delay: 7 * time.Second},
	} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			inBubble(t, ideal, func(t *testing.T, w *world) {
				a, b := w.machine("A"), w.machine("B")
				h := a.acquire(t)
				// Every other renewal goes wrong.
				for range 10 {
					a.Script(gcstest.On(gcstest.Patch, key), f, gcstest.Fault{})
				}
				for range 20 {
					time.Sleep(ttl / 3)
					must(t, h.Err())
					_, err := b.try(t)
					wantHeld(t, err, "A")
				}
				release(t, h)
			})
		})
	}
}

// TestLeaseCountsFromTheSend: the deadline is that of the send of the attempt that was applied, not of its answer.
func TestLeaseCountsFromTheSend(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		start := time.Now()
		a.Script(gcstest.On(gcstest.Insert, key), gcstest.Fault{Kind: gcstest.DelayAnswer, Delay: 5 * time.Second})
		h := a.acquire(t)
		within(t, "the lease", h.Deadline().Sub(start), ttl-margin, ttl-margin)

		// A renewal of which only the answer is late counts from its send as well.
		a.Script(gcstest.On(gcstest.Patch, key), gcstest.Fault{Kind: gcstest.DelayAnswer, Delay: 5 * time.Second})
		time.Sleep(ttl/3 - time.Since(start) + time.Millisecond)
		sent := time.Now()
		time.Sleep(6 * time.Second)
		within(t, "the renewed lease", h.Deadline().Sub(sent), ttl-margin-ttl/30-time.Second, ttl-margin)
		release(t, h)
	})
}

// TestLeaseCountsFromTheFirstAttempt: an acquisition that was sent several times counts from the first, since that may
// be the one that was applied.
func TestLeaseCountsFromTheFirstAttempt(t *testing.T) {
	for _, kind := range []gcstest.Kind{gcstest.Insert, gcstest.Patch} {
		for _, f := range []gcstest.FaultKind{gcstest.StallAnswer, gcstest.Stall} {
			t.Run(fmt.Sprint(kind, f), func(t *testing.T) {
				inBubble(t, ideal, func(t *testing.T, w *world) {
					a := w.machine("A")
					if kind == gcstest.Patch {
						release(t, a.acquire(t))
					}
					a.Script(gcstest.On(kind, key), gcstest.Fault{Kind: f})
					start := time.Now()
					h := a.acquire(t)
					within(t, "acquiring", time.Since(start), 6*time.Second, 7*time.Second)
					within(t, "the lease", h.Deadline().Sub(start), ttl-margin, ttl-margin)
					release(t, h)
				})
			})
		}
	}
}

// TestTooLateToBelieve: an acquisition that learns of its success when its lease is over takes the object again.
func TestTooLateToBelieve(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		a.Script(gcstest.On(gcstest.Get, key), gcstest.Fault{}) // the object is absent
		a.Script(gcstest.On(gcstest.Insert, key), gcstest.Fault{Kind: gcstest.LoseAnswer})
		heal := a.Always(gcstest.On(gcstest.Any, key), gcstest.Fault{Kind: gcstest.Refuse})
		go func() {
			time.Sleep(ttl * 3 / 2)
			heal()
		}()
		start := time.Now()
		h := a.acquire(t)
		within(t, "acquiring", time.Since(start), ttl*3/2, ttl*3/2+5*time.Second)
		if until := time.Until(h.Deadline()); until < ttl-margin-5*time.Second {
			t.Errorf("%v are left of a lease that was just acquired", until)
		}
		must(t, h.Err())
		release(t, h)
	})
}

// TestGhostRenewal: a renewal that arrives when its sender has long been replaced, or has released, changes nothing.
func TestGhostRenewal(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a, b := w.machine("A"), w.machine("B")
		h := a.acquire(t)
		a.Always(gcstest.On(gcstest.Patch, key), gcstest.Fault{Kind: gcstest.Ghost, Delay: 2 * time.Minute})
		start := time.Now()
		next := b.acquire(t)
		within(t, "taking over", time.Since(start), ttl, ttl+time.Second)
		lost(t, h)
		time.Sleep(5 * time.Minute)
		must(t, next.Err())
		release(t, next)
		time.Sleep(5 * time.Minute)
		if got := w.object(key).Metadata["expires_sec"]; got != "0" {
			t.Errorf("a ghost took the lease: expires_sec is %s", got)
		}
	})
}

// TestReleaseDuringRenewal: whatever has become of the renewal under way, the release wins.
func TestReleaseDuringRenewal(t *testing.T) {
	for _, f := range []gcstest.Fault{
		{Kind: gcstest.StallAnswer}, {Kind: gcstest.Stall}, {Kind: gcstest.Delay, Delay: 700 * time.Millisecond},
		{Kind: gcstest.Delay, Delay: 4 * time.Second}, {Kind: gcstest.DelayAnswer, Delay: 3 * time.Second},
	} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			inBubble(t, ideal, func(t *testing.T, w *world) {
				a, b := w.machine("A"), w.machine("B")
				h := a.acquire(t)
				a.Script(gcstest.On(gcstest.Patch, key), f)
				time.Sleep(ttl/3 + 100*time.Millisecond) // a renewal is under way
				release(t, h)
				wantErr(t, h.Err(), lease.ErrReleased)
				next, err := b.try(t)
				must(t, err)
				time.Sleep(time.Minute)
				must(t, next.Err())
				release(t, next)
			})
		})
	}
}

// TestOneRenewalAtATime: while a renewal waits for its answer no other begins, however often the clocks are looked at.
func TestOneRenewalAtATime(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		h := a.acquire(t)
		start := time.Now()
		heal := a.Always(gcstest.On(gcstest.Patch, key), gcstest.Fault{Kind: gcstest.Stall})
		defer heal()
		<-h.Done()
		within(t, "believing", time.Since(start), ttl-margin, ttl-margin)
		// From the first, after a third of the lease at the latest, each attempt takes a fifth of it.
		if n := a.Counts()[gcstest.Stall]; n < 2 || n > 3 {
			t.Errorf("%d attempts at a renewal in %v, of which each took %v", n, ttl-margin, ttl/5)
		}
		heal()
		wantErr(t, h.Release(t.Context()), lease.ErrLost)
	})
}

// TestSuspend: a machine that was suspended has lost its lease when it wakes, although no timer of its has rung.
func TestSuspend(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		var mu sync.Mutex
		var jump time.Duration
		a.opts.SetWall(func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(jump)
		})
		h := a.acquire(t)
		time.Sleep(time.Minute)
		must(t, h.Err())

		// Just after a renewal the monotonic clock stands still and the wall clock does not.
		mu.Lock()
		jump = time.Hour
		mu.Unlock()
		woke := time.Now()
		writes := w.requests(gcstest.Patch)
		<-h.Done()
		within(t, "noticing", time.Since(woke), 0, margin)
		lost(t, h)
		time.Sleep(time.Hour)
		if n := writes(); n != 0 {
			t.Errorf("%d renewals of what was lost", n)
		}
		wantErr(t, h.Release(t.Context()), lease.ErrLost)
	})
}

// TestSuspendBeforeRenewal: the first thing that a machine does after it was suspended may be to renew what it has lost.
// That would keep the others out for a lease that nobody has.
func TestSuspendBeforeRenewal(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		var mu sync.Mutex
		var jump time.Duration
		a.opts.SetWall(func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(jump)
		})
		h := a.acquire(t)
		time.Sleep(3*margin + time.Nanosecond) // a look at the clocks was just now, the renewal is due within a second
		mu.Lock()
		jump = time.Hour
		mu.Unlock()
		writes := w.requests(gcstest.Patch)
		time.Sleep(time.Minute)
		if n := writes(); n != 0 {
			t.Errorf("%d renewals of what was lost", n)
		}
		lost(t, h)
	})
}

// TestSuspendIsSeenByErr: nobody who asks after the wake-up is told that he holds the lease.
func TestSuspendIsSeenByErr(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		var jump time.Duration
		a.opts.SetWall(func() time.Time { return time.Now().Add(jump) })
		h := a.acquire(t)
		jump = -time.Hour // somebody sets the clock back: that prolongs nothing
		time.Sleep(time.Second)
		must(t, h.Err())
		jump = ttl - margin
		wantErr(t, h.Err(), lease.ErrLost)
		ctx, cancel := h.Context(t.Context())
		defer cancel()
		wantErr(t, context.Cause(ctx), lease.ErrLost)
	})
}

// TestClockSetBack: a wall clock that is set back does not prolong a lease that cannot be renewed.
func TestClockSetBack(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		start := time.Now()
		var mu sync.Mutex
		var jump time.Duration
		a.opts.SetWall(func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(jump)
		})
		h := a.acquire(t)
		a.Partition(true)
		mu.Lock()
		jump = -time.Hour
		mu.Unlock()
		<-h.Done()
		within(t, "the lease", time.Since(start), ttl-margin, ttl-margin)
		lost(t, h)
	})
}

// TestLossIsAnnouncedWhileRequestsHang: at the deadline, to the moment, and with the reason.
func TestLossIsAnnouncedWhileRequestsHang(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		a.Always(gcstest.On(gcstest.Patch, key), gcstest.Fault{Kind: gcstest.Stall})
		start := time.Now()
		h := a.acquire(t)
		ctx, cancel := h.Context(t.Context())
		defer cancel()
		<-ctx.Done()
		within(t, "the lease", time.Since(start), ttl-margin, ttl-margin)
		wantErr(t, context.Cause(ctx), lease.ErrLost)
		wantErr(t, h.Err(), context.DeadlineExceeded) // what the last renewal failed with
		lost(t, h)
	})
}

// TestLostIsFinal: once lost, nothing brings a lease back, and nothing is sent for it any more.
func TestLostIsFinal(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		h := a.acquire(t)
		a.Partition(true)
		<-h.Done()
		a.Partition(false)
		w.server.ResetStats()
		time.Sleep(time.Hour)
		lost(t, h)
		wantErr(t, h.Release(t.Context()), lease.ErrLost)
		lost(t, h)
		if s := w.server.Stats(); s.ClassA+s.ClassB+s.Free != 0 {
			t.Errorf("requests after the loss: %+v", s)
		}
	})
}

// TestReleasedIsFinal: a second release says so and sends nothing.
func TestReleasedIsFinal(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		h := a.acquire(t)
		ctx, cancel := h.Context(t.Context())
		defer cancel()
		release(t, h)
		wantErr(t, context.Cause(ctx), lease.ErrReleased)
		next := a.acquire(t)
		wantErr(t, h.Release(t.Context()), lease.ErrReleased)
		wantErr(t, h.Err(), lease.ErrReleased)
		must(t, next.Err())
		release(t, next)
	})
}

// TestReleaseIsDetachedAndBounded: an ended context does not keep the lease from being released, and an unreachable
// service does not keep the caller.
func TestReleaseIsDetachedAndBounded(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		h := a.acquire(t)
		must(t, h.Release(gone))

		h = a.acquire(t)
		a.Partition(true)
		start := time.Now()
		err := h.Release(gone)
		wantErr(t, err, lease.ErrUnconfirmed)
		if errors.Is(err, lease.ErrLost) {
			t.Errorf("%v says lost", err)
		}
		within(t, "the release", time.Since(start), time.Second, 6*time.Second)
		wantErr(t, h.Err(), lease.ErrReleased)
	})
}

// TestReleaseUnderTheRateLimit: what was acquired a moment ago is released a second later.
func TestReleaseUnderTheRateLimit(t *testing.T) {
	inBubble(t, gcstest.Model{Rate: 1}, func(t *testing.T, w *world) {
		a := w.machine("A")
		a.opts.TTL = 3 * time.Second
		for range 10 {
			start := time.Now()
			release(t, a.acquire(t))
			within(t, "a turn", time.Since(start), 0, 5*time.Second)
		}
	})
}

// TestShortestLease: at the least TTL and the service's limit of a write a second, a lease can be kept.
func TestShortestLease(t *testing.T) {
	inBubble(t, real, func(t *testing.T, w *world) {
		a := w.machine("A")
		a.opts.TTL = 2500 * time.Millisecond // 3 s
		h := a.acquire(t)
		time.Sleep(10 * time.Minute)
		must(t, h.Err())
		release(t, h)
		a.opts.TTL = 2 * time.Second
		if _, err := a.try(t); err == nil {
			t.Error("a TTL that leaves no time to renew is accepted")
		}
	})
}

// TestManyLeasesFewGoroutines: between renewals a lease is a timer or two, and not a goroutine.
func TestManyLeasesFewGoroutines(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		const leases = manyLeases
		a := w.machine("A")
		before := runtime.NumGoroutine()
		held := make([]*lease.Held, leases)
		for i := range held {
			var err error
			held[i], err = lease.Acquire(t.Context(), a.bucket, fmt.Sprint("lease/", i), &a.opts)
			must(t, err)
		}
		idle := runtime.NumGoroutine()
		if idle > before+10 {
			t.Errorf("%d goroutines for %d leases", idle-before, leases)
		}
		writes := w.requests(gcstest.Patch)
		time.Sleep(ttl/3 + 10*time.Millisecond)
		synctest.Wait()
		if n := writes(); n != leases {
			t.Errorf("%d renewals of %d leases", n, leases)
		}
		if n := runtime.NumGoroutine(); n > before+10 {
			t.Errorf("%d goroutines after renewing", n-before)
		}
		for _, h := range held {
			must(t, h.Release(t.Context()))
		}
	})
}
