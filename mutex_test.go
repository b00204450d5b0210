package gcsync_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

func TestMutexExcludesAcrossClients(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		var work sync.WaitGroup
		inside, entered := 0, 0
		var tokens []int64
		for i := range 6 {
			m := b.host(string(rune('a' + i))).Mutex("jobs/rebuild")
			for range 2 {
				work.Go(func() {
					for range 5 {
						b.lock(m)
						inside++
						if inside != 1 {
							b.Errorf("%d inside", inside)
						}
						entered++
						tokens = append(tokens, m.Lease().Token())
						time.Sleep(20 * time.Millisecond)
						inside--
						b.unlock(m)
					}
				})
			}
		}
		work.Wait()
		if entered != 60 {
			b.Errorf("entered %d times, want 60", entered)
		}
		if !slices.IsSorted(tokens) || len(slices.Compact(slices.Clone(tokens))) != len(tokens) {
			b.Errorf("tokens do not strictly increase: %v", tokens)
		}
		b.unlocked("jobs/rebuild")
	})
}

// The n'th process to come is the n'th to get the lock.
func TestMutexIsFair(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		first := b.host("first").Mutex("m")
		b.lock(first)
		var order []int
		var work sync.WaitGroup
		for i := range 10 {
			m := b.host(string(rune('a' + i))).Mutex("m")
			work.Go(func() {
				b.lock(m)
				order = append(order, i)
				b.unlock(m)
			})
			time.Sleep(time.Second) // until it has its ticket
		}
		b.unlock(first)
		work.Wait()
		if !slices.IsSorted(order) || len(order) != 10 {
			b.Errorf("order of grants: %v", order)
		}
	})
}

// While another process waits, the goroutines of one pass the lock on among themselves 16 times at most; without one
// they keep it.
func TestMutexLocalPassesAreLimited(t *testing.T) {
	for _, contended := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			a, other := b.host("a"), b.host("other")
			m := a.Mutex("m")
			b.lock(m)
			var work sync.WaitGroup
			taken, before := 0, -1
			for range 40 {
				work.Go(func() {
					b.lock(m)
					taken++
					time.Sleep(10 * time.Millisecond)
					b.unlock(m)
				})
			}
			if contended {
				work.Go(func() {
					b.lock(other.Mutex("m"))
					before = taken
					b.unlock(other.Mutex("m"))
				})
			}
			time.Sleep(time.Second)
			b.unlock(m)
			work.Wait()
			switch {
			case taken != 40:
				b.Errorf("%d local turns, want 40", taken)
			case contended && before > 16:
				b.Errorf("the other process waited for %d local turns, want 16 at most", before)
			case !contended && a.events.count(queue.Granted) != 1:
				b.Errorf("%d tickets for 41 local turns, want 1", a.events.count(queue.Granted))
			}
		})
	}
}

// The limit holds however long the process has kept the name before the other came.
func TestMutexLocalPassesAreLimitedLate(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x").Mutex("m"), b.host("y").Mutex("m")
		ctx, stop := context.WithCancel(b.Context())
		var work sync.WaitGroup
		var turns atomic.Int64
		for range 2 {
			work.Go(func() {
				for ctx.Err() == nil {
					b.lock(x)
					turns.Add(1)
					time.Sleep(10 * time.Millisecond)
					b.unlock(x)
				}
			})
		}
		time.Sleep(time.Minute)
		start, before := time.Now(), turns.Load()
		b.lock(y)
		b.within("Lock beside a busy process", start, 0, 800*time.Millisecond)
		if n := turns.Load() - before; n > 80 {
			b.Errorf("%d turns of the other process meanwhile", n)
		}
		stop()
		b.unlock(y)
		work.Wait()
	})
}

