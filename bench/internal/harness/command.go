// Package harness measures how a lock that is shared by many machines behaves under load: how many acquisitions a second,
// how long a hand-off takes, how fair it is, and what it costs. It is what the commands bench and bench/peers are made of.
//
// By default it runs against a simulated service in this process, over real HTTP on the loopback interface. Each client
// has a storage client, and so connections, of its own. They are in one process unless told otherwise; in any case a
// referee in this process sees all of them on one clock: it learns of more than one holder at once, and measures a
// hand-off without comparing clocks.
package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // a lock was not exclusive, a token not greater, or a call failed
	exitUsage       = 2
	exitInterrupted = 130
)

// A Command is the command line of a program that measures locks.
type Command struct {
	Name  string                                 // as one calls it: go run ./bench
	Locks func(log *slog.Logger) ([]Lock, error) // what it can measure; the first is measured when none is chosen
	All   bool                                   // when none is chosen, all are measured
}

// settings are the command line.
type settings struct {
	scenarios  []Scenario
	locks      []string
	procs      []int           // empty: the scenario's own
	goroutines int             // 0: the scenario's own
	hold       []time.Duration // empty: the scenario's own
	duration   time.Duration
	model      gcstest.Model
	bucket     string // gs://...; empty: the simulated service
	exec       bool
	yes        bool
	json       bool
	verbose    bool
	stderr     io.Writer
}

// run is one line of the table to be.
type run struct {
	lock     Lock
	scenario Scenario
}

// Main runs the command and returns its exit code.
func (c Command) Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	screen := NewScreen(stderr)
	if locks, err := c.Locks(NewLogger(stderr, false)); err == nil {
		if code, is := Child(locks, os.Stdin, stdout); is {
			return code
		}
	}
	if len(args) > 0 && args[0] == "scale" {
		return scaleMain(ctx, args[1:], stdout, stderr)
	}
	complain := func(code int, err error) int {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return code
	}
	set, err := c.parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return complain(exitUsage, fmt.Errorf("%w\nRun it with -h for help", err))
	}
	runs, err := c.runs(set, NewLogger(screen, set.verbose))
	if err != nil {
		return complain(exitUsage, err)
	}
	if set.bucket != "" && os.Getenv("STORAGE_EMULATOR_HOST") == "" {
		if err := set.consent(runs); err != nil {
			return complain(exitUsage, err)
		}
	}

	var out report = &table{w: stdout, about: set.about()}
	if set.json {
		out = &lines{w: stdout}
	}
	code := exitOK
	for _, r := range runs {
		res, err := set.bench(r).run(ctx, r.scenario, screen)
		if res != nil {
			if err := out.add(res); err != nil {
				return complain(exitFailed, err)
			}
			if res.Broken() {
				code = exitFailed
			}
		}
		if err != nil {
			code = complain(exitFailed, fmt.Errorf("%s: %s: %w", r.lock.Name(), r.scenario.Name, err))
		}
		if ctx.Err() != nil {
			return max(code, complain(exitInterrupted, errors.New("interrupted")))
		}
	}
	return code
}

func (set *settings) warmUp() time.Duration { return min(set.duration/5, 2*time.Second) }

// bench is what one run needs.
func (set *settings) bench(r run) *bench {
	m := set.model
	if r.scenario.Service != nil {
		r.scenario.Service(&m)
	}
	return &bench{
		lock:    r.lock,
		open:    func(ctx context.Context) (*service, error) { return openService(ctx, set.bucket, m) },
		warmUp:  set.warmUp(),
		measure: set.duration,
		model:   m,
		exec:    set.exec,
	}
}

// runs returns what is to be measured, in order: for each scenario the locks side by side.
func (c Command) runs(set *settings, log *slog.Logger) ([]run, error) {
	locks, err := c.Locks(log)
	if err != nil {
		return nil, err
	}
	chosen := locks
	switch {
	case len(set.locks) > 0:
		chosen = nil
		for _, name := range set.locks {
			l, err := lockCalled(locks, name)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, l)
		}
	case !c.All:
		chosen = locks[:1]
	}
	var runs []run
	for _, s := range set.scenarios {
		for _, s := range s.variants(set) {
			for _, l := range chosen {
				if set.bucket != "" {
					if _, off := l.(OffBucket); off {
						continue
					}
				}
				runs = append(runs, run{l, s})
			}
		}
	}
	return runs, nil
}

