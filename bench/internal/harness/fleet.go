package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"

	"github.com/gcsync/gcsync/gcstest"
)

// patience bounds the time that clients are given to end after a run.
const patience = 30 * time.Second

// defaultTTL is how long a holder may be silent, for every lock that has leases: the default of gcsync.
const defaultTTL = 30 * time.Second

// errOver is the cause of the end of a run whose time is up.
var errOver = errors.New("the run is over")

// bench is what all runs have in common.
type bench struct {
	lock Lock
	open func(ctx context.Context) (*service, error)

	// warmUp is the time at the beginning that is not measured: connections are made, the queue fills, and the clients
	// learn how fast it moves.
	warmUp  time.Duration
	measure time.Duration

	model gcstest.Model // for locks that do not live in the service
	exec  bool          // each client is a process of its own
}

// run measures one scenario. It returns what was measured even if something failed or ctx ended on the way, and nil if
// that was nothing. A lock that has no such thing gives a result without numbers.
func (b *bench) run(ctx context.Context, s Scenario, p progress) (res *Result, err error) {
	// What has to be tidied up is tidied up even if ctx has ended.
	background := context.WithoutCancel(ctx)
	if p, ok := b.lock.(Preparer); ok {
		if err := p.Prepare(); err != nil {
			return nil, err
		}
	}
	svc, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, svc.close(background)) }()

	f := &fleet{bench: b, scenario: s, service: svc}
	defer func() { err = errors.Join(err, f.close(background)) }()
	for range s.Procs {
		if err := f.add(ctx); err != nil {
			return nil, err
		}
	}
	if err := f.recruit(); errors.Is(err, ErrUnsupported) {
		return &Result{Scenario: s.Name, Lock: b.lock.Name(), Procs: s.Procs, Goroutines: s.Goroutines,
			HoldMS: milliseconds(s.Hold), Unsupported: true}, nil
	} else if err != nil {
		return nil, err
	}
	if err := f.christen(ctx); err != nil {
		return nil, err
	}
	r := newReferee(s, time.Now().Add(b.warmUp), f.usage)
	err = f.play(ctx, r, p)
	return newResult(b, s, r), err
}

// A fleet is the clients of one run.
type fleet struct {
	*bench
	scenario Scenario
	service  *service
	members  []*member
	lockers  []Locker // of the players

	turn atomic.Int64 // which of several names is next

	mu   sync.Mutex // guards each member's connection and client, and:
	past Usage      // requests on connections that were closed
}

// member is one client, with a storage client of its own.
type member struct {
	storage *storage.Client
	wire    *wire
	client  Client
}

// add adds a client.
func (f *fleet) add(ctx context.Context) error {
	m := new(member)
	f.members = append(f.members, m)
	if err := f.connect(ctx, m); err != nil {
		return err
	}
	return f.renew(ctx, m)
}

