package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/gcsync/gcsync"
)

var releaseCommand = &command{
	name:     "release",
	operands: []string{"gs://bucket/name"},
	about:    "Takes a name away from a holder that is known to be dead.",
	help: `
It frees exactly what was seen: the holder with the token that gcsync show told. If somebody else holds the name by now,
or nobody, nothing is done and the exit code is 75.

A dead holder costs the others one lease and no more, so this is for leases that are long. A holder that lives learns
only when it next renews that it has lost the name, within a third of its TTL, and until then two hold it.

  gcsync show gs://my-bucket/jobs/nightly
  gcsync release -token 1846329854320640000 gs://my-bucket/jobs/nightly`,
	setup: func(f *flag.FlagSet) action {
		c := new(connection)
		c.register(f)
		c.registerPrefix(f)
		token := f.Int64("token", 0, "fencing `token` of the holder")
		return func(ctx context.Context, a *app, operands, _ []string) error {
			t, err := parseName(operands[0])
			switch {
			case err != nil:
				return err
			case *token <= 0:
				return usagef("release: say whose hold is to end, with the -token that gcsync show tells")
			}
			return c.look(ctx, a, t, func(ctx context.Context) error {
				err := c.client.Break(ctx, t.name, *token)
				if errors.Is(err, gcsync.ErrStale) {
					return &failure{exitNotAcquired, c.stale(ctx, *token)}
				}
				return err
			})
		}
	},
}

// stale says who holds the name in place of the one with the token.
func (c *connection) stale(ctx context.Context, token int64) error {
	s, err := c.client.Inspect(ctx, c.target.name)
	if err == nil && len(s.Holders) > 0 {
		h := s.Holders[0]
		return fmt.Errorf("%v is not held under token %d, but by %s under %d: nothing was done", c.target, token, who(h), h.Token)
	}
	return fmt.Errorf("%v is not held under token %d: nothing was done", c.target, token)
}
