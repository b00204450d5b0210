package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/tasks"
)

// Acquire waits until the caller holds the lease on the object name, and keeps it renewed until it is released or lost.
// The object is made if it is not there; the bucket is not. ctx bounds the waiting only, and the lease outlives it.
//
// Those who wait look again and again, and have no order. A holder that has died is noticed when it was silent for its
// lease, as it is stated in the object, under the caller's own eyes.
//
// An error means that nothing is held. It wraps the cause of ctx, a [*HeldError] if somebody else was seen to hold the
// lease, and what the service refused for good. Should ctx end at a moment when a write of unknown outcome is under way,
// Acquire takes up to a fifth of the TTL more, at least 3 s, to undo it; if even that gets no answer, the error wraps
// [ErrUnconfirmed], and the lease may be held by nobody until it runs out.
func Acquire(ctx context.Context, bucket *storage.BucketHandle, name string, opts *Options) (*Held, error) {
	return acquire(ctx, bucket, name, opts, true)
}

// TryAcquire is Acquire that does not wait: if somebody holds the lease the error is a [*HeldError]. It makes up to three
// requests, more only if the service does not answer or two callers meet.
//
// A holder that has died is discovered here as well, but a caller that does not wait has not seen it be silent: it takes
// two leases since it was last heard of, by the service's clock. When answers hint that it may be so, and over gRPC, where
// they do not tell the time, the caller asks for it by creating and deleting an object called name + ".gcsync-clock-" + a
// random text; if it may not, a dead holder is left to those who wait.
func TryAcquire(ctx context.Context, bucket *storage.BucketHandle, name string, opts *Options) (*Held, error) {
	return acquire(ctx, bucket, name, opts, false)
}

func acquire(ctx context.Context, bucket *storage.BucketHandle, name string, opts *Options, wait bool) (*Held, error) {
	l, err := newLock(bucket, name, opts)
	if err != nil {
		return nil, err
	}
	if !wait {
		var cancel context.CancelFunc
		ctx, cancel = object.Bound(ctx)
		defer cancel()
	}
	h, err := l.seek(ctx, wait)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	return h, nil
}

// seek is take and look until one of them ends it, with errors that say what was seen.
func (l *lock) seek(ctx context.Context, wait bool) (*Held, error) {
	var s sighting
	h, err := l.acquire(ctx, &s, wait)
	if err == nil {
		return h, nil
	}
	err = l.store.Because(ctx, err)
	if held := new(*HeldError); !s.free() && !errors.As(err, held) {
		err = fmt.Errorf("%w: %w", &HeldError{l.state(&s)}, err)
	}
	return nil, fmt.Errorf("%s not acquired: %w", l.url(), err)
}

func (l *lock) acquire(ctx context.Context, s *sighting, wait bool) (*Held, error) {
	contest := l.backoff()
	for {
		if err := l.look(ctx, s); err != nil {
			return nil, err
		}
		if l.bid.See != nil {
			if err := l.bid.See(ctx, s.Object, !s.free()); err != nil {
				return nil, err
			}
		}
		if !s.free() && !s.silent(l.now()) {
			if s.looks < 2 && !wait {
				continue // refused, the second look hints at the service's time
			}
			l.stamp(ctx, s, wait)
			if !s.dead() {
				if !wait {
					return nil, &HeldError{l.state(s)}
				}
				if !object.Sleep(ctx, s.gap(l.now())) {
					return nil, object.Ended(ctx)
				}
				contest = l.backoff()
				continue
			}
		}
		h, err := l.take(ctx, s)
		if h != nil || err != nil {
			return h, err
		}
		if !object.Pause(ctx, contest) {
			return nil, errors.Join(object.Ended(ctx), errContested)
		}
		s.looks = 0 // what is there now is not one write ahead
	}
}

var errContested = errors.New("others were faster, or wrote too often")

