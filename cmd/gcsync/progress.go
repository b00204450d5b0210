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
			fmt.Fprintf(j.a.stderr, "\r\x1b[Kgcsync: waiting for %s: %s", printable(j.target.String()), why)
		case why != said:
			j.a.say("waiting for %v: %s", j.target, why)
		}
		said = why
	}
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
	why := "held by " + who(s.Holders[0]) + " since " + s.Holders[0].Since.Local().Format("15:04:05")
	if n := len(s.Holders); n > 1 {
		why = fmt.Sprintf("%s, and %d more", why, n-1)
	}
	for i, w := range s.Waiters {
		if w.Owner == j.owner && w.Host == host() {
			return fmt.Sprintf("%s; we are number %d of %d in the queue", why, i+1, len(s.Waiters)), nil
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
