package queue

import (
	"context"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
)

const (
	minGap     = 20 * time.Millisecond  // between polls of the one we wait for, while it has not held for long
	maxGap     = 2 * time.Second        // between any two polls
	hedges     = 4                      // polls under way at once, at most
	tentative  = time.Second            // how long a ticket of unknown generation is taken at its word
	firstCycle = 100 * time.Millisecond // the estimate before anything is known
)

// await waits until t is the head of the queue: until every ticket before its baton is gone, in order. Its lease counts
// from t.from then.
//
// What counts as evidence: that a name is absent, or bears another generation than the one recorded, proves its ticket
// gone, and with it all before. That it is there proves something only with the recorded generation, because a late
// create may have landed on a freed name. A refusal, a throttled request and a lost answer prove nothing.
func (l *line) await(ctx context.Context, t *ticket) error {
	p := &presence{l: l, t: t}
	if !t.reachHead() {
		w := &wait{l: l, t: t, moved: l.now(), movedTo: t.head}
		defer w.forget()
		p.attend(ctx)
		if err := p.end(w.reach(p.ctx)); err != nil {
			return err
		}
		for gen, c := range w.roll {
			l.recall(gen, c)
		}
	}
	if t.Gen == 0 { // of a reader, who has no ticket
		return nil
	}
	return p.confirm(ctx)
}

func (w *wait) reach(ctx context.Context) (err error) {
	for !w.t.reachHead() && err == nil {
		if w.t.n-1-w.t.head <= 1 {
			err = w.next(ctx)
		} else {
			err = w.approach(ctx)
		}
	}
	return err
}

// reachHead reports whether the ticket before our baton is proven gone. If nothing but a gap in a listing says so, that
// ticket is the one to look at.
func (t *ticket) reachHead() bool {
	switch {
	case t.n == 1:
		return true
	case t.head < t.n-1:
		return false
	case t.proven:
		return true
	}
	t.head = t.n - 2
	return false
}

// waitedUntil notes that we were certainly not the head when a request was sent: no lease of ours can have begun before.
func (t *ticket) waitedUntil(sent clock.Instant) {
	if sent.After(t.from) {
		t.from = sent
	}
}

// wait is the state of one await.
type wait struct {
	l *line
	t *ticket

	step    int64         // how far ahead of the head to look; 0: at the head
	moved   clock.Instant // when the head was last seen to move
	movedTo int64
	polls   int
	failed  int             // reads in a row that told nothing
	seen    *sighting       // the head as last read
	sure    clock.Instant   // when a read proved it to be the head
	guess   clock.Instant   // since when the head is there with a generation that nobody vouches for
	roll    map[int64]*call // by the ticket's generation
	called  ref             // the head behind which we last called the roll
}

// sighting is one version of a baton and since when it has been seen unchanged.
type sighting struct {
	rec    *record
	next   int64         // generation of the ticket after it, whose holder it speaks for; 0: not known
	since  clock.Instant // the later of: first seen so, and proven to be the head's
	held   clock.Instant // since when it is seen at the head, renewed or not
	proven bool
	asked  bool // whether a witness was looked for
}

// approach takes one step while there are at least two batons ahead: look at the head, or beyond it.
func (w *wait) approach(ctx context.Context) error {
	t := w.t
	n := min(t.head+w.step, t.n-2)
	look, o, err := w.look(ctx, n)
	switch object.OutcomeOf(err) {
	case object.Busy, object.Indeterminate:
		w.failed++
	default:
		w.failed = 0
	}
	switch look {
	case absent:
		w.advance(n+1, w.l.now())
		if w.step == 0 {
			w.step = 1
		} else {
			w.step *= 2
		}
		return nil
	case present:
		if n > t.head {
			w.step = (n - t.head) / 2
			return nil
		}
		if w.known(n, o) {
			t.waitedUntil(o.Sent)
			if again, err := w.silence(ctx, o); again || err != nil {
				return err
			}
		} else if err := w.doubt(ctx); err != nil {
			return err
		}
	case unknown:
		if object.OutcomeOf(err) == object.Denied {
			return err
		}
	}
	if !object.Sleep(ctx, w.pause()) {
		return object.Ended(ctx)
	}
	return nil
}

// next waits for the last baton ahead. While its holder has not held for long, reads overlap, so that a short hold is
// handed off in little more than one round trip.
func (w *wait) next(ctx context.Context) error {
	t := w.t
	n := t.n - 2
	answers := make(chan answer, hedges)
	inFlight := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return object.Ended(ctx)
		case <-timer.C:
			if inFlight < hedges && w.l.cfg.Tasks.Go(func(ctx context.Context) {
				o, err := w.l.get(ctx, n)
				answers <- answer{o, err}
			}) {
				inFlight++
			}
			timer.Reset(w.gap())
		case a := <-answers:
			inFlight--
			switch object.OutcomeOf(a.err) {
			case object.Missing:
				w.advance(n+1, w.l.now())
				return nil
			case object.Denied:
				return a.err
			case object.Busy, object.Indeterminate:
				w.failed++
			case object.Applied:
				w.failed = 0
				if a.o.Gen != t.grand {
					w.advance(n+1, a.o.Received)
					return nil
				}
				t.waitedUntil(a.o.Sent)
				if again, err := w.silence(ctx, a.o); again || err != nil || t.head < n {
					return err
				}
			}
		}
	}
}

