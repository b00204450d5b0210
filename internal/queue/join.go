package queue

import (
	"context"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
)

// The readers of one process share one entry in the registry. Whoever comes while the process has it joins without a
// request, until a writer has queued behind it: one that waits must not be passed by ever new readers.

// join shares the latest permit of this process if that is open; otherwise it returns nil.
func (r *Readers) join(ctx context.Context, left func(), call *telemetry.Call) (*Share, error) {
	if ctx.Err() != nil {
		return nil, object.Ended(ctx)
	}
	arrived := r.l.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.closed != nil {
			return nil, r.closed
		}
		if len(r.permits) == 0 || r.waiters.Len() > 0 {
			return nil, nil
		}
		of := r.permits[len(r.permits)-1]
		if of.closed || of.keeper.Err() != nil {
			return nil, nil
		}
		if arrived.Since(of.asked) < joinTime {
			r.l.event(Joined, none)
			r.explain(call, true)
			return r.share(of, left, call), nil
		}
		checked := r.check(of)
		r.mu.Unlock()
		select {
		case <-checked:
		case <-ctx.Done():
		case <-r.l.cfg.Waiting.Done():
		}
		r.mu.Lock()
		if ctx.Err() != nil {
			return nil, object.Ended(ctx)
		}
	}
}

// check finds out whether a permit is still open, for all who ask at the same time; the channel tells when. r.mu is held.
func (r *Readers) check(of *permit) <-chan struct{} {
	if of.checking != nil {
		return of.checking
	}
	checked := make(chan struct{})
	of.checking = checked
	sent := r.l.now()
	if !r.l.cfg.Tasks.Go(func(ctx context.Context) {
		alone := r.l.alone(ctx, of.behind)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.judge(of, alone, sent)
		of.checking = nil
		close(checked)
	}) {
		of.closed, of.checking = true, nil
		close(checked)
	}
	return checked
}

// judge takes in whether a permit was open when the request was sent. Once closed it never opens again. r.mu is held.
func (r *Readers) judge(of *permit, alone bool, sent clock.Instant) {
	switch {
	case !alone && !of.closed:
		of.closed = true
		r.l.event(JoinRefused, of.n)
	case alone && sent.After(of.asked):
		of.asked = sent
	}
}

// linger keeps a permit that nobody shares, for a moment: the next reader here needs no entry then. A writer that queues
// behind it ends that. r.mu is held.
func (r *Readers) linger(of *permit) bool {
	ctx, rest := context.WithCancel(r.l.cfg.Waiting)
	begun := r.l.now()
	if !r.l.cfg.Tasks.Go(func(context.Context) {
		defer rest()
		for alone := true; alone; {
			left := r.l.cfg.Linger - r.l.now().Since(begun)
			if left <= 0 || !object.Sleep(ctx, min(left, watchGap)) {
				break
			}
			sent := r.l.now()
			alone = r.l.alone(ctx, of.behind)
			r.mu.Lock()
			if ctx.Err() == nil {
				r.judge(of, alone, sent)
			}
			r.mu.Unlock()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() == nil && of.shares == 0 {
			r.drop(of).releaseLater()
		}
	}) {
		rest()
		return false
	}
	r.l.event(Lingered, of.n)
	of.rest = rest
	return true
}

// park keeps the share of a reader who will ask for it by the name alone.
func (s *Share) park() {
	s.readers.mu.Lock()
	defer s.readers.mu.Unlock()
	s.readers.parked = append(s.readers.parked, s)
}

// unpark returns the oldest share that is parked, or nil. Which of them a reader had does not matter: as long as one is left,
// the process holds the reading side.
func (r *Readers) unpark() *Share {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.parked) == 0 {
		return nil
	}
	s := r.parked[0]
	r.parked = r.parked[1:]
	return s
}

// reading returns the latest share that is parked, or nil.
func (r *Readers) reading() *Share {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.parked) == 0 {
		return nil
	}
	return r.parked[len(r.parked)-1]
}
