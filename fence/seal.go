package fence

import (
	"context"
	"fmt"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/internal/object"
)

// Seal puts the token on the object called name and returns the object as it was sealed. From then on no write under an
// older token is applied. Seal first, then read: what was read before may be changed by an older holder until the seal.
//
// An object that is not there is created with [Options.Initial]; one that nobody has sealed yet is sealed as it is. Its
// content is left alone. An equal token is the same holder's, whose earlier [Object] is then no longer good.
//
// The error is a [*StaleError] if the object carries a greater token; otherwise it wraps the cause of ctx, or what the
// service refused for good. The object may have been sealed even so; to seal again is always right.
func Seal(ctx context.Context, bucket *storage.BucketHandle, name string, token int64, opts *Options) (*Object, error) {
	g, err := newGuarded(bucket, name, opts)
	if err != nil {
		return nil, fmt.Errorf("fence: %w", err)
	}
	if token <= 0 {
		return nil, fmt.Errorf("fence: %s: %d is not a fencing token: lease.TokenFrom finds one only in a context of Do or Lease.Context", g.url(), token)
	}
	o, err := g.seal(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("fence: seal: %w", err)
	}
	return o, nil
}

func (g *guarded) seal(ctx context.Context, token int64) (*Object, error) {
	m := mark{token: token, seal: object.NewNonce()}
	pause := g.opts.Backoff()
	for {
		s, err := g.look(ctx)
		switch object.OutcomeOf(err) {
		case object.Applied:
			switch {
			case s.token > token:
				return nil, g.stale(token, s)
			case s.seal == m.seal: // by an attempt whose answer was lost
				return &Object{g: g, mark: m, at: s}, nil
			}
			s, err = g.mark(ctx, s.Version, m)
		case object.Missing:
			s, err = g.create(ctx, m)
		}
		switch object.OutcomeOf(err) {
		case object.Applied:
			return &Object{g: g, mark: m, at: s}, nil
		case object.Denied:
			return nil, err
		}
		// Refused, missing, busy or unknown: look again. An attempt that is still on its way bears the same nonce, and
		// can be applied to nothing but what it was meant for.
		if !object.Pause(ctx, pause) {
			return nil, because(ctx, err)
		}
	}
}

func (g *guarded) stale(token int64, s state) error {
	return &StaleError{URL: g.url(), Token: token, Current: s.token}
}

// because adds the cause of ctx to the error of the last attempt, which may have ended before ctx did.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}