type answer struct {
	o   object.Object
	err error
}

// look is what one read of a ticket told.
type look uint8

const (
	unknown look = iota
	absent
	present
)

// look reads ticket n. At the head, three reads of four are conditional on it having been renewed: refused, they cost
// nothing. A refusal is no evidence, so they only ever save: every fourth read is a plain one, and so is each when the
// last evidence of our not being the head, from which our lease will count, is getting old.
func (w *wait) look(ctx context.Context, n int64) (look, object.Object, error) {
	w.polls++
	s, stale := w.seen, w.l.now().Since(w.t.from) > w.t.baton.claim/4
	if s != nil && s.rec.n == n && s.proven && w.polls%4 != 0 && !stale && !w.due(s) && w.untilCount(w.l.now()) > 0 && w.untilAsk(s, w.l.now()) > 0 {
		v := s.rec.Version
		v.Meta++
		o, err := w.l.store.GetIf(ctx, w.l.path.ticket(n), v)
		switch object.OutcomeOf(err) {
		case object.Applied:
			return present, o, nil
		case object.Missing:
			return absent, o, nil
		}
		return unknown, o, err
	}
	o, err := w.l.get(ctx, n)
	switch object.OutcomeOf(err) {
	case object.Missing:
		return absent, o, nil
	case object.Applied:
		if gen, ok := w.t.gens[n]; ok && gen != o.Gen {
			return absent, o, nil
		}
		return present, o, nil
	}
	return unknown, o, err
}

// known reports whether o is the legitimate ticket n.
func (w *wait) known(n int64, o object.Object) bool { return w.t.gens[n] == o.Gen }

// doubt deals with a head whose generation nobody vouches for: it may be a ghost that will be there for ever, and what it
// is there for does not tell that we are not the head. After a while, or when our lease would count from too long ago, a
// listing tells the chain.
func (w *wait) doubt(ctx context.Context) error {
	now := w.l.now()
	if w.guess.IsZero() {
		w.guess = now
	}
	if now.Since(w.guess) < tentative && now.Since(w.t.from) < w.t.baton.claim/4 {
		return nil
	}
	recs, err := w.l.list(ctx)
	if err != nil {
		if retryable(err) {
			return nil
		}
		return err
	}
	own := w.t.id()
	if own.gen == 0 {
		own = w.t.baton.id() // a reader is not in the row, but stands behind what is
	}
	for _, r := range recs {
		if r.id() == own {
			low := chain(recs, r, w.t.gens)
			if low > w.t.head {
				w.t.head, w.t.proven = min(low, w.t.n-2), false
			}
			w.step, w.guess = 0, clock.Instant{}
			w.l.event(ChainLearned, none)
			return nil
		}
	}
	gone, err := w.l.isGone(ctx, own.n, own.gen)
	switch {
	case gone:
		return errExpired // we were removed from the queue: paused for long, and expired
	case err != nil && !retryable(err):
		return err
	}
	return nil
}

// advance moves the head to n because all before it is gone, as of the given moment, and learns the pace from it.
func (w *wait) advance(n int64, now clock.Instant) {
	t := w.t
	t.head, t.proven = n, true
	w.seen, w.guess = nil, clock.Instant{}
	w.l.advanced(t.n - 1 - n)
	if places, d := n-w.movedTo, now.Since(w.moved); places > 0 && d > 0 {
		w.l.learn(d / time.Duration(places))
		w.moved, w.movedTo = now, n
	}
}

// learn feeds the estimate of how long one holder takes. It falls fast and rises slowly: with many short holds, an
// estimate that is too long oversleeps turn after turn.
func (l *line) learn(sample time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cycle == 0 {
		l.cycle = firstCycle
	}
	gain := 0.2
	if sample < l.cycle {
		gain = 0.6
	}
	l.cycle += time.Duration(gain * float64(sample-l.cycle))
}

// pause is how long to sleep between two looks at the head: in proportion to the distance, so that a long queue does
// not poll in step with its head.
func (w *wait) pause() time.Duration {
	w.l.mu.Lock()
	cycle := w.l.cycle
	w.l.mu.Unlock()
	if cycle == 0 {
		cycle = firstCycle
	}
	places := float64(w.t.n - 1 - w.t.head - w.unanswered())
	d := time.Duration(float64(cycle)*(0.25+0.4*(places-2))) - 10*time.Millisecond
	return w.bound(d)
}

// gap is how long to wait before the next look at the one ahead: a tenth of the time that it has held, and longer while
// reads fail.
func (w *wait) gap() time.Duration {
	var d time.Duration
	if w.seen != nil {
		d = w.l.now().Since(w.seen.held) / 10
	}
	return w.bound(max(d, minGap<<min(w.failed, 7)))
}

func (w *wait) bound(d time.Duration) time.Duration {
	longest := min(maxGap, w.t.baton.claim/4)
	if s := w.seen; s != nil && s.proven {
		now := w.l.now()
		if rest := w.patience(s) - now.Since(s.since); rest > 0 {
			longest = min(longest, rest+time.Millisecond)
		}
		if w.failed == 0 {
			longest = min(longest, w.untilRoll(s, now)+time.Millisecond, w.untilCount(now)+time.Millisecond, max(w.untilAsk(s, now), 100*time.Millisecond))
		}
	}
	return max(minGap, min(d, longest))
}
