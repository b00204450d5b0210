package queue

import (
	"context"
	"errors"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
)

// A caller that never waits as long as a lease lasts (a cron job that tries once a minute, a request with a deadline of
// two seconds) can never watch a dead holder be silent for long enough. If all callers are like that, a name would stay
// locked for ever. So silence may also be proven by the service's own clock, which they share: the baton of a holder
// that has renewed tells when it was last heard of; for one that never has, whoever saw it first leaves a witness, an
// object whose creation time says "at this moment that baton was already the head's". A present moment on the same clock
// is the creation time of anything just written. Twice the lease must lie between the two; the service promises no more than
// rough agreement of its clocks.
const longSilence = 2

// longDead reports whether the service's clock proves that the head was dead before our own ticket was made.
func (w *wait) longDead(ctx context.Context, s *sighting) bool {
	if s.rec.renewal != "" {
		return w.t.Created.Sub(s.rec.Updated) >= longSilence*s.rec.ttl
	}
	if w.untilAsk(s, w.l.now()) > 0 {
		return false
	}
	o, err := w.l.store.Get(ctx, w.l.path.witness(s.next, s.rec.Meta))
	s.asked = err == nil || object.OutcomeOf(err) == object.Missing
	return err == nil && w.t.Created.Sub(o.Created) >= longSilence*s.rec.claim
}

// untilAsk is how long it is until a witness of the head is looked for.
func (w *wait) untilAsk(s *sighting, now clock.Instant) time.Duration {
	if s.asked || s.next == 0 || s.rec.renewal != "" {
		return never
	}
	return tentative - now.Since(s.held)
}

// testify leaves, in the background, a witness of the silent head that our ticket waits behind, for callers who come
// when we have left.
func (l *line) testify() {
	l.mu.Lock()
	s := l.sighting
	l.mu.Unlock()
	if !s.proven || s.next == 0 || s.rec.renewal != "" {
		return
	}
	l.mu.Lock()
	said := l.testified == ref{s.next, s.rec.Meta}
	l.testified = ref{s.next, s.rec.Meta}
	l.mu.Unlock()
	if !said {
		l.cfg.Tasks.Go(func(ctx context.Context) { l.witness(ctx, s.next, s.rec.Meta) })
	}
}

// witness creates the witness of a baton that has never been renewed, in one attempt, and returns the witness's creation
// time, and whether that is now.
func (l *line) witness(ctx context.Context, next, meta int64) (created time.Time, now bool, err error) {
	o, err := l.store.Create(ctx, l.path.witness(next, meta), object.Draft{
		Metadata: map[string]string{keyNonce: object.NewNonce(), keyOwner: l.cfg.Owner},
	})
	switch object.OutcomeOf(err) {
	case object.Applied:
		l.event(WitnessLeft, none)
		l.sweepWitnesses(o.Created)
		return o.Created, true, nil
	case object.Refused:
		o, err = l.store.Get(ctx, l.path.witness(next, meta))
		return o.Created, false, err
	}
	return time.Time{}, false, err
}

// passed reports whether so much time has passed by the service's clock since a moment of it, while the head stayed as it
// was read. The proof is an object written for the purpose. Over HTTP a refused read tells for nothing whether there is a
// point in that: its date may be anybody's, so it is never more than a hint.
func (l *line) passed(ctx context.Context, head *record, from time.Time, while time.Duration) (bool, error) {
	v := head.Version
	v.Meta++
	_, err := l.store.GetIf(ctx, head.Name, v)
	var refused *object.Error
	if object.OutcomeOf(err) != object.Refused || !errors.As(err, &refused) {
		return false, err
	}
	if hint := refused.Date; !hint.IsZero() && hint.Sub(from) < while {
		return false, nil
	}
	now, err := l.store.Stamp(ctx, string(l.path)+dirWitnesses+object.NewNonce(), l.cfg.Backoff())
	return err == nil && now.Sub(from) >= while, err
}

// witnessAge is how old a witness must be before it is taken for a leftover: far older than any claim worth proving.
const witnessAge = 24 * time.Hour

// sweepWitnesses deletes, in the background, what witnesses of long ago are left.
func (l *line) sweepWitnesses(now time.Time) {
	l.cfg.Tasks.Go(func(ctx context.Context) {
		old, _, err := l.store.List(ctx, l.path.witnesses())
		if err != nil {
			return
		}
		for _, o := range old {
			if o.Metadata[keyNonce] != "" && now.Sub(o.Created) > witnessAge && l.overdue(ctx, o) {
				if l.store.Delete(ctx, o.Name, o.Version) == nil {
					l.event(Swept, none, "witness", o.Name)
				}
			}
		}
	})
}

// suspicion is what a process that only tries remembers of a holder that it found in its way.
type suspicion struct {
	head, next ref
	meta       int64
	lease      time.Duration
	since      clock.Instant // since when it is seen so
	seen       clock.Instant // when it was last seen so
}

// suspicious reports whether a holder was seen to be silent so lately that this is worth remembering.
func (l *line) suspicious() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.suspect != nil && l.now().Since(l.suspect.seen) < longSilence*l.suspect.lease
}

// clear removes the holder that stands in the way of a caller who does not wait, if it can be proven dead at once, and all behind
// it who have not answered the roll. It reports whether it did.
func (l *line) clear(ctx context.Context, head, next *record, recs []*record) (bool, error) {
	if gone, err := l.isGone(ctx, head.n-1, head.prev); !gone || err != nil {
		return false, err
	}
	if !head.abandoned {
		silent, err := l.silent(ctx, head, next)
		if !silent || err != nil {
			return false, err
		}
	}
	// The listing that showed the head is some requests old: delete it only if it still stands so.
	event := SilenceProven
	var roll map[int64]*call
	if head.abandoned {
		event = AbandonedObeyed
	} else {
		roll = l.roll(ctx, head, recs)
	}
	gone, err := l.expire(ctx, death{
		reason: deaths[event], event: event, n: next.n, object: &head.Object, own: next.Metadata,
		lease: head.lease(), silent: l.watched(head),
	})
	if gone && !head.abandoned { // who gives up in order is no sign that others are dead
		l.strikeAll(ctx, next, recs, roll)
	}
	return gone, err
}

// watched is how long a process that only tries has known a holder.
func (l *line) watched(head *record) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.suspect == nil || l.suspect.head != head.id() {
		return 0
	}
	return l.now().Since(l.suspect.since)
}

func (l *line) silent(ctx context.Context, head, next *record) (bool, error) {
	now := l.now()
	l.mu.Lock()
	if s := l.suspect; s == nil || s.head != head.id() || s.next != next.id() || s.meta != head.Meta {
		l.suspect = &suspicion{head: head.id(), next: next.id(), meta: head.Meta, lease: head.lease(), since: now}
	}
	l.suspect.seen = now
	s := *l.suspect
	l.mu.Unlock()
	if head.Sent.Since(s.since) >= head.lease() {
		return true, nil
	}

	from := head.Updated
	if head.renewal == "" {
		var fresh bool
		var err error
		if from, fresh, err = l.witness(ctx, next.Gen, head.Meta); err != nil || fresh {
			return false, err
		}
	}
	return l.passed(ctx, head, from, longSilence*head.lease())
}
