package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/lease"
)

// A Locker is one goroutine's handle on the lock under test.
type Locker interface {
	// Lock waits for the lock, for as long as ctx lasts. The token is greater than that of every grant before it; 0 for
	// a lock that has none.
	Lock(ctx context.Context) (token int64, err error)

	// Unlock gives the lock back. It is not called with a context that has ended.
	Unlock(ctx context.Context) error
}

// A Leaser is a Locker that can lose its lock, and tells.
type Leaser interface {
	Locker
	Lost() <-chan struct{} // closed when the lock that Lock returned is held no longer
}

// A lock is an implementation under test.
type lock interface {
	name() string
	// client returns a client of the lock, such as a process would have one, on a bucket. All clients with the same
	// prefix meet at one lock. linger allows to keep the lock for a moment after Unlock.
	client(bucket *storage.BucketHandle, prefix string, linger bool) (client, error)
}

// A client is one process's part in the lock.
type client interface {
	locker() Locker
	usage() gcsync.Usage // requests so far, by price
	close(ctx context.Context) error
}

// gcsyncLock is the lock of this module.
type gcsyncLock struct{ log *slog.Logger }

func (gcsyncLock) name() string { return "gcsync" }

func (l gcsyncLock) client(bucket *storage.BucketHandle, prefix string, linger bool) (client, error) {
	opts := &gcsync.Options{Prefix: prefix, Logger: l.log}
	if !linger {
		opts.Linger = -1 * time.Second
	}
	c, err := gcsync.New(bucket, opts)
	if err != nil {
		return nil, err
	}
	return gcsyncClient{c}, nil
}

type gcsyncClient struct{ *gcsync.Client }

func (c gcsyncClient) locker() Locker                  { return &gcsyncMutex{mu: c.Mutex("lock")} }
func (c gcsyncClient) usage() gcsync.Usage             { return c.Usage() }
func (c gcsyncClient) close(ctx context.Context) error { return c.Close(ctx) }

// gcsyncMutex is a Leaser for one goroutine.
type gcsyncMutex struct {
	mu    *gcsync.Mutex
	lease *lease.Lease // of the current hold
}

func (m *gcsyncMutex) Lock(ctx context.Context) (int64, error) {
	if err := m.mu.Lock(ctx); err != nil {
		return 0, err
	}
	if m.lease = m.mu.Lease(); m.lease == nil {
		return 0, errors.New("locked, and nobody holds it")
	}
	return m.lease.Token(), nil
}

func (m *gcsyncMutex) Unlock(ctx context.Context) error { return m.mu.Unlock(ctx) }
func (m *gcsyncMutex) Lost() <-chan struct{}            { return m.lease.Done() }
