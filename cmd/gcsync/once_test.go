//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Once: one runs it, everybody sees what it printed; a failure leaves it to the next.
func TestOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	once := func(script string) result { return w.gcsync("once", "gs://bbb/o", "--", "sh", "-c", script) }
	if r := once("echo half; exit 7"); r.code != 7 || r.stdout != "half\n" {
		t.Errorf("failing: %+v", r)
	}
	if s := w.state("o"); s.Kind != "once" || s.Detail != "" {
		t.Errorf("%+v", s)
	}
	word := filepath.Join(t.TempDir(), "word")
	first := w.start("once", "gs://bbb/o", "--", "sh", "-c", "echo in; until [ -e "+word+" ]; do sleep 0.05; done; printf 'all\\nof it'")
	first.line()
	if s := w.state("o"); len(s.Holders) != 1 || s.Holders[0].PID != first.cmd.Process.Pid {
		t.Errorf("%+v", s)
	}
	if r := w.gcsync("once", "-wait", "50ms", "gs://bbb/o", "--", "echo", "never"); r.code != exitNotAcquired || r.stdout != "" {
		t.Errorf("while it is done: %+v", r)
	}
	second := w.start("once", "gs://bbb/o", "--", "echo", "never")
	if err := os.WriteFile(word, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second.want(0)
	if got := second.rest(); got != "in\nall\nof it\n" {
		t.Errorf("one that may have waited: %q", got)
	}
	if r := once("echo never"); r.code != 0 || r.stdout != "in\nall\nof it\n" || r.stderr != "" {
		t.Errorf("done: %+v", r)
	}
	first.want(0)
	if s := w.state("o"); s.Detail != "done" || len(s.Holders) != 0 {
		t.Errorf("%+v", s)
	}
	w.must("once", "-reset", "gs://bbb/o")
	if r := once("printf '\\377'; exit 0"); r.code != 0 || r.stdout != "\xff\n" {
		t.Errorf("after a reset: %+v", r)
	}
	if r := once("echo never"); r.stdout != "\xff\n" {
		t.Errorf("what is no text: %+v", r)
	}
	if got := w.must("once", "-reset", "gs://bbb/o", "--", "echo", "again"); got != "again\n" {
		t.Errorf("reset and done: %q", got)
	}
	r := w.gcsync("once", "gs://bbb/long", "--", "sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x")
	if r.code != 0 || len(r.stdout) < 2000000 || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("a long output: exit code %d, %d bytes: %s", r.code, len(r.stdout), r.stderr)
	}
	if got := w.must("once", "gs://bbb/long", "--", "true"); len(got) != mostKept+1 {
		t.Errorf("%d bytes were kept", len(got))
	}
	for name, args := range map[string][]string{"lock": {"lock"}, "every": {"every", "1h"}} {
		r := w.gcsync(append(args, "gs://bbb/o", "--", "true")...)
		if want := map[string]int{"lock": 0, "every": exitUsage}[name]; r.code != want {
			t.Errorf("%s of the name of a once: %+v", name, r)
		}
	}
}

// Every: one runs it in a period, the others have nothing to do; a failure leaves it to the next.
func TestEvery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Ten years: a period of which the test does not see the end.
	every := func(script string) result {
		return w.gcsync("every", "87600h", "gs://bbb/e", "--", "sh", "-c", script)
	}
	for script, want := range map[string]result{"echo a; exit 3": {3, "a\n", ""}} {
		if r := every(script); r != want {
			t.Errorf("failing: %+v", r)
		}
	}
	if r := every("echo b"); r != (result{0, "b\n", ""}) {
		t.Errorf("the next: %+v", r)
	}
	if r := every("echo never"); r != (result{0, "", ""}) {
		t.Errorf("done: %+v", r)
	}
	for _, period := range []string{"0", "1ms", "x", "-1h", "0d", "d"} {
		if r := w.gcsync("every", period, "gs://bbb/e", "--", "true"); r.code != exitUsage {
			t.Errorf("a period of %s: %+v", period, r)
		}
	}
}

// Elect: one leads and runs it; one that has lost the lead ends its command, and leads again when it can.
func TestElect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	network := w.proxy()
	elect := func(value string) []string {
		return append(append([]string{"elect"}, quick...), "-value", value, "gs://bbb/el", "--", "sh", "-c", "echo in; exec sleep 60")
	}
	cmd := w.command(elect("first")...)
	cmd.Env = append(cmd.Env, "STORAGE_EMULATOR_HOST="+network.url())
	a := w.launch(cmd)
	a.line()
	if s := w.state("el"); len(s.Holders) != 1 || s.Detail != "first" || s.Kind != "election" || s.Holders[0].PID != a.cmd.Process.Pid {
		t.Errorf("%+v", s)
	}
	network.breakOff()
	b := w.start(elect("second")...)
	b.line()
	if s := w.state("el"); s.Detail != "second" {
		t.Errorf("%+v", s)
	}
	w.until("the first knows that it has lost", func() bool { return strings.Contains(a.stderr.String(), "campaigning again") })
	network.heal()
	b.signal(syscall.SIGTERM)
	b.want(143)
	a.line()
	a.signal(syscall.SIGINT)
	a.want(130)
}
