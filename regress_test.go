package gcsync_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/queue"
)

// Each test here is a bug that was found once, by a simulated schedule or by reading.

// A waiter that read a baton before it knew its holder to be the head timed the holder from that read.
func TestExpiryIsTimedFromTheProof(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		j, k := b.host("j"), b.host("k")
		b.lock(j.Mutex("m"))
		kgot := make(chan error, 1)
		go func() { kgot <- k.Mutex("m").Lock(context.Background()) }()
		time.Sleep(1500 * time.Millisecond)
		jgot := make(chan error, 1)
		go func() { jgot <- j.Mutex("m").Lock(context.Background()) }()
		time.Sleep(500 * time.Millisecond)
		// j's release takes its time, and so does the read by which j finds out that it is through.
		j.faults.Script(gcstest.On(gcstest.Delete, ticket("m", 0)), gcstest.Fault{Kind: gcstest.Delay, Delay: 1800 * time.Millisecond})
		j.faults.Script(gcstest.On(gcstest.Get, ticket("m", 0)), gcstest.Fault{Kind: gcstest.Delay, Delay: 1900 * time.Millisecond})
		b.unlock(j.Mutex("m"))
		if err := <-kgot; err != nil {
			b.Fatal(err)
		}
		held := k.Mutex("m").Lease()
		k.faults.Partition(true)
		if err := <-jgot; err != nil {
			b.Fatal(err)
		}
		if held.Err() == nil {
			b.Errorf("both believe; the old holder for %v more", time.Until(held.Deadline()))
		}
		k.Mutex("m").Unlock(b.Context())
		b.unlock(j.Mutex("m"))
	})
}

// A renewal with a TTL below the predecessor's claim bound the others' patience before it bound the holder's belief.
func TestRenewalNeverShortensTheLease(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		a, c := b.host("a"), b.host("c")
		x := b.host("x", func(o *gcsync.Options) { o.TTL = 4 * time.Second })
		b.lock(a.Mutex("m"))
		b.unlock(a.Mutex("m"))
		x.faults.Script(gcstest.On(gcstest.Patch, ""), gcstest.Fault{Kind: gcstest.LoseAnswer})
		b.lock(x.Mutex("m"))
		held := x.Mutex("m").Lease()
		got := make(chan error, 1)
		go func() { got <- c.Mutex("m").Lock(context.Background()) }()
		for x.faults.Counts()[gcstest.LoseAnswer] == 0 {
			time.Sleep(time.Millisecond)
		}
		x.faults.Partition(true)
		if err := <-got; err != nil {
			b.Fatal(err)
		}
		if held.Err() == nil {
			b.Errorf("both believe; the old holder for %v more", time.Until(held.Deadline()))
		}
		x.Mutex("m").Unlock(b.Context())
		b.unlock(c.Mutex("m"))
	})
}

// After 2^19 local turns within one linger the pass ran into the ticket's part of the token.
func TestTokensOutlastManyTurns(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		x := b.host("x", func(o *gcsync.Options) { o.Linger = 250 * time.Millisecond })
		m := x.Mutex("m")
		last := int64(0)
		turn := func() {
			b.lock(m)
			if token := m.Lease().Token(); token <= last {
				b.Fatalf("token %d after %d", token, last)
			} else {
				last = token
			}
			b.unlock(m)
		}
		for range 3 {
			turn()
		}
		gcsync.SkipPasses(x.Client, "m", 1<<19-10)
		for range 30 {
			turn()
		}
		if n := x.events.count(queue.Granted); n < 2 {
			b.Errorf("%d tickets for more turns than a token can count", n)
		}
	})
}

// A Lock that was cancelled in the moment of its grant, with the client closing at the same time, panicked.
func TestCloseWhileACancelledWaiterIsGranted(t *testing.T) {
	for range 200 {
		inBubble(t, gcstest.Model{}, func(b *bed) {
			m := b.host("x")
			b.lock(m.Mutex("m"))
			ctx, cancel := context.WithCancel(b.Context())
			var work sync.WaitGroup
			work.Go(func() { m.Mutex("m").Lock(ctx) })
			time.Sleep(time.Second)
			work.Go(func() { m.Mutex("m").Unlock(b.Context()) })
			work.Go(cancel)
			work.Go(func() { m.Close(context.Background()) })
			work.Wait()
		})
	}
}

