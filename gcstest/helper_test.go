package gcstest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
	"go.uber.org/goleak"
	"google.golang.org/api/googleapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service with one bucket and one machine that uses it.
type world struct {
	server *gcstest.Server
	faults *gcstest.Faults
	bucket *storage.BucketHandle // without retries
	start  time.Time
}

func newWorld(t *testing.T, m gcstest.Model) *world {
	s := gcstest.New(m)
	t.Cleanup(s.Close)
	s.CreateBucket("b", gcstest.BucketConfig{})
	f := gcstest.NewFaults(m.Seed)
	t.Cleanup(f.Close)
	return &world{server: s, faults: f, bucket: never(s.Client(f).Bucket("b")), start: time.Now()}
}

// inBubble runs a test with a world of its own in a bubble.
func inBubble(t *testing.T, m gcstest.Model, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, m)) })
}

func never(b *storage.BucketHandle) *storage.BucketHandle {
	return b.Retryer(storage.WithPolicy(storage.RetryNever))
}

var absent = storage.Conditions{DoesNotExist: true}

// put writes an object with some metadata in one request.
func put(ctx context.Context, o *storage.ObjectHandle, metadata map[string]string) error {
	w := o.NewWriter(ctx)
	w.ChunkSize = 0
	w.Metadata = metadata
	return w.Close()
}

func (w *world) put(ctx context.Context, name string) error {
	return put(ctx, w.bucket.Object(name).If(absent), nil)
}

func (w *world) get(ctx context.Context, name string) error {
	_, err := w.bucket.Object(name).Attrs(ctx)
	return err
}

func (w *world) mustPut(t *testing.T, name string) {
	t.Helper()
	if err := w.put(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// exists looks past the faults.
func (w *world) exists(name string) bool {
	objects := w.server.Objects("b", name)
	return len(objects) > 0 && objects[0].Name == name
}

// elapsed is the time since the start of the test, by the bubble's clock.
func (w *world) elapsed() time.Duration { return time.Since(w.start) }

func (w *world) wantElapsed(t *testing.T, want time.Duration) {
	t.Helper()
	if got := w.elapsed(); got != want {
		t.Errorf("it is %v, want %v", got, want)
	}
}

// status returns the HTTP status of an error, 0 if it has none.
func status(err error) int {
	var e *googleapi.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func wantStatus(t *testing.T, what string, err error, want int) {
	t.Helper()
	if status(err) != want {
		t.Errorf("%s: %v, want status %d", what, err, want)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// do sends a request the Go client would not send.
func do(t *testing.T, s *gcstest.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://gcs.invalid"+path, stringBody(body))
	if err != nil {
		t.Fatal(err)
	}
	rep, err := s.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rep.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rep.StatusCode, string(b)
}

// newGet makes a request for the metadata of an object.
func newGet(t testing.TB, name string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gcs.invalid/storage/v1/b/b/o/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
