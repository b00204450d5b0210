package queue

import (
	"container/list"
	"context"
	"slices"
	"sync"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// A Pool is one name in one process, for what several may hold at once: a semaphore, or the readers of a lock. Goroutines
// queue here first, in the order of their arrival, and one ticket at a time stands for all of them in the bucket. It is
// for whoever is first here; the next takes another one, but for readers, who all go in together.
type Pool struct {
	l      *line
	shared bool // readers: one permit serves everybody here

	mu      sync.Mutex
	closed  error
	waiters list.List          // of *applicant
	pursuit pursuit            // a ticket is under way
	wanted  demand             // what for
	giveUp  context.CancelFunc // ends it; nil: it is for somebody who does not wait here
	permits []*permit          // that are not given back, the latest last
	parked  []*Share           // of readers who did not keep theirs, the oldest first
	pace    pace
}

// applicant is one goroutine in the local queue.
type applicant struct {
	demand
	left  func() // for the share
	call  *telemetry.Call
	ahead int           // how many were here before
	ready chan struct{} // closed when share or err is set, or the limit is changed
	share *Share
	err   error
}

// Share is one goroutine's part in a permit: all of it, but for readers.
type Share struct {
	pool   *Pool
	permit *permit
	left   func()
	back   bool
	told   *telemetry.Hold
}

// Lease is what the holder may believe.
func (s *Share) Lease() *lease.Lease { return s.permit.lease }

// Context is that of [Hold.Context].
func (s *Share) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return s.permit.lease.Context(s.told.Inside(parent))
}

// acquire waits until there is room for d. A demand to resize is answered by nil.
func (p *Pool) acquire(ctx context.Context, d demand, left func(), call *telemetry.Call) (*Share, error) {
	if s, err := p.join(ctx, left, call); s != nil || err != nil {
		return s, err
	}
	if err := p.l.possible(ctx, d); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed != nil {
		defer p.mu.Unlock()
		return nil, p.closed
	}
	a := &applicant{demand: d, left: left, call: call, ahead: p.waiters.Len(), ready: make(chan struct{})}
	place := p.waiters.PushBack(a)
	p.proceed()
	p.mu.Unlock()

	select {
	case <-a.ready:
		return a.share, a.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-a.ready: // at the same moment
		if a.err != nil {
			return nil, a.err
		}
		if a.share != nil && p.closed == nil {
			if of := p.giveBack(a.share); of != nil {
				of.releaseLater()
			}
		}
	default:
		p.waiters.Remove(place)
		p.explain(call, false, a.ahead)
		if p.pursuit.under && p.giveUp != nil && p.first() != p.wanted {
			p.l.event(Orphaned, none)
			p.l.testify()
			p.giveUp()
		}
		if len(p.permits) == 0 {
			e := p.l.waited(object.Ended(ctx))
			e.Ahead += int64(a.ahead)
			return nil, e
		}
		e := &WaitError{Cause: object.Ended(ctx), Trouble: p.l.store.Trouble(), Ahead: int64(a.ahead)}
		e.Holder, e.Host = p.l.cfg.Owner, p.l.cfg.Host
		return nil, e
	}
	return nil, object.Ended(ctx)
}

// first is what the first of the local queue wants. p.mu is held.
func (p *Pool) first() demand {
	if p.waiters.Len() == 0 {
		return demand{}
	}
	return p.waiters.Front().Value.(*applicant).demand
}

// proceed sends for a ticket if somebody waits for one. p.mu is held. It is called whenever somebody has come, and when
// the last ticket has done its work.
func (p *Pool) proceed() {
	if p.waiters.Len() == 0 || p.pursuit.under || p.closed != nil {
		return
	}
	d, call := p.first(), p.waiters.Front().Value.(*applicant).call
	ctx, giveUp := context.WithCancel(call.Under(p.l.cfg.Waiting))
	p.wanted, p.giveUp = d, giveUp
	if !p.seek(call, func() (*permit, error) { return p.l.admit(ctx, d) }, func(got *permit, err error) {
		defer giveUp()
		switch {
		case got != nil:
			p.serve(got)
		case ctx.Err() == nil && p.first() == d:
			a := p.waiters.Remove(p.waiters.Front()).(*applicant)
			a.err = err
			close(a.ready)
		}
	}) {
		giveUp()
		p.fail(p.closed)
	}
}

// seek has one ticket work for a permit, for a call, in the background, and done told what came of it. Both seek and done
// are called with p.mu held. What nobody takes is released.
func (p *Pool) seek(call *telemetry.Call, work func() (*permit, error), done func(*permit, error)) bool {
	p.l.begins(call)
	p.pursuit.begin()
	if !p.l.cfg.Tasks.Go(func(context.Context) {
		got, err := work()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pursuit.end()
		p.giveUp = nil
		if got != nil {
			p.permits = append(p.permits, got)
		}
		done(got, err)
		if got != nil && got.shares == 0 {
			p.drop(got).releaseLater()
		}
		p.proceed()
	}) {
		p.pursuit.end()
		return false
	}
	return true
}

