package fence_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"go.uber.org/goleak"

	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "state.json"

// world is a service with one bucket, and what has changed the guarded object so far.
type world struct {
	*testing.T
	server *gcstest.Server
	seed   uint64

	mu  sync.Mutex
	log []gcstest.Record // successful changes
}

func (w *world) changes() []gcstest.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

func inBubble(t *testing.T, m gcstest.Model, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, server: gcstest.New(m)}
		t.Cleanup(w.server.Close)
		w.server.CreateBucket("b", gcstest.BucketConfig{})
		w.server.Observe(func(r gcstest.Record) {
			switch r.Kind {
			case gcstest.Insert, gcstest.Patch, gcstest.Delete:
				if r.Status < 300 {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.log = append(w.log, r)
				}
			}
		})
		f(w)
	})
}

// machine is one computer with its own way to the bucket.
type machine struct {
	*gcstest.Faults
	w      *world
	bucket *storage.BucketHandle
}

func (w *world) machine() *machine {
	w.seed++
	f := gcstest.NewFaults(w.seed)
	w.Cleanup(f.Close)
	f.Always(func(op gcstest.Op) bool {
		if op.Attempt > 1 {
			w.Errorf("the client has retried a %v by itself", op.Kind)
		}
		return false
	}, gcstest.Fault{})
	return &machine{Faults: f, w: w, bucket: w.server.Client(f).Bucket("b")}
}

func (m *machine) seal(token int64) *fence.Object {
	m.w.Helper()
	o, err := fence.Seal(m.w.Context(), m.bucket, name, token, nil)
	if err != nil {
		m.w.Fatal(err)
	}
	return o
}

func (w *world) write(o *fence.Object, content string) {
	w.Helper()
	if err := o.Write(w.Context(), []byte(content)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) read(o *fence.Object, want string) {
	w.Helper()
	got, err := o.Read(w.Context())
	if err != nil || string(got) != want {
		w.Fatalf("read %q, error %v; want %q", got, err, want)
	}
}

// foreign changes the object the way a program does that knows nothing of fencing.
func (w *world) foreign(content string, metadata map[string]string) {
	w.Helper()
	o := w.server.Client(nil).Bucket("b").Object(name).NewWriter(w.Context())
	o.ChunkSize, o.Metadata, o.ContentType, o.CacheControl = 0, metadata, "application/json", "private"
	if _, err := o.Write([]byte(content)); err != nil {
		w.Fatal(err)
	}
	if err := o.Close(); err != nil {
		w.Fatal(err)
	}
}

// touch changes the metadata behind everybody's back, as the service may.
func (w *world) touch() {
	w.Helper()
	o := w.server.Client(nil).Bucket("b").Object(name)
	if _, err := o.Update(w.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"touched": "1"}}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) object() gcstest.Object {
	w.Helper()
	all := w.server.Objects("b", name)
	if len(all) != 1 {
		w.Fatalf("%d objects, want one", len(all))
	}
	return all[0]
}

// is fails unless the object has this content and this token.
func (w *world) is(content string, token int64) {
	w.Helper()
	o := w.object()
	if string(o.Content) != content || o.Metadata[fence.MetadataKey] != strconv.FormatInt(token, 10) {
		w.Errorf("the object has %q under token %s, want %q under %d", o.Content, o.Metadata[fence.MetadataKey], content, token)
	}
}

func (w *world) attrs() *storage.ObjectAttrs {
	w.Helper()
	a, err := w.server.Client(nil).Bucket("b").Object(name).Attrs(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// stale fails unless err says that current has superseded token.
func (w *world) stale(err error, token, current int64) {
	w.Helper()
	var s *fence.StaleError
	if !errors.As(err, &s) || *s != (fence.StaleError{URL: "gs://b/" + name, Token: token, Current: current}) {
		w.Errorf("error %v, want a StaleError of %d by %d", err, token, current)
	}
}

func (w *world) wants(err error, yes, no error) {
	w.Helper()
	if !errors.Is(err, yes) || no != nil && errors.Is(err, no) {
		w.Errorf("error %v, want %v and not %v", err, yes, no)
	}
}

// later runs f after d, and returns a function that waits for it.
func later(d time.Duration, f func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(d)
		f()
	}()
	return func() { <-done }
}

// mishaps are what may happen to one request without the call that makes it failing.
var mishaps = map[string]gcstest.Fault{
	"none":                {},
	"throttled":           {Kind: gcstest.Refuse, Status: 429},
	"unavailable":         {Kind: gcstest.Refuse, Status: 503},
	"reset":               {Kind: gcstest.Reset},
	"stalled":             {Kind: gcstest.Stall},
	"answer lost":         {Kind: gcstest.LoseAnswer},
	"applied, answer 503": {Kind: gcstest.FailAfter, Status: 503},
	"answer cut":          {Kind: gcstest.Truncate},
	"answer stalled":      {Kind: gcstest.StallAnswer},
	"ghost":               {Kind: gcstest.Ghost, Delay: 50 * time.Millisecond},
	"late ghost":          {Kind: gcstest.Ghost, Delay: time.Minute},
	"duplicate":           {Kind: gcstest.Duplicate, Delay: time.Second},
	"echo":                {Kind: gcstest.DuplicateLast, Delay: 10 * time.Millisecond},
	"late answer":         {Kind: gcstest.DelayAnswer, Delay: 10 * time.Second},
}

// eachMishap runs f with each of them, alone and twice in a row.
func eachMishap(t *testing.T, f func(w *world, m *machine, faults []gcstest.Fault)) {
	for title, fault := range maps.All(mishaps) {
		for n := 1; n <= 2; n++ {
			t.Run(title+" "+strconv.Itoa(n), func(t *testing.T) {
				inBubble(t, gcstest.Model{}, func(w *world) {
					faults := []gcstest.Fault{fault, fault}
					f(w, w.machine(), faults[:n])
					time.Sleep(2 * time.Minute) // for what is still on its way
				})
			})
		}
	}
}

func within(w *world, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(w.Context(), d)
	w.Cleanup(cancel)
	return ctx
}
