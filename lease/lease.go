package lease

import (
	"context"
	"time"
)

// A Lease is one grant: the right to act as the only holder, until it is released or lost. Its end is final.
//
// A Lease tells what this process may believe. It cannot stop a process that was paused past the deadline from acting
// on what it believed before; only a resource that checks the [Lease.Token] can.
//
// A Lease is safe for concurrent use.
type Lease struct {
	keeper *Keeper
	token  int64
	done   chan struct{}

	// Guarded by keeper.mu.
	err      error
	watchers map[*watcher]struct{}
	whole    *Lease // what it is a part of; nil: nothing

	parts []*Lease // of a joint lease, whose keeper is nothing but a mutex
}

// watcher is one context derived from the lease.
type watcher struct{ cancel context.CancelCauseFunc }

// Done returns a channel that is closed when the lease is over: released or lost. A loss is announced at the deadline
// at the latest, whatever requests are under way.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err returns nil while the lease is held, an error that wraps [ErrLost] once it is lost, and [ErrReleased] once it was
// released. It reads the clocks: after the deadline it never returns nil, even if the process was suspended and no
// timer has fired yet.
func (l *Lease) Err() error {
	l.check()
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	return l.err
}

// Token returns the fencing token of this grant: greater than that of every grant of the same name before it. Hand it
// to the resource with every write and let the resource refuse a token smaller than the greatest it has seen
// (Kleppmann, "How to do distributed locking", 2016).
func (l *Lease) Token() int64 { return l.token }

// Deadline returns the time at which the lease is lost unless it is renewed before. It moves with every renewal, and is told
// anew by each call: if somebody sets the wall clock, time.Until of what was told before goes on by the monotonic clock.
func (l *Lease) Deadline() time.Time {
	if l.parts != nil {
		first := l.parts[0].Deadline()
		for _, p := range l.parts[1:] {
			if d := p.Deadline(); d.Before(first) {
				first = d
			}
		}
		return first
	}
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	return l.keeper.deadline()
}

// Margin returns for how long after the [Lease.Deadline] nobody else may have the name: the time that is left to stop
// what does not stop by itself. It is a tenth of the lease's length, at least a second, and covers the difference
// between clocks as well: use half of it. If the objects of the name were removed by force there is no such time.
func (l *Lease) Margin() time.Duration {
	if l.parts != nil {
		least := l.parts[0].Margin()
		for _, p := range l.parts[1:] {
			least = min(least, p.Margin())
		}
		return least
	}
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	return Margin(l.keeper.rec.Length)
}

// Context returns a copy of parent that is cancelled when the lease is over, with the lease's error as its
// [context.Cause], and that carries the lease for [From] and its fencing token for [TokenFrom]. Call cancel when it is no
// longer needed.
func (l *Lease) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	c, cancelCause := context.WithCancelCause(context.WithValue(parent, leaseKey{}, l))
	w := &watcher{cancel: cancelCause}

	l.check()
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	if l.err != nil {
		cancelCause(l.err)
	} else {
		if l.watchers == nil {
			l.watchers = make(map[*watcher]struct{})
		}
		l.watchers[w] = struct{}{}
	}
	return c, func() {
		l.keeper.mu.Lock()
		delete(l.watchers, w)
		l.keeper.mu.Unlock()
		cancelCause(nil)
	}
}

// end ends the lease; the keeper's mutex is held. Only the first call counts.
func (l *Lease) end(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	close(l.done)
	for w := range l.watchers {
		w.cancel(err)
	}
	l.watchers = nil
	if l.whole != nil {
		l.whole.finish(err)
	}
}

type leaseKey struct{}

// From returns the lease under which the code that got ctx runs. It reports false outside of one.
func From(ctx context.Context) (l *Lease, ok bool) {
	l, ok = ctx.Value(leaseKey{}).(*Lease)
	return l, ok
}

// TokenFrom returns the fencing token that ctx carries: that of the lease under which the code runs. It reports false
// outside of one.
func TokenFrom(ctx context.Context) (token int64, ok bool) {
	if l, ok := From(ctx); ok {
		return l.token, true
	}
	return 0, false
}
