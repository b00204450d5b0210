// Command bench measures how a lock kept in a bucket behaves under load: how many acquisitions a second, how long a
// hand-off takes, how fair it is, and what it costs.
//
// By default it runs against a simulated service in this process, over real HTTP on the loopback interface, so that it
// needs no account and no network:
//
//	go run ./bench
//	go run ./bench -scenario contended -procs 32 -hold 10ms -duration 30s -json
//	go run ./bench -bucket gs://my-bucket -scenario contended
//
// The simulation takes 30 ms for the median request and 120 ms for the 99th percentile, and refuses more than one
// mutation a second of one object name beyond a burst of three, as the service documents it.
//
// Each client has a storage client, and so connections, of its own. They are in one process all the same: that is what
// lets a referee see more than one holder at once, and measure a hand-off on one clock.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// settings are the command line.
type settings struct {
	scenarios  []scenario
	procs      int           // 0: the scenario's own
	goroutines int           // 0: the scenario's own
	hold       time.Duration // negative: the scenario's own
	duration   time.Duration
	model      gcstest.Model
	bucket     string // gs://...; empty: the simulated service
	json       bool
	verbose    bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	set, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v\nRun it with -h for help.\n", err)
		return exitUsage
	}

	screen := newScreen(stderr)
	b := &bench{
		lock:    gcsyncLock{log: newLogger(screen, set.verbose)},
		open:    func(ctx context.Context) (*service, error) { return openService(ctx, set.bucket, set.model) },
		warmUp:  min(set.duration/5, 2*time.Second),
		measure: set.duration,
	}
	var out report = &table{w: stdout, about: set.about()}
	if set.json {
		out = &lines{w: stdout}
	}
	code := exitOK
	for _, s := range set.scenarios {
		res, err := b.run(ctx, s.with(set), screen)
		if res != nil {
			if err := out.add(res); err != nil {
				fmt.Fprintf(stderr, "bench: %v\n", err)
				return exitFailed
			}
			if res.Overlaps > 0 || res.Regressions > 0 {
				code = exitFailed
			}
		}
		if err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", s.name, err)
			code = exitFailed
		}
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "bench: interrupted")
			return max(code, exitInterrupted)
		}
	}
	return code
}

// parse reads the command line. It prints the help itself, and leaves other errors to the caller.
func parse(args []string, stderr io.Writer) (*settings, error) {
	set := new(settings)
	var names string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&names, "scenario", "", "run only these `scenarios`, separated by commas")
	f.IntVar(&set.procs, "procs", 0, "`number` of clients, each with a storage client of its own (default the scenario's own)")
	f.IntVar(&set.goroutines, "goroutines", 0, "`number` of goroutines of each client that want the lock (default the scenario's own)")
	f.DurationVar(&set.hold, "hold", 0, "how long the lock is held each time (default the scenario's own)")
	f.DurationVar(&set.duration, "duration", 10*time.Second, "time measured per line of the table, after a warm-up of a fifth of it, at most 2s")
	f.DurationVar(&set.model.Median, "median", 30*time.Millisecond, "median time of a request to the simulated service")
	f.DurationVar(&set.model.P99, "p99", 120*time.Millisecond, "99th percentile of that time")
	f.Float64Var(&set.model.Rate, "rate", 1, "mutations per second of one object name that the simulated service takes; 0: no limit")
	f.IntVar(&set.model.Burst, "burst", 3, "mutations of one name that it takes at once after a rest")
	f.Uint64Var(&set.model.Seed, "seed", 1, "`seed` of the simulated service's latencies")
	f.StringVar(&set.bucket, "bucket", "", "use this bucket, `gs://name`, instead of the simulated service; STORAGE_EMULATOR_HOST is heeded")
	f.BoolVar(&set.json, "json", false, "print one JSON object per line, and nothing else, on the standard output")
	f.BoolVar(&set.verbose, "v", false, "log each step of the protocol")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage(stderr, f)
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	var err error
	if set.scenarios, err = choose(names); err != nil {
		return nil, err
	}
	given := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	if !given["hold"] {
		set.hold = -1
	}
	return set, set.check(given)
}

// check refuses what makes no sense.
func (set *settings) check(given map[string]bool) error {
	switch {
	case given["procs"] && set.procs < 1:
		return errors.New("-procs must be at least 1")
	case given["goroutines"] && set.goroutines < 1:
		return errors.New("-goroutines must be at least 1")
	case given["hold"] && set.hold < 0:
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
	_, err := bucketName(set.bucket)
	return err
}

// about says what was measured where, for the head of the table.
func (set *settings) about() string {
	where := set.bucket
	if where == "" {
		m := set.model
		limit := "no limit"
		if m.Rate > 0 {
			limit = fmt.Sprintf("%g mutations/s per name, burst %d", m.Rate, max(m.Burst, 1))
		}
		where = fmt.Sprintf("simulated service: %v median, %v p99, %s, seed %d", m.Median, m.P99, limit, m.Seed)
	} else if host := os.Getenv("STORAGE_EMULATOR_HOST"); host != "" {
		where += " at " + host
	}
	return fmt.Sprintf("%s; %v a line; %s, %s/%s, %d CPUs", where, set.duration,
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
}

func usage(w io.Writer, f *flag.FlagSet) {
	var b strings.Builder
	b.WriteString(`Usage: go run ./bench [flags]

Measures a lock kept in a bucket, by default in a simulated one: no account, no network, about a minute.

Scenarios:
`)
	for _, s := range scenarios {
		fmt.Fprintf(&b, "  %-20s %s\n", s.name, s.about)
	}
	b.WriteString(`
Columns (and fields of -json):
  clients x goroutines (procs, goroutines) and how long each holds the lock (hold_ms)
  acq/s       acquisitions per second (acquisitions, seconds, acquisitions_per_s)
  hand-off    from the holder's call of Unlock to the return of the next Lock, in milliseconds, where somebody was
              waiting when Unlock was called (handoff_ms_p50, handoff_ms_p99)
  wait max    longest wait for the lock, those that still wait at the end included (wait_ms_max)
  jain        Jain's index of fairness over the acquisitions of all goroutines of all clients: 1 is perfectly fair,
              1/n is one of n gets everything (jain)
  A B free 429   requests per acquisition, by price: class A (creates, patches, lists), class B (reads), free of
              charge (deletes, refusals), and those of the free ones that were throttled (class_a_per_acq, ...)
  $/M         US dollars for a million acquisitions in a regional STANDARD bucket: $5 a million for class A, $0.40
              for class B (usd_per_million)
  overlaps    how often somebody got the lock while another believed to hold it (overlaps)
  regress.    fencing tokens not greater than the one granted before (token_regressions)

Overlaps, regressions or a failed call make the exit code 1; a mistake on the command line makes it 2. An interrupt
(Ctrl-C) ends the measurement and prints what was measured.

Flags:
`)
	fmt.Fprint(w, b.String())
	f.SetOutput(w)
	f.PrintDefaults()
}