// A name that another client takes often, and for a moment each time, is free most of the time, and a TryLock gets it.
func TestLingerDoesNotStarveTryLock(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		often := func(o *gcsync.Options) { o.Linger = 0 }
		x, y := b.host("x", often).Mutex("m"), b.host("y", often).Mutex("m")
		ctx, stop := context.WithTimeout(b.Context(), time.Minute)
		defer stop()
		var work sync.WaitGroup
		work.Go(func() {
			for ctx.Err() == nil {
				b.lock(x)
				time.Sleep(time.Millisecond)
				b.unlock(x)
				time.Sleep(200 * time.Millisecond)
			}
		})
		tries, got := 0, 0
		for ctx.Err() == nil {
			ok, err := y.TryLock(b.Context())
			if err != nil {
				b.Error(err)
			}
			if tries++; ok {
				got++
				b.unlock(y)
			}
			time.Sleep(150 * time.Millisecond)
		}
		work.Wait()
		if got < tries/4 {
			b.Errorf("%d of %d tries succeeded", got, tries)
		}
	})
}

// A call of the wrong kind does not spoil the name for the right kind.
func TestWrongKindSpoilsNothing(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		if err := x.RWMutex("rw").RLock(b.Context()); err != nil {
			b.Fatal(err)
		}
		var mismatch *gcsync.MismatchError
		if _, err := y.Mutex("rw").TryLock(b.Context()); !errors.As(err, &mismatch) {
			b.Errorf("TryLock of a mutex where there is an RWMutex: %v", err)
		}
		if err := y.RWMutex("rw").RLock(b.Context()); err != nil {
			b.Errorf("and then of the right kind: %v", err)
		}
	})
}

func TestMutexTryLock(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x").Mutex("m"), b.host("y").Mutex("m")
		try := func(m *gcsync.Mutex, want bool) {
			b.Helper()
			if got, err := m.TryLock(b.Context()); got != want || err != nil {
				b.Fatalf("TryLock = %v, %v, want %v", got, err, want)
			}
		}
		try(x, true)
		try(x, false) // held here
		try(y, false) // held there
		if n := len(b.srv.Objects(bucket, "gcsync/m/t/")); n != 2 {
			b.Errorf("%d tickets after a TryLock that failed, want 2: it must leave none", n)
		}
		b.unlock(x)
		try(y, true)
		b.unlock(y)
		b.unlocked("m")
	})
}

// An Unlock without a Lock is told, and breaks nothing.
func TestMutexUnlockOfUnlocked(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x").Mutex("m"), b.host("y").Mutex("m")
		b.lock(x)
		if err := y.Unlock(b.Context()); !errors.Is(err, gcsync.ErrNotHeld) {
			b.Errorf("Unlock = %v, want ErrNotHeld", err)
		}
		if x.Lease().Err() != nil {
			b.Error("the other process lost its lock")
		}
		b.unlock(x)
		if err := x.Unlock(b.Context()); !errors.Is(err, gcsync.ErrNotHeld) {
			b.Errorf("second Unlock = %v, want ErrNotHeld", err)
		}
	})
}

func TestMutexUnlockIgnoresCancellation(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		m := b.host("x").Mutex("m")
		b.lock(m)
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		if err := m.Unlock(ctx); err != nil {
			b.Fatal(err)
		}
		b.unlocked("m")
	})
}

// Whoever still looks at a lease when the lock is given up, by Unlock or by Close, sees it over before the service does.
func TestBeliefEndsBeforeTheRelease(t *testing.T) {
	for _, closing := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			h := b.host("x")
			b.lock(h.Mutex("m"))
			time.Sleep(5 * time.Second)
			l := h.Mutex("m").Lease()
			var deleted atomic.Bool
			b.srv.Observe(func(r gcstest.Record) {
				if r.Kind == gcstest.Delete {
					deleted.Store(true)
					if l.Err() == nil {
						b.Errorf("closing %v: the baton is deleted and the lease still believed", closing)
					}
				}
			})
			if closing {
				h.Close(b.Context())
			} else {
				h.Mutex("m").Unlock(b.Context())
			}
			if !deleted.Load() {
				b.Error("nothing was deleted")
			}
		})
	}
}

