// Package queue is the ticket queue of gcsync: fair mutual exclusion among the clients of a bucket.
//
// # Objects
//
// The queue of lock L is a row of numbered empty objects, L/t/0000000000000000000 and up, each holding in its metadata
// the generation of the one before it. Live tickets are contiguous. The lowest, t/h, is the baton of the holder, whose
// identity is in t/(h+1); the waiters follow in order; the highest is the tail, and is never deleted. Whoever wants the
// lock creates the number after the tail; whoever holds it deletes the number before its own, and that is the hand-off:
//
//	k holds  <=>  t/(k-1) is there, t/(k-2) is gone, and k's lease is valid
//
// Every name is created once and deleted once, so the service's limit of about one mutation per second and name never
// bites, and waiters only read, one object each, most of the time one that is absent, which costs nothing.
//
// # What may go wrong, and what is done about it
//
//   - The answer of a create is lost: the object carries a nonce, and is read back ([object.Store.Resolve]).
//   - A create arrives so late that its number was used and freed: the ticket verifies, after it is made, that the one
//     it was built on is still there ([line.verify]).
//   - The holder dies: whoever is next deletes its baton once it has been silent for its whole lease, by the observer's
//     own clock ([wait.silence]).
//   - Waiters die: whoever waits behind a silent head calls the roll, and those who do not answer lose their tickets, all at
//     once ([wait.callRoll]).
//   - A holder is paused: it counts its lease from before the request that gave it, less a margin ([lease.Keeper]).
//
// The files follow the steps: tail, enqueue, await, expire, tenure; roll strikes dead waiters; witness serves callers who do not wait; gate and
// handoff are the queue inside one process. Readers stand beside the row: read, registry, and readers and join for those of
// one process. The slots of a semaphore are rows: slots, look.
package queue

import (
	"context"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
)

// The kinds of names.
const (
	Mutex     = "mutex"
	Semaphore = "semaphore"
	RWMutex   = "rwmutex"
)

// Queue is all queues of one client.
type Queue struct {
	cfg Config

	mu     sync.Mutex
	places map[string]*place
	closed error
}

// place is one name in this process, and how many need it to stay: calls under way and turns not yet released.
type place struct {
	kind    string
	gate    *Gate    // where turns are exclusive
	readers *Readers // of a lock that has them
	slots   *Slots   // of a semaphore

	users   int
	idle    clock.Instant // when the last of them left
	pruning bool
}

// New returns the queues of a client.
func New(cfg Config) *Queue {
	cfg.told = new(sync.Map)
	return &Queue{cfg: cfg, places: make(map[string]*place)}
}

// Acquire waits until it is the caller's turn on the lock name: a mutex, or the writing side of a lock. ctx bounds the
// waiting only. A call that fails leaves nothing held: what it had begun in the bucket is finished, or given to another
// goroutine, in the background.
func (q *Queue) Acquire(ctx context.Context, kind, name string) (*Hold, error) {
	return watch(ctx, q, kind, name, func(call *telemetry.Call) (*Hold, error) {
		return turn(q, kind, name, func(p *place, left func()) (*Hold, error) { return p.gate.acquire(ctx, left, call) })
	})
}

// Try takes the turn on the lock name if nobody has it, here or elsewhere; otherwise it returns nil. ctx bounds the
// call, and so does [object.AnswerTime]: when it ends first, what was begun is undone in the background.
func (q *Queue) Try(ctx context.Context, kind, name string) (*Hold, error) {
	ctx, cancel := object.Bound(ctx)
	defer cancel()
	return watch(ctx, q, kind, name, func(call *telemetry.Call) (*Hold, error) {
		return turn(q, kind, name, func(p *place, left func()) (*Hold, error) { return p.gate.try(ctx, left, call) })
	})
}

// Enter waits until want of the slots below n of the semaphore name are free. Apart from that it is like Acquire.
func (q *Queue) Enter(ctx context.Context, name string, n, want int64) (*Grant, error) {
	return watch(ctx, q, Semaphore, name, func(call *telemetry.Call) (*Grant, error) {
		return turn(q, Semaphore, name, func(p *place, left func()) (*Grant, error) {
			return p.slots.acquire(ctx, n, want, left, call)
		})
	})
}

// TryEnter takes want of the slots below n of the semaphore name if they are free; otherwise it returns nil.
func (q *Queue) TryEnter(ctx context.Context, name string, n, want int64) (*Grant, error) {
	ctx, cancel := object.Bound(ctx)
	defer cancel()
	return watch(ctx, q, Semaphore, name, func(call *telemetry.Call) (*Grant, error) {
		return turn(q, Semaphore, name, func(p *place, left func()) (*Grant, error) {
			return p.slots.try(ctx, n, want, left, call)
		})
	})
}

// Read waits until no writer holds the lock name, nor waits before the caller.
func (q *Queue) Read(ctx context.Context, name string) (*Share, error) {
	return watch(ctx, q, RWMutex, name, func(call *telemetry.Call) (*Share, error) {
		return turn(q, RWMutex, name, func(p *place, left func()) (*Share, error) {
			return p.readers.acquire(ctx, left, call)
		})
	})
}

// TryRead takes the reading side of the lock name if that needs no waiting; otherwise it returns nil.
func (q *Queue) TryRead(ctx context.Context, name string) (*Share, error) {
	ctx, cancel := object.Bound(ctx)
	defer cancel()
	return watch(ctx, q, RWMutex, name, func(call *telemetry.Call) (*Share, error) {
		return turn(q, RWMutex, name, func(p *place, left func()) (*Share, error) {
			return p.readers.try(ctx, left, call)
		})
	})
}

