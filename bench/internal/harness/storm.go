package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// storms has all clients ask for the same piece of work at the same moment, again and again: a new piece each time.
//
// What counts as an acquisition is a client that knows that the work was done; as its hand-off, the time since the end of
// the work; as an overlap, work that was done twice.
func (f *fleet) storms(ctx context.Context, r *referee, stop context.CancelCauseFunc) {
	for round := 0; ctx.Err() == nil; round++ {
		s := &storm{referee: r, name: fmt.Sprintf("work/%d", round), hold: f.scenario.Hold}
		var all sync.WaitGroup
		for i, l := range f.lockers {
			all.Go(func() {
				err := s.ask(ctx, i, l.(Oncer))
				if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Cause(ctx))) {
					r.failed(err)
					stop(err)
				}
			})
		}
		all.Wait()
	}
}

// storm is one piece of work.
type storm struct {
	referee *referee
	name    string
	hold    time.Duration

	mu   sync.Mutex
	runs int64
	done time.Time
}

func (s *storm) ask(ctx context.Context, i int, o Oncer) error {
	s.referee.waits(i)
	err := o.Once(ctx, s.name, s.work)
	if err != nil {
		s.referee.gaveUp(i)
		return err
	}
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	s.referee.knows(i, done)
	return nil
}

// work is what shall be done once.
func (s *storm) work(ctx context.Context) error {
	s.mu.Lock()
	s.runs++
	if s.runs > 1 {
		s.referee.twice()
	}
	s.mu.Unlock()
	sleep(ctx, s.hold)
	err := context.Cause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.runs-- // that does not count: another may run it
		return err
	}
	s.done = time.Now()
	return nil
}

// knows is told that player i knows that the work was done, which was then.
func (r *referee) knows(i int, done time.Time) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.players[i]
	wait := now.Sub(p.since)
	p.since = time.Time{}
	r.waiting--
	if r.closed || now.Before(r.from) {
		return
	}
	if r.measures(p, now, wait) {
		r.handoffs = append(r.handoffs, now.Sub(done))
	}
}

// twice is told that work was done that had been done before.
func (r *referee) twice() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.overlaps++
}
