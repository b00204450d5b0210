package main

import (
	"context"
	"flag"
)

var lsCommand = &command{
	name:     "ls",
	operands: []string{"gs://bucket[/prefix]"},
	about:    "Lists names, who holds them and who waits, in order.",
	help: `
It changes nothing, and needs only permission to list and to read. Ages and expiries are by the service's clock. A holder
that has not renewed its lease yet has no expiry, and its age is told as a bound: nothing tells when it got its turn.

  gcsync ls gs://my-bucket
  gcsync ls -json gs://my-bucket/jobs/ | jq -r 'select(.waiters | length > 5) | .name'`,
	setup: func(f *flag.FlagSet) action {
		c, v := new(connection), new(view)
		c.register(f)
		c.registerPrefix(f)
		v.register(f)
		return func(ctx context.Context, a *app, operands, _ []string) error {
			t, err := parseURL(operands[0])
			if err != nil {
				return err
			}
			return c.look(ctx, a, t, func(ctx context.Context) error {
				return v.show(a, t, c.client.List(ctx, t.name))
			})
		}
	},
}
