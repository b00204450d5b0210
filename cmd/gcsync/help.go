package main

import (
	"context"
	"flag"
	"fmt"
	"runtime/debug"
	"strings"
)

var helpCommand = &command{
	name:     "help",
	operands: []string{"[command]"},
	about:    "Tells what there is, or all about one command.",
	setup: func(*flag.FlagSet) action {
		return func(_ context.Context, a *app, operands, _ []string) error {
			if len(operands) == 0 {
				return write(a.stdout, overview())
			}
			c := find(operands[0])
			if c == nil {
				return usagef("no command %q: gcsync help lists them", operands[0])
			}
			return write(a.stdout, c.manual())
		}
	},
}

// overview lists the commands.
func overview() string {
	var b strings.Builder
	b.WriteString(`gcsync is the flock(1) of a bucket: locks for many machines, kept in Google Cloud Storage.

  gcsync lock gs://my-bucket/jobs/nightly -- ./nightly.sh

Commands:
`)
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-11s %s\n", c.name, c.about)
	}
	b.WriteString(`
gcsync help <command> tells about flags and gives examples.

Credentials are the application default (gcloud auth application-default login, or the machine's service account), or
those of -credentials file.json. With STORAGE_EMULATOR_HOST=http://127.0.0.1:4443 all commands use an emulator, such as
the one that gcsync emulator starts.
`)
	return b.String()
}

var versionCommand = &command{
	name:  "version",
	about: "Tells the version.",
	setup: func(*flag.FlagSet) action {
		return func(_ context.Context, a *app, _, _ []string) error {
			version := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version + " " + info.GoVersion
			}
			return write(a.stdout, "gcsync "+version+"\n")
		}
	},
}