// connect gives the member new connections.
func (f *fleet) connect(ctx context.Context, m *member) error {
	s, w, err := f.service.dial(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.wire != nil {
		f.past = f.past.plus(m.wire.usage())
	}
	m.storage, m.wire = s, w
	return nil
}

// renew gives the member a new client, which knows nothing of what the one before it did.
func (f *fleet) renew(ctx context.Context, m *member) error {
	if m.client != nil {
		if err := m.client.Close(ctx); err != nil {
			return err
		}
	}
	return f.start(ctx, m)
}

func (f *fleet) start(ctx context.Context, m *member) error {
	c, err := f.client(ctx, m)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m.client = c
	return nil
}

func (f *fleet) client(ctx context.Context, m *member) (Client, error) {
	s := Setup{
		Bucket: m.storage.Bucket(f.service.bucket), Prefix: f.service.prefix, TTL: defaultTTL,
		Linger: f.scenario.Linger, Quiet: f.scenario.Crash > 0, Model: f.model,
	}
	if f.scenario.Names > 0 {
		s.Prefix = fmt.Sprintf("%s%d/", s.Prefix, f.turn.Add(1)%int64(f.scenario.Names))
	}
	if f.exec {
		return spawn(ctx, f.lock, s, f.service, m.wire)
	}
	return f.lock.Client(ctx, s)
}

// recruit gets a handle for each player.
func (f *fleet) recruit() error {
	for i := range f.scenario.players() {
		l, err := f.locker(i)
		if err != nil {
			return err
		}
		f.lockers = append(f.lockers, l)
	}
	return nil
}

// christen uses each of several names once: what a name costs that nobody has ever used is another question.
func (f *fleet) christen(ctx context.Context) error {
	var g errgroup.Group
	for range f.scenario.Names {
		g.Go(func() error {
			c, err := f.client(ctx, f.members[0])
			if err != nil {
				return err
			}
			l, err := c.Locker(Want{Kind: f.scenario.Kind})
			if err == nil {
				if _, err = l.Lock(ctx); err == nil {
					err = l.Unlock(ctx)
				}
			}
			return errors.Join(err, c.Close(ctx))
		})
	}
	return g.Wait()
}

// member returns the client of player i.
func (f *fleet) member(i int) *member { return f.members[i/f.scenario.Goroutines] }

func (f *fleet) locker(i int) (Locker, error) {
	w, _ := f.scenario.want(i)
	w.Hold = f.scenario.Hold
	return f.member(i).client.Locker(w)
}

// crash ends the member's client as if its machine had lost its power, and puts another in its place.
func (f *fleet) crash(ctx context.Context, m *member) error {
	m.wire.cut.Store(true)
	if c, ok := m.client.(Crasher); ok {
		c.Crash()
	}
	// Nothing gets out any more. What is closed here is only what a machine that is gone would not have: goroutines.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_ = m.client.Close(gone)
	_ = m.storage.Close()
	if err := f.connect(ctx, m); err != nil {
		return err
	}
	return f.start(ctx, m)
}

// usage returns the requests of all clients so far.
func (f *fleet) usage() Usage {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := f.past
	for _, m := range f.members {
		sum = sum.plus(m.wire.usage())
	}
	return sum
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
				errs[i] = m.client.Close(ctx)
			}
			if m.storage != nil {
				errs[i] = errors.Join(errs[i], m.storage.Close())
				m.wire.close()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// play has all players want the lock until the time is up, ctx ends, or a Lock fails.
func (f *fleet) play(ctx context.Context, r *referee, p progress) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	end := time.AfterFunc(time.Until(r.from)+f.measure, func() {
		r.close()
		stop(errOver)
	})
	defer end.Stop()

	ended := p.follow(f.scenario, f.lock.Name(), r, f.warmUp+f.measure)
	if f.scenario.Kind == Once {
		f.storms(ctx, r, stop)
	} else {
		f.work(ctx, r, stop)
	}
	ended()
	r.close() // if it was not the time that ended it
	if r.failures > 0 {
		return fmt.Errorf("%d calls failed, the first: %w", r.failures, r.failure)
	}
	return nil
}

// work has each player lock, hold, unlock, and again.
func (f *fleet) work(ctx context.Context, r *referee, stop context.CancelCauseFunc) {
	var all sync.WaitGroup
	for i := range r.players {
		all.Go(func() {
			if err := f.turns(ctx, i, r); err != nil {
				r.failed(err)
				stop(err)
			}
		})
	}
	all.Wait()
}

// turns is player i.
func (f *fleet) turns(ctx context.Context, i int, r *referee) error {
	background := context.WithoutCancel(ctx)
	if f.scenario.Fresh && f.scenario.Pause > 0 { // nobody starts all of cron at once
		sleep(ctx, time.Duration(i)*f.scenario.Pause/time.Duration(f.scenario.players()))
	}
	l := f.lockers[i]
	for first := true; ctx.Err() == nil; first = false {
		if f.scenario.Fresh && !first {
			if err := f.renew(background, f.member(i)); err != nil {
				return err
			}
			var err error
			if l, err = f.locker(i); err != nil {
				return err
			}
		}
		r.waits(i)
		token, err := f.acquire(ctx, l, r)
		if err != nil {
			r.gaveUp(i)
			if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
				return nil
			}
			return err
		}
		if r.enters(i, token) {
			r.vanishes(i)
			if err := f.crash(background, f.member(i)); err != nil {
				return err
			}
			if l, err = f.locker(i); err != nil {
				return err
			}
			continue
		}
		gone := f.hold(ctx, l)
		r.leaves(i, gone)
		switch err := l.Unlock(background); {
		case errors.Is(err, ErrLost) && !gone:
			r.foundLost()
		case errors.Is(err, ErrAgain):
			r.triesAgain()
		case err != nil && !gone:
			r.failed(err)
		}
		if f.scenario.Pause > 0 {
			sleep(ctx, f.scenario.Pause)
		}
	}
	return nil
}

// acquire locks l, as often as it takes.
func (f *fleet) acquire(ctx context.Context, l Locker, r *referee) (token int64, err error) {
	for {
		token, err = l.Lock(ctx)
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrAgain) {
			return token, err
		}
		r.triesAgain()
		sleep(ctx, time.Duration(rand.Int64N(int64(200*time.Millisecond))))
	}
}

// hold lets the hold time pass, or what is left of the run, and reports whether the lock was lost meanwhile.
func (f *fleet) hold(ctx context.Context, l Locker) (lost bool) {
	if f.scenario.Hold == 0 {
		return false
	}
	var gone <-chan struct{}
	if l, ok := l.(Leaser); ok {
		gone = l.Lost()
	}
	t := time.NewTimer(f.scenario.Hold)
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
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
