package main

import (
	"context"
	"errors"
	"flag"
)

var semCommand = &command{
	name:     "sem",
	operands: []string{"gs://bucket/name"},
	runs:     true,
	about:    "Runs a command while no more than so many run in the fleet.",
	help: `
All must agree on the number of slots, or are told so. First come, first served: a command that takes several slots waits
for them, and all that come later wait behind it. Everything else is as with gcsync lock.

  gcsync sem -n 4 gs://my-bucket/renders -- ./render.sh
  gcsync sem -n 4 -take 2 -wait 1h gs://my-bucket/renders -- ./render.sh --huge`,
	setup: func(f *flag.FlagSet) action {
		j := new(job)
		j.register(f)
		n := f.Int64("n", 0, "`number` of slots that there are")
		take := f.Int64("take", 1, "`number` of slots that the command takes")
		return func(ctx context.Context, a *app, operands, argv []string) error {
			if *n < 1 || *take < 1 || *take > *n {
				return usagef("say with -n how many slots there are, and with -take how many of them the command needs")
			}
			if err := j.start(ctx, a, operands[0], argv); err != nil {
				return err
			}
			defer j.finish()
			j.waiting = j.queue
			s := j.client.Semaphore(j.target.name, *n)
			return j.do(ctx, func(ctx context.Context, f func(context.Context) error) error {
				if !j.try {
					return s.Do(ctx, *take, f)
				}
				p, err := s.TryAcquire(ctx, *take)
				switch {
				case err != nil:
					return err
				case p == nil:
					return errBusy
				}
				inside, cancel := p.Context(ctx)
				defer cancel()
				err = f(inside)
				return errors.Join(err, p.Release(ctx))
			})
		}
	},
}