// An Unlock too many, in the moment of a grant, panicked.
func TestStrayUnlock(t *testing.T) {
	for range 200 {
		inBubble(t, gcstest.Model{}, func(b *bed) {
			m := b.host("x").Mutex("m")
			var work sync.WaitGroup
			for range 3 {
				work.Go(func() {
					m.Lock(b.Context())
					m.Unlock(b.Context())
				})
				work.Go(func() { m.Unlock(b.Context()) })
			}
			work.Wait()
		})
	}
}

// A client that was closed in the moment of a grant kept the lock, or said that it had it.
func TestCloseInTheMomentOfTheGrant(t *testing.T) {
	for _, try := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			y := b.host("y")
			var c *gcsync.Client
			closed := make(chan error, 1)
			o := &gcsync.Options{Linger: -1}
			gcsync.Instrument(o, clock.Clock{}, func(e queue.Event, _ string) {
				if e == queue.Granted {
					go func() { closed <- c.Close(context.Background()) }()
					time.Sleep(time.Millisecond)
				}
			})
			storage := b.srv.Client(nil)
			defer storage.Close()
			var err error
			if c, err = gcsync.New(storage.Bucket(bucket), o); err != nil {
				b.Fatal(err)
			}
			if try {
				var ok bool
				if ok, err = c.Mutex("m").TryLock(b.Context()); ok {
					b.Error("TryLock of a closed client succeeded")
				}
			} else {
				err = c.Mutex("m").Lock(b.Context())
			}
			if !errors.Is(err, gcsync.ErrClosed) {
				b.Errorf("%v, want ErrClosed", err)
			}
			<-closed
			start := time.Now()
			b.lock(y.Mutex("m"))
			b.within("the next Lock", start, 0, time.Second)
			b.unlock(y.Mutex("m"))
		})
	}
}

// A client that is closed while it queues costs the others nothing, at whatever step it is.
func TestCloseAtEveryStep(t *testing.T) {
	for _, held := range []bool{false, true} {
		for after := time.Duration(0); after < 300*time.Millisecond; after += 5 * time.Millisecond {
			inBubble(t, typical, func(b *bed) {
				x, y, z := b.host("x"), b.host("y"), b.host("z")
				b.lock(z.Mutex("m"))
				if !held {
					b.unlock(z.Mutex("m"))
				}
				done := make(chan error, 1)
				go func() { done <- x.Mutex("m").Lock(context.Background()) }()
				time.Sleep(after)
				if err := x.Close(b.Context()); err != nil {
					b.Error(err)
				}
				<-done
				if held {
					b.unlock(z.Mutex("m"))
				}
				start := time.Now()
				b.lock(y.Mutex("m"))
				b.within("Lock after a Close", start, 0, 2*time.Second)
				b.unlock(y.Mutex("m"))
			})
		}
	}
}

// With a short claim, a client that closed gave up marking its ticket before the service took a change of an object that
// young: the others waited for the whole claim.
func TestCloseSoonAfterTheOneBefore(t *testing.T) {
	inBubble(t, gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 1, Seed: 1}, func(b *bed) {
		short := func(o *gcsync.Options) { o.Claim = 3 * time.Second }
		x, y, z := b.host("x", short), b.host("y", short), b.host("z", short)
		b.lock(z.Mutex("m"))
		done := make(chan error, 1)
		go func() { done <- x.Mutex("m").Lock(context.Background()) }()
		time.Sleep(200 * time.Millisecond)
		if err := x.Close(b.Context()); err != nil {
			b.Error(err)
		}
		<-done
		b.unlock(z.Mutex("m"))
		start := time.Now()
		b.lock(y.Mutex("m"))
		b.within("Lock after a Close", start, 0, 2*time.Second)
		b.unlock(y.Mutex("m"))
	})
}

