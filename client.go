package gcsync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"cloud.google.com/go/storage"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/internal/tasks"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// Options are the settings of a [Client]. The zero value of each field means its default.
type Options struct {
	// Prefix is put before the name of every object. Default: "gcsync/". Clients that are to meet must agree on it.
	Prefix string

	// Owner tells people who holds and who waits. It decides nothing: two clients of one owner exclude each other like
	// any others. Default: the program's name and process number.
	Owner string

	// TTL is how long a holder that has been renewing may be silent before the next in line takes over: what a crash
	// costs the others, against the requests that renewing costs (three each TTL). A Once, an Every and an Election round it
	// up to whole seconds. Default: 30 s.
	TTL time.Duration

	// Claim is the same for a holder that has not renewed yet, and so for one that crashed within the first third of
	// it. Of what has a queue it is what this client grants to whoever comes after it; a Once, an Every and an Election have
	// their own, in whole seconds. Default: 10 s, or the TTL if that is shorter.
	Claim time.Duration

	// Linger is how long, at most, a name that was unlocked with nobody waiting is kept, if this client has taken it twice
	// within the last second: locking it again then takes no request. It is kept for no longer than it was held, or for 50 ms
	// if that is longer; for so long a free name may look taken to a TryLock elsewhere. Another client that waits for it ends
	// the linger. Default: 250 ms; negative: never.
	Linger time.Duration

	// Backoff makes the pauses between retries. Default: [DefaultBackoff].
	Backoff Backoff

	// Logger is told of losses, of taking over from the dead, and that the service does not answer, or refuses requests
	// because there are too many, at level Warn, and of each step of the protocol at level Debug. It is called with locks held, and must not
	// call the client. Default: [slog.Default].
	Logger *slog.Logger

	// TracerProvider and MeterProvider are told what the client does, under the names that package tracing holds. They
	// may be called with locks held, and must not call the client. Default: the global ones of package otel, also if they
	// are set later; while nobody sets them, nothing is recorded.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// Class is an attribute of all spans and metrics of the client, to tell groups of names apart where a time series
	// for each name would be too many: "migrations", say. Default: none.
	Class string

	clock clock.Clock                      // tests put their own here
	event func(e queue.Event, path string) // tests count what happens
	mute  bool                             // tests compare with a client that tells nothing
}

// Usage counts the requests of a client by what they cost.
type Usage = object.Usage

// Client is a bucket in which programs on many machines meet. It owns the goroutines that queue, renew and release;
// the handles made from it are cheap and may be made anew for each use. It is safe for concurrent use.
type Client struct {
	queue *queue.Queue
	store *object.Store
	tasks *tasks.Group
	leave context.CancelFunc // ends all waiting

	// What stands on single objects.
	terms    lease.Terms
	prefix   string
	host     string
	waiting  context.Context
	held     holdings
	audience *telemetry.Telemetry // who is told what happens
	onces    turns[payload]
	slots    turns[time.Time]
}

// New returns a client on bucket. The handle and its storage client are used as they are, are never changed, and must
// stay open until [Client.Close] has returned. A nil opts means all defaults. New sends no request: a missing bucket or
// permission is an error of the first call.
//
// It fails when the timings leave no room to renew: when a third of Claim or TTL, a request (a fifth) and the margin
// that a holder keeps (a tenth, at least a second) do not fit into it.
func New(bucket *storage.BucketHandle, opts *Options) (*Client, error) {
	if bucket == nil {
		return nil, errors.New("gcsync: New needs a bucket")
	}
	if err := object.CheckBucket(bucket.BucketName()); err != nil {
		return nil, fmt.Errorf("gcsync: New: %w", err)
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	var tell *telemetry.Telemetry
	if !o.mute {
		tell = telemetry.New(o.TracerProvider, o.MeterProvider, o.Class)
	}
	c := &Client{
		store:    object.NewStore(bucket, lease.RequestTimeout(o.Claim), o.clock).Observed(tell, o.Logger),
		tasks:    tasks.New(),
		prefix:   o.Prefix,
		audience: tell,
	}
	c.waiting, c.leave = context.WithCancel(c.tasks.Context())
	c.host, _ = os.Hostname() // for people; an empty one says as much as an error would
	c.queue = queue.New(queue.Config{
		Store:   c.store,
		Tasks:   c.tasks,
		Waiting: c.waiting,
		Prefix:  o.Prefix,
		Owner:   o.Owner,
		Host:    c.host,
		TTL:     o.TTL,
		Claim:   o.Claim,
		Linger:  o.Linger,
		Backoff: o.Backoff.internal(),
		Logger:  o.Logger,
		Event:   o.event,

		Telemetry: tell,
	})
	c.terms = lease.Terms{
		Store:   c.store,
		Bucket:  bucket.BucketName(),
		Tasks:   c.tasks,
		Owner:   o.Owner,
		TTL:     o.TTL,
		Claim:   o.Claim,
		Backoff: o.Backoff.internal(),
		Logger:  o.Logger,
	}
	return c, nil
}

// complete fills in the defaults and refuses timings that cannot work.
func (o *Options) complete() error {
	if o.Prefix == "" {
		o.Prefix = "gcsync/"
	}
	if o.Owner == "" {
		o.Owner = fmt.Sprintf("%s/%d", program(), os.Getpid())
	}
	if o.TTL == 0 {
		o.TTL = 30 * time.Second
	}
	if o.Claim == 0 {
		o.Claim = min(10*time.Second, o.TTL)
	}
	if o.Linger == 0 {
		o.Linger = 250 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := lease.CheckLength(o.TTL); err != nil {
		return fmt.Errorf("gcsync: Options.TTL: %w", err)
	}
	if err := lease.CheckLength(o.Claim); err != nil {
		return fmt.Errorf("gcsync: Options.Claim: %w", err)
	}
	if o.Claim > o.TTL {
		return fmt.Errorf("gcsync: Options.Claim of %v is longer than the TTL of %v: renewing would shorten the lease: make it shorter", o.Claim, o.TTL)
	}
	return nil
}

func program() string {
	if len(os.Args) > 0 {
		return filepath.Base(os.Args[0])
	}
	return "unknown"
}

// Usage returns what the client has requested so far.
func (c *Client) Usage() Usage { return c.store.Usage() }

// Close ends the client: calls that wait return [ErrClosed], what is held is released, tickets that still wait are
// marked as abandoned so that those behind them need not wait for their leases. It returns when all goroutines of the
// client have ended, or with the cause of ctx when that ends first; then the goroutines are told to hurry, and what
// could not be released is freed by its lease. To close again is harmless.
//
// Close does not close the storage client.
func (c *Client) Close(ctx context.Context) error {
	c.queue.Close(ErrClosed)
	c.held.close(func(h *lease.Held) {
		c.toldOf(h).Over(tracing.Closed, nil)
		c.tasks.Go(func(ctx context.Context) { _, _ = c.terms.Release(ctx, h, ErrClosed, nil) })
	})
	c.leave()
	err := c.tasks.Close(ctx)
	c.tasks.Cancel(ErrClosed)
	if err != nil {
		return fmt.Errorf("gcsync: closed before everything was released; leases free the rest: %w", err)
	}
	return nil
}
