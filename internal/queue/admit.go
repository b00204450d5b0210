package queue

import (
	"context"
	"errors"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// demand is what a caller wants of a name that several may hold at once.
type demand struct {
	weight int64
	resize int64 // the new limit of a semaphore, and no slots; 0: none
}

// errAgain says that a turn came to nothing and that everything starts again.
var errAgain = errors.New("the turn at the head was lost")

// errNoRoom says that somebody who does not wait would have to.
var errNoRoom = errors.New("no room")

// possible returns a *TooLargeError if there will never be room for d. A request is only needed where the semaphore may
// have been resized to hold more than its clients here were made with.
func (l *line) possible(ctx context.Context, d demand) error {
	if l.kind != Semaphore || d.weight <= l.slots.configured {
		return nil
	}
	end, _, err := l.listed(ctx, l.cfg.Backoff())
	if err == nil {
		err = l.agree(end.base)
	}
	if err == nil {
		err = l.tooLarge(d, end.base.slots.limit)
	}
	return err
}

func (l *line) tooLarge(d demand, limit int64) error {
	if d.weight > limit {
		return &TooLargeError{l.store.URL(string(l.path)), d.weight, limit}
	}
	return nil
}

// admit queues until there is room for d, and lets it in.
func (l *line) admit(ctx context.Context, d demand) (*permit, error) {
	l.resize = d.resize
	for {
		tn, err := l.take(ctx, ctx, nil)
		if err != nil {
			return nil, err
		}
		p, err := tn.admit(ctx, d, true)
		if err != errAgain {
			return p, err
		}
		l.event(Requeued, tn.n)
	}
}

// tryAdmit lets d in if there is room and nobody in the queue; otherwise it returns nil.
func (l *line) tryAdmit(ctx context.Context, d demand) (*permit, error) {
	l.resize = 0
	tn, behind, err := l.try(ctx)
	if behind != nil {
		l.abandon(behind)
	}
	if tn == nil {
		return nil, err
	}
	p, err := tn.admit(ctx, d, false)
	if err == errAgain || err == errNoRoom {
		return nil, nil
	}
	return p, err
}

// admit waits at the head until there is room, and then leaves the queue for the registry. A turn that comes to nothing
// is given up here, whatever the error; on errAgain the caller may queue again.
func (tn *tenure) admit(ctx context.Context, d demand, wait bool) (p *permit, err error) {
	l, t := tn.l, tn.ticket
	turn := tn.keeper.Grant(t.token(0))
	if turn == nil {
		tn.giveUp(nil)
		return nil, errAgain
	}
	inside, cancel := turn.Context(ctx)
	defer cancel()

	var own *registration
	if wait && d.weight > 0 {
		own = l.register(inside, t, d.weight) // while we look who else is in
	}
	err = tn.room(inside, d, wait)
	if err == nil && d.weight > 0 {
		if own == nil {
			own = l.register(inside, t, d.weight)
		}
		err = own.wait()
	}
	lost := turn.Err() != nil
	if err == nil {
		var sent clock.Instant
		if sent, err = tn.certify(); err == nil {
			if d.resize > 0 {
				l.event(Resized, t.n, "slots", d.resize)
			}
			if p = l.permit(t, own, sent); p != nil || d.resize > 0 {
				return p, nil
			}
			err = errAgain
		}
	}
	tn.giveUp(own)
	switch {
	case ctx.Err() != nil:
		return nil, object.Ended(ctx)
	case lost:
		return nil, errAgain
	}
	return nil, err
}

// room waits until there is room for d, or only looks. For readers there always is.
func (tn *tenure) room(ctx context.Context, d demand, wait bool) error {
	l := tn.l
	if l.kind != Semaphore || d.weight == 0 {
		return nil
	}
	return l.registry.room(ctx, l, tn.ticket, wait, func(limit, sum int64) (bool, error) {
		return sum+d.weight <= limit, l.tooLarge(d, limit)
	})
}

// drain waits, at the head, until nobody is in, or only looks: a writer among readers. It does nothing where a baton is
// all that anybody holds. A turn that comes to nothing is given up.
func (tn *tenure) drain(ctx context.Context, wait bool) error {
	l := tn.l
	if !l.writes {
		return nil
	}
	turn := tn.keeper.Grant(tn.ticket.token(0))
	if turn == nil {
		tn.giveUp(nil)
		return errAgain
	}
	inside, cancel := turn.Context(ctx)
	defer cancel()
	err := l.registry.room(inside, l, tn.ticket, wait, func(_, sum int64) (bool, error) { return sum == 0, nil })
	if tn.keeper.Retire() != nil && ctx.Err() == nil {
		err = errAgain
	}
	if err != nil {
		tn.giveUp(nil)
	}
	return err
}

// certify deletes our own baton: the certificate that we were the head until now. From then on the entry counts, and its
// lease from the moment at which the delete was sent. On errAgain others have given us up, or may have.
func (tn *tenure) certify() (sent clock.Instant, err error) {
	l := tn.l
	if tn.stop(lease.ErrReleased) != nil {
		return sent, errAgain
	}
	rec, backoff := tn.keeper.Record(), l.cfg.Backoff()
	valid := func() bool { return l.now().Longest(rec.From) < rec.Length-lease.Margin(rec.Length) }
	var unanswered clock.Instant
	for valid() {
		sent := l.now()
		err := l.store.Delete(l.cfg.Tasks.Context(), tn.name, object.Version{Gen: tn.gen})
		switch object.OutcomeOf(err) {
		case object.Applied:
			l.event(Admitted, tn.n)
			tn.freed()
			return sent, nil
		case object.Missing, object.Refused:
			// While our lease lasts nobody else deletes it: so it was the attempt that was not answered. Without one, a
			// transport has delivered the request twice, or we are not who we think we are.
			if !unanswered.IsZero() && valid() {
				l.event(AdmissionProven, tn.n)
				tn.freed()
				return unanswered, nil
			}
			l.event(AdmissionRefused, tn.n)
			return sent, errAgain
		case object.Denied:
			return sent, err
		case object.Indeterminate:
			if unanswered.IsZero() {
				unanswered = sent
			}
		}
		if !object.Pause(l.cfg.Tasks.Context(), backoff) {
			break
		}
	}
	l.event(AdmissionRefused, tn.n)
	return sent, errAgain
}

// giveUp ends a turn at the head that came to nothing, in the background. The entry goes before the baton: whoever is the
// head next must not take it for somebody.
func (tn *tenure) giveUp(own *registration) {
	l := tn.l
	tn.stop(lease.ErrReleased)
	l.event(Withdrawn, tn.n)
	l.cfg.Tasks.Go(func(ctx context.Context) {
		if own != nil {
			own.undo(ctx, tn.ticket.baton.claim)
		}
		tn.releaseLater()
	})
}