// An Unlock that had no answer yet when its client closed was not gone on with: the others waited for the lease.
func TestCloseDuringUnlock(t *testing.T) {
	inBubble(t, gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 0.5, Burst: 1, Seed: 1}, func(b *bed) {
		short := func(o *gcsync.Options) { o.TTL, o.Claim = 4*time.Second, 4*time.Second }
		x, y := b.host("x", short), b.host("y", short)
		b.lock(x.Mutex("m"))
		done := make(chan error, 1)
		go func() { done <- x.Mutex("m").Unlock(context.Background()) }() // of a baton too young to be deleted
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		if err := x.Close(b.Context()); err != nil {
			b.Error(err)
		}
		if err := <-done; !errors.Is(err, gcsync.ErrUnconfirmed) {
			b.Errorf("Unlock = %v, want ErrUnconfirmed: the test tests nothing", err)
		}
		b.lock(y.Mutex("m"))
		b.within("Lock after a Close during an Unlock", start, 0, 3*time.Second)
		b.unlock(y.Mutex("m"))
	})
}

// TryLock of a held lock failed when its witness could not be written.
func TestTryLockWithoutWitness(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		for _, status := range []int{429, 403} {
			y.faults.Script(gcstest.On(gcstest.Insert, ""), gcstest.Fault{Kind: gcstest.Refuse, Status: status})
			if ok, err := y.Mutex("m").TryLock(b.Context()); ok || err != nil {
				b.Errorf("TryLock of a held lock with a %d for its witness = %v, %v", status, ok, err)
			}
		}
		b.unlock(x.Mutex("m"))
	})
}

// TryLock went on for ever when a read was forbidden, and kept every Lock of its client waiting.
func TestTryLockForbiddenRead(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		for range 3 {
			b.lock(x.Mutex("m"))
			b.unlock(x.Mutex("m"))
		}
		allow := y.faults.Always(gcstest.On(gcstest.Get, ticket("m", 2)), gcstest.Fault{Kind: gcstest.Refuse, Status: 403})
		start := time.Now()
		if ok, err := y.Mutex("m").TryLock(b.Context()); ok || err == nil {
			b.Errorf("TryLock = %v, %v", ok, err)
		}
		b.within("TryLock", start, 0, 12*time.Second) // a denial among other answers is believed when it has lasted
		time.Sleep(time.Second)                       // until the attempt in the background has failed as well
		allow()
		start = time.Now()
		b.lock(y.Mutex("m"))
		b.within("Lock once it is allowed", start, 0, 3*time.Second)
		b.unlock(y.Mutex("m"))
	})
}

// What a client remembers of a silent holder was forgotten every two seconds.
func TestTryLockRemembersASilentHolder(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		x.vanish()
		start := time.Now()
		for {
			ok, err := y.Mutex("m").TryLock(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if ok {
				break
			}
			time.Sleep(3 * time.Second)
		}
		b.within("clearing the dead holder", start, 10*time.Second, 14*time.Second)
		b.unlock(y.Mutex("m"))
	})
	// Trying a lock that lives costs a listing each time, and little else.
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		time.Sleep(20 * time.Second)
		before := y.Usage()
		for range 20 {
			y.Mutex("m").TryLock(b.Context())
			time.Sleep(3 * time.Second)
		}
		if n := y.Usage().ClassA - before.ClassA; n > 20 {
			b.Errorf("20 calls cost %d class A requests", n)
		}
		b.unlock(x.Mutex("m"))
	})
}

