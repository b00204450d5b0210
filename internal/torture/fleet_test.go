//go:build unix

package torture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// patience is how long anything may take that must happen at all.
const patience = 2 * time.Minute

// fleet is the service and the processes that use it.
type fleet struct {
	t      *testing.T
	server *gcstest.Server
	http   *gcstest.Listener
	starts chan func()
	all    []*member
	fenced bool
}

func newFleet(t *testing.T, fenced bool) *fleet {
	t.Helper()
	f := &fleet{t: t, fenced: fenced, starts: make(chan func())}
	f.server = gcstest.New(gcstest.Model{Median: 2 * time.Millisecond, P99: 10 * time.Millisecond, Rate: 20, Burst: 5})
	f.server.CreateBucket(bucket, gcstest.BucketConfig{})
	var err error
	if f.http, err = f.server.Listen(""); err != nil {
		t.Fatal(err)
	}
	starter := make(chan struct{})
	go func() {
		defer close(starter)
		runtime.LockOSThread() // the processes die with this thread
		for start := range f.starts {
			start()
		}
	}()
	t.Cleanup(func() {
		for _, m := range f.all {
			m.kill()
			m.proxy.close()
		}
		close(f.starts)
		<-starter
		f.http.Close()
		f.server.Close()
	})
	return f
}

// updates returns what the shared object says.
func (f *fleet) updates() []update {
	f.t.Helper()
	var list []update
	for _, o := range f.server.Objects(bucket, shared) {
		if len(o.Content) > 0 {
			if err := json.Unmarshal(o.Content, &list); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	return list
}

// member is a place in the fleet: a process, or another in its stead once it was killed, and its network.
type member struct {
	f      *fleet
	name   string
	config config
	hear   func(*member, message)
	proxy  *proxy

	lives  int
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *bytes.Buffer
	silent chan struct{} // closed when all it has ever said was heard
}

// member adds a member, and starts its process. What it says goes to hear, one word at a time.
func (f *fleet) member(name string, c config, hear func(*member, message)) *member {
	f.t.Helper()
	m := &member{f: f, name: name, config: c, hear: hear, proxy: newProxy(f.t, strings.TrimPrefix(f.http.URL(), "http://"))}
	m.config.Fenced = f.fenced
	m.config.Endpoint = m.proxy.url()
	f.all = append(f.all, m)
	m.start()
	return m
}

func (m *member) start() {
	m.lives++
	m.config.Name = fmt.Sprintf("%s%d", m.name, m.lives)
	text, err := json.Marshal(m.config)
	if err != nil {
		m.f.t.Error(err)
		return
	}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), envProcess+"="+string(text), "GOMAXPROCS=2")
	dieWithParent(m.cmd)
	m.stderr = new(bytes.Buffer)
	m.cmd.Stderr = m.stderr
	stdin, err1 := m.cmd.StdinPipe()
	stdout, err2 := m.cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		m.f.t.Error(err1, err2)
		return
	}
	m.stdin = stdin
	started := make(chan error)
	m.f.starts <- func() { started <- m.cmd.Start() }
	if err := <-started; err != nil {
		m.f.t.Error(err)
		m.cmd = nil
		return
	}
	m.silent = make(chan struct{})
	go func() {
		defer close(m.silent)
		for d := json.NewDecoder(stdout); ; {
			var said message
			if d.Decode(&said) != nil {
				return // the end, perhaps in the middle of a word
			}
			m.hear(m, said)
		}
	}()
}

func (m *member) signal(s syscall.Signal) {
	if m.cmd == nil {
		return // it could not be started
	}
	if err := m.cmd.Process.Signal(s); err != nil {
		m.f.t.Errorf("%s: %v: %v", m.config.Name, s, err)
	}
}

// kill ends the process, whatever it does, and waits until its last words were heard.
func (m *member) kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended
	m.wait()
}

// leave asks the process to end, and waits until it has.
func (m *member) leave() {
	if m.cmd == nil {
		return
	}
	_ = m.stdin.Close()
	late := time.AfterFunc(patience, func() {
		m.f.t.Errorf("%s does not end", m.config.Name)
		_ = m.cmd.Process.Kill()
	})
	defer late.Stop()
	if err := m.wait(); err != nil {
		m.f.t.Errorf("%s: %v: %s", m.config.Name, err, m.stderr)
	}
}

func (m *member) wait() error {
	<-m.silent
	_ = m.stdin.Close()
	err := m.cmd.Wait()
	m.cmd = nil
	return err
}

// word has a process go on that waits for one.
func (m *member) word() {
	if _, err := io.WriteString(m.stdin, "\n"); err != nil {
		m.f.t.Errorf("%s: %v", m.config.Name, err)
	}
}
