package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gcsync/gcsync"
)

// showProgress tells, until ctx ends, whom we wait for: on a terminal in one line that changes, elsewhere in a line for
// each change.
func (j *job) showProgress(ctx context.Context) {
	rewrite := isTerminal(j.a.stderr)
	said := ""
	if rewrite {
		defer func() {
			if said != "" {
				fmt.Fprint(j.a.stderr, "\r\x1b[K")
			}
		}()
	}
	for pause := time.Second; ; pause = 3 * time.Second {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		why, err := j.waiting(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			why = "the service does not answer"
		case why == "":
			continue
		}
		why = oneLine(why)
		switch {
		case rewrite:
			line := fmt.Sprintf("gcsync: waiting for %s: %s", clip(printable(j.target.url()), widest), why)
			fmt.Fprint(j.a.stderr, "\r\x1b[K"+fit(line, columns(j.a.stderr)))
		case why != said:
			j.a.say("waiting for %v: %s", j.target, why)
		}
		said = why
	}
}

// fit cuts a line to a number of columns, so that it does not wrap: what has wrapped cannot be taken back. The last column stays
// free, in which some terminals wrap already. Characters that may be wide count as two.
func fit(line string, columns int) string {
	room := columns - 1
	for i, r := range line {
		room--
		if r >= 0x1100 {
			room--
		}
		if room < 0 {
			return line[:i]
		}
	}
	return line
}

// queue tells who holds the name and where we stand.
func (j *job) queue(ctx context.Context) (string, error) {
	s, err := j.client.Inspect(ctx, j.target.name)
	if err != nil {
		return "", err
	}
	if len(s.Holders) == 0 {
		return "", nil
	}
	why := "held by " + who(s.Holders[0])
	if since := s.Holders[0].Since; !since.IsZero() {
		why += " since " + since.Local().Format("15:04:05")
	}
	if n := len(s.Holders); n > 1 {
		why = fmt.Sprintf("%s, and %d more", why, n-1)
	}
	for i, w := range s.Waiters {
		if w.Owner == j.owner && w.Host == host() {
			return fmt.Sprintf("we are number %d of %d; %s", i+1, len(s.Waiters), why), nil
		}
	}
	if n := len(s.Waiters); n > 0 {
		why = fmt.Sprintf("%s; %d in the queue", why, n)
	}
	return why, nil
}

// who names a holder or waiter.
func who(c gcsync.Claim) string {
	if c.Host == "" {
		return c.Owner
	}
	return c.Owner + " on " + c.Host
}
