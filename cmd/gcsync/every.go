package main

import (
	"context"
	"flag"
	"strconv"
	"strings"
	"time"
)

var everyCommand = &command{
	name:     "every",
	operands: []string{"period", "gs://bucket/name"},
	runs:     true,
	about:    "Runs a command unless it was done in this period already, by anybody.",
	help: `
For cron jobs on several machines: each calls it, one does the work, the others find it done and end with 0. Periods are
like 15m, 1h or 1d, and begin where the clock is a multiple of them, in UTC. It does not wait for the next period; that is
what cron does. It is done when the command has ended with 0; if it fails, its exit code is ours, and whoever comes next in
the same period tries again.

  gcsync every 1h gs://my-bucket/cron/report -- ./report.sh
  gcsync every 1d gs://my-bucket/cron/backup -- ./backup.sh`,
	setup: func(f *flag.FlagSet) action {
		j := new(job)
		j.registerWait(f)
		return func(ctx context.Context, a *app, operands, argv []string) error {
			period, err := parsePeriod(operands[0])
			if err != nil {
				return err
			}
			if err := j.start(ctx, a, operands[1], argv); err != nil {
				return err
			}
			defer j.finish()
			j.waiting = j.queue
			return j.do(ctx, func(ctx context.Context, f func(context.Context) error) error {
				_, err := j.client.Every(j.target.name, period).Do(ctx, f)
				return err
			})
		}
	},
}

// parsePeriod reads a duration, of which there may be days.
func parsePeriod(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 366 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d >= time.Second {
		return d, nil
	}
	return 0, usagef("%.40q is no period: a second at least, like 15m, 1h or 1d", text)
}
