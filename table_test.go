package gcsync_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/cenkalti/backoff/v4"

	"github.com/gcsync/gcsync"
)

// fleet is a load on a semaphore: so many goroutines in each of so many processes, each of which takes slots, holds
// them, and comes again at once.
type fleet struct {
	processes, goroutines int
	slots                 int64
	hold                  time.Duration
	length                time.Duration                                          // of the measurement; 0: a minute
	draw                  func(*rand.Rand, int) (take int64, hold time.Duration) // of the n'th call; nil: one slot, hold
	lock                  func(*host) acquire                                    // nil: a semaphore
	beside                func(context.Context, *bed)                            // what else goes on
}

// acquire takes so many slots and returns what gives them back.
type acquire func(ctx context.Context, take int64) (release func(context.Context) error, err error)

func (f *fleet) enter(h *host) acquire {
	if f.lock != nil {
		return f.lock(h)
	}
	s := h.Semaphore("s", f.slots)
	return func(ctx context.Context, take int64) (func(context.Context) error, error) {
		p, err := s.Acquire(ctx, take)
		return func(ctx context.Context) error { return p.Release(ctx) }, err
	}
}

// reading is a fleet's lock where all of it reads.
func reading(h *host) acquire {
	m := h.RWMutex("s")
	return func(ctx context.Context, _ int64) (func(context.Context) error, error) {
		return m.RUnlock, m.RLock(ctx)
	}
}

// outcome is what a fleet did, after it had warmed up.
type outcome struct {
	rate, share float64                   // calls served in a second; slots busy, of all
	classA      float64                   // requests a call
	jain        float64                   // fairness among the goroutines: 1 is equal
	waits       map[int64][]time.Duration // by the slots that a call took, sorted
}

func (o *outcome) wait(take int64, q float64) time.Duration {
	all := o.waits[take]
	return all[int(q*float64(len(all)-1))]
}

// drive runs a fleet in virtual time.
func drive(t *testing.T, f fleet) (o outcome) {
	length, warm := f.length, 10*time.Second
	if length == 0 {
		length = time.Minute
	}
	o.waits = make(map[int64][]time.Duration)
	inBubble(t, typical, func(b *bed) {
		ctx, stop := context.WithCancel(b.Context())
		begin, end := time.Now().Add(warm), time.Now().Add(warm+length)
		var mu sync.Mutex
		var busy time.Duration
		var served []float64
		var hosts []*host
		var all sync.WaitGroup
		g := &gauge{b: b, limit: f.slots}
		for p := range f.processes {
			h := b.host(fmt.Sprintf("p%d", p), func(o *gcsync.Options) { o.Linger = 0 })
			hosts = append(hosts, h)
			enter := f.enter(h)
			for i := range f.goroutines {
				all.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(p), uint64(i)))
					n := 0.0
					for call := 0; ctx.Err() == nil; call++ {
						take, hold := int64(1), f.hold
						if f.draw != nil {
							take, hold = f.draw(rng, call)
						}
						came := time.Now()
						release, err := enter(ctx, take)
						if ctx.Err() != nil {
							if err == nil {
								release(ctx)
							}
							break
						}
						if err != nil {
							b.Error(err)
							return
						}
						got := time.Now()
						g.add(take)
						time.Sleep(hold)
						g.add(-take)
						left := time.Now()
						if err := release(ctx); err != nil {
							b.Error(err)
						}
						mu.Lock()
						if d := min(left.Sub(begin), end.Sub(begin)) - max(got.Sub(begin), 0); d > 0 && left.After(begin) && got.Before(end) {
							busy += d * time.Duration(take)
						}
						if got.After(begin) && got.Before(end) {
							n++
							o.waits[take] = append(o.waits[take], got.Sub(came))
						}
						mu.Unlock()
					}
					mu.Lock()
					served = append(served, n)
					mu.Unlock()
				})
			}
		}
		usage := func() (a int64) {
			for _, h := range hosts {
				a += h.Usage().ClassA
			}
			return a
		}
		if f.beside != nil {
			all.Go(func() { f.beside(ctx, b) })
		}
		time.Sleep(warm)
		before := usage()
		time.Sleep(length)
		spent := usage() - before
		stop()
		all.Wait()
		var sum, squares float64
		for _, n := range served {
			sum += n
			squares += n * n
		}
		o.rate, o.classA = sum/length.Seconds(), float64(spent)/sum
		o.share = busy.Seconds() / length.Seconds() / float64(f.slots)
		o.jain = sum * sum / (float64(len(served)) * squares)
		for _, w := range o.waits {
			slices.Sort(w)
		}
	})
	return o
}

