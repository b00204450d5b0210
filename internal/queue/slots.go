package queue

import (
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// Slots is a semaphore in one process. Slot i of semaphore L is a row of tickets of its own, L/s/<i>/t/, and whoever holds
// the row holds the slot: so each slot has one believer at most, and all that is true of a mutex is true of it.
//
// Goroutines queue here first, in the order of their arrival, and a slot that becomes free here serves the first of them
// that can use it, whichever row it is of. The process stands in as many rows as is worth while, not in one for each of
// them; which, the look decides (look.go).
//
// Nobody who wants one slot holds another while it waits. Of those who want several, only the one that holds the row
// L/s/many gathers, and it lets go of that when it has them all. So there is no cycle of those who wait for each other.
type Slots struct {
	cfg  *Config
	path Path
	line func(Path) *line
	many *Gate // whoever gathers several slots holds it

	mu      sync.Mutex
	closed  error
	arrived int64           // how many calls there were
	waiters list.List       // of *request, in the order of their arrival
	slots   map[int64]*slot // those that we hold or queue for, and those that we remember
	agreed  bool            // the name is known to be a semaphore's
	size    int64           // that the last call spoke of
	changed chan struct{}   // closed when a pursuit has come to something
	looking bool            // a listing is under way, for those who wait
	looks   int             // without success, since anybody last got a slot
	looked  clock.Instant   // when the last look ended
	crowd   int64           // how many were in the row that it chose
	next    *time.Timer     // looks again
}

// slot is one row as this process has to do with it.
type slot struct {
	i int64
	l *line

	seeking bool // a ticket of ours is on its way to the head, or tries to be there at once
	stands  bool // ... and has somebody before it
	busy    bool // a create that was refused is being looked after
	tenure  *tenure
	holder  *part // whose turn it is; a lost one keeps its place here until it is released
	linger  *time.Timer
	pace    pace
}

// request is one call.
type request struct {
	n, want int64 // of the slots below n
	trying  bool  // it does not wait
	number  int64 // of its arrival
	ahead   int
	left    func()
	call    *telemetry.Call
	parts   []*part       // what it has so far
	ready   chan struct{} // closed when grant or err is set
	grant   *Grant
	err     error
}

// part is the turn on one slot.
type part struct {
	slot  *slot
	lease *lease.Lease
	fresh bool // the first turn of a tenure
	began clock.Instant
}

// Grant is a number of slots that are held.
type Grant struct {
	s     *Slots
	parts []*part
	lease *lease.Lease
	told  *telemetry.Hold
	left  func()
	back  bool
}

// MaxSlots is how many slots a semaphore may have: as many as one page of a listing shows.
const MaxSlots = 1000

// TooLargeError says that more slots were asked for than there are. Nothing was acquired.
type TooLargeError struct {
	Name        string // where its objects are
	Want, Limit int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: %d slots wanted where there are %d: ask for fewer, or make it larger", e.Name, e.Want, e.Limit)
}

// Lease is what the holder may believe: it is lost as soon as one of the slots is.
func (g *Grant) Lease() *lease.Lease { return g.lease }

// Context returns a copy of parent for the code that runs under the grant.
func (g *Grant) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return g.lease.Context(g.told.Inside(parent))
}

// Each tells the slots, in order, and their fencing tokens.
func (g *Grant) Each(yield func(slot, token int64) bool) {
	for _, p := range g.parts {
		if !yield(p.slot.i, p.lease.Token()) {
			return
		}
	}
}

// acquire is Queue.Enter.
func (s *Slots) acquire(ctx context.Context, n, want int64, left func(), call *telemetry.Call) (*Grant, error) {
	if want > n {
		return nil, &TooLargeError{s.cfg.Store.URL(string(s.path)), want, n}
	}
	for {
		var lost <-chan struct{} // the right to gather
		release := func() {}
		if want > 1 {
			h, err := s.many.acquire(ctx, func() {}, nil)
			if err != nil {
				return nil, err
			}
			lost, release = h.Lease().Done(), func() { s.cfg.Tasks.Go(func(context.Context) { h.Release() }) }
		}
		g, err := s.gather(ctx, lost, n, want, left, call)
		release()
		if err != errAgain {
			return g, err
		}
	}
}

