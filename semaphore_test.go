package gcsync_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

func (b *bed) take(s *gcsync.Semaphore, n int64) *gcsync.Permit {
	b.Helper()
	p, err := s.Acquire(context.Background(), n)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bed) giveBack(p *gcsync.Permit) {
	b.Helper()
	if err := p.Release(context.Background()); err != nil {
		b.Error(err)
	}
}

// vacant fails unless nothing but the tails of the rows is left of a semaphore.
func (b *bed) vacant(name string, slots int) {
	b.Helper()
	for i := range slots {
		if left := b.srv.Objects(bucket, fmt.Sprintf("gcsync/%s/s/%d/t/", name, i)); len(left) > 1 {
			b.Errorf("slot %d: %d tickets left, want the tail alone: %v", i, len(left), left)
		}
	}
}

// gauge is how much is in use, and fails if it is too much.
type gauge struct {
	b     *bed
	limit int64
	n     atomic.Int64
	most  atomic.Int64
}

func (g *gauge) add(n int64) {
	now := g.n.Add(n)
	if now > g.limit {
		g.b.Errorf("%d of %d slots in use", now, g.limit)
	}
	for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); most = g.most.Load() {
	}
}

// The hammer test of x/sync/semaphore, across clients: never too many, and all get their turns.
func TestSemaphoreHammer(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		g := &gauge{b: b, limit: 5}
		var all sync.WaitGroup
		for range 4 {
			s := b.host("h").Semaphore("s", 5)
			for i := range 3 {
				rng := rand.New(rand.NewPCG(uint64(i), 1))
				all.Go(func() {
					for range 8 {
						n := 1 + rng.Int64N(5)
						err := s.Do(b.Context(), n, func(context.Context) error {
							g.add(n)
							time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
							g.add(-n)
							return nil
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
		}
		all.Wait()
		if g.most.Load() < 4 {
			b.Errorf("never more than %d slots in use at once", g.most.Load())
		}
	})
}

// A large request does not starve behind small ones, which keep coming and would fit.
func TestSemaphoreLargeRequestDoesNotStarve(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx, stop := context.WithCancel(b.Context())
		var all sync.WaitGroup
		for range 3 {
			s := b.host("small").Semaphore("s", 3)
			all.Go(func() {
				for ctx.Err() == nil {
					_ = s.Do(ctx, 1, func(context.Context) error { time.Sleep(time.Second); return nil })
				}
			})
		}
		time.Sleep(5 * time.Second)
		large := b.host("large").Semaphore("s", 3)
		begun := time.Now()
		p := b.take(large, 3)
		b.within("a large request", begun, 0, 6*time.Second)
		b.giveBack(p)
		stop()
		all.Wait()
	})
}

func TestSemaphoreTryAcquire(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x").Semaphore("s", 3), b.host("y").Semaphore("s", 3)
		p := b.take(x, 2)
		for n, want := range map[int64]bool{1: true, 2: false, 3: false} {
			q, err := y.TryAcquire(b.Context(), n)
			if (err == nil) != want || err != nil && !errors.Is(err, gcsync.ErrBusy) {
				b.Errorf("TryAcquire(%d) beside 2 of 3 = %v", n, err)
			}
			if err == nil {
				b.giveBack(q)
			} else if err := q.Release(b.Context()); !errors.Is(err, gcsync.ErrNotHeld) {
				b.Errorf("Release of no permit = %v", err)
			}
		}
		b.giveBack(p)
		q, err := y.TryAcquire(b.Context(), 3)
		if err != nil || q == nil {
			b.Fatalf("TryAcquire(3) of a free semaphore = %v, %v", q, err)
		}
		b.giveBack(q)
		b.vacant("s", 3)
	})
}

