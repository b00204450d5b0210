package queue

import (
	"context"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// registration is an entry of ours in the making.
type registration struct {
	l      *line
	name   string
	nonce  string
	weight int64
	done   chan struct{} // closed when the rest is set
	o      object.Object
	err    error
}

// register writes, in the background, the entry of the head t.
func (l *line) register(ctx context.Context, t *ticket, weight int64) *registration {
	md := l.signed()
	md[keyWeight] = decimal(weight)
	own := &registration{l: l, name: l.path.holder(t.n), nonce: md[keyNonce], weight: weight, done: make(chan struct{})}
	if !l.cfg.Tasks.Go(func(context.Context) {
		defer close(own.done)
		own.o, own.err = own.write(ctx, object.Draft{Metadata: md})
		if own.err == nil {
			l.event(Registered, t.n)
		}
	}) {
		own.err = context.Canceled
		close(own.done)
	}
	return own
}

func (own *registration) write(ctx context.Context, d object.Draft) (object.Object, error) {
	s, backoff := own.l.store, own.l.cfg.Backoff()
	for {
		// Seen through when ctx ends meanwhile: what is cut off on its way may arrive all the same, for nobody to remove.
		o, err := s.Create(own.l.cfg.Tasks.Context(), own.name, d)
		switch object.OutcomeOf(err) {
		case object.Refused, object.Indeterminate: // a second delivery of our own is refused, too
			o, err = s.Resolve(ctx, own.name, d, err, backoff)
			if object.OutcomeOf(err) == object.Refused {
				return o, errAgain // the leftover of a ghost: another number will do
			}
			return o, err
		case object.Busy:
			if object.Pause(ctx, backoff) {
				continue
			}
		}
		return o, err
	}
}

// wait returns how it went.
func (own *registration) wait() error {
	<-own.done
	return own.err
}

// undo removes the entry, whether or not it is known to be there. What arrives later than that is nobody's, and is removed
// as silent.
func (own *registration) undo(ctx context.Context, patience time.Duration) {
	<-own.done
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if own.o.Gen == 0 {
		o, err := own.l.store.Get(ctx, own.name)
		if err != nil || o.Metadata[keyNonce] != own.nonce {
			return
		}
		own.o = o
	}
	_ = own.l.removeAll(ctx, own.name, object.Version{Gen: own.o.Gen})
}

// permit is an entry that counts: what one goroutine holds, or all readers of the process together.
type permit struct {
	possession
	ticket *ticket
	weight int64
	lease  *lease.Lease

	// Guarded by the pool.
	shares   int                // that have not been given back
	asked    clock.Instant      // when the request was sent that proved, last, that nobody has queued behind us
	closed   bool               // somebody has
	checking chan struct{}      // closed when a request that asks is answered
	rest     context.CancelFunc // ends the linger
}

// permit begins to believe in an entry whose baton was deleted by a request sent then; nil if that is too long ago.
func (l *line) permit(t *ticket, own *registration, sent clock.Instant) *permit {
	if own == nil {
		return nil
	}
	p := &permit{ticket: t, weight: own.weight, asked: sent, possession: l.possess(t.n, lease.Record{
		Name:    own.name,
		Version: own.o.Version,
		From:    sent,
		Length:  l.cfg.Claim,
	}, own.o.Metadata)}
	if p.lease = p.keeper.Grant(t.token(0)); p.lease == nil {
		return nil
	}
	return p
}
