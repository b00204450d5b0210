//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func lockArgs(name string, rest ...string) []string {
	return append(append([]string{"lock"}, quick...), append([]string{"gs://bbb/" + name}, rest...)...)
}

// What the command ends with is what gcsync ends with.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for script, want := range map[string]int{
		"exit 0": 0, "exit 1": 1, "exit 7": 7, "exit 137": 137, "kill -KILL $$": 137, "kill -TERM $$": 143,
	} {
		for _, kind := range []string{"lock", "lease"} {
			if r := w.gcsync(kind, "gs://bbb/code-"+kind, "--", "sh", "-c", script); r.code != want || r.stderr != "" {
				t.Errorf("%s -- %s: exit code %d, want %d: %s", kind, script, r.code, want, r.stderr)
			}
		}
	}
	w.free("code-lock")
}

// What goes wrong has its own code, and is told in one line.
func TestFailuresAreToldInOneLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("not to be run"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := "gs://bbb/" + strings.Repeat("x", 1100)
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitUsage, nil},
		{exitUsage, []string{"luck"}},
		{exitUsage, []string{"lock"}},
		{exitUsage, []string{"lock", "gs://bbb/x"}},
		{exitUsage, []string{"lock", "gs://bbb/x", "--"}},
		{exitUsage, []string{"lock", "-bogus", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-wait", "soon", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-wait", "-5s", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-try", "-wait", "5s", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-ttl", "1s", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-claim", "1m", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-grace", "1m", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-E", "256", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "-shared", "-exclusive", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lock", "b/x", "--", "true"}},
		{exitUsage, []string{"lock", "s3://b/x", "--", "true"}},
		{exitUsage, []string{"lock", "https://storage.googleapis.com/b/x", "--", "true"}},
		{exitUsage, []string{"lock", "gs://", "--", "true"}},
		{exitUsage, []string{"lock", "gs:///x", "--", "true"}},
		{exitUsage, []string{"lock", "gs://bbb", "--", "true"}},
		{exitUsage, []string{"lock", "gs://bb/x", "--", "true"}},
		{exitUsage, []string{"lock", "gs://bbb/", "--", "true"}},
		{exitUsage, []string{"lock", "gs://B/x", "--", "true"}},
		{exitUsage, []string{"lock", "gs://b%b/x", "--", "true"}},
		{exitUsage, []string{"lock", "gs://bbb/\xff", "--", "true"}},
		{exitUsage, []string{"lock", long, "--", "true"}},
		{exitUsage, []string{"sem", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"sem", "-n", "2", "-take", "3", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"lease", "-expires", "1", "gs://bbb/x", "--", "true"}},
		{exitUsage, []string{"ls"}},
		{exitUsage, []string{"ls", "gs://bb/x", "y"}},
		{exitUsage, []string{"show", "gs://bbb"}},
		{exitUsage, []string{"doctor", "gs://bbb/x"}},
		{exitUsage, []string{"release", "gs://bbb/x"}},
		{exitUsage, []string{"gc", "-unused", "1s", "gs://bbb"}},
		{exitUsage, []string{"help", "luck"}},
		{exitUsage, []string{"completion", "ksh"}},
		{exitUsage, []string{"emulator", "-buckets", "A"}},
		{exitService, []string{"emulator", "-addr", "no-such-host.invalid:1"}},
		{exitService, []string{"lock", "gs://no-such-bucket/x", "--", "true"}},
		{exitService, []string{"lease", "gs://no-such-bucket/x", "--", "true"}},
		{exitService, []string{"sem", "-n", "1", "gs://no-such-bucket/x", "--", "true"}},
		{exitService, []string{"ls", "gs://no-such-bucket"}},
		{exitNotFound, []string{"lock", "gs://bbb/x", "--", "no-such-command"}},
		{exitNotFound, []string{"lock", "gs://bbb/x", "--", "/no/such/command"}},
		{exitCannotRun, []string{"lock", "gs://bbb/x", "--", plain}},
	} {
		r := w.gcsync(c.args...)
		if r.code != c.code || !strings.HasPrefix(r.stderr, "gcsync: ") || strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
			t.Errorf("%.80q: exit code %d, want %d, and said %q, %q", c.args, r.code, c.code, r.stdout, r.stderr)
		}
	}
}

