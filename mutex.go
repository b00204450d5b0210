package gcsync

import (
	"context"
	"errors"
	"fmt"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

// A Mutex is a mutual exclusion lock among all clients of a bucket. Get one from [Client.Mutex].
//
// Holders follow each other in the order in which their processes came for the lock; the goroutines of one process in
// the order in which they called. While another process waits, they hand the lock on among themselves 16 times, or for a
// second, at most. If Unlock n returned nil and Lock m returned after it, what happened before Unlock n is visible to the caller of
// Lock m as far as this memory, this bucket, or anything else that both can see is concerned.
//
// A Mutex is not re-entrant, and like a [sync.Mutex] it is not tied to a goroutine: one may lock it and another unlock.
type Mutex struct {
	c    *Client
	name string
}

// Mutex returns the mutex called name. It sends no request and never fails: an impossible name is an error of the first
// call. All mutexes of one name and one client are the same mutex.
func (c *Client) Mutex(name string) *Mutex { return &Mutex{c: c, name: name} }

// Lock locks m. It waits until m is free and everybody who came before has had it; ctx bounds the waiting only, and the
// lock outlives it.
//
// A nil error means that m is held, until Unlock or until the lease is lost ([Mutex.Lease] tells). An error means that
// it is not, and that nothing is left to undo: a ticket already drawn is given to another goroutine of this client, or
// released as soon as its turn comes. The error is a [*WaitError] if ctx ended, which tells what Lock was waiting for; or it
// wraps [ErrClosed], a [*MismatchError], a [*ForeignError], or what the service refused for good: a denial is taken for good
// when it has lasted for some seconds, or when there was never another answer.
func (m *Mutex) Lock(ctx context.Context) error {
	_, err := m.acquire(ctx)
	return err
}

func (m *Mutex) acquire(ctx context.Context) (*queue.Hold, error) {
	h, err := m.c.queue.Acquire(ctx, queue.Mutex, m.name)
	if err != nil {
		return nil, m.fail("lock", err)
	}
	return h, nil
}

// TryLock locks m if nobody holds it and nobody waits for it, and reports whether it did. It does not wait for others;
// it makes a handful of requests, one after the other, within ctx and ten seconds. False without an error means that
// somebody was seen to hold m, or to wait for it. False with an error means that it could not tell; nothing is held then.
// If the service did not answer, the error is [ErrNoAnswer].
//
// A holder that died is discovered here as well, but a caller that does not wait has not seen it be silent: it takes two
// leases since it was last heard of, by the service's clock, and two calls of TryLock by anybody; or one lease and two
// calls by the same client.
func (m *Mutex) TryLock(ctx context.Context) (bool, error) {
	h, err := m.c.queue.Try(ctx, queue.Mutex, m.name)
	if err != nil {
		return false, m.fail("try lock", err)
	}
	return h != nil, nil
}

// Unlock unlocks m. When it returns, m is not held by this process, whatever the error:
//
//   - nil: it was held until now, and the next may have it.
//   - [ErrLost]: it had been lost before, and somebody else may have held it meanwhile.
//   - [ErrUnconfirmed]: it was held until now, but the service has not answered within a fifth of the TTL. The release goes
//     on in the background; at the latest the lease frees the lock.
//   - an error that says that the bucket retains its objects: nobody can have the lock until the retention ends.
//   - [ErrNotHeld]: nobody in this process held it.
//   - [ErrClosed]: the client was closed, which released it.
//
// Only the values of ctx are used: that it has ended does not keep a lock from being released.
func (m *Mutex) Unlock(ctx context.Context) error {
	h, err := m.c.queue.Holder(m.name)
	if err != nil {
		return m.fail("unlock", err)
	}
	return m.fail("unlock", h.Release())
}

// Do runs f while it holds m, and returns what f returned, joined with [ErrLost] if the lock was lost meanwhile and with
// the error of the release if there was one. f is not run if the lock could not be had.
//
// The context of f is ctx, cancelled with an [ErrLost] cause when the lock is lost, and carrying the fencing token for
// [lease.TokenFrom]. f should stop when its context ends: from then on somebody else may be inside. If f panics, m is
// unlocked and the panic goes on.
func (m *Mutex) Do(ctx context.Context, f func(ctx context.Context) error) (err error) {
	h, err := m.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if failed := m.fail("unlock", h.Release()); failed != nil {
			err = errors.Join(err, failed)
		}
	}()
	ctx, cancel := h.Context(ctx)
	defer cancel()
	return f(ctx)
}

// Lease returns the lease of the current hold: its deadline, its fencing token, and a channel that tells of its loss. It
// returns nil if nobody in this process holds m. After an Unlock it is over, even if m is locked again.
func (m *Mutex) Lease() *lease.Lease {
	h, err := m.c.queue.Holder(m.name)
	if err != nil {
		return nil
	}
	return h.Lease()
}

func (m *Mutex) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("gcsync: %s mutex %q: %w", what, object.Short(m.name), err)
}
