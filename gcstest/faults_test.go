package gcstest_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
	"google.golang.org/api/googleapi"
)

const latency = 100 * time.Millisecond

func isReset(err error) bool {
	var op *net.OpError
	return errors.Is(err, syscall.ECONNRESET) && errors.As(err, &op)
}

func isTimeout(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

func isStatus(code int) func(error) bool { return func(err error) bool { return status(err) == code } }

func isOK(err error) bool { return err == nil }

// TestFaults creates an object once under each kind of fault: what does the
// caller see, when, and how often is the request carried out?
func TestFaults(t *testing.T) {
	const timeout, delay = 10 * time.Second, 3 * time.Second
	for _, c := range [...]struct {
		fault     gcstest.Fault
		sees      func(error) bool
		after     time.Duration
		delivered int
	}{
		{gcstest.Fault{}, isOK, latency, 1},
		{gcstest.Fault{Kind: gcstest.Refuse}, isStatus(503), 0, 0},
		{gcstest.Fault{Kind: gcstest.Refuse, Status: 429}, isStatus(429), 0, 0},
		{gcstest.Fault{Kind: gcstest.Reset}, isReset, 0, 0},
		{gcstest.Fault{Kind: gcstest.Stall}, isTimeout, timeout, 0},
		{gcstest.Fault{Kind: gcstest.LoseAnswer}, isReset, latency, 1},
		{gcstest.Fault{Kind: gcstest.FailAfter}, isStatus(503), latency, 1},
		{gcstest.Fault{Kind: gcstest.FailAfter, Status: 500}, isStatus(500), latency, 1},
		{gcstest.Fault{Kind: gcstest.Truncate}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, latency, 1},
		{gcstest.Fault{Kind: gcstest.StallAnswer}, isTimeout, timeout, 1},
		{gcstest.Fault{Kind: gcstest.Ghost, Delay: delay}, isReset, 0, 1},
		{gcstest.Fault{Kind: gcstest.Duplicate, Delay: delay}, isOK, latency, 2},
		{gcstest.Fault{Kind: gcstest.DuplicateLast, Delay: delay}, isStatus(412), 2*latency + delay, 2},
		{gcstest.Fault{Kind: gcstest.Delay, Delay: delay}, isOK, latency + delay, 1},
		{gcstest.Fault{Kind: gcstest.Delay, Delay: 2 * timeout}, isTimeout, timeout, 1},
		{gcstest.Fault{Kind: gcstest.DelayAnswer, Delay: delay}, isOK, latency + delay, 1},
		{gcstest.Fault{Kind: gcstest.Foreign}, isStatus(404), 0, 0},
		{gcstest.Fault{Kind: gcstest.Foreign, Status: 200, Body: gcstest.BodyJSON}, isOK, 0, 0},
		{gcstest.Fault{Kind: gcstest.ForeignAnswer, Status: 403, Body: gcstest.BodyHTML}, isStatus(403), latency, 1},
		{gcstest.Fault{Kind: gcstest.WrongDate, Delay: delay}, isOK, latency, 1},
	} {
		t.Run(c.fault.Kind.String(), func(t *testing.T) {
			inBubble(t, gcstest.Model{Median: latency}, func(t *testing.T, w *world) {
				delivered := 0
				w.server.Observe(func(gcstest.Record) { delivered++ })
				w.faults.Script(gcstest.On(gcstest.Insert, "o"), c.fault)
				if err := w.put(within(t, timeout), "o"); !c.sees(err) {
					t.Errorf("the caller sees %v", err)
				}
				w.wantElapsed(t, c.after)
				w.faults.Wait()
				if delivered != c.delivered {
					t.Errorf("delivered %d times, want %d", delivered, c.delivered)
				}
				if w.exists("o") != (c.delivered > 0) {
					t.Errorf("object exists: %v", w.exists("o"))
				}
				want := map[gcstest.FaultKind]int{c.fault.Kind: 1}
				if c.fault.Kind == gcstest.NoFault {
					want = nil
				}
				if got := w.faults.Counts(); !maps.Equal(got, want) {
					t.Errorf("counts %v", got)
				}
			})
		})
	}
}

// TestGhostComesLate checks that a ghost appears when it should, and not before.
func TestGhostComesLate(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		w.faults.Script(nil, gcstest.Fault{Kind: gcstest.Ghost, Delay: time.Minute})
		if err := w.put(t.Context(), "o"); !isReset(err) {
			t.Errorf("the caller sees %v", err)
		}
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		if w.exists("o") {
			t.Error("the ghost came early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !w.exists("o") {
			t.Error("the ghost did not come")
		}
	})
}