func lockCalled(locks []Lock, name string) (Lock, error) {
	var names []string
	for _, l := range locks {
		if l.Name() == name {
			return l, nil
		}
		names = append(names, l.Name())
	}
	return nil, fmt.Errorf("no lock %q: there are %s", name, strings.Join(names, ", "))
}

// parse reads the command line. It prints the help itself, and leaves other errors to the caller.
func (c Command) parse(args []string, stderr io.Writer) (*settings, error) {
	set := &settings{stderr: stderr}
	var names string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&names, "scenario", "", "run only these `scenarios`, separated by commas; all: every one")
	f.Func("lock", "measure only these `locks`, separated by commas", func(s string) error {
		set.locks = strings.Split(s, ",")
		return nil
	})
	f.Func("procs", "`numbers` of clients, separated by commas, each with a storage client of its own (default the scenario's own)",
		list(&set.procs, strconv.Atoi))
	f.IntVar(&set.goroutines, "goroutines", 0, "`number` of goroutines of each client that want the lock (default the scenario's own)")
	f.Func("hold", "how long the lock is held each time, `durations` separated by commas (default the scenario's own)",
		list(&set.hold, time.ParseDuration))
	f.DurationVar(&set.duration, "duration", 10*time.Second, "time measured per line of the table, after a warm-up of a fifth of it, at most 2s")
	f.DurationVar(&set.model.Median, "median", 30*time.Millisecond, "median time of a request to the simulated service")
	f.DurationVar(&set.model.P99, "p99", 120*time.Millisecond, "99th percentile of that time")
	f.Float64Var(&set.model.Rate, "rate", 1, "mutations per second of one object name that the simulated service takes; 0: no limit")
	f.IntVar(&set.model.Burst, "burst", 3, "mutations of one name that it takes at once after a rest")
	f.Uint64Var(&set.model.Seed, "seed", 1, "`seed` of the simulated service's latencies")
	f.StringVar(&set.bucket, "bucket", "", "use this bucket, `gs://name`, instead of the simulated service; STORAGE_EMULATOR_HOST is heeded")
	f.BoolVar(&set.yes, "yes", false, "what the run against the bucket costs is all right")
	f.BoolVar(&set.exec, "exec", false, "make each client a process of its own; vanishing ones are killed")
	f.BoolVar(&set.json, "json", false, "print one JSON object per line, and nothing else, on the standard output")
	f.BoolVar(&set.verbose, "v", false, "log each step of the protocol")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			c.usage(stderr, f)
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	var err error
	if set.scenarios, err = Choose(names); err != nil {
		return nil, err
	}
	given := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	return set, set.check(given)
}

// list parses values separated by commas.
func list[T any](into *[]T, parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		for text := range strings.SplitSeq(s, ",") {
			x, err := parse(text)
			if err != nil {
				return err
			}
			*into = append(*into, x)
		}
		return nil
	}
}

// check refuses what makes no sense.
func (set *settings) check(given map[string]bool) error {
	switch {
	case slices.ContainsFunc(set.procs, func(n int) bool { return n < 1 }):
		return errors.New("-procs must be at least 1")
	case given["goroutines"] && set.goroutines < 1:
		return errors.New("-goroutines must be at least 1")
	case slices.ContainsFunc(set.hold, func(d time.Duration) bool { return d < 0 }):
		return errors.New("-hold must not be negative")
	case set.duration <= 0:
		return errors.New("-duration must be positive")
	case set.model.Median < 0, set.model.P99 < 0, set.model.Rate < 0, set.model.Burst < 0:
		return errors.New("-median, -p99, -rate and -burst must not be negative")
	}
	if set.bucket == "" {
		return nil
	}
	for _, name := range []string{"median", "p99", "rate", "burst", "seed"} {
		if given[name] {
			return fmt.Errorf("-%s is about the simulated service, which -bucket replaces", name)
		}
	}
	for _, s := range set.scenarios {
		if s.Service != nil {
			return fmt.Errorf("scenario %s is about the simulated service, which -bucket replaces", s.Name)
		}
	}
	_, err := bucketName(set.bucket)
	return err
}

