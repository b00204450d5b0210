package queue

import (
	"context"
	"errors"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// A reader takes no ticket, for nobody needs to wait for it in turn. It finds the tail of the row, writes an entry that says
// after which ticket it comes, and stands behind that one:
//
//	an entry behind ticket n is in  <=>  it is there, t/(n-1) is gone, and its lease is valid
//
// So readers come in at the same moment, however many they are, when the writer before them leaves. That each side sees the
// other is a matter of order, as with the flags of Dekker: a reader writes its entry, and then looks whether a later writer
// may be at the head already; a writer comes to the head, and then looks for entries.

// errAgain says that a turn, or an entry, came to nothing and that everything starts again.
var errAgain = errors.New("it came too late")

// errBusy says that somebody who does not wait would have to.
var errBusy = errors.New("not free")

// permit is an entry that counts: what all readers of the process hold together.
type permit struct {
	possession
	behind *record
	lease  *lease.Lease

	// Guarded by the readers.
	shares   int                // that have not been given back
	asked    clock.Instant      // when the request was sent that proved, last, that no writer has come
	closed   bool               // one has
	checking chan struct{}      // closed when a request that asks is answered
	rest     context.CancelFunc // ends the linger
}

// read waits until an entry of ours is in; of a caller that does not wait it returns nil if somebody writes, or waits to.
func (l *line) read(ctx context.Context, wait bool) (*permit, error) {
	backoff := l.cfg.Backoff()
	for {
		end, err := l.last(ctx, wait, backoff)
		if end == nil || err != nil {
			return nil, err
		}
		own, err := l.enter(ctx, end, wait, backoff)
		if err == nil {
			return own, nil
		}
		switch err {
		case errBusy:
			return nil, nil
		case errAgain:
			l.event(Overtaken, none)
		default:
			return nil, err
		}
	}
}

// last finds the ticket to stand behind; nil if somebody who does not wait would have to.
func (l *line) last(ctx context.Context, wait bool, backoff object.Backoff) (*tail, error) {
	for {
		end, recs, err := l.listed(ctx, backoff)
		if err == nil {
			err = l.agree(end.base)
		}
		if err != nil {
			return nil, err
		}
		if wait || end.head == end.base.n {
			return end, nil
		}
		if !l.cleared(ctx, end, recs) {
			return nil, nil
		}
	}
}

// enter writes an entry behind the tail and waits until it is in. What comes to nothing is taken back, in the background.
func (l *line) enter(ctx context.Context, end *tail, wait bool, backoff object.Backoff) (*permit, error) {
	d := l.draft(end.base)
	name, sent := l.path.entry(end.base.n, d.Metadata[keyNonce]), l.now()
	o, err := l.write(ctx, name, d, backoff)
	if err == nil {
		l.event(Registered, end.base.n)
		var p *permit
		if p, err = l.stand(ctx, o, sent, end, wait, backoff); err == nil {
			return p, nil
		}
	}
	l.cfg.Tasks.Go(func(ctx context.Context) { l.takeBack(ctx, name, o.Gen) })
	if ctx.Err() != nil {
		err = object.Ended(ctx)
	}
	return nil, err
}

// write creates an entry. The request is seen through when ctx ends meanwhile: what is cut off on its way may arrive all the
// same, for nobody to remove.
func (l *line) write(ctx context.Context, name string, d object.Draft, backoff object.Backoff) (object.Object, error) {
	for {
		o, err := l.store.Create(l.cfg.Tasks.Context(), name, d)
		switch object.OutcomeOf(err) {
		case object.Refused, object.Indeterminate: // a second delivery of our own is refused, too
			return l.store.Resolve(ctx, name, d, err, backoff)
		case object.Busy:
			if object.Pause(ctx, backoff) {
				continue
			}
		}
		return o, err
	}
}

// takeBack removes an entry of ours, whether or not it is known to be there. What arrives later than that is nobody's, and
// is removed as silent.
func (l *line) takeBack(ctx context.Context, name string, gen int64) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Claim)
	defer cancel()
	l.event(Withdrawn, none)
	for backoff := l.cfg.Backoff(); gen == 0; {
		o, err := l.store.Get(ctx, name)
		switch object.OutcomeOf(err) {
		case object.Applied:
			gen = o.Gen
		case object.Missing, object.Denied:
			return
		default:
			if !object.Pause(ctx, backoff) {
				return
			}
		}
	}
	_ = l.removeAll(ctx, name, object.Version{Gen: gen})
}

