package lease_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/cenkalti/backoff/v4"
	"google.golang.org/api/option"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// TestContention: under faults, with processes that die and the service's limit, never two believe at one time, and the
// tokens rise in the order of the grants.
func TestContention(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := real
			m.Seed = seed
			inBubble(t, m, func(t *testing.T, w *world) {
				const machines = 6
				w.seed = seed * machines
				ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
				defer stop()
				var mu sync.Mutex
				var current *lease.Held
				var token int64
				turns := 0
				var all sync.WaitGroup
				for i := range machines {
					m := w.machine(fmt.Sprint("machine ", i))
					m.opts.TTL = 10 * time.Second
					m.Random(gcstest.Profile{
						Odds: map[gcstest.FaultKind]float64{
							gcstest.Refuse: 0.03, gcstest.Reset: 0.03, gcstest.LoseAnswer: 0.05, gcstest.StallAnswer: 0.01,
							gcstest.Ghost: 0.03, gcstest.DuplicateLast: 0.03, gcstest.Delay: 0.01,
							gcstest.Foreign: 0.03, gcstest.ForeignAnswer: 0.02, gcstest.WrongDate: 0.05,
						},
						MaxDelay: 15 * time.Second,
					})
					skewed := seed%2 == 0
					if skewed {
						m.Skew(time.Duration(i-3)*time.Hour, 0)
					}
					all.Go(func() {
						for turn := 0; ctx.Err() == nil; turn++ {
							h, err := lease.Acquire(ctx, m.bucket, key, &m.opts)
							if err != nil {
								if ctx.Err() == nil {
									t.Error(err)
								}
								return
							}
							mu.Lock()
							if current != nil && current.Err() == nil {
								t.Error("two hold the lease")
							}
							if h.Token() <= token && !skewed { // a skewed machine sees another time of creation
								t.Errorf("token %d after %d", h.Token(), token)
							}
							current, token, turns = h, h.Token(), turns+1
							mu.Unlock()
							select {
							case <-h.Done():
							case <-time.After(time.Duration(i+1) * 2 * time.Second):
							}
							if turn%5 == i%5 { // as if the process died
								m.Partition(true)
								time.Sleep(20 * time.Second)
								m.Partition(false)
							}
							mu.Lock()
							if current == h {
								current = nil
							}
							mu.Unlock()
							if err := h.Release(ctx); err != nil && !errors.Is(err, lease.ErrLost) && !errors.Is(err, lease.ErrUnconfirmed) {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
				if turns < 7 {
					t.Errorf("%d turns in 2 minutes", turns)
				}
			})
		})
	}
}

// TestTokensRise over everything that can happen to the object between two grants.
func TestTokensRise(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a, b := w.machine("A"), w.machine("B")
		var last int64
		grant := func(m *machine) *lease.Held {
			t.Helper()
			time.Sleep(time.Second)
			h := m.acquire(t)
			if h.Token() <= last {
				t.Errorf("token %d after %d", h.Token(), last)
			}
			last = h.Token()
			if s, err := lease.Read(t.Context(), m.bucket, key); err != nil || s.Token != last {
				t.Errorf("state %+v (%v), want token %d", s, err, last)
			}
			ctx, cancel := h.Context(t.Context())
			defer cancel()
			if token, ok := lease.TokenFrom(ctx); !ok || token != last {
				t.Errorf("the context carries %d, want %d", token, last)
			}
			return h
		}
		release(t, grant(a))
		release(t, grant(b))
		h := grant(a)
		a.Partition(true)
		next := grant(b) // over the dead
		neverBoth(t, h, next)
		release(t, next)
		a.Partition(false)
		must(t, b.bucket.Object(key).Delete(t.Context()))
		release(t, grant(a))
		p := w.python("P")
		must(t, p.acquire(t.Context(), key, 20))
		release(t, grant(b)) // after it has expired
	})
}

