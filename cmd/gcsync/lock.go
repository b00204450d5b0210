package main

import (
	"context"
	"flag"
)

var lockCommand = &command{
	name:     "lock",
	operands: []string{"gs://bucket/name"},
	runs:     true,
	about:    "Runs a command while nobody else in the fleet holds the lock.",
	help: `
The lock is the Mutex of the Go library: fair, kept alive while the command runs, free as soon as it has ended, or one
lease after the machine has died. The command and all that it starts in its process group end before the lock does: if
it is lost, because the service could not be reached, they get SIGTERM and then SIGKILL in time before anybody else can
have it.

The exit code is the command's, 128+n if signal n ended it. Codes of gcsync itself: 64 usage, 69 the bucket cannot be
used, 75 not acquired (-E sets another), 76 lost, 126 the command cannot be run, 127 not found.

In the command's environment: GCSYNC_NAME, GCSYNC_OWNER, and GCSYNC_TOKEN, the fencing token, greater than that of every
holder before.

  gcsync lock gs://my-bucket/deploy -- ./deploy.sh production
  gcsync lock -wait 10m gs://my-bucket/db/migrate -- make migrate
  gcsync lock -try -E 0 gs://my-bucket/cron/report -- ./report.sh   # one of many cron jobs; the others end with 0`,
	setup: func(f *flag.FlagSet) action {
		j := new(job)
		j.register(f)
		return func(ctx context.Context, a *app, operands, argv []string) error {
			if err := j.start(ctx, a, operands[0], argv); err != nil {
				return err
			}
			defer j.finish()
			j.waiting = j.queue
			m := j.client.Mutex(j.target.name)
			if !j.try {
				return j.do(ctx, m.Do)
			}
			return j.do(ctx, func(ctx context.Context, f func(context.Context) error) error {
				return attempt(ctx, m, f)
			})
		}
	},
}
