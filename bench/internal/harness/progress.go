package harness

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// progress shows how far a run is, until the function that follow returns is called.
type progress interface {
	follow(s Scenario, lock string, r *referee, total time.Duration) (ended func())
}

// A Screen is the standard error output. On a terminal its last line shows the progress; everything else that is written
// goes above that line. Elsewhere there is no such line.
type Screen struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	line string // on display
}

// NewScreen returns the screen that w is, if it is one.
func NewScreen(w io.Writer) *Screen {
	s := &Screen{w: w}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			s.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return s
}

const eraseLine = "\r\x1b[K"

// Write writes above the progress.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.w.Write(p)
	}
	_, err := fmt.Fprintf(s.w, "%s%s%s", eraseLine, p, s.line)
	return len(p), err
}

// Show replaces the progress. Errors are of no interest: it is gone in a moment anyway.
func (s *Screen) Show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = line
	fmt.Fprint(s.w, eraseLine, line)
}

func (s *Screen) follow(sc Scenario, lock string, r *referee, total time.Duration) (ended func()) {
	if !s.terminal {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer s.Show("")
		begun := time.Now()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			s.Show(bar(sc, lock, time.Since(begun), total, r.counted()))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// Bar draws how much of something is done.
func Bar(done float64) string {
	const width = 24
	full := int(min(1, done) * width)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// Terminal reports whether somebody sees the progress.
func (s *Screen) Terminal() bool { return s.terminal }

// silent shows no progress.
type silent struct{}

func (silent) follow(Scenario, string, *referee, time.Duration) func() { return func() {} }

// bar is the line that shows the progress. What comes after the total time is the draining.
func bar(s Scenario, lock string, passed, total time.Duration, acquisitions int64) string {
	text := fmt.Sprintf("%d acquisitions", acquisitions)
	switch {
	case passed >= total:
		text = "ending"
	case acquisitions == 0:
		text = "warming up"
	}
	return fmt.Sprintf("%-18s %-10s %s %3.0f/%.0f s  %s", s.Name, lock, Bar(passed.Seconds()/total.Seconds()),
		min(passed, total).Seconds(), total.Seconds(), text)
}

// NewLogger returns a logger for the lock under test: of what an operator would want to know, which in a benchmark is
// always a finding, or of each step.
func NewLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