// gather waits until the call has what it wants. It returns errAgain if the right to gather was lost meanwhile.
func (s *Slots) gather(ctx context.Context, lost <-chan struct{}, n, want int64, left func(), call *telemetry.Call) (*Grant, error) {
	if ctx.Err() != nil {
		return nil, object.Ended(ctx)
	}
	s.mu.Lock()
	if s.closed != nil {
		defer s.mu.Unlock()
		return nil, s.closed
	}
	a := s.arrive(n, want, left, call)
	s.proceed()
	for _, sl := range s.slots {
		if sl.tenure != nil && sl.i < n {
			sl.tenure.watch() // the holder will want to know whether to pass on to us or to another process
		}
	}
	s.mu.Unlock()

	var why error
	select {
	case <-a.ready:
		return a.grant, a.err
	case <-lost:
		why = errAgain
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-a.ready: // at the same moment
		switch {
		case a.err != nil:
			return nil, a.err
		case why == errAgain:
			return a.grant, nil
		case s.closed == nil && !a.grant.back:
			a.grant.back = true
			for _, t := range s.endAll(a.grant.parts, a.grant.told) {
				t.releaseLater()
			}
			s.proceed()
		}
		return nil, object.Ended(ctx)
	default:
	}
	s.explain(a)
	for _, t := range s.withdraw(a) {
		t.releaseLater()
	}
	if why == nil {
		why = s.waited(object.Ended(ctx), a)
	}
	return nil, why
}

// arrive queues a call here. s.mu is held.
func (s *Slots) arrive(n, want int64, left func(), call *telemetry.Call) *request {
	a := &request{n: n, want: want, number: s.arrived, ahead: s.waiters.Len(), left: left, call: call, ready: make(chan struct{})}
	s.arrived++
	s.size = n
	s.waiters.PushBack(a)
	return a
}

// withdraw takes a call that was not served out of the queue, and returns what it had, for the caller to release. s.mu is
// held.
func (s *Slots) withdraw(a *request) (dropped []*tenure) {
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		if e.Value == a {
			s.waiters.Remove(e)
			break
		}
	}
	dropped = s.endAll(a.parts, nil)
	a.parts = nil
	for _, sl := range s.slots {
		if sl.seeking && s.waiters.Len() == 0 {
			sl.l.event(Orphaned, none)
			sl.l.testify()
		}
	}
	s.proceed()
	return dropped
}

// waited explains why a call that was ended did not get what it wanted. s.mu is held.
func (s *Slots) waited(why error, a *request) error {
	e := &WaitError{Cause: why, Trouble: s.cfg.Store.Trouble()}
	for _, sl := range s.slots {
		if sl.seeking {
			e = sl.l.waited(why)
			break
		}
	}
	e.Ahead += int64(a.ahead)
	return e
}

// missing is how many slots the calls here still want. s.mu is held.
func (s *Slots) missing() (n int64) {
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		if a := e.Value.(*request); !a.trying {
			n += a.want - int64(len(a.parts))
		}
	}
	return n
}

// first is the first call here that can use a slot. s.mu is held.
func (s *Slots) first(i int64) *request {
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		if a := e.Value.(*request); i < a.n && int64(len(a.parts)) < a.want {
			return a
		}
	}
	return nil
}

