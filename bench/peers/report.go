package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gcsync/gcsync/bench/internal/harness"
	"github.com/gcsync/gcsync/gcstest"
)

// service is what the report measures at, unless a scenario changes it.
var service = gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 3, Seed: 1}

// A report is a run of the matrix and what came of it so far.
type report struct {
	steps   []step
	locks   []harness.Lock
	screen  *harness.Screen
	begun   time.Time
	problem []string
	quick   bool
	scale   []harness.ScaleFigure
	client  *clientWork

	mu      sync.Mutex
	results []*harness.Result
}

// makeReport is the command "report".
func makeReport(ctx context.Context, args []string, stderr io.Writer) int {
	f := flag.NewFlagSet("report", flag.ContinueOnError)
	f.SetOutput(stderr)
	out := f.String("o", "report.html", "write the page to this `file`")
	quick := f.Bool("quick", false, "measure less, for two minutes: shows how it looks")
	docs := f.Bool("docs", false, "also bring the figures and the pictures of README.md and docs up to date")
	f.Usage = func() {
		fmt.Fprint(stderr, `Usage: go run ./bench report [flags]

Measures gcsync and other locks side by side, for about half an hour, and writes a page that needs nothing else. The page
is written anew all the time: an interrupt (Ctrl-C) keeps what was measured.

Flags:
`)
		f.PrintDefaults()
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case f.NArg() > 0:
		fmt.Fprintf(stderr, "bench: unexpected argument %q\n", f.Arg(0))
		return 2
	case *quick && *docs:
		fmt.Fprintln(stderr, "bench: -quick measures too little for what -docs writes: leave one of them out")
		return 2
	}
	if err := newReport(stderr, *quick).make(ctx, inRoot(*out), *docs); err != nil {
		fmt.Fprintln(stderr, "bench: report:", err)
		return 1
	}
	return 0
}

// inRoot returns the path as it is seen from where the command was called.
func inRoot(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(os.Getenv(rootEnv), path)
}

func newReport(stderr io.Writer, quick bool) *report {
	screen := harness.NewScreen(stderr)
	locks, _ := locks(slog.New(slog.NewTextHandler(screen, &slog.HandlerOptions{Level: slog.LevelWarn})))
	return &report{steps: matrix(quick), locks: locks, screen: screen, begun: time.Now(), quick: quick}
}

// A job is a part of the report that takes its time.
type job struct {
	what  string
	takes time.Duration // roughly
	do    func(ctx context.Context)
}

func (r *report) jobs() []job {
	var jobs []job
	for i, s := range r.steps {
		what := fmt.Sprintf("%d/%d %s, %d clients, %v", i+1, len(r.steps), s.scenario.Name, s.scenario.Procs, s.scenario.Hold)
		for _, round := range s.rounds(r.locks) {
			if takes := s.takes(round); takes > 0 {
				jobs = append(jobs, job{what, takes, func(ctx context.Context) { r.round(ctx, s, round) }})
			}
		}
	}
	if r.quick {
		return jobs
	}
	return append(jobs,
		job{fmt.Sprintf("%d leases and waiters in one process", harness.DefaultScale.Leases), 2 * time.Minute, func(ctx context.Context) {
			var err error
			if r.scale, err = harness.DefaultScale.Run(ctx); err != nil && ctx.Err() == nil {
				r.complain(fmt.Sprintf("scale: %v", err))
			}
		}},
		job{"the client's own work", 2 * time.Minute, func(ctx context.Context) {
			var err error
			if r.client, err = measureClient(ctx, root()); err != nil && ctx.Err() == nil {
				r.complain(fmt.Sprintf("client: %v", err))
			}
		}})
}

// make measures and writes.
func (r *report) make(ctx context.Context, path string, docs bool) error {
	if err := r.write(path); err != nil { // or find out now that it cannot be written
		return err
	}
	var total, past time.Duration
	jobs := r.jobs()
	for _, j := range jobs {
		total += j.takes
	}
	fmt.Fprintf(r.screen, "bench: %d scenarios, about %v\n", len(r.steps), total.Round(time.Minute))
	for _, j := range jobs {
		ended := r.show(j.what, past, total)
		j.do(ctx)
		ended()
		past += j.takes
		if err := r.write(path); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: what was measured is in %s", path)
		}
	}
	fmt.Fprintf(r.screen, "bench: %s, after %v\n", path, time.Since(r.begun).Round(time.Second))
	if !docs {
		return nil
	}
	return r.document(root())
}

// root is the folder of the repository.
func root() string { return cmp.Or(os.Getenv(rootEnv), filepath.Join("..", "..")) }

// rootEnv is the environment variable that says so, where the command bench has called.
const rootEnv = "GCSYNC_BENCH_ROOT"

// round measures some locks at the same time.
func (r *report) round(ctx context.Context, s step, locks []harness.Lock) {
	results := make([]*harness.Result, len(locks))
	var all sync.WaitGroup
	for i, l := range locks {
		all.Go(func() {
			e := harness.Experiment{Lock: l, Scenario: s.scenario, Model: service, Duration: s.duration(l)}
			res, err := e.Run(ctx)
			results[i] = res
			if err != nil && ctx.Err() == nil {
				r.complain(fmt.Sprintf("%s: %s with %d clients: %v", l.Name(), s.scenario.Name, s.scenario.Procs, err))
			}
		})
	}
	all.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, res := range results {
		if res != nil {
			r.results = append(r.results, res)
		}
	}
}

