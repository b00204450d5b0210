package queue

import (
	"context"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

// tail is the ticket to build on, and what finding it told about those ahead.
type tail struct {
	base *record
	head int64           // the lowest number that may still be there
	gens map[int64]int64 // of the chain, as far as known
}

// remembered returns the tail from memory, if there is one worth believing: our own last ticket, released a moment ago
// with nobody behind it. A wrong guess costs a refused create and harms nothing: the create's precondition and the
// verification decide.
func (l *line) remembered() *tail {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.memory
	if m.ticket == nil || m.queued || l.now().Since(m.at) > freshness {
		return nil
	}
	t := m.ticket
	return &tail{base: &t.record, head: t.n, gens: map[int64]int64{t.n: t.Gen}}
}

// ours reports whether a ticket is our last one, and if so whether what we held with it is proven gone.
func (l *line) ours(t ref) (own, free bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.memory
	own = m.ticket != nil && m.ticket.id() == t
	return own, own && m.gone
}

// forget ends the memory of our last ticket: somebody has come since.
func (l *line) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory = memory{}
}

// shallow reports whether we had the name a moment ago, and when we queued for it there were but one or two.
func (l *line) shallow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.memory
	return m.ticket != nil && m.queued && m.ticket.depth <= 2 && l.now().Since(m.at) <= freshness
}

// probeWidth is how many names around the predicted tail are read at once.
const probeWidth = 6

// probed looks for the tail around where it should be by now: a closed loop of waiters moves it by the length of the
// queue between our turns. The reads that miss are free, where a listing costs as much as a create.
//
// The candidate counts only if our own last ticket, read after it, is still there: nothing at or above that pin can have
// been deleted then, so what was read there was no revived name. Links between the candidates prove nothing; ghosts
// link to ghosts.
func (l *line) probed(ctx context.Context) *tail {
	l.mu.Lock()
	m, cycle := l.memory, l.cycle
	l.mu.Unlock()
	// With very short holds the pin is gone before it can be read.
	if m.ticket == nil || !m.queued || l.now().Since(m.at) > freshness || cycle > 0 && cycle < firstCycle {
		return nil
	}
	pin := m.ticket.id()
	low := max(pin.n+m.ticket.depth-2, pin.n+1)

	type answer struct {
		rec *record
		out object.Outcome
	}
	answers := make([]answer, probeWidth)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			o, err := l.get(ctx, low+int64(i))
			a := answer{out: object.OutcomeOf(err)}
			if err == nil {
				if a.rec, err = l.parse(o); err != nil {
					a.out = object.Indeterminate
				}
			}
			answers[i] = a
		})
	}
	all.Wait()
	for i := probeWidth - 2; i >= 0; i-- {
		if answers[i].out != object.Applied {
			continue
		}
		if answers[i+1].out != object.Missing {
			break
		}
		o, err := l.get(ctx, pin.n)
		if err != nil || o.Gen != pin.gen {
			break
		}
		t := &tail{base: answers[i].rec, head: pin.n, gens: map[int64]int64{pin.n: pin.gen}}
		t.gens[t.base.n] = t.base.Gen
		for ; i > 0 && answers[i-1].out == object.Applied && answers[i-1].rec.Gen == answers[i].rec.prev; i-- {
			t.gens[answers[i-1].rec.n] = answers[i-1].rec.Gen
		}
		l.event(BaseProbed, none)
		return t
	}
	l.event(ProbeMissed, none)
	return nil
}

// listed finds the tail by a listing: the highest number is always legitimate. An empty queue is bootstrapped first.
func (l *line) listed(ctx context.Context, backoff object.Backoff) (*tail, []*record, error) {
	for {
		recs, err := l.list(ctx)
		if err == nil && len(recs) == 0 {
			err = l.bootstrap(ctx, backoff)
			if err == nil {
				continue
			}
		}
		if err != nil {
			if !retryable(err) || !object.Pause(ctx, backoff) {
				return nil, nil, err
			}
			continue
		}
		top := recs[len(recs)-1]
		t := &tail{base: top, gens: make(map[int64]int64)}
		t.head = chain(recs, top, t.gens)
		l.event(BaseListed, none)
		return t, recs, nil
	}
}