// serve gives a permit to whoever it is for: the first here, or every reader. p.mu is held.
func (p *Pool) serve(got *permit) {
	for p.closed == nil && p.first().weight == got.weight && (p.shared || got.shares == 0) {
		a := p.waiters.Remove(p.waiters.Front()).(*applicant)
		p.explain(a.call, false, a.ahead)
		a.share = p.share(got, a.left, a.call)
		close(a.ready)
	}
}

// share makes one more part of a permit. p.mu is held.
func (p *Pool) share(of *permit, left func(), call *telemetry.Call) *Share {
	if of.rest != nil {
		of.rest()
		of.rest = nil
	}
	of.shares++
	p.pace.step(p.l.now())
	s := &Share{pool: p, permit: of, left: left, told: call.Hold(of.lease.Token())}
	of.told.begins(of.lease.Token(), s.told)
	return s
}

// try takes a permit for d if there is room at once; otherwise it returns nil.
func (p *Pool) try(ctx context.Context, d demand, left func(), call *telemetry.Call) (*Share, error) {
	if s, err := p.join(ctx, left, call); s != nil || err != nil {
		return s, err
	}
	if err := p.l.possible(ctx, d); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.closed == nil && p.waiters.Len() == 0 && p.pursuit.unclear() {
		if p.pursuit.hear(ctx, &p.mu); ctx.Err() != nil {
			return nil, object.Ended(ctx)
		}
	}
	switch {
	case p.closed != nil:
		return nil, p.closed
	case p.pursuit.under || p.waiters.Len() > 0:
		return nil, nil
	}
	a := &applicant{demand: d, left: left, call: call, ready: make(chan struct{})}
	gone := false // the caller, before it was answered
	attempt, giveUp := context.WithCancel(call.Under(p.l.cfg.Waiting))
	defer giveUp()
	if !p.seek(call, func() (*permit, error) { return p.l.tryAdmit(attempt, d) }, func(got *permit, err error) {
		defer close(a.ready)
		switch {
		case got != nil && p.closed == nil && !gone:
			p.explain(call, false, 0)
			a.share = p.share(got, left, call)
		case got != nil:
			p.serve(got)
		default:
			if a.err = err; p.closed != nil {
				a.err = p.closed
			}
		}
	}) {
		return nil, p.closed
	}
	p.mu.Unlock()
	select {
	case <-a.ready:
	case <-ctx.Done():
	case <-attempt.Done(): // closed
	}
	p.mu.Lock()
	select {
	case <-a.ready:
		return a.share, a.err
	default:
	}
	gone = true
	if p.closed != nil {
		return nil, p.closed
	}
	return nil, object.Ended(ctx)
}

// Release gives the share back. In every case the caller does not hold it any more. The errors are those of
// [Hold.Release].
func (s *Share) Release() error {
	p := s.pool
	p.mu.Lock()
	if p.closed != nil || s.back {
		defer p.mu.Unlock()
		if p.closed != nil {
			return p.closed
		}
		return ErrNotHeld
	}
	lost := s.permit.keeper.Err()
	of := p.giveBack(s)
	p.mu.Unlock()
	defer s.left()
	switch {
	case of == nil:
		return lost
	case lost != nil:
		of.releaseLater()
		return lost
	}
	return of.release()
}

// giveBack ends a share, and returns the permit if that was its last one and nobody is expected: then it is the caller's
// to release. p.mu is held.
func (p *Pool) giveBack(s *Share) *permit {
	s.back = true
	of := s.permit
	of.told.End(s.told)
	if of.shares--; of.shares > 0 {
		return nil
	}
	if p.shared && !of.closed && p.pace.fast(p.l.cfg, p.l.now()) && of.keeper.Err() == nil && p.linger(of) {
		return nil
	}
	return p.drop(of)
}

// drop ends belief in a permit. p.mu is held.
func (p *Pool) drop(of *permit) *permit {
	p.permits = slices.DeleteFunc(p.permits, func(q *permit) bool { return q == of })
	if of.rest != nil {
		of.rest()
	}
	of.keeper.Stop(lease.ErrReleased)
	return of
}

// fail ends the waiting of everybody here with err. p.mu is held.
func (p *Pool) fail(err error) {
	for p.waiters.Len() > 0 {
		a := p.waiters.Remove(p.waiters.Front()).(*applicant)
		a.err = err
		close(a.ready)
	}
}

// shut refuses new calls, ends the waiting of all others and gives up what is held.
func (p *Pool) shut(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return
	}
	p.closed = cause
	p.fail(cause)
	p.parked = nil
	for len(p.permits) > 0 {
		of := p.permits[0]
		of.told.Over(tracing.Closed, nil)
		of.keeper.Stop(cause)
		p.drop(of).releaseLater()
	}
}

// idle reports whether nothing is left of the name in this process.
func (p *Pool) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiters.Len() == 0 && !p.pursuit.under && len(p.permits) == 0 && !p.l.suspicious()
}