func TestTruncateOfNothing(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		w.mustPut(t, "o")
		w.faults.Script(nil, gcstest.Fault{Kind: gcstest.Truncate})
		if err := w.bucket.Object("o").Delete(t.Context()); !isReset(err) || w.exists("o") {
			t.Errorf("the caller sees %v, the object exists: %v", err, w.exists("o"))
		}
	})
}

func TestRefusal(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		w.faults.Script(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 429, RetryAfter: 1500 * time.Millisecond})
		var e *googleapi.Error
		if err := w.get(t.Context(), "o"); !errors.As(err, &e) {
			t.Fatal(err)
		}
		if e.Code != 429 || len(e.Errors) != 1 || e.Errors[0].Reason != "rateLimitExceeded" || e.Header.Get("Retry-After") != "2" {
			t.Errorf("got %+v", e)
		}
	})
}

// TestClientRetries checks that the errors are those that the client's own
// retries are for.
func TestClientRetries(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		var attempts []int
		saw := func(op gcstest.Op) bool { attempts = append(attempts, op.Attempt); return true }
		w.faults.Script(saw,
			gcstest.Fault{Kind: gcstest.Reset}, gcstest.Fault{Kind: gcstest.Refuse}, gcstest.Fault{Kind: gcstest.LoseAnswer},
			gcstest.Fault{Kind: gcstest.Refuse, Status: 429}, gcstest.Fault{Kind: gcstest.Truncate}, gcstest.Fault{})
		w.mustPutDirectly(t, "o")
		if _, err := w.server.Client(w.faults).Bucket("b").Object("o").Attrs(t.Context()); err != nil {
			t.Errorf("in spite of retries: %v", err)
		}
		if len(attempts) != 6 || attempts[0] != 1 || attempts[5] != 6 {
			t.Errorf("attempts %v", attempts)
		}
	})
}

// mustPutDirectly makes an object past the faults.
func (w *world) mustPutDirectly(t *testing.T, name string) {
	t.Helper()
	if err := put(t.Context(), w.server.Client(nil).Bucket("b").Object(name), nil); err != nil {
		t.Fatal(err)
	}
}

// TestChoice checks which requests get which faults.
func TestChoice(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.mustPutDirectly(t, "lock/a")
		w.mustPutDirectly(t, "lock/b")
		cancel := w.faults.Always(gcstest.On(gcstest.Any, "b"), gcstest.Fault{Kind: gcstest.Reset})
		w.faults.Script(gcstest.On(gcstest.Get, "lock/"),
			gcstest.Fault{Kind: gcstest.Refuse, Status: 500}, gcstest.Fault{}, gcstest.Fault{Kind: gcstest.Refuse, Status: 429})
		wantStatus(t, "first", w.get(ctx, "lock/a"), 500)
		wantStatus(t, "second, skipped", w.get(ctx, "lock/b"), 0)
		if err := w.bucket.Object("lock/b").Delete(ctx); !isReset(err) {
			t.Errorf("delete: %v", err)
		}
		if _, err := w.bucket.Objects(ctx, &storage.Query{Prefix: "lock/b"}).Next(); !isReset(err) {
			t.Errorf("list: %v", err)
		}
		wantStatus(t, "third", w.get(ctx, "lock/b"), 429)
		if err := w.get(ctx, "lock/b"); !isReset(err) {
			t.Errorf("after the script: %v", err)
		}
		cancel()
		wantStatus(t, "after the rule", w.get(ctx, "lock/b"), 0)
	})
}