// TestTakeOverFromTheDead takes the whole lease of the dead, by the waiter's own observation, and not the waiter's own.
func TestTakeOverFromTheDead(t *testing.T) {
	for _, length := range []time.Duration{5 * time.Second, 2 * time.Minute} {
		inBubble(t, ideal, func(t *testing.T, w *world) {
			a, b := w.machine("A"), w.machine("B")
			a.opts.TTL = length
			h := a.acquire(t)
			a.Crash()
			time.Sleep(length / 2) // unobserved
			start := time.Now()
			next := b.acquire(t)
			within(t, "taking over", time.Since(start), length, length+time.Second)
			neverBoth(t, h, next)
			release(t, next)
		})
	}
}

// TestCronClearsTheDead: where all callers are in a hurry, a dead holder is cleared by the service's own clock, however
// wrong those of the callers are, and a live one never is.
func TestCronClearsTheDead(t *testing.T) {
	hurried := map[string]func(*machine, *testing.T) (*lease.Held, error){
		"try":     (*machine).try,
		"waiting": func(m *machine, t *testing.T) (*lease.Held, error) { return m.acquireWithin(t, 2*time.Second) },
	}
	for name, acquire := range hurried {
		for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
			for _, timeless := range []bool{false, true} {
				t.Run(fmt.Sprint(name, skew, timeless), func(t *testing.T) {
					inBubble(t, ideal, func(t *testing.T, w *world) {
						a := w.machine("A")
						h := a.acquire(t)
						cron := func() (*lease.Held, error) {
							m := w.machine("cron")
							m.Skew(skew, 0)
							if timeless {
								m.bucket = w.withoutDates(m.Faults)
							}
							return acquire(m, t)
						}
						for range 5 {
							_, err := cron()
							wantHeld(t, err, "A")
							time.Sleep(time.Minute)
						}
						must(t, h.Err())
						a.Crash()
						crashed := time.Now()
						for {
							if next, err := cron(); err == nil {
								within(t, "clearing", time.Since(crashed), ttl, 2*ttl+10*time.Second)
								neverBoth(t, h, next)
								release(t, next)
								break
							}
							if time.Since(crashed) > 5*time.Minute {
								t.Fatal("the dead are never cleared")
							}
							time.Sleep(5 * time.Second)
						}
						if all := w.server.Objects("b", ""); len(all) != 1 {
							t.Errorf("%d objects are left", len(all))
						}
					})
				})
			}
		}
	}
}

// withoutDates is the bucket through a service that does not tell the time with its answers, as over gRPC.
func (w *world) withoutDates(f *gcstest.Faults) *storage.BucketHandle {
	c, err := storage.NewClient(context.Background(), option.WithEndpoint("http://gcs.invalid/storage/v1/"),
		option.WithoutAuthentication(), option.WithHTTPClient(&http.Client{Transport: dateless{f.Wrap(w.server.Transport())}}))
	must(w.t, err)
	return c.Bucket("b")
}

type dateless struct{ http.RoundTripper }

func (d dateless) RoundTrip(r *http.Request) (*http.Response, error) {
	rep, err := d.RoundTripper.RoundTrip(r)
	if err == nil {
		rep.Header = rep.Header.Clone()
		rep.Header.Del("Date")
	}
	return rep, err
}

// TestStampsAreRare: a waiter that stays pays for no stamp, and one in a hurry for one.
func TestStampsAreRare(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a, b := w.machine("A"), w.machine("B")
		h := a.acquire(t)
		b.bucket = w.withoutDates(b.Faults)
		inserts := w.requests(gcstest.Insert)
		_, err := b.acquireWithin(t, 5*time.Minute)
		wantHeld(t, err, "A")
		if n := inserts(); n != 0 {
			t.Errorf("%d stamps by a waiter that stays", n)
		}
		for range 3 {
			_, err = b.try(t)
			wantHeld(t, err, "A")
		}
		if n := inserts(); n != 3 {
			t.Errorf("%d stamps in 3 tries", n)
		}
		release(t, h)
	})
}