// proceed gets things going: it grants what is free here, and sends for more. s.mu is held. It is called whenever somebody
// has come or left, and when a turn or a pursuit has ended.
func (s *Slots) proceed() {
	if s.closed != nil {
		return
	}
	for _, sl := range s.slots {
		s.serve(sl)
		if sl.tenure != nil && sl.holder == nil && sl.linger == nil {
			sl.giveUp(lease.ErrReleased) // it was kept for somebody who was served in another row, or has left
		}
	}
	s.pursue()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// serve grants a slot that is free here to the first who can use it. s.mu is held.
func (s *Slots) serve(sl *slot) {
	a := s.first(sl.i)
	if a == nil || sl.tenure == nil || sl.holder != nil {
		return
	}
	sl.stopLinger()
	granted := sl.tenure.grant()
	if granted == nil { // the lease ran out between two turns
		sl.giveUp(lease.ErrLost)
		return
	}
	p := &part{slot: sl, lease: granted, fresh: sl.tenure.passes == 1, began: sl.l.now()}
	if p.fresh {
		sl.l.inherits()
	} else {
		sl.l.event(Passed, none)
		sl.l.cfg.Telemetry.HandedOff(sl.l.kind, tracing.Local)
	}
	sl.holder = p
	sl.pace.step(sl.l.now())
	a.parts = append(a.parts, p)
	s.looks, s.crowd = 0, 0
	if int64(len(a.parts)) == a.want {
		s.complete(a)
	}
	if s.first(sl.i) != nil || sl.busyHere() {
		sl.tenure.watch() // the holder will want to know whether to pass on here or to another process
	}
}

// complete answers a call that has all that it wants, unless it has lost some of that again. s.mu is held.
func (s *Slots) complete(a *request) {
	var kept, lost []*part
	for _, p := range a.parts {
		if p.lease.Err() == nil {
			kept = append(kept, p)
		} else {
			lost = append(lost, p)
		}
	}
	if len(lost) > 0 {
		a.parts = kept
		s.endAll(lost, nil)
		return
	}
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		if e.Value == a {
			s.waiters.Remove(e)
			break
		}
	}
	slices.SortFunc(a.parts, func(p, q *part) int { return int(p.slot.i - q.slot.i) })
	leases := make([]*lease.Lease, len(a.parts))
	for i, p := range a.parts {
		leases[i] = p.lease
	}
	s.explain(a)
	g := &Grant{s: s, parts: a.parts, lease: lease.Joint(leases...), left: a.left}
	g.told = a.call.Hold(g.lease.Token())
	for _, p := range g.parts {
		p.slot.tenure.told.begins(p.lease.Token(), g.told)
	}
	a.grant = g
	close(a.ready)
}

// explain tells a call how it came to its slots, or how far it got. s.mu is held.
func (s *Slots) explain(a *request) {
	if a.call == nil {
		return
	}
	f := telemetry.Facts{Local: len(a.parts) > 0}
	for _, p := range a.parts {
		if p.fresh {
			f = p.slot.l.facts()
		}
	}
	if len(a.parts) == 0 {
		for _, sl := range s.slots {
			if sl.seeking {
				f = sl.l.facts()
			}
		}
	}
	a.call.Facts = f.Behind(a.ahead)
}

