package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
)

// patience bounds the time that clients are given to end after a run.
const patience = 30 * time.Second

// errOver is the cause of the end of a run whose time is up.
var errOver = errors.New("the run is over")

// bench is what all runs have in common.
type bench struct {
	lock lock
	open func(ctx context.Context) (*service, error)

	// warmUp is the time at the beginning that is not measured: connections are made, the queue fills, and the clients
	// learn how fast it moves.
	warmUp  time.Duration
	measure time.Duration
}

// run measures one scenario. It returns what was measured even if something failed or ctx ended on the way, and nil if
// that was nothing.
func (b *bench) run(ctx context.Context, s scenario, p progress) (res *result, err error) {
	// What has to be tidied up is tidied up even if ctx has ended.
	background := context.WithoutCancel(ctx)
	svc, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, svc.close(background)) }()

	f := &fleet{bench: b, scenario: s, service: svc}
	defer func() { err = errors.Join(err, f.close(background)) }()
	for range s.procs {
		if err := f.add(ctx); err != nil {
			return nil, err
		}
	}
	r := newReferee(s.procs*s.goroutines, time.Now().Add(b.warmUp), f.usage)
	err = f.play(ctx, r, p)
	return newResult(b.lock.name(), s, r), err
}

// A fleet is the clients of one run.
type fleet struct {
	*bench
	scenario scenario
	service  *service
	members  []*member

	mu   sync.Mutex   // guards each member's client, and:
	past gcsync.Usage // requests of clients that are closed
}

// member is one client, with a storage client of its own.
type member struct {
	storage *storage.Client
	client  client
}

// add adds a client.
func (f *fleet) add(ctx context.Context) error {
	s, err := f.service.dial(ctx)
	if err != nil {
		return err
	}
	m := &member{storage: s}
	f.members = append(f.members, m)
	return f.renew(ctx, m)
}

// renew gives the member a new client, which knows nothing of what the one before it did.
func (f *fleet) renew(ctx context.Context, m *member) error {
	if m.client != nil {
		if err := m.client.close(ctx); err != nil {
			return err
		}
	}
	c, err := f.lock.client(m.storage.Bucket(f.service.bucket), f.service.prefix, f.scenario.linger)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.client != nil {
		f.past = plus(f.past, m.client.usage())
	}
	m.client = c
	return nil
}

// usage returns the requests of all clients so far.
func (f *fleet) usage() gcsync.Usage {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := f.past
	for _, m := range f.members {
		sum = plus(sum, m.client.usage())
	}
	return sum
}

func plus(a, b gcsync.Usage) gcsync.Usage {
	a.ClassA += b.ClassA
	a.ClassB += b.ClassB
	a.Free += b.Free
	a.Throttled += b.Throttled
	a.Unknown += b.Unknown
	a.Resolved += b.Resolved
	return a
}

// close closes all clients at once, as processes that are told to stop together.
func (f *fleet) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	errs := make([]error, len(f.members))
	var all sync.WaitGroup
	for i, m := range f.members {
		all.Go(func() {
			if m.client != nil {
				errs[i] = m.client.close(ctx)
			}
			errs[i] = errors.Join(errs[i], m.storage.Close())
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// play has all goroutines of all clients want the lock until the time is up, ctx ends, or a Lock fails.
func (f *fleet) play(ctx context.Context, r *referee, p progress) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	end := time.AfterFunc(time.Until(r.from)+f.measure, func() {
		r.close()
		stop(errOver)
	})
	defer end.Stop()

	var all sync.WaitGroup
	for i := range r.players {
		m := f.members[i/f.scenario.goroutines]
		all.Go(func() {
			if err := f.work(ctx, m, i, r); err != nil {
				r.failed(err)
				stop(err)
			}
		})
	}
	ended := p.follow(f.scenario, r, f.warmUp+f.measure)
	all.Wait()
	ended()
	r.close() // if it was not the time that ended it
	if r.failures > 0 {
		return fmt.Errorf("%d calls failed, the first: %w", r.failures, r.failure)
	}
	return nil
}

// work is player i: lock, hold, unlock, and again.
func (f *fleet) work(ctx context.Context, m *member, i int, r *referee) error {
	l := m.client.locker()
	for first := true; ctx.Err() == nil; first = false {
		if f.scenario.fresh && !first {
			if err := f.renew(context.WithoutCancel(ctx), m); err != nil {
				return err
			}
			l = m.client.locker()
		}
		r.waits(i)
		token, err := l.Lock(ctx)
		if err != nil {
			r.gaveUp(i)
			if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
				return nil
			}
			return err
		}
		r.enters(i, token)
		lost := f.hold(ctx, l)
		r.leaves(i, lost)
		if err := l.Unlock(context.WithoutCancel(ctx)); err != nil {
			r.failed(err)
		}
		sleep(ctx, f.scenario.pause)
	}
	return nil
}

// hold lets the hold time pass, or what is left of the run, and reports whether the lock was lost meanwhile.
func (f *fleet) hold(ctx context.Context, l Locker) (lost bool) {
	if f.scenario.hold == 0 {
		return false
	}
	var gone <-chan struct{}
	if l, ok := l.(Leaser); ok {
		gone = l.Lost()
	}
	t := time.NewTimer(f.scenario.hold)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-gone:
		return true
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
