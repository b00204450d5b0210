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

	mu      sync.Mutex
	running int
	closed  bool
	idle    chan struct{} // closed when closed && running == 0
}

// New returns a group whose tasks' contexts end when the group is cancelled.
func New() *Group {
	g := &Group{idle: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	return g
}

// Context is the context that every task of the group gets.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs f in a goroutine of the group. It reports false, and does not run f, when the group is closed.
func (g *Group) Go(f func(ctx context.Context)) bool {
	if !g.enter() {
		return false
	}
	go func() {
		defer g.leave()
		f(g.ctx)
	}()
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

// Close refuses new tasks and waits until those that run have ended, or until ctx ends, and then returns its cause.
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
	if g.closed {
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
