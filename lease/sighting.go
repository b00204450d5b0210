package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
)

// sighting is what one call has seen of the object. The zero sighting: there is none.
type sighting struct {
	object.Object
	signature
	ttl time.Duration // 0: nobody holds it

	since   clock.Instant // when the answer came that first showed this version
	held    clock.Instant // the same for this acquisition, however often renewed
	looks   int           // since the object was first seen
	stamped bool          // the service's time was paid for
	present time.Time     // the service's time when it was paid for: that of an object written then
	hint    time.Time     // what the last refusal said of it, if that was the service's
}

// see takes in the object as it was just read.
func (s *sighting) see(o object.Object) {
	sig := signatureOf(o.Metadata)
	if s.Version != o.Version {
		s.since = o.Received
	}
	if s.Gen != o.Gen || s.grant != sig.grant {
		s.held = o.Received
	}
	s.Object, s.signature, s.ttl = o, sig, lengthOf(o.Metadata)
}

// free reports whether nobody holds the object, by its own account.
func (s *sighting) free() bool { return s.ttl == 0 }

// silent reports whether the holder has been silent for the whole of its lease, by our own clock alone: from an answer
// that showed the object as it still is. What it wrote, it wrote before that answer; what it believes, it believes for
// less than the lease from then.
func (s *sighting) silent(now clock.Instant) bool { return now.Since(s.since) >= s.ttl }

// dead reports whether the service's clock proves the holder dead to a caller that has not seen it be silent. Both times
// are the service's; twice the lease must lie between them, because it promises no more than rough agreement of its
// clocks. Without this rule nobody would ever take over where all callers are in a hurry (a cron job that tries once).
func (s *sighting) dead() bool {
	return !s.present.IsZero() && s.present.Sub(s.Updated) >= longSilence*s.ttl
}

const longSilence = 2

// gap is how long to sleep before the next look: a tenth of the time for which the holder has been seen to hold, so that
// the end of a short hold is noticed at once and a long one costs little to wait for. It is spread, so that those who
// wait do not come all at once, and ends no later than the lease does.
func (s *sighting) gap(now clock.Instant) time.Duration {
	gap := max(minGap, min(now.Since(s.held)/10, maxGap, s.ttl/6))
	return min(gap/2+rand.N(gap/2), max(0, s.ttl-now.Since(s.since))+rand.N(minGap))
}

const (
	minGap = 50 * time.Millisecond
	maxGap = 2 * time.Second
)

// look reads the object until there is an answer.
//
// While somebody holds it, every other look is conditional on exactly one more write: refused, it costs nothing and hints at
// the service's time. But it is no evidence that nothing changed: there may have been two.
func (l *lock) look(ctx context.Context, s *sighting) error {
	plain := s.free() || s.looks%2 == 0
	var o object.Object
	err := l.persist(ctx, func() error {
		var err error
		if plain {
			o, err = l.store.Get(ctx, l.name)
		} else {
			o, err = l.store.GetIf(ctx, l.name, object.Version{Gen: s.Gen, Meta: s.Meta + 1})
		}
		return err
	})
	switch object.OutcomeOf(err) {
	case object.Applied:
		s.see(o)
	case object.Refused:
		s.hint = dateOf(err)
	case object.Missing:
		*s = sighting{stamped: s.stamped}
		return nil
	default:
		return err
	}
	s.looks++
	return nil
}

func dateOf(err error) time.Time {
	var e *object.Error
	if errors.As(err, &e) {
		return e.Date
	}
	return time.Time{}
}

// persist tries until the service says something, the policy gives up, or ctx ends.
func (l *lock) persist(ctx context.Context, try func() error) error {
	for backoff := l.backoff(); ; {
		err := try()
		switch object.OutcomeOf(err) {
		case object.Busy, object.Indeterminate:
			if object.Pause(ctx, backoff) {
				continue
			}
		}
		return err
	}
}
