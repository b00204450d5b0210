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
// Slots are given in the order in which processes came for them, and in a process in the order of the calls. Whoever is
// first waits for as many slots as it wants, and everybody else behind it: a large request does not starve. A process
// queues for one request at a time.
type Semaphore struct {
	c    *Client
	name string
	n    int64
}

// Semaphore returns the semaphore called name, of n slots. It sends no request and never fails: an impossible name or
// number is an error of the first call. All clients must agree on n: one that does not gets a [*MismatchError] that
// names both values. After a [Semaphore.Resize] both the old and the new n are agreed on, so that a fleet can change
// over one program at a time.
func (c *Client) Semaphore(name string, n int64) *Semaphore {
	return &Semaphore{c: c, name: name, n: n}
}

// A Permit is a number of slots that are held, until [Permit.Release] or until its lease is lost.
type Permit struct {
	*lease.Lease

	sem   *Semaphore
	share *queue.Share
}

// Acquire waits until n slots are free and everybody who came before has had theirs. ctx bounds the waiting only, and the
// permit outlives it.
//
// An error means that nothing is held and that nothing is left to undo. It wraps the cause of ctx, [ErrClosed], a
// [*TooLargeError] if there are not that many slots, a [*MismatchError], a [*ForeignError], or what the service refused
// for good.
func (s *Semaphore) Acquire(ctx context.Context, n int64) (*Permit, error) {
	return s.permit("acquire", n, func() (*queue.Share, error) { return s.c.queue.Enter(ctx, s.name, s.n, n) })
}

// TryAcquire takes n slots if they are free and nobody waits; otherwise it returns nil. It does not wait for others; it
// makes a handful of requests, one after the other, within ctx. With an error it could not tell, and nothing is held.
//
// The slots of holders who died are discovered here as well, as [Mutex.TryLock] discovers them.
func (s *Semaphore) TryAcquire(ctx context.Context, n int64) (*Permit, error) {
	return s.permit("try to acquire", n, func() (*queue.Share, error) { return s.c.queue.TryEnter(ctx, s.name, s.n, n) })
}

func (s *Semaphore) permit(what string, n int64, enter func() (*queue.Share, error)) (*Permit, error) {
	if err := s.check(n); err != nil {
		return nil, s.fail(what, err)
	}
	share, err := enter()
	if share == nil || err != nil {
		return nil, s.fail(what, err)
	}
	return &Permit{Lease: share.Lease(), sem: s, share: share}, nil
}

// Release gives the slots back. When it returns they are not held by the caller, whatever the error: [ErrLost] if they
// had been lost before, so that others may have had them meanwhile; [ErrUnconfirmed] if the service has not answered
// within a fifth of the TTL, while the release goes on in the background; [ErrNotHeld] if it was released before;
// [ErrClosed] if the client was closed, which released it.
//
// Only the values of ctx are used: that it has ended does not keep slots from being released.
func (p *Permit) Release(ctx context.Context) error { return p.sem.fail("release", p.share.Release()) }

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
	ctx, cancel := p.share.Context(ctx)
	defer cancel()
	return f(ctx)
}

// Resize changes the number of slots to n for everybody. It waits its turn like an Acquire, but needs no free slot. When it
// has returned nil, nobody is let in beyond n any more: what is held beyond it stays held until it is released. More
// slots are found at once by whoever waits first, while Resize itself may still wait behind others.
//
// After an error the change may or may not come about.
func (s *Semaphore) Resize(ctx context.Context, n int64) error {
	if err := s.check(n); err != nil {
		return s.fail("resize", err)
	}
	return s.fail("resize", s.c.queue.Resize(ctx, s.name, s.n, n))
}

func (s *Semaphore) check(n int64) error {
	switch {
	case s.n <= 0:
		return fmt.Errorf("made with %d slots: there must be at least one", s.n)
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