// Short claims and long pauses between looks made waiters lose their place though nothing was wrong.
func TestNobodyIsRequeuedWithoutFaults(t *testing.T) {
	for _, claim := range []time.Duration{3 * time.Second, 10 * time.Second} {
		inBubble(t, typical, func(b *bed) {
			var work sync.WaitGroup
			var hosts []*host
			for i := range 6 {
				h := b.host(string(rune('a'+i)), func(o *gcsync.Options) { o.Claim = claim })
				hosts = append(hosts, h)
				rng := rand.New(rand.NewPCG(1, uint64(i)))
				work.Go(func() {
					for range 20 {
						b.lock(h.Mutex("m"))
						d := 10 * time.Millisecond
						if rng.IntN(2) == 0 {
							d = 6 * time.Second
						}
						time.Sleep(d)
						b.unlock(h.Mutex("m"))
					}
				})
			}
			work.Wait()
			for _, h := range hosts {
				if n := h.events.count(queue.Requeued); n > 0 {
					b.Errorf("claim %v: requeued %d times", claim, n)
				}
			}
		})
	}
}

// While the service fails, those who wait ask less and less often, and so do those who have left.
func TestOutageIsNotAnsweredWithAStorm(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		go func() { y.Mutex("m").Lock(context.Background()) }()
		time.Sleep(time.Second)
		before := y.Usage()
		heal := y.faults.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 503})
		time.Sleep(time.Minute)
		if n := y.Usage().Unknown - before.Unknown; n > 120 {
			b.Errorf("%d requests in a minute of 503", n)
		}
		heal()
		b.unlock(x.Mutex("m"))
	})
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		y.faults.Always(gcstest.On(gcstest.Insert, "/w/"), gcstest.Fault{Kind: gcstest.Refuse, Status: 503})
		for range 20 {
			ctx, cancel := context.WithTimeout(b.Context(), 300*time.Millisecond)
			y.Mutex("m").Lock(ctx)
			cancel()
		}
		b.unlock(x.Mutex("m"))
		time.Sleep(5 * time.Second)
		before := y.Usage()
		time.Sleep(time.Minute)
		if y.Usage() != before {
			b.Errorf("requests go on with nobody waiting: %+v, before %+v", y.Usage(), before)
		}
		start := time.Now()
		y.Close(b.Context())
		b.within("Close", start, 0, time.Second)
	})
}

