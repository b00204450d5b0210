package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/lease"
)

// Ours returns the locks of this module: the queue of tickets, and the lease on one object.
func Ours(log *slog.Logger) []Lock { return []Lock{tickets{log}, oneObject{log}} }

func (s Setup) logger(log *slog.Logger) *slog.Logger {
	if s.Quiet {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// tickets is the lock of the root package.
type tickets struct{ log *slog.Logger }

func (tickets) Name() string { return "gcsync" }

func (l tickets) Client(_ context.Context, s Setup) (Client, error) {
	opts := &gcsync.Options{Prefix: s.Prefix, TTL: s.TTL, Logger: s.logger(l.log)}
	if !s.Linger {
		opts.Linger = -1 * time.Second
	}
	c, err := gcsync.New(s.Bucket, opts)
	if err != nil {
		return nil, err
	}
	return ticketClient{c}, nil
}

type ticketClient struct{ *gcsync.Client }

func (c ticketClient) Locker(w Want) (Locker, error) {
	switch w.Kind {
	case Mutex:
		return &held{try: c.mutex("lock")}, nil
	case Semaphore:
		return &held{try: c.permit("permits", w.Capacity)}, nil
	case RWMutex:
		if w.Shared {
			return &held{try: c.read("lock")}, nil
		}
		return &held{try: c.write("lock")}, nil
	case Election:
		return &held{try: c.campaign("leader")}, nil
	case Once:
		return ticketOnce{c}, nil
	default:
		return nil, ErrUnsupported
	}
}

// acquire waits for a lock, and returns its lease and how to release it.
type acquire func(ctx context.Context) (l *lease.Lease, release func(context.Context) error, err error)

func (c ticketClient) mutex(name string) acquire {
	mu := c.Mutex(name)
	return func(ctx context.Context) (*lease.Lease, func(context.Context) error, error) {
		if err := mu.Lock(ctx); err != nil {
			return nil, nil, err
		}
		return mu.Lease(), mu.Unlock, nil
	}
}

func (c ticketClient) write(name string) acquire {
	rw := c.RWMutex(name)
	return func(ctx context.Context) (*lease.Lease, func(context.Context) error, error) {
		if err := rw.Lock(ctx); err != nil {
			return nil, nil, err
		}
		return rw.Lease(), rw.Unlock, nil
	}
}

func (c ticketClient) read(name string) acquire {
	rw := c.RWMutex(name)
	return func(ctx context.Context) (*lease.Lease, func(context.Context) error, error) {
		if err := rw.RLock(ctx); err != nil {
			return nil, nil, err
		}
		return rw.RLease(), rw.RUnlock, nil
	}
}

func (c ticketClient) permit(name string, n int64) acquire {
	sem := c.Semaphore(name, n)
	return func(ctx context.Context) (*lease.Lease, func(context.Context) error, error) {
		p, err := sem.Acquire(ctx, 1)
		if err != nil {
			return nil, nil, err
		}
		return p.Lease, p.Release, nil
	}
}

func (c ticketClient) campaign(name string) acquire {
	e := c.Election(name)
	return func(ctx context.Context) (*lease.Lease, func(context.Context) error, error) {
		t, err := e.Campaign(ctx, "candidate")
		if err != nil {
			return nil, nil, err
		}
		return t.Lease, t.Resign, nil
	}
}

// ticketOnce is a Oncer, whose Locker is of no use.
type ticketOnce struct{ ticketClient }

func (o ticketOnce) Once(ctx context.Context, name string, f func(context.Context) error) error {
	return o.ticketClient.Once(name).Do(ctx, f)
}

func (ticketOnce) Lock(context.Context) (int64, error) { return 0, ErrUnsupported }
func (ticketOnce) Unlock(context.Context) error        { return ErrUnsupported }

// held is a Leaser for one goroutine.
type held struct {
	try     acquire
	lease   *lease.Lease // of the current hold
	release func(context.Context) error
}

func (h *held) Lock(ctx context.Context) (token int64, err error) {
	if h.lease, h.release, err = h.try(ctx); err != nil {
		return 0, err
	}
	if h.lease == nil {
		return 0, errors.New("locked, and nobody holds it")
	}
	return h.lease.Token(), nil
}

func (h *held) Unlock(ctx context.Context) error { return lost(h.release(ctx)) }
func (h *held) Lost() <-chan struct{}            { return h.lease.Done() }

// lost says in the words of the harness that a lock was lost.
func lost(err error) error {
	if errors.Is(err, gcsync.ErrLost) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// oneObject is package lease.
type oneObject struct{ log *slog.Logger }

func (oneObject) Name() string { return "lease" }

func (l oneObject) Client(_ context.Context, s Setup) (Client, error) {
	return objectClient{bucket: s.Bucket, name: s.Prefix + "lock", opts: &lease.Options{TTL: s.TTL, Logger: s.logger(l.log)}}, nil
}

type objectClient struct {
	bucket *storage.BucketHandle
	name   string
	opts   *lease.Options
}

func (c objectClient) Close(context.Context) error { return nil }

func (c objectClient) Locker(w Want) (Locker, error) {
	if w.Kind != Mutex {
		return nil, ErrUnsupported
	}
	return &held{try: c.acquire}, nil
}

func (c objectClient) acquire(ctx context.Context) (*lease.Lease, func(context.Context) error, error) {
	h, err := lease.Acquire(ctx, c.bucket, c.name, c.opts)
	if err != nil {
		return nil, nil, err
	}
	return h.Lease, h.Release, nil
}
