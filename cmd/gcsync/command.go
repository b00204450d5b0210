package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// command is one thing that gcsync does.
type command struct {
	name     string
	operands []string // what comes after the flags, for people
	runs     bool     // a command line of the user's follows
	about    string   // one line
	help     string   // the rest, with examples

	setup func(*flag.FlagSet) action
}

// action does it, with the operands and the user's command line.
type action func(ctx context.Context, a *app, operands, argv []string) error

// commands are all of them, in the order in which help lists them. They are set at the start, because help and
// completion are among them and read the list.
var commands []*command

func init() {
	commands = []*command{
		lockCommand, semCommand, onceCommand, everyCommand, electCommand, leaseCommand,
		lsCommand, showCommand, watchCommand, releaseCommand, gcCommand,
		doctorCommand, emulatorCommand,
		completionCommand, helpCommand, versionCommand,
	}
}

func find(name string) *command {
	for _, c := range commands {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (c *command) flags() (*flag.FlagSet, action) {
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f, c.setup(f)
}

// parse reads the arguments. Flags may come after the operands, too; the user's command line begins after "--", or after
// the last operand.
func (c *command) parse(f *flag.FlagSet, args []string) (operands, argv []string, err error) {
	dashes := c.runs && slices.Contains(args, "--")
	if dashes {
		i := slices.Index(args, "--")
		args, argv = args[:i], args[i+1:]
	}
	for {
		if err := f.Parse(args); err != nil {
			return nil, nil, err
		}
		args = f.Args()
		if len(args) == 0 || c.runs && !dashes && len(operands) == len(c.operands) {
			break
		}
		operands, args = append(operands, args[0]), args[1:]
	}
	if c.runs && !dashes {
		argv = args
	}
	optional := 0
	for _, o := range c.operands {
		if strings.HasPrefix(o, "[") {
			optional++
		}
	}
	switch {
	case len(operands) > len(c.operands):
		return nil, nil, fmt.Errorf("unexpected argument %q", operands[len(c.operands)])
	case len(operands) < len(c.operands)-optional:
		return nil, nil, fmt.Errorf("missing %s", c.operands[len(operands)])
	}
	return operands, argv, nil
}

// synopsis is the command's line in the manual.
func (c *command) synopsis() string {
	parts := append([]string{"gcsync", c.name, "[flags]"}, c.operands...)
	if c.runs {
		parts = append(parts, "--", "command", "[args]")
	}
	return strings.Join(parts, " ")
}

// manual is what help prints about the command.
func (c *command) manual() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n%s\n", c.synopsis(), c.about, strings.TrimSpace(c.help))
	f, _ := c.flags()
	any := false
	f.VisitAll(func(*flag.Flag) { any = true })
	if any {
		fmt.Fprintln(&b, "\nFlags:")
		f.SetOutput(&b)
		f.PrintDefaults()
	}
	return b.String()
}
