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
		return &ticketMutex{mu: c.Mutex("lock")}, nil
	default:
		return nil, ErrUnsupported
	}
}

// ticketMutex is a Leaser for one goroutine.
type ticketMutex struct {
	mu    *gcsync.Mutex
	lease *lease.Lease // of the current hold
}

func (m *ticketMutex) Lock(ctx context.Context) (int64, error) {
	if err := m.mu.Lock(ctx); err != nil {
		return 0, err
	}
	if m.lease = m.mu.Lease(); m.lease == nil {
		return 0, errors.New("locked, and nobody holds it")
	}
	return m.lease.Token(), nil
}

func (m *ticketMutex) Unlock(ctx context.Context) error { return lost(m.mu.Unlock(ctx)) }
func (m *ticketMutex) Lost() <-chan struct{}            { return m.lease.Done() }

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
	return &objectLease{objectClient: c}, nil
}

// objectLease is a Leaser for one goroutine.
type objectLease struct {
	objectClient
	held *lease.Held
}

func (o *objectLease) Lock(ctx context.Context) (int64, error) {
	h, err := lease.Acquire(ctx, o.bucket, o.name, o.opts)
	if err != nil {
		return 0, err
	}
	o.held = h
	return h.Token(), nil
}

func (o *objectLease) Unlock(ctx context.Context) error { return lost(o.held.Release(ctx)) }
func (o *objectLease) Lost() <-chan struct{}            { return o.held.Done() }