// A client that was paused between its create and its verification finds the ticket that it was built on gone, and must
// not take itself for a ghost: the ticket is somebody's baton by now, or the tail.
func TestExpiredBeforeItWasVerified(t *testing.T) {
	for _, followed := range []bool{true, false} {
		inBubble(t, typical, func(b *bed) {
			x, z := b.host("x"), b.host("z")
			b.lock(z.Mutex("m"))
			b.unlock(z.Mutex("m"))
			// The answers of x's reads of its base get lost for as long as it takes the others to give x up.
			heal := x.faults.Always(gcstest.On(gcstest.Get, ticket("m", 1)), gcstest.Fault{Kind: gcstest.Stall})
			xgot := make(chan error, 1)
			go func() { xgot <- x.Mutex("m").Lock(context.Background()) }()
			time.Sleep(time.Second)
			if followed {
				b.lock(z.Mutex("m"))
			} else {
				for {
					ok, err := z.Mutex("m").TryLock(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if ok {
						break
					}
					time.Sleep(3 * time.Second)
				}
			}
			heal()
			held := z.Mutex("m").Lease()
			time.Sleep(time.Minute)
			if err := held.Err(); err != nil {
				b.Errorf("followed %v: %v", followed, err)
			}
			b.unlock(z.Mutex("m"))
			if err := <-xgot; err != nil {
				b.Fatal(err)
			}
			if x.events.count(queue.ExpiredUnseen) != 1 || x.events.count(queue.GhostDeleted) != 0 {
				b.Errorf("followed %v: expired unseen %d times, ghost deleted %d times", followed, x.events.count(queue.ExpiredUnseen), x.events.count(queue.GhostDeleted))
			}
			b.unlock(x.Mutex("m"))
			b.unlocked("m")
		})
	}
	// Nobody is behind, and the one that cleared it does not stay.
	inBubble(t, typical, func(b *bed) {
		x, z := b.host("x"), b.host("z")
		b.lock(z.Mutex("m"))
		b.unlock(z.Mutex("m"))
		heal := x.faults.Always(gcstest.On(gcstest.Get, ticket("m", 1)), gcstest.Fault{Kind: gcstest.Stall})
		z.faults.Always(gcstest.On(gcstest.Insert, "/t/"), gcstest.Fault{Kind: gcstest.Refuse, Status: 403})
		xgot := make(chan error, 1)
		go func() { xgot <- x.Mutex("m").Lock(context.Background()) }()
		time.Sleep(time.Second)
		for z.events.count(queue.SilenceProven) == 0 {
			z.Mutex("m").TryLock(b.Context())
			time.Sleep(3 * time.Second)
		}
		heal()
		if err := <-xgot; err != nil {
			b.Fatal(err)
		}
		if x.events.count(queue.Bootstrapped) != 0 || x.events.count(queue.ExpiredUnseen) != 1 {
			b.Error("the tail was deleted, and the queue began anew")
		}
		b.unlock(x.Mutex("m"))
	})
}

// Whoever finds the queue empty creates ticket 0. It must be taken back if the queue had come to life meanwhile, and must
// not if others have built on it.
func TestBootstrapRaces(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		x.faults.Script(gcstest.On(gcstest.Insert, ticket("m", 0)), gcstest.Fault{Kind: gcstest.Delay, Delay: 1500 * time.Millisecond})
		xgot := make(chan error, 1)
		go func() { xgot <- x.Mutex("m").Lock(context.Background()) }()
		time.Sleep(100 * time.Millisecond)
		for range 3 {
			b.lock(y.Mutex("m"))
			b.unlock(y.Mutex("m"))
		}
		if err := <-xgot; err != nil {
			b.Fatal(err)
		}
		if x.events.count(queue.BootstrapUndone) != 1 {
			b.Error("a late ticket 0 was not taken back")
		}
		b.unlock(x.Mutex("m"))
		b.unlocked("m")
	})
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		// x looks again only when y has built on its ticket 0.
		x.faults.Script(gcstest.On(gcstest.List, ""), gcstest.Fault{}, gcstest.Fault{Kind: gcstest.Delay, Delay: 1500 * time.Millisecond})
		xgot := make(chan error, 1)
		go func() { xgot <- x.Mutex("m").Lock(context.Background()) }()
		time.Sleep(500 * time.Millisecond)
		b.lock(y.Mutex("m"))
		held := y.Mutex("m").Lease()
		time.Sleep(time.Minute)
		if err := held.Err(); err != nil {
			b.Errorf("the first holder lost its baton: %v", err)
		}
		b.unlock(y.Mutex("m"))
		if err := <-xgot; err != nil {
			b.Fatal(err)
		}
		b.unlock(x.Mutex("m"))
	})
}

// A ticket that we may have marked as abandoned is not taken up again: others obey the mark, however late it arrives.
func TestAbandonedTicketIsNotTakenUpAgain(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		b.lock(x.Mutex("m"))
		failed := make(chan error, 1)
		go func() { failed <- y.Mutex("m").Lock(context.Background()) }()
		time.Sleep(500 * time.Millisecond)
		lost := y.faults.Always(gcstest.On(gcstest.Patch, ""), gcstest.Fault{Kind: gcstest.LoseAnswer})
		blind := y.faults.Always(gcstest.On(gcstest.Get, ""), gcstest.Fault{Kind: gcstest.Refuse, Status: 403})
		go z.Mutex("m").Lock(context.Background())
		if err := <-failed; err == nil {
			b.Fatal("let in")
		}
		lost()
		blind()
		go y.Mutex("m").Lock(context.Background())
		time.Sleep(500 * time.Millisecond)
		b.unlock(x.Mutex("m"))
		for range 400 {
			time.Sleep(10 * time.Millisecond)
			mine, theirs := y.Mutex("m").Lease(), z.Mutex("m").Lease()
			if mine != nil && mine.Err() == nil && theirs != nil && theirs.Err() == nil {
				b.Fatal("two believe")
			}
		}
		y.vanish()
		z.vanish()
	})
}
