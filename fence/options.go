package fence

import (
	"errors"
	"fmt"

	"cloud.google.com/go/storage"
	"github.com/cenkalti/backoff/v4"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// Options are the settings of an [Object]. The zero value of each field means its default.
type Options struct {
	// ContentType is that of what is written. Default: what the object has; application/octet-stream for a new one.
	ContentType string

	// Initial is the content of an object that [Seal] has to create. Others may see it, and it stays if the holder dies
	// before its first write. Default: empty.
	Initial []byte

	// Backoff makes the pauses between the attempts of one call: a fresh policy for each, because a policy has state.
	// When a policy gives up ([backoff.Stop]), the call fails with the error of the last attempt. Default:
	// [lease.DefaultBackoff], which leaves the end to the context.
	Backoff func() backoff.BackOff
}

// newGuarded fills in the defaults and refuses what cannot work.
func newGuarded(bucket *storage.BucketHandle, name string, opts *Options) (*guarded, error) {
	if bucket == nil {
		return nil, errors.New("no bucket")
	}
	if err := object.CheckName(name); err != nil {
		return nil, fmt.Errorf("object %q: %w", name, err)
	}
	g := &guarded{bucket: bucket, name: name}
	if opts != nil {
		g.opts = *opts
	}
	if g.opts.Backoff == nil {
		g.opts.Backoff = lease.DefaultBackoff
	}
	return g, nil
}