// take takes the object, which is free, silent or absent, by a write conditional on just that. It returns nil and no
// error if that is no longer so, or if the service has had too many writes.
func (l *lock) take(ctx context.Context, s *sighting) (*Held, error) {
	at, epoch := s.Version, epochOf(s.Metadata)
	for {
		epoch++
		sig := signature{owner: l.owner, grant: object.NewNonce(), write: object.NewNonce()}
		metadata := maps.Clone(l.bid.Marks)
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[keyExpires] = seconds(l.first)
		metadata[keyOwner] = sig.String()
		metadata[keyEpoch] = strconv.FormatInt(epoch, 10)
		o, err := l.claim(ctx, write{at: at, metadata: metadata})
		if o == nil {
			return nil, err
		}
		if h := l.hold(*o, sig); h != nil {
			if !s.free() {
				l.logger.WarnContext(ctx, "gcsync: took over from a silent holder",
					"object", l.url(), "holder", s.owner, "silent", l.now().Since(s.since), "lease", s.ttl)
			}
			if l.bid.Watcher != nil && !s.free() {
				l.bid.Watcher.TookOver(s.Object, l.now().Since(s.since), !s.silent(l.now()))
			}
			l.logger.DebugContext(ctx, "gcsync: lease acquired", "object", l.url(), "token", h.Token())
			return h, nil
		}
		// Ours, but it took so long to learn that it is no longer to be believed in. Nobody else can have it: again.
		at = o.Version
	}
}

// hold begins to believe in the object as our write left it; nil if the time is over already.
func (l *lock) hold(o object.Object, sig signature) *Held {
	group, own := l.tasks, (*tasks.Group)(nil)
	if group == nil {
		own = tasks.New()
		group = own
	}
	keeper := Keep(Keeping{
		Store:   l.store,
		Tasks:   group,
		TTL:     l.ttl,
		Backoff: l.backoff,
		Fields: func(nonce string) map[string]string {
			renewed := signature{owner: sig.owner, grant: sig.grant, write: nonce}
			return map[string]string{keyExpires: seconds(l.ttl), keyOwner: renewed.String()}
		},
		Nonce:   writeOf,
		Watcher: l,
	}, Record{Name: l.name, Version: o.Version, Nonce: sig.write, From: o.Sent, Length: l.first})
	granted := keeper.Grant(tokenOf(o))
	if granted == nil {
		return nil
	}
	return &Held{Lease: granted, lock: l, keeper: keeper, tasks: own, taken: o}
}

// Lost implements [Watcher].
func (l *lock) Lost(err error) {
	l.logger.Warn("gcsync: lease lost", "object", l.url(), "owner", l.owner, "error", err)
	if l.bid.Watcher != nil {
		l.bid.Watcher.Lost(err)
	}
}

// Renewed implements [Watcher].
func (l *lock) Renewed(attempts int) {
	if l.bid.Watcher != nil {
		l.bid.Watcher.Renewed(attempts)
	}
}

// Failed implements [Watcher].
func (l *lock) Failed(err error) {
	if l.bid.Watcher != nil {
		l.bid.Watcher.Failed(err)
	}
}

// stamp learns the service's time from an object written for the purpose, if that may prove the holder dead. It does so once
// in a call at most: when an answer hints at it, or, where answers do not tell the time, if the caller will not stay for a
// whole lease. An answer's word is not enough, for whatever stands on the way can put any date there.
func (l *lock) stamp(ctx context.Context, s *sighting, wait bool) {
	deadline, bounded := ctx.Deadline()
	stays := wait && !(bounded && time.Until(deadline) < s.ttl)
	if s.stamped || s.hint.IsZero() && (stays || s.looks != 2) || !s.hint.IsZero() && s.hint.Sub(s.Updated) < longSilence*s.ttl {
		return
	}
	s.stamped = true
	now, err := l.store.Stamp(ctx, l.name+".gcsync-clock-"+object.NewNonce(), l.backoff())
	if err != nil {
		l.logger.DebugContext(ctx, "gcsync: the service's time is not known", "object", l.url(), "error", err)
		return
	}
	s.present = now
}
