package gcsync_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

func (b *bed) rlock(m *gcsync.RWMutex) {
	b.Helper()
	if err := m.RLock(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func (b *bed) runlock(m *gcsync.RWMutex) {
	b.Helper()
	if err := m.RUnlock(context.Background()); err != nil {
		b.Error(err)
	}
}

func (b *bed) wlock(m *gcsync.RWMutex) {
	b.Helper()
	if err := m.Lock(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func (b *bed) wunlock(m *gcsync.RWMutex) {
	b.Helper()
	if err := m.Unlock(context.Background()); err != nil {
		b.Error(err)
	}
}

// The hammer test of sync.RWMutex, across clients: a writer is alone, readers are together.
func TestRWMutexHammer(t *testing.T) {
	for _, linger := range []time.Duration{-1, 250 * time.Millisecond} {
		inBubble(t, typical, func(b *bed) {
			var readers, writers, together atomic.Int64
			var all sync.WaitGroup
			for i := range 4 {
				m := b.host("h", func(o *gcsync.Options) { o.Linger = linger }).RWMutex("m")
				for g := range 3 {
					rng := rand.New(rand.NewPCG(uint64(i), uint64(g)))
					all.Go(func() {
						for range 10 {
							if rng.IntN(3) == 0 {
								b.wlock(m)
								if writers.Add(1) != 1 || readers.Load() != 0 {
									b.Errorf("%d writers and %d readers", writers.Load(), readers.Load())
								}
								time.Sleep(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
								writers.Add(-1)
								b.wunlock(m)
							} else {
								b.rlock(m)
								if n := readers.Add(1); writers.Load() != 0 {
									b.Errorf("%d writers and %d readers", writers.Load(), n)
								} else if n > together.Load() {
									together.Store(n)
								}
								time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
								readers.Add(-1)
								b.runlock(m)
							}
						}
					})
				}
			}
			all.Wait()
			if together.Load() < 2 {
				b.Error("no two readers were ever together")
			}
		})
	}
}

// Readers of different processes hold it together: none waits for another to leave.
func TestRWMutexReadersOfManyProcesses(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		begun := time.Now()
		readers := make([]*gcsync.RWMutex, 4)
		for i := range readers {
			readers[i] = b.host("reader").RWMutex("m")
			b.rlock(readers[i])
		}
		last := b.host("last").RWMutex("m")
		if ok, err := last.TryRLock(b.Context()); !ok || err != nil {
			t.Errorf("a reader beside readers: %v, %v", ok, err)
		} else {
			b.runlock(last)
		}
		b.within("five readers", begun, 0, 10*time.Second)
		for _, m := range readers {
			b.runlock(m)
		}
	})
}

// A writer that waits stops new readers, those of a process that is in included, and gets its turn.
func TestRWMutexWriterIsNotStarved(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx, stop := context.WithCancel(b.Context())
		var all sync.WaitGroup
		for range 3 {
			m := b.host("reader", func(o *gcsync.Options) { o.Linger = 0 }).RWMutex("m")
			for range 3 {
				all.Go(func() {
					for ctx.Err() == nil {
						_ = m.RDo(ctx, func(context.Context) error { time.Sleep(time.Second); return nil })
					}
				})
			}
		}
		time.Sleep(5 * time.Second)
		writer := b.host("writer").RWMutex("m")
		begun := time.Now()
		b.wlock(writer)
		b.within("a writer", begun, 0, 4*time.Second)
		b.wunlock(writer)
		stop()
		all.Wait()
	})
}

// Readers do not starve behind writers that keep coming.
func TestRWMutexReaderIsNotStarved(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx, stop := context.WithCancel(b.Context())
		var all sync.WaitGroup
		for range 3 {
			m := b.host("writer").RWMutex("m")
			all.Go(func() {
				for ctx.Err() == nil {
					_ = m.Do(ctx, func(context.Context) error { time.Sleep(time.Second); return nil })
				}
			})
		}
		time.Sleep(5 * time.Second)
		reader := b.host("reader").RWMutex("m")
		begun := time.Now()
		b.rlock(reader)
		b.within("a reader", begun, 0, 6*time.Second)
		b.runlock(reader)
		stop()
		all.Wait()
	})
}

