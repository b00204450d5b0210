package lease

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cloud.google.com/go/storage"
	"github.com/cenkalti/backoff/v4"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/tasks"
)

// Options are the settings of one call. The zero value of each field means its default.
type Options struct {
	// Owner tells people who holds the lease. It decides nothing: two callers of one owner exclude each other like any
	// others. Default: a random text.
	Owner string

	// TTL is how long the holder may be silent before others take over: what a crash costs them, against the requests
	// that renewing costs (three each TTL). It is rounded up to whole seconds; the least that leaves time to renew is
	// 3 s. Default: 30 s.
	TTL time.Duration

	// Backoff makes the pauses between the attempts of one call: a fresh policy for each, because a policy has state.
	// When a policy gives up ([backoff.Stop]), the call fails with the error of the last attempt. A lease that is held
	// is renewed regardless, for as long as there is time. Default: [DefaultBackoff].
	Backoff func() backoff.BackOff

	// Logger is told of losses and of taking over from the dead, at level Warn, and of what is acquired and released,
	// at level Debug. Default: [slog.Default].
	Logger *slog.Logger

	clock clock.Clock // tests put their own here
}

// lock is one object as one call sees it, with all that the call needs.
type lock struct {
	store   *object.Store
	bucket  string
	name    string
	owner   string
	ttl     time.Duration // once it has been renewed
	first   time.Duration // until then
	backoff func() object.Backoff
	logger  *slog.Logger
	tasks   *tasks.Group // of the client that the leases belong to; nil: each has its own
	bid     Bid
}

// newLock fills in the defaults and refuses what cannot work.
func newLock(bucket *storage.BucketHandle, name string, opts *Options) (*lock, error) {
	if bucket == nil {
		return nil, errors.New("lease: no bucket")
	}
	if err := object.CheckBucket(bucket.BucketName()); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Owner == "" {
		o.Owner = object.NewNonce()
	}
	if o.TTL == 0 {
		o.TTL = 30 * time.Second
	}
	o.TTL = wholeSeconds(o.TTL)
	if err := CheckLength(o.TTL); err != nil {
		return nil, fmt.Errorf("lease: Options.TTL of %w", err)
	}
	if o.Backoff == nil {
		o.Backoff = DefaultBackoff
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &lock{
		store:   object.NewStore(bucket, RequestTimeout(o.TTL), o.clock).Observed(nil, o.Logger),
		bucket:  bucket.BucketName(),
		name:    name,
		owner:   o.Owner,
		ttl:     o.TTL,
		first:   o.TTL,
		backoff: func() object.Backoff { return o.Backoff() },
		logger:  o.Logger,
	}, nil
}

func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

func (l *lock) now() clock.Instant { return l.store.Clock().Now() }

func (l *lock) url() string { return l.store.URL(l.name) }