func TestSemaphoreNumbersThatCannotWork(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x")
		var large *gcsync.TooLargeError
		if _, err := h.Semaphore("s", 3).Acquire(b.Context(), 4); !errors.As(err, &large) || large.Want != 4 || large.Limit != 3 {
			b.Errorf("4 of 3: %v", err)
		}
		for _, n := range []int64{0, -1} {
			if _, err := h.Semaphore("s", 3).Acquire(b.Context(), n); err == nil {
				b.Errorf("Acquire(%d) succeeded", n)
			}
			if _, err := h.Semaphore("s", n).TryAcquire(b.Context(), 1); err == nil {
				b.Errorf("of %d slots one was had", n)
			}
		}
		p := b.take(h.Semaphore("s", 3), 1)
		var mismatch *gcsync.MismatchError
		if err := b.host("z").Mutex("s").Lock(b.Context()); !errors.As(err, &mismatch) {
			b.Errorf("a mutex of that name: %v", err)
		}
		b.giveBack(p)
		if err := p.Release(b.Context()); !errors.Is(err, gcsync.ErrNotHeld) {
			b.Errorf("released twice: %v", err)
		}
	})
}

// The slots of a holder who died come back within its lease, whoever waits or does not.
func TestSemaphoreRecovery(t *testing.T) {
	for _, test := range []struct {
		name  string
		age   time.Duration // of the permit when its holder dies
		lease time.Duration
	}{{"never renewed", time.Second, 10 * time.Second}, {"renewed", time.Minute, 30 * time.Second}} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, typical, func(b *bed) {
				dead := b.host("dead")
				b.take(dead.Semaphore("s", 2), 2)
				time.Sleep(test.age)
				dead.vanish()
				begun := time.Now()
				p := b.take(b.host("x").Semaphore("s", 2), 1)
				b.within("recovery", begun, test.lease/2, test.lease*11/10+time.Second)
				b.giveBack(p)
			})
		})
		t.Run(test.name+", try", func(t *testing.T) {
			inBubble(t, typical, func(b *bed) {
				dead := b.host("dead")
				b.take(dead.Semaphore("s", 2), 2)
				time.Sleep(test.age)
				dead.vanish()
				begun := time.Now()
				for i := 0; ; i++ {
					h := b.host("cron")
					p, err := h.Semaphore("s", 2).TryAcquire(b.Context(), 1)
					if err == nil {
						b.giveBack(p)
						break
					}
					if !errors.Is(err, gcsync.ErrBusy) {
						b.Fatal(err)
					}
					h.Close(b.Context())
					time.Sleep(5 * time.Second)
				}
				b.within("recovery", begun, test.lease, 5*test.lease)
			})
		})
	}
}

// A holder who was paused for longer than its lease knows it, and its slots went to somebody else.
func TestSemaphorePausedHolder(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("paused")
		p := b.take(h.Semaphore("s", 1), 1)
		h.faults.Partition(true)
		q := b.take(b.host("x").Semaphore("s", 1), 1)
		if !errors.Is(p.Err(), gcsync.ErrLost) {
			b.Errorf("while another holds the slot: %v", p.Err())
		}
		h.faults.Partition(false)
		if err := p.Release(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Release = %v", err)
		}
		if q.Err() != nil {
			b.Errorf("the next holder: %v", q.Err())
		}
		if q.Token() <= p.Token() {
			b.Errorf("token %d after %d", q.Token(), p.Token())
		}
		b.giveBack(q)
	})
}

// Whatever a cancelled call had begun, everybody else gets what they want.
func TestSemaphoreCancelledAtEveryStep(t *testing.T) {
	for _, try := range []bool{false, true} {
		for after := time.Duration(0); after < 400*time.Millisecond; after += 15 * time.Millisecond {
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("x").Semaphore("s", 2), b.host("y").Semaphore("s", 2)
				b.giveBack(b.take(x, 1))
				ctx, cancel := context.WithTimeout(b.Context(), after)
				defer cancel()
				var p *gcsync.Permit
				var err error
				if try {
					p, err = x.TryAcquire(ctx, 2)
				} else {
					p, err = x.Acquire(ctx, 2)
				}
				if err != nil && p != nil || err == nil && p == nil {
					b.Fatalf("after %v: %v, %v", after, p, err)
				}
				if p != nil {
					b.giveBack(p)
				}
				begun := time.Now()
				b.giveBack(b.take(y, 2))
				b.within("the other's wait", begun, 0, 3*time.Second)
				b.giveBack(b.take(x, 2))
			})
		}
	}
}

