package gcstest_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
)

func TestPartition(t *testing.T) {
	inBubble(t, gcstest.Model{Median: latency}, func(t *testing.T, w *world) {
		sent := make(chan error, 1)
		go func() { sent <- w.put(t.Context(), "sent") }()
		time.Sleep(latency / 10)
		w.faults.Partition(true)
		if err := w.put(within(t, time.Minute), "cut off"); !isTimeout(err) {
			t.Errorf("during the partition: %v", err)
		}
		w.wantElapsed(t, time.Minute+latency/10)
		select {
		case err := <-sent:
			t.Errorf("an answer came during the partition: %v", err)
		default:
		}
		if !w.exists("sent") || w.exists("cut off") {
			t.Errorf("carried out: sent %v, cut off %v", w.exists("sent"), w.exists("cut off"))
		}
		hangs := make(chan error, 1)
		go func() { hangs <- w.put(t.Context(), "hangs") }()
		synctest.Wait()
		w.faults.Partition(false)
		if err := <-sent; !isReset(err) {
			t.Errorf("request sent before, after healing: %v", err)
		}
		if err := <-hangs; !isReset(err) || w.exists("hangs") {
			t.Errorf("request that hung, after healing: %v, carried out: %v", err, w.exists("hangs"))
		}
		w.mustPut(t, "after")
	})
}

func TestPause(t *testing.T) {
	inBubble(t, gcstest.Model{Median: latency}, func(t *testing.T, w *world) {
		type end struct {
			err error
			at  time.Duration
		}
		try := func(name string, timeout time.Duration) <-chan end {
			done := make(chan end, 1)
			ctx := within(t, timeout)
			go func() {
				err := w.upload(ctx, name)
				done <- end{err, w.elapsed()}
			}()
			synctest.Wait()
			return done
		}
		answered := try("answered", time.Second)
		time.Sleep(latency / 10)
		w.faults.Pause()
		late := try("late", time.Second)
		patient := try("patient", time.Hour)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !w.exists("answered") || w.exists("late") || w.exists("patient") {
			t.Error("what was sent must be carried out, and nothing else")
		}
		if len(answered)+len(late)+len(patient) > 0 {
			t.Error("a request ended during the pause")
		}
		w.faults.Resume()
		resumed := w.elapsed()
		// Its context has ended, but its answer had come before it was noticed.
		if e := <-answered; e.err != nil || e.at != resumed {
			t.Errorf("request that was answered: %+v", e)
		}
		if e := <-late; !isTimeout(e.err) || e.at != resumed {
			t.Errorf("request whose context ended: %+v", e)
		}
		if e := <-patient; e.err != nil || e.at != resumed+latency {
			t.Errorf("request with time left: %+v", e)
		}
		w.faults.Wait()
		if !w.exists("late") {
			t.Error("the request that was about to leave did not")
		}
	})
}

// upload is put without the client, whose Writer looks at the context on its own.
func (w *world) upload(ctx context.Context, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"http://gcs.invalid/upload/storage/v1/b/b/o?uploadType=media&name="+name, nil)
	if err != nil {
		return err
	}
	rep, err := w.faults.Wrap(w.server.Transport()).RoundTrip(req)
	if err == nil && rep.StatusCode != http.StatusOK {
		err = errors.New(rep.Status)
	}
	return err
}

func TestCrash(t *testing.T) {
	for _, prepare := range [...]func(*gcstest.Faults){
		func(*gcstest.Faults) {},
		func(f *gcstest.Faults) { f.Pause() },
		func(f *gcstest.Faults) { f.Partition(true) },
	} {
		inBubble(t, gcstest.Model{Median: latency}, func(t *testing.T, w *world) {
			inFlight := make(chan error, 1)
			go func() { inFlight <- w.put(t.Context(), "in flight") }()
			time.Sleep(latency / 10)
			prepare(w.faults)
			hangs := make(chan error, 1)
			go func() { hangs <- w.put(within(t, time.Hour), "next") }()
			time.Sleep(latency / 10)
			w.faults.Crash()
			if err := <-inFlight; err == nil {
				t.Error("a request in flight got an answer")
			}
			if err := <-hangs; err == nil {
				t.Error("a waiting request got an answer")
			}
			if err := w.put(t.Context(), "after"); err == nil {
				t.Error("a request after the crash got an answer")
			}
			w.wantElapsed(t, latency/5)
			w.faults.Wait()
			if !w.exists("in flight") || w.exists("after") {
				t.Error("what was sent must be carried out, and nothing after")
			}
		})
	}
}