// about says what was measured where, for the head of the table.
func (set *settings) about() string {
	where := set.bucket
	if where == "" {
		where = "simulated service: " + Describe(set.model)
	} else if host := os.Getenv("STORAGE_EMULATOR_HOST"); host != "" {
		where += " at " + host
	}
	return fmt.Sprintf("%s; %v a line; %s", where, set.duration, Machine())
}

// Describe says in words what the simulated service is like.
func Describe(m gcstest.Model) string {
	limit := "no limit"
	if m.Rate > 0 {
		limit = fmt.Sprintf("%g mutations/s per name, burst %d", m.Rate, max(m.Burst, 1))
	}
	return fmt.Sprintf("%v median, %v p99, %s, seed %d", m.Median, m.P99, limit, m.Seed)
}

// Machine says in words where this program runs.
func Machine() string {
	return fmt.Sprintf("%s, %s/%s, %d CPUs", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
}

func (c Command) usage(w io.Writer, f *flag.FlagSet) {
	var b strings.Builder
	fmt.Fprintf(&b, `Usage: %[1]s [flags]
       %[1]s scale [flags]       what 10,000 leases and 10,000 waiters cost one process
       go run ./bench report [flags]      all of it, side by side with other locks, as a page with pictures

Measures locks kept in a bucket, by default in a simulated one: no account, no network, about a minute.

Scenarios (those with a star only when asked for):
`, c.Name)
	for _, s := range Scenarios {
		star := " "
		if s.Extra {
			star = "*"
		}
		fmt.Fprintf(&b, " %s%-20s %s\n", star, s.Name, s.About)
	}
	b.WriteString("\nLocks:\n ")
	if locks, err := c.Locks(slog.New(slog.DiscardHandler)); err == nil {
		for _, l := range locks {
			b.WriteString(" " + l.Name())
		}
	}
	b.WriteString(`

Columns (and fields of -json); - and null are what does not exist there:
  clients x goroutines (procs, goroutines) and how long each holds the lock (hold_ms)
  acq/s       acquisitions per second (acquisitions, seconds, acquisitions_per_s)
  hand-off    from the holder's call of Unlock to the return of the next Lock, in milliseconds, where somebody was
              waiting when Unlock was called; for once, from the end of the work to a client that knows
              (handoff_ms_p50, handoff_ms_p99)
  wait        median of the waits for the lock, and the longest, those that still wait at the end included
              (wait_ms_p50, wait_ms_max)
  jain        Jain's index of fairness over the acquisitions of all goroutines of all clients: 1 is perfectly fair,
              1/n is one of n gets everything (jain)
  A B free 429   requests per acquisition, by price: class A (creates, patches, lists), class B (reads), free of
              charge (deletes, refusals), and those of the free ones that were throttled (class_a_per_acq, ...)
  $/M         US dollars for a million acquisitions in a regional STANDARD bucket: $5 a million for class A, $0.40
              for class B (usd_per_million)
  overlaps    how often somebody got the lock while those who believed to hold it left no room; for once, how often the
              work was done again (overlaps)
  regr.       fencing tokens not greater than the one granted before (token_regressions)
  lost        holds that were lost while they were believed (lost)
  failed      calls that failed, where a program would try again (failed)
  crashes     holders that vanished (crashes), and how long until the next one held the lock, or until the end
              (recovery_ms_p50, recovery_ms_max)

Overlaps, regressions or a failed call make the exit code 1; a mistake on the command line makes it 2. An interrupt
(Ctrl-C) ends the measurement and prints what was measured.

Flags:
`)
	fmt.Fprint(w, b.String())
	f.SetOutput(w)
	f.PrintDefaults()
}
