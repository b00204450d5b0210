package queue

import (
	"context"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
)

// The readers of one process share one entry in the registry. Whoever comes while the process has it joins without a
// ticket of its own, until somebody has queued behind: a writer that waits must not be passed by ever new readers.

// joinTime is how old the evidence may be that nobody has: for so long readers of a process that has been let in may still
// join after a writer has come. It bounds the requests of a process in which readers come and go all the time.
const joinTime = 100 * time.Millisecond

// join shares the latest permit of this process if that is open; otherwise it returns nil.
func (p *Pool) join(ctx context.Context, left func(), call *telemetry.Call) (*Share, error) {
	if ctx.Err() != nil {
		return nil, object.Ended(ctx)
	}
	arrived := p.l.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed != nil {
			return nil, p.closed
		}
		if !p.shared || len(p.permits) == 0 || p.waiters.Len() > 0 {
			return nil, nil
		}
		of := p.permits[len(p.permits)-1]
		if of.closed || of.keeper.Err() != nil {
			return nil, nil
		}
		if arrived.Since(of.asked) < joinTime {
			p.l.event(Joined, none)
			p.explain(call, true, 0)
			return p.share(of, left, call), nil
		}
		checked := p.check(of)
		p.mu.Unlock()
		select {
		case <-checked:
		case <-ctx.Done():
		case <-p.l.cfg.Waiting.Done():
		}
		p.mu.Lock()
		if ctx.Err() != nil {
			return nil, object.Ended(ctx)
		}
	}
}

// check finds out whether a permit is still open, for all who ask at the same time; the channel tells when. p.mu is held.
func (p *Pool) check(of *permit) <-chan struct{} {
	if of.checking != nil {
		return of.checking
	}
	checked := make(chan struct{})
	of.checking = checked
	sent := p.l.now()
	if !p.l.cfg.Tasks.Go(func(ctx context.Context) {
		alone := p.l.alone(ctx, of.ticket)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.judge(of, alone, sent)
		of.checking = nil
		close(checked)
	}) {
		of.closed, of.checking = true, nil
		close(checked)
	}
	return checked
}

// judge takes in whether a permit was open when the request was sent. Once closed it never opens again. p.mu is held.
func (p *Pool) judge(of *permit, alone bool, sent clock.Instant) {
	switch {
	case !alone && !of.closed:
		of.closed = true
		p.l.event(JoinRefused, of.n)
	case alone && sent.After(of.asked):
		of.asked = sent
	}
}

// alone reports whether nobody has ever queued behind t: the next number is absent, and it is not absent for having been
// there and gone, since our own ticket, which goes first, is there still.
func (l *line) alone(ctx context.Context, t *ticket) bool {
	if _, err := l.get(ctx, t.n+1); object.OutcomeOf(err) != object.Missing {
		return false
	}
	o, err := l.get(ctx, t.n)
	return err == nil && o.Gen == t.Gen
}

// linger keeps a permit that nobody shares, for a moment: the next reader here needs no ticket then. Somebody who queues
// behind it ends that. p.mu is held.
func (p *Pool) linger(of *permit) bool {
	ctx, rest := context.WithCancel(p.l.cfg.Waiting)
	begun := p.l.now()
	if !p.l.cfg.Tasks.Go(func(context.Context) {
		defer rest()
		for alone := true; alone; {
			left := p.l.cfg.Linger - p.l.now().Since(begun)
			if left <= 0 || !object.Sleep(ctx, min(left, watchGap)) {
				break
			}
			sent := p.l.now()
			alone = p.l.alone(ctx, of.ticket)
			p.mu.Lock()
			if ctx.Err() == nil {
				p.judge(of, alone, sent)
			}
			p.mu.Unlock()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if ctx.Err() == nil && of.shares == 0 {
			p.drop(of).releaseLater()
		}
	}) {
		rest()
		return false
	}
	p.l.event(Lingered, of.n)
	of.rest = rest
	return true
}

// park keeps the share of a reader who will ask for it by the name alone.
func (s *Share) park() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.pool.parked = append(s.pool.parked, s)
}

// unpark returns the oldest share that is parked, or nil. Which of them a reader had does not matter: as long as one is left,
// the process holds the reading side.
func (p *Pool) unpark() *Share {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.parked) == 0 {
		return nil
	}
	s := p.parked[0]
	p.parked = p.parked[1:]
	return s
}

// reading returns the latest share that is parked, or nil.
func (p *Pool) reading() *Share {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.parked) == 0 {
		return nil
	}
	return p.parked[len(p.parked)-1]
}