// Names that look strange are names like any others, and do nothing to whoever lists them.
func TestStrangeNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := []string{"a/t", "a", "..", "ä b/ c#?", "x\ny", "esc\x1b[31mred", "-flag", "%74", "run", "a//b", "*", "\u202egnp"}
	for _, name := range names {
		got := w.must("lock", "gs://bbb/"+name, "--", "sh", "-c", `printf %s "$GCSYNC_NAME"`)
		if strings.TrimSuffix(got, "\n") != name {
			t.Errorf("lock %q had the name %q", name, got)
		}
		if s := w.state(name); s.Name != name || s.URL != "gs://bbb/"+name {
			t.Errorf("%q is shown as %q, %q", name, s.Name, s.URL)
		}
	}
	list := w.must("ls", "-json=false", "gs://bbb")
	if n := strings.Count(list, "\n"); n != len(names)+1 || strings.ContainsAny(list, "\x1b\u202e") {
		t.Errorf("%d lines for %d names: %q", n, len(names), list)
	}
}

// Two that contend never run at the same time.
func TestNoOverlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "log")
	const rounds = 25
	var both sync.WaitGroup
	for _, who := range []string{"a", "b"} {
		both.Go(func() {
			for range rounds {
				script := fmt.Sprintf("echo %[1]s $GCSYNC_TOKEN >> %[2]s; sleep 0.01; echo %[1]s $GCSYNC_TOKEN >> %[2]s", who, file)
				if r := w.gcsync("lock", "gs://bbb/contended", "--", "sh", "-c", script); r.code != 0 {
					t.Errorf("exit code %d: %s", r.code, r.stderr)
				}
			}
		})
	}
	both.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 4*rounds {
		t.Fatalf("%d lines, want %d", len(lines), 4*rounds)
	}
	last := int64(0)
	for i := 0; i < len(lines); i += 2 {
		_, number, _ := strings.Cut(lines[i], " ")
		token, err := strconv.ParseInt(number, 10, 64)
		if lines[i] != lines[i+1] || err != nil || token <= last {
			t.Fatalf("lines %d and %d, after token %d: %q, %q", i, i+1, last, lines[i], lines[i+1])
		}
		last = token
	}
}

// -try and -wait give up with their code, and say who is in the way.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	holder := w.start(lockArgs("busy", "--", "sh", "-c", "echo in; sleep 60")...)
	holder.line()
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitNotAcquired, []string{"lock", "-try", "gs://bbb/busy", "--", "true"}},
		{exitNotAcquired, []string{"lock", "-wait", "300ms", "gs://bbb/busy", "--", "true"}},
		{0, []string{"lock", "-try", "-E", "0", "gs://bbb/busy", "--", "true"}},
		{9, []string{"lock", "-wait", "300ms", "-E", "9", "gs://bbb/busy", "--", "true"}},
	} {
		r := w.gcsync(c.args...)
		if r.code != c.code || strings.Count(r.stderr, "\n") != 1 ||
			!strings.Contains(r.stderr, fmt.Sprintf("held by gcsync/%d on ", holder.cmd.Process.Pid)) {
			t.Errorf("%q: exit code %d, want %d: %s", c.args, r.code, c.code, r.stderr)
		}
	}
	if s := w.state("busy"); len(s.Holders) != 1 || len(s.Waiters) != 0 {
		t.Errorf("after all have given up: %+v", s)
	}
	holder.signal(syscall.SIGTERM)
	holder.want(143)
	w.free("busy")

	leaseholder := w.start("lease", "-expires", "60", "-owner", "me", "gs://bbb/lease", "--", "sh", "-c", "echo in; sleep 60")
	leaseholder.line()
	for _, args := range [][]string{
		{"lease", "gs://bbb/lease", "--", "true"},
		{"lease", "-wait", "1", "-owner", "me", "gs://bbb/lease", "--", "true"},
	} {
		if r := w.gcsync(args...); r.code != exitNotAcquired || !strings.Contains(r.stderr, "held by me") {
			t.Errorf("%q: exit code %d: %s", args, r.code, r.stderr)
		}
	}
	leaseholder.signal(syscall.SIGTERM)
	leaseholder.want(143)
	w.must("lease", "gs://bbb/lease", "--", "true")
}

