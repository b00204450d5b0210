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
//   - A waiter dies: nobody notices until it is the head; then it is a holder that died.
//   - A holder is paused: it counts its lease from before the request that gave it, less a margin ([lease.Keeper]).
//
// The files follow the steps: tail, enqueue, await, expire, tenure; witness serves callers who do not wait; gate and
// handoff are the queue inside one process.
package queue

import (
	"context"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
)

// Queue is all queues of one client.
type Queue struct {
	cfg Config

	mu     sync.Mutex
	gates  map[string]*entry
	closed error
}

// entry is a gate and how many need it to stay: calls under way and turns not yet released.
type entry struct {
	gate    *Gate
	users   int
	idle    clock.Instant // when the last of them left
	pruning bool
}

// New returns the queues of a client.
func New(cfg Config) *Queue { return &Queue{cfg: cfg, gates: make(map[string]*entry)} }

// Acquire waits until it is the caller's turn on the lock name. ctx bounds the waiting only. A call that fails leaves
// nothing held: what it had begun in the bucket is finished, or given to another goroutine, in the background.
func (q *Queue) Acquire(ctx context.Context, kind, name string) (*Hold, error) {
	return q.turn(kind, name, func(g *Gate, left func()) (*Hold, error) { return g.acquire(ctx, left) })
}

// Try takes the turn on the lock name if nobody has it, here or elsewhere; otherwise it returns nil. ctx bounds the
// call: when it ends first, what was begun is undone in the background.
func (q *Queue) Try(ctx context.Context, kind, name string) (*Hold, error) {
	return q.turn(kind, name, func(g *Gate, left func()) (*Hold, error) { return g.try(ctx, left) })
}

// Holder returns the current turn on the lock name in this process. Without one the error is ErrNotHeld, or what the
// queue was closed with.
func (q *Queue) Holder(name string) (*Hold, error) {
	q.mu.Lock()
	e, closed := q.gates[name], q.closed
	q.mu.Unlock()
	if closed != nil {
		return nil, closed
	}
	if e != nil {
		e.gate.mu.Lock()
		defer e.gate.mu.Unlock()
		if e.gate.holder != nil {
			return e.gate.holder, nil
		}
	}
	return nil, ErrNotHeld
}

// Len returns how many names are in memory: those in use, and those used a moment ago.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.gates)
}

// SkipPasses makes the current tenure of a name count n local turns more. It is for tests: to take them all takes long.
func (q *Queue) SkipPasses(name string, n int64) {
	q.mu.Lock()
	g := q.gates[name].gate
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
	for _, e := range q.gates {
		e.gate.shut(cause)
	}
}

// turn runs take on the gate of the lock name, of which a client has one at a time: it stays for as long as anything is
// held, waited for or remembered there.
func (q *Queue) turn(kind, name string, take func(g *Gate, left func()) (*Hold, error)) (*Hold, error) {
	e, err := q.enter(kind, name)
	if err != nil {
		return nil, err
	}
	gone := false
	left := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !gone {
			gone = true
			q.leave(name, e)
		}
	}
	h, err := take(e.gate, left)
	if h == nil {
		left()
	}
	return h, err
}

func (q *Queue) enter(kind, name string) (*entry, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.gates[name]
	switch {
	case q.closed != nil:
		return nil, q.closed
	case e == nil:
		path, err := NewPath(q.cfg.Prefix, name)
		if err != nil {
			return nil, err
		}
		e = &entry{gate: &Gate{l: &line{cfg: &q.cfg, store: q.cfg.Store, path: path, kind: kind}}}
		q.gates[name] = e
	case e.gate.l.kind != kind:
		return nil, &MismatchError{q.cfg.Store.URL(string(e.gate.l.path)), "the kind", e.gate.l.kind, kind}
	}
	e.users++
	return e, nil
}

// leave notes that one less needs the gate. q.mu is held.
func (q *Queue) leave(name string, e *entry) {
	e.users--
	e.idle = q.cfg.Store.Clock().Now()
	q.prune(name, e, 2*freshness)
}

// prune removes, later, a gate that nobody uses and that has been idle for so long that what it remembers is worth
// nothing. q.mu is held.
func (q *Queue) prune(name string, e *entry, after time.Duration) {
	if e.users > 0 || e.pruning || q.closed != nil {
		return
	}
	e.pruning = true
	q.cfg.Tasks.AfterFunc(after, func(context.Context) {
		q.mu.Lock()
		defer q.mu.Unlock()
		e.pruning = false
		rest := 2*freshness - q.cfg.Store.Clock().Now().Since(e.idle)
		switch {
		case e.users > 0: // whoever leaves last comes here again
		case rest > 0:
			q.prune(name, e, rest)
		case e.gate.idle():
			delete(q.gates, name)
		default: // a ticket whose waiters left is still under way, or a holder is under suspicion
			q.prune(name, e, 2*freshness)
		}
	})
}
