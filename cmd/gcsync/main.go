// Command gcsync is the flock(1) of a bucket: it runs commands under locks that are kept in Google Cloud Storage, for
// cron jobs, deploy scripts and pipelines on many machines, and shows who holds what.
//
//	gcsync lock gs://my-bucket/jobs/nightly -- ./nightly.sh
//	gcsync ls gs://my-bucket/
//	gcsync help
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/lease"
)

// Exit codes of gcsync itself, those of sysexits.h where it has one. All others are the command's.
const (
	exitProblem     = 1   // doctor found something to mend
	exitUsage       = 64  // the command line is wrong; nothing was done
	exitService     = 69  // the bucket cannot be used: missing, forbidden, out of reach
	exitNotAcquired = 75  // somebody else holds it; to try again later may help
	exitLost        = 76  // the lock was lost while the command ran, which was ended
	exitCannotRun   = 126 // the command was found and cannot be run
	exitNotFound    = 127 // no such command
	exitSignal      = 128 // plus the number of the signal that ended the command, or the waiting
)

// failure is an error with an exit code. One without an error says nothing: the command has said what there was to say.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit code %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func usagef(format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...)}
}

// codeOf returns the exit code that an error stands for.
func codeOf(err error) int {
	var f *failure
	var mismatch *gcsync.MismatchError
	var held *lease.HeldError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, gcsync.ErrLost):
		return exitLost
	case errors.Is(err, gcsync.ErrName), errors.As(err, &mismatch):
		return exitUsage
	case errors.As(err, &held):
		return exitNotAcquired
	}
	return exitService
}

// app is the program's surroundings.
type app struct {
	stdout, stderr *os.File
}

func main() {
	a := &app{stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(a.main(context.Background(), os.Args[1:]))
}

func (a *app) main(ctx context.Context, args []string) int {
	err := a.run(ctx, args)
	var f *failure
	if err != nil && !(errors.As(err, &f) && f.err == nil) {
		a.say("%v", err)
	}
	return codeOf(err)
}

// run finds the command that the first argument names, and runs it.
func (a *app) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usagef("say what to do: gcsync help")
	}
	switch args[0] {
	case "-h", "-help", "--help":
		args[0] = "help"
	case "-version", "--version":
		args[0] = "version"
	}
	c := find(args[0])
	if c == nil {
		return usagef("no command %q: gcsync help lists them", args[0])
	}
	flags, act := c.flags()
	operands, argv, err := c.parse(flags, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return write(a.stdout, c.manual())
	case err != nil:
		return usagef("%s: %w (gcsync help %s)", c.name, err, c.name)
	}
	return act(ctx, a, operands, argv)
}

// say tells the caller something, in one line.
func (a *app) say(format string, args ...any) {
	text := oneLine(strings.ReplaceAll(strings.TrimPrefix(fmt.Sprintf(format, args...), "gcsync: "), ": gcsync: ", ": "))
	fmt.Fprintf(a.stderr, "gcsync: %s\n", text)
}

// oneLine makes one line of a text of several, which errors that were joined are.
func oneLine(text string) string {
	return printable(strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "))
}

// printable takes from a text what would make a terminal do something: names and owners are anybody's.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' {
			return '?'
		}
		return r
	}, text)
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return &failure{exitService, err}
	}
	return nil
}

// isTerminal reports whether f is one. Other devices are taken for terminals too, but for the one that is not there to be
// read.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