// Whoever is interrupted while waiting leaves nothing behind.
func TestInterruptWhileWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	holder := w.start(lockArgs("m", "--", "sh", "-c", "echo in; exec sleep 60")...)
	holder.line()
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		before := w.tickets("m")
		waiter := w.start(lockArgs("m", "--", "echo", "never")...)
		w.until("somebody waits", func() bool { return w.tickets("m") > before && len(w.state("m").Waiters) == 1 })
		waiter.signal(signal)
		waiter.want(code)
		if out := waiter.rest(); out != "" {
			t.Errorf("the command ran: %q", out)
		}
		if s := w.state("m"); len(s.Waiters) != 0 || len(s.Holders) != 1 {
			t.Errorf("left behind: %+v", s)
		}
	}
	holder.signal(syscall.SIGTERM)
	holder.want(143)
	w.free("m")
}

// Signals are the command's business.
func TestSignalsAreForwarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for sig, name := range map[syscall.Signal]string{syscall.SIGINT: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGUSR1: "USR1"} {
		if signal.Ignored(sig) {
			continue // as under nohup: what is ignored when a shell begins, it cannot trap
		}
		p := w.start(lockArgs("m", "--", "sh", "-c", "trap 'exit 42' "+name+"; echo in; while :; do sleep 0.05; done")...)
		p.line()
		p.signal(sig)
		p.want(42)
	}
	w.free("m")
}

// A command that its terminal has stopped, as it does with one in the background that wants to read, ends when gcsync is told to
// end: else the lock would be renewed for ever, for a command that does nothing.
func TestSignalsReachTheStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for sig, code := range map[syscall.Signal]int{syscall.SIGTERM: exitSignal + int(syscall.SIGTERM), syscall.SIGHUP: exitSignal + int(syscall.SIGHUP)} {
		if signal.Ignored(sig) {
			continue
		}
		for _, stop := range []string{"STOP", "TSTP", "TTIN", "TTOU"} {
			p := w.start(lockArgs("m", "--", "sh", "-c", "echo $$; kill -"+stop+" $$; echo woken; exec sleep 60")...)
			pid := strings.TrimSpace(p.line())
			for !stopped(pid) {
				time.Sleep(5 * time.Millisecond)
			}
			p.signal(sig)
			p.want(code)
		}
	}
	w.free("m")
}

