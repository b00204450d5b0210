package gcsync_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"
	"cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// unreachable are the ways in which a service does not answer.
var unreachable = map[string]gcstest.Fault{
	"closed port":     {Kind: gcstest.Reset},
	"black hole":      {Kind: gcstest.Stall},
	"broken service":  {Kind: gcstest.Refuse, Status: http.StatusInternalServerError},
	"proxy":           {Kind: gcstest.Foreign, Body: gcstest.BodyHTML},
	"captive portal":  {Kind: gcstest.Foreign, Status: http.StatusOK, Body: gcstest.BodyJSON},
	"lost answers":    {Kind: gcstest.LoseAnswer},
	"login":           {Kind: gcstest.Foreign, Status: http.StatusUnauthorized, Body: gcstest.BodyHTML},
	"another's error": {Kind: gcstest.Foreign, Status: http.StatusForbidden, Body: gcstest.BodyErrors},
}

// oneShots are the calls that wait for nobody but the service.
var oneShots = map[string]func(ctx context.Context, h *host, bucket *storage.BucketHandle) error{
	"Mutex.TryLock": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		ok, err := h.Mutex("m").TryLock(ctx)
		return refused(ok, err)
	},
	"RWMutex.TryLock": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		ok, err := h.RWMutex("rw").TryLock(ctx)
		return refused(ok, err)
	},
	"RWMutex.TryRLock": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		ok, err := h.RWMutex("rw").TryRLock(ctx)
		return refused(ok, err)
	},
	"Once.Done": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		done, err := h.Once("o").Done(ctx)
		return refused(done, err)
	},
	"Once.Reset": func(ctx context.Context, h *host, _ *storage.BucketHandle) error { return h.Once("o").Reset(ctx) },
	"Election.Leader": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		_, err := h.Election("e").Leader(ctx)
		return err
	},
	"Client.Inspect": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		_, err := h.Inspect(ctx, "m")
		return err
	},
	"Client.List": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		for _, err := range h.List(ctx, "") {
			return err
		}
		return errors.New("an empty list")
	},
	"Client.Break": func(ctx context.Context, h *host, _ *storage.BucketHandle) error { return h.Break(ctx, "m", 1) },
	"Client.Tidy": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
		_, err := h.Tidy(ctx, "m", 0)
		return err
	},
	"lease.Read": func(ctx context.Context, h *host, bucket *storage.BucketHandle) error {
		_, err := lease.Read(ctx, bucket, "l")
		return err
	},
	"lease.TryAcquire": func(ctx context.Context, h *host, bucket *storage.BucketHandle) error {
		_, err := lease.TryAcquire(ctx, bucket, "l", &lease.Options{Logger: slog.New(slog.DiscardHandler)})
		return err
	},
}

func refused(ok bool, err error) error {
	if err == nil {
		return fmt.Errorf("answered %v", ok)
	}
	return err
}

// What waits for nobody but the service ends by itself when that does not answer, and says so.
func TestOneShotsEndWithoutAnAnswer(t *testing.T) {
	for how, fault := range unreachable {
		for name, call := range oneShots {
			t.Run(how+"/"+name, func(t *testing.T) {
				inBubble(t, typical, func(b *bed) {
					h := b.host("h")
					h.faults.Always(nil, fault)
					direct := b.srv.Client(h.faults)
					defer direct.Close()
					for range 2 { // what the first has left behind is no holder
						begun := time.Now()
						err := call(context.Background(), h, direct.Bucket(bucket))
						b.within(name, begun, 0, 14*time.Second)
						if !errors.Is(err, gcsync.ErrNoAnswer) {
							b.Errorf("%v is not ErrNoAnswer", err)
						}
					}
				})
			})
		}
	}
}

// loudly gives a host a log.
func loudly(to *bytes.Buffer, mu *sync.Mutex) func(*gcsync.Options) {
	return func(o *gcsync.Options) { o.Logger = slog.New(slog.NewTextHandler(locked{mu, to}, nil)) }
}

// A wait for a service that does not answer is told of, ever more rarely, and in the end; and the error says what it was.
func TestWaitingForTheServiceIsTold(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		var log bytes.Buffer
		var mu sync.Mutex
		x := b.host("x", loudly(&log, &mu))
		b.lock(x.Mutex("before"))
		x.faults.Partition(true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		err := x.Mutex("m").Lock(ctx)
		if !errors.Is(err, gcsync.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Lock = %v", err)
		}
		x.faults.Partition(false)
		b.lock(x.Mutex("m"))
		text := log.String()
		if n := strings.Count(text, "operation=list"); n < 5 || n > 15 {
			b.Errorf("told %d times in an hour, and of its end:\n%s", n, text)
		}
		if !strings.Contains(text, "answers again") {
			b.Errorf("the end is not told:\n%s", text)
		}
	})
}

