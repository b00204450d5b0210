package gcsync_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"github.com/cenkalti/backoff/v4"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
)

// Whatever happens to the answer of a create, the lock is acquired, by one ticket, and others wait for it.
func TestLostAnswerOfCreate(t *testing.T) {
	for _, fault := range []gcstest.Fault{
		{Kind: gcstest.LoseAnswer},
		{Kind: gcstest.FailAfter},
		{Kind: gcstest.Truncate},
		{Kind: gcstest.StallAnswer},
		{Kind: gcstest.Reset},
		{Kind: gcstest.Refuse, Status: 500},
		{Kind: gcstest.DuplicateLast, Delay: time.Millisecond},
	} {
		for n := range 2 { // the bootstrap's create, and the ticket's
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("x"), b.host("y")
				x.faults.Script(gcstest.On(gcstest.Insert, ticket("m", n)), fault)
				b.lock(x.Mutex("m"))
				if x.faults.Counts()[fault.Kind] != 1 {
					b.Fatalf("%v did not happen", fault.Kind)
				}
				if ok, err := y.Mutex("m").TryLock(b.Context()); ok || err != nil {
					b.Errorf("%v of ticket %d: TryLock by another = %v, %v", fault.Kind, n, ok, err)
				}
				if got := len(b.srv.Objects(bucket, "gcsync/m/t/")); got != 2 {
					b.Errorf("%v of ticket %d: %d tickets, want 2", fault.Kind, n, got)
				}
				b.unlock(x.Mutex("m"))
				start := time.Now()
				b.lock(y.Mutex("m"))
				b.within("the next Lock", start, 0, time.Second)
				b.unlock(y.Mutex("m"))
			})
		}
	}
}

// A renewal whose answer is lost counts, from its own send; one that never arrived is repeated.
func TestLostAnswerOfRenewal(t *testing.T) {
	for _, fault := range []gcstest.Fault{
		{Kind: gcstest.LoseAnswer},
		{Kind: gcstest.FailAfter},
		{Kind: gcstest.StallAnswer},
		{Kind: gcstest.Reset},
		{Kind: gcstest.Refuse, Status: 429},
		{Kind: gcstest.Ghost, Delay: 3 * time.Second},
		{Kind: gcstest.Duplicate, Delay: 5 * time.Second},
		{Kind: gcstest.DuplicateLast, Delay: time.Millisecond},
	} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			l := x.Mutex("m").Lease()
			x.faults.Always(func(op gcstest.Op) bool { return op.Kind == gcstest.Patch && op.Seq%2 == 0 }, fault)
			waiting, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
			defer cancel()
			if err := y.Mutex("m").Lock(waiting); !errors.Is(err, context.DeadlineExceeded) {
				b.Errorf("%v: Lock by another = %v", fault.Kind, err)
			}
			if l.Err() != nil {
				b.Errorf("%v: lost after renewals without an answer: %v", fault.Kind, l.Err())
			}
			if x.faults.Counts()[fault.Kind] < 5 {
				b.Errorf("%v happened %d times only", fault.Kind, x.faults.Counts()[fault.Kind])
			}
			b.unlock(x.Mutex("m"))
		})
	}
}

// A release whose answer is lost frees the lock, once.
func TestLostAnswerOfRelease(t *testing.T) {
	for _, fault := range []gcstest.Fault{
		{Kind: gcstest.LoseAnswer},
		{Kind: gcstest.FailAfter},
		{Kind: gcstest.StallAnswer},
		{Kind: gcstest.Reset},
		{Kind: gcstest.Refuse, Status: 503},
		{Kind: gcstest.Duplicate, Delay: 2 * time.Second},
		{Kind: gcstest.Ghost, Delay: 2 * time.Second},
	} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			x.faults.Script(gcstest.On(gcstest.Delete, ""), fault)
			if err := x.Mutex("m").Unlock(b.Context()); err != nil && !errors.Is(err, gcsync.ErrUnconfirmed) {
				b.Errorf("%v: Unlock = %v", fault.Kind, err)
			}
			start := time.Now()
			b.lock(y.Mutex("m"))
			b.within(fmt.Sprintf("%v: the next Lock", fault.Kind), start, 0, 3*time.Second)
			time.Sleep(20 * time.Second) // for what is still on its way
			if err := y.Mutex("m").Lease().Err(); err != nil {
				b.Errorf("%v: the next holder lost it: %v", fault.Kind, err)
			}
			b.unlock(y.Mutex("m"))
		})
	}
}