// stand waits behind the tail with the entry o, which was sent then and is there, until it is in, and begins to believe in it.
func (l *line) stand(ctx context.Context, o object.Object, sent clock.Instant, end *tail, wait bool, backoff object.Backoff) (*permit, error) {
	e, err := l.parseEntry(o)
	if err != nil {
		return nil, err
	}
	t := e.after(end, sent)
	if err := l.inTime(ctx, t, backoff); err != nil {
		return nil, err
	}
	if !wait && !t.proven {
		return nil, errBusy
	}
	l.drew(t)
	switch err := l.await(ctx, t); err {
	case nil:
	case errExpired:
		return nil, errAgain
	default:
		return nil, err
	}
	if l.now().Longest(t.from) >= e.claim-lease.Margin(e.claim) {
		return nil, errAgain // others may have given us up: too late to believe
	}
	p := &permit{behind: end.base, asked: t.from, possession: l.possess(t.n, lease.Record{
		Name:    e.Name,
		Version: e.Version,
		From:    t.from,
		Length:  e.claim,
	}, e.Metadata)}
	if p.lease = p.keeper.Grant(e.token()); p.lease == nil {
		return nil, errAgain
	}
	l.event(Admitted, e.n)
	return p, nil
}

// after is where an entry that was sent then stands, in the form of a ticket: that which would follow the tail. Its baton is
// the tail, for its turn comes when the tail's has ended.
func (e *entry) after(end *tail, sent clock.Instant) *ticket {
	baton := *end.base
	baton.term = e.term
	t := &ticket{baton: &baton, grand: end.base.prev, head: min(end.head, end.base.n-1), gens: end.gens, from: sent}
	t.n, t.base, t.Created = end.base.n+1, end.base.base, e.Created
	return t
}

// inTime makes sure, by reads sent after the entry is there, that no writer that comes after it has looked for entries before.
// Either that of the tail has not left yet, so the next is not at the head. Or it has, and there is no next, and the tail is
// there: whoever follows it is still to come, or has gone; and whoever follows that one was not at the head yet. The reads
// may be answered in any order, since our lease counts from before the entry was made (spec/readers.pml).
func (l *line) inTime(ctx context.Context, t *ticket, backoff object.Backoff) error {
	tail := t.baton
	names := []string{tail.Name, l.path.ticket(tail.n + 1)}
	if tail.n > 0 {
		names = append(names, l.path.ticket(tail.n-1))
	}
	is := func(a answer, gen int64) bool { return a.err == nil && a.o.Gen == gen }
	isNot := func(a answer, gen int64) bool {
		return object.OutcomeOf(a.err) == object.Missing || a.err == nil && a.o.Gen != gen
	}
	for {
		answers := readAll(names, func(name string) (object.Object, error) { return l.store.Get(ctx, name) })
		stands, next, before := answers[0], answers[1], answers[len(answers)-1]
		first := tail.n == 0 || isNot(before, tail.prev)
		switch {
		case tail.n > 0 && is(before, tail.prev):
			t.waitedUntil(before.o.Sent)
			return nil
		case first && (next.err == nil || isNot(stands, tail.Gen)):
			return errAgain
		case first && object.OutcomeOf(next.err) == object.Missing && is(stands, tail.Gen):
			t.head, t.proven = tail.n, true
			return nil
		}
		var last error
		for _, a := range answers {
			switch object.OutcomeOf(a.err) {
			case object.Denied:
				return a.err
			case object.Busy, object.Indeterminate:
				last = a.err
			}
		}
		if !object.Pause(ctx, backoff) {
			return last
		}
	}
}

// alone reports whether no writer has queued behind r, for what fairness needs: a refusal, which costs nothing, will do
// for r being there.
func (l *line) alone(ctx context.Context, r *record) bool {
	if _, err := l.get(ctx, r.n+1); object.OutcomeOf(err) != object.Missing {
		return false
	}
	v := r.Version
	v.Meta++
	_, err := l.store.GetIf(ctx, r.Name, v)
	outcome := object.OutcomeOf(err)
	return outcome == object.Refused || outcome == object.Applied
}

// joinTime is how old the evidence may be that no writer has come: for so long readers of a process that is in may still join
// after one has. It bounds the requests of a process in which readers come and go all the time, none of which is charged.
const joinTime = 500 * time.Millisecond
