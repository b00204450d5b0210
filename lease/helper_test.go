package lease_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"go.uber.org/goleak"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key    = "jobs/nightly"
	ttl    = 30 * time.Second
	margin = 3 * time.Second // lease.Margin(ttl)
)

// world is a service with one bucket.
type world struct {
	t      *testing.T
	server *gcstest.Server
	seed   uint64
}

// inBubble runs a test in a bubble with a world of its own.
func inBubble(t *testing.T, m gcstest.Model, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := gcstest.New(m)
		t.Cleanup(s.Close)
		s.CreateBucket("b", gcstest.BucketConfig{})
		test(t, &world{t: t, server: s})
	})
}

// real is a service with the latency and the limit of the real one; ideal answers at once.
var (
	real  = gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 1, Seed: 1}
	ideal = gcstest.Model{}
)

// machine is one computer with a process that uses the bucket.
type machine struct {
	*gcstest.Faults
	bucket *storage.BucketHandle
	opts   lease.Options
}

func (w *world) machine(owner string) *machine {
	w.seed++
	f := gcstest.NewFaults(w.seed)
	w.t.Cleanup(f.Close)
	return &machine{
		Faults: f,
		bucket: w.server.Client(f).Bucket("b"),
		opts:   lease.Options{Owner: owner, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
	}
}

func (m *machine) acquire(t *testing.T) *lease.Held {
	t.Helper()
	h, err := lease.Acquire(t.Context(), m.bucket, key, &m.opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (m *machine) acquireWithin(t *testing.T, d time.Duration) (*lease.Held, error) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return lease.Acquire(ctx, m.bucket, key, &m.opts)
}

func (m *machine) try(t *testing.T) (*lease.Held, error) {
	return lease.TryAcquire(t.Context(), m.bucket, key, &m.opts)
}

// wantHeld fails unless err says that owner holds the lease.
func wantHeld(t *testing.T, err error, owner string) {
	t.Helper()
	var held *lease.HeldError
	if !errors.As(err, &held) || held.Owner != owner {
		t.Errorf("error %v, want one that says that %q holds it", err, owner)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func release(t *testing.T, h *lease.Held) {
	t.Helper()
	if err := h.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
}

// object looks past all faults.
func (w *world) object(name string) *gcstest.Object {
	for _, o := range w.server.Objects("b", name) {
		if o.Name == name {
			return &o
		}
	}
	return nil
}

// requests counts the requests of a kind from now on.
func (w *world) requests(kind gcstest.Kind) func() int {
	before := w.server.Stats().ByOp[kind.String()]
	return func() int { return w.server.Stats().ByOp[kind.String()] - before }
}

// within reports an error unless d lies between the two.
func within(t *testing.T, what string, d, least, most time.Duration) {
	t.Helper()
	if d < least || d > most {
		t.Errorf("%s took %v, want %v to %v", what, d, least, most)
	}
}

// neverBoth fails if both leases are believed in.
func neverBoth(t *testing.T, a, b *lease.Held) {
	t.Helper()
	if a.Err() == nil && b.Err() == nil {
		t.Error("both hold the lease")
	}
}

func lost(t *testing.T, l *lease.Held) {
	t.Helper()
	select {
	case <-l.Done():
	default:
		t.Error("Done is open")
	}
	wantErr(t, l.Err(), lease.ErrLost)
}