// Release gives the slots back. In every case the caller does not hold them any more. The errors are those of
// [Hold.Release].
func (g *Grant) Release() error {
	s := g.s
	s.mu.Lock()
	if s.closed != nil || g.back {
		defer s.mu.Unlock()
		if s.closed != nil {
			return s.closed
		}
		return ErrNotHeld
	}
	g.back = true
	lost := g.lease.Err()
	dropped := s.endAll(g.parts, g.told)
	s.proceed()
	s.mu.Unlock()
	defer g.left()
	errs := make([]error, len(dropped))
	var all sync.WaitGroup
	for i, t := range dropped[min(1, len(dropped)):] {
		all.Go(func() { errs[i+1] = t.release() })
	}
	if len(dropped) > 0 {
		errs[0] = dropped[0].release()
	}
	all.Wait()
	if lost != nil {
		return lost
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// endAll ends the turns of the parts: each slot stays for the next here, lingers, or is dropped, and is then the caller's
// to release. s.mu is held. The decision and the end of belief are one step.
func (s *Slots) endAll(parts []*part, told *telemetry.Hold) (dropped []*tenure) {
	for _, p := range parts {
		sl := p.slot
		if sl.holder != p {
			continue
		}
		sl.holder = nil
		t := sl.tenure
		if lost := t.keeper.Retire(); lost != nil {
			sl.giveUp(lost)
			continue
		}
		t.told.End(told)
		next := s.first(sl.i)
		switch {
		case next != nil && t.mayPass():
			s.serve(sl) // at once: who has all that it wants is not the next for the other parts
		case next != nil:
			sl.l.event(PassLimit, none)
			dropped = append(dropped, sl.drop(lease.ErrReleased))
		case sl.busyHere() && !t.awaited() && t.passes <= maxPasses:
			sl.l.event(Lingered, none)
			rest := min(s.cfg.Linger, max(shortLinger, sl.l.now().Since(p.began)))
			sl.linger = s.cfg.Tasks.AfterFunc(rest, func(context.Context) { s.settle(sl, t, false) })
		default:
			dropped = append(dropped, sl.drop(lease.ErrReleased))
		}
	}
	return dropped
}

// settle ends the linger of a tenure, if that is what it is in: its time is up, or another process has come.
func (s *Slots) settle(sl *slot, t *tenure, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.tenure != t || sl.linger == nil {
		return
	}
	if cut {
		sl.l.event(LingerCut, none)
	}
	sl.giveUp(lease.ErrReleased)
}

func (sl *slot) busyHere() bool { return sl.pace.fast(sl.l.cfg, sl.l.now()) }

func (sl *slot) stopLinger() {
	if sl.linger != nil {
		sl.linger.Stop()
		sl.linger = nil
	}
}

// drop ends the tenure, and with it all belief. What tells the others is still to be sent.
func (sl *slot) drop(cause error) *tenure {
	sl.stopLinger()
	t := sl.tenure
	sl.tenure = nil
	t.stop(cause)
	return t
}

// giveUp drops the tenure and releases it in the background.
func (sl *slot) giveUp(cause error) { sl.drop(cause).releaseLater() }

// fail ends the waiting of everybody here with err. s.mu is held.
func (s *Slots) fail(err error) {
	var all []*request
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*request))
	}
	s.waiters.Init() // before anything is given back, which would go to the next of them
	for _, a := range all {
		for _, t := range s.endAll(a.parts, nil) {
			t.releaseLater()
		}
		a.err = err
		close(a.ready)
	}
}

// shut refuses new calls, ends the waiting of all others and gives up what is held.
func (s *Slots) shut(cause error) {
	s.many.shut(cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return
	}
	s.closed = cause
	s.fail(cause)
	if s.next != nil {
		s.next.Stop()
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	for _, sl := range s.slots {
		sl.holder = nil
		if sl.tenure != nil {
			sl.tenure.told.Over(tracing.Closed, nil)
			sl.giveUp(cause)
		}
	}
}

// idle reports whether nothing is left of the name in this process that anybody could miss.
func (s *Slots) idle() bool {
	if !s.many.idle() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters.Len() > 0 || s.looking {
		return false
	}
	for _, sl := range s.slots {
		if sl.seeking || sl.busy || sl.tenure != nil || sl.holder != nil || sl.l.suspicious() {
			return false
		}
	}
	return true
}

// of is the row of slot i in this process. s.mu is held.
func (s *Slots) of(i int64) *slot {
	sl := s.slots[i]
	if sl == nil {
		sl = &slot{i: i, l: s.line(s.path.slot(i))}
		sl.l.behind = func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			sl.stands = true
			if s.changed != nil {
				close(s.changed)
				s.changed = nil
			}
		}
		s.slots[i] = sl
	}
	return sl
}

