package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

// The page in the docs is what help says.
func TestManual(t *testing.T) {
	const file = "../../docs/cli.md"
	want := page()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date: go test -run TestManual ./cmd/gcsync -update", file)
	}
}

// page is the manual of all commands.
func page() string {
	var b strings.Builder
	b.WriteString(`# gcsync, the command

<!-- Written by go test -run TestManual ./cmd/gcsync -update, from the help of the commands. -->

The flock(1) of a bucket: runs commands under locks that are kept in Google Cloud Storage, and shows who holds what.

    go install github.com/gcsync/gcsync/cmd/gcsync@latest

![gcsync in a terminal](lock.svg)

## Synopsis

`)
	for _, c := range commands {
		b.WriteString("    " + c.synopsis() + "\n")
	}
	b.WriteString(`
Flags may stand before or after what the synopsis names, but before the ` + "`--`" + `, which may be left out.

## Exit codes

| code | meaning |
|---|---|
| 0 | the command ended with 0; of ` + "`once` and `every`" + `: or there was nothing to do |
| 1 | ` + "`doctor`" + ` found something to mend |
| 64 | usage: the command line is wrong, or the name is used as something else; nothing was done |
| 69 | service: the bucket is missing, forbidden or out of reach |
| 75 | not acquired: somebody else was seen to hold it (` + "`-E`" + ` sets another code); of ` + "`release`" + `: not held under that token |
| 76 | lost: the lock was lost while the command ran, which was ended |
| 126 | the command cannot be run |
| 127 | the command was not found |
| 128+n | signal n ended the command, or the waiting |
| any | the command's own; what it ends with is passed on as it is, also where it is one of these |

A command that ends because the lock was lost makes it 76, whatever its own code; that is told on the standard error.

## The command that is run

- It has a process group of its own. When it has ended, whatever it has left in that group gets SIGTERM and then SIGKILL
  before the lock is released: nothing that it started outlives the lock, but what has left the group (setsid).
- SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are handed on to the group. Those that were ignored when gcsync
  started, by nohup say, stay so.
- On a terminal the command is the foreground: it can read, and Ctrl-C is for it. Ctrl-Z does nothing, since a command
  that is stopped would hold the lock.
- When the lease can no longer be renewed, it ends a margin (a tenth of the TTL, at least 1 s) before anybody else may
  take over. At that moment the group gets SIGTERM, and SIGKILL after half of the margin; the other half is for the
  difference between clocks. With ` + "`-grace`" + ` the SIGTERM comes so much earlier.
- If gcsync itself is killed, the kernel kills the command on Linux; what the command has started, and commands on other
  systems, live on. A gcsync that is stopped (SIGSTOP) cannot end anything until it goes on. Against both there is
  GCSYNC_TOKEN: let the resource refuse a token smaller than the greatest it has seen.
- On Windows there are no groups and no SIGTERM: the command is killed, what it has started is not.

## Environment

| variable | |
|---|---|
| ` + "`GCSYNC_NAME`, `GCSYNC_OWNER`, `GCSYNC_TOKEN`" + ` | set for the command: the name, who holds it, and the fencing token |
| ` + "`STORAGE_EMULATOR_HOST`" + ` | heeded: an emulator to use in place of Cloud Storage |
| ` + "`GOOGLE_APPLICATION_CREDENTIALS`" + ` | heeded, unless ` + "`-credentials`" + ` names another file |

## What programs can read

` + "`ls`, `show` and `watch`" + ` print a JSON object a line where the standard output is no terminal, or with ` + "`-json`" + `:
` + "`name`, `url`, `kind`, `slots`, `holders`, `waiters`, `used`, `at`" + `; of each holder and waiter, in order, ` + "`owner`, `host`,\n`pid`, `token`" + ` (text: it has 63 bits), ` + "`slots`, `came` (when it queued), `since` (when it began to hold), `age_seconds`,\n`renewed`, `lease_seconds`, `expires`, `expires_in_seconds`" + `. Times are the service's. A holder that has not renewed yet has no expiry,\nand nothing tells since when it holds: for less than a third of its lease, if it lives.
`)
	for _, c := range commands {
		b.WriteString("\n## " + c.name + "\n\n")
		for line := range strings.Lines(c.manual()) {
			b.WriteString(strings.TrimRight("    "+strings.TrimSuffix(line, "\n"), " \t") + "\n")
		}
	}
	return b.String()
}
