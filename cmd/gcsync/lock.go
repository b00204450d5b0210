package main

import (
	"context"
	"errors"
	"flag"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/lease"
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
  gcsync lock -shared gs://my-bucket/catalog -- ./export.sh    # many at once,
  gcsync lock -exclusive gs://my-bucket/catalog -- ./import.sh # but nobody beside this one
  gcsync lock -try gs://my-bucket/backup -- ./backup.sh   # not beside another one

That a lock is free does not tell that the work was done: cron jobs on several machines that each try would run one after the
other. For work that is to be done once in an hour or a day, by any of them, there is gcsync every.`,
	setup: func(f *flag.FlagSet) action {
		j := new(job)
		j.register(f)
		shared := f.Bool("shared", false, "share the lock with other readers; those who write use -exclusive")
		exclusive := f.Bool("exclusive", false, "lock the write side of a name that others use with -shared")
		return func(ctx context.Context, a *app, operands, argv []string) error {
			if err := j.start(ctx, a, operands[0], argv); err != nil {
				return err
			}
			defer j.finish()
			j.waiting = j.queue
			if *shared && *exclusive {
				return usagef("-shared and -exclusive exclude each other")
			}
			acquire := locking.Do
			if j.try {
				acquire = attempt
			}
			return j.do(ctx, func(ctx context.Context, f func(context.Context) error) error {
				name := j.target.name
				switch {
				case *shared:
					return acquire(readSide{j.client.RWMutex(name)}, ctx, f)
				case *exclusive:
					return acquire(j.client.RWMutex(name), ctx, f)
				}
				err := acquire(j.client.Mutex(name), ctx, f)
				var mismatch *gcsync.MismatchError
				if j.ran || !errors.As(err, &mismatch) || mismatch.Theirs != "rwmutex" {
					return err
				}
				// Others share the name: without -shared we are their writer. A client knows a name as one thing only.
				if err := j.newClient(); err != nil {
					return err
				}
				return acquire(j.client.RWMutex(name), ctx, f)
			})
		}
	},
}

// locking is what can be locked.
type locking interface {
	Do(ctx context.Context, f func(context.Context) error) error
	TryLock(ctx context.Context) (bool, error)
	Unlock(ctx context.Context) error
	Lease() *lease.Lease
}

// readSide locks for reading.
type readSide struct{ *gcsync.RWMutex }

func (r readSide) Do(ctx context.Context, f func(context.Context) error) error { return r.RDo(ctx, f) }
func (r readSide) TryLock(ctx context.Context) (bool, error)                   { return r.TryRLock(ctx) }
func (r readSide) Unlock(ctx context.Context) error                            { return r.RUnlock(ctx) }
func (r readSide) Lease() *lease.Lease                                         { return r.RLease() }

// attempt is Do for those who do not wait.
func attempt(l locking, ctx context.Context, f func(context.Context) error) error {
	ok, err := l.TryLock(ctx)
	switch {
	case err != nil:
		return err
	case !ok:
		return errBusy
	}
	inside, cancel := l.Lease().Context(ctx)
	defer cancel()
	err = f(inside)
	return errors.Join(err, l.Unlock(ctx))
}
