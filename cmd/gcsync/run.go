package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/lease"
)

// job is a command to be run under something that has to be had first.
type job struct {
	connection
	wait     time.Duration
	try      bool
	busyCode int
	grace    time.Duration
	progress bool
	output   io.Writer // what the command writes goes here as well, where set

	argv    []string
	signals chan os.Signal
	env     []string                                  // for the command, besides what is there for all
	waiting func(ctx context.Context) (string, error) // tells whom we wait for
	ran     bool
}

// register adds the flags of all commands that run one under a lock.
func (j *job) register(f *flag.FlagSet) {
	j.registerWait(f)
	f.BoolVar(&j.try, "try", false, "do not wait")
}

// registerWait adds the flags of all commands that wait for something and run a command then.
func (j *job) registerWait(f *flag.FlagSet) {
	j.connection.register(f)
	j.registerHold(f)
	durationVar(f, &j.wait, "wait", 0, "give up when it was not to be had for so long (default: wait for ever)")
	f.IntVar(&j.busyCode, "E", exitNotAcquired, "exit `code` when it was not to be had")
	durationVar(f, &j.grace, "grace", 0, "when the lock is about to be lost, how long after SIGTERM the command is killed\n"+
		"(default: half of the margin of the lease, 1.5s for a TTL of 30s)")
	f.BoolVar(&j.progress, "progress", false, "tell while waiting who holds it, even where the standard error is no terminal")
}

// start checks the command line, opens the bucket and listens for signals.
func (j *job) start(ctx context.Context, a *app, url string, argv []string) error {
	t, err := parseName(url)
	if err != nil {
		return err
	}
	switch {
	case len(argv) == 0:
		return usagef("no command to run: put it after --")
	case j.wait < 0 || j.grace < 0:
		return usagef("-wait and -grace must not be negative")
	case j.try && j.wait > 0:
		return usagef("-try and -wait exclude each other")
	case j.busyCode < 0 || j.busyCode > 255:
		return usagef("-E %d is no exit code", j.busyCode)
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return &failure{exitNotFound, fmt.Errorf("%s: command not found", argv[0])}
		}
		return &failure{exitCannotRun, fmt.Errorf("cannot run %s: %w", argv[0], err)}
	}
	j.waits = !j.try
	if err := j.open(ctx, a, t); err != nil {
		return err
	}
	if shortest := j.shortest(); j.grace > lease.Margin(shortest)/2+shortest/3 {
		j.close()
		return usagef("-grace %v is too long for a lease of %v: make it %v at most, or -ttl and -claim longer",
			j.grace, shortest, lease.Margin(shortest)/2+shortest/3)
	}
	j.argv = argv
	j.signals = make(chan os.Signal, 16)
	for _, s := range forwarded {
		if !signal.Ignored(s) { // by nohup, or a shell that runs us in the background: so it stays
			signal.Notify(j.signals, s)
		}
	}
	return nil
}

// shortest is the length of the shorter of the leases that are asked for.
func (j *job) shortest() time.Duration {
	if j.claim > 0 {
		return min(j.claim, j.ttl)
	}
	return min(10*time.Second, j.ttl)
}

// errBusy says that it was not to be had in time, or at once.
var errBusy = errors.New("held by others")

// errLate says that -wait is over.
var errLate = errors.New("gave up waiting")

// interrupted says that a signal has ended the waiting.
type interrupted struct{ os.Signal }

func (i interrupted) Error() string { return "interrupted: " + i.String() }

