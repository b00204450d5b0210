package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"time"

	"github.com/gcsync/gcsync"
)

var watchCommand = &command{
	name:     "watch",
	operands: []string{"gs://bucket/name"},
	about:    "Shows one name again whenever somebody comes, gets it or leaves.",
	help: `
It looks every other second, at the price of a listing ($5 a million), until it is interrupted.

  gcsync watch gs://my-bucket/jobs/nightly
  gcsync watch -json -interval 10s gs://my-bucket/jobs/nightly >> history.jsonl`,
	setup: func(f *flag.FlagSet) action {
		c, v := new(connection), new(view)
		c.register(f)
		c.registerPrefix(f)
		v.register(f)
		interval := duration(f, "interval", 2*time.Second, "time between two looks")
		return func(ctx context.Context, a *app, operands, _ []string) error {
			t, err := parseName(operands[0])
			switch {
			case err != nil:
				return err
			case *interval < 100*time.Millisecond:
				return usagef("-interval %v is too short: make it 100ms at least", *interval)
			}
			if err := c.open(ctx, a, t); err != nil {
				return err
			}
			defer c.close()
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, forwarded[:2]...)
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			go func() { cancel(interrupted{<-signals}) }()
			err = c.watch(ctx, *interval, func(s *gcsync.State) error {
				return v.show(a, t, func(yield func(*gcsync.State, error) bool) { yield(s, nil) })
			})
			if stop, ok := context.Cause(ctx).(interrupted); ok {
				return &failure{code: exitSignal + number(stop.Signal)}
			}
			return err
		}
	},
}

// watch calls show with each state that differs from the one before, until ctx ends.
func (c *connection) watch(ctx context.Context, interval time.Duration, show func(*gcsync.State) error) error {
	var last []string
	for {
		look, cancel := context.WithTimeout(ctx, answer)
		s, err := c.client.Inspect(look, c.target.name)
		cancel()
		if err != nil {
			return err
		}
		if now := outline(s); last == nil || !slices.Equal(now, last) {
			if err := show(s); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}

// outline is what makes one state different from another: who is there, and in which place.
func outline(s *gcsync.State) []string {
	list := []string{s.Kind}
	for _, c := range s.Holders {
		list = append(list, "holds "+strconv.FormatInt(c.Token, 10)+c.Owner)
	}
	for _, c := range s.Waiters {
		list = append(list, "waits "+strconv.FormatInt(c.Token, 10)+c.Owner)
	}
	return list
}
