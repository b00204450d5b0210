// Package tasks owns goroutines: whatever runs in the background of a client belongs to one Group, and the Group's
// Close returns when the last of it has ended.
package tasks

import (
	"context"
	"sync"
	"time"
)

// Group is a set of background tasks with one lifetime. Use New.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc

	// Requests run deep, and a goroutine's stack grows with pain: a few that have ended wait a moment for the next task.
	next chan func(context.Context)

	mu      sync.Mutex
	running int
	spare   int // goroutines that wait for a task
	closed  bool
	idle    chan struct{} // closed when closed && running == 0
}

// The goroutines kept for the next task, and for how long.
const (
	maxSpare  = 4
	spareTime = time.Second
)

// New returns a group whose tasks' contexts end when the group is cancelled.
func New() *Group {
	g := &Group{idle: make(chan struct{}), next: make(chan func(context.Context))}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	return g
}

// Context is the context that every task of the group gets.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs f in a goroutine of the group. It reports false, and does not run f, when the group is closed and idle. While
// tasks still run after Close, they may start others to finish what they are at.
func (g *Group) Go(f func(ctx context.Context)) bool {
	if !g.enter() {
		return false
	}
	select {
	case g.next <- f:
	default:
		go g.work(f)
	}
	return true
}

// work runs f, and what comes soon after.
func (g *Group) work(f func(ctx context.Context)) {
	g.run(f)
	if !g.rest() {
		return
	}
	enough := time.NewTimer(spareTime)
	defer enough.Stop()
	for {
		select {
		case f := <-g.next:
			g.run(f)
			enough.Reset(spareTime)
		case <-enough.C:
			g.wake()
			return
		case <-g.idle:
			g.wake()
			return
		}
	}
}

func (g *Group) run(f func(ctx context.Context)) {
	defer g.leave()
	f(g.ctx)
}

// rest reports whether there is room for another goroutine that waits.
func (g *Group) rest() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spare == maxSpare {
		return false
	}
	g.spare++
	return true
}

func (g *Group) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spare--
}

// Do runs f as a task of the group in the caller's own goroutine. It reports false, and does not run f, like Go.
func (g *Group) Do(f func(ctx context.Context)) bool {
	if !g.enter() {
		return false
	}
	g.run(f)
	return true
}

// AfterFunc runs f in a goroutine of the group once d has passed. Until then it costs a timer and no goroutine.
func (g *Group) AfterFunc(d time.Duration, f func(ctx context.Context)) *time.Timer {
	return time.AfterFunc(d, func() {
		if !g.enter() {
			return
		}
		defer g.leave()
		f(g.ctx)
	})
}

// Cancel ends the context of the group's tasks with the given cause. Tasks that were running go on until they have
// seen it.
func (g *Group) Cancel(cause error) { g.cancel(cause) }

// Close waits until all tasks have ended, or until ctx ends, and then returns its cause. Once idle, the group takes no
// more.
func (g *Group) Close(ctx context.Context) error {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		if g.running == 0 {
			close(g.idle)
		}
	}
	g.mu.Unlock()
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *Group) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed && g.running == 0 {
		return false
	}
	g.running++
	return true
}

func (g *Group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if g.closed && g.running == 0 {
		close(g.idle)
	}
}