// do runs the command by way of acquire, which waits for something and runs a function under it, as the methods called
// Do of the library do. The context that acquire gets bounds the waiting; once the function runs, signals are the
// command's.
func (j *job) do(ctx context.Context, acquire func(ctx context.Context, f func(context.Context) error) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	waiting, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	watchers.Go(func() {
		var late <-chan time.Time
		if j.wait > 0 {
			t := time.NewTimer(j.wait)
			defer t.Stop()
			late = t.C
		}
		select {
		case s := <-j.signals:
			cancel(interrupted{s})
		case <-late:
			cancel(errLate)
		case <-waiting.Done():
		}
	})
	if j.waiting != nil && !j.try && (j.progress || isTerminal(j.a.stderr)) {
		watchers.Go(func() { j.showProgress(waiting) })
	}
	had := sync.OnceFunc(func() {
		stop()
		watchers.Wait()
	})
	err := acquire(ctx, func(inside context.Context) error {
		had()
		if err := context.Cause(ctx); err != nil {
			return err // at the same moment
		}
		j.ran = true
		return j.run(inside)
	})
	had()
	return j.verdict(err)
}

// finish releases all, and ends what was begun.
func (j *job) finish() {
	if err := j.close(); err != nil && j.verbose {
		j.a.say("%v", err)
	}
	signal.Stop(j.signals)
}

// verdict turns what came of it into the error to end with.
func (j *job) verdict(err error) error {
	var f *failure
	var stop interrupted
	switch {
	case err == nil:
		return nil
	case j.ran && errors.Is(err, gcsync.ErrLost):
		if errors.As(err, &f) && f.err == nil {
			err = fmt.Errorf("%w (the command's exit code was %d)", err, f.code)
		}
		return &failure{exitLost, fmt.Errorf("%v was lost while the command ran: %w", j.target, err)}
	case j.ran && errors.Is(err, gcsync.ErrUnconfirmed):
		j.a.say("%v: %v", j.target, err)
		if errors.As(err, &f) {
			return f
		}
		return nil
	case j.ran && errors.As(err, &f):
		return f
	case errors.As(err, &stop):
		return &failure{exitSignal + number(stop.Signal), fmt.Errorf("%v: interrupted while waiting", j.target)}
	case errors.Is(err, gcsync.ErrNoAnswer):
		return &failure{exitService, err}
	case errors.Is(err, errBusy), errors.Is(err, errLate):
		return j.busy(err)
	}
	return err
}

