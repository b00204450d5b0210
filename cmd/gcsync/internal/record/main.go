// Command record makes docs/lock.svg: it types commands into a shell on a real terminal, with the real gcsync and its
// emulator, and draws what the terminal showed, in time.
//
//	go run ./cmd/gcsync/internal/record > docs/lock.svg
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// steps are what is typed, and how long to look at it before the next.
var steps = []struct {
	typed string
	look  time.Duration
}{
	{"gcsync lock gs://test/deploy -- sleep 11 &", 1500 * time.Millisecond},
	{"gcsync ls gs://test", 3 * time.Second},
	{"gcsync lock -try gs://test/deploy -- echo never; echo \"exit code $?\"", 3 * time.Second},
	{"gcsync lock gs://test/deploy -- sh -c 'echo \"my turn, token $GCSYNC_TOKEN\"'", 7 * time.Second},
	{"gcsync lock gs://test/deploy -- sh -c 'exit 7'; echo \"exit code $?\"", 2500 * time.Millisecond},
}

const (
	columns = 116
	rows    = 20
)

func main() {
	if err := record(); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func record() error {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "gcsync"), "github.com/gcsync/gcsync/cmd/gcsync")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	emulator := exec.Command(filepath.Join(dir, "gcsync"), "emulator", "-addr", "127.0.0.1:0", "-median", "20ms", "-p99", "60ms")
	out, err := emulator.StdoutPipe()
	if err != nil {
		return err
	}
	if err := emulator.Start(); err != nil {
		return err
	}
	defer func() {
		_ = emulator.Process.Kill()
		_ = emulator.Wait()
	}()
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		return err
	}
	env := strings.TrimPrefix(strings.TrimSpace(string(line[:n])), "export ")

	shell := exec.Command("bash", "--norc", "--noprofile", "-i")
	shell.Dir = dir
	shell.Env = append(os.Environ(), env, "PS1=$ ", "PATH="+dir+":"+os.Getenv("PATH"), "TERM=dumb", "BASH_SILENCE_DEPRECATION_WARNING=1")
	tty, err := start(shell, columns, rows)
	if err != nil {
		return err
	}
	defer tty.Close()
	rec := &recording{begun: time.Now()}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			rec.write(string(buf[:n]))
			if err != nil {
				return
			}
		}
	}()
	time.Sleep(time.Second)
	for _, s := range steps {
		if _, err := tty.WriteString(s.typed + "\n"); err != nil {
			return err
		}
		time.Sleep(s.look)
	}
	rec.stop()
	_ = shell.Process.Kill()
	_ = shell.Wait()
	tty.Close()
	<-ended
	_, err = os.Stdout.WriteString(rec.svg())
	return err
}

// recording is what a terminal showed, and when.
type recording struct {
	begun time.Time

	mu      sync.Mutex
	stopped bool
	screen  screen
	frames  []frame
}

type frame struct {
	at    time.Duration
	lines []string
}

func (r *recording) write(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.screen.write(text)
	at := time.Since(r.begun)
	if n := len(r.frames); n > 0 && at-r.frames[n-1].at < 100*time.Millisecond {
		r.frames = r.frames[:n-1]
	}
	r.frames = append(r.frames, frame{at, r.screen.shown()})
}

func (r *recording) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// screen is as much of a terminal as our programs need.
type screen struct {
	lines []string
	col   int
	left  string // the beginning of what the next write ends
}

func (s *screen) write(text string) {
	text, s.left = s.left+text, ""
	if len(s.lines) == 0 {
		s.lines = []string{""}
	}
	for len(text) > 0 {
		line := &s.lines[len(s.lines)-1]
		switch {
		case text[0] == '\n':
			s.lines = append(s.lines, "")
			text = text[1:]
		case text[0] == '\r':
			s.col, text = 0, text[1:]
		case strings.HasPrefix(text, "\x1b[K"):
			*line, text = (*line)[:min(s.col, len(*line))], text[3:]
		case text[0] == '\x1b':
			end := strings.IndexFunc(text[1:], func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' })
			if end < 0 {
				s.left = text
				return
			}
			text = text[end+2:]
		case text[0] < ' ':
			text = text[1:]
		default:
			if s.col >= columns {
				s.lines, s.col = append(s.lines, ""), 0
				line = &s.lines[len(s.lines)-1]
			}
			*line = (*line)[:min(s.col, len(*line))] + text[:1] + (*line)[min(s.col+1, len(*line)):]
			s.col, text = s.col+1, text[1:]
		}
	}
}

func (s *screen) shown() []string {
	return append([]string(nil), s.lines[max(0, len(s.lines)-rows):]...)
}