// A create that arrives when its number has long been used and freed makes a ghost. It must hold nothing and break
// nothing, whether its maker is still there or not.
func TestGhostCreate(t *testing.T) {
	for _, alive := range []bool{true, false} {
		inBubble(t, typical, func(b *bed) {
			x, y, z := b.host("x"), b.host("y"), b.host("z")
			for range 3 {
				b.lock(x.Mutex("m"))
				b.unlock(x.Mutex("m"))
			}
			// z's create is delayed until its number was freed.
			z.faults.Script(gcstest.On(gcstest.Insert, ticket("m", 4)), gcstest.Fault{Kind: gcstest.Delay, Delay: 1900 * time.Millisecond})
			got := make(chan error, 1)
			go func() { got <- z.Mutex("m").Lock(context.Background()) }()
			time.Sleep(500 * time.Millisecond)
			for range 3 {
				b.lock(y.Mutex("m"))
				b.unlock(y.Mutex("m"))
				time.Sleep(100 * time.Millisecond)
			}
			b.lock(y.Mutex("m"))
			if !alive {
				time.Sleep(time.Second)
				z.vanish()
			}
			time.Sleep(5 * time.Second)
			select {
			case err := <-got:
				b.Fatalf("the ghost got the lock while another holds it: %v", err)
			default:
			}
			if err := y.Mutex("m").Lease().Err(); err != nil {
				b.Errorf("the holder lost it: %v", err)
			}
			b.unlock(y.Mutex("m"))
			if alive {
				if err := <-got; err != nil {
					b.Fatal(err)
				}
				if z.events.count(queue.GhostDeleted) != 1 {
					b.Error("no ghost was made: the test tests nothing")
				}
				b.unlock(z.Mutex("m"))
				b.unlocked("m")
			}
			start := time.Now()
			b.lock(x.Mutex("m"))
			b.within("Lock after the ghost", start, 0, 15*time.Second)
			b.unlock(x.Mutex("m"))
		})
	}
}

// A Lock that is cancelled leaves nothing that keeps others out, at whatever step it is.
func TestCancelledLockAtEveryStep(t *testing.T) {
	for _, held := range []bool{false, true} {
		for after := time.Duration(0); after < 400*time.Millisecond; after += 7 * time.Millisecond {
			inBubble(t, typical, func(b *bed) {
				x, y, z := b.host("x"), b.host("y"), b.host("z")
				if held {
					b.lock(z.Mutex("m"))
				}
				ctx, cancel := context.WithTimeout(b.Context(), after)
				defer cancel()
				err := x.Mutex("m").Lock(ctx)
				switch {
				case err == nil && held:
					b.Fatal("two hold it")
				case err == nil:
					b.unlock(x.Mutex("m"))
				case !errors.Is(err, context.DeadlineExceeded):
					b.Fatalf("cancelled after %v: Lock = %v", after, err)
				}
				if x.Mutex("m").Lease() != nil {
					b.Errorf("cancelled after %v: held all the same", after)
				}
				if held {
					b.unlock(z.Mutex("m"))
				}
				start := time.Now()
				b.lock(y.Mutex("m"))
				b.within("the next Lock", start, 0, 1500*time.Millisecond)
				b.unlock(y.Mutex("m"))
				// The next Lock of the same process adopts the ticket, or finds it gone.
				b.lock(x.Mutex("m"))
				b.unlock(x.Mutex("m"))
			})
		}
	}
}

// A local waiter that leaves makes room for the one behind it.
func TestCancelledLocalWaiter(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x")
		b.lock(h.Mutex("m"))
		ctx, cancel := context.WithCancelCause(b.Context())
		errs := make(chan error)
		go func() { errs <- h.Mutex("m").Lock(ctx) }()
		time.Sleep(time.Second)
		go func() { errs <- h.Mutex("m").Lock(context.Background()) }()
		time.Sleep(time.Second)
		why := errors.New("why")
		cancel(why)
		if err := <-errs; !errors.Is(err, why) {
			b.Errorf("Lock = %v, want the cause of its context", err)
		}
		b.unlock(h.Mutex("m"))
		if err := <-errs; err != nil {
			b.Error(err)
		}
		b.unlock(h.Mutex("m"))
	})
}

