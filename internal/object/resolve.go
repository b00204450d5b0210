package object

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
)

// KeyNonce is the metadata key of the nonce that tells a writer's own object from another's.
const KeyNonce = "nonce"

// NewNonce returns a text that nobody else has.
func NewNonce() string { return rand.Text() }

// Backoff is the state of one retried call: NextBackOff returns the pause before the next attempt, or a negative
// duration to give up. The policies of github.com/cenkalti/backoff are of this kind.
type Backoff interface {
	NextBackOff() time.Duration
}

// Pause sleeps for the backoff's next interval. It reports false when the policy gives up or ctx has ended.
func Pause(ctx context.Context, b Backoff) bool {
	d := b.NextBackOff()
	return d >= 0 && Sleep(ctx, max(d, minPause))
}

// minPause keeps a policy without pauses from spinning on requests that fail at once.
const minPause = 10 * time.Millisecond

// Sleep sleeps for d and reports true, or false if ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// CreateResolved creates name and does not return Indeterminate while the policy lets it go on: an attempt whose answer
// was lost is resolved by reading the object back and comparing its nonce, which the draft must carry under KeyNonce.
//
//   - Applied: the object is ours. Its Sent is that of the first attempt, since any of them may be the one that landed.
//   - Refused: the name is taken. When the very first attempt is refused nothing was read back: compare nonces in
//     what you read next, because an unseen second delivery of the attempt would have been refused by the first.
//   - Busy: the first attempt was throttled; nothing is known.
//   - Denied: it cannot be done.
//   - Indeterminate: ctx ended or the policy gave up; the object may be there, or still arrive.
func (s *Store) CreateResolved(ctx context.Context, name string, d Draft, b Backoff) (Object, error) {
	o, err := s.Create(ctx, name, d)
	if OutcomeOf(err) != Indeterminate {
		return o, err
	}
	return s.Resolve(ctx, name, d, err, b)
}

// Resolve is the second half of CreateResolved: it finds out what became of a first attempt that ended with the error
// unknown, and repeats it if need be.
func (s *Store) Resolve(ctx context.Context, name string, d Draft, unknown error, b Backoff) (Object, error) {
	var first clock.Instant
	var e *Error
	if errors.As(unknown, &e) {
		first = e.Sent
	}
	for {
		o, err := s.Get(ctx, name)
		switch OutcomeOf(err) {
		case Applied:
			if o.Metadata[KeyNonce] != d.Metadata[KeyNonce] {
				return Object{}, &Error{Op: opCreate, Bucket: s.bucket.BucketName(), Name: name, Outcome: Refused}
			}
			o.Sent = first
			s.resolved()
			return o, nil
		case Missing:
			o, err = s.Create(ctx, name, d)
			switch OutcomeOf(err) {
			case Applied:
				o.Sent = first
				s.resolved()
				return o, nil
			case Denied:
				return Object{}, err
			case Refused:
				continue // by our own first attempt, or by another's object: read it
			}
		case Denied:
			return Object{}, err
		}
		if !Pause(ctx, b) {
			return Object{}, unknown
		}
	}
}
