package conformance_test

import (
	"context"
	"os"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/gcstest/conformance"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bucket = "bucket"

func newServer(t *testing.T, m gcstest.Model) *gcstest.Server {
	s := gcstest.New(m)
	t.Cleanup(s.Close)
	s.CreateBucket(bucket, gcstest.BucketConfig{})
	return s
}

// wired returns a target behind a real socket.
func wired(t *testing.T) conformance.Target {
	l, err := newServer(t, gcstest.Model{}).Listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	client, err := l.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	return conformance.Target{Client: client, Bucket: bucket}
}

func TestInMemory(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Target {
		return conformance.Target{Client: newServer(t, gcstest.Model{}).Client(nil), Bucket: bucket}
	})
}

// TestInBubbles runs everything against a service as slow and as strict as the
// real one.
func TestInBubbles(t *testing.T) {
	conformance.RunInBubbles(t, func(t *testing.T) conformance.Target {
		s := newServer(t, gcstest.Model{
			Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 2, Seed: 1,
		})
		return conformance.Target{Client: s.Client(nil), Bucket: bucket}
	})
}

// TestThroughFaults runs everything through faults of which none happens.
func TestThroughFaults(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Target {
		s := newServer(t, gcstest.Model{})
		f := gcstest.NewFaults(1)
		t.Cleanup(f.Close)
		return conformance.Target{Client: s.Client(f), Bucket: bucket}
	})
}

func TestListener(t *testing.T) { conformance.Run(t, wired) }

// TestReal runs the suite against the bucket in GCSYNC_TEST_BUCKET.
func TestReal(t *testing.T) {
	name := os.Getenv("GCSYNC_TEST_BUCKET")
	if name == "" {
		t.Skip("GCSYNC_TEST_BUCKET is not set")
	}
	client, err := storage.NewClient(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	conformance.Run(t, func(t *testing.T) conformance.Target {
		return conformance.Target{Client: client, Bucket: name}
	})
}