// A holder that dies costs the others its claim if it never renewed, and its TTL if it did; at most a tenth more.
func TestRecoveryFromDeadHolder(t *testing.T) {
	const claim, ttl = 10 * time.Second, 30 * time.Second
	for _, c := range []struct {
		held time.Duration
		cost time.Duration
	}{{0, claim}, {2 * time.Second, claim}, {time.Minute, ttl}} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			token := x.Mutex("m").Lease().Token()
			time.Sleep(c.held)
			x.vanish()
			died := time.Now()
			b.lock(y.Mutex("m"))
			b.within(fmt.Sprintf("recovery after a hold of %v", c.held), died, c.cost/2, c.cost*11/10)
			if y.Mutex("m").Lease().Token() <= token {
				b.Error("the token did not grow")
			}
			b.unlock(y.Mutex("m"))
		})
	}
}

// Several dead in a row cost one lease together, dead waiters included.
func TestRecoveryFromManyDead(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		last := b.host("last")
		for i := range 4 {
			h := b.host(fmt.Sprint("dead", i))
			go h.Mutex("m").Lock(context.Background())
			time.Sleep(time.Second)
			defer h.vanish()
			if i == 0 {
				h.vanish()
				continue
			}
			time.AfterFunc(5*time.Second, h.vanish)
		}
		start := time.Now()
		b.lock(last.Mutex("m"))
		b.within("getting past four dead", start, 5*time.Second, 15*time.Second)
		b.unlock(last.Mutex("m"))
	})
}

// A process that was stopped for longer than its lease finds out, and its token is behind.
func TestPausedHolder(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		lx := x.Mutex("m").Lease()
		guarded := int64(0) // the greatest token that the resource has seen
		write := func(token int64) bool {
			if token < guarded {
				return false
			}
			guarded = token
			return true
		}
		if !write(lx.Token()) {
			b.Fatal("the holder was refused")
		}
		x.faults.Pause()
		b.lock(y.Mutex("m"))
		if lx.Err() == nil {
			b.Error("both believe")
		}
		if !write(y.Mutex("m").Lease().Token()) {
			b.Error("the new holder was refused")
		}
		x.faults.Resume()
		if write(lx.Token()) {
			b.Error("the resource took the old token")
		}
		if err := x.Mutex("m").Unlock(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Unlock after the pause = %v, want ErrLost", err)
		}
		time.Sleep(time.Minute) // for whatever that Unlock has set in motion
		if err := y.Mutex("m").Lease().Err(); err != nil {
			b.Errorf("the late Unlock took the lock from its new holder: %v", err)
		}
		b.unlock(y.Mutex("m"))
	})
}

// Go's monotonic clock stands still while a machine is suspended. The one that counts through that tells the truth then.
func TestSuspendedMachine(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		b.lock(x.Mutex("m"))
		l := x.Mutex("m").Lease()
		x.faults.Pause()
		now := time.Now()
		x.frozen.Store(&now)
		time.Sleep(time.Hour)
		if !errors.Is(l.Err(), gcsync.ErrLost) {
			b.Errorf("after an hour of suspension: Err = %v, want ErrLost", l.Err())
		}
		x.faults.Resume()
		if err := x.Mutex("m").Unlock(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Unlock = %v, want ErrLost", err)
		}
	})
}

// Where the system has a clock that counts through suspensions and that nobody can set, a wall clock that is set, forward or
// back, costs no lease; and a suspension is still seen.
func TestWallClockIsSet(t *testing.T) {
	for _, step := range []time.Duration{-2 * time.Hour, -20 * time.Second, 20 * time.Second, 2 * time.Hour} {
		inBubble(t, typical, func(b *bed) {
			x := b.host("x", func(o *gcsync.Options) { o.TTL = 10 * time.Second })
			b.lock(x.Mutex("m"))
			l := x.Mutex("m").Lease()
			x.jump.Store(int64(step))
			time.Sleep(time.Minute)
			if err := l.Err(); err != nil {
				b.Errorf("the wall clock was set by %v, and the lease is gone: %v", step, err)
			}
			x.asleep.Store(int64(time.Minute)) // which neither of the others has seen
			if err := l.Err(); !errors.Is(err, gcsync.ErrLost) {
				b.Errorf("after a minute of suspension: %v", err)
			}
		})
	}
}