// busy says what kept us out, as it is now, or as it was last seen. Only if that was somebody who holds it, or waits, it is
// for the others to blame.
func (j *job) busy(err error) error {
	what := fmt.Sprintf("%v was not to be had", j.target)
	if j.wait > 0 {
		what += fmt.Sprintf(" within %v", j.wait)
	}
	var seen *gcsync.WaitError
	var held *lease.HeldError
	blame := j.try || errors.As(err, &held) || errors.As(err, &seen) && (seen.Holder != "" || seen.Ahead > 0)
	if j.waiting == nil {
		return &failure{j.busyCode, errors.New(what)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	why, err := j.waiting(ctx)
	if _, rest, found := strings.Cut(why, "; "); found && strings.HasPrefix(why, "we are number") {
		why = rest // and no more
	}
	switch {
	case why != "":
		return &failure{j.busyCode, fmt.Errorf("%s: %s", why, what)}
	case blame:
		return &failure{j.busyCode, errors.New(what)}
	case err != nil:
		return &failure{exitService, fmt.Errorf("the service does not answer: %w: %s", err, what)}
	}
	return &failure{exitService, fmt.Errorf("too short a time for the service: %s", what)}
}

// run runs the command for as long as ctx lasts, and returns how it ended.
//
// Others may have the lock a margin after the end of the lease that is in ctx. Half of the margin is for the difference
// between clocks; in the other half everything that the command has started must end, by force if need be. A longer
// grace begins earlier, while the lease still holds.
func (j *job) run(ctx context.Context) error {
	held, _ := lease.From(ctx)
	margin := lease.Margin(j.shortest())
	cmd := exec.Command(j.argv[0], j.argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, j.a.stdout, j.a.stderr
	cmd.Env = append(os.Environ(), "GCSYNC_NAME="+j.target.name, "GCSYNC_OWNER="+j.owner)
	cmd.Env = append(cmd.Env, j.env...)
	if held != nil {
		cmd.Env = append(cmd.Env, "GCSYNC_TOKEN="+strconv.FormatInt(held.Token(), 10))
		margin = held.Margin()
	}
	copied, err := j.tee(cmd)
	if err != nil {
		return &failure{exitCannotRun, err}
	}
	g, err := startGroup(cmd)
	copied(err == nil)
	if err != nil {
		return &failure{exitCannotRun, fmt.Errorf("cannot run %s: %w", j.argv[0], err)}
	}

	patience := margin / 2
	if j.grace > 0 {
		patience = min(patience, j.grace)
	}
	early := newAlarm(held, max(0, j.grace-margin/2))
	defer early.stop()
	kill := time.NewTimer(time.Hour)
	kill.Stop()
	defer kill.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	poll.Stop()
	lost, exited := ctx.Done(), g.exited
	told := false
	end := func(within time.Duration) {
		if !told {
			told = true
			g.terminate()
		}
		kill.Reset(within)
	}
	for gone := false; !gone; {
		select {
		case s := <-j.signals:
			g.signal(s)
		case <-lost:
			lost = nil
			end(patience)
		case <-early.c:
			if early.due() {
				j.a.say("%v is about to be lost: it could not be renewed", j.target)
				end(j.grace)
			}
		case <-kill.C:
			g.kill()
			kill.Reset(100 * time.Millisecond) // until nothing is left
		case <-exited:
			exited = nil
			if gone = !g.alive(); !gone {
				end(patience) // nothing that it has started may outlive the lock
				poll.Reset(20 * time.Millisecond)
			}
		case <-poll.C:
			gone = exited == nil && !g.alive()
		}
	}
	g.close()
	copied(false)
	return j.outcome(ctx, g, told && early.rang)
}

// outcome is how the command has ended, and the lease with it.
func (j *job) outcome(ctx context.Context, g *group, gaveUp bool) error {
	code := g.exitCode()
	status := error(&failure{code: code})
	if code == 0 {
		status = nil
	}
	switch cause := context.Cause(ctx); {
	case ctx.Err() != nil && errors.Is(cause, gcsync.ErrLost):
		return errors.Join(cause, status)
	case gaveUp:
		return errors.Join(fmt.Errorf("%w: not renewed in time", gcsync.ErrLost), status)
	}
	return status
}

// tee has the command's output go to j.output as well. The returned function is to be called after the start, and with
// false once nothing writes any more, when it waits for the rest.
func (j *job) tee(cmd *exec.Cmd) (copied func(started bool), err error) {
	if j.output == nil {
		return func(bool) {}, nil
	}
	r, w, err := os.Pipe() // of our own: exec would wait for whoever has inherited it
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.MultiWriter(j.a.stdout, j.output), r)
	}()
	return func(started bool) {
		w.Close()
		if !started {
			// Whatever left the group may hold the pipe for ever.
			_ = r.SetReadDeadline(time.Now().Add(time.Second))
			<-done
			r.Close()
		}
	}, nil
}

// alarm rings when a lease comes so close to its end that the command must begin to stop.
type alarm struct {
	c     <-chan time.Time
	timer *time.Timer
	lease *lease.Lease
	ahead time.Duration
	rang  bool
}

func newAlarm(held *lease.Lease, ahead time.Duration) *alarm {
	al := &alarm{lease: held, ahead: ahead}
	if held != nil && ahead > 0 {
		al.timer = time.NewTimer(al.left())
		al.c = al.timer.C
	}
	return al
}

func (al *alarm) left() time.Duration { return time.Until(al.lease.Deadline()) - al.ahead }

// due reports whether it is time; if the lease was renewed meanwhile, the alarm is set again.
func (al *alarm) due() bool {
	if left := al.left(); left > 0 {
		al.timer.Reset(left)
		return false
	}
	al.rang = true
	return true
}

func (al *alarm) stop() {
	if al.timer != nil {
		al.timer.Stop()
	}
}
