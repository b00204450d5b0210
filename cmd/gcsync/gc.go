package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"
)

var gcCommand = &command{
	name:     "gc",
	operands: []string{"gs://bucket[/prefix]"},
	about:    "Removes what crashed holders and waiters have left of names that nobody uses.",
	help: `
It takes each such name for a moment, in its turn, like anybody else: what is dead is buried on the way, which takes a
lease for each, and whoever lives is left alone. Names with nothing to remove are not touched.

One empty object stays of each name. It tells which numbers were used before, so that a request that arrives days late,
from a machine that was suspended, cannot be taken for something new. To remove it is safe only with every client stopped
for a minute; then all below the prefix can go: gcloud storage rm -r gs://my-bucket/gcsync/

  gcsync gc gs://my-bucket
  gcsync gc -unused 720h gs://my-bucket/jobs/`,
	setup: func(f *flag.FlagSet) action {
		c := new(connection)
		c.register(f)
		c.registerHold(f)
		unused := duration(f, "unused", 24*time.Hour, "for how long a name must not have been used")
		patience := duration(f, "wait", 5*time.Minute, "how long to wait for one name")
		return func(ctx context.Context, a *app, operands, _ []string) error {
			t, err := parseURL(operands[0])
			switch {
			case err != nil:
				return err
			case *unused < time.Minute:
				return usagef("-unused %v is too short: make it a minute at least", *unused)
			}
			if err := c.open(ctx, a, t); err != nil {
				return err
			}
			defer c.close()
			stop, cancel := context.WithTimeout(ctx, answer)
			defer cancel()
			var names []string
			for s, err := range c.client.List(stop, t.name) {
				if err != nil {
					return err
				}
				if s.At.Sub(s.Used) >= *unused {
					names = append(names, s.Name)
				}
			}
			return c.tidy(ctx, names, *unused, *patience)
		}
	},
}

// tidy tidies one name after the other, and goes on where one does not come free.
func (c *connection) tidy(ctx context.Context, names []string, unused, patience time.Duration) error {
	total := 0
	for _, name := range names {
		turn, cancel := context.WithTimeout(ctx, patience)
		removed, err := c.client.Tidy(turn, name, unused)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			c.a.say("%v is in use", target{c.target.bucket, name})
		case err != nil:
			return err
		case removed > 0:
			if err := write(c.a.stdout, fmt.Sprintf("%s: %d removed\n", printable(name), removed)); err != nil {
				return err
			}
			total += removed
		}
	}
	return write(c.a.stdout, fmt.Sprintf("%d objects removed of %d names that nobody used for %v\n", total, len(names), unused))
}