// The deadline counts from before the request was sent: an answer that comes late extends less, not more.
func TestDeadlineCountsFromTheSend(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		var mu sync.Mutex
		var renewed time.Time // carried out, which takes no time here
		b.srv.Observe(func(r gcstest.Record) {
			mu.Lock()
			defer mu.Unlock()
			if r.Kind == gcstest.Patch && r.Status == 200 {
				renewed = time.Now()
			}
		})
		// The second renewal is answered 4 s late; then the network is gone.
		x.faults.Script(gcstest.On(gcstest.Patch, ""), gcstest.Fault{Kind: gcstest.NoFault},
			gcstest.Fault{Kind: gcstest.DelayAnswer, Delay: 4 * time.Second})
		b.lock(x.Mutex("m"))
		l := x.Mutex("m").Lease()
		time.Sleep(18 * time.Second) // the second renewal was sent after 12 to 13 s and answered after 16 to 17
		x.faults.Partition(true)
		got := make(chan struct{})
		go func() {
			b.lock(y.Mutex("m"))
			if l.Err() == nil {
				b.Error("both believe")
			}
			close(got)
		}()
		<-l.Done()
		mu.Lock()
		b.within("the loss, after the last renewal was sent,", renewed, 26900*time.Millisecond, 27*time.Second)
		mu.Unlock()
		<-got
		b.unlock(y.Mutex("m"))
		x.Mutex("m").Unlock(b.Context())
	})
}

// A ticket whose create was answered late counts from the first attempt: the others have timed it since then.
func TestLeaseCountsFromTheFirstAttempt(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		y := b.host("y")
		x := b.host("x", func(o *gcsync.Options) {
			o.Backoff = func() backoff.BackOff { return backoff.NewConstantBackOff(100 * time.Millisecond) }
		})
		x.faults.Script(gcstest.On(gcstest.Insert, ticket("m", 1)), gcstest.Fault{Kind: gcstest.LoseAnswer})
		blind := x.faults.Always(gcstest.On(gcstest.Get, ticket("m", 1)), gcstest.Fault{Kind: gcstest.Refuse, Status: 503})
		time.AfterFunc(9500*time.Millisecond, blind)
		xgot := make(chan struct{})
		go func() { b.lock(x.Mutex("m")); close(xgot) }()
		time.Sleep(time.Second)
		b.lock(y.Mutex("m"))
		synctest.Wait()
		if l := x.Mutex("m").Lease(); l != nil && l.Err() == nil {
			b.Errorf("both believe; the late one for %v more", time.Until(l.Deadline()))
		}
		time.Sleep(time.Second)
		b.unlock(y.Mutex("m"))
		<-xgot
		x.Mutex("m").Unlock(b.Context())
	})
}

// A loss is announced on time even while the renewal hangs.
func TestLossIsAnnouncedWhileRequestsHang(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		b.lock(x.Mutex("m"))
		l := x.Mutex("m").Lease()
		x.faults.Always(nil, gcstest.Fault{Kind: gcstest.Stall})
		deadline := l.Deadline()
		<-l.Done()
		if late := time.Since(deadline); late < 0 || late > time.Millisecond {
			b.Errorf("announced %v after the deadline", late)
		}
	})
}

