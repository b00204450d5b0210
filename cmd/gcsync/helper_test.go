//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gcsync/gcsync/gcstest"
)

// envMain makes of the test program gcsync itself: the tests start it as processes of their own.
const envMain = "GCSYNC_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		os.Unsetenv(envMain)
		main()
	}
	goleak.VerifyTestMain(m)
}

// patience is how long anything may take that must happen at all.
const patience = time.Minute

// quick are the shortest leases there are, so that tests of losing them are short.
var quick = []string{"-ttl", "4s", "-claim", "3s"}

// world is a service, and processes that use it.
type world struct {
	*testing.T
	server *gcstest.Server
	url    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("runs real processes in real time")
	}
	w := &world{T: t, server: gcstest.New(gcstest.Model{})}
	w.server.CreateBucket("bbb", gcstest.BucketConfig{PreventPublic: true, UniformAccess: true})
	l, err := w.server.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	w.url = l.URL()
	t.Cleanup(func() {
		l.Close()
		w.server.Close()
	})
	return w
}

// command is a gcsync that will not be forgotten.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), envMain+"=1", "STORAGE_EMULATOR_HOST="+w.url)
	return cmd
}

// result is how a process has ended.
type result struct {
	code           int
	stdout, stderr string
}

func codeOfState(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return -1
		}
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return -int(status.Signal()) // gcsync itself was killed
	}
	return exit.ExitCode()
}

// gcsync runs a process to its end.
func (w *world) gcsync(args ...string) result {
	w.Helper()
	p := w.start(args...)
	code := p.wait()
	return result{code, p.rest(), p.stderr.String()}
}

// must runs a process that has to end with code 0, and returns what it printed.
func (w *world) must(args ...string) string {
	w.Helper()
	r := w.gcsync(args...)
	if r.code != 0 {
		w.Fatalf("gcsync %q: exit code %d: %s", args, r.code, r.stderr)
	}
	return r.stdout
}

// proc is one that runs.
type proc struct {
	w      *world
	cmd    *exec.Cmd
	stderr safeBuffer
	lines  chan string // what it prints, line by line
	ended  chan struct{}
	err    error
}

func (w *world) start(args ...string) *proc {
	w.Helper()
	return w.launch(w.command(args...))
}

func (w *world) launch(cmd *exec.Cmd) *proc {
	w.Helper()
	p := &proc{w: w, cmd: cmd, lines: make(chan string, 1000), ended: make(chan struct{})}
	r, out, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, &p.stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	out.Close()
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(p.lines)
		s := bufio.NewScanner(r)
		s.Buffer(nil, 4<<20)
		for s.Scan() {
			p.lines <- s.Text()
		}
	})
	w.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.ended
		_ = r.SetReadDeadline(time.Now()) // whatever it has left may hold the other end
		for range p.lines {
		}
		reading.Wait()
		r.Close()
	})
	return p
}

// line returns the next line that the process prints.
func (p *proc) line() string {
	p.w.Helper()
	select {
	case s, ok := <-p.lines:
		if !ok {
			p.w.Fatalf("%q printed no more: %s", p.cmd.Args[1:], &p.stderr)
		}
		return s
	case <-time.After(patience):
		p.w.Fatalf("%q prints nothing: %s", p.cmd.Args[1:], &p.stderr)
	}
	panic("unreachable")
}

// rest returns what a process printed that has ended.
func (p *proc) rest() string {
	var b strings.Builder
	for {
		select {
		case s, ok := <-p.lines:
			if !ok {
				return b.String()
			}
			b.WriteString(s + "\n")
		case <-time.After(patience):
			p.w.Fatalf("%q has left something that keeps its output open", p.cmd.Args[1:])
		}
	}
}

func (p *proc) signal(s syscall.Signal) {
	p.w.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.w.Fatal(err)
	}
}

func (p *proc) wait() int {
	p.w.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.w.Fatalf("%q does not end: %s", p.cmd.Args[1:], &p.stderr)
	}
	return codeOfState(p.err)
}

// want fails unless the process ends with the code.
func (p *proc) want(code int) {
	p.w.Helper()
	if got := p.wait(); got != code {
		p.w.Errorf("%q: exit code %d, want %d: %s", p.cmd.Args[1:], got, code, &p.stderr)
	}
}

// until waits for something to become true.
func (w *world) until(what string, is func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			w.Fatalf("waited in vain until %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// state is what show tells.
func (w *world) state(name string) (s stateJSON) {
	w.Helper()
	if err := json.Unmarshal([]byte(w.must("show", "-json", "gs://bbb/"+name)), &s); err != nil {
		w.Fatal(err)
	}
	return s
}

// free fails unless the name can be had at once.
func (w *world) free(name string) {
	w.Helper()
	w.must("lock", "-try", "gs://bbb/"+name, "--", "true")
}

// tickets counts the tickets of a name, in the bucket itself.
func (w *world) tickets(name string) int { return len(w.server.Objects("bbb", "gcsync/"+name+"/t/")) }

// safeBuffer may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var _ io.Writer = (*safeBuffer)(nil)