// naiveSlots is the semaphore that a user writes in an afternoon: objects slots/0 to slots/n-1, of which a listing shows those that
// are taken; one that is not is created if absent, and deleted in the end; and a backoff.
func naiveSlots(n int64) func(*host) acquire {
	return func(h *host) acquire {
		return func(ctx context.Context, _ int64) (func(context.Context) error, error) {
			policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
				backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
			for {
				free := make(map[string]bool)
				for i := range n {
					free[fmt.Sprintf("slots/%d", i)] = true
				}
				taken := h.bucket.Objects(ctx, &storage.Query{Prefix: "slots/"})
				var err error
				for err == nil {
					var o *storage.ObjectAttrs
					if o, err = taken.Next(); err == nil {
						delete(free, o.Name)
					}
				}
				for name := range free { // in any order
					o := h.bucket.Object(name)
					if o.If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx).Close() == nil {
						return func(ctx context.Context) error {
							return o.Retryer(storage.WithPolicy(storage.RetryAlways)).Delete(context.WithoutCancel(ctx))
						}, nil
					}
					break
				}
				select {
				case <-time.After(policy.NextBackOff()):
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
		}
	}
}

// tableRow is one line of a table: a fleet, and bounds; 0: none.
type tableRow struct {
	fleet
	share, classA, jain float64
	always              bool // also without GCSYNC_TABLE
	naive               bool // held against what a user would write in an afternoon
	besides             func(o outcome) bool
}

// table drives fleets and fails where one is beyond its bounds.
func table(t *testing.T, rows []tableRow) {
	every := os.Getenv("GCSYNC_TABLE") != ""
	for _, row := range rows {
		if !every && !row.always {
			continue
		}
		o := drive(t, row.fleet)
		line := fmt.Sprintf("%2d x %2d on %2d, %5v: %5.1f/s, %3.0f %%, class A %.2f, Jain %.3f,", row.processes, row.goroutines, row.slots, row.hold, o.rate, 100*o.share, o.classA, o.jain)
		for _, take := range []int64{1, 3} {
			if o.waits[take] != nil {
				line += fmt.Sprintf(" wait for %d: median %.1fs, p99 %.1fs, worst %.1fs", take, o.wait(take, 0.5).Seconds(), o.wait(take, 0.99).Seconds(), o.wait(take, 1).Seconds())
			}
		}
		if row.naive {
			peer := row.fleet
			peer.lock = naiveSlots(row.slots)
			other := drive(t, peer)
			line += fmt.Sprintf(" the naive: %.1f/s, %.0f %%, p99 %.1fs, worst %.1fs", other.rate, 100*other.share, other.wait(1, 0.99).Seconds(), other.wait(1, 1).Seconds())
			if o.share < other.share {
				t.Errorf("the naive one beats it: %s", line)
			}
		}
		t.Log(line)
		if o.share < row.share || row.classA > 0 && o.classA > row.classA || o.jain < row.jain || row.besides != nil && !row.besides(o) {
			t.Errorf("beyond the bounds: %s", line)
		}
	}
}

// TestSemaphoreTable measures how much of a semaphore a fleet can use, and at which price.
func TestSemaphoreTable(t *testing.T) {
	table(t, []tableRow{
		{fleet: fleet{processes: 16, goroutines: 1, slots: 4, hold: 100 * time.Millisecond}, naive: true, share: 0.60},
		{fleet: fleet{processes: 16, goroutines: 1, slots: 4, hold: time.Second}, naive: true, share: 0.88, always: true},
		{fleet: fleet{processes: 64, goroutines: 1, slots: 4, hold: time.Second}, naive: true, share: 0.88, classA: 5, jain: 0.97},
		{fleet: fleet{processes: 64, goroutines: 1, slots: 32, hold: time.Second}, naive: true, share: 0.85, classA: 2.5},
		{fleet: fleet{processes: 64, goroutines: 1, slots: 64, hold: time.Second}, naive: true, share: 0.85, classA: 2},
		{fleet: fleet{processes: 8, goroutines: 16, slots: 32, hold: time.Second}, naive: true, share: 0.88},
		{fleet: fleet{processes: 4, goroutines: 64, slots: 64, hold: 200 * time.Millisecond}, naive: true, share: 0.80, classA: 2.5},
		{fleet: fleet{processes: 1, goroutines: 64, slots: 32, hold: time.Second}, naive: true, share: 0.97, classA: 0.5},
		{fleet: fleet{processes: 32, goroutines: 1, slots: 8, length: 5 * time.Minute, draw: func(rng *rand.Rand, _ int) (int64, time.Duration) {
			if rng.IntN(20) == 0 {
				return 1, 20 * time.Second
			}
			return 1, time.Second
		}}, besides: func(o outcome) bool {
			return o.rate >= 3.6 && o.wait(1, 0.99) <= 30*time.Second && o.wait(1, 1) <= time.Minute
		}},
		{fleet: fleet{processes: 16, goroutines: 1, slots: 8, draw: func(_ *rand.Rand, call int) (int64, time.Duration) {
			if call%4 == 3 {
				return 3, 500 * time.Millisecond
			}
			return 1, 500 * time.Millisecond
		}}, share: 0.50, besides: func(o outcome) bool {
			fair := func(take int64) bool { // a median of a fraction of a hold says little
				return o.wait(take, 1) <= 6*max(o.wait(take, 0.5), 500*time.Millisecond)
			}
			return fair(1) && fair(3)
		}},
	})
}

// TestReadersTable measures how much of the time a fleet can read.
func TestReadersTable(t *testing.T) {
	var longest time.Duration
	table(t, []tableRow{
		{fleet: fleet{processes: 64, goroutines: 1, slots: 64, hold: time.Second, lock: reading}, share: 0.90},
		{fleet: fleet{processes: 16, goroutines: 1, slots: 16, hold: 100 * time.Millisecond, lock: reading}, share: 0.80, classA: 0.5, always: true},
		{fleet: fleet{processes: 64, goroutines: 1, slots: 64, hold: time.Second, lock: reading, beside: func(ctx context.Context, b *bed) {
			m := b.host("writer").RWMutex("s")
			for every := time.NewTicker(5 * time.Second); ctx.Err() == nil; <-every.C {
				came := time.Now()
				if m.Lock(ctx) != nil {
					break
				}
				longest = max(longest, time.Since(came))
				time.Sleep(100 * time.Millisecond)
				_ = m.Unlock(context.Background())
			}
		}}, share: 0.60, besides: func(outcome) bool { t.Logf("the writer waited %v", longest); return longest <= 4*time.Second }},
	})
}
