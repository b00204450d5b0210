package queue

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// tenure is the time during which a ticket of ours is the head: from the grant to the release of its baton. Goroutines
// of this process take turns within it.
type tenure struct {
	possession // the baton
	ticket     *ticket
	began      clock.Instant
	passes     int64 // local grants so far

	mu        sync.Mutex
	watching  bool
	successor bool            // a ticket of another process is built on ours
	ctx       context.Context // ends with the tenure
	over      context.CancelFunc
	found     func() // called once a successor is seen
}

// take queues until a ticket of ours is the head, its lease still has time and, of a writer, nobody reads. A nil ticket queues
// anew. Once wanted has ended, a ticket keeps its place until it is the head, and then waits for no reader: that would keep out
// those behind it.
func (l *line) take(ctx, wanted context.Context, t *ticket) (*tenure, error) {
	for {
		if t == nil {
			var err error
			if t, err = l.enqueue(ctx, false); err != nil {
				l.abandonTried()
				return nil, err
			}
		}
		l.drew(t)
		err := l.await(ctx, t)
		if err == errExpired {
			l.event(Requeued, t.n)
			t = nil
			continue
		}
		if err != nil {
			if !l.abandon(t) {
				l.leave(t)
			}
			return nil, err
		}
		if tn := l.hold(t); tn != nil {
			if err := tn.drain(wanted, true); err == errAgain {
				l.event(Requeued, t.n)
				t = nil
				continue
			} else if err != nil {
				return nil, err
			}
			l.event(Granted, t.n)
			return tn, nil
		}
		// We were the head without knowing it for so long that others may have given us up: too late to believe.
		l.event(Requeued, t.n)
		if err := l.removeAll(ctx, t.baton.Name, object.Version{Gen: t.baton.Gen}); err != nil {
			return nil, err
		}
		t = nil
	}
}

// try takes the name if nobody is in the queue. Otherwise it returns nil, and with it the ticket, if there is one, that
// still has to be seen through.
func (l *line) try(ctx context.Context) (tn *tenure, behind *ticket, err error) {
	for {
		t, err := l.enqueue(ctx, true)
		if err != nil {
			l.abandonTried()
		}
		if t == nil || err != nil {
			return nil, nil, err
		}
		l.drew(t)
		backoff := l.cfg.Backoff()
		for !t.reachHead() {
			gone, err := l.isGone(ctx, t.n-2, t.grand)
			// If it is our own, it is being released: but that may fail, and then it has to be waited out like any other.
			own, _ := l.ours(t.baton.id())
			own = own && l.now().Since(t.first) < tentative
			switch {
			case gone:
				t.head, t.proven = t.n-1, true
			case err == nil && !own:
				return nil, t, nil
			case object.OutcomeOf(err) == object.Denied || !object.Pause(ctx, backoff):
				return nil, t, cmp.Or(err, object.Ended(ctx))
			}
		}
		if err := (&presence{l: l, t: t}).confirm(ctx); err == errExpired {
			l.event(Requeued, t.n)
			continue
		} else if err != nil {
			return nil, t, err
		}
		if tn := l.hold(t); tn != nil {
			switch err := tn.drain(ctx, false); err {
			case nil:
			case errBusy:
				return nil, nil, nil
			case errAgain:
				continue
			default:
				return nil, nil, err
			}
			l.event(Granted, t.n)
			return tn, nil, nil
		}
		l.event(Requeued, t.n)
		if err := l.removeAll(ctx, t.baton.Name, object.Version{Gen: t.baton.Gen}); err != nil {
			return nil, nil, err
		}
	}
}

// hold begins the lease of a ticket that is the head; nil if it is over already.
func (l *line) hold(t *ticket) *tenure {
	began := l.now()
	if began.Longest(t.from) >= t.baton.claim-lease.Margin(t.baton.claim) || !t.present(began) {
		return nil
	}
	t.gens = nil // nobody is ahead any more
	tn := &tenure{ticket: t, began: began, possession: l.possess(t.n, lease.Record{
		Name:    t.baton.Name,
		Version: t.baton.Version,
		Nonce:   t.baton.renewal,
		From:    t.from,
		Length:  t.baton.claim,
	}, t.baton.Metadata)}
	tn.freed = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.memory.ticket == t {
			l.memory.gone = true
		}
	}
	tn.ctx, tn.over = context.WithCancel(l.cfg.Tasks.Context())
	return tn
}

