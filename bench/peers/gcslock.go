package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// asGcslock takes the steps of github.com/sethvargo/go-gcslock: read the object; if the time in its metadata has passed,
// by the local clock in whole seconds, write it again under the condition that nobody else has. There is no release: a
// caller says beforehand for how long it wants the lock, and waiting is the caller's. This one waits until the moment at
// which the lock is free. Written for this comparison: it is not that module.
type asGcslock struct{}

func (asGcslock) Name() string { return "as-gcslock" }

func (asGcslock) Client(_ context.Context, s harness.Setup) (harness.Client, error) {
	locker := func(o *storage.ObjectHandle, w harness.Want) harness.Locker {
		return &gcslock{object: o, ttl: max((w.Hold + time.Second - 1).Truncate(time.Second), time.Second)}
	}
	return object{setup: s, locker: locker, policy: []storage.RetryOption{storage.WithPolicy(storage.RetryIdempotent)}}, nil
}

type gcslock struct {
	object *storage.ObjectHandle
	ttl    time.Duration
	until  int64 // Unix time
}

const notBefore = "nbf"

// races is how often it tries again at once when somebody else was faster.
const races = 5

func (g *gcslock) Lock(ctx context.Context) (int64, error) {
	for {
		until, err := g.acquire(ctx)
		if err != nil {
			return 0, why(ctx, fmt.Errorf("%w: %w", harness.ErrAgain, err))
		}
		if until.IsZero() {
			return 0, nil
		}
		if err := pause(ctx, time.Until(until)); err != nil {
			return 0, err
		}
	}
}

// acquire takes the lock, or says when it is free.
func (g *gcslock) acquire(ctx context.Context) (until time.Time, err error) {
	last, next := time.Duration(0), 50*time.Millisecond
	for range races {
		until, err = g.attempt(ctx)
		if err == nil || !refused(err) && !absent(err) {
			return until, err
		}
		if err := pause(ctx, next); err != nil {
			return until, err
		}
		last, next = next, last+next
	}
	return until, err
}

func (g *gcslock) attempt(ctx context.Context) (until time.Time, err error) {
	now := time.Now().Truncate(time.Second)
	free := storage.Conditions{DoesNotExist: true}
	attrs, err := read(ctx, g.object)
	switch {
	case errors.Is(err, storage.ErrObjectNotExist):
	case err != nil:
		return until, err
	default:
		free = storage.Conditions{GenerationMatch: attrs.Generation, MetagenerationMatch: attrs.Metageneration}
		if held, err := strconv.ParseInt(attrs.Metadata[notBefore], 10, 64); err == nil && held >= now.Unix() {
			return time.Unix(held+1, 0), nil
		}
	}
	g.until = now.Add(g.ttl).Unix()
	_, err = create(ctx, g.object, free, map[string]string{notBefore: strconv.FormatInt(g.until, 10)})
	return time.Time{}, err
}

// Unlock has nothing to do: the lock is free when its time has passed.
func (g *gcslock) Unlock(context.Context) error { return nil }
