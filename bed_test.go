package gcsync_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"go.uber.org/goleak"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/queue"
)

func TestMain(m *testing.M) {
	if buckets, serves := os.LookupEnv(serveEnv); serves {
		if err := serve(buckets); err != nil {
			log.Fatal(err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// typical is a service as one finds it: tens of milliseconds, and one change a second to any one name.
var typical = gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 3, Seed: 1}

// bed is a service and some machines around it, in virtual time.
type bed struct {
	*testing.T
	srv   *gcstest.Server
	start time.Time

	mu    sync.Mutex
	leave []func()
}

// inBubble runs f in virtual time. Everything made from the bed is closed when f returns, and must leave nothing running.
func inBubble(t *testing.T, model gcstest.Model, f func(b *bed)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bed{T: t, srv: gcstest.New(model), start: time.Now()}
		b.srv.CreateBucket(bucket, gcstest.BucketConfig{})
		defer b.srv.Close()
		defer func() {
			for i := len(b.leave) - 1; i >= 0; i-- {
				b.leave[i]()
			}
		}()
		f(b)
	})
}

// host is one machine: a client with its own connection, clocks and faults.
type host struct {
	*gcsync.Client
	bucket *storage.BucketHandle
	faults *gcstest.Faults
	events *branches
	jump   atomic.Int64              // of its wall clock
	frozen atomic.Pointer[time.Time] // where its monotonic clock stands still
	asleep atomic.Int64              // for how long it was suspended, beside what the other clocks saw
}

// host adds a machine. Its name is its owner's.
func (b *bed) host(name string, change ...func(*gcsync.Options)) *host {
	b.Helper()
	h := &host{faults: gcstest.NewFaults(1), events: new(branches)}
	opts := &gcsync.Options{Owner: name, Linger: -1, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(opts)
	}
	gcsync.Instrument(opts, clock.Clock{
		Mono: func() time.Time {
			if at := h.frozen.Load(); at != nil {
				return *at
			}
			return time.Now()
		},
		Wall: func() time.Time { return time.Now().Add(time.Duration(h.jump.Load())) },
		Boot: func() time.Duration { return time.Since(b.start) + time.Duration(h.asleep.Load()) },
	}, func(e queue.Event, _ string) { h.events.hit(e) })
	service := b.srv.Client(h.faults)
	h.bucket = service.Bucket(bucket)
	c, err := gcsync.New(h.bucket, opts)
	if err != nil {
		b.Fatal(err)
	}
	h.Client = c
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leave = append(b.leave, func() {
		h.faults.Partition(false)
		h.faults.Resume()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		h.Close(ctx)
		h.faults.Close()
		service.Close()
	})
	return h
}

// vanish kills a machine: nothing more leaves it, what it held it will not release.
func (h *host) vanish() { h.faults.Crash() }

func (b *bed) lock(m *gcsync.Mutex) {
	b.Helper()
	if err := m.Lock(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func (b *bed) unlock(m *gcsync.Mutex) {
	b.Helper()
	if err := m.Unlock(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// within fails unless the time since from is in the given bounds.
func (b *bed) within(what string, from time.Time, low, high time.Duration) {
	b.Helper()
	if d := time.Since(from); d < low || d > high {
		b.Errorf("%s took %v, not between %v and %v", what, d, low, high)
	}
}

// unlocked fails unless nothing but the tail of the queue is left of the lock name.
func (b *bed) unlocked(name string) {
	b.Helper()
	if left := b.srv.Objects(bucket, "gcsync/"+name+"/t/"); len(left) != 1 {
		b.Errorf("%s: %d tickets left, want the tail alone: %v", name, len(left), left)
	}
}

func ticket(name string, n int) string { return fmt.Sprintf("gcsync/%s/t/%019d", name, n) }