// TestRead tells what people want to know, by the service's clock.
func TestRead(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		inBubble(t, ideal, func(t *testing.T, w *world) {
			a, b := w.machine("A"), w.machine("B")
			b.Skew(skew, 0)
			read := func() lease.State {
				t.Helper()
				s, err := lease.Read(t.Context(), b.bucket, key)
				must(t, err)
				if s.Bucket != "b" || s.Name != key {
					t.Errorf("state of %q, %q", s.Bucket, s.Name)
				}
				return s
			}
			if s := read(); !s.Expired || s.Owner != "" || !s.Updated.IsZero() {
				t.Errorf("absent: %+v", s)
			}
			h := a.acquire(t)
			time.Sleep(5 * time.Second)
			s := read()
			if s.Expired || s.Owner != "A" || s.TTL != ttl || skew == 0 && s.Token != h.Token() || !s.Expires.Equal(s.Updated.Add(ttl)) {
				t.Errorf("held: %+v", s)
			}
			within(t, "the rest of the lease", s.ExpiresIn, 24*time.Second, 26*time.Second)
			a.Crash()
			time.Sleep(ttl)
			if s := read(); !s.Expired || s.Owner != "A" || s.ExpiresIn > 0 {
				t.Errorf("expired: %+v", s)
			}
			release(t, b.acquire(t))
			if s := read(); !s.Expired || s.TTL != 0 || s.Owner != "" && s.Updated.IsZero() {
				t.Errorf("released: %+v", s)
			}
		})
	}
}

// TestErrorsForPeople: what is wrong is said in words, at once, and with the object's name.
func TestErrorsForPeople(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		w.server.CreateBucket("closed", gcstest.BucketConfig{DenyAll: true})
		c := w.server.Client(nil)
		for bucket, want := range map[string]string{"none": "bucket not found", "closed": "permission denied"} {
			for _, acquire := range []func(context.Context, *storage.BucketHandle, string, *lease.Options) (*lease.Held, error){
				lease.Acquire, lease.TryAcquire,
			} {
				_, err := acquire(t.Context(), c.Bucket(bucket), key, nil)
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "gs://"+bucket+"/"+key) {
					t.Errorf("%v, want %q", err, want)
				}
			}
			if _, err := lease.Read(t.Context(), c.Bucket(bucket), key); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		if _, err := lease.Acquire(t.Context(), nil, key, nil); err == nil {
			t.Error("no bucket, and no error")
		}
	})
}

// TestRetention: a bucket whose objects cannot be deleted will do.
func TestRetention(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		w.server.CreateBucket("b", gcstest.BucketConfig{RetentionPeriod: 24 * time.Hour})
		a := w.machine("A")
		for range 3 {
			release(t, a.acquire(t))
		}
	})
}

// TestCancelledBefore: a context that has ended sends nothing.
func TestCancelledBefore(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		why := errors.New("the user's own")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		a := w.machine("A")
		_, err := lease.Acquire(ctx, a.bucket, key, &a.opts)
		wantErr(t, err, why)
		if s := w.server.Stats(); s.ClassA+s.ClassB+s.Free != 0 {
			t.Errorf("requests: %+v", s)
		}
	})
}

// TestBackoffGivesUp: a policy that ends ends the call, and not the renewing of what is held.
func TestBackoffGivesUp(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		a.opts.Backoff = func() backoff.BackOff { return &backoff.StopBackOff{} }
		h := a.acquire(t)
		a.Random(gcstest.Profile{Odds: map[gcstest.FaultKind]float64{gcstest.Reset: 0.5}})
		time.Sleep(10 * time.Minute)
		must(t, h.Err())
		a.Random(gcstest.Profile{})
		release(t, h)
		heal := a.Always(nil, gcstest.Fault{Kind: gcstest.Refuse})
		_, err := a.acquireWithin(t, time.Hour)
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the error of the last attempt", err)
		}
		heal()
	})
}

// TestDoPanics: a panic goes on, and leaves the lease released.
func TestDoPanics(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		a := w.machine("A")
		func() {
			defer func() {
				if recover() != "the user's own" {
					t.Error("the panic is gone")
				}
			}()
			_ = lease.Do(t.Context(), a.bucket, key, &a.opts, func(context.Context) error { panic("the user's own") })
		}()
		h, err := w.machine("B").try(t)
		must(t, err)
		release(t, h)
	})
}