// stopped reports whether a process is, as far as the system tells.
func stopped(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || runtime.GOOS != "linux"
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

// stubborn is a script that ignores SIGTERM, with a child that does so too: both write to the file while they live.
func stubborn(file string) string {
	beat := "while :; do echo x >> " + file + "; sleep 0.02; done"
	return "trap '' TERM; echo x >> " + file + "; (trap '' TERM; " + beat + ") & echo in; " + beat
}

// quiet reports whether nobody writes to the file any more.
func (w *world) quiet(file string) bool {
	w.Helper()
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			w.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	time.Sleep(300 * time.Millisecond)
	return size() == before
}

// A command whose lock is lost ends, with all that it has started, before anybody else can have the lock.
func TestLossEndsTheCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for attempt := 1; ; attempt++ {
		name, file := fmt.Sprintf("m%d", attempt), filepath.Join(t.TempDir(), "beat")
		network := w.proxy()
		cmd := w.command(lockArgs(name, "--", "sh", "-c", stubborn(file))...)
		cmd.Env = append(cmd.Env, "STORAGE_EMULATOR_HOST="+network.url())
		p := w.launch(cmd)
		p.line()
		watch := watchStalls()
		network.breakOff()
		// The next has it as soon as it can be had, and looks whether anything is left.
		next := w.start(lockArgs(name, "--", "sh", "-c", fmt.Sprintf("wc -c < %[1]s; sleep 0.3; wc -c < %[1]s", file))...)
		before, after := next.line(), next.line()
		next.want(0)
		p.want(exitLost)
		stalled := watch()
		if before == after && !strings.Contains(p.stderr.String(), "gs://bbb/"+name+" was lost") {
			t.Errorf("said %q", &p.stderr)
		}
		if before == after {
			return
		}
		if stalled < 200*time.Millisecond || attempt == 3 {
			t.Fatalf("somebody was inside when the next came: %s, then %s bytes (the machine stood still for %v)", before, after, stalled)
		}
		t.Logf("the machine stood still for %v: again", stalled)
	}
}

// watchStalls measures for how long the machine did not let us run.
func watchStalls() (longest func() time.Duration) {
	stop, result := make(chan struct{}), make(chan time.Duration)
	go func() {
		var worst time.Duration
		for {
			begun := time.Now()
			select {
			case <-stop:
				result <- worst
				return
			case <-time.After(10 * time.Millisecond):
				worst = max(worst, time.Since(begun)-10*time.Millisecond)
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-result
	}
}

// A lock that is taken away by force ends the command as well, and the next has it.
func TestRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "beat")
	p := w.start(lockArgs("m", "--", "sh", "-c", stubborn(file))...)
	p.line()
	token := w.state("m").Holders[0].Token
	number, err := strconv.ParseInt(token, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []int64{number - 1<<20, number + 1<<20, 1} {
		r := w.gcsync("release", "-token", strconv.FormatInt(other, 10), "gs://bbb/m")
		if r.code != exitNotAcquired || !strings.Contains(r.stderr, token) {
			t.Errorf("released by token %d, held under %s: exit code %d: %s", other, token, r.code, r.stderr)
		}
	}
	w.must("release", "-token", token, "gs://bbb/m")
	w.free("m")
	if r := w.gcsync("release", "-token", token, "gs://bbb/m"); r.code != exitNotAcquired {
		t.Errorf("released again: exit code %d: %s", r.code, r.stderr)
	}
	p.want(exitLost)
	if !w.quiet(file) {
		t.Error("something of the command is left")
	}
}

// What a command has started in its process group ends before the lock does.
func TestLeftoversEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "beat")
	script := "(" + strings.Replace(stubborn(file), "echo in; ", "", 1) + ") & while [ ! -s " + file + " ]; do sleep 0.01; done; exit 3"
	w.start(lockArgs("m", "--", "sh", "-c", script)...).want(3)
	if !w.quiet(file) {
		t.Error("something of the command is left")
	}
	w.free("m")
}