func TestSkew(t *testing.T) {
	const offset, rate = 90*time.Second + 250*time.Millisecond, 0.01
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		put := func(name string) *storage.ObjectAttrs {
			if err := put(t.Context(), w.bucket.Object(name), map[string]string{"updated": "2001-02-03T04:05:06Z"}); err != nil {
				t.Fatal(err)
			}
			a, err := w.bucket.Object(name).Attrs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		time.Sleep(time.Hour)
		w.faults.Skew(offset, rate)
		start := time.Now()
		for _, age := range [...]time.Duration{0, 100 * time.Second, time.Hour} {
			time.Sleep(time.Until(start.Add(age)))
			want := time.Now().Add(offset + time.Duration(rate*float64(age)))
			name := age.String()
			a := put(name)
			listed, err := w.bucket.Objects(t.Context(), &storage.Query{Prefix: name}).Next()
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range [...]*storage.ObjectAttrs{a, listed} {
				for _, got := range [...]time.Time{a.Updated, a.Created} {
					if math.Abs(got.Sub(want).Seconds()) > 0.001 {
						t.Errorf("after %v: time %v, want %v", age, got, want)
					}
				}
				if a.Metadata["updated"] != "2001-02-03T04:05:06Z" || a.Generation == 0 {
					t.Errorf("the rest was changed: %+v", a)
				}
			}
			if got, want := w.date(t, name), want.UTC().Truncate(time.Second); !got.Equal(want) {
				t.Errorf("after %v: date %v, want %v", age, got, want)
			}
		}
		if o := w.server.Objects("b", "0s")[0]; !o.Updated.Equal(start) {
			t.Errorf("the service itself has %v, want %v", o.Updated, start)
		}
		w.faults.Skew(0, 0)
		if a := put("right"); time.Until(a.Updated).Abs() > time.Millisecond {
			t.Errorf("without skew it is %v", a.Updated)
		}
	})
}

// date returns the Date of the answer to a request.
func (w *world) date(t *testing.T, name string) time.Time {
	t.Helper()
	rep, err := w.faults.Wrap(w.server.Transport()).RoundTrip(newGet(t, name))
	if err != nil {
		t.Fatal(err)
	}
	date, err := http.ParseTime(rep.Header.Get("Date"))
	if err != nil {
		t.Fatal(err)
	}
	return date
}

// TestMachinesAreApart checks that the faults of one machine leave others alone.
func TestMachinesAreApart(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		other := gcstest.NewFaults(2)
		defer other.Close()
		bucket := never(w.server.Client(other).Bucket("b"))
		w.faults.Crash()
		if err := w.put(t.Context(), "o"); err == nil {
			t.Error("a crashed machine works")
		}
		if err := put(t.Context(), bucket.Object("o"), nil); err != nil {
			t.Errorf("the other machine: %v", err)
		}
	})
}

// TestContextEndsFirst checks that a request whose context has ended is not
// sent.
func TestContextEndsFirst(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost,
			"http://gcs.invalid/upload/storage/v1/b/b/o?uploadType=media&name=o", stringBody("x"))
		if err != nil {
			t.Fatal(err)
		}
		for _, rt := range [...]http.RoundTripper{w.server.Transport(), w.faults.Wrap(w.server.Transport())} {
			if _, err := rt.RoundTrip(req); !errors.Is(err, ctx.Err()) {
				t.Errorf("got %v", err)
			}
		}
		w.faults.Wait()
		if w.exists("o") {
			t.Error("it was sent")
		}
	})
}