// Clocks that are wrong by an hour, in either direction, change nothing: not the machine's, and not the service's as a
// machine sees it.
func TestSkewedClocks(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		inBubble(t, typical, func(b *bed) {
			x, y, z := b.host("x"), b.host("y"), b.host("z")
			y.jump.Store(int64(skew))
			y.faults.Skew(skew, 0)
			z.faults.Skew(-skew, 0)
			b.lock(x.Mutex("m"))
			l := x.Mutex("m").Lease()
			ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
			defer cancel()
			for _, h := range []*host{y, z} {
				go func() {
					if err := h.Mutex("m").Lock(ctx); err == nil {
						b.Error("taken from a live holder")
					}
				}()
			}
			for range 20 {
				if ok, err := y.Mutex("m").TryLock(b.Context()); ok || err != nil {
					b.Errorf("TryLock = %v, %v", ok, err)
				}
				time.Sleep(15 * time.Second)
			}
			<-ctx.Done()
			synctest.Wait()
			if l.Err() != nil {
				b.Error(l.Err())
			}
			x.vanish()
			died := time.Now()
			b.lock(y.Mutex("m"))
			b.within("recovery", died, 0, 33*time.Second)
			y.vanish()
			died = time.Now()
			b.lock(z.Mutex("m"))
			b.within("second recovery", died, 0, 33*time.Second)
			b.unlock(z.Mutex("m"))
		})
	}
}

// After an operator has wiped the prefix, with everybody stopped, it all begins anew, and tokens still grow.
func TestWipedPrefix(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		for range 10 {
			b.lock(x.Mutex("m"))
			b.unlock(x.Mutex("m"))
		}
		b.lock(x.Mutex("m"))
		before := x.Mutex("m").Lease().Token()
		b.wipe()
		time.Sleep(time.Minute)
		if err := x.Mutex("m").Unlock(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Unlock of a wiped lock = %v, want ErrLost", err)
		}
		b.lock(x.Mutex("m"))
		if after := x.Mutex("m").Lease().Token(); after <= before {
			b.Errorf("token %d after %d", after, before)
		}
		b.unlock(x.Mutex("m"))
	})
}

// wipe deletes every object, as an operator would.
func (b *bed) wipe() {
	c := b.srv.Client(nil)
	defer c.Close()
	for _, o := range b.srv.Objects(bucket, "") {
		if err := c.Bucket(bucket).Object(o.Name).Delete(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// put writes an object of the user's own.
func (b *bed) put(name string, metadata map[string]string) {
	b.Helper()
	c := b.srv.Client(nil)
	defer c.Close()
	w := c.Bucket(bucket).Object(name).NewWriter(context.Background())
	w.Metadata = metadata
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// Objects that are not ours are never deleted, and never a riddle.
func TestForeignObjects(t *testing.T) {
	for _, name := range []string{"gcsync/m/t/readme.txt", "gcsync/m/t/1", "gcsync/m/t/99999999999999999999", "gcsync/m/t/-000000000000000001",
		"gcsync/m/t/0000000000000000001/x", "gcsync/m/t/", "gcsync/m", "gcsync/m/w/x", "gcsync/m/t/０000000000000000001"} {
		inBubble(t, gcstest.Model{}, func(b *bed) {
			b.put(name, nil)
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			if ok, err := y.Mutex("m").TryLock(b.Context()); ok || err != nil {
				b.Errorf("%s: TryLock = %v, %v", name, ok, err)
			}
			b.unlock(x.Mutex("m"))
			if len(b.srv.Objects(bucket, name)) == 0 {
				b.Errorf("%s was deleted", name)
			}
		})
	}
	// One that stands where the tail must be is an error that names it.
	for what, metadata := range map[string]map[string]string{
		"no metadata":       nil,
		"no numbers":        {"nonce": "x", "kind": "mutex", "ttl": "soon", "claim": "1", "prev": "0", "base": "0"},
		"negative lease":    {"nonce": "x", "kind": "mutex", "ttl": "-30000", "claim": "-1", "prev": "1", "base": "1"},
		"huge numbers":      {"nonce": "x", "kind": "mutex", "ttl": "9223372036854775808", "claim": "9223372036854775807", "prev": "1", "base": "1"},
		"negative previous": {"nonce": "x", "kind": "mutex", "ttl": "30000", "claim": "10000", "prev": "-1", "base": "1"},
	} {
		inBubble(t, gcstest.Model{}, func(b *bed) {
			name := ticket("m", 7)
			b.put(name, metadata)
			h := b.host("x")
			err := h.Mutex("m").Lock(b.Context())
			var foreign *gcsync.ForeignError
			if !errors.As(err, &foreign) || !strings.Contains(err.Error(), name) {
				b.Errorf("%s: Lock = %v, want a ForeignError that names the object", what, err)
			}
			if _, err := h.Mutex("m").TryLock(b.Context()); !errors.As(err, &foreign) {
				b.Errorf("%s: TryLock = %v, want a ForeignError", what, err)
			}
			if len(b.srv.Objects(bucket, name)) == 0 {
				b.Errorf("%s: deleted", what)
			}
		})
	}
}

// A name that others use as something else is refused, and nothing is left of the attempt.
func TestKindMismatch(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		b.put(ticket("m", 7), map[string]string{"nonce": "x", "kind": "rwmutex", "ttl": "30000", "claim": "10000", "prev": "1", "base": "1"})
		var mismatch *gcsync.MismatchError
		err := b.host("x").Mutex("m").Lock(b.Context())
		if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), "rwmutex") {
			b.Errorf("Lock = %v, want a MismatchError that names both", err)
		}
		if n := len(b.srv.Objects(bucket, "")); n != 1 {
			b.Errorf("%d objects, want 1", n)
		}
	})
}

