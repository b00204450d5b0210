package gcsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

// TestSemaphoreSimulation is TestSimulation for semaphores.
func TestSemaphoreSimulation(t *testing.T) {
	simulate(t, lockKind{
		slots:    4,
		numbered: true,
		weights:  []int64{1, 1, 2, 3},
		boot: func(m *machine) locks {
			size := int64(3) // of most; some speak of one more, as while a fleet changes over
			if m.w.rng.IntN(3) == 0 {
				size = 4
			}
			return semaphores{m.connect(), size}
		},
		never: queue.Event.Shared,
	}, 50)
}

// TestRWMutexSimulation is TestSimulation for locks of readers and writers: there are more slots than readers, and a
// writer takes them all.
func TestRWMutexSimulation(t *testing.T) {
	simulate(t, lockKind{
		slots:   1000,
		weights: []int64{1, 1, 1000},
		boot:    func(m *machine) locks { return rwMutexes{m.connect()} },
		never:   without(queue.BaseShown),
	}, 100)
}

func without(events ...queue.Event) func(queue.Event) bool {
	return func(e queue.Event) bool { return slices.Contains(events, e) }
}

type semaphores struct {
	c     *gcsync.Client
	slots int64
}

type permit struct {
	*gcsync.Permit
	slots []gcsync.Slot
}

func (l semaphores) take(ctx context.Context, name string, weight int64, try bool) (hold, error) {
	s := l.c.Semaphore(name, l.slots)
	acquire := s.Acquire
	if try {
		acquire = s.TryAcquire
	}
	p, err := acquire(ctx, weight)
	if errors.Is(err, gcsync.ErrBusy) {
		err = nil
	}
	if p == nil {
		return nil, err
	}
	return permit{p, p.Slots()}, err
}

func (l semaphores) close(ctx context.Context) { l.c.Close(ctx) }

func (p permit) unlock(ctx context.Context) error { return p.Release(ctx) }

// record is none: each of its slots has one.
func (p permit) record(int64) string { return "" }

// parts are its slots, each a lock of its own.
func (p permit) parts(name string) map[string]hold {
	parts := make(map[string]hold)
	for _, s := range p.slots {
		parts[slotName(name, s.Number)] = slotHold{p, s.Token}
	}
	return parts
}

func slotName(name string, i int64) string { return fmt.Sprintf("%s/s/%d", name, i) }

// slotHold is one slot of a permit.
type slotHold struct {
	permit
	token int64
}

func (p slotHold) Token() int64 { return p.token }

func (p slotHold) record(base int64) string { return fmt.Sprintf("t/%019d", p.token>>20-base-1) }

type rwMutexes struct{ c *gcsync.Client }

// rwHold is a reader's or a writer's.
type rwHold struct {
	*lease.Lease
	release func(context.Context) error
	writer  bool
}

func (l rwMutexes) take(ctx context.Context, name string, weight int64, try bool) (hold, error) {
	m := l.c.RWMutex(name)
	h := &rwHold{writer: weight > 1, release: m.RUnlock}
	lock, tryLock, held := m.RLock, m.TryRLock, m.RLease
	if h.writer {
		h.release = m.Unlock
		lock, tryLock, held = m.Lock, m.TryLock, m.Lease
	}
	var err error
	if try {
		var ok bool
		if ok, err = tryLock(ctx); !ok {
			return nil, err
		}
	} else if err = lock(ctx); err != nil {
		return nil, err
	}
	if h.Lease = held(); h.Lease == nil {
		return nil, gcsync.ErrClosed // closed in the same moment
	}
	return h, nil
}

func (l rwMutexes) close(ctx context.Context) { l.c.Close(ctx) }

func (h *rwHold) unlock(ctx context.Context) error { return h.release(ctx) }

func (h *rwHold) record(base int64) string {
	if h.writer {
		return fmt.Sprintf("t/%019d", h.Token()>>20-base-1)
	}
	return fmt.Sprintf("h/%d", h.Token())
}
