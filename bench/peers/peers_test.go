package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gcsync/gcsync/bench/internal/harness"
	"github.com/gcsync/gcsync/gcstest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopEtcd(); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// pair returns two clients' handles on the same lock.
func pair(t *testing.T, l harness.Lock) (a, b harness.Locker) {
	t.Helper()
	server := gcstest.New(gcstest.Model{})
	server.CreateBucket("b", gcstest.BucketConfig{})
	t.Cleanup(server.Close)
	if p, ok := l.(harness.Preparer); ok {
		if err := p.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	var both [2]harness.Locker
	for i := range both {
		c, err := l.Client(t.Context(), harness.Setup{
			Bucket: server.Client(nil).Bucket("b"), Prefix: t.Name() + "/", TTL: 30 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		if both[i], err = c.Locker(harness.Want{Kind: harness.Mutex, Hold: time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	return both[0], both[1]
}

// lock takes the lock, as often as it takes.
func lock(t *testing.T, l harness.Locker) {
	t.Helper()
	for {
		_, err := l.Lock(t.Context())
		if err == nil {
			return
		}
		if !errors.Is(err, harness.ErrAgain) {
			t.Fatal(err)
		}
	}
}

// Every lock of the comparison is one: it keeps a second client out while it is held, and lets it in afterwards.
func TestLocksExclude(t *testing.T) {
	all, err := locks(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		t.Run(l.Name(), func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, l)
			lock(t, a)
			impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := b.Lock(impatient); err == nil {
				t.Fatal("two hold it")
			}
			if err := a.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
			lock(t, b)
			if err := b.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What is not a mutex, most of them do not have.
func TestUnsupported(t *testing.T) {
	for _, l := range []harness.Lock{asGmutex{}, asGcslock{}, createDelete{}, asPython{}} {
		c, err := l.Client(t.Context(), harness.Setup{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Locker(harness.Want{Kind: harness.Semaphore}); !errors.Is(err, harness.ErrUnsupported) {
			t.Errorf("%s: %v", l.Name(), err)
		}
	}
}

// measured is a report as if it had been made.
func measured() *report {
	r := newReport(io.Discard, true)
	number := func(x float64) *float64 { return &x }
	add := func(scenario, lock string, procs int, perSecond, handoff, wait float64) {
		n := int64(perSecond * 10)
		none := int64(0)
		r.results = append(r.results, &harness.Result{
			Scenario: scenario, Lock: lock, Procs: procs, Goroutines: 1, HoldMS: 100, Acquisitions: &n, PerSecond: number(perSecond),
			HandoffP50: number(handoff), HandoffP99: number(2 * handoff), WaitP50: number(wait), WaitMax: number(3 * wait), Jain: number(0.995),
			ClassA: number(1), ClassB: number(2), Free: number(3), USD: number(5.8), Overlaps: &none,
			Handoffs: []float64{handoff, 2 * handoff}, Spans: []harness.Span{{Player: 1, From: 1, To: 2}},
		})
	}
	for _, n := range []int{1, 8} {
		add("contended", ours, n, 6.5, 45, 1000)
		add("contended", "backoff", n, 0.5, 1900, 6000)
		add("contended", "as-gmutex", n, 0.4, 1800, 5000)
	}
	add("unlimited", ours, 8, 6, 45, 1000)
	add("unlimited", "backoff", 8, 7, 45, 3000)
	r.client = &clientWork{CPU: 1.06, Allocations: 1.05, Memory: 1.04}
	return r
}

// A claim is judged by what was measured, for us or against us.
func TestClaims(t *testing.T) {
	var got []bool
	for _, c := range measured().claims() {
		got = append(got, c.Holds)
	}
	if want := []bool{true, true, true, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("claims hold: %v, want %v\n%+v", got, want, measured().claims())
	}
}

// The page is one file that needs no network, whatever is missing in it.
func TestPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	begun := measured()
	begun.results = begun.results[:1]
	for _, r := range []*report{newReport(io.Discard, true), begun, measured()} {
		if err := r.write(path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "as-gmutex", "13.0 times", "does not hold", `&#34;acquisitions_per_s&#34;:6.5`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	for _, never := range []string{"<script src", "<link", "<img", "@import"} {
		if strings.Contains(string(text), never) {
			t.Errorf("%q is in the page", never)
		}
	}
}

// An interrupt keeps what was measured.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := measured().make(ctx, path, false); err == nil {
		t.Error("no error")
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "as-gmutex") {
		t.Errorf("what was measured is not in the page: %v", err)
	}
}

// The documents get their numbers between marks, and nothing else changes.
func TestFill(t *testing.T) {
	before := "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n<!-- bench:y -->\n<!-- /bench:y -->\n"
	after, err := fill(before, map[string]string{"x": "new\n", "y": "two\nlines", "z": "nowhere"})
	if want := "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n<!-- bench:y -->\ntwo\nlines\n<!-- /bench:y -->\n"; err != nil || after != want {
		t.Errorf("%v\n%s", err, after)
	}
	if _, err := fill("<!-- bench:x -->\n", map[string]string{"x": ""}); err == nil {
		t.Error("a mark without its end is no error")
	}
}

func TestClientWork(t *testing.T) {
	w, err := readClientWork(`goos: linux
BenchmarkOverhead-2    	      10	         0 ns/op	     93000 B/cycle	         1.05 allocs-ratio	         1.04 bytes-ratio	         1.07 cpu-ratio	         1.06 cpu-ratio-median	       700 cpu-µs/cycle
BenchmarkLocalHandOff-2	  300000	      4100 ns/op	     800 B/op	      12 allocs/op
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1.06 times the CPU", "1.05 times their allocations", "93 KB", "4.1 µs"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("%q is not in: %s", want, w)
		}
	}
	if _, err := readClientWork("FAIL"); err == nil {
		t.Error("no figures are no error")
	}
}

// Every document has the marks that the report fills, and the pictures that it shows are drawn.
func TestDocuments(t *testing.T) {
	for _, name := range []string{"README.md", "docs/performance.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fill(string(text), measured().blocks()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, rest := range strings.Split(string(text), "img/")[1:] {
			picture, _, _ := strings.Cut(rest, ".svg")
			if !slices.Contains(shownInDocs, picture) {
				t.Errorf("%s shows %s.svg, which nobody draws", name, picture)
			}
		}
	}
}