// What only a person can mend fails at once and says what to do.
func TestDeniedRequests(t *testing.T) {
	for _, c := range []struct {
		what string
		make func(b *bed)
		says string
	}{
		{"missing bucket", func(b *bed) {}, "bucket not found"},
		{"no permission to write", func(b *bed) { b.srv.CreateBucket("other", gcstest.BucketConfig{DenyWrite: true}) }, "storage.objects.create"},
		{"no permission at all", func(b *bed) { b.srv.CreateBucket("other", gcstest.BucketConfig{DenyAll: true}) }, "storage.objects.list"},
	} {
		inBubble(t, gcstest.Model{}, func(b *bed) {
			c.make(b)
			client := b.srv.Client(nil)
			defer client.Close()
			g, err := gcsync.New(client.Bucket("other"), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close(b.Context())
			for _, err := range []error{g.Mutex("m").Lock(b.Context()), tryErr(g.Mutex("m"))} {
				if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "gs://other/gcsync/m/t/") {
					b.Errorf("%s: %v, want %q and the object's name", c.what, err, c.says)
				}
			}
		})
	}
}

func tryErr(m *gcsync.Mutex) error {
	_, err := m.TryLock(context.Background())
	return err
}

// Under a retention policy a lock can be had once, and the Unlock says why it cannot be freed.
func TestRetentionPolicy(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		b.srv.CreateBucket(bucket, gcstest.BucketConfig{RetentionPeriod: time.Hour})
		m := b.host("x").Mutex("m")
		b.lock(m)
		err := m.Unlock(b.Context())
		if errors.Is(err, gcsync.ErrUnconfirmed) {
			b.Errorf("Unlock = %v, though no lease frees it", err)
		}
		if err == nil || !strings.Contains(err.Error(), "retention policy") || !strings.Contains(err.Error(), ticket("m", 0)) {
			b.Errorf("Unlock = %v, want a sentence on the retention policy and the object's name", err)
		}
		var e *object.Error
		if !errors.As(err, &e) || e.Outcome != object.Denied {
			b.Errorf("the storage error is not wrapped: %v", err)
		}
	})
}

// However often the service says 429, calls wait instead of failing, and a lock that is held stays held.
func TestThrottlingStorm(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		l := x.Mutex("m").Lease()
		storm := gcstest.Fault{Kind: gcstest.Refuse, Status: 429}
		for _, h := range []*host{x, y} {
			h.faults.Always(func(op gcstest.Op) bool { return op.Seq*2654435761>>16%4 != 0 }, storm) // three of four
		}
		time.AfterFunc(5*time.Minute, func() { x.Mutex("m").Unlock(context.Background()) })
		b.lock(y.Mutex("m"))
		if l.Err() == nil || errors.Is(l.Err(), gcsync.ErrLost) {
			b.Errorf("the holder's lease ended with %v, want a release", l.Err())
		}
		b.unlock(y.Mutex("m"))
	})
	// A storm without a pause outlasts the lease: the loss is told, on time.
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		b.lock(x.Mutex("m"))
		l := x.Mutex("m").Lease()
		x.faults.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 429})
		start := time.Now()
		<-l.Done()
		b.within("the loss", start, 8*time.Second, 9*time.Second)
	})
}

