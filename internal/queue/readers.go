package queue

import (
	"container/list"
	"context"
	"slices"
	"sync"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// Readers are those of one lock in one process. They share one entry in the bucket: whoever is first sees to it, and all who
// wait meanwhile go in with it.
type Readers struct {
	l *line

	mu      sync.Mutex
	closed  error
	waiters list.List          // of *reader
	pursuit pursuit            // an entry is under way
	giveUp  context.CancelFunc // ends it; nil: it is for somebody who does not wait here
	permits []*permit          // that are not given back, the latest last
	parked  []*Share           // of readers who did not keep theirs, the oldest first
	left    clock.Instant      // when the last one left
	eager   bool               // somebody has come back soon after that
}

// reader is one goroutine that waits.
type reader struct {
	left  func() // for the share
	call  *telemetry.Call
	ready chan struct{} // closed when share or err is set
	share *Share
	err   error
}

// Share is one goroutine's part in a permit.
type Share struct {
	readers *Readers
	permit  *permit
	left    func()
	back    bool
	told    *telemetry.Hold
}

// Lease is what the holder may believe.
func (s *Share) Lease() *lease.Lease { return s.permit.lease }

// Context is that of [Hold.Context].
func (s *Share) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return s.permit.lease.Context(s.told.Inside(parent))
}

// acquire waits until the process may read.
func (r *Readers) acquire(ctx context.Context, left func(), call *telemetry.Call) (*Share, error) {
	if s, err := r.join(ctx, left, call); s != nil || err != nil {
		return s, err
	}
	r.mu.Lock()
	if r.closed != nil {
		defer r.mu.Unlock()
		return nil, r.closed
	}
	a := &reader{left: left, call: call, ready: make(chan struct{})}
	place := r.waiters.PushBack(a)
	r.proceed()
	r.mu.Unlock()

	select {
	case <-a.ready:
		return a.share, a.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-a.ready: // at the same moment
		if a.err != nil {
			return nil, a.err
		}
		if r.closed == nil {
			if of := r.giveBack(a.share); of != nil {
				of.releaseLater()
			}
		}
		return nil, object.Ended(ctx)
	default:
	}
	r.waiters.Remove(place)
	r.explain(call, false)
	if r.waiters.Len() == 0 && r.giveUp != nil {
		r.l.event(Orphaned, none)
		r.l.testify()
		r.giveUp()
	}
	return nil, r.l.waited(object.Ended(ctx))
}

// proceed sees to an entry if somebody waits for one. r.mu is held. It is called whenever somebody has come, and when the
// last attempt has ended.
func (r *Readers) proceed() {
	if r.waiters.Len() == 0 || r.pursuit.under || r.closed != nil {
		return
	}
	call := r.waiters.Front().Value.(*reader).call
	ctx, giveUp := context.WithCancel(call.Under(r.l.cfg.Waiting))
	r.giveUp = giveUp
	if !r.seek(call, func() (*permit, error) { return r.l.read(ctx, true) }, func(got *permit, err error) {
		defer giveUp()
		if err != nil && ctx.Err() == nil {
			r.fail(err)
		}
	}) {
		giveUp()
		r.fail(r.closed)
	}
}

// seek works for a permit, for a call, in the background, and has done told what came of it; then all who wait share it. Both
// seek and done are called with r.mu held. What nobody takes is released.
func (r *Readers) seek(call *telemetry.Call, work func() (*permit, error), done func(*permit, error)) bool {
	r.l.begins(call)
	r.pursuit.begin()
	if !r.l.cfg.Tasks.Go(func(context.Context) {
		got, err := work()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pursuit.end()
		r.giveUp = nil
		if got != nil {
			r.permits = append(r.permits, got)
		}
		done(got, err)
		if got != nil {
			for r.closed == nil && r.waiters.Len() > 0 {
				a := r.waiters.Remove(r.waiters.Front()).(*reader)
				r.explain(a.call, false)
				a.share = r.share(got, a.left, a.call)
				close(a.ready)
			}
			if got.shares == 0 {
				r.drop(got).releaseLater()
			}
		}
		r.proceed()
	}) {
		r.pursuit.end()
		return false
	}
	return true
}

