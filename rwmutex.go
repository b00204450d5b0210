package gcsync

import (
	"context"
	"errors"
	"fmt"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

// An RWMutex is a lock for readers and writers among all clients of a bucket: any number of readers hold it together, or
// one writer alone. Get one from [Client.RWMutex].
//
// Writers get it in the order in which they came for it. A reader comes after the writers that were there before it, and
// before those that come later: all readers behind the same writer come in together, however many they are, and neither side
// starves. The readers of one process share one hold: while the process has it and no writer has queued behind, others of its
// readers join without a request, and for half a second after a writer of another process has come. To read-lock again while
// holding it as a reader can therefore deadlock with a writer that comes between the two, as with [sync.RWMutex].
//
// The lease of a reader has a fencing token, too: it is larger than those of the writers before it, and smaller than those of
// the writers after.
type RWMutex struct {
	c    *Client
	name string
}

// RWMutex returns the lock called name. It sends no request and never fails: an impossible name is an error of the first
// call. All locks of one name and one client are the same lock.
func (c *Client) RWMutex(name string) *RWMutex { return &RWMutex{c: c, name: name} }

// Lock locks m for writing. Guarantees and errors are those of [Mutex.Lock].
func (m *RWMutex) Lock(ctx context.Context) error {
	_, err := m.write(ctx)
	return err
}

func (m *RWMutex) write(ctx context.Context) (*queue.Hold, error) {
	h, err := m.c.queue.Acquire(ctx, queue.RWMutex, m.name)
	return h, m.fail("lock", err)
}

// TryLock locks m for writing if nobody holds it and nobody waits for it, and reports whether it did, as [Mutex.TryLock]
// does.
func (m *RWMutex) TryLock(ctx context.Context) (bool, error) {
	h, err := m.c.queue.Try(ctx, queue.RWMutex, m.name)
	return h != nil, m.fail("try lock", err)
}

// Unlock unlocks m for writing. Guarantees and errors are those of [Mutex.Unlock].
func (m *RWMutex) Unlock(ctx context.Context) error {
	h, err := m.c.queue.Holder(m.name)
	if err == nil {
		err = h.Release()
	}
	return m.fail("unlock", err)
}

// RLock locks m for reading: it waits until no writer holds it and every writer that came before has had it. Guarantees
// and errors are those of [Mutex.Lock].
func (m *RWMutex) RLock(ctx context.Context) error {
	s, err := m.read(ctx)
	if err == nil {
		m.c.queue.Park(s)
	}
	return err
}

func (m *RWMutex) read(ctx context.Context) (*queue.Share, error) {
	s, err := m.c.queue.Read(ctx, m.name)
	return s, m.fail("read-lock", err)
}

// TryRLock locks m for reading if that needs no waiting, and reports whether it did, as [Mutex.TryLock] does.
func (m *RWMutex) TryRLock(ctx context.Context) (bool, error) {
	s, err := m.c.queue.TryRead(ctx, m.name)
	if s != nil {
		m.c.queue.Park(s)
	}
	return s != nil, m.fail("try read-lock", err)
}

// RUnlock undoes one RLock or TryRLock; the bucket hears of the last one in this process. When it returns, that reader
// does not hold m, whatever the error: the errors are those of [Mutex.Unlock].
func (m *RWMutex) RUnlock(ctx context.Context) error {
	s, err := m.c.queue.Unpark(m.name)
	if err == nil {
		err = s.Release()
	}
	return m.fail("read-unlock", err)
}

// Do runs f while it holds m for writing, as [Mutex.Do] does.
func (m *RWMutex) Do(ctx context.Context, f func(ctx context.Context) error) (err error) {
	h, err := m.write(ctx)
	if err != nil {
		return err
	}
	return m.do(ctx, h, f)
}

// RDo runs f while it holds m for reading, as [Mutex.Do] does.
func (m *RWMutex) RDo(ctx context.Context, f func(ctx context.Context) error) error {
	s, err := m.read(ctx)
	if err != nil {
		return err
	}
	return m.do(ctx, s, f)
}

// held is one side of a lock, held.
type held interface {
	Context(parent context.Context) (context.Context, context.CancelFunc)
	Release() error
}

func (m *RWMutex) do(ctx context.Context, h held, f func(ctx context.Context) error) (err error) {
	defer func() {
		if failed := m.fail("unlock", h.Release()); failed != nil {
			err = errors.Join(err, failed)
		}
	}()
	ctx, cancel := h.Context(ctx)
	defer cancel()
	return f(ctx)
}

// Lease returns the lease of the writer in this process, or nil if there is none, as [Mutex.Lease] does.
func (m *RWMutex) Lease() *lease.Lease {
	h, err := m.c.queue.Holder(m.name)
	if err != nil {
		return nil
	}
	return h.Lease()
}

// RLease returns the lease that the readers of this process share, or nil if there are none but those of RDo, whose
// context tells. It ends when the last of them has gone.
func (m *RWMutex) RLease() *lease.Lease {
	s, err := m.c.queue.Reader(m.name)
	if err != nil {
		return nil
	}
	return s.Lease()
}

func (m *RWMutex) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("gcsync: %s RWMutex %q: %w", what, object.Short(m.name), err)
}
