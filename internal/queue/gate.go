package queue

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// ErrNotHeld says that a release was asked for a name that nobody in this process holds.
var ErrNotHeld = errors.New("not held")

// A Gate is one name in one process. Goroutines queue here first, in the order of their arrival, and at most one ticket
// stands for all of them in the bucket: so a process that dies costs the others one lease, not one per goroutine, and
// the name goes from goroutine to goroutine without a request (lock cohorting: Dice, Marathe, Shavit, PPoPP 2012).
type Gate struct {
	l *line

	mu      sync.Mutex
	closed  error
	waiters list.List          // of *waiter
	pursuit pursuit            // a goroutine of the client is getting a ticket to the head, or trying to
	forsake context.CancelFunc // says that nobody here wants what it gets; nil: it cannot come to that
	tenure  *tenure            // what this process holds, if it does
	holder  *Hold              // whose turn it is; a lost one keeps its place here until it is released
	linger  *time.Timer
	pace    pace
}

// waiter is one goroutine in the local queue.
type waiter struct {
	left  func() // for the hold
	call  *telemetry.Call
	ahead int           // how many were here before
	ready chan struct{} // closed when hold or err is set
	hold  *Hold
	err   error
}

// Hold is one local turn.
type Hold struct {
	gate  *Gate
	lease *lease.Lease
	began clock.Instant
	left  func() // tells the queue that the gate is no longer needed for this turn
	told  *telemetry.Hold
}

// Lease is what the holder may believe.
func (h *Hold) Lease() *lease.Lease { return h.lease }

// Context returns a copy of parent for the code that runs under the hold: that of the lease, with the span of the hold.
func (h *Hold) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return h.lease.Context(h.told.Inside(parent))
}

// acquire is Queue.Acquire.
func (g *Gate) acquire(ctx context.Context, left func(), call *telemetry.Call) (*Hold, error) {
	if ctx.Err() != nil {
		return nil, object.Ended(ctx)
	}
	g.mu.Lock()
	if g.closed != nil {
		defer g.mu.Unlock()
		return nil, g.closed
	}
	w := &waiter{left: left, call: call, ahead: g.crowd(), ready: make(chan struct{})}
	place := g.waiters.PushBack(w)
	if ctx.Done() == nil && g.waiters.Len() == 1 && g.tenure == nil && !g.pursuit.under && g.holder == nil {
		// We cannot leave before the ticket is the head, so we may as well see to it ourselves.
		g.pursuit.begin()
		g.mu.Unlock()
		if !g.l.cfg.Tasks.Do(func(context.Context) { g.seek(nil, call) }) {
			g.mu.Lock()
			g.pursuit.end()
			g.fail(g.closed)
			g.mu.Unlock()
		}
		<-w.ready
		return w.hold, w.err
	}
	g.proceed()
	if g.tenure != nil {
		g.tenure.watch() // the holder will want to know whether to pass on to us or to another process
	}
	g.mu.Unlock()

	select {
	case <-w.ready:
		return w.hold, w.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.ready: // at the same moment
		if w.err != nil {
			return nil, w.err
		}
		if g.holder == w.hold { // and not closed, or unlocked by somebody who has no business with it
			if t, _ := g.end(); t != nil {
				t.releaseLater()
			}
		}
	default:
		g.waiters.Remove(place)
		g.explain(call, w.ahead)
		if g.pursuit.under && g.waiters.Len() == 0 {
			g.l.event(Orphaned, none)
			g.l.testify()
			if g.forsake != nil {
				g.forsake()
			}
		}
	}
	return nil, g.waited(object.Ended(ctx), w.ahead)
}

// proceed gets things going: grants the next turn, or sends for a ticket. g.mu is held. It is called whenever
// somebody has come or a turn has ended.
func (g *Gate) proceed() {
	for g.holder == nil && g.waiters.Len() > 0 {
		if g.tenure == nil {
			if !g.pursuit.under {
				g.queue(nil)
			}
			return
		}
		g.stopLinger()
		granted := g.tenure.grant()
		if granted == nil { // the lease ran out between two turns
			g.giveUp(lease.ErrLost)
			continue
		}
		w := g.waiters.Remove(g.waiters.Front()).(*waiter)
		w.hold = g.begin(granted, w.left, w.call, w.ahead)
		close(w.ready)
		if g.waiters.Len() > 0 {
			g.tenure.watch()
		}
	}
}

// begin makes the lease the current turn. g.mu is held.
func (g *Gate) begin(granted *lease.Lease, left func(), call *telemetry.Call, ahead int) *Hold {
	if g.tenure.passes > 1 {
		g.l.event(Passed, none)
		g.l.cfg.Telemetry.HandedOff(g.l.kind, tracing.Local)
	} else {
		g.l.inherits()
	}
	g.explain(call, ahead)
	g.holder = &Hold{gate: g, lease: granted, began: g.l.now(), left: left, told: call.Hold(granted.Token())}
	g.tenure.told.begins(granted.Token(), g.holder.told)
	g.pace.step(g.l.now())
	if g.busy() {
		g.tenure.watch()
	}
	return g.holder
}

