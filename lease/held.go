package lease

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/tasks"
)

// Held is a lease that is held, and renewed, until it is released or lost. Between renewals it costs a timer and no
// goroutine. A Held that is never released is renewed for as long as the process lives.
type Held struct {
	*Lease

	lock   *lock
	keeper *Keeper
	tasks  *tasks.Group  // its own; nil: a client's
	taken  object.Object // as it was acquired
}

// Release ends the lease. The object stays, free for the next. When Release returns, the caller holds nothing and
// nothing runs in the background, whatever the error:
//
//   - nil: the lease was held until now, and the next may have it.
//   - [ErrLost]: it had been lost before, and somebody else may have held it meanwhile.
//   - [ErrUnconfirmed]: it was held until now, but the service has not confirmed the release within a fifth of the TTL,
//     at least 3 s, or refused it. At the latest the lease frees the object.
//   - [ErrReleased]: it had been released before.
//
// Only the values of ctx are used: that it has ended does not keep a lease from being released.
func (h *Held) Release(ctx context.Context) error {
	if _, err := h.leave(ctx, ErrReleased, nil); err != nil {
		return fmt.Errorf("lease: release: %w", err)
	}
	return nil
}

func (h *Held) leave(ctx context.Context, cause error, marks map[string]string) (object.Object, error) {
	l := h.lock
	was := h.keeper.Stop(cause) // belief ends before the request that lets others in
	if h.tasks != nil {
		enough, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell(l.ttl))
		defer cancel()
		_ = h.tasks.Close(enough) // a renewal under way was told to end
	}
	if was != nil {
		return object.Object{}, was
	}
	freed := write{at: h.keeper.Record().Version, metadata: marks}.freed()
	last, ours, err := l.free(ctx, freed, h.keeper.Wrote)
	switch {
	case err != nil:
		return last, fmt.Errorf("%s: %w", l.url(), err)
	case !ours:
		return last, fmt.Errorf("%s: %w: it was removed or taken by force while it was held", l.url(), ErrLost)
	}
	l.logger.DebugContext(ctx, "gcsync: lease released", "object", l.url(), "token", h.Token())
	return last, nil
}

// Do runs f while it holds the lease on the object name, for which it waits as [Acquire] does, and returns what f
// returned: unchanged if the lease was held all the time and released, else joined with the error of [Held.Release],
// [ErrLost] above all. f is not run if the lease could not be had.
//
// The context of f is ctx, cancelled with an [ErrLost] cause when the lease is lost, and carrying the fencing token for
// [TokenFrom]. f should stop when its context ends: from then on somebody else may be inside. If f panics, the lease is
// released and the panic goes on.
func Do(ctx context.Context, bucket *storage.BucketHandle, name string, opts *Options, f func(ctx context.Context) error) (err error) {
	h, err := Acquire(ctx, bucket, name, opts)
	if err != nil {
		return err
	}
	defer func() {
		if released := h.Release(ctx); released != nil {
			err = errors.Join(err, released)
		}
	}()
	inside, cancel := h.Context(ctx)
	defer cancel()
	return f(inside)
}