// Holder returns the current turn on the lock name in this process. Without one the error is ErrNotHeld, or what the
// queue was closed with.
func (q *Queue) Holder(name string) (*Hold, error) {
	p, err := q.find(name)
	if p != nil && p.gate != nil {
		p.gate.mu.Lock()
		defer p.gate.mu.Unlock()
		if p.gate.holder != nil {
			return p.gate.holder, nil
		}
	}
	return nil, err
}

// Park leaves a reader's share with its name.
func (q *Queue) Park(s *Share) { s.park() }

// Unpark returns the oldest share that was left with the name, and takes it from there.
func (q *Queue) Unpark(name string) (*Share, error) { return q.parked(name, (*Readers).unpark) }

// Reader returns the latest share that was left with the name.
func (q *Queue) Reader(name string) (*Share, error) { return q.parked(name, (*Readers).reading) }

func (q *Queue) parked(name string, which func(*Readers) *Share) (*Share, error) {
	p, err := q.find(name)
	if p != nil && p.readers != nil {
		if s := which(p.readers); s != nil {
			return s, nil
		}
	}
	return nil, err
}

// find returns what is held under a name, and the error for the case that it is nothing.
func (q *Queue) find(name string) (*place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return nil, q.closed
	}
	return q.places[name], ErrNotHeld
}

// Len returns how many names are in memory: those in use, and those used a moment ago.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.places)
}

// SkipPasses makes the current tenure of a name count n local turns more. It is for tests: to take them all takes long.
func (q *Queue) SkipPasses(name string, n int64) {
	q.mu.Lock()
	g := q.places[name].gate
	q.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tenure.passes += n
}

// Close ends all waiting with the given error and gives up what is held. The requests that this takes go on in the
// client's tasks.
func (q *Queue) Close(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = cause
	for _, p := range q.places {
		if p.gate != nil {
			p.gate.shut(cause)
		}
		if p.readers != nil {
			p.readers.shut(cause)
		}
		if p.slots != nil {
			p.slots.shut(cause)
		}
	}
}

// turn runs take on the place of a name, of which a client has one at a time: it stays for as long as anything is held,
// waited for or remembered there.
func turn[T any](q *Queue, kind, name string, take func(p *place, left func()) (*T, error)) (*T, error) {
	p, err := q.enter(kind, name)
	if err != nil {
		return nil, err
	}
	gone := false
	left := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !gone {
			gone = true
			q.leave(name, p)
		}
	}
	h, err := take(p, left)
	if h == nil {
		left()
	}
	return h, err
}

func (q *Queue) enter(kind, name string) (*place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.places[name]
	switch {
	case q.closed != nil:
		return nil, q.closed
	case p == nil, p.kind != kind && p.users == 0 && p.unused(): // or what is left of a call that came to nothing
		path, err := NewPath(q.cfg.Prefix, name)
		if err != nil {
			return nil, err
		}
		p = q.place(kind, name, path)
		q.places[name] = p
	case p.kind != kind:
		return nil, &MismatchError{q.url(name), "the kind", p.kind, kind}
	}
	p.users++
	return p, nil
}

func (q *Queue) url(name string) string { return q.cfg.Store.URL(q.cfg.Prefix + name) }

// place is what a name of the given kind needs. The two sides of a lock for readers and writers are like two processes to
// each other.
func (q *Queue) place(kind, name string, path Path) *place {
	line := func(path Path) *line {
		return &line{cfg: &q.cfg, store: q.cfg.Store.Counted(), path: path, kind: kind, about: q.cfg.Telemetry.About(kind, name)}
	}
	p := &place{kind: kind}
	switch kind {
	case Semaphore:
		p.slots = &Slots{cfg: &q.cfg, path: path, line: line, many: &Gate{l: line(path.many())}, slots: make(map[int64]*slot)}
		return p
	case RWMutex:
		p.readers = &Readers{l: line(path)}
		p.readers.l.behind = func() { p.readers.mu.Lock(); p.readers.pursuit.found(); p.readers.mu.Unlock() }
	}
	p.gate = &Gate{l: line(path)}
	p.gate.l.writes = kind == RWMutex
	p.gate.l.behind = func() { p.gate.mu.Lock(); p.gate.pursuit.found(); p.gate.mu.Unlock() }
	return p
}

func (p *place) unused() bool {
	return (p.gate == nil || p.gate.idle()) && (p.readers == nil || p.readers.idle()) && (p.slots == nil || p.slots.idle())
}

// leave notes that one less needs the place. q.mu is held.
func (q *Queue) leave(name string, p *place) {
	p.users--
	p.idle = q.cfg.Store.Clock().Now()
	q.prune(name, p, 2*freshness)
}

// prune removes, later, a place that nobody uses and that has been idle for so long that what it remembers is worth
// nothing. q.mu is held.
func (q *Queue) prune(name string, p *place, after time.Duration) {
	if p.users > 0 || p.pruning || q.closed != nil {
		return
	}
	p.pruning = true
	q.cfg.Tasks.AfterFunc(after, func(context.Context) {
		q.mu.Lock()
		defer q.mu.Unlock()
		p.pruning = false
		rest := 2*freshness - q.cfg.Store.Clock().Now().Since(p.idle)
		switch {
		case p.users > 0, q.places[name] != p: // whoever leaves last comes here again; or it is of another kind by now
		case rest > 0:
			q.prune(name, p, rest)
		case p.unused():
			delete(q.places, name)
		default: // a ticket whose waiters left is still under way, or a holder is under suspicion
			q.prune(name, p, 2*freshness)
		}
	})
}
