package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// perRequest bounds the time of a request, which the storage client does not.
const perRequest = 10 * time.Second

// create writes an empty object under a condition and returns its generation.
func create(ctx context.Context, o *storage.ObjectHandle, c storage.Conditions, metadata map[string]string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, perRequest)
	defer cancel()
	w := o.If(c).NewWriter(ctx)
	w.ChunkSize = 0 // one request, and no buffer of 16 MiB
	w.CacheControl = "no-store"
	w.Metadata = metadata
	if err := w.Close(); err != nil {
		return 0, err
	}
	return w.Attrs().Generation, nil
}

func read(ctx context.Context, o *storage.ObjectHandle) (*storage.ObjectAttrs, error) {
	ctx, cancel := context.WithTimeout(ctx, perRequest)
	defer cancel()
	return o.Attrs(ctx)
}

func remove(ctx context.Context, o *storage.ObjectHandle, c storage.Conditions) error {
	ctx, cancel := context.WithTimeout(ctx, perRequest)
	defer cancel()
	return o.If(c).Delete(ctx)
}

func status(err error) int {
	var failed *googleapi.Error
	switch {
	case errors.Is(err, storage.ErrObjectNotExist):
		return http.StatusNotFound
	case errors.As(err, &failed):
		return failed.Code
	}
	return 0
}

func refused(err error) bool { return status(err) == http.StatusPreconditionFailed }
func absent(err error) bool  { return status(err) == http.StatusNotFound }

// transient reports whether a request that failed is worth another attempt.
func transient(err error) bool {
	var broken net.Error
	code := status(err)
	return code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500 ||
		errors.As(err, &broken) || errors.Is(err, context.DeadlineExceeded)
}

// pause waits, or returns why ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// why returns the cause of the end of ctx, if it has ended, and err otherwise.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// object is a client of a lock that is one object: a handle, and nothing to close.
type object struct {
	setup  harness.Setup
	locker func(o *storage.ObjectHandle, w harness.Want) harness.Locker
	policy []storage.RetryOption
}

func (c object) Close(context.Context) error { return nil }

func (c object) Locker(w harness.Want) (harness.Locker, error) {
	if w.Kind != harness.Mutex {
		return nil, harness.ErrUnsupported
	}
	return c.locker(c.setup.Bucket.Object(c.setup.Prefix+"lock").Retryer(c.policy...), w), nil
}

// never leaves retries to the lock.
var never = []storage.RetryOption{storage.WithPolicy(storage.RetryNever)}