// send has a ticket for a slot come to the head, in the background, for whoever is first here then. With end it is the
// ticket behind that tail, which may be from an old listing. If only is set the slot is left to others as soon as
// somebody turns out to be there. s.mu is held.
func (s *Slots) send(sl *slot, end *tail, only bool) {
	var call *telemetry.Call
	if first := s.waiters.Front(); first != nil {
		call = first.Value.(*request).call
	}
	sl.l.size = 0
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		sl.l.size = max(sl.l.size, e.Value.(*request).n)
	}
	sl.seeking, sl.stands = true, false
	sl.l.hint, sl.l.brief = end, only
	if !s.cfg.Tasks.Go(func(context.Context) {
		sl.l.begins(call)
		ctx := call.Under(s.cfg.Waiting)
		var tn *tenure
		var behind *ticket
		var err error
		if only {
			if tn, behind, err = sl.l.try(ctx); behind != nil {
				tn, err = sl.l.take(ctx, ctx, behind)
			}
		} else {
			tn, err = sl.l.take(ctx, ctx, nil)
		}
		s.mu.Lock()
		sl.seeking, sl.stands, sl.l.hint = false, false, nil
		sl.busy = sl.l.outstanding() != nil
		if tn == nil {
			sl.l.forget()
		}
		switch {
		case s.closed != nil:
			if tn != nil {
				sl.tenure = tn
				sl.giveUp(s.closed)
			}
		case tn != nil:
			sl.tenure = tn
			tn.found = func() { s.settle(sl, tn, true) }
			if s.first(sl.i) == nil {
				sl.giveUp(lease.ErrReleased) // everybody left meanwhile, or was served in another row
			}
		case err != nil:
			s.fail(err)
		}
		s.proceed()
		unsettled := sl.busy
		s.mu.Unlock()
		if unsettled { // a create that was refused may be there all the same
			sl.l.abandonTried()
			s.mu.Lock()
			sl.busy = false
			s.mu.Unlock()
		}
	}) {
		sl.seeking = false
		s.fail(s.closed)
	}
}

// try is Queue.TryEnter: all of what is wanted at once, or nothing.
func (s *Slots) try(ctx context.Context, n, want int64, left func(), call *telemetry.Call) (*Grant, error) {
	if want > n {
		return nil, &TooLargeError{s.cfg.Store.URL(string(s.path)), want, n}
	}
	if ctx.Err() != nil {
		return nil, object.Ended(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return nil, s.closed
	}
	if s.waiters.Len() > 0 {
		return nil, nil
	}
	a := s.arrive(n, want, left, call)
	a.trying = true
	for _, sl := range s.slots {
		s.serve(sl)
	}
	undo := func() {
		s.explain(a)
		dropped := s.withdraw(a)
		s.mu.Unlock()
		for _, t := range dropped { // so that who tries next finds it free
			t.release()
		}
		s.mu.Lock()
	}
	had := -1
	for rounds, enough := 0, true; ; {
		select {
		case <-a.ready:
			return a.grant, a.err
		default:
		}
		if s.closed != nil {
			return nil, s.closed
		}
		if ctx.Err() != nil {
			undo()
			return nil, object.Ended(ctx)
		}
		pending := false
		for _, sl := range s.slots {
			pending = pending || sl.seeking && !sl.stands
		}
		if !pending && (rounds == maxTries || !enough && len(a.parts) == had) {
			undo()
			return nil, nil
		}
		if !pending {
			rounds++
			had = len(a.parts)
			s.mu.Unlock()
			v, err := s.viewUnless(ctx, a.ready, call)
			s.mu.Lock()
			select {
			case <-a.ready:
				continue
			default:
			}
			if err != nil {
				undo()
				return nil, err
			}
			enough = s.attempt(a, v)
			continue
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		news := s.changed
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
}

// viewUnless is view, but returns as soon as the call is answered, which it may be by a slot of ours: it must not hold that
// for as long as the service takes to list.
func (s *Slots) viewUnless(ctx context.Context, answered <-chan struct{}, call *telemetry.Call) (view, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type seen struct {
		v   view
		err error
	}
	done := make(chan seen, 1)
	if !s.cfg.Tasks.Go(func(context.Context) {
		v, err := s.view(ctx, call)
		done <- seen{v, err}
	}) {
		return nil, context.Canceled // closed, which the caller finds out
	}
	select {
	case got := <-done:
		return got.v, got.err
	case <-answered:
		return nil, nil
	}
}

// maxTries is how often one who does not wait looks for other slots when somebody was faster.
const maxTries = 5