func TestMutexDo(t *testing.T) {
	mine := errors.New("mine")
	inBubble(t, typical, func(b *bed) {
		h := b.host("x")
		m := h.Mutex("m")
		err := m.Do(b.Context(), func(ctx context.Context) error {
			token, ok := lease.TokenFrom(ctx)
			if !ok || token != m.Lease().Token() {
				b.Errorf("TokenFrom = %d, %v", token, ok)
			}
			return mine
		})
		if !errors.Is(err, mine) || errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Do = %v", err)
		}
		func() {
			defer func() {
				if recover() != "boom" {
					b.Error("the panic was swallowed")
				}
			}()
			m.Do(b.Context(), func(context.Context) error { panic("boom") })
		}()
		b.unlocked("m")

		err = m.Do(b.Context(), func(ctx context.Context) error {
			h.faults.Partition(true)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), gcsync.ErrLost) {
				b.Errorf("cause = %v", context.Cause(ctx))
			}
			return mine
		})
		if !errors.Is(err, mine) || !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Do after a loss = %v, want both errors", err)
		}
	})
}

// A name that is locked again at once stays here for a moment, and then locking takes no request at all.
func TestMutexLinger(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x", func(o *gcsync.Options) { o.Linger = 0 })
		m := h.Mutex("m")
		b.lock(m)
		b.unlock(m)
		b.unlocked("m") // one Lock and Unlock leave nothing behind
		b.lock(m)
		b.unlock(m)
		before := b.srv.Stats()
		for range 100 {
			b.lock(m)
			b.unlock(m)
		}
		if after := b.srv.Stats(); after.ClassA != before.ClassA || after.ClassB != before.ClassB {
			b.Errorf("relocking cost requests: %+v, before %+v", after, before)
		}
		b.lock(m)
		time.Sleep(400 * time.Millisecond) // so that it stays for longer than the other takes to come
		b.unlock(m)
		start := time.Now()
		other := b.host("y").Mutex("m")
		b.lock(other)
		b.within("another process's Lock", start, 0, 600*time.Millisecond)
		if h.events.count(queue.LingerCut) != 1 {
			b.Error("the linger was not cut short")
		}
		b.unlock(other)
	})
	// Without anybody else it ends by itself.
	inBubble(t, typical, func(b *bed) {
		m := b.host("x", func(o *gcsync.Options) { o.Linger = 0 }).Mutex("m")
		for range 3 {
			b.lock(m)
			b.unlock(m)
		}
		time.Sleep(time.Second)
		b.unlocked("m")
	})
}

// A warm Lock and Unlock take four requests, of which two are free: a delete, and the look whether it is done.
func TestMutexRequests(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		m := b.host("x").Mutex("m")
		b.lock(m)
		b.unlock(m)
		before := b.srv.Stats()
		const rounds = 20
		for range rounds {
			b.lock(m)
			b.unlock(m)
		}
		time.Sleep(time.Second)
		after := b.srv.Stats()
		a, r, f := after.ClassA-before.ClassA, after.ClassB-before.ClassB, after.Free-before.Free
		if a != rounds || r != rounds || f > 3*rounds {
			b.Errorf("%d rounds took %d creates, %d charged reads and %d free requests", rounds, a, r, f)
		}
	})
}