// Readers of one process share one hold: those who join make no change in the bucket, and the last one ends it.
func TestRWMutexReadersShare(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x")
		m, writer := h.RWMutex("m"), b.host("y").RWMutex("m")
		b.rlock(m)
		before := h.Usage()
		for range 100 {
			b.rlock(m)
		}
		if after := h.Usage(); after.ClassA != before.ClassA || after.ClassB-before.ClassB > 1 {
			b.Errorf("100 joined with %+v, from %+v", after, before)
		}
		if n := len(b.srv.Objects(bucket, "gcsync/m/h/")); n != 1 {
			b.Errorf("%d entries", n)
		}
		l := m.RLease()
		for range 100 {
			b.runlock(m)
		}
		if ok, err := writer.TryLock(b.Context()); ok || err != nil {
			b.Errorf("a writer beside a reader: %v, %v", ok, err)
		}
		if l.Err() != nil {
			b.Errorf("one reader is left, and its lease is over: %v", l.Err())
		}
		b.runlock(m)
		if l.Err() == nil || m.RLease() != nil {
			b.Error("nobody is left, and the lease lasts")
		}
		if err := m.RUnlock(b.Context()); !errors.Is(err, gcsync.ErrNotHeld) {
			b.Errorf("one too many: %v", err)
		}
		b.wlock(writer)
		if ok, err := m.TryRLock(b.Context()); ok || err != nil {
			b.Errorf("a reader beside a writer: %v, %v", ok, err)
		}
		b.wunlock(writer)
		if ok, err := m.TryRLock(b.Context()); !ok || err != nil {
			b.Errorf("a reader alone: %v, %v", ok, err)
		}
		b.runlock(m)
	})
}

// A process that reads again and again keeps its hold for a moment, and lets go of it when a writer comes.
func TestRWMutexReaderLingers(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x", func(o *gcsync.Options) { o.Linger = time.Second })
		m := h.RWMutex("m")
		for range 3 {
			b.rlock(m)
			b.runlock(m)
		}
		before := h.Usage()
		for range 20 {
			b.rlock(m)
			b.runlock(m)
			time.Sleep(50 * time.Millisecond)
		}
		if after := h.Usage(); after.ClassA != before.ClassA {
			b.Errorf("%d creates for readers that came back", after.ClassA-before.ClassA)
		}
		begun := time.Now()
		b.rlock(m)
		b.runlock(m)
		writer := b.host("y").RWMutex("m")
		b.wlock(writer)
		b.within("a writer behind a linger", begun, 0, 900*time.Millisecond)
		b.wunlock(writer)
	})
}

// A dead reader keeps a writer out for its lease, and no longer; so does a dead writer a reader.
func TestRWMutexRecovery(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		dead := b.host("dead")
		b.rlock(dead.RWMutex("m"))
		dead.vanish()
		m := b.host("x").RWMutex("m")
		begun := time.Now()
		b.wlock(m)
		b.within("recovery from a reader", begun, 5*time.Second, 12*time.Second)
		b.wunlock(m)

		dead = b.host("dead too")
		b.wlock(dead.RWMutex("m"))
		dead.vanish()
		begun = time.Now()
		b.rlock(m)
		b.within("recovery from a writer", begun, 5*time.Second, 12*time.Second)
		b.runlock(m)
	})
}

// Readers and writers who were cut off for longer than their lease know it, and Do says so.
func TestRWMutexLoss(t *testing.T) {
	for _, write := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			h := b.host("x")
			do := h.RWMutex("m").RDo
			if write {
				do = h.RWMutex("m").Do
			}
			err := do(b.Context(), func(ctx context.Context) error {
				h.faults.Partition(true)
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), gcsync.ErrLost) {
					b.Errorf("cause %v", context.Cause(ctx))
				}
				h.faults.Partition(false)
				return nil
			})
			if !errors.Is(err, gcsync.ErrLost) {
				b.Errorf("Do = %v", err)
			}
			b.wlock(b.host("y").RWMutex("m"))
		})
	}
}

// Whatever a cancelled call had begun, everybody else gets what they want.
func TestRWMutexCancelledAtEveryStep(t *testing.T) {
	type call func(m *gcsync.RWMutex, ctx context.Context) (unlock func(context.Context) error, err error)
	calls := map[string]call{
		"Lock": func(m *gcsync.RWMutex, ctx context.Context) (func(context.Context) error, error) {
			return m.Unlock, m.Lock(ctx)
		},
		"RLock": func(m *gcsync.RWMutex, ctx context.Context) (func(context.Context) error, error) {
			return m.RUnlock, m.RLock(ctx)
		},
		"TryLock": func(m *gcsync.RWMutex, ctx context.Context) (func(context.Context) error, error) {
			ok, err := m.TryLock(ctx)
			if !ok && err == nil {
				err = errors.New("not free")
			}
			return m.Unlock, err
		},
		"TryRLock": func(m *gcsync.RWMutex, ctx context.Context) (func(context.Context) error, error) {
			ok, err := m.TryRLock(ctx)
			if !ok && err == nil {
				err = errors.New("not free")
			}
			return m.RUnlock, err
		},
	}
	for name, call := range calls {
		for after := time.Duration(0); after < 300*time.Millisecond; after += 15 * time.Millisecond {
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("x").RWMutex("m"), b.host("y").RWMutex("m")
				b.rlock(x)
				b.runlock(x)
				ctx, cancel := context.WithTimeout(b.Context(), after)
				defer cancel()
				if unlock, err := call(x, ctx); err == nil {
					if err := unlock(b.Context()); err != nil {
						b.Errorf("%s after %v: unlock: %v", name, after, err)
					}
				}
				begun := time.Now()
				b.wlock(y)
				b.within(name+", the other's wait", begun, 0, 3*time.Second)
				b.wunlock(y)
				b.rlock(x)
				b.runlock(x)
			})
		}
	}
}

