package main

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/storage"
	"github.com/cenkalti/backoff/v4"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// createDelete is the lock that most projects write when they need one: create the object if it is not there, delete it
// when done, and back off while it is there, with the defaults of the most used backoff library. It has no lease: who
// dies holding it keeps it.
type createDelete struct{}

func (createDelete) Name() string { return "backoff" }

func (createDelete) Client(_ context.Context, s harness.Setup) (harness.Client, error) {
	locker := func(o *storage.ObjectHandle, _ harness.Want) harness.Locker { return &created{object: o} }
	return object{setup: s, locker: locker, policy: never}, nil
}

type created struct {
	object     *storage.ObjectHandle
	generation int64
}

func patient() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(0))
}

func (c *created) Lock(ctx context.Context) (_ int64, err error) {
	for pauses := patient(); ; {
		c.generation, err = create(ctx, c.object, storage.Conditions{DoesNotExist: true}, nil)
		if err == nil {
			return 0, nil
		}
		if ctx.Err() != nil || !refused(err) && !transient(err) {
			return 0, why(ctx, err)
		}
		if err := pause(ctx, pauses.NextBackOff()); err != nil {
			return 0, err
		}
	}
}

func (c *created) Unlock(ctx context.Context) error {
	pauses := patient()
	pauses.MaxInterval = 2 * time.Second // it is ours to give away
	for {
		err := remove(ctx, c.object, storage.Conditions{GenerationMatch: c.generation})
		switch {
		case err == nil:
			return nil
		case absent(err), refused(err):
			return fmt.Errorf("%w: %w", harness.ErrLost, err)
		case !transient(err):
			return err
		}
		if err := pause(ctx, pauses.NextBackOff()); err != nil {
			return err
		}
	}
}