// Goroutines of one process want different numbers, and some leave: the others get theirs, in their order.
func TestSemaphoreLocalWaitersLeave(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		other := b.take(b.host("other").Semaphore("s", 3), 3)
		s := b.host("x").Semaphore("s", 3)
		var all sync.WaitGroup
		var order []int64
		var mu sync.Mutex
		for i, n := range []int64{3, 1, 2} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
				if i == 0 {
					cancel()
					ctx, cancel = context.WithTimeout(b.Context(), 5*time.Second)
				}
				defer cancel()
				p, err := s.Acquire(ctx, n)
				if i == 0 {
					if !errors.Is(err, context.DeadlineExceeded) {
						b.Errorf("the one who left: %v", err)
					}
					return
				}
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				time.Sleep(time.Second)
				b.giveBack(p)
			})
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		b.giveBack(other)
		all.Wait()
		if len(order) != 2 || order[0] != 1 {
			b.Errorf("served %v, want [1 2]", order)
		}
	})
}

// Close gives everything back, ends all waiting, and leaves nothing that others must wait for.
func TestSemaphoreClose(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x")
		s := h.Semaphore("s", 2)
		p := b.take(s, 1)
		failed := make(chan error)
		go func() {
			_, err := s.Acquire(context.Background(), 2)
			failed <- err
		}()
		time.Sleep(time.Second)
		go func() {
			_, err := s.Acquire(context.Background(), 1)
			failed <- err
		}()
		time.Sleep(time.Second)
		if err := h.Close(b.Context()); err != nil {
			b.Error(err)
		}
		for range 2 {
			if err := <-failed; !errors.Is(err, gcsync.ErrClosed) {
				b.Errorf("a waiter got %v", err)
			}
		}
		if err := p.Release(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Release = %v", err)
		}
		if p.Err() == nil {
			b.Error("still believed in")
		}
		begun := time.Now()
		b.giveBack(b.take(b.host("y").Semaphore("s", 2), 2))
		b.within("the next", begun, 0, 2*time.Second)
	})
}

// A TryAcquire is answered though somebody here who came to wait during it leaves again.
func TestSemaphoreTryBesideAWaiterWhoLeaves(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		s := b.host("x").Semaphore("s", 2)
		go func() {
			time.Sleep(5 * time.Millisecond)
			ctx, cancel := context.WithTimeout(b.Context(), 20*time.Millisecond)
			defer cancel()
			if p, err := s.Acquire(ctx, 1); err == nil {
				b.giveBack(p)
			}
		}()
		p, err := s.TryAcquire(b.Context(), 1)
		if err != nil || p == nil {
			b.Fatalf("TryAcquire of a free semaphore = %v, %v", p, err)
		}
		b.giveBack(p)
	})
}

// A client that closes at any step of an Acquire leaves no entry that others must wait for.
func TestSemaphoreCloseAtEveryStep(t *testing.T) {
	for after := time.Duration(0); after < 300*time.Millisecond; after += 5 * time.Millisecond {
		inBubble(t, gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond}, func(b *bed) {
			h, other := b.host("x"), b.host("y").Semaphore("s", 2)
			b.giveBack(b.take(other, 1))
			go func() { _, _ = h.Semaphore("s", 2).Acquire(context.Background(), 2) }()
			time.Sleep(after)
			if err := h.Close(b.Context()); err != nil {
				b.Error(err)
			}
			begun := time.Now()
			b.giveBack(b.take(other, 2))
			b.within("the other's wait, closed after "+after.String(), begun, 0, 2*time.Second)
		})
	}
}

