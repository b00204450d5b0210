package queue

import (
	"context"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/lease"
)

// What becomes of the name when a turn ends: it goes to the next goroutine here, stays for a moment in case somebody
// comes back, or is released to the other processes.

// Release ends the turn. In every case the name is no longer held by h. An error that wraps [lease.ErrLost] says that the
// lease was lost before, so that somebody else may have held the name meanwhile; [lease.ErrUnconfirmed] that the service has
// not answered within a fifth of the TTL.
func (h *Hold) Release() error {
	g := h.gate
	g.mu.Lock()
	if g.holder != h {
		defer g.mu.Unlock()
		if g.closed != nil {
			return g.closed
		}
		return ErrNotHeld
	}
	t, lost := g.end()
	g.mu.Unlock()
	defer h.left()
	if lost == nil && t != nil {
		return t.release()
	}
	return lost
}

// end ends the turn of the holder: passes on, lingers, or drops the tenure, which is then the caller's to release. It
// returns the error of a lease that was lost before. g.mu is held. The decision and the end of belief are one step.
func (g *Gate) end() (dropped *tenure, lost error) {
	h := g.holder
	g.holder = nil
	t := g.tenure
	if lost = t.keeper.Retire(); lost != nil {
		g.giveUp(lost)
		g.proceed()
		return nil, lost
	}
	t.told.End(h.told)
	switch {
	case g.waiters.Len() > 0 && t.mayPass():
	case g.waiters.Len() > 0:
		g.l.event(PassLimit, none)
		dropped = g.drop(lease.ErrReleased)
	case g.busy() && !t.awaited() && t.passes <= maxPasses:
		g.l.event(Lingered, none)
		// To others it looks taken meanwhile, so a rest must not be made to last longer than the work before it.
		rest := min(g.l.cfg.Linger, max(shortLinger, g.l.now().Since(h.began)))
		g.linger = g.l.cfg.Tasks.AfterFunc(rest, func(context.Context) { g.settle(t, false) })
	default:
		dropped = g.drop(lease.ErrReleased)
	}
	g.proceed()
	return dropped, nil
}

// busy reports whether this process has taken the name so often of late that it is worth keeping for a moment. g.mu is
// held.
func (g *Gate) busy() bool { return g.pace.fast(g.l.cfg, g.l.now()) }

// pace remembers when this process last took a name.
type pace [2]clock.Instant

func (p *pace) step(now clock.Instant) { p[0], p[1] = p[1], now }

// fast reports whether it has done so twice within a moment, and may linger.
func (p *pace) fast(cfg *Config, now clock.Instant) bool {
	return cfg.Linger > 0 && !p[0].IsZero() && now.Since(p[0]) < lingerWindow
}

// lingerWindow is the time within which a process must have taken a name twice to linger.
const lingerWindow = time.Second

// shortLinger is for how long a name lingers after however short a hold.
const shortLinger = 50 * time.Millisecond

// settle ends the linger of tenure t, if that is what it is in: its time is up, or another process has come.
func (g *Gate) settle(t *tenure, cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tenure != t || g.linger == nil {
		return
	}
	if cut {
		g.l.event(LingerCut, none)
	}
	g.giveUp(lease.ErrReleased)
}

func (g *Gate) stopLinger() {
	if g.linger != nil {
		g.linger.Stop()
		g.linger = nil
	}
}

// drop ends the tenure, and with it all belief. What tells the others is still to be sent. g.mu is held.
func (g *Gate) drop(cause error) *tenure {
	g.stopLinger()
	t := g.tenure
	g.tenure = nil
	t.stop(cause)
	return t
}

// giveUp drops the tenure and releases it in the background. g.mu is held.
func (g *Gate) giveUp(cause error) { g.drop(cause).releaseLater() }