// Callers that never wait for long can clear a dead holder all the same: the service's clock is the witness.
func TestTryLockClearsDeadHolder(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			x := b.host("x")
			b.lock(x.Mutex("m"))
			lease := 10 * time.Second
			if renewed {
				time.Sleep(time.Minute)
				lease = 30 * time.Second
			}
			x.vanish()
			died := time.Now()
			for i := 0; ; i++ { // a cron job: a new process every 5 s
				h := b.host(fmt.Sprint("job", i))
				ok, err := h.Mutex("m").TryLock(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if ok {
					b.unlock(h.Mutex("m"))
					break
				}
				if err := h.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				time.Sleep(5 * time.Second)
			}
			b.within("clearing the dead holder", died, lease, 2*lease+12*time.Second)
		})
	}
	// A holder that lives is never cleared.
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		b.lock(x.Mutex("m"))
		l := x.Mutex("m").Lease()
		for i := range 60 {
			h := b.host(fmt.Sprint("job", i))
			if ok, err := h.Mutex("m").TryLock(b.Context()); ok || err != nil {
				b.Fatalf("TryLock = %v, %v", ok, err)
			}
			h.Close(b.Context())
			time.Sleep(5 * time.Second)
		}
		if l.Err() != nil {
			b.Error(l.Err())
		}
	})
}

// The same for a Lock with a deadline that is shorter than any lease.
func TestShortLocksClearDeadHolder(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		b.lock(x.Mutex("m"))
		x.vanish()
		died := time.Now()
		for i := 0; ; i++ {
			h := b.host(fmt.Sprint("job", i))
			ctx, cancel := context.WithTimeout(b.Context(), 3*time.Second)
			err := h.Mutex("m").Lock(ctx)
			cancel()
			if err == nil {
				b.unlock(h.Mutex("m"))
				break
			}
			h.Close(b.Context())
			time.Sleep(2 * time.Second)
		}
		b.within("clearing the dead holder", died, 10*time.Second, 40*time.Second)
	})
}

// The user's storage client keeps its own retry settings.
func TestCallersHandleIsLeftAlone(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		faults := gcstest.NewFaults(1)
		client := b.srv.Client(faults)
		defer client.Close()
		defer faults.Close()
		handle := client.Bucket(bucket).Retryer(storage.WithPolicy(storage.RetryAlways))
		c, err := gcsync.New(handle, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.lock(c.Mutex("m"))
		b.unlock(c.Mutex("m"))
		faults.Script(gcstest.On(gcstest.Get, "theirs"), gcstest.Fault{Kind: gcstest.Refuse, Status: 503})
		if _, err := handle.Object("theirs").Attrs(b.Context()); !errors.Is(err, storage.ErrObjectNotExist) {
			b.Errorf("the caller's own read was not retried: %v", err)
		}
		c.Close(b.Context())
	})
}

// A renewal that is answered when the lease is over has come too late, though the service has carried it out: what was
// announced as lost stays lost.
func TestLateAnswerDoesNotReviveALease(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x", func(o *gcsync.Options) {
			o.Backoff = func() backoff.BackOff { return backoff.NewConstantBackOff(100 * time.Millisecond) }
		})
		b.lock(x.Mutex("m"))
		l := x.Mutex("m").Lease()
		allow := x.faults.Always(gcstest.On(gcstest.Patch, ""), gcstest.Fault{Kind: gcstest.Refuse, Status: 503})
		time.Sleep(time.Until(l.Deadline()) - time.Second)
		renewed := make(chan struct{}, 1)
		b.srv.Observe(func(r gcstest.Record) {
			if r.Kind == gcstest.Patch && r.Status == 200 {
				renewed <- struct{}{}
			}
		})
		allow()
		<-renewed
		x.faults.Pause() // the answer is on its way
		<-l.Done()
		time.Sleep(time.Second)
		x.faults.Resume()
		time.Sleep(time.Second)
		if err := x.Mutex("m").Unlock(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Unlock = %v, want ErrLost", err)
		}
	})
}
