package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/gcsync/gcsync/lease"
)

var leaseCommand = &command{
	name:     "lease",
	operands: []string{"gs://bucket/object"},
	runs:     true,
	about:    "Runs a command under a lease on one object, which the Python tool gcslock understands.",
	help: `
The object is called just as the URL says, and laid out like those of gcs-atomic-lock: Go and Python can meet on it, and
a script can change over one host at a time:

  gcslock -b my-bucket -k jobs/nightly -e 20 -w 60 ./nightly.sh
  gcsync lease -expires 20 -wait 60 gs://my-bucket/jobs/nightly -- ./nightly.sh

It differs in that the lease is renewed while the command runs, that the command is ended if the lease is lost, that the
exit code is the command's, and that two callers of one owner exclude each other. Those who wait have no order. Exit codes
and environment are those of gcsync lock.`,
	setup: func(f *flag.FlagSet) action {
		j := new(job)
		expires, wait := seconds(20*time.Second), seconds(0)
		owner := ""
		j.connection.register(f)
		f.Var(&expires, "expires", "how long the holder may be silent before others take over: `seconds`, or 20s, 1m")
		f.Var(&wait, "wait", "how long to wait: `seconds`, or 20s, 1m; 0: try once (default 0)")
		f.StringVar(&owner, "owner", "", "`name` to show to others (default gcsync, the process number and the host)")
		f.IntVar(&j.busyCode, "E", exitNotAcquired, "exit `code` when it was not to be had")
		f.BoolVar(&j.progress, "progress", false, "tell while waiting who holds it, even where the standard error is no terminal")
		return func(ctx context.Context, a *app, operands, argv []string) error {
			j.wait, j.try = time.Duration(wait), wait == 0
			j.ttl = (time.Duration(expires) + time.Second - 1).Truncate(time.Second)
			j.claim = j.ttl
			if err := j.start(ctx, a, operands[0], argv); err != nil {
				return err
			}
			defer j.finish()
			if j.owner = owner; owner == "" {
				j.owner = fmt.Sprintf("gcsync/%d@%s", os.Getpid(), host())
			}
			j.waiting = j.leaseholder
			opts := &lease.Options{Owner: j.owner, TTL: j.ttl, Logger: j.logger()}
			return j.do(ctx, func(ctx context.Context, f func(context.Context) error) error {
				if !j.try {
					return lease.Do(ctx, j.bucket, j.target.name, opts, f)
				}
				h, err := lease.TryAcquire(ctx, j.bucket, j.target.name, opts)
				var held *lease.HeldError
				switch {
				case errors.As(err, &held):
					return fmt.Errorf("%w: %w", errBusy, err)
				case err != nil:
					return err
				}
				inside, cancel := h.Context(ctx)
				defer cancel()
				err = f(inside)
				return errors.Join(err, h.Release(ctx))
			})
		}
	},
}

// leaseholder tells who holds the object.
func (j *job) leaseholder(ctx context.Context) (string, error) {
	s, err := lease.Read(ctx, j.bucket, j.target.name)
	if err != nil || s.Expired {
		return "", err
	}
	return fmt.Sprintf("held by %s, last heard of at %s", s.Owner, s.Updated.Local().Format("15:04:05")), nil
}

// seconds is a duration that may be written as a number of seconds.
type seconds time.Duration

func (s *seconds) String() string { return time.Duration(*s).String() }

func (s *seconds) Set(text string) error {
	if n, err := strconv.Atoi(text); err == nil {
		text = strconv.Itoa(n) + "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("not a number of seconds, nor a duration such as 1m30s")
	}
	*s = seconds(d)
	return nil
}
