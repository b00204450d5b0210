package gcsync_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
)

// The locks that most people build on a bucket: one object, created and deleted. Each has a flaw that is known from the
// field, and the schedules must convict it; else they would not convict us either.
var naiveLocks = map[string]func(*naive) func(name string) error{
	// The release repeats an unconditional delete until it is answered: the second delete may hit the next holder's object.
	"unconditional delete": func(l *naive) func(string) error {
		return func(name string) error {
			for range 20 {
				err := l.bucket.Object(name).Delete(l.m.ctx)
				if err == nil || errors.Is(err, storage.ErrObjectNotExist) || l.m.ctx.Err() != nil {
					return nil
				}
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}
	},
	// Metageneration 1 is that of every object that was never patched, whoever made it.
	"metageneration alone": func(l *naive) func(string) error {
		return func(name string) error {
			for range 20 {
				err := l.bucket.Object(name).If(storage.Conditions{MetagenerationMatch: 1}).Delete(l.m.ctx)
				var e *googleapi.Error
				if err == nil || errors.As(err, &e) && e.Code == 412 || l.m.ctx.Err() != nil {
					return nil
				}
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}
	},
	// The holder writes when its lease ends, by its own clock, and the others compare that with theirs.
	"wall clock expiry": func(l *naive) func(string) error {
		l.expires = 3 * time.Second
		return func(name string) error { return l.bucket.Object(name).Delete(l.m.ctx) }
	},
}

// naive is one machine's share in a lock on a single object.
type naive struct {
	m       *machine
	bucket  *storage.BucketHandle
	expires time.Duration // 0: never
	skew    time.Duration // of the machine's wall clock
	release func(name string) error
}

// naiveHold believes until it is released, or until its time is over by its own clock.
type naiveHold struct {
	l     *naive
	name  string
	until time.Time
	done  chan struct{}
}

func (l *naive) now() time.Time { return time.Now().Add(l.skew) }

func (l *naive) take(ctx context.Context, name string, _ int64, try bool) (hold, error) {
	for ctx.Err() == nil {
		h := &naiveHold{l: l, name: name, done: make(chan struct{})}
		if l.expires > 0 {
			h.until = l.now().Add(l.expires)
		}
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		w := l.bucket.Object(name).If(storage.Conditions{DoesNotExist: true}).Retryer(storage.WithPolicy(storage.RetryNever)).NewWriter(attempt)
		w.ChunkSize = 0
		w.Metadata = map[string]string{"until": strconv.FormatInt(h.until.UnixNano(), 10)}
		err := w.Close()
		cancel()
		if err == nil {
			if l.expires > 0 {
				time.AfterFunc(h.until.Sub(l.now()), func() { close(h.done) })
			}
			return h, nil
		}
		if l.expires > 0 {
			l.evict(ctx, name)
		}
		if try {
			return nil, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, context.Cause(ctx)
}

// evict deletes an object whose time is over by the local clock.
func (l *naive) evict(ctx context.Context, name string) {
	attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a, err := l.bucket.Object(name).Attrs(attempt)
	if err != nil {
		return
	}
	if until, _ := strconv.ParseInt(a.Metadata["until"], 10, 64); l.now().UnixNano() > until {
		l.bucket.Object(name).If(storage.Conditions{GenerationMatch: a.Generation}).Delete(attempt)
	}
}

func (l *naive) close(context.Context) {}

func (h *naiveHold) Done() <-chan struct{} { return h.done }
func (h *naiveHold) Token() int64          { return 0 }
func (h *naiveHold) record(int64) string   { return "" }

func (h *naiveHold) Err() error {
	if h.l.expires > 0 && h.l.now().After(h.until) {
		return errors.New("expired")
	}
	return nil
}

func (h *naiveHold) unlock(context.Context) error { return h.l.release(h.name) }

// TestNaiveLocksAreConvicted shows that the schedules find what is wrong with the usual locks.
func TestNaiveLocksAreConvicted(t *testing.T) {
	for flaw, make := range naiveLocks {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 200; seed++ {
				var convicted string
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, lockKind{slots: 1, weights: []int64{1}, boot: func(m *machine) locks {
						l := &naive{m: m, bucket: m.storage.Bucket(bucket)}
						l.skew = time.Duration(m.w.rng.Int64N(int64(20*time.Second))) - 10*time.Second
						l.release = make(l)
						return l
					}}, new(branches))
					w.patience = 0 // a holder that dies blocks such a lock for ever; that is not what we look for
					w.convict = func(verdict string) { convicted = verdict }
					w.run()
				})
				if convicted != "" {
					t.Logf("seed %d: %s", seed, convicted)
					return
				}
			}
			t.Error("not convicted by 200 schedules")
		})
	}
}