// Close ends readers and writers, and lets the next in.
func TestRWMutexClose(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		h := b.host("x")
		m := h.RWMutex("m")
		b.rlock(m)
		failed := make(chan error)
		go func() { failed <- m.Lock(context.Background()) }()
		time.Sleep(time.Second)
		if err := h.Close(b.Context()); err != nil {
			b.Error(err)
		}
		if err := <-failed; !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("the writer got %v", err)
		}
		if err := m.RUnlock(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("RUnlock = %v", err)
		}
		begun := time.Now()
		b.wlock(b.host("y").RWMutex("m"))
		b.within("the next", begun, 0, 2*time.Second)
	})
}

// A call that has ended keeps nobody out: whoever was waiting, and wherever it was when its context ended, those who come later
// get in as if it had never come.
func TestCancelledCallsKeepNobodyOut(t *testing.T) {
	rlock := func(ctx context.Context, h *host) (func(), error) {
		rw := h.RWMutex("m")
		return func() { _ = rw.RUnlock(context.Background()) }, rw.RLock(ctx)
	}
	lock := func(ctx context.Context, h *host) (func(), error) {
		rw := h.RWMutex("m")
		return func() { _ = rw.Unlock(context.Background()) }, rw.Lock(ctx)
	}
	mutex := func(ctx context.Context, h *host) (func(), error) {
		m := h.Mutex("m")
		return func() { _ = m.Unlock(context.Background()) }, m.Lock(ctx)
	}
	slots := func(n int64) func(ctx context.Context, h *host) (func(), error) {
		return func(ctx context.Context, h *host) (func(), error) {
			p, err := h.Semaphore("m", 3).Acquire(ctx, n)
			return func() { _ = p.Release(context.Background()) }, err
		}
	}
	campaign := func(ctx context.Context, h *host) (func(), error) {
		term, err := h.Election("m").Campaign(ctx, "")
		return func() { _ = term.Resign(context.Background()) }, err
	}
	once := func(ctx context.Context, h *host) (func(), error) {
		began, end := make(chan struct{}), make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- h.Once("m").Do(ctx, func(context.Context) error { close(began); <-end; return errors.New("not done") })
		}()
		select {
		case <-began:
			return sync.OnceFunc(func() { close(end); <-ended }), nil
		case err := <-ended:
			return nil, err
		}
	}
	type take = func(ctx context.Context, h *host) (func(), error)
	for _, c := range []struct {
		name              string
		hold, want, later take
		beside            bool // those who come later need not wait for the holder
	}{
		{"a writer behind a reader, then readers", rlock, lock, rlock, true},
		{"a writer behind a reader, then a writer", rlock, lock, lock, false},
		{"a reader behind a writer", lock, rlock, rlock, false},
		{"a mutex", mutex, mutex, mutex, false},
		{"many slots, then few", slots(2), slots(3), slots(1), true},
		{"few slots behind all", slots(3), slots(1), slots(2), false},
		{"an election", campaign, campaign, campaign, false},
		{"a once", once, once, once, false},
	} {
		for _, patience := range []time.Duration{20 * time.Millisecond, 90 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second, 15 * time.Second} {
			t.Run(fmt.Sprintf("%s/%v", c.name, patience), func(t *testing.T) {
				inBubble(t, typical, func(b *bed) {
					x, y, z := b.host("x"), b.host("y"), b.host("z")
					leave, err := c.hold(b.Context(), x)
					if err != nil {
						b.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(b.Context(), patience)
					defer cancel()
					if _, err := c.want(ctx, y); !errors.Is(err, context.DeadlineExceeded) {
						b.Fatalf("got in beside a holder: %v", err)
					}
					if !c.beside {
						leave()
					}
					start := time.Now()
					free, err := c.later(b.Context(), z)
					if err != nil {
						b.Fatal(err)
					}
					b.within("to get in after a call that was cancelled", start, 0, 4*time.Second)
					free()
					if c.beside {
						leave()
					}
				})
			})
		}
	}
}