// A fleet changes from 8 slots to 16 and to 12, one program after the other: everybody is served at every moment, and there
// are never more holders than the larger of the sizes in use, nor more than one of any slot.
func TestSemaphoreChangeOver(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		g := &gauge{b: b, limit: 16}
		var slots [16]atomic.Int64
		var all sync.WaitGroup
		for p := range 6 {
			all.Go(func() {
				for _, n := range []int64{8, 16, 12} {
					h := b.host(fmt.Sprintf("p%d", p))
					s := h.Semaphore("s", n)
					end := time.Now().Add(30*time.Second + time.Duration(p)*3*time.Second)
					var users sync.WaitGroup
					for range 4 {
						users.Go(func() {
							for time.Now().Before(end) {
								ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
								permit, err := s.Acquire(ctx, 1)
								cancel()
								if err != nil {
									b.Errorf("with %d slots: %v", n, err)
									return
								}
								slot := permit.Slots()[0].Number
								if slot >= n || slots[slot].Add(1) > 1 {
									b.Errorf("slot %d of %d, with %d in it", slot, n, slots[slot].Load())
								}
								g.add(1)
								time.Sleep(500 * time.Millisecond)
								g.add(-1)
								slots[slot].Add(-1)
								b.giveBack(permit)
							}
						})
					}
					users.Wait()
					if err := h.Close(b.Context()); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
		if g.most.Load() <= 12 {
			b.Errorf("never more than %d slots in use", g.most.Load())
		}
	})
}

// Clients that speak of another number of slots are told of once, and only while they are there.
func TestSemaphoreTellsOfAnotherSize(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		var log bytes.Buffer
		var mu sync.Mutex
		x, y := b.host("x"), b.host("y", loudly(&log, &mu))
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return strings.Count(log.String(), "gcsync: another size of a semaphore")
		}
		p, err := x.Semaphore("sem", 4).Acquire(b.Context(), 1)
		if err != nil {
			b.Fatal(err)
		}
		q, err := y.Semaphore("sem", 4).Acquire(b.Context(), 1)
		if err != nil {
			b.Fatal(err)
		}
		b.giveBack(q)
		if count() != 0 {
			b.Error(log.String())
		}
		for range 3 {
			q, err := y.Semaphore("sem", 5).Acquire(b.Context(), 1)
			if err != nil {
				b.Fatal(err)
			}
			b.giveBack(q)
			time.Sleep(5 * time.Second)
		}
		if count() != 1 || !strings.Contains(log.String(), "ours=5 theirs=4 owner=x") {
			b.Errorf("told %d times: %s", count(), log.String())
		}
		b.giveBack(p)
	})
}

// Several slots are one lease: lost with the first of them, and for as long as the shortest.
func TestSemaphoreSeveralAreOneLease(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		p, err := x.Semaphore("sem", 4).Acquire(b.Context(), 3)
		if err != nil {
			b.Fatal(err)
		}
		slots := p.Slots()
		if len(slots) != 3 || p.Token() != slots[0].Token || p.Err() != nil {
			b.Fatalf("%+v, token %d, %v", slots, p.Token(), p.Err())
		}
		time.Sleep(time.Minute) // renewed
		if p.Err() != nil || time.Until(p.Deadline()) < 10*time.Second {
			b.Errorf("%v, until %v", p.Err(), p.Deadline())
		}
		row := fmt.Sprintf("gcsync/sem/s/%d/t/", slots[1].Number)
		baton := b.srv.Objects(bucket, row)[0].Name
		if err := b.srv.Client(nil).Bucket(bucket).Object(baton).Delete(b.Context()); err != nil {
			b.Fatal(err)
		}
		<-p.Done()
		if err := p.Err(); !errors.Is(err, gcsync.ErrLost) || !strings.Contains(err.Error(), row) {
			b.Errorf("lost by %v", err)
		}
		if err := p.Release(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Release = %v", err)
		}
		time.Sleep(5 * time.Second)
		all, err := b.host("y").Semaphore("sem", 4).TryAcquire(b.Context(), 4)
		if err != nil {
			b.Fatalf("something of it is still held: %v", err)
		}
		b.giveBack(all)
	})
}