// share makes one more part of a permit. r.mu is held.
func (r *Readers) share(of *permit, left func(), call *telemetry.Call) *Share {
	if of.rest != nil {
		of.rest()
		of.rest = nil
	}
	if of.shares++; of.shares == 1 {
		r.eager = !r.left.IsZero() && r.l.now().Since(r.left) < lingerWindow
	}
	s := &Share{readers: r, permit: of, left: left, told: call.Hold(of.lease.Token())}
	of.told.begins(of.lease.Token(), s.told)
	return s
}

// try takes a share if that needs no waiting; otherwise it returns nil.
func (r *Readers) try(ctx context.Context, left func(), call *telemetry.Call) (*Share, error) {
	if s, err := r.join(ctx, left, call); s != nil || err != nil {
		return s, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.closed == nil && r.waiters.Len() == 0 && r.pursuit.unclear() {
		if r.pursuit.hear(ctx, &r.mu); ctx.Err() != nil {
			return nil, object.Ended(ctx)
		}
	}
	switch {
	case r.closed != nil:
		return nil, r.closed
	case r.pursuit.under || r.waiters.Len() > 0:
		return nil, nil
	}
	a := &reader{left: left, call: call, ready: make(chan struct{})}
	gone := false // the caller, before it was answered
	attempt, giveUp := context.WithCancel(call.Under(r.l.cfg.Waiting))
	defer giveUp()
	if !r.seek(call, func() (*permit, error) { return r.l.read(attempt, false) }, func(got *permit, err error) {
		defer close(a.ready)
		if a.err = err; r.closed != nil {
			a.err = r.closed
		} else if got != nil && !gone {
			r.explain(call, false)
			a.share = r.share(got, left, call)
		}
	}) {
		return nil, r.closed
	}
	r.mu.Unlock()
	select {
	case <-a.ready:
	case <-ctx.Done():
	case <-attempt.Done(): // closed
	}
	r.mu.Lock()
	select {
	case <-a.ready:
		return a.share, a.err
	default:
	}
	gone = true
	if r.closed != nil {
		return nil, r.closed
	}
	return nil, object.Ended(ctx)
}

// Release gives the share back. In every case the caller does not hold it any more. The errors are those of
// [Hold.Release].
func (s *Share) Release() error {
	r := s.readers
	r.mu.Lock()
	if r.closed != nil || s.back {
		defer r.mu.Unlock()
		if r.closed != nil {
			return r.closed
		}
		return ErrNotHeld
	}
	lost := s.permit.keeper.Err()
	of := r.giveBack(s)
	r.mu.Unlock()
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
// to release. r.mu is held.
func (r *Readers) giveBack(s *Share) *permit {
	s.back = true
	of := s.permit
	of.told.End(s.told)
	if of.shares--; of.shares > 0 {
		return nil
	}
	r.left = r.l.now()
	if !of.closed && r.eager && of.keeper.Err() == nil && r.linger(of) {
		return nil
	}
	return r.drop(of)
}

// drop ends belief in a permit. r.mu is held.
func (r *Readers) drop(of *permit) *permit {
	r.permits = slices.DeleteFunc(r.permits, func(q *permit) bool { return q == of })
	if of.rest != nil {
		of.rest()
	}
	of.keeper.Stop(lease.ErrReleased)
	return of
}

// fail ends the waiting of everybody here with err. r.mu is held.
func (r *Readers) fail(err error) {
	for r.waiters.Len() > 0 {
		a := r.waiters.Remove(r.waiters.Front()).(*reader)
		a.err = err
		close(a.ready)
	}
}

// shut refuses new calls, ends the waiting of all others and gives up what is held.
func (r *Readers) shut(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return
	}
	r.closed = cause
	r.fail(cause)
	r.parked = nil
	for len(r.permits) > 0 {
		of := r.permits[0]
		of.told.Over(tracing.Closed, nil)
		of.keeper.Stop(cause)
		r.drop(of).releaseLater()
	}
}

// idle reports whether nothing is left of the name in this process.
func (r *Readers) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiters.Len() == 0 && !r.pursuit.under && len(r.permits) == 0 && !r.l.suspicious()
}
