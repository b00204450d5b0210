package gcsync

import (
	"context"
	"errors"
	"time"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// told is what those who watch are told of one call that wants a register, and of what it then holds. It decides nothing.
type told struct {
	*telemetry.Possession
	about telemetry.Subject
	call  *telemetry.Call
	hold  *telemetry.Hold
	store *object.Store // counts the requests of the call
}

// tell begins to tell of a call.
func (r *register) tell(ctx context.Context) *told {
	w := &told{about: r.c.audience.About(r.kind, r.name), call: r.c.audience.Call(ctx, r.kind, r.name), store: r.c.store}
	w.Possession = w.about.Possess(w.call.Context())
	if w.call != nil {
		w.store = w.store.Counted()
	}
	return w
}

// sees takes in the object as it is shown to those who wait, and whether that ends the waiting. The marks are those that
// they will write.
func (w *told) sees(o object.Object, held bool, marks map[string]string, end error) {
	w.Sign(marks, o.Metadata)
	switch {
	case w.call == nil:
	case held:
		f := &w.call.Facts
		f.Contended, f.Position = true, 1
		f.Holder, f.Link = lease.OwnerOf(o.Metadata), telemetry.Extract(o.Metadata)
	case end == nil:
		w.call.Facts.Attempts++
	}
}

// TookOver implements [lease.Watcher].
func (w *told) TookOver(dead object.Object, silent time.Duration, proven bool) {
	reason := tracing.TTLExpired
	if proven {
		reason = tracing.SilenceProven
	}
	if w.call != nil {
		w.call.Facts.Attempts++
	}
	w.Possession.TookOver(reason, lease.OwnerOf(dead.Metadata), telemetry.Extract(dead.Metadata), silent)
}

// Renewed implements [lease.Watcher].
func (w *told) Renewed(int) { w.Possession.Renewed() }

// Failed implements [lease.Watcher].
func (w *told) Failed(error) { w.Possession.Failed() }

// Lost implements [lease.Watcher].
func (w *told) Lost(err error) { w.Possession.Lost(lease.LossReason(err), err) }

// answered ends the call.
func (w *told) answered(ctx context.Context, h *lease.Held, err error) {
	if w.call == nil {
		return
	}
	u := w.store.Usage()
	w.call.Facts.A, w.call.Facts.B, w.call.Facts.Free = u.ClassA, u.ClassB, u.Free
	outcome := tracing.Failed
	switch {
	case err == nil:
		outcome = tracing.Acquired
		w.hold = w.call.Hold(h.Token())
		w.Begin(w.hold)
	case errors.As(err, new(*settled)), errors.As(err, new(*overtaken)):
		outcome = tracing.Done
	case errors.Is(err, ErrClosed):
		outcome = tracing.Closed
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		outcome = tracing.Cancelled
	}
	w.call.End(outcome, err)
}

// run runs the user's function under a span of its own.
func (w *told) run(ctx context.Context, f func(ctx context.Context) error) (err error) {
	ctx = w.hold.Inside(ctx)
	span := w.about.Run(ctx)
	outcome := tracing.Failed // should it panic
	defer func() { span.End(outcome, err) }()
	if err = f(span.Inside(ctx)); err == nil {
		outcome = tracing.Done
	}
	return err
}

// toldOf returns what is told of a lease that is held.
func (c *Client) toldOf(h *lease.Held) *told { return c.terms.Watcher(h).(*told) }
