package main

import (
	"context"
	"errors"
	"flag"
)

var electCommand = &command{
	name:     "elect",
	operands: []string{"gs://bucket/name"},
	runs:     true,
	about:    "Runs a command while this machine leads, and again when it leads again.",
	help: `
It campaigns until it leads, and runs the command. If the lead is lost, the command is ended as with gcsync lock, and it
campaigns again. When the command ends by itself, it resigns, and the command's exit code is ours.

What is told with -value can be read by all: gcsync show tells who leads, and what they tell.

  gcsync elect -value "$(hostname -f):8080" gs://my-bucket/scheduler -- ./scheduler`,
	setup: func(f *flag.FlagSet) action {
		j := new(job)
		j.registerWait(f)
		value := f.String("value", "", "`text` that the leader tells everybody, such as an address")
		return func(ctx context.Context, a *app, operands, argv []string) error {
			if err := j.start(ctx, a, operands[0], argv); err != nil {
				return err
			}
			defer j.finish()
			j.waiting = j.queue
			for {
				j.ran = false
				err := j.do(ctx, func(ctx context.Context, f func(context.Context) error) error {
					t, err := j.client.Election(j.target.name).Campaign(ctx, *value)
					if err != nil {
						return err
					}
					inside, cancel := t.Context(ctx)
					defer cancel()
					err = f(inside)
					return errors.Join(err, t.Resign(ctx))
				})
				if !j.ran || codeOf(err) != exitLost {
					return err
				}
				a.say("%v; campaigning again", err)
			}
		}
	},
}
