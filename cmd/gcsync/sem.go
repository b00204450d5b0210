package main

import (
	"context"
	"errors"
	"flag"
	"strconv"
	"strings"

	"github.com/gcsync/gcsync"
)

var semCommand = &command{
	name:     "sem",
	operands: []string{"gs://bucket/name"},
	runs:     true,
	about:    "Runs a command while no more than so many run in the fleet.",
	help: `
Slots are numbered from 0. In the command's environment is GCSYNC_SLOT, the numbers of those that it holds, with spaces
between them; GCSYNC_TOKEN is the fencing token of the first. Each slot is first come, first served. Those who say different
numbers with -n share the slots that both have: so a fleet changes from one number to another by one program after the
other, and meanwhile there are never more than the larger of the two. Everything else is as with gcsync lock.

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
				acquire := s.Acquire
				if j.try {
					acquire = s.TryAcquire
				}
				p, err := acquire(ctx, *take)
				switch {
				case errors.Is(err, gcsync.ErrBusy):
					return errBusy
				case err != nil:
					return err
				}
				var numbers []string
				for _, slot := range p.Slots() {
					numbers = append(numbers, strconv.FormatInt(slot.Number, 10))
				}
				j.env = []string{"GCSYNC_SLOT=" + strings.Join(numbers, " ")}
				inside, cancel := p.Context(ctx)
				defer cancel()
				err = f(inside)
				return errors.Join(err, p.Release(ctx))
			})
		}
	},
}
