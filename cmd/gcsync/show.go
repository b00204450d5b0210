package main

import (
	"context"
	"flag"

	"github.com/gcsync/gcsync"
)

var showCommand = &command{
	name:     "show",
	operands: []string{"gs://bucket/name"},
	about:    "Shows who holds one name and who waits for it, in order.",
	help: `
  gcsync show gs://my-bucket/jobs/nightly
  gcsync show -json gs://my-bucket/jobs/nightly | jq -r '.holders[].token'`,
	setup: func(f *flag.FlagSet) action {
		c, v := new(connection), new(view)
		c.register(f)
		c.registerPrefix(f)
		v.register(f)
		return func(ctx context.Context, a *app, operands, _ []string) error {
			t, err := parseName(operands[0])
			if err != nil {
				return err
			}
			return c.look(ctx, a, t, func(ctx context.Context) error {
				return v.show(a, t, func(yield func(*gcsync.State, error) bool) {
					yield(c.client.Inspect(ctx, t.name))
				})
			})
		}
	},
}
