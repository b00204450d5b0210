package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"

	"unicode/utf8"

	"github.com/gcsync/gcsync"
)

var onceCommand = &command{
	name:     "once",
	operands: []string{"gs://bucket/name"},
	runs:     true,
	about:    "Runs a command unless it was done before, by anybody.",
	help: `
It is done when the command has ended with 0. What it has printed on its standard output is kept, up to 1 MiB, and printed
by everybody who comes later, at once and with exit code 0. While somebody else is at it, it waits, and takes over if they
fail. If the command fails, its exit code is ours, and whoever comes next tries again.

A command may run twice if its machine dies, or cannot reach the bucket, between the work and the record of it.

  gcsync once gs://my-bucket/migrate/v42 -- ./migrate.sh 42
  token=$(gcsync once gs://my-bucket/setup/token -- openssl rand -hex 16)
  gcsync once -reset gs://my-bucket/migrate/v42          # forget that it was done`,
	setup: func(f *flag.FlagSet) action {
		j := new(job)
		j.registerWait(f)
		reset := f.Bool("reset", false, "have it done again: at once if there is a command, else by the next that comes")
		return func(ctx context.Context, a *app, operands, argv []string) error {
			if *reset && len(argv) == 0 {
				t, err := parseName(operands[0])
				if err != nil {
					return err
				}
				return j.look(ctx, a, t, func(ctx context.Context) error { return j.client.Once(t.name).Reset(ctx) })
			}
			if err := j.start(ctx, a, operands[0], argv); err != nil {
				return err
			}
			defer j.finish()
			j.waiting = j.queue
			once := j.client.Once(j.target.name)
			var shown *output
			if err := j.do(ctx, func(ctx context.Context, f func(context.Context) error) error {
				if *reset {
					if err := once.Reset(ctx); err != nil {
						return err
					}
				}
				var err error
				shown, err = j.once(ctx, once, f)
				return err
			}); err != nil || j.ran {
				return err
			}
			return write(a.stdout, shown.text())
		}
	},
}

// output is what a command printed, as it is kept.
type output struct {
	Text   string `json:"output"`
	Bytes  []byte `json:"bytes,omitempty"`  // in place of a text that is not UTF-8
	Excess bool   `json:"excess,omitempty"` // there was more

	raw string // of what another program has kept
}

func (o *output) text() string {
	switch {
	case o == nil:
		return ""
	case o.raw != "":
		return o.raw + "\n"
	case o.Bytes != nil:
		return string(o.Bytes)
	}
	return o.Text
}

// once runs f unless it was done, and returns what it has printed, then or now.
func (j *job) once(ctx context.Context, once *gcsync.Once, f func(context.Context) error) (*output, error) {
	kept := new(head)
	j.output = kept
	value, err := gcsync.OnceValue(once, func(ctx context.Context) (json.RawMessage, error) {
		if err := f(ctx); err != nil {
			return nil, err
		}
		out := output{Excess: kept.excess}
		if text := kept.Bytes(); utf8.Valid(text) {
			out.Text = string(text)
		} else {
			out.Bytes = text
		}
		if out.Excess {
			j.a.say("%v: only the first %d bytes of the output are kept", j.target, kept.Len())
		}
		return json.Marshal(out)
	})(ctx)
	if err != nil {
		if done, _ := once.Done(ctx); done && !j.ran {
			return nil, nil // by a program that has kept no value
		}
		return nil, err
	}
	out := new(output)
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.DisallowUnknownFields()
	if decoder.Decode(out) != nil {
		out = &output{raw: string(value)}
	}
	return out, nil
}

// head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	excess bool
}

const mostKept = 1 << 20

func (t *head) Write(p []byte) (int, error) {
	n := len(p)
	if room := mostKept - t.Len(); n > room {
		t.excess, p = true, p[:room]
	}
	_, _ = t.Buffer.Write(p)
	return n, nil
}