// The environment tells the command under what it runs, and every holder has a greater token.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := int64(0)
	for range 2 {
		for _, args := range [][]string{{"lock"}, {"lock", "-shared"}, {"sem", "-n", "3"}, {"lease"}} {
			name := strings.Join(args, "")
			args = append(args, "-owner", "me", "gs://bbb/jobs/"+name, "--", "sh", "-c", `echo "$GCSYNC_NAME $GCSYNC_OWNER $GCSYNC_TOKEN"`)
			var gotName, owner string
			var token int64
			if _, err := fmt.Sscan(w.must(args...), &gotName, &owner, &token); err != nil {
				t.Fatal(err)
			}
			if gotName != "jobs/"+name || !strings.HasPrefix(owner, "me") || token <= 0 {
				t.Errorf("%s: %q %q %d", name, gotName, owner, token)
			}
			if name == "lock" {
				if token <= last {
					t.Errorf("token %d after %d", token, last)
				}
				last = token
			}
		}
	}
	key := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(key, []byte(`{"type":"authorized_user"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got := w.must("lock", "-credentials", key, "gs://bbb/x", "--", "sh", "-c", `echo "${GOOGLE_APPLICATION_CREDENTIALS-none}"`)
	if want, there := os.LookupEnv("GOOGLE_APPLICATION_CREDENTIALS"); got != want+"\n" && (there || got != "none\n") {
		t.Errorf("the command has inherited the credentials %q", got)
	}
}

// Readers run together, a writer alone, and a semaphore lets so many in.
func TestSharing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	script := []string{"--", "sh", "-c", "echo in; exec sleep 60"}
	a := w.start(append([]string{"lock", "-shared", "gs://bbb/rw"}, script...)...)
	b := w.start(append([]string{"lock", "-shared", "gs://bbb/rw"}, script...)...)
	a.line()
	b.line()
	for _, args := range [][]string{{"lock"}, {"lock", "-exclusive"}} {
		if r := w.gcsync(append(args, "-try", "gs://bbb/rw", "--", "true")...); r.code != exitNotAcquired {
			t.Errorf("%q beside readers: exit code %d: %s", args, r.code, r.stderr)
		}
	}
	if s := w.state("rw"); len(s.Holders) != 2 || s.Kind != "rwmutex" {
		t.Errorf("%+v", s)
	}
	a.signal(syscall.SIGTERM)
	b.signal(syscall.SIGTERM)
	a.want(143)
	b.want(143)
	writer := w.start(append([]string{"lock", "gs://bbb/rw"}, script...)...)
	writer.line()
	if r := w.gcsync("lock", "-try", "-shared", "gs://bbb/rw", "--", "true"); r.code != exitNotAcquired {
		t.Errorf("a reader beside a writer: exit code %d: %s", r.code, r.stderr)
	}

	var in []*proc
	for range 2 {
		p := w.start(append([]string{"sem", "-n", "3", "gs://bbb/sem"}, script...)...)
		p.line()
		in = append(in, p)
	}
	if r := w.gcsync("sem", "-n", "3", "-take", "2", "-try", "gs://bbb/sem", "--", "true"); r.code != exitNotAcquired {
		t.Errorf("two slots of one: exit code %d: %s", r.code, r.stderr)
	}
	w.must("sem", "-n", "3", "-try", "gs://bbb/sem", "--", "true")
	if r := w.gcsync("sem", "-n", "4", "-take", "2", "-try", "gs://bbb/sem", "--", "sh", "-c", "echo $GCSYNC_SLOT"); r.code != 0 || !strings.HasSuffix(strings.TrimSpace(r.stdout), " 3") {
		t.Errorf("with another number of slots: exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if s := w.state("sem"); len(s.Holders) != 2 || s.Slots == 0 || s.Kind != "semaphore" {
		t.Errorf("%+v", s)
	}
	for _, p := range append(in, writer) {
		p.signal(syscall.SIGTERM)
		p.want(143)
	}
}

// The lease is that of the Python tool: what one holds, the other respects.
func TestLeaseIsThatOfThePythonTool(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("lease", "-expires", "20", "gs://bbb/jobs/nightly", "--", "true")
	objects := w.server.Objects("bbb", "")
	if len(objects) != 1 || objects[0].Name != "jobs/nightly" || string(objects[0].Content) != "lock" || objects[0].Metadata["expires_sec"] != "0" {
		t.Errorf("%+v", objects)
	}
	p := w.start("lease", "-expires", "20", "gs://bbb/jobs/nightly", "--", "sh", "-c", "echo in; exec sleep 60")
	p.line()
	if md := w.server.Objects("bbb", "")[0].Metadata; md["expires_sec"] != "20" || !strings.HasPrefix(md["lock_owner"], "gcsync/") {
		t.Errorf("%+v", md)
	}
	p.signal(syscall.SIGTERM)
	p.want(143)
}