// A call that ended while it waited says whom it waited for.
func TestWaitErrorTellsTheHolder(t *testing.T) {
	for _, r := range rivals {
		t.Run(r.name, func(t *testing.T) {
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("the holder"), b.host("y")
				defer r.hold(b, x)()
				time.Sleep(time.Second)
				odd := errors.New("enough of it")
				ctx, cancel := context.WithTimeoutCause(context.Background(), 5*time.Second, odd)
				defer cancel()
				err := r.want(ctx, y)
				var wait *gcsync.WaitError
				if !errors.As(err, &wait) || wait.Holder != "the holder" || wait.Since.IsZero() || wait.Trouble != nil {
					b.Errorf("%v: %+v", err, wait)
				}
				if !errors.Is(err, odd) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, gcsync.ErrNoAnswer) {
					b.Errorf("%v does not wrap the cause and the error of its context", err)
				}
			})
		})
	}
}

// Whatever ends a blocking call, its error is the cause of the context, and the context's error.
func TestCustomCauses(t *testing.T) {
	calls := map[string]func(ctx context.Context, h *host, bucket *storage.BucketHandle) error{
		"Mutex":   func(ctx context.Context, h *host, _ *storage.BucketHandle) error { return h.Mutex("m").Lock(ctx) },
		"RWMutex": func(ctx context.Context, h *host, _ *storage.BucketHandle) error { return h.RWMutex("rw").Lock(ctx) },
		"Reader":  func(ctx context.Context, h *host, _ *storage.BucketHandle) error { return h.RWMutex("rw").RLock(ctx) },
		"Semaphore": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
			_, err := h.Semaphore("s", 1).Acquire(ctx, 1)
			return err
		},
		"Election": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
			_, err := h.Election("e").Campaign(ctx, "")
			return err
		},
		"Once": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
			return h.Once("o").Do(ctx, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		},
		"Every": func(ctx context.Context, h *host, _ *storage.BucketHandle) error {
			_, err := h.Every("every", time.Hour).Do(ctx, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
			return err
		},
		"lease": func(ctx context.Context, h *host, bucket *storage.BucketHandle) error {
			_, err := lease.Acquire(ctx, bucket, "l", &lease.Options{Logger: slog.New(slog.DiscardHandler)})
			return err
		},
	}
	for name, call := range calls {
		for _, cut := range []bool{false, true} {
			if name == "Reader" && !cut {
				continue // readers do not wait for each other
			}
			t.Run(fmt.Sprintf("%s/%v", name, cut), func(t *testing.T) {
				inBubble(t, typical, func(b *bed) {
					x, y := b.host("x"), b.host("y")
					direct := b.srv.Client(y.faults)
					defer direct.Close()
					ready := make(chan struct{})
					holding, leave := context.WithCancel(context.Background())
					defer leave()
					go func() { close(ready); _ = call(holding, x, direct.Bucket(bucket)) }()
					<-ready
					time.Sleep(time.Second)
					y.faults.Partition(cut)
					odd := errors.New("enough of it")
					ctx, cancel := context.WithCancelCause(context.Background())
					time.AfterFunc(3*time.Second, func() { cancel(odd) })
					err := call(ctx, y, direct.Bucket(bucket))
					if !errors.Is(err, odd) || !errors.Is(err, context.Canceled) {
						b.Errorf("%v does not wrap the cause and the error of its context", err)
					}
					if cut != errors.Is(err, gcsync.ErrNoAnswer) {
						b.Errorf("cut off: %v, and the error is %v", cut, err)
					}
				})
			})
		}
	}
}

// denials are answers of the service itself that end a call if they last.
var denials = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest}

// A stray denial in the middle of a wait does not end it, nor does it cost the place in the queue.
func TestStrayDenial(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		for _, r := range rivals {
			t.Run(fmt.Sprintf("%s/%d", r.name, status), func(t *testing.T) {
				inBubble(t, typical, func(b *bed) {
					x, y, z := b.host("x"), b.host("y"), b.host("z")
					release := r.hold(b, x)
					got := make(chan string, 2)
					go func() { fmt.Fprintln(new(bytes.Buffer), r.want(context.Background(), y)); got <- "y" }()
					time.Sleep(2 * time.Second)
					go func() { _ = r.want(context.Background(), z); got <- "z" }()
					time.Sleep(2 * time.Second)
					heal := y.faults.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: status})
					time.Sleep(3 * time.Second)
					heal()
					time.Sleep(2 * time.Second)
					release()
					released := time.Now()
					if first := <-got; first != "y" && r.name != "reader behind a writer" {
						b.Errorf("%s was first", first)
					}
					b.within("the hand-off", released, 0, 4*time.Second)
					y.vanish()
					z.vanish()
				})
			})
		}
	}
}

