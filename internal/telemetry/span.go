package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/gcsync/gcsync/tracing"
)

// Subject is what spans are about: a name, and what it is used as.
type Subject struct {
	t         *Telemetry
	primitive string
	name      string
}

// About returns the subject of a name's spans.
func (t *Telemetry) About(primitive, name string) Subject { return Subject{t, primitive, name} }

// Telemetry is the subject's client's.
func (s Subject) Telemetry() *Telemetry { return s.t }

// start starts a span, child of that of ctx. It is nil if nobody would see it.
func (s Subject) start(ctx context.Context, what string) *Span {
	if s.t == nil || !s.t.traces() {
		return nil
	}
	_, span := s.t.tracer.Start(ctx, what)
	span.SetAttributes(tracing.KeyPrimitive.String(s.primitive), tracing.KeyName.String(s.name))
	if s.t.class != "" {
		span.SetAttributes(tracing.KeyClass.String(s.t.class))
	}
	return &Span{span}
}

// Span is one span. The methods of a nil one do nothing.
type Span struct{ span trace.Span }

// End ends the span. That a caller has left, or that somebody else has the name, is no error.
func (s *Span) End(outcome string, err error, facts ...attribute.KeyValue) {
	if s == nil {
		return
	}
	s.span.SetAttributes(append(facts, tracing.KeyOutcome.String(outcome))...)
	if outcome == tracing.Failed || outcome == tracing.Lost {
		text := outcome
		if err != nil {
			text = err.Error()
		}
		s.span.SetStatus(codes.Error, text)
	}
	s.span.End()
}

// Link notes that the span has to do with another client's, whose owner is given for people.
func (s *Span) Link(to trace.SpanContext, owner string) {
	if s != nil && to.IsValid() {
		s.span.AddLink(trace.Link{SpanContext: to, Attributes: []attribute.KeyValue{tracing.KeyHolder.String(owner)}})
	}
}

// Context is what tells the span to others; not valid if there is none.
func (s *Span) Context() trace.SpanContext {
	if s == nil {
		return trace.SpanContext{}
	}
	return s.span.SpanContext()
}

// Under returns ctx with the span as the parent of those that follow.
func Under(ctx context.Context, parent trace.SpanContext) context.Context {
	if !parent.IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, parent)
}

// Expire starts the span of the removal of another's dead holder.
func (s Subject) Expire(ctx context.Context) *Span { return s.start(ctx, tracing.SpanExpire) }

// Run starts the span of a function that is to run once.
func (s Subject) Run(ctx context.Context) *Span { return s.start(ctx, tracing.SpanRun) }

// Inside returns ctx as the code under the span should have it.
func (s *Span) Inside(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// since is the time that has passed, in seconds.
func since(start time.Time) float64 { return time.Since(start).Seconds() }
