package gcstest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
)

func listen(t *testing.T, s *gcstest.Server) *gcstest.Listener {
	t.Helper()
	l, err := s.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestEmulatorHost checks that a client that knows nothing of this package finds
// the server, with both ways of reading.
func TestEmulatorHost(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{})
	l := listen(t, s)
	defer l.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", l.URL())
	for range 2 {
		plain, err := storage.NewClient(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		json, err := storage.NewClient(t.Context(), storage.WithJSONReads())
		if err != nil {
			t.Fatal(err)
		}
		own, err := l.Client(nil) // must not be confused by the variable
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range [...]*storage.Client{plain, json, own, s.Client(nil)} {
			o := c.Bucket("b").Object("a/b?ü#")
			if err := put(t.Context(), o, map[string]string{"k": "v"}); err != nil {
				t.Fatal(err)
			}
			r, err := o.NewReader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || len(b) != 0 || r.Metadata()["K"] != "v" {
				t.Errorf("read %q with metadata %v, %v", b, r.Metadata(), err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(l.URL(), "http://"))
	}
}

// TestListenerDoesNotUndo checks that a request whose caller hangs up is carried
// out, and that Close waits for it.
func TestListenerDoesNotUndo(t *testing.T) {
	s := gcstest.New(gcstest.Model{Median: 200 * time.Millisecond})
	s.CreateBucket("b", gcstest.BucketConfig{})
	l := listen(t, s)
	c, err := l.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := put(ctx, never(c.Bucket("b")).Object("o"), nil); !isTimeout(err) {
		t.Errorf("got %v", err)
	}
	if len(s.Objects("b", "")) != 0 {
		t.Error("the request was carried out too early")
	}
	l.Close()
	s.Close()
	if len(s.Objects("b", "")) != 1 {
		t.Error("the request was undone")
	}
	if _, err := http.Get(l.URL()); err == nil {
		t.Error("the listener still listens")
	}
}

// TestListenerFaults checks the faults over a real connection, and that one
// client's connections serve many goroutines.
func TestListenerFaults(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{})
	l := listen(t, s)
	defer l.Close()
	f := gcstest.NewFaults(1)
	defer f.Close()
	c, err := l.Client(f)
	if err != nil {
		t.Fatal(err)
	}
	bucket := never(c.Bucket("b"))
	f.Script(gcstest.On(gcstest.Insert, ""), gcstest.Fault{Kind: gcstest.LoseAnswer}, gcstest.Fault{Kind: gcstest.Duplicate})
	if err := put(t.Context(), bucket.Object("lost"), nil); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if err := put(t.Context(), bucket.Object("twice").If(absent), nil); err != nil {
		t.Errorf("got %v", err)
	}
	f.Wait()
	if got := s.Stats().ByOp["insert"]; got != 3 {
		t.Errorf("%d inserts came, want 3", got)
	}
	f.Skew(time.Hour, 0)
	a, err := bucket.Object("lost").Attrs(t.Context())
	if err != nil || time.Until(a.Updated) < 50*time.Minute {
		t.Errorf("updated %v, %v", a, err)
	}
	f.Skew(0, 0)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 5 {
				if _, err := bucket.Object("lost").Attrs(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestListenTwice(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	l := listen(t, s)
	defer l.Close()
	if _, err := s.Listen(strings.TrimPrefix(l.URL(), "http://")); err == nil {
		t.Error("listening twice on a port succeeded")
	}
	s.Close()
	rep, err := http.Get(l.URL() + "/storage/v1/b/b")
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Body.Close()
	if rep.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a closed server answers %d", rep.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}
