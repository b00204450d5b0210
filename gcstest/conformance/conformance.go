// Package conformance tests whether a service behaves as Cloud Storage does
// where locks and leases depend on it: preconditions, generations, merging of
// metadata, listing, and races.
//
// The same suite runs against the simulation in gcstest, in process and over a
// socket, and against a real bucket.
package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
)

// Target is a service under test.
type Target struct {
	// Client is a client of the service, with any policy of retries.
	Client *storage.Client

	// Bucket is a bucket that exists. The suite works under a random prefix in
	// it, and cleans up.
	Bucket string

	// Concurrency is the number of goroutines in each race, 64 if zero.
	Concurrency int
}

// Run runs the whole suite. It calls connect for each test, which should
// register what is to be closed with t.Cleanup.
func Run(t *testing.T, connect func(t *testing.T) Target) {
	run(t, connect, func(t *testing.T, test func(*testing.T)) { test(t) })
}

// RunInBubbles is Run with each test, and its call of connect, in a
// testing/synctest bubble. The service must be in the same process.
func RunInBubbles(t *testing.T, connect func(t *testing.T) Target) { run(t, connect, synctest.Test) }

func run(t *testing.T, connect func(*testing.T) Target, around func(*testing.T, func(*testing.T))) {
	for _, test := range [...]struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"CreateIfAbsent", testCreateIfAbsent},
		{"Attributes", testAttributes},
		{"Preconditions", testPreconditions},
		{"OverwriteConditions", testOverwriteConditions},
		{"ReadConditions", testReadConditions},
		{"AddressedGeneration", testAddressedGeneration},
		{"MetagenerationABA", testMetagenerationABA},
		{"GenerationsAreUnique", testGenerationsAreUnique},
		{"PatchMerges", testPatchMerges},
		{"MetadataLimit", testMetadataLimit},
		{"Holds", testHolds},
		{"NotFound", testNotFound},
		{"HostileNames", testHostileNames},
		{"InvalidNames", testInvalidNames},
		{"Media", testMedia},
		{"WrongChecksum", testWrongChecksum},
		{"Resumable", testResumable},
		{"ResumableConditions", testResumableConditions},
		{"ListPages", testListPages},
		{"ListRange", testListRange},
		{"ListDelimiter", testListDelimiter},
		{"Consistency", testConsistency},
		{"BucketAttributes", testBucketAttributes},
		{"CreateRace", testCreateRace},
		{"PatchRace", testPatchRace},
		{"OverwriteRace", testOverwriteRace},
		{"DeleteRace", testDeleteRace},
	} {
		t.Run(test.name, func(t *testing.T) {
			around(t, func(t *testing.T) { test.run(t, newFixture(t, connect(t))) })
		})
	}
}

func newFixture(t *testing.T, target Target) *fixture {
	if target.Concurrency == 0 {
		target.Concurrency = 64
	}
	f := &fixture{
		Target: target,
		bucket: target.Client.Bucket(target.Bucket).Retryer(storage.WithPolicy(storage.RetryNever)),
		prefix: "gcstest-conformance/" + rand.Text() + "/",
	}
	t.Cleanup(func() { f.cleanUp(t) })
	return f
}

// fixture is what one test works with.
type fixture struct {
	Target
	bucket *storage.BucketHandle // without retries of its own
	prefix string
}

// object returns a handle on an object under the test's prefix.
func (f *fixture) object(name string) *storage.ObjectHandle { return f.bucket.Object(f.prefix + name) }

// cleanUp deletes what the test has left behind.
func (f *fixture) cleanUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	it := f.bucket.Objects(ctx, &storage.Query{Prefix: f.prefix})
	for {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return
		}
		if err != nil {
			t.Errorf("cleaning up: %v", err)
			return
		}
		if err := patiently(func() error { return f.bucket.Object(a.Name).Delete(ctx) }); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	}
}

// patiently repeats a call that is refused for its rate. Tests that do not race
// use it, since the real service allows one mutation per object and second. It
// sleeps only then.
func patiently(call func() error) error {
	for pause := time.Second; ; pause *= 2 {
		err := call()
		if code(err) != http.StatusTooManyRequests || pause > time.Minute {
			return err
		}
		time.Sleep(pause)
	}
}

// write uploads an object in one request. The handle carries the conditions.
func write(ctx context.Context, o *storage.ObjectHandle, content string, set ...func(*storage.Writer)) (*storage.ObjectAttrs, error) {
	var attrs *storage.ObjectAttrs
	err := patiently(func() error {
		var err error
		attrs, err = writeOnce(ctx, o, content, set...)
		return err
	})
	return attrs, err
}

func writeOnce(ctx context.Context, o *storage.ObjectHandle, content string, set ...func(*storage.Writer)) (*storage.ObjectAttrs, error) {
	w := o.NewWriter(ctx)
	w.ChunkSize = 0
	for _, f := range set {
		f(w)
	}
	if _, err := io.WriteString(w, content); err != nil {
		_ = w.Close() // repeats err
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return w.Attrs(), nil
}

// patch changes metadata. The handle carries the conditions.
func patch(ctx context.Context, o *storage.ObjectHandle, metadata map[string]string) (*storage.ObjectAttrs, error) {
	return update(ctx, o, storage.ObjectAttrsToUpdate{Metadata: metadata})
}

func update(ctx context.Context, o *storage.ObjectHandle, u storage.ObjectAttrsToUpdate) (*storage.ObjectAttrs, error) {
	var attrs *storage.ObjectAttrs
	err := patiently(func() error {
		var err error
		attrs, err = o.Update(ctx, u)
		return err
	})
	return attrs, err
}

func remove(ctx context.Context, o *storage.ObjectHandle) error {
	return patiently(func() error { return o.Delete(ctx) })
}

// create makes an object that must not exist yet.
func (f *fixture) create(t *testing.T, name, content string, set ...func(*storage.Writer)) *storage.ObjectAttrs {
	t.Helper()
	attrs, err := write(t.Context(), f.object(name).If(storage.Conditions{DoesNotExist: true}), content, set...)
	if err != nil {
		t.Fatalf("creating %q: %v", name, err)
	}
	return attrs
}

func withMetadata(m map[string]string) func(*storage.Writer) {
	return func(w *storage.Writer) { w.Metadata = m }
}

// code returns the HTTP status of an error, 0 if it has none.
func code(err error) int {
	var e *googleapi.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// wantCode fails the test if the error does not have the HTTP status.
func wantCode(t *testing.T, what string, err error, want int) {
	t.Helper()
	if got := code(err); got != want {
		t.Errorf("%s: got status %d (%v), want %d", what, got, err, want)
	}
}

// version names what a precondition can be about.
func version(a *storage.ObjectAttrs) string {
	return fmt.Sprintf("%d/%d", a.Generation, a.Metageneration)
}

// names lists the objects of a query, prefixes included, without the prefix of
// the test.
func (f *fixture) names(t *testing.T, q storage.Query, pageSize int) []string {
	t.Helper()
	q.Prefix = f.prefix + q.Prefix
	if q.StartOffset != "" {
		q.StartOffset = f.prefix + q.StartOffset
	}
	if q.EndOffset != "" {
		q.EndOffset = f.prefix + q.EndOffset
	}
	var names []string
	it := f.bucket.Objects(t.Context(), &q)
	if pageSize > 0 {
		it.PageInfo().MaxSize = pageSize
	}
	for {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return names
		}
		if err != nil {
			t.Fatalf("listing: %v", err)
		}
		names = append(names, strings.TrimPrefix(a.Name+a.Prefix, f.prefix))
	}
}
