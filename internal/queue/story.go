package queue

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// What there is to tell to those who watch. Nothing here decides anything.

// watch tells of a call from its beginning to its end.
func watch[T any](ctx context.Context, q *Queue, kind, name string, take func(*telemetry.Call) (*T, error)) (*T, error) {
	call := q.cfg.Telemetry.Call(ctx, kind, name)
	got, err := take(call)
	if wait := new(WaitError); err != nil && !errors.As(err, &wait) {
		err = q.cfg.Store.Because(ctx, err)
	}
	if call != nil {
		call.End(q.outcome(ctx, got != nil, err), err)
	}
	return got, err
}

// outcome names what became of a call.
func (q *Queue) outcome(ctx context.Context, got bool, err error) string {
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	switch {
	case got:
		return tracing.Acquired
	case err == nil:
		return tracing.Refused
	case closed != nil && errors.Is(err, closed):
		return tracing.Closed
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return tracing.Cancelled
	}
	return tracing.Failed
}

// story is how one ticket after another of ours comes to the head, for the call that they are drawn for.
type story struct {
	origin   trace.SpanContext // of that call
	before   object.Usage      // when it began
	drawn    int               // tickets
	ticket   int64             // the last of them
	ahead    int64             // tickets that were there before it, but for the idle tail
	distance int64             // those of them that were there when it last looked
	blocker  *entry            // one of those who read, when we are at the head
	holder   *record           // the ticket of whoever is before us, if anybody is
	renewed  *record           // that one's baton, once it has renewed
	dead     bool              // that one was removed by us
	full     bool              // at the head there were readers
	left     *entry            // who of them left last
}

// begins starts a new story.
func (l *line) begins(call *telemetry.Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.story = story{origin: call.Context(), before: l.store.Usage()}
}

// origin is the span of the call that we act for.
func (l *line) origin() trace.SpanContext {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.story.origin
}

// drew notes a ticket that has its place in the queue.
func (l *line) drew(t *ticket) {
	l.mu.Lock()
	s := &l.story
	s.drawn++
	s.ticket, s.ahead, s.holder, s.renewed, s.dead, s.blocker = t.n, t.n-1-t.head, nil, nil, false, nil
	s.distance = s.ahead
	if s.ahead > 0 {
		s.holder = t.baton
	}
	l.mu.Unlock()
	if t.n-1-t.head > 0 {
		if l.behind != nil {
			l.behind()
		}
		l.event(Queued, t.n, "behind", t.n-1-t.head, "owner before", t.baton.Metadata[keyOwner], "host before", t.baton.Metadata[keyHost])
	}
}

// advanced notes how many are still before our ticket.
func (l *line) advanced(distance int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.story.distance = max(0, distance)
}

// blocked notes one of those who read while we are at the head.
func (l *line) blocked(by *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.story.blocker = by
}

// crowded notes that there were readers at the head, and which of them has left.
func (l *line) crowded(left *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.story.full = true
	if left != nil {
		l.story.left = left
	}
}

// facts tells the story so far.
func (l *line) facts() telemetry.Facts {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.story
	spent := l.store.Usage().Sub(s.before)
	f := telemetry.Facts{
		Contended: s.ahead > 0 || s.full,
		Position:  s.ahead,
		Attempts:  s.drawn,
		Ticket:    s.ticket,
		A:         spent.ClassA,
		B:         spent.ClassB,
		Free:      spent.Free,
	}
	switch {
	case s.left != nil:
		f.Holder, f.Link = writer(s.left.Metadata)
	case s.holder != nil:
		f.Holder, f.Link = writer(s.holder.Metadata)
		if s.renewed != nil {
			_, f.Link = writer(s.renewed.Metadata)
		}
	}
	return f
}

// inherits counts the first turn of a tenure that another process has handed on.
func (l *line) inherits() {
	l.mu.Lock()
	handed := l.story.ahead > 0 && !l.story.dead
	l.mu.Unlock()
	if handed {
		l.cfg.Telemetry.HandedOff(l.kind, tracing.Remote)
	}
}

// writer tells who wrote an object, and under which span.
func writer(metadata map[string]string) (owner string, span trace.SpanContext) {
	return metadata[keyOwner], telemetry.Extract(metadata)
}

// crowd is how many in this process have the name or want it. g.mu is held.
func (g *Gate) crowd() int {
	n := g.waiters.Len()
	if g.holder != nil {
		n++
	}
	return n
}