// All handles of a name and client are one mutex; other names, however alike, are others.
func TestMutexNames(t *testing.T) {
	names := []string{"a", "a/t", "a/t/0000000000000000000", "a/", "/a", "a//t", "A", "a#1", "a?b", "a%2F", "a b", "..", ".", "ä", "世界", "t", "w",
		"a/w", "a\nb", "*", "x[1]", "h", "run", "done", strings.Repeat("long", 200)}
	inBubble(t, gcstest.Model{}, func(b *bed) {
		h, other := b.host("x"), b.host("y")
		for _, name := range names {
			ok, err := h.Mutex(name).TryLock(b.Context())
			if err != nil || !ok {
				b.Fatalf("TryLock of %q = %v, %v", name, ok, err)
			}
		}
		for _, name := range names {
			if ok, err := other.Mutex(name).TryLock(b.Context()); ok || err != nil {
				b.Errorf("TryLock of %q by another = %v, %v", name, ok, err)
			}
			b.unlock(h.Mutex(name))
			if ok, err := other.Mutex(name).TryLock(b.Context()); !ok || err != nil {
				b.Errorf("TryLock of %q, now free = %v, %v", name, ok, err)
			}
		}
		for _, name := range []string{"", strings.Repeat("long", 300), "\xff"} {
			if err := h.Mutex(name).Lock(b.Context()); err == nil {
				b.Errorf("Lock of the impossible name %.20q succeeded", name)
			}
		}
	})
}

func TestNewRefusesTimingsThatCannotWork(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		storage := b.srv.Client(nil)
		defer storage.Close()
		for _, o := range []gcsync.Options{
			{TTL: 2 * time.Second},
			{Claim: 2 * time.Second},
			{Claim: time.Minute},
			{TTL: -time.Second},
		} {
			if _, err := gcsync.New(storage.Bucket(bucket), &o); err == nil || !strings.Contains(err.Error(), "make it") {
				b.Errorf("New with %+v: %v, want an error that says what to change", o, err)
			}
		}
		if _, err := gcsync.New(nil, nil); err == nil {
			b.Error("New without a bucket succeeded")
		}
	})
}

func TestCloseWithWaiters(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		holder, waiting, last := b.host("holder"), b.host("waiting"), b.host("last")
		b.lock(holder.Mutex("m"))
		b.lock(waiting.Mutex("other"))

		errs := make(chan error, 3)
		for range 2 {
			go func() { errs <- waiting.Mutex("m").Lock(context.Background()) }()
		}
		time.Sleep(time.Second)
		go func() { errs <- last.Mutex("m").Lock(context.Background()) }()
		time.Sleep(time.Second)

		l := waiting.Mutex("other").Lease()
		if err := waiting.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, gcsync.ErrClosed) {
				b.Errorf("Lock of a closed client = %v, want ErrClosed", err)
			}
		}
		if l.Err() == nil {
			b.Error("what the closed client held is still believed")
		}
		b.unlocked("other")
		if err := waiting.Mutex("m").Lock(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Lock after Close = %v", err)
		}
		if err := waiting.Mutex("other").Unlock(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Unlock after Close = %v", err)
		}
		if _, err := waiting.Mutex("m").TryLock(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("TryLock after Close = %v", err)
		}
		if err := waiting.Close(b.Context()); err != nil {
			b.Errorf("second Close = %v", err)
		}

		start := time.Now()
		b.unlock(holder.Mutex("m"))
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
		b.within("getting past the closed client's ticket", start, 0, time.Second)
		b.unlock(last.Mutex("m"))
	})
}

// Close does not outwait its context, however dead the network is.
func TestCloseIsBounded(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x")
		b.lock(h.Mutex("m"))
		h.faults.Partition(true)
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := h.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Close = %v", err)
		}
		b.within("Close", start, time.Second, 1100*time.Millisecond)
		synctest.Wait()
	})
}

// A thousand names on one client cost a thousand names' memory only for as long as they are used.
func TestManyNames(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		h := b.host("x")
		for i := range 1000 {
			m := h.Mutex("m/" + string(rune('a'+i%26)) + strings.Repeat("x", i/26))
			b.lock(m)
			b.unlock(m)
		}
		time.Sleep(time.Minute)
		if n := gcsync.Names(h.Client); n != 0 {
			b.Errorf("%d names remembered after a minute of idleness", n)
		}
	})
}
