package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// asPython takes the steps of gcs-atomic-lock, the Python package gcslock: look at the bucket and the object; create the
// object, or change its metadata at its metageneration if it has expired by the local clock; delete it when done. Who
// waits sleeps until the lock would expire, and any failure ends the wait. Written for this comparison.
type asPython struct{}

func (asPython) Name() string { return "as-python" }

func (asPython) Client(_ context.Context, s harness.Setup) (harness.Client, error) {
	locker := func(o *storage.ObjectHandle, _ harness.Want) harness.Locker {
		return &python{bucket: s.Bucket, object: o, owner: rand.Text()}
	}
	return object{setup: s, locker: locker, policy: never}, nil
}

type python struct {
	bucket                     *storage.BucketHandle
	object                     *storage.ObjectHandle
	owner                      string
	generation, metageneration int64
}

// pythonExpiry is how long it takes the lock for unless told otherwise.
const pythonExpiry = 20 * time.Second

func (p *python) Lock(ctx context.Context) (int64, error) {
	for {
		until, err := p.attempt(ctx)
		switch {
		case err != nil:
			return 0, why(ctx, fmt.Errorf("%w: %w", harness.ErrAgain, err))
		case until.IsZero():
			return 0, nil
		}
		if err := pause(ctx, time.Until(until)); err != nil {
			return 0, err
		}
	}
}

// attempt takes the lock, or says until when it is held.
func (p *python) attempt(ctx context.Context) (until time.Time, err error) {
	if _, err := p.bucket.Attrs(ctx); err != nil {
		return until, err
	}
	mine := map[string]string{"expires_sec": strconv.Itoa(int(pythonExpiry / time.Second)), "lock_owner": p.owner}
	attrs, err := read(ctx, p.object)
	if absent(err) {
		p.metageneration = 1
		p.generation, err = create(ctx, p.object, storage.Conditions{DoesNotExist: true}, mine)
		return contended(err)
	}
	if err != nil {
		return until, err
	}
	seconds, _ := strconv.Atoi(attrs.Metadata["expires_sec"])
	if expires := attrs.Updated.Add(time.Duration(seconds) * time.Second); time.Now().Before(expires) {
		return expires, nil
	}
	change, cancel := context.WithTimeout(ctx, perRequest)
	defer cancel()
	attrs, err = p.object.If(storage.Conditions{MetagenerationMatch: attrs.Metageneration}).
		Update(change, storage.ObjectAttrsToUpdate{Metadata: mine})
	if err == nil {
		p.generation, p.metageneration = attrs.Generation, attrs.Metageneration
	}
	return contended(err)
}

// contended turns the refusal of who came second into a short wait.
func contended(err error) (until time.Time, _ error) {
	if refused(err) {
		return time.Now().Add(100 * time.Millisecond), nil
	}
	return until, err
}

func (p *python) Unlock(ctx context.Context) error {
	err := remove(ctx, p.object, storage.Conditions{GenerationMatch: p.generation, MetagenerationMatch: p.metageneration})
	switch {
	case err == nil:
		return nil
	case absent(err), refused(err):
		return fmt.Errorf("%w: %w", harness.ErrLost, err)
	}
	return fmt.Errorf("%w: %w", harness.ErrAgain, err) // it stays until it expires
}
