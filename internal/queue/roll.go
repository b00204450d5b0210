package queue

import (
	"context"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
)

// Nobody can tell a waiter that is dead from one that waits, until it is the head; so each of the dead would cost a claim of its
// own, one after the other. The roll call has their claims run at the same time. Who waits behind a silent head writes a call
// for each ticket between the head and its own. A waiter looks for its call each second, which costs nothing while there is
// none, and answers it by deleting it. One that does not answer for half of its claim has lost its ticket:
//
//   - The waiter believes in its ticket for a little less than half of its claim, from the send of the last look that found no
//     call ([ticket.present]). Later than that it answers no more, and queues anew. That its answer has arrived it believes only
//     for a look that found no call in the same time.
//   - The caller reads the call once it has known it for half of the claim. If it is there still, no look has found none since
//     it was made, and none that is to come will count. If the ticket was not the head's even then, its owner has never held
//     by it, and never will: its baton can go as soon as those before it are gone.
//
// So it takes one claim, that of the head, to be rid of any number of them.

// present reports whether the owner of a ticket may still believe that it was not struck from the roll.
func (t *ticket) present(now clock.Instant) bool { return now.Longest(t.looked) < t.baton.claim*9/20 }

// maxLookGap is the longest pause between two looks for a call.
const maxLookGap = time.Second

// presence is that of one ticket while it waits.
type presence struct {
	l      *line
	t      *ticket
	ctx    context.Context // of the waiting: ends when the ticket is lost
	cancel context.CancelCauseFunc
	ended  chan struct{}

	answering bool // an answer was sent, and no look has found it done
}

// attend begins to answer calls for the ticket, in the background, until end.
func (p *presence) attend(ctx context.Context) {
	p.ended = make(chan struct{})
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	// A reader has no ticket that anybody could wait for.
	if p.t.Gen == 0 || !p.l.cfg.Tasks.Go(func(context.Context) {
		defer close(p.ended)
		for object.Sleep(p.ctx, min(maxLookGap, p.t.baton.claim/10)) {
			if p.look(p.ctx) == errExpired {
				p.cancel(errExpired)
			}
		}
	}) {
		close(p.ended)
	}
}

// end ends it, and returns what an error of the waiting comes from.
func (p *presence) end(err error) error {
	if context.Cause(p.ctx) == errExpired {
		err = errExpired
	}
	p.cancel(nil)
	<-p.ended
	return err
}

// confirm makes sure, at the head, that the ticket was not struck from the roll meanwhile.
func (p *presence) confirm(ctx context.Context) error {
	for backoff := p.l.cfg.Backoff(); p.answering || !p.t.present(p.l.now()); {
		if err := p.look(ctx); err != nil {
			return err
		}
		if p.answering || !p.t.present(p.l.now()) {
			if !object.Pause(ctx, backoff) {
				return object.Ended(ctx)
			}
		}
	}
	return nil
}

// look looks for a call, and answers it until it is gone. It returns errExpired if it is too late for that.
func (p *presence) look(ctx context.Context) error {
	l, t := p.l, p.t
	for {
		sent := l.now()
		o, err := l.store.Get(ctx, l.path.call(t.Gen))
		late := !t.present(l.now())
		switch object.OutcomeOf(err) {
		case object.Missing:
			if late && p.answering {
				break
			}
			t.looked, p.answering = sent, false
			return nil
		case object.Applied:
			if late {
				break
			}
			p.answering = true
			l.event(CallAnswered, t.n)
			_, _ = l.remove(ctx, o.Name, object.Version{Gen: o.Gen}) // what became of it, the next look tells
			if !object.Sleep(ctx, minGap) {
				return nil
			}
			continue
		case object.Denied:
			return err
		default:
			return nil
		}
		l.event(CallMissed, t.n)
		l.cfg.Tasks.Go(func(context.Context) { l.abandon(t) }) // should nobody strike it
		return errExpired
	}
}

// call is what we know of a ticket that we wait behind.
type call struct {
	n          int64         // the ticket
	gen        int64         // of the object
	since      clock.Instant // that we know it
	created    time.Time
	half       time.Duration // of the ticket's claim
	unanswered bool          // for so long that nobody will ever hold by the ticket
}

