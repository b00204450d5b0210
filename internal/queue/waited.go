package queue

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// WaitError says what a call was waiting for when its context ended. It wraps the context's cause and error, and, if it was
// the service that the call waited for, what that has last said. Nothing was acquired.
type WaitError struct {
	Cause   error // why the waiting has ended
	Trouble error // why the service could not be asked lately, an ErrNoAnswer; nil: it answers

	// What was last seen of those before us. All are zero if nothing was.
	Ahead  int64     // how many they are, the holder among them
	Holder string    // who holds it: Options.Owner; empty: not known
	Host   string    // on which machine
	Since  time.Time // since when it has been seen to hold, by this machine's clock
}

func (e *WaitError) Error() string {
	var b strings.Builder
	b.WriteString(e.Cause.Error())
	if e.Holder != "" {
		fmt.Fprintf(&b, ": held by %q", e.Holder)
		if e.Host != "" {
			fmt.Fprintf(&b, " on %s", e.Host)
		}
		if !e.Since.IsZero() {
			fmt.Fprintf(&b, " since %s or before", e.Since.Format(time.RFC3339))
		}
	}
	if e.Ahead > 1 || e.Ahead == 1 && e.Holder == "" {
		fmt.Fprintf(&b, ", %d before us", e.Ahead)
	}
	if e.Trouble != nil {
		fmt.Fprintf(&b, ": %v", e.Trouble)
	}
	return b.String()
}

func (e *WaitError) Unwrap() []error {
	if e.Trouble == nil {
		return []error{e.Cause}
	}
	return []error{e.Cause, e.Trouble}
}

// waited explains why a call that ctx has ended did not get what it waited for.
func (l *line) waited(why error) *WaitError {
	e := &WaitError{Cause: why, Trouble: l.store.Trouble()}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.story
	e.Ahead = s.distance
	switch {
	case s.blocker != nil:
		e.Ahead = max(e.Ahead, 1)
		e.Holder, e.Host, e.Since = s.blocker.Metadata[keyOwner], s.blocker.Metadata[keyHost], s.blocker.since.Wall()
	case s.distance == 1 && s.holder != nil:
		e.Holder, e.Host = s.holder.Metadata[keyOwner], s.holder.Metadata[keyHost]
		if l.sighting.proven {
			e.Since = l.sighting.held.Wall()
		}
	}
	return e
}

// waited is that of a goroutine before which others of this process were. g.mu is held.
func (g *Gate) waited(why error, ahead int) error {
	e := g.l.waited(why)
	if g.tenure != nil {
		e.Holder, e.Host, e.Since, e.Ahead = g.l.cfg.Owner, g.l.cfg.Host, g.tenure.began.Wall(), 0
	}
	e.Ahead += int64(ahead)
	return e
}

// pursuit is what a process knows of the ticket that works for it in the background, or of the attempt to get one. It is
// guarded by the mutex of who owns it.
type pursuit struct {
	under  bool          // there is one
	stands bool          // somebody was seen before it
	news   chan struct{} // closed once that is known, or once it is over
}

func (p *pursuit) begin() { *p = pursuit{under: true, news: make(chan struct{})} }

// found notes that somebody is before it.
func (p *pursuit) found() {
	if p.under && !p.stands {
		p.stands = true
		close(p.news)
	}
}

func (p *pursuit) end() {
	if p.under && !p.stands {
		close(p.news)
	}
	*p = pursuit{}
}

// unclear reports whether there is one of which it is not known yet whether anybody is before it. What is left of a call
// that has ended is no holder.
func (p *pursuit) unclear() bool { return p.under && !p.stands }

// hear waits for news, or for ctx. mu is held, but for the time of the wait.
func (p *pursuit) hear(ctx context.Context, mu interface {
	Lock()
	Unlock()
}) {
	news := p.news
	mu.Unlock()
	defer mu.Lock()
	select {
	case <-news:
	case <-ctx.Done():
	}
}
