package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/gcsync/gcsync/tracing"
)

// Call is one call that wants a name, from its beginning until it is answered. A nil one tells nothing.
type Call struct {
	about  Subject
	parent context.Context
	span   *Span
	began  time.Time
	tally  bool // it was counted as waiting

	Facts Facts // what is known of it; to be set before the end
}

// Facts are what is known of a call when it ends.
type Facts struct {
	Contended bool  // somebody was there before
	Local     bool  // granted within the process
	Position  int64 // how many were there before
	Attempts  int   // tickets drawn

	A, B, Free int64 // requests that it took, by price

	Ticket int64             // 0: there is none
	Holder string            // the owner of whom it waited for; empty: nobody, or not known
	Link   trace.SpanContext // that one's span
}

// Call begins a call. It returns nil if nobody listens.
func (t *Telemetry) Call(ctx context.Context, primitive, name string) *Call {
	if !t.listens() {
		return nil
	}
	c := &Call{about: t.About(primitive, name), parent: ctx, began: time.Now()}
	c.span = c.about.start(ctx, tracing.SpanAcquire)
	c.tally = t.count(t.waiting, 1, of(primitive))
	return c
}

// Context is what tells the call's span to others; not valid if there is none.
func (c *Call) Context() trace.SpanContext {
	if c == nil {
		return trace.SpanContext{}
	}
	return c.span.Context()
}

// Under returns ctx with the call's span as the parent of those that follow.
func (c *Call) Under(ctx context.Context) context.Context { return Under(ctx, c.Context()) }

// Behind returns the facts of one who found so many here before it.
func (f Facts) Behind(here int) Facts {
	f.Contended = f.Contended || here > 0
	f.Position += int64(here)
	return f
}

// End ends a call.
func (c *Call) End(outcome string, err error) {
	if c == nil {
		return
	}
	f := c.Facts
	t, l := c.about.t, of(c.about.primitive)
	if c.tally {
		t.count(t.waiting, -1, l)
	}
	t.acquire.Record(c.span.Inside(c.parent), since(c.began), t.options(l.and(tracing.KeyOutcome, outcome)).record...)
	if c.span == nil {
		return
	}
	facts := []attribute.KeyValue{
		tracing.KeyContended.Bool(f.Contended),
		tracing.KeyLocal.Bool(f.Local),
		tracing.KeyPosition.Int64(f.Position),
		tracing.KeyAttempts.Int(f.Attempts),
		tracing.KeyRequestsA.Int64(f.A),
		tracing.KeyRequestsB.Int64(f.B),
		tracing.KeyRequestsFree.Int64(f.Free),
	}
	if f.Ticket != 0 {
		facts = append(facts, tracing.KeyTicket.Int64(f.Ticket))
	}
	if f.Holder != "" {
		facts = append(facts, tracing.KeyHolder.String(f.Holder))
	}
	c.span.Link(f.Link, f.Holder)
	c.span.End(outcome, err, facts...)
}

// Hold is one grant, from its beginning until it is released or lost. A nil one tells nothing.
type Hold struct {
	about  Subject
	span   *Span
	began  time.Time
	number attribute.KeyValue
	tally  bool // it was counted as held
	ended  atomic.Bool
}

// Hold begins the grant that the call was for.
func (c *Call) Hold(token int64) *Hold {
	if c == nil {
		return nil
	}
	name, number := tracing.SpanHold, tracing.KeyToken
	if c.about.primitive == tracing.Election {
		name, number = tracing.SpanTerm, tracing.KeyTerm
	}
	h := &Hold{about: c.about, span: c.about.start(c.parent, name), began: time.Now(), number: number.Int64(token)}
	h.tally = h.about.t.count(h.about.t.held, 1, of(h.about.primitive))
	return h
}

// Context is what tells the hold's span to others; not valid if there is none.
func (h *Hold) Context() trace.SpanContext {
	if h == nil {
		return trace.SpanContext{}
	}
	return h.span.Context()
}

// Inside returns ctx as the code under the hold should have it.
func (h *Hold) Inside(ctx context.Context) context.Context {
	if h == nil {
		return ctx
	}
	return h.span.Inside(ctx)
}

// End ends a grant. Only the first call counts: what was lost cannot be released.
func (h *Hold) End(outcome string, err error) {
	if h == nil || !h.ended.CompareAndSwap(false, true) {
		return
	}
	t, l := h.about.t, of(h.about.primitive)
	if h.tally {
		t.count(t.held, -1, l)
	}
	t.hold.Record(h.span.Inside(background), since(h.began), t.options(l.and(tracing.KeyOutcome, outcome)).record...)
	h.span.End(outcome, err, h.number)
}