// callRoll writes calls for all tickets between the head and ours. It is time for that when the head has been silent for longer
// than a holder that lives: it renews after a third of its lease.
func (w *wait) callRoll(ctx context.Context, s *sighting) error {
	l, t := w.l, w.t
	w.called = s.rec.id() // once, whatever comes of it: a listing that fails must not be asked for at each read
	recs, err := l.list(ctx)
	if err != nil {
		return err
	}
	own := t.id()
	if own.gen == 0 {
		own = t.baton.id()
	}
	var row []*record
	for i, r := range recs {
		if r.id() == own {
			if low := chain(recs, r, t.gens); low <= s.rec.n {
				row = recs[:i+1]
			}
		}
	}
	calls := make([]*call, len(row))
	var all errgroup.Group
	all.SetLimit(rollWidth)
	for i, r := range row {
		if i == 0 || r.n <= s.rec.n+1 || r.n >= t.n || t.gens[r.n] != r.Gen || t.gens[r.n-1] != row[i-1].Gen || w.roll[r.Gen] != nil {
			continue
		}
		if row[i-1].abandoned { // who has said so need not be asked
			calls[i] = &call{n: r.n, unanswered: true}
			continue
		}
		all.Go(func() error {
			calls[i] = l.call(ctx, r, row[i-1].claim)
			return nil
		})
	}
	_ = all.Wait()
	for i, c := range calls {
		if c != nil {
			if w.roll == nil {
				w.roll = make(map[int64]*call)
			}
			w.roll[row[i].Gen] = c
		}
	}
	return nil
}

// untilRoll is how long it is until the roll is called behind the head as it was last seen.
func (w *wait) untilRoll(s *sighting, now clock.Instant) time.Duration {
	if w.called == s.rec.id() || w.t.n-2-s.rec.n < 1 {
		return never
	}
	return s.rec.lease()*2/5 - now.Since(s.since)
}

// untilCount is how long it is until the last of those who were called, and are not the head, has had its time: then the head must
// be read for the count.
func (w *wait) untilCount(now clock.Instant) time.Duration {
	rest := time.Duration(never)
	for _, c := range w.roll {
		if left := c.half - now.Since(c.since); !c.unanswered && c.n-1 > w.t.head && (rest == never || left > rest) {
			rest = left
		}
	}
	return rest
}

const never = time.Hour

// unanswered returns how many between the head and us are struck.
func (w *wait) unanswered() (n int64) {
	for _, c := range w.roll {
		if c.unanswered {
			n++
		}
	}
	return n
}

// rollWidth is how many calls are under way at once.
const rollWidth = 16

// call writes the call for a ticket, or finds that of another; nil if neither can be told.
func (l *line) call(ctx context.Context, r *record, claim time.Duration) *call {
	name := l.path.call(r.Gen)
	o, err := l.store.Create(ctx, name, object.Draft{Metadata: map[string]string{
		keyNonce: object.NewNonce(), keyOwner: l.cfg.Owner, keyTicket: strconv.FormatInt(r.n, 10),
	}})
	if object.OutcomeOf(err) == object.Refused {
		o, err = l.store.Get(ctx, name)
	}
	if err != nil {
		return nil
	}
	l.event(Called, r.n)
	return &call{n: r.n, gen: o.Gen, since: o.Received, created: o.Created, half: claim / 2}
}

// countRoll reads the calls that were there for long enough, by our own clock or by the service's, now that head was read to be
// there: none of the tickets from the second after it on was the head's.
func (w *wait) countRoll(ctx context.Context, head *record) {
	var all errgroup.Group
	all.SetLimit(rollWidth)
	var due []int64
	for gen, c := range w.roll {
		long := head.Sent.Since(c.since) >= c.half || w.t.Created.Sub(c.created) >= longSilence*c.half
		if !c.unanswered && head.n < c.n-1 && long {
			due = append(due, gen)
		}
	}
	answered := make([]bool, len(due))
	for i, gen := range due {
		c := w.roll[gen]
		all.Go(func() error {
			o, err := w.l.store.Get(ctx, w.l.path.call(gen))
			switch object.OutcomeOf(err) {
			case object.Applied:
				c.unanswered, answered[i] = o.Gen == c.gen, o.Gen != c.gen
			case object.Missing:
				answered[i] = true
			}
			return nil
		})
	}
	_ = all.Wait()
	for i, gen := range due {
		if answered[i] {
			delete(w.roll, gen)
		}
	}
}

// strike removes the batons of those who have not answered, as long as they are the head. It reports whether there were any.
func (w *wait) strike(ctx context.Context) bool {
	t, struck := w.t, 0
	defer func() { w.l.tellStruck(struck) }()
	for t.proven && t.head < t.n-1 {
		next := t.gens[t.head+1]
		c := w.roll[next]
		if c == nil || !c.unanswered || t.gens[t.head] == 0 {
			break
		}
		if !w.l.obliterate(ctx, w.l.path.ticket(t.head), t.gens[t.head]) {
			break
		}
		w.l.event(Struck, c.n)
		w.l.recall(next, c)
		delete(w.roll, next)
		w.advance(t.head+1, w.l.now())
		struck++
	}
	return struck > 0
}

