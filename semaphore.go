package gcsync

import (
	"context"
	"errors"
	"fmt"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

// A Semaphore lets holders of together n slots in at a time, among all clients of a bucket: bounded parallelism across
// machines. Get one from [Client.Semaphore].
//
// The slots are numbered from 0 to n-1, and each is a lock of its own: who holds some knows which ([Permit.Slots]), and
// can have a port, a licence or a shard of its own. Each slot is first come, first served, and who wants one queues where
// it is likely to be free first, so the semaphore as a whole is nearly so: who waits behind a holder that takes long goes
// elsewhere as soon as it finds an idle slot, but one who came later may have had its turn in another row before. A process
// stands in several rows for its goroutines, which have what it gets in the order of their calls.
//
// Who wants several slots gathers them, one such call in the fleet at a time, so that calls for several never wait for each
// other in a circle, and a large one does not starve.
type Semaphore struct {
	c    *Client
	name string
	n    int64
}

// Semaphore returns the semaphore called name, of n slots, at most 1,000. It sends no request and never fails: an impossible
// name or number is an error of the first call.
//
// Clients need not agree on n: one that says n uses the slots 0 to n-1. So a fleet changes from n to m by one program after
// the other. Meanwhile there are never more than max(n, m) slots held, and never more than n of those below n.
func (c *Client) Semaphore(name string, n int64) *Semaphore {
	return &Semaphore{c: c, name: name, n: n}
}

// A Permit is a number of slots that are held, until [Permit.Release] or until its lease is lost. The lease is lost as soon
// as that of one of the slots is. Its fencing token is that of the first of them.
type Permit struct {
	*lease.Lease

	sem   *Semaphore
	grant *queue.Grant
}

// A Slot is one of those that a [Permit] holds.
type Slot struct {
	Number int64 // of 0 to n-1
	Token  int64 // greater than that of every holder of this slot before
}

// Slots tells which slots are held, in the order of their numbers.
func (p *Permit) Slots() []Slot {
	var slots []Slot
	for number, token := range p.grant.Each {
		slots = append(slots, Slot{number, token})
	}
	return slots
}

// ErrBusy says that fewer slots were free than a [Semaphore.TryAcquire] wanted.
var ErrBusy = errors.New("not free")

// Acquire waits until n slots are free for the caller. ctx bounds the waiting only, and the permit outlives it.
//
// An error means that nothing is held and that nothing is left to undo. It wraps the cause of ctx, [ErrClosed], a
// [*TooLargeError] if there are not that many slots, a [*MismatchError], a [*ForeignError], or what the service refused
// for good.
func (s *Semaphore) Acquire(ctx context.Context, n int64) (*Permit, error) {
	return s.permit("acquire", n, func() (*queue.Grant, error) { return s.c.queue.Enter(ctx, s.name, s.n, n) })
}

// TryAcquire takes n slots if so many are free; otherwise it takes none, and the error is [ErrBusy]. It does not wait for
// others; it makes a handful of requests within ctx. Two that want the last slots at the same moment may both find them
// taken. Any other error means that it could not tell. With an error nothing is held, and the permit is nil; to release
// that is harmless, the answer is [ErrNotHeld].
//
// The slots of holders who died are discovered here as well, as [Mutex.TryLock] discovers them.
func (s *Semaphore) TryAcquire(ctx context.Context, n int64) (*Permit, error) {
	return s.permit("try to acquire", n, func() (*queue.Grant, error) { return s.c.queue.TryEnter(ctx, s.name, s.n, n) })
}

func (s *Semaphore) permit(what string, n int64, enter func() (*queue.Grant, error)) (*Permit, error) {
	if err := s.check(n); err != nil {
		return nil, s.fail(what, err)
	}
	grant, err := enter()
	if grant == nil && err == nil {
		err = ErrBusy
	}
	if err != nil {
		return nil, s.fail(what, err)
	}
	return &Permit{Lease: grant.Lease(), sem: s, grant: grant}, nil
}

// Release gives the slots back. When it returns they are not held by the caller, whatever the error: [ErrLost] if one of
// them had been lost before, so that others may have had it meanwhile; [ErrUnconfirmed] if the service has not answered
// within a fifth of the TTL, while the release goes on in the background; [ErrNotHeld] if it was released before, or
// never had; [ErrClosed] if the client was closed, which released it.
//
// Only the values of ctx are used: that it has ended does not keep slots from being released.
func (p *Permit) Release(ctx context.Context) error {
	if p == nil {
		return fmt.Errorf("gcsync: release semaphore: %w", ErrNotHeld)
	}
	return p.sem.fail("release", p.grant.Release())
}

// Do runs f while it holds n slots, and returns what f returned, joined with [ErrLost] if they were lost meanwhile and
// with the error of the release if there was one. f is not run if the slots could not be had.
//
// The context of f is ctx, cancelled with an [ErrLost] cause when the slots are lost, and carrying the fencing token for
// [lease.TokenFrom]. If f panics, the slots are released and the panic goes on.
func (s *Semaphore) Do(ctx context.Context, n int64, f func(ctx context.Context) error) (err error) {
	p, err := s.Acquire(ctx, n)
	if err != nil {
		return err
	}
	defer func() {
		if failed := p.Release(ctx); failed != nil {
			err = errors.Join(err, failed)
		}
	}()
	ctx, cancel := p.grant.Context(ctx)
	defer cancel()
	return f(ctx)
}

func (s *Semaphore) check(n int64) error {
	switch {
	case s.n <= 0:
		return fmt.Errorf("made with %d slots: there must be at least one", s.n)
	case s.n > queue.MaxSlots:
		return fmt.Errorf("made with %d slots: more than %d are not possible, count in larger units", s.n, queue.MaxSlots)
	case n <= 0:
		return fmt.Errorf("%d slots asked for: there must be at least one", n)
	}
	return nil
}

func (s *Semaphore) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("gcsync: %s semaphore %q: %w", what, object.Short(s.name), err)
}