// explain tells a call how it came to its turn, or how far it got; ahead is how many were here before. g.mu is held.
func (g *Gate) explain(call *telemetry.Call, ahead int) {
	if call == nil {
		return
	}
	var f telemetry.Facts
	if g.pursuit.under || g.tenure != nil && g.tenure.passes <= 1 {
		f = g.l.facts()
	} else {
		f.Local = g.holder == nil
	}
	call.Facts = f.Behind(ahead)
}

// explain tells a call how it came to its share, or how far it got. r.mu is held.
func (r *Readers) explain(call *telemetry.Call, joined bool) {
	switch {
	case call == nil:
	case joined:
		call.Facts = telemetry.Facts{Local: true}
	default:
		call.Facts = r.l.facts() // who came to wait here meanwhile is ahead of nobody: all go in together
	}
}

// death is that of a holder.
type death struct {
	reason string // as package tracing calls it
	event  Event
	n      int64             // the ticket that it came with
	object *object.Object    // what keeps it alive, to be removed
	own    map[string]string // what it wrote of itself; nil: it is in its ticket
	lease  time.Duration
	silent time.Duration // as far as seen
}

// deaths are the reasons for the events that tell of one.
var deaths = map[Event]string{
	ClaimExpired:    tracing.ClaimExpired,
	TTLExpired:      tracing.TTLExpired,
	SilenceProven:   tracing.SilenceProven,
	AbandonedObeyed: tracing.Abandoned,
}

// expire removes what keeps a holder in that was found dead, or that has given up.
func (l *line) expire(ctx context.Context, d death) (gone bool, err error) {
	span := l.about.Expire(telemetry.Under(ctx, l.origin()))
	if gone, err = l.remove(ctx, d.object.Name, d.object.Version); gone {
		gone, err = l.absent(ctx, d.object.Name, d.object.Gen) // others' belief hangs on it
	}
	if !gone {
		outcome := tracing.Changed
		if err != nil {
			outcome = tracing.Failed
		}
		span.End(outcome, err)
		return false, err
	}
	l.mu.Lock()
	l.story.dead = l.story.dead || d.n == l.story.ticket-1
	l.mu.Unlock()
	if d.own == nil { // for people: it is rare, and they will want to know
		if o, err := l.get(ctx, d.n); err == nil {
			d.own = o.Metadata
		}
	}
	owner, link := writer(d.own)
	if d.object.Metadata[keyRenewal] != "" {
		_, link = writer(d.object.Metadata)
	}
	l.event(d.event, d.n, "previous owner", owner, "previous host", d.own[keyHost], "silent for", d.silent, "lease", d.lease)
	if d.reason != tracing.Abandoned {
		l.cfg.Telemetry.TookOver(l.kind, d.reason)
	}
	span.Link(link, owner)
	span.End(tracing.Expired, nil, tracing.KeyReason.String(d.reason), tracing.KeyHolder.String(owner),
		tracing.KeyTicket.Int64(d.n), tracing.KeySilence.Float64(d.silent.Seconds()))
	return true, nil
}

// teller tells of a possession: of its renewals, of its loss, and of the holds on it. It is a [lease.Watcher].
type teller struct {
	*telemetry.Possession
	l     *line
	n     int64 // the ticket that it came with
	began clock.Instant
	token atomic.Int64 // of the last hold
}

func (l *line) teller(n int64) *teller {
	return &teller{Possession: l.about.Possess(l.origin()), l: l, n: n, began: l.now()}
}

// begins notes a hold.
func (t *teller) begins(token int64, h *telemetry.Hold) {
	t.token.Store(token)
	t.Begin(h)
}

// Renewed implements [lease.Watcher].
func (t *teller) Renewed(attempts int) {
	t.l.event(Renewed, t.n)
	if attempts > 1 {
		t.l.event(RenewalRetried, t.n, "attempts", attempts)
	}
	t.Possession.Renewed()
}

// Failed implements [lease.Watcher].
func (t *teller) Failed(err error) {
	t.l.event(RenewalFailed, t.n, "error", err)
	t.Possession.Failed()
}

// Lost implements [lease.Watcher].
func (t *teller) Lost(err error) {
	t.l.event(Lost, t.n, "token", t.token.Load(), "held for", t.l.now().Since(t.began), "error", err)
	t.Possession.Lost(lease.LossReason(err), err)
}
