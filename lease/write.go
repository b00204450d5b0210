package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

// A write changes the object from one version to the next, or creates it, and is signed with a nonce. It is sent again
// unchanged while its outcome is unknown: then all attempts are one write, which can be applied once, because it makes
// its own condition untrue.
type write struct {
	at       object.Version // zero: there is no object
	metadata map[string]string
}

func (l *lock) send(ctx context.Context, w write) (object.Object, error) {
	if w.at == (object.Version{}) {
		return l.store.Create(ctx, l.name, object.Draft{Metadata: w.metadata, ContentType: contentType, Body: []byte(body)})
	}
	return l.store.Patch(ctx, l.name, w.at, w.metadata)
}

// freed is the same write with a result that nobody holds.
func (w write) freed() write {
	freed := map[string]string{keyExpires: "0"}
	for k, v := range w.metadata {
		if k != keyExpires {
			freed[k] = v
		}
	}
	w.metadata = freed
	return w
}

// claim writes w, which takes the object, and returns it as of this write; its Sent is that of the first attempt, since
// any of them may be the one that was applied. It returns nil and no error if the write was not applied and never will
// be: somebody was faster, or there were too many writes.
//
// An error leaves nothing behind, unless it wraps ErrUnconfirmed: then the object may be held by nobody for a lease.
func (l *lock) claim(ctx context.Context, w write) (*object.Object, error) {
	nonce := writeOf(w.metadata)
	backoff := l.backoff()
	first := l.now()
	unknown := false
	for {
		o, err := l.send(ctx, w)
		switch object.OutcomeOf(err) {
		case object.Applied:
			o.Sent = first
			return &o, nil
		case object.Refused, object.Missing:
			// A refusal does not say that somebody else won: it may be the echo of our own success.
			o, err = l.store.Get(ctx, l.name)
			switch object.OutcomeOf(err) {
			case object.Applied:
				if writeOf(o.Metadata) != nonce {
					return nil, nil
				}
				o.Sent = first
				return &o, nil
			case object.Missing:
				return nil, nil
			}
			unknown = true
		case object.Indeterminate:
			unknown = true
		case object.Busy:
			if !unknown && ctx.Err() == nil {
				return nil, nil
			}
		}
		if object.OutcomeOf(err) == object.Denied || !object.Pause(ctx, backoff) {
			if unknown {
				err = l.withdraw(ctx, w, err)
			}
			return nil, err
		}
	}
}

// withdraw undoes a claim of unknown outcome, or takes away the version that it could still be applied to.
func (l *lock) withdraw(ctx context.Context, w write, cause error) error {
	nonce := writeOf(w.metadata)
	if _, _, err := l.free(ctx, w.freed(), func(n string) bool { return n == nonce }); err != nil {
		return fmt.Errorf("%w (withdrawn: %w)", cause, err)
	}
	return cause
}

// free writes w, which says that nobody holds the object, and follows writes of our own that came between. It reports
// whether the object was ours until then, and what was last seen of it. Only the values of ctx are used: a caller that
// leaves is no reason to keep others waiting. It takes no longer than farewell, nor than the client lives.
func (l *lock) free(ctx context.Context, w write, mine func(nonce string) bool) (last object.Object, ours bool, err error) {
	enough := farewell(l.ttl)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enough)
	defer cancel()
	defer context.AfterFunc(l.life(), cancel)()
	hurry := *l
	hurry.store = l.store.WithTimeout(enough / 3) // a request that hangs must not be the only one
	backoff := l.backoff()
	unknown := false
	for {
		o, err := hurry.send(ctx, w)
		switch object.OutcomeOf(err) {
		case object.Applied:
			return o, true, nil
		case object.Refused, object.Missing:
			o, err = hurry.store.Get(ctx, l.name)
			switch object.OutcomeOf(err) {
			case object.Missing:
				return object.Object{}, unknown, nil
			case object.Applied:
				switch {
				case !mine(writeOf(o.Metadata)):
					return o, unknown, nil // after an unknown attempt it may well have been free in between
				case lengthOf(o.Metadata) == 0:
					return o, true, nil
				case o.Version != w.at:
					w.at = o.Version
					continue
				}
			}
		case object.Indeterminate:
			unknown = true
		}
		if object.OutcomeOf(err) == object.Denied || !object.Pause(ctx, backoff) {
			return object.Object{}, false, fmt.Errorf("%w: %w", ErrUnconfirmed, err)
		}
	}
}

// farewell bounds the requests of a caller that is done. The service takes about one write a second to one object, so
// what was acquired a moment ago takes as long to release.
func farewell(length time.Duration) time.Duration { return max(RequestTimeout(length), 3*time.Second) }
