package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// asGmutex takes the steps of github.com/ncruces/go-gcp/gmutex, with its pauses: create the object if it is not there;
// while it is, look at it again after a random part of a pause that grows by half, from 50 ms to 30 s; create it anew
// when it is gone, or over it when its time to live has passed; delete it at its generation. Written for this comparison,
// with the JSON API instead of the XML API: it is not that module.
type asGmutex struct{}

func (asGmutex) Name() string { return "as-gmutex" }

func (asGmutex) Client(_ context.Context, s harness.Setup) (harness.Client, error) {
	locker := func(o *storage.ObjectHandle, _ harness.Want) harness.Locker { return &gmutex{object: o, ttl: s.TTL} }
	return object{setup: s, locker: locker, policy: never}, nil
}

type gmutex struct {
	object     *storage.ObjectHandle
	ttl        time.Duration
	generation int64
}

const (
	leastPause = 50 * time.Millisecond
	mostPause  = 30 * time.Second
)

// within waits for a random part of d.
func within(ctx context.Context, d time.Duration) error { return pause(ctx, rand.N(d)) }

func (g *gmutex) Lock(ctx context.Context) (int64, error) {
	free := storage.Conditions{DoesNotExist: true}
	var next time.Duration
	for {
		metadata := map[string]string{"ttl": strconv.Itoa(int(g.ttl / time.Second))}
		generation, err := create(ctx, g.object, free, metadata)
		if err == nil {
			g.generation = generation
			return 0, nil
		}
		held := refused(err)
		if held {
			free, held, err = g.look(ctx)
		}
		for held || err != nil {
			if ctx.Err() != nil || !held && !transient(err) {
				return 0, why(ctx, err)
			}
			next = min(max(next+next/2, leastPause), mostPause)
			if err := within(ctx, next); err != nil {
				return 0, err
			}
			free, held, err = g.look(ctx)
		}
	}
}

// look reports whether somebody holds the lock, and under which condition it can be had if not.
func (g *gmutex) look(ctx context.Context) (free storage.Conditions, held bool, err error) {
	attrs, err := read(ctx, g.object)
	switch {
	case absent(err):
		return storage.Conditions{DoesNotExist: true}, false, nil
	case err != nil:
		return free, false, err
	}
	ttl, err := strconv.Atoi(attrs.Metadata["ttl"])
	if err != nil || time.Since(attrs.Updated) <= time.Duration(ttl)*time.Second {
		return free, true, nil
	}
	return storage.Conditions{GenerationMatch: attrs.Generation}, false, nil
}

func (g *gmutex) Unlock(ctx context.Context) error {
	for next := leastPause; ; next = min(next+leastPause, mostPause) {
		err := remove(ctx, g.object, storage.Conditions{GenerationMatch: g.generation})
		switch {
		case err == nil:
			return nil
		case absent(err), refused(err):
			return fmt.Errorf("%w: %w", harness.ErrLost, err)
		case !transient(err):
			return err
		}
		if err := within(ctx, next); err != nil {
			return err
		}
	}
}
