package lease_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
)

// python is a client of gcs-atomic-lock, step by step as that library goes, its defects included: it owns what bears
// its owner id, it writes on condition of the metageneration alone, and it compares the service's time with its own.
type python struct {
	bucket *storage.BucketHandle
	owner  string
	ahead  time.Duration // of its clock
}

func (w *world) python(owner string) *python {
	return &python{bucket: w.server.Client(nil).Bucket("b"), owner: owner}
}

var errConflict = errors.New("python: somebody else has the lock")

// acquire tries once, as max_wait_seconds=0 does.
func (p *python) acquire(ctx context.Context, key string, expires int) error {
	o := p.bucket.Object(key)
	metadata := map[string]string{"expires_sec": strconv.Itoa(expires), "lock_owner": p.owner}
	attrs, err := o.Attrs(ctx)
	if errors.Is(err, storage.ErrObjectNotExist) {
		w := o.If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx)
		w.ContentType, w.Metadata = "text/plain", metadata
		if _, err := w.Write([]byte("lock")); err != nil {
			return err
		}
		return conflict(w.Close())
	}
	if err != nil {
		return err
	}
	if attrs.Metadata["lock_owner"] != p.owner && !p.expired(attrs) {
		return errConflict
	}
	_, err = o.If(storage.Conditions{MetagenerationMatch: attrs.Metageneration}).
		Update(ctx, storage.ObjectAttrsToUpdate{Metadata: metadata})
	return conflict(err)
}

func (p *python) expired(attrs *storage.ObjectAttrs) bool {
	sec, _ := strconv.Atoi(attrs.Metadata["expires_sec"])
	return sec <= 0 || time.Now().Add(p.ahead).After(attrs.Updated.Add(time.Duration(sec)*time.Second))
}

// release deletes the object if the lock is its own; a refusal is only worth a warning to it.
func (p *python) release(ctx context.Context, key string) error {
	o := p.bucket.Object(key)
	attrs, err := o.Attrs(ctx)
	if err != nil {
		return err
	}
	if attrs.Metadata["lock_owner"] != p.owner {
		return errors.New("python: not held")
	}
	return o.If(storage.Conditions{GenerationMatch: attrs.Generation, MetagenerationMatch: attrs.Metageneration}).Delete(ctx)
}

func conflict(err error) error {
	var e *googleapi.Error
	if errors.As(err, &e) && e.Code == http.StatusPreconditionFailed {
		return errConflict
	}
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
