package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
)

// MismatchError says that the clients of one name do not agree on what it is.
type MismatchError struct {
	Name         string // the object that disagrees
	What         string
	Theirs, Ours string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is in use with %s %q, and wanted here with %q: let all who use the name agree, or choose another",
		e.Name, e.What, e.Theirs, e.Ours)
}

// enqueue takes a place in the queue and does not return before it is known to be a real one. It returns nil and no
// error if only is set and somebody else is in the queue already.
func (l *line) enqueue(ctx context.Context, only bool) (*ticket, error) {
	backoff := l.cfg.Backoff()
	for round := 0; ; round++ {
		var end *tail
		var recs []*record
		if round == 0 && l.outstanding() == nil {
			if end, l.hint = l.hint, nil; end != nil {
				l.event(BaseShown, none)
			} else if end = l.remembered(); end != nil {
				l.event(BaseRemembered, none)
			} else if !only {
				end = l.probed(ctx)
			}
		}
		if end == nil {
			var err error
			if end, recs, err = l.listed(ctx, backoff); err != nil {
				return nil, err
			}
		}
		if err := l.agree(end.base); err != nil {
			return nil, err
		}
		t := l.adopt(recs)
		if t == nil {
			if only && end.head < end.base.n {
				if !l.cleared(ctx, end, recs) {
					return nil, nil
				}
				continue
			}
			var err error
			if t, err = l.create(ctx, end, backoff); err != nil {
				return nil, err
			}
		}
		if t == nil {
			if only && l.brief {
				return nil, nil
			}
			if !object.Sleep(ctx, l.jitter(round)) {
				return nil, object.Ended(ctx)
			}
			continue
		}
		ok, err := l.verify(ctx, t, backoff)
		if err != nil {
			return nil, err
		}
		if ok {
			return t, nil
		}
	}
}

// cleared removes the holder that a listing shows in the way of a caller who does not wait, if it is dead.
func (l *line) cleared(ctx context.Context, end *tail, recs []*record) bool {
	cleared, err := l.clear(ctx, find(recs, end.head), find(recs, end.head+1), recs)
	if err != nil { // what could not be proven is held
		l.cfg.Logger.Debug("gcsync: cannot tell whether the holder lives", "queue", l.store.URL(string(l.path)), "error", err)
	}
	return cleared
}

// agree reports whether the newest ticket is of what our clients take the name for.
func (l *line) agree(r *record) error {
	url := l.store.URL(r.Name)
	if r.kind != l.kind {
		return &MismatchError{url, "the kind", r.kind, l.kind}
	}
	return nil
}

func find(recs []*record, n int64) *record {
	for _, r := range recs {
		if r.n == n {
			return r
		}
	}
	return nil
}

// create makes the ticket that follows the tail. It returns nil and no error if the number was taken or the service
// was busy; whether our create landed all the same, the next listing tells.
func (l *line) create(ctx context.Context, end *tail, backoff object.Backoff) (*ticket, error) {
	n := end.base.n + 1
	draft := l.draft(end.base)
	try := &attempt{n: n, nonce: draft.Metadata[keyNonce], base: end.base, sent: l.now()}
	// The first attempt is seen through when ctx ends meanwhile, for as long as a request may take: what is cut off on its
	// way may arrive all the same, and then nobody knows of it.
	name, first := l.path.ticket(n), ctx
	if ctx.Err() == nil {
		first = l.cfg.Tasks.Context()
	}
	o, err := l.store.Create(first, name, draft)
	if object.OutcomeOf(err) == object.Indeterminate {
		o, err = l.store.Resolve(ctx, name, draft, err, backoff)
	}
	switch object.OutcomeOf(err) {
	case object.Applied:
		l.setTried(nil)
		rec, err := l.parse(o)
		if err != nil {
			return nil, err
		}
		return newTicket(rec, o.Sent, end), nil
	case object.Busy:
		l.setTried(try)
		if !object.Pause(ctx, backoff) { // to look again is charged for, and would be no use so soon
			return nil, object.Ended(ctx)
		}
		fallthrough
	case object.Refused:
		l.event(CreateRefused, none)
		l.setTried(try)
		return nil, nil
	}
	l.setTried(try)
	return nil, err
}

func newTicket(rec *record, first clock.Instant, end *tail) *ticket {
	t := &ticket{record: *rec, first: first, looked: first, from: first, baton: end.base, head: end.head, gens: end.gens}
	t.depth = max(0, t.n-1-t.head)
	t.gens[t.n] = t.Gen
	return t
}

// adopt looks in a listing for the ticket that an earlier create of ours may have left, and clears the memory of it:
// the listing settles the matter as far as anything can.
func (l *line) adopt(recs []*record) *ticket {
	if recs == nil {
		return nil
	}
	try := l.outstanding()
	l.setTried(nil)
	if try == nil {
		return nil
	}
	for _, r := range recs {
		if r.n == try.n && r.nonce == try.nonce {
			l.event(CreateAdopted, r.n)
			end := &tail{base: try.base, gens: make(map[int64]int64)}
			end.head = chain(recs, r, end.gens)
			end.head = min(end.head, try.base.n)
			return newTicket(r, try.sent, end)
		}
	}
	return nil
}