func (r *report) complain(text string) {
	fmt.Fprintln(r.screen, "bench:", text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem = append(r.problem, text)
}

// show draws the progress until the function that it returns is called. Where nobody watches a terminal, it says a line.
func (r *report) show(what string, past, total time.Duration) (ended func()) {
	if !r.screen.Terminal() {
		fmt.Fprintf(r.screen, "bench: %s; %v to go\n", what, (total - past).Round(time.Second))
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for from := time.Now(); ; {
			done := min(past+time.Since(from), total)
			r.screen.Show(fmt.Sprintf("%s %v to go  %s", harness.Bar(done.Seconds()/total.Seconds()), (total - done).Round(time.Second), what))
			select {
			case <-tick.C:
			case <-stop:
				r.screen.Show("")
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// of returns the results of a scenario, in the order of the locks.
func (r *report) of(match func(*harness.Result) bool) []*harness.Result {
	var found []*harness.Result
	for _, res := range r.results {
		if match(res) {
			found = append(found, res)
		}
	}
	return found
}

// sweep returns the results of a lock that wants to be held for 100 ms by more and more clients.
func (r *report) sweep(lock string) []*harness.Result {
	return r.of(func(res *harness.Result) bool {
		return res.Scenario == "contended" && res.Lock == lock && res.HoldMS == float64(sweepHold.Milliseconds())
	})
}

// one returns the result of a lock in a scenario, if there is one: of contended, the one with 8 clients and 100 ms.
func (r *report) one(scenario, lock string) *harness.Result {
	found := r.of(func(res *harness.Result) bool {
		return res.Scenario == scenario && res.Lock == lock &&
			(scenario != "contended" || res.Procs == sweepAt && res.HoldMS == float64(sweepHold.Milliseconds()))
	})
	return append(found, nil)[0]
}

// peersInBucket are the locks that are not this module's and live in a bucket: those that it has to beat.
func (r *report) peersInBucket() []string {
	var names []string
	for _, l := range r.locks[len(harness.Ours(nil)):] {
		if _, off := l.(harness.OffBucket); !off {
			names = append(names, l.Name())
		}
	}
	return names
}

// best returns the result of the peers in a scenario that is best in something, where that is known: the least of rank.
func (r *report) best(scenario string, rank func(*harness.Result) *float64) *harness.Result {
	var best *harness.Result
	for _, name := range r.peersInBucket() {
		res := r.one(scenario, name)
		if res == nil || rank(res) == nil || res.Acquisitions == nil || *res.Acquisitions == 0 {
			continue
		}
		if best == nil || cmp.Less(*rank(res), *rank(best)) {
			best = res
		}
	}
	return best
}

// Ranks: less is better.
func speed(r *harness.Result) *float64 {
	if r.PerSecond == nil {
		return nil
	}
	slowness := -*r.PerSecond
	return &slowness
}
func worstWait(r *harness.Result) *float64 { return r.WaitMax }
func usualWait(r *harness.Result) *float64 { return r.WaitP50 }

// A claim is what the README says, and whether this run bears it out.
type claim struct {
	Text  string
	Found string
	Holds bool
}

// claims judges what was measured; a claim about what was not is left out.
func (r *report) claims() []claim {
	var claims []claim
	add := func(text string, holds bool, found string, numbers ...any) {
		claims = append(claims, claim{text, fmt.Sprintf(found, numbers...), holds})
	}
	const bench8 = "8 clients at 100 ms: "
	if us := r.one("contended", ours); us != nil {
		if p := r.best("contended", speed); p != nil {
			ratio := *us.PerSecond / *p.PerSecond
			add(bench8+"at least 10 times the acquisitions per second of the best peer in a bucket", ratio >= 10,
				"%.2f against %.2f (%s): %.1f times", *us.PerSecond, *p.PerSecond, p.Lock, ratio)
			if us.HandoffP50 != nil && p.HandoffP50 != nil {
				ratio := *p.HandoffP50 / *us.HandoffP50
				add(bench8+"at most a tenth of its hand-off (median)", ratio >= 10,
					"%.0f ms against %.0f ms: 1/%.0f of it", *us.HandoffP50, *p.HandoffP50, ratio)
			}
		}
		if us.Jain != nil {
			add(bench8+"a Jain index of at least 0.99", *us.Jain >= 0.99, "%.3f", *us.Jain)
		}
	}
	if us := r.one("unlimited", ours); us != nil {
		if p := r.best("unlimited", speed); p != nil {
			add("without the service's limit: no slower than the best peer in a bucket", *us.PerSecond >= *p.PerSecond,
				"%.2f acquisitions/s against %.2f (%s)", *us.PerSecond, *p.PerSecond, p.Lock)
		}
		if p := r.best("unlimited", worstWait); p != nil {
			add("without the service's limit: the shorter worst wait", *us.WaitMax < *p.WaitMax,
				"%.0f ms against %.0f ms (%s)", *us.WaitMax, *p.WaitMax, p.Lock)
		}
	}
	if us := r.one("uncontended/cold", ours); us != nil && us.WaitP50 != nil {
		if p := r.best("uncontended/cold", usualWait); p != nil {
			add("where a peer wins: the first Lock of a process, nobody competing", *us.WaitP50 > *p.WaitP50,
				"%.0f ms (median) against %.0f ms (%s)", *us.WaitP50, *p.WaitP50, p.Lock)
		}
	}
	if w := r.client; w != nil {
		add("the client's own work: at most 1.05 times the CPU of the bare requests", w.CPU <= 1.05, "%.3f times", w.CPU)
		add("the client's own work: at most 1.1 times their allocations", max(w.Allocations, w.Memory) <= 1.1,
			"%.3f times, and %.3f times the memory", w.Allocations, w.Memory)
	}
	return claims
}