// grant begins the next local turn; nil if the lease is over.
func (tn *tenure) grant() *lease.Lease {
	granted := tn.keeper.Grant(tn.ticket.token(tn.passes))
	tn.passes++
	return granted
}

// watch looks out, in the background, for a ticket of another process behind ours. To be told that the next number is
// absent costs nothing.
func (tn *tenure) watch() {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if tn.watching || tn.successor {
		return
	}
	tn.watching = tn.l.cfg.Tasks.Go(func(ctx context.Context) {
		for tn.ctx.Err() == nil {
			if behind, _ := tn.l.linked(ctx, tn.ticket.id()); behind {
				tn.mu.Lock()
				tn.successor = true
				tn.mu.Unlock()
				tn.found()
				return
			}
			object.Sleep(tn.ctx, min(maxWatchGap, max(watchGap, tn.l.now().Since(tn.began)/10)))
		}
	})
}

// The pauses between two looks for a successor: at first, and at most, which is how late one may be noticed.
const (
	watchGap    = 50 * time.Millisecond
	maxWatchGap = 200 * time.Millisecond
)

// leave remembers a ticket that an error parted us from: whoever queues here next finds it in the listing.
func (l *line) leave(t *ticket) {
	l.setTried(&attempt{n: t.n, nonce: t.nonce, base: t.baton, sent: t.first})
}

// awaited reports whether another process is known to wait behind us.
func (tn *tenure) awaited() bool {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	return tn.successor
}

// The most that goroutines of one process may keep a name among themselves while another process waits.
const (
	passLimit = 16
	passTime  = time.Second
)

// mayPass reports whether the next goroutine of this process may take its turn before another process gets the name.
func (tn *tenure) mayPass() bool {
	if tn.passes > maxPasses {
		return false
	}
	return !tn.awaited() || tn.passes <= passLimit && tn.l.now().Since(tn.began) < passTime
}

// stop ends belief and remembers the ticket as the base of the next. After it the baton may be deleted. It returns the error that the lease had ended with, if it was over before.
func (tn *tenure) stop(cause error) error {
	err := tn.keeper.Stop(cause)
	tn.over()
	l := tn.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory = memory{}
	if err == nil {
		l.memory = memory{ticket: tn.ticket, at: l.now(), queued: tn.ticket.depth > 0 || tn.awaited()}
	}
	return err
}

// abandonTried abandons the ticket that a create left without an answer may have made, or removes it if it is a ghost.
func (l *line) abandonTried() {
	try := l.outstanding()
	if try == nil {
		return
	}
	ctx, cancel := l.farewell()
	defer cancel()
	o, err := l.get(ctx, try.n)
	if err != nil {
		return
	}
	rec, err := l.parse(o)
	if err != nil || rec.nonce != try.nonce {
		return
	}
	t := newTicket(rec, try.sent, &tail{base: try.base, head: try.base.n, gens: make(map[int64]int64)})
	l.setTried(nil)
	if real, _ := l.verify(ctx, t, l.cfg.Backoff()); real {
		l.abandon(t)
	}
}

// farewell bounds the requests of a client that closes. The ticket to be marked may be so young that the service takes no
// change of it for another second.
func (l *line) farewell() (context.Context, context.CancelFunc) {
	return context.WithTimeout(l.cfg.Tasks.Context(), max(lease.RequestTimeout(l.cfg.Claim), farewellTime))
}

const farewellTime = 2 * time.Second

// abandon marks a ticket that nobody will ever use, so that it costs those behind it no lease. The mark is obeyed once
// the ticket is the head; until then it keeps its place and means nothing. It reports whether that is done, or may be, or may be
// yet: then the ticket must not be used any more.
func (l *line) abandon(t *ticket) (done bool) {
	ctx, cancel := l.farewell()
	defer cancel()
	v := t.baton.Version
	backoff := l.cfg.Backoff()
	for {
		_, err := l.store.Patch(ctx, l.path.ticket(t.n-1), v, map[string]string{keyGone: "1"})
		switch object.OutcomeOf(err) {
		case object.Applied:
			l.event(GivenUp, t.n)
			return true
		case object.Refused: // the service touched it, or an attempt of ours was applied after all
			o, err := l.get(ctx, t.n-1)
			if err == nil && (o.Gen != v.Gen || o.Metadata[keyGone] != "") {
				return true
			}
			if err == nil {
				v = o.Version
			}
		case object.Missing:
			return true
		case object.Denied:
			return done
		case object.Indeterminate:
			done = true
		}
		if !object.Pause(ctx, backoff) {
			return done
		}
	}
}