// chain walks from top down its links as far as they go, notes the generations, and returns the lowest number. That
// nothing is listed below it proves nothing: a listing is not one instant, and says less than a read.
func chain(recs []*record, top *record, gens map[int64]int64) int64 {
	at := make(map[int64]*record, len(recs))
	for _, r := range recs {
		at[r.n] = r
	}
	r := top
	for {
		gens[r.n] = r.Gen
		below := at[r.n-1]
		if below == nil || below.Gen != r.prev {
			return r.n
		}
		r = below
	}
}

// list returns the tickets in order. Objects that are not tickets are left out and left alone, unless they stand where
// the tail should.
func (l *line) list(ctx context.Context) ([]*record, error) {
	objects, pages, err := l.store.List(ctx, l.path.tickets())
	if err != nil {
		return nil, err
	}
	recs := make([]*record, 0, len(objects))
	var topmost error // of the highest number, if it is no ticket
	clean := true
	for _, o := range objects {
		r, err := l.parse(o)
		if err == nil {
			recs = append(recs, r)
			topmost = nil
		} else if _, numbered := l.path.number(o.Name); numbered {
			clean, topmost = false, err
		}
	}
	if topmost != nil {
		return nil, topmost
	}
	if clean && pages == 1 { // else a ticket may seem to be missing from the chain
		l.sweep(recs)
	}
	return recs, nil
}

// bootstrap creates ticket 0 in a queue that a listing showed empty, and takes it back if the queue had come to life
// meanwhile.
func (l *line) bootstrap(ctx context.Context, backoff object.Backoff) error {
	zero, err := l.store.CreateResolved(ctx, l.path.ticket(0), l.draft(nil), backoff)
	switch object.OutcomeOf(err) {
	case object.Applied:
		l.event(Bootstrapped, none)
	case object.Refused, object.Busy:
		object.Pause(ctx, backoff) // somebody else does it
		return nil
	default:
		return err
	}
	for {
		recs, err := l.list(ctx)
		if err != nil {
			if !retryable(err) || !object.Pause(ctx, backoff) {
				return err
			}
			continue
		}
		// A row that is empty where we have just made a ticket is none of the service's.
		if len(recs) == 0 {
			if gone, err := l.isGone(ctx, 0, zero.Gen); gone || err != nil && !retryable(err) || !object.Pause(ctx, backoff) {
				return err
			}
			continue
		}
		// Ours is an intruder if it is there and something higher is, that was not built on it.
		if len(recs) < 2 || recs[0].id() != (ref{0, zero.Gen}) {
			return nil
		}
		real, err := l.linked(ctx, ref{0, zero.Gen})
		switch {
		case real:
			return nil
		case err == nil:
			l.event(BootstrapUndone, none)
			return l.removeAll(ctx, zero.Name, object.Version{Gen: zero.Gen})
		case !retryable(err) || !object.Pause(ctx, backoff):
			return err
		}
	}
}

// sweepAge is how old an object must be, by the service's clock, before it is taken for a leftover.
const sweepAge = time.Hour

// sweep deletes, in the background, tickets below the chain that nobody links to and that have been there for long:
// what a ghost whose creator died left behind.
func (l *line) sweep(recs []*record) {
	if len(recs) == 0 {
		return
	}
	top := recs[len(recs)-1]
	low := chain(recs, top, make(map[int64]int64))
	newest := top.Created
	for _, r := range recs {
		if r.Updated.After(newest) {
			newest = r.Updated
		}
	}
	var old []*record
	for _, r := range recs {
		if r.n < low && newest.Sub(r.Updated) > sweepAge {
			old = append(old, r)
		}
	}
	if len(old) == 0 {
		return
	}
	l.cfg.Tasks.Go(func(ctx context.Context) {
		for _, r := range old {
			if gone, _ := l.remove(ctx, r.Name, r.Version); gone {
				l.event(Swept, r.n)
			}
		}
	})
}
