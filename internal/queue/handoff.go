package queue

import (
	"context"
	"fmt"
	"time"

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
		return g.release(t)
	}
	return lost
}

// release deletes the baton of a tenure that was dropped, here and now for as long as a request may take, and then in the
// background.
func (g *Gate) release(t *tenure) error {
	var err error
	if !g.l.cfg.Tasks.Do(func(ctx context.Context) {
		err = t.release(ctx, lease.RequestTimeout(g.l.cfg.TTL))
	}) {
		return lease.ErrUnconfirmed // closed: what was to be released is left to its lease
	}
	if err != nil {
		g.releaseLater(t)
		return fmt.Errorf("%w: %w", lease.ErrUnconfirmed, err)
	}
	return nil
}

// releaseLater does it in the background, for as long as there is anything to gain from it.
func (g *Gate) releaseLater(t *tenure) {
	g.l.cfg.Tasks.Go(func(ctx context.Context) {
		if err := t.release(ctx, t.keeper.Record().Length); err != nil {
			g.l.cfg.Logger.Debug("gcsync: not released", "queue", g.l.store.URL(string(g.l.path)), "error", err)
		}
	})
}

// end ends the turn of the holder: passes on, lingers, or drops the tenure, which is then the caller's to release. It
// returns the error of a lease that was lost before. g.mu is held. The decision and the end of belief are one step.
func (g *Gate) end() (dropped *tenure, lost error) {
	g.holder = nil
	t := g.tenure
	if lost = t.keeper.Retire(); lost != nil {
		g.giveUp(lost)
		g.proceed()
		return nil, lost
	}
	switch {
	case g.waiters.Len() > 0 && t.mayPass():
	case g.waiters.Len() > 0:
		g.l.event(PassLimit, none)
		dropped = g.drop(lease.ErrReleased)
	case g.busy() && !t.awaited() && t.passes <= maxPasses:
		g.l.event(Lingered, none)
		g.linger = g.l.cfg.Tasks.AfterFunc(g.l.cfg.Linger, func(context.Context) { g.settle(t, false) })
	default:
		dropped = g.drop(lease.ErrReleased)
	}
	g.proceed()
	return dropped, nil
}

// busy reports whether this process has taken the name so often of late that it is worth keeping for a moment. g.mu is
// held.
func (g *Gate) busy() bool {
	return g.l.cfg.Linger > 0 && !g.taken[0].IsZero() && g.l.now().Since(g.taken[0]) < lingerWindow
}

// lingerWindow is the time within which a process must have taken a name twice to linger.
const lingerWindow = time.Second

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
func (g *Gate) giveUp(cause error) { g.releaseLater(g.drop(cause)) }
