package harness

import (
	"context"
	"errors"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/gcstest"
)

// A Lock is an implementation under test.
type Lock interface {
	// Name is how the report calls it.
	Name() string

	// Client returns a client of the lock, such as a process would have one.
	Client(ctx context.Context, s Setup) (Client, error)
}

// A Preparer is a Lock that needs something in the parent's process before the first client.
type Preparer interface{ Prepare() error }

// OffBucket is a Lock that does not live in a bucket: what its requests cost is not for us to say.
type OffBucket interface{ OffBucket() }

// Setup is what a client needs. All clients with the same bucket and prefix meet.
type Setup struct {
	Bucket *storage.BucketHandle
	Prefix string        // of the names of all objects
	TTL    time.Duration // how long a holder may be silent, for locks that have leases
	Linger bool          // the lock may be kept for a moment after Unlock
	Quiet  bool          // deaths are part of the scenario: do not log them
	Model  gcstest.Model // of the simulated service, for locks that live elsewhere: what a round trip takes
}

// A Client is one process's part in the lock.
type Client interface {
	// Locker returns one goroutine's handle, or an error that wraps [ErrUnsupported].
	Locker(w Want) (Locker, error)
	Close(ctx context.Context) error
}

// A Crasher is a Client that has more connections than those of the bucket, which Crash cuts for good.
type Crasher interface{ Crash() }

// ErrUnsupported is the error of a lock that has nothing of the kind wanted.
var ErrUnsupported = errors.New("not supported")

// ErrAgain is the error of a Lock that has failed where a program would try again, and of an Unlock that has failed where
// it could not do more. Each is counted.
var ErrAgain = errors.New("try again")

// ErrLost is the error of an Unlock that found that the lock had been lost. Each is counted.
var ErrLost = errors.New("lost while held")

// Want is what a goroutine wants.
type Want struct {
	Kind     Kind
	Capacity int64 // of a semaphore
	Shared   bool  // to read only

	Hold time.Duration // how long it will be held, for locks that have to know
}

// Kind is a kind of lock.
type Kind int

// The kinds.
const (
	Mutex Kind = iota
	Semaphore
	RWMutex
	Election
	Once // its Locker is a [Oncer]
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

// A Oncer runs f once among all that ask for it. It returns when it has been run, by whomever.
type Oncer interface {
	Once(ctx context.Context, name string, f func(context.Context) error) error
}
