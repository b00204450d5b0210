package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"

	"github.com/gcsync/gcsync/gcstest"
)

// A service is a bucket to keep locks in, and a way for each client to reach it on connections of its own.
type service struct {
	bucket string
	prefix string // of all objects of this run
	dial   func(ctx context.Context) (*storage.Client, error)
	close  func(ctx context.Context) error // removes what the run has left behind
}

// openService opens the bucket of that URL, or for an empty one a simulated service.
func openService(ctx context.Context, url string, m gcstest.Model) (*service, error) {
	if url == "" {
		return simulated(m)
	}
	return existing(ctx, url)
}

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
		bucket: bucket,
		prefix: "gcsync/",
		dial:   func(context.Context) (*storage.Client, error) { return listener.Client(nil) },
		close: func(context.Context) error {
			listener.Close()
			server.Close()
			return nil
		},
	}, nil
}

// existing uses a bucket of Cloud Storage, or of an emulator if STORAGE_EMULATOR_HOST says so, below a prefix that
// nobody else has.
func existing(ctx context.Context, url string) (*service, error) {
	name, err := bucketName(url)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (*storage.Client, error) { return storage.NewClient(ctx) }
	janitor, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	svc := &service{bucket: name, prefix: "gcsync-bench/" + rand.Text() + "/", dial: dial}
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
