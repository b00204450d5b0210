package gcstest

import "sync"

// group counts activities and lets others wait until none is left. Unlike a
// sync.WaitGroup it may be entered while somebody waits, and it can be closed.
type group struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // non-nil while somebody waits
}

// enter starts an activity, unless the group is closed.
func (g *group) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	return true
}

// leave ends an activity.
func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// close makes enter refuse from now on.
func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// wait returns once no activity is left.
func (g *group) wait() {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	<-idle
}
