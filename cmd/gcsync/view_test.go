//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// ls and show agree with what runs, and with each other.
func TestView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	var all []*proc
	for i := range 3 {
		p := w.start("lock", "gs://bbb/jobs/m", "--", "sh", "-c", "echo $GCSYNC_TOKEN; exec sleep 60")
		all = append(all, p)
		w.until("it stands in the queue", func() bool { return w.tickets("jobs/m") == i+2 })
	}
	token := all[0].line()
	w.must("lock", "gs://bbb/jobs/free", "--", "true")
	w.must("lock", "gs://bbb/other", "--", "true")

	s := w.state("jobs/m")
	if len(s.Holders) != 1 || len(s.Waiters) != 2 || s.Holders[0].Token != token || s.Kind != "mutex" {
		t.Fatalf("%+v", s)
	}
	me, _ := os.Hostname()
	for i, c := range append(s.Holders, s.Waiters...) {
		pid := all[i].cmd.Process.Pid
		if c.PID != pid || c.Owner != "gcsync/"+strconv.Itoa(pid) || c.Host != me || c.Age != nil && *c.Age > time.Since(began).Seconds()+1 || c.Lease != 10 {
			t.Errorf("number %d, of process %d: %+v", i, pid, c)
		}
	}

	var listed []stateJSON
	for d := json.NewDecoder(strings.NewReader(w.must("ls", "gs://bbb/jobs/"))); d.More(); {
		var s stateJSON
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		listed = append(listed, s)
	}
	if len(listed) != 2 || listed[0].Name != "jobs/free" || len(listed[0].Holders) != 0 || listed[1].Name != "jobs/m" ||
		listed[1].Holders[0].Token != token || len(listed[1].Waiters) != 2 || listed[1].Waiters[0].PID != s.Waiters[0].PID {
		t.Errorf("%+v", listed)
	}
	table := strings.Split(strings.TrimSpace(w.must("ls", "-json=false", "gs://bbb")), "\n")
	var fields []string
	for _, line := range table {
		fields = append(fields, strings.Join(strings.Fields(line)[:3], " "))
	}
	want := []string{"NAME KIND PLACE", "jobs/free mutex free", "jobs/m mutex holds", "jobs/m mutex waits", "jobs/m mutex waits", "other mutex free"}
	if strings.Join(fields, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(table, "\n"))
	}

	watch := w.start("watch", "-interval", "100ms", "-json", "gs://bbb/jobs/m")
	see := func(holder, waiters int) {
		t.Helper()
		for { // changes may be seen in one look or in two
			var s stateJSON
			if err := json.Unmarshal([]byte(watch.line()), &s); err != nil {
				t.Fatal(err)
			}
			if len(s.Waiters) == waiters && len(s.Holders) == 1 && s.Holders[0].PID == all[holder].cmd.Process.Pid {
				return
			}
		}
	}
	see(0, 2)
	all[0].signal(syscall.SIGTERM)
	all[0].want(143)
	see(1, 1)
	watch.signal(syscall.SIGINT)
	watch.want(130)

	watching := w.start("lock", "-progress", "gs://bbb/jobs/m", "--", "true")
	w.until("it tells whom it waits for", func() bool {
		return strings.Contains(watching.stderr.String(), "held by "+s.Waiters[0].Owner) &&
			strings.Contains(watching.stderr.String(), "we are number 2 of 2")
	})
	all[1].signal(syscall.SIGTERM)
	all[2].line()
	all[2].signal(syscall.SIGTERM)
	watching.want(0)
}

// Of a semaphore the views tell slot, holder and waiters, and a slot can be taken from its holder.
func TestViewOfSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var in []*proc
	token := make(map[string]string) // by slot
	for range 2 {
		p := w.start("sem", "-n", "2", "gs://bbb/jobs/s", "--", "sh", "-c", "echo $GCSYNC_SLOT $GCSYNC_TOKEN; exec sleep 60")
		slot, tok, _ := strings.Cut(p.line(), " ")
		token[slot] = tok
		in = append(in, p)
	}
	if token["0"] == "" || token["1"] == "" {
		t.Fatalf("slots %v", token)
	}
	next := w.start("sem", "-n", "2", "gs://bbb/jobs/s", "--", "sh", "-c", "echo $GCSYNC_SLOT; exec sleep 60")
	w.until("it waits", func() bool { return len(w.state("jobs/s").Waiters) == 1 })
	s := w.state("jobs/s")
	if s.Kind != "semaphore" || s.Slots != 2 || len(s.Holders) != 2 || s.Waiters[0].PID != next.cmd.Process.Pid {
		t.Fatalf("%+v", s)
	}
	for i, h := range s.Holders {
		if h.Slot == nil || h.Token != token[strconv.FormatInt(*h.Slot, 10)] {
			t.Errorf("holder %d: %+v, want the tokens %v", i, h, token)
		}
	}
	table := w.must("ls", "-json=false", "gs://bbb")
	for _, place := range []string{"holds slot 0", "holds slot 1", "waits 1 for slot"} {
		if strings.Count(table, place) != 1 {
			t.Errorf("%s", table)
		}
	}
	watch := w.start("watch", "-interval", "100ms", "-json", "gs://bbb/jobs/s")
	watch.line()

	for _, p := range in { // so that only the token tells who it was
		p.signal(syscall.SIGKILL)
	}
	w.must("release", "-token", s.Holders[0].Token, "gs://bbb/jobs/s")
	slot := next.line()
	w.until("it is told", func() bool {
		var now stateJSON
		if err := json.Unmarshal([]byte(watch.line()), &now); err != nil {
			t.Fatal(err)
		}
		for _, h := range now.Holders {
			if h.PID == next.cmd.Process.Pid && h.Slot != nil && strconv.FormatInt(*h.Slot, 10) == slot {
				return true
			}
		}
		return false
	})
	watch.signal(syscall.SIGINT)
	watch.want(130)
	next.signal(syscall.SIGTERM)
	next.want(143)
}

