package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"github.com/gcsync/gcsync/gcstest"
)

// A service is a bucket to keep locks in, and a way for each client to reach it on connections of its own.
type service struct {
	bucket   string
	prefix   string // of all objects of this run
	emulator string // URL for STORAGE_EMULATOR_HOST; empty: the real service
	dial     dialer
	close    func(ctx context.Context) error // removes what the run has left behind
}

// A dialer returns a storage client with connections of its own, and the wire that its requests go through.
type dialer func(ctx context.Context) (*storage.Client, *wire, error)

// openService opens the bucket of that URL, or for an empty one a simulated service.
func openService(ctx context.Context, url string, m gcstest.Model) (*service, error) {
	if url == "" {
		return simulated(m)
	}
	return existing(ctx, url)
}

var runs atomic.Int64

// simulated starts a service in this process, on a port of the loopback interface.
func simulated(m gcstest.Model) (*service, error) {
	server := gcstest.New(m)
	listener, err := server.Listen("")
	if err != nil {
		return nil, err
	}
	const bucket = "bench"
	server.CreateBucket(bucket, gcstest.BucketConfig{})
	return &service{
		bucket:   bucket,
		prefix:   fmt.Sprintf("gcsync/%d/", runs.Add(1)), // a lock that lives elsewhere must not meet itself there
		emulator: listener.URL(),
		dial:     func(ctx context.Context) (*storage.Client, *wire, error) { return dialEmulator(ctx, listener.URL()) },
		close: func(context.Context) error {
			listener.Close()
			server.Close()
			return nil
		},
	}, nil
}

// maxIdle is the number of idle connections that a client keeps, enough for each of its goroutines to have one.
const maxIdle = 1024

// dialEmulator returns a client with connections of its own to a service without authentication.
func dialEmulator(ctx context.Context, url string) (*storage.Client, *wire, error) {
	t := &http.Transport{
		MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	return dialWith(ctx, t,
		option.WithEndpoint(strings.TrimSuffix(url, "/")+"/storage/v1/"), option.WithoutAuthentication())
}

// dialWith returns a client whose requests go through a wire on t.
func dialWith(ctx context.Context, t http.RoundTripper, opts ...option.ClientOption) (*storage.Client, *wire, error) {
	w := &wire{base: t}
	c, err := storage.NewClient(ctx, append(opts, option.WithHTTPClient(&http.Client{Transport: w}))...)
	return c, w, err
}

// dialReal returns a client of Cloud Storage, with the application's default credentials.
func dialReal(ctx context.Context) (*storage.Client, *wire, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConns, base.MaxIdleConnsPerHost = maxIdle, maxIdle
	t, err := htransport.NewTransport(ctx, base, option.WithScopes(storage.ScopeReadWrite))
	if err != nil {
		return nil, nil, err
	}
	return dialWith(ctx, t)
}

// dialTo returns the way to the emulator of that URL, or to Cloud Storage if there is none.
func dialTo(emulator string) dialer {
	if emulator == "" {
		return dialReal
	}
	if !strings.Contains(emulator, "://") {
		emulator = "http://" + emulator
	}
	return func(ctx context.Context) (*storage.Client, *wire, error) { return dialEmulator(ctx, emulator) }
}

// existing uses a bucket of Cloud Storage, or of an emulator if STORAGE_EMULATOR_HOST says so, below a prefix that
// nobody else has.
func existing(ctx context.Context, url string) (*service, error) {
	name, err := bucketName(url)
	if err != nil {
		return nil, err
	}
	emulator := os.Getenv("STORAGE_EMULATOR_HOST")
	dial := dialTo(emulator)
	janitor, _, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	svc := &service{bucket: name, prefix: "gcsync-bench/" + rand.Text() + "/", emulator: emulator, dial: dial}
	svc.close = func(ctx context.Context) error {
		err := sweep(ctx, janitor.Bucket(name), svc.prefix)
		if err != nil {
			err = fmt.Errorf("objects may be left in gs://%s/%s: %w", name, svc.prefix, err)
		}
		return errors.Join(err, janitor.Close())
	}
	return svc, nil
}

func bucketName(url string) (string, error) {
	name, ok := strings.CutPrefix(url, "gs://")
	name = strings.TrimSuffix(name, "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return "", fmt.Errorf("-bucket must look like gs://name, not %q", url)
	}
	return name, nil
}

// sweep deletes every object below prefix. The service throttles changes of one name, so that an object that was just
// written may take a few attempts, which the storage client makes when told that to delete is idempotent here.
func sweep(ctx context.Context, bucket *storage.BucketHandle, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	all := bucket.Objects(ctx, &storage.Query{Prefix: prefix})
	for {
		o, err := all.Next()
		if errors.Is(err, iterator.Done) {
			return g.Wait()
		}
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			err := bucket.Object(o.Name).Retryer(storage.WithPolicy(storage.RetryAlways)).Delete(ctx)
			if errors.Is(err, storage.ErrObjectNotExist) {
				return nil
			}
			return err
		})
	}
}