// queue gets a ticket to the head, in the background. g.mu is held.
func (g *Gate) queue(t *ticket) {
	g.pursuit.begin()
	var call *telemetry.Call
	if first := g.waiters.Front(); first != nil {
		call = first.Value.(*waiter).call
	}
	if !g.l.cfg.Tasks.Go(func(context.Context) { g.seek(t, call) }) {
		g.pursuit.end()
		g.fail(g.closed)
	}
}

// seek gets a ticket to the head, for a call, and grants the first turn on it.
func (g *Gate) seek(t *ticket, call *telemetry.Call) {
	g.l.begins(call)
	ctx := call.Under(g.l.cfg.Waiting)
	wanted, forsake := context.WithCancel(ctx)
	defer forsake()
	g.mu.Lock()
	if g.forsake = forsake; g.waiters.Len() == 0 {
		forsake() // the rest of a call that does not wait
	}
	g.mu.Unlock()
	tn, err := g.l.take(ctx, wanted, t)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pursuit.end()
	g.forsake = nil
	if err != nil && wanted.Err() != nil && ctx.Err() == nil {
		g.proceed() // nobody wanted it, but somebody may have come since
		return
	}
	if err != nil {
		g.fail(err)
		return
	}
	g.install(tn)
	if g.waiters.Len() == 0 {
		g.giveUp(lease.ErrReleased) // everybody left meanwhile
	}
	g.proceed()
}

// install makes a ticket that has become the head this process's tenure. g.mu is held.
func (g *Gate) install(tn *tenure) {
	g.tenure = tn
	tn.found = func() { g.settle(tn, true) }
}

// try is Queue.Try.
func (g *Gate) try(ctx context.Context, left func(), call *telemetry.Call) (*Hold, error) {
	if ctx.Err() != nil {
		return nil, object.Ended(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.closed == nil && g.waiters.Len() == 0 && g.pursuit.unclear() {
		if g.pursuit.hear(ctx, &g.mu); ctx.Err() != nil {
			return nil, object.Ended(ctx)
		}
	}
	switch {
	case g.closed != nil:
		return nil, g.closed
	case g.holder != nil || g.pursuit.under || g.waiters.Len() > 0:
		return nil, nil
	case g.tenure != nil: // lingering
		g.stopLinger()
		if granted := g.tenure.grant(); granted != nil {
			return g.begin(granted, left, call, 0), nil
		}
		g.giveUp(lease.ErrLost)
	}

	var got *Hold
	var failed error
	gone := false // the caller, before it was answered
	done := make(chan struct{})
	attempt, giveUp := context.WithCancel(call.Under(g.l.cfg.Waiting))
	defer giveUp()
	g.pursuit.begin()
	if !g.l.cfg.Tasks.Go(func(context.Context) {
		g.l.begins(call)
		tn, behind, err := g.l.try(attempt)
		g.mu.Lock()
		defer g.mu.Unlock()
		defer close(done)
		g.pursuit.end()
		failed = err
		switch {
		case behind != nil:
			g.queue(behind) // for whoever comes next, or for nobody
		case tn != nil:
			g.install(tn)
			if !gone && g.closed == nil {
				if granted := tn.grant(); granted != nil {
					got = g.begin(granted, left, call, 0)
				}
			}
			if got == nil && g.waiters.Len() == 0 {
				g.giveUp(lease.ErrReleased)
			}
		}
		if got == nil && g.closed != nil {
			failed = g.closed
		}
		g.proceed()
	}) {
		g.pursuit.end()
		return nil, g.closed
	}
	g.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
	g.mu.Lock()
	select {
	case <-done:
		return got, failed
	default:
		gone = true
		return nil, object.Ended(ctx)
	}
}

// fail ends the waiting of everybody here with err. g.mu is held.
func (g *Gate) fail(err error) {
	for g.waiters.Len() > 0 {
		w := g.waiters.Remove(g.waiters.Front()).(*waiter)
		w.err = err
		close(w.ready)
	}
}

// shut refuses new calls, ends the waiting of all others and gives up what is held.
func (g *Gate) shut(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		return
	}
	g.closed = cause
	g.fail(cause)
	g.holder = nil
	if g.tenure != nil {
		g.tenure.told.Over(tracing.Closed, nil)
		g.giveUp(cause)
	}
}

// idle reports whether nothing is left of the name in this process that anybody could miss.
func (g *Gate) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiters.Len() == 0 && !g.pursuit.under && g.tenure == nil && g.holder == nil && !g.l.suspicious()
}