// recall removes the call for a ticket whose baton is gone. Until then it outlives every lease that the owner of the ticket could
// have: so that one cannot look, find none, and believe.
func (l *line) recall(gen int64, c *call) {
	if c.gen != 0 {
		l.cfg.Tasks.AfterFunc(3*c.half, func(ctx context.Context) {
			_, _ = l.remove(ctx, l.path.call(gen), object.Version{Gen: c.gen})
		})
	}
}

// tellStruck tells an operator that waiters have died.
func (l *line) tellStruck(n int) {
	if n > 0 {
		l.cfg.Logger.Warn("gcsync: struck: waiters that do not answer", "queue", l.store.URL(string(l.path)), "waiters", n)
	}
}

// roll reads the calls for those behind the head, which is dead, for a caller who does not wait: by the generation of the ticket.
// Whether they were there for long enough is a matter of the service's clock.
func (l *line) roll(ctx context.Context, head *record, recs []*record) map[int64]*call {
	called := l.calls(ctx, head, recs)
	if len(called) == 0 {
		return nil
	}
	now, err := l.store.Stamp(ctx, string(l.path)+dirWitnesses+object.NewNonce(), l.cfg.Backoff())
	if err != nil {
		return called
	}
	still := l.calls(ctx, head, recs)
	if gone, err := l.isGone(ctx, head.n, head.Gen); gone || err != nil {
		return called
	}
	for gen, c := range still {
		c.unanswered = called[gen] != nil && called[gen].gen == c.gen && now.Sub(c.created) >= longSilence*c.half
	}
	return still
}

// calls reads the calls for those behind the head.
func (l *line) calls(ctx context.Context, head *record, recs []*record) map[int64]*call {
	found := make([]*call, len(recs))
	var all errgroup.Group
	all.SetLimit(rollWidth)
	for i, r := range recs {
		if i == 0 || r.n < head.n+2 || recs[i-1].Gen != r.prev {
			continue
		}
		all.Go(func() error {
			if o, err := l.store.Get(ctx, l.path.call(r.Gen)); err == nil {
				found[i] = &call{n: r.n, gen: o.Gen, created: o.Created, half: recs[i-1].claim / 2}
			}
			return nil
		})
	}
	_ = all.Wait()
	roll := make(map[int64]*call)
	for i, c := range found {
		if c != nil {
			roll[recs[i].Gen] = c
		}
	}
	return roll
}

// strikeAll removes the batons of those who have not answered, from the ticket on that is the head's now, and calls all others who
// are not the head.
func (l *line) strikeAll(ctx context.Context, owner *record, recs []*record, roll map[int64]*call) {
	low, struck := owner.n, 0
	defer func() { l.tellStruck(struck) }()
	var all errgroup.Group
	all.SetLimit(rollWidth)
	defer all.Wait()
	for i, r := range recs {
		if i == 0 || r.n <= owner.n || recs[i-1].Gen != r.prev {
			continue
		}
		c, baton := roll[r.Gen], recs[i-1]
		switch {
		case low == baton.n && c != nil && c.unanswered && l.obliterate(ctx, baton.Name, baton.Gen):
			l.event(Struck, r.n)
			low = r.n
			struck++
			l.recall(r.Gen, c)
		case low < baton.n && c == nil:
			all.Go(func() error {
				l.call(ctx, r, baton.claim)
				return nil
			})
		}
	}
}

// overdue reports whether nobody can count on a call any more, because the ticket that it is for is gone; true for what is none.
func (l *line) overdue(ctx context.Context, o object.Object) bool {
	s, called := strings.CutPrefix(o.Name, l.path.witnesses()+callPrefix)
	if !called {
		return true
	}
	gen, _ := strconv.ParseInt(s, 10, 64)
	n, _ := strconv.ParseInt(o.Metadata[keyTicket], 10, 64)
	gone, _ := l.isGone(ctx, n, gen)
	return gone
}

// obliterate deletes an object in which nobody believes, and reports whether a read has proven it gone. There may be many, one
// after the other: so it asks twice, and looks while that is under way, to wait for the fastest of the answers.
func (l *line) obliterate(ctx context.Context, name string, gen int64) (gone bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const deletes, looks = 2, 6
	answers := make(chan bool, deletes+looks)
	for i := range deletes + looks {
		if !l.cfg.Tasks.Go(func(context.Context) {
			gone := false
			if i < deletes {
				_, _ = l.remove(ctx, name, object.Version{Gen: gen})
			} else {
				object.Sleep(ctx, time.Duration(i-1)*minGap/3)
				gone, _ = l.absent(ctx, name, gen)
			}
			answers <- gone
		}) {
			answers <- false
		}
	}
	for range deletes + looks {
		if <-answers {
			return true
		}
	}
	gone, _ = l.absent(ctx, name, gen)
	return gone
}
