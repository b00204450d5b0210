package telemetry

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/gcsync/gcsync/tracing"
)

// Possession is what is kept alive for some holds: an object in the bucket, which is renewed, and may be lost.
type Possession struct {
	about  Subject
	origin trace.SpanContext // of the call that it was made for

	mu       sync.Mutex
	last     trace.SpanContext // of the last hold
	holds    []*Hold           // that have not ended
	trouble  *Span             // of a renewal that did not succeed at once
	failures int
}

// Possess begins a possession.
func (s Subject) Possess(origin trace.SpanContext) *Possession {
	return &Possession{about: s, origin: origin}
}

// Begin notes a hold, which may be nil.
func (p *Possession) Begin(h *Hold) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = h.Context()
	if h != nil {
		p.holds = append(p.holds, h)
	}
}

// End notes that a hold was given back.
func (p *Possession) End(h *Hold) {
	if h == nil {
		return
	}
	p.mu.Lock()
	p.holds = slices.DeleteFunc(p.holds, func(other *Hold) bool { return other == h })
	p.mu.Unlock()
	h.End(tracing.Released, nil)
}

// Over notes that all holds have ended, and reports whether there were any.
func (p *Possession) Over(outcome string, err error) bool {
	p.mu.Lock()
	holds := p.holds
	p.holds = nil
	p.mu.Unlock()
	for _, h := range holds {
		h.End(outcome, err)
	}
	return len(holds) > 0
}

// Context tells the span that what is done for the possession belongs to: that of its last hold, or else of the call that
// it was made for.
func (p *Possession) Context() trace.SpanContext {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.IsValid() {
		return p.last
	}
	return p.origin
}

// Sign adds that span to the metadata of a renewal, which must not leave there the span of whoever made the object.
func (p *Possession) Sign(metadata, made map[string]string) map[string]string {
	Inject(p.Context(), metadata)
	if metadata[tracing.Traceparent] == "" && made[tracing.Traceparent] != "" {
		metadata[tracing.Traceparent] = ""
	}
	return metadata
}

// Renewed notes a renewal.
func (p *Possession) Renewed() {
	p.about.t.Renewed(p.about.primitive)
	p.settle(tracing.Renewed, nil)
}

// Failed notes an attempt at a renewal that did not succeed.
func (p *Possession) Failed() {
	p.about.t.RenewalFailed(p.about.primitive)
	ctx := Under(background, p.Context())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures++; p.failures == 1 {
		p.trouble = p.about.start(ctx, tracing.SpanRenew)
	}
}

// Lost notes the loss. It counts if anybody held.
func (p *Possession) Lost(reason string, err error) {
	p.settle(tracing.Lost, err)
	if p.Over(tracing.Lost, err) {
		p.about.t.Lost(p.about.primitive, reason)
	}
}

func (p *Possession) settle(outcome string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble.End(outcome, err, tracing.KeyAttempts.Int(p.failures))
	p.trouble, p.failures = nil, 0
}

// TookOver tells of a dead holder that was removed for the possession.
func (p *Possession) TookOver(reason, owner string, dead trace.SpanContext, silent time.Duration) {
	p.about.t.TookOver(p.about.primitive, reason)
	span := p.about.Expire(Under(background, p.origin))
	span.Link(dead, owner)
	span.End(tracing.Expired, nil, tracing.KeyReason.String(reason), tracing.KeyHolder.String(owner),
		tracing.KeySilence.Float64(silent.Seconds()))
}

// Release tells of the request that lets the next one in, which do makes. The ticket is 0 where there is none.
func (p *Possession) Release(ctx context.Context, ticket int64, do func() error) error {
	span := p.about.start(Under(ctx, p.Context()), tracing.SpanRelease)
	err := do()
	if span == nil {
		return err
	}
	outcome := tracing.Released
	if err != nil {
		outcome = tracing.Unconfirmed
	}
	if ticket == 0 {
		span.End(outcome, err)
	} else {
		span.End(outcome, err, tracing.KeyTicket.Int64(ticket))
	}
	return err
}