// TestOps checks how requests are described.
func TestOps(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.bucket.Object("a/ü?")
		var got []gcstest.Op
		w.faults.Always(func(op gcstest.Op) bool { got = append(got, op); return false }, gcstest.Fault{})
		if err := put(ctx, o.If(absent), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Attrs(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Update(ctx, storage.ObjectAttrsToUpdate{ContentType: "x/y"}); err != nil {
			t.Fatal(err)
		}
		if r, err := o.NewReader(ctx); err != nil || r.Close() != nil {
			t.Fatal(err)
		}
		if _, err := w.bucket.Objects(ctx, &storage.Query{Prefix: "a/ü?"}).Next(); err != nil {
			t.Fatal(err)
		}
		if err := o.Delete(ctx); err != nil {
			t.Fatal(err)
		}
		kinds := []gcstest.Kind{gcstest.Insert, gcstest.Get, gcstest.Patch, gcstest.Media, gcstest.List, gcstest.Delete}
		if len(got) != len(kinds) {
			t.Fatalf("%d requests: %+v", len(got), got)
		}
		for i, op := range got {
			if op.Kind != kinds[i] || op.Bucket != "b" || op.Name != "a/ü?" || op.Seq != i+1 || op.Attempt != 1 {
				t.Errorf("%v: %+v", kinds[i], op)
			}
		}
		if got[0].Query.Get("ifGenerationMatch") != "0" {
			t.Errorf("query of the create: %v", got[0].Query)
		}
	})
}

// TestBodyName checks that the name of an upload is found where only the body
// has it.
func TestBodyName(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{})
	f := gcstest.NewFaults(1)
	defer f.Close()
	var names []string
	f.Always(func(op gcstest.Op) bool { names = append(names, op.Name); return false }, gcstest.Fault{})
	for contentType, body := range map[string]string{
		"application/json":               `{"name":"from body"}`,
		"multipart/related; boundary=XX": "--XX\r\n\r\n{\"name\":\"from body\"}\r\n--XX\r\n\r\ncontent\r\n--XX--\r\n",
	} {
		kind := "multipart"
		if contentType == "application/json" {
			kind = "resumable"
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://gcs.invalid/upload/storage/v1/b/b/o?uploadType="+kind, stringBody(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		rep, err := f.Wrap(s.Transport()).RoundTrip(req)
		if err != nil || rep.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", kind, rep, err)
		}
	}
	if len(names) != 2 || names[0] != "from body" || names[1] != "from body" {
		t.Errorf("names %q", names)
	}
	if o := s.Objects("b", "from body"); len(o) != 1 || string(o[0].Content) != "content" {
		t.Errorf("objects %+v", o)
	}
}

func TestRandom(t *testing.T) {
	const n = 1000
	run := func(seed uint64) (counts map[gcstest.FaultKind]int) {
		inBubble(t, gcstest.Model{Seed: seed}, func(t *testing.T, w *world) {
			w.faults.Random(gcstest.Profile{Odds: map[gcstest.FaultKind]float64{gcstest.Reset: 0.2, gcstest.Refuse: 0.1}})
			for range n {
				_ = w.get(t.Context(), "none") // only the counts matter
			}
			counts = w.faults.Counts()
			w.faults.Random(gcstest.Profile{})
			for range n {
				_ = w.get(t.Context(), "none")
			}
			if now := w.faults.Counts(); !maps.Equal(now, counts) {
				t.Errorf("faults happen with the zero profile: %v", now)
			}
		})
		return counts
	}
	one := run(1)
	for kind, want := range map[gcstest.FaultKind]int{gcstest.Reset: n / 5, gcstest.Refuse: n / 10} {
		if got := one[kind]; got < want*3/4 || got > want*5/4 {
			t.Errorf("%v happened %d times, want about %d", kind, got, want)
		}
	}
	if again := run(1); !maps.Equal(one, again) {
		t.Errorf("with the same seed %v, then %v", one, again)
	}
	if other := run(2); maps.Equal(one, other) {
		t.Errorf("with another seed the same %v", one)
	}
	defer func() {
		if recover() == nil {
			t.Error("odds of more than 1 were accepted")
		}
	}()
	gcstest.NewFaults(1).Random(gcstest.Profile{Odds: map[gcstest.FaultKind]float64{gcstest.Reset: 0.6, gcstest.Ghost: 0.6}})
}
