package queue

import (
	"context"
	"errors"
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

// errExpired says that our ticket is no longer in the queue.
var errExpired = errors.New("the ticket was expired while it waited")

// silence looks at the head as it was just read, and deletes it if its holder is dead: silent for the whole of its
// lease, by our own monotonic clock, from the moment at which we knew it to be the head. It reports true if the head
// has moved on, or should be read again at once.
func (w *wait) silence(ctx context.Context, o object.Object) (again bool, err error) {
	rec, err := w.l.parse(o)
	if err != nil {
		return false, err
	}
	if err := w.prove(ctx, rec); err != nil {
		return false, err
	}
	s := w.see(rec)
	if !s.proven {
		return false, nil
	}
	if w.untilRoll(s, w.l.now()) <= 0 {
		if err := w.callRoll(ctx, s); object.OutcomeOf(err) == object.Denied {
			return false, err
		}
	}
	w.countRoll(ctx, rec)
	if w.strike(ctx) {
		return true, nil
	}
	var event Event
	switch {
	case rec.abandoned:
		event = AbandonedObeyed
	case w.due(s) && o.Sent.Since(s.since) >= w.patience(s):
		event = TTLExpired
		if rec.renewal == "" {
			event = ClaimExpired
		}
	case w.longDead(ctx, s):
		event = SilenceProven
	default:
		return false, nil
	}
	if event == SilenceProven && w.untilRoll(s, w.l.now()) != never {
		// Whoever comes after us may wait no longer than we do: the roll is called for them to count, and we count that of others.
		if err := w.callRoll(ctx, s); object.OutcomeOf(err) == object.Denied {
			return false, err
		}
		if o, err := w.l.get(ctx, rec.n); err == nil && o.Gen == rec.Gen {
			w.countRoll(ctx, &record{Object: o, n: rec.n})
		}
	}
	gone, err := w.l.expire(ctx, death{
		reason: deaths[event], event: event, n: rec.n + 1, object: &rec.Object, own: w.owner(rec),
		lease: rec.lease(), silent: w.l.now().Since(s.since),
	})
	switch {
	case gone:
		w.advance(rec.n+1, w.l.now())
		return true, nil
	case err == nil: // the version has changed: read again
		return false, nil
	case object.OutcomeOf(err) == object.Denied:
		return false, err
	}
	return false, nil
}

// see records the version of the head that was just read, and returns since when it stands so.
func (w *wait) see(rec *record) *sighting {
	s := w.seen
	since := rec.Received
	if w.sure.After(since) {
		since = w.sure
	}
	fresh := &sighting{rec: rec, next: w.t.gens[rec.n+1], since: since, held: since, proven: w.t.proven}
	switch {
	case s == nil || s.rec.id() != rec.id():
		s = fresh
	case rec.Meta < s.rec.Meta:
		// an older answer that arrived late
	case s.rec.Meta != rec.Meta || s.proven != fresh.proven:
		fresh.held = s.held
		s = fresh
	default:
		s.rec = rec
	}
	w.seen = s
	w.l.mu.Lock()
	w.l.sighting = *s
	if rec.renewal != "" && rec.n == w.t.n-2 {
		w.l.story.renewed = rec
	}
	w.l.mu.Unlock()
	return s
}

// prove makes sure that rec is the head's baton: the ticket below it is gone. A silent ticket further back is only
// waiting, and one that has just become the head was waiting until the proof.
func (w *wait) prove(ctx context.Context, rec *record) error {
	if w.t.proven {
		return nil
	}
	gone, err := w.l.isGone(ctx, rec.n-1, rec.prev)
	if object.OutcomeOf(err) == object.Denied {
		return err
	}
	switch {
	case gone:
		w.t.proven, w.sure = true, w.l.now()
	case err == nil && w.t.head == rec.n:
		// The head is lower than we thought: our own last release is not through yet, or a listing had a gap.
		w.t.head = rec.n - 1
		w.t.gens[rec.n-1] = rec.prev
		w.seen = nil
	}
	return nil
}

// isGone reads ticket n and reports whether the ticket of generation gen is proven gone.
func (l *line) isGone(ctx context.Context, n, gen int64) (bool, error) {
	if n < 0 {
		return true, nil
	}
	return l.absent(ctx, l.path.ticket(n), gen)
}

// absent reads an object and reports whether that of generation gen is proven gone.
func (l *line) absent(ctx context.Context, name string, gen int64) (bool, error) {
	o, err := l.store.Get(ctx, name)
	switch object.OutcomeOf(err) {
	case object.Missing:
		return true, nil
	case object.Applied:
		return o.Gen != gen, nil
	}
	return false, err
}

// patience is how long the holder may be silent before we act: its lease, and a hundredth of it more for every place
// that we are further back, up to a tenth, so that those behind act only if those before them are dead as well, and a
// row of dead costs little more than one lease each.
func (w *wait) patience(s *sighting) time.Duration {
	places := w.t.n - 2 - s.rec.n - w.unanswered()
	return s.rec.lease() * time.Duration(100+max(0, min(places, 10))) / 100
}

func (w *wait) due(s *sighting) bool {
	return w.l.now().Since(s.since) >= w.patience(s)
}

// owner returns what the one whom the baton speaks for wrote of itself, if that is known: its ticket is our baton then.
func (w *wait) owner(head *record) map[string]string {
	if w.t.baton.n == head.n+1 {
		return w.t.baton.Metadata
	}
	return nil
}

// forget ends the wait: what was seen at the head is no longer watched.
func (w *wait) forget() {
	w.l.mu.Lock()
	w.l.sighting = sighting{}
	w.l.mu.Unlock()
}