// A denial that lasts ends the call, and leaves nothing that anybody would have to wait for.
func TestLastingDenialLeavesNothing(t *testing.T) {
	for _, status := range denials {
		for _, kind := range []gcstest.Kind{gcstest.Get, gcstest.List, gcstest.Insert} {
			for _, r := range rivals {
				t.Run(fmt.Sprintf("%s/%d/%v", r.name, status, kind), func(t *testing.T) {
					inBubble(t, typical, func(b *bed) {
						x, y, z := b.host("x"), b.host("y"), b.host("z")
						release := r.hold(b, x)
						time.AfterFunc(2*time.Second, func() {
							y.faults.Always(gcstest.On(kind, "m/"), gcstest.Fault{Kind: gcstest.Refuse, Status: status})
						})
						ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
						defer cancel()
						begun := time.Now()
						err := r.want(ctx, y)
						if kind == gcstest.Get {
							b.within("the denied call", begun, 0, 20*time.Second)
						}
						if err == nil {
							b.Fatal("let in beside a holder")
						}
						release()
						time.Sleep(time.Second)
						begun = time.Now()
						if err := r.want(context.Background(), z); err != nil {
							b.Error(err)
						}
						b.within(fmt.Sprintf("to get in after %v", err), begun, 0, 3*time.Second)
					})
				})
			}
		}
	}
}

// What is left of a call that has ended is no holder: a client that was cut off does not take a name for held that nobody ever
// had, and has it as soon as it can.
func TestRemainsOfACallAreNoHolder(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		b.lock(x.Mutex("other"))
		x.faults.Partition(true)
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			if ok, err := x.Mutex("m").TryLock(ctx); ok || err == nil {
				b.Errorf("TryLock without a service = %v, %v", ok, err)
			}
			if err := x.Mutex("m").Lock(ctx); err == nil {
				b.Error("locked without a service")
			}
			cancel()
		}
		x.faults.Partition(false)
		if ok, err := x.Mutex("m").TryLock(context.Background()); !ok || err != nil {
			b.Errorf("TryLock with a service = %v, %v", ok, err)
		}
	})
}

// tokens is what stands for the credentials of a client.
type tokens struct{ err error }

func (t *tokens) RoundTrip(*http.Request) (*http.Response, error) { return nil, t.err }

// Credentials that can never work end a call soon, and those that may work in a moment do not.
func TestCredentials(t *testing.T) {
	answer := func(code int) *http.Response { return &http.Response{StatusCode: code} }
	for _, c := range []struct {
		name string
		err  error
		ends bool
	}{
		{"invalid grant", &auth.Error{Response: answer(400), Body: []byte(`{"error":"invalid_grant"}`)}, true},
		{"invalid grant, by oauth2", &oauth2.RetrieveError{Response: answer(400), ErrorCode: "invalid_grant"}, true},
		{"forbidden by the metadata server", fmt.Errorf("credentials: cannot fetch token: %w", &metadata.Error{Code: 403}), true},
		{"no service account", fmt.Errorf("credentials: cannot fetch token: %w", metadata.NotDefinedError("token")), true},
		{"metadata server overloaded", fmt.Errorf("credentials: cannot fetch token: %w", &metadata.Error{Code: 503}), false},
		{"token endpoint broken", &auth.Error{Response: answer(500)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, typical, func(b *bed) {
				broken := &tokens{c.err}
				client, err := storage.NewClient(context.Background(), option.WithHTTPClient(&http.Client{Transport: broken}), option.WithoutAuthentication())
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				g, err := gcsync.New(client.Bucket(bucket), &gcsync.Options{Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				defer g.Close(context.Background())
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				begun := time.Now()
				err = g.Mutex("m").Lock(ctx)
				if c.ends {
					b.within("Lock", begun, 5*time.Second, 15*time.Second)
				} else {
					b.within("Lock", begun, time.Minute, time.Minute)
				}
				if !strings.Contains(fmt.Sprint(err), c.err.Error()) {
					b.Errorf("%v does not tell why", err)
				}
			})
		})
	}
}

// A bucket that cannot be one is refused at once.
func TestBucketNames(t *testing.T) {
	client := gcstest.New(gcstest.Model{}).Client(nil)
	defer client.Close()
	for _, name := range []string{"", "gs://x", "gs://x/", "a/b", "a b"} {
		if _, err := gcsync.New(client.Bucket(name), nil); err == nil {
			t.Errorf("New on bucket %q works", name)
		}
		if _, err := lease.Read(t.Context(), client.Bucket(name), "l"); err == nil {
			t.Errorf("lease.Read on bucket %q works", name)
		}
	}
}