// The emulator serves whole processes, and ends when it is told to.
func TestEmulator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("emulator", "-addr", "127.0.0.1:0", "-buckets", "one,two", "-median", "1ms", "-p99", "2ms", "-rate", "100")
	url, ok := strings.CutPrefix(p.line(), "export STORAGE_EMULATOR_HOST=")
	if !ok {
		t.Fatal("it does not say where it is")
	}
	other := &world{T: t, url: url}
	if r := other.gcsync("lock", "gs://two/x", "--", "sh", "-c", "exit 5"); r.code != 5 {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	if out := other.must("doctor", "gs://one"); strings.Contains(out, "FAIL") || strings.Contains(out, "warn") {
		t.Errorf("%s", out)
	}

	// A service that stands still is one that cannot be reached.
	holder := other.start("lock", "-ttl", "4s", "-claim", "3s", "gs://one/m", "--", "sh", "-c", "trap '' TERM; echo in; while :; do sleep 0.05; done")
	holder.line()
	p.signal(syscall.SIGSTOP)
	holder.want(exitLost)
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	p.want(0)
}

// gc removes what the dead have left, and nothing else.
func TestGC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("lock", "gs://bbb/m", "--", "true")
	if out := w.must("gc", "gs://bbb"); !strings.HasPrefix(out, "0 objects removed") {
		t.Errorf("%s", out)
	}
	w.free("m")
}

// The scripts for the shells can be read by their shells.
func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := w.must("completion", shell)
		for _, c := range commands {
			if !strings.Contains(script, c.name) {
				t.Errorf("%s: nothing about %s", shell, c.name)
			}
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		check := exec.Command(shell, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	if _, err := exec.LookPath("bash"); err != nil {
		return
	}
	for line, want := range map[string]string{"gcsync lo": "lock", "gcsync lock -tr": "-try", "gcsync help do": "doctor"} {
		words := strings.Fields(line)
		script := w.must("completion", "bash") + "\nCOMP_WORDS=(" + line + "); COMP_CWORD=" + strconv.Itoa(len(words)-1) + "; _gcsync; echo \"${COMPREPLY[*]}\""
		out, err := exec.Command("bash", "-c", script).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q is completed to %q, %v", line, out, err)
		}
	}
}

// Every command has a manual with its flags; help about one is what help says of it.
func TestHelp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	overview := w.must("help")
	for _, c := range commands {
		if !strings.Contains(overview, "  "+c.name+" ") {
			t.Errorf("help does not list %s", c.name)
		}
		if text := w.must("help", c.name); text != w.must(c.name, "-h") || !strings.HasPrefix(text, "gcsync "+c.name) {
			t.Errorf("help %s: %s", c.name, text)
		}
		for s := bufio.NewScanner(strings.NewReader(c.manual())); s.Scan(); {
			if len([]rune(s.Text())) > 150 {
				t.Errorf("help %s: a line is too long: %s", c.name, s.Text())
			}
		}
	}
}

// What is shown fits, however narrow the terminal and however long the name.
func TestFit(t *testing.T) {
	for _, line := range []string{"", "gcsync: waiting", strings.Repeat("x", 300), strings.Repeat("\u6f22", 300), "\u00e9" + strings.Repeat("y", 90)} {
		for _, columns := range []int{1, 2, 3, 20, 80, 500} {
			got, width := fit(line, columns), 0
			for _, r := range got {
				width++
				if r >= 0x1100 {
					width++
				}
			}
			if width > max(0, columns-1) || !strings.HasPrefix(line, got) || !utf8.ValidString(got) {
				t.Errorf("fit(%.20q, %d) is %d wide: %.40q", line, columns, width, got)
			}
		}
	}
	for _, name := range []string{"", "short", strings.Repeat("n", 900), strings.Repeat("\u00fc", 400)} {
		if got := clip(name, widest); utf8.RuneCountInString(got) > widest || !utf8.ValidString(got) {
			t.Errorf("clip: %d characters", utf8.RuneCountInString(got))
		}
	}
}