func (l *line) outstanding() *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tried
}

func (l *line) setTried(a *attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried = a
}

// verify makes sure that our ticket is part of the queue: the ticket that it was built on is still there. A create that
// arrives late may land on a number that was used and freed before, where it would wait for nobody and count for
// nothing. It reports false if there is no ticket any more and everything starts again.
func (l *line) verify(ctx context.Context, t *ticket, backoff object.Backoff) (ok bool, err error) {
	defer func() {
		if err != nil {
			l.leave(t)
		}
	}()
	// The one before our baton tells whether we are the head at once; unless it is our own, for which we look already.
	var ahead chan answer
	own, _ := l.ours(t.baton.id())
	if k := t.n - 2; k >= 0 && !own {
		ahead = make(chan answer, 1)
		if !l.cfg.Tasks.Go(func(ctx context.Context) {
			o, err := l.get(ctx, k)
			ahead <- answer{o, err}
		}) {
			return false, context.Canceled
		}
	}
	for {
		o, err := l.get(ctx, t.baton.n)
		switch object.OutcomeOf(err) {
		case object.Applied:
			if o.Gen != t.baton.Gen {
				return l.unbuilt(ctx, t, backoff)
			}
			rec, err := l.parse(o)
			if err != nil {
				return false, err
			}
			t.baton = rec
			t.grand = rec.prev
			t.gens[rec.n] = rec.Gen
			if rec.prev != 0 {
				t.gens[rec.n-1] = rec.prev
			}
			if _, free := l.ours(t.baton.id()); own && free {
				t.head, t.proven = t.n-1, true
			}
			if ahead != nil {
				a := <-ahead
				switch object.OutcomeOf(a.err) {
				case object.Missing:
					t.head, t.proven = t.n-1, true
				case object.Applied:
					if a.o.Gen != t.grand {
						t.head, t.proven = t.n-1, true
					} else {
						t.waitedUntil(a.o.Sent)
					}
				}
			}
			return true, nil
		case object.Missing:
			return l.unbuilt(ctx, t, backoff)
		case object.Denied:
			return false, err
		}
		if !object.Pause(ctx, backoff) {
			return false, err
		}
	}
}

// unbuilt deals with a ticket whose base is gone. Two things look like this. We may be a ghost: our create came so late
// that the number had been used and freed, and must be removed before somebody takes it for the tail. Or we are real
// and were expired before we got here; then others may have built on us, and removing the ticket would break the queue.
// Whoever is real is the highest number, or is linked to by the next.
func (l *line) unbuilt(ctx context.Context, t *ticket, backoff object.Backoff) (bool, error) {
	for {
		recs, err := l.list(ctx)
		if err != nil {
			if !retryable(err) || !object.Pause(ctx, backoff) {
				return false, err
			}
			continue
		}
		if r := find(recs, t.n); r == nil || r.Gen != t.Gen {
			gone, err := l.isGone(ctx, t.n, t.Gen)
			switch {
			case gone:
				return false, nil // nothing to undo
			case err != nil && !retryable(err) || !object.Pause(ctx, backoff):
				return false, err
			}
			continue
		}
		real := recs[len(recs)-1].n == t.n
		if !real {
			if real, err = l.linked(ctx, t.id()); err != nil {
				if !retryable(err) || !object.Pause(ctx, backoff) {
					return false, err
				}
				continue
			}
		}
		if real {
			l.event(ExpiredUnseen, t.n)
			return false, nil
		}
		l.event(GhostDeleted, t.n)
		return false, l.removeAll(ctx, t.Name, object.Version{Gen: t.Gen})
	}
}

// linked reads the next ticket and reports whether it was built on t. If t is real and something higher has been seen,
// the next ticket is there, for tickets are deleted in order; so a read settles what a listing, whose pages are of
// different moments, does not.
func (l *line) linked(ctx context.Context, t ref) (bool, error) {
	o, err := l.get(ctx, t.n+1)
	switch object.OutcomeOf(err) {
	case object.Applied:
		return o.Metadata[keyPrev] == strconv.FormatInt(t.gen, 10), nil
	case object.Missing:
		return false, nil
	}
	return false, err
}

// retryable reports whether trying again may help.
func retryable(err error) bool {
	if _, foreign := err.(*ForeignError); foreign {
		return false
	}
	return object.OutcomeOf(err) != object.Denied
}

// jitter is the pause after a refused create: 20 ms at first, up to 250 ms, so that colliding clients part.
func (l *line) jitter(round int) time.Duration {
	top := min(250, 20<<min(round, 4))
	return time.Duration(1+rand.IntN(top)) * time.Millisecond
}

func (l *line) now() clock.Instant { return l.store.Clock().Now() }
