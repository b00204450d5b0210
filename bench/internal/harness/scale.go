package harness

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

// What many leases and many waiters cost one process. The client under test is a process of its own, so that what it takes
// of memory and processor is its own; the service, without latency and limits, and the other side are in this one.

// A ScaleFigure is one line.
type ScaleFigure struct {
	What       string  `json:"what"`
	N          int     `json:"n"`
	Seconds    float64 `json:"seconds"`        // until all are as they should be
	Bytes      float64 `json:"bytes_each"`     // heap and stacks
	Goroutines float64 `json:"goroutines_all"` // more than before
	PerSecond  float64 `json:"requests_per_s"` // from then on
	CPU        float64 `json:"cpus"`           // from then on, of the client
	Lost       int64   `json:"lost"`           // which no lease should be while its client is alive
	Renewals   *Spread `json:"renewal_seconds,omitempty"`
}

// A Spread says how the renewals of leases that were taken together lie in time.
type Spread struct {
	P1, P50, P99 float64 // seconds between two renewals of one lease
	Burst        float64 // the busiest 100 ms in relation to the mean
}

// Scale says how many there shall be.
type Scale struct {
	Leases int           // held, and goroutines that wait for one name
	Names  int           // waited for by one goroutine each
	Watch  time.Duration // how long each state is watched

	Profiles string // folder for profiles of the client; empty: none
}

// DefaultScale is what the documents show. It is watched for two renewals at least.
var DefaultScale = Scale{Leases: 10_000, Names: 1_000, Watch: 25 * time.Second}

const (
	scaleEnv    = "GCSYNC_BENCH_SCALE" // URL of the service, for the client
	scaleBucket = "scale"
)

const (
	leasesHeld   = "leases held"
	waitersOfOne = "goroutines that wait for one name"
	waitersEach  = "names that one goroutine each waits for"
)

// order is what the client is told to do.
type order struct {
	What  string        `json:"what"`
	N     int           `json:"n"`
	Watch time.Duration `json:"watch"`

	Profiles string `json:"profiles"`
}

// scaleMain is the command "scale".
func scaleMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s := DefaultScale
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&s.Leases, "leases", s.Leases, "`number` of leases held, and of goroutines that wait for one name")
	f.IntVar(&s.Names, "names", s.Names, "`number` of names that one goroutine each waits for")
	f.DurationVar(&s.Watch, "watch", s.Watch, "how long each is watched")
	f.StringVar(&s.Profiles, "profiles", "", "write profiles of the client to this `folder`")
	asJSON := f.Bool("json", false, "print one JSON object per line")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	figures, err := s.Run(ctx)
	if *asJSON {
		enc := json.NewEncoder(stdout)
		for _, figure := range figures {
			err = errors.Join(err, enc.Encode(figure))
		}
	} else {
		fmt.Fprintf(stdout, "%s\n\n%s", Machine(), ScaleTable(figures).Markdown())
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench: scale:", err)
		return exitFailed
	}
	return exitOK
}

// ScaleTable returns the figures as a table.
func ScaleTable(figures []ScaleFigure) Table {
	t := Table{Heads: []string{"in one process", "number", "after", "memory each", "goroutines in all", "requests/s", "CPUs", "lost",
		"renewals of one lease, s apart (p1, p50, p99)", "busiest 100 ms of renewals / mean"}}
	for _, f := range figures {
		apart, burst := "-", "-"
		if f.Renewals != nil {
			apart = fmt.Sprintf("%.1f, %.1f, %.1f", f.Renewals.P1, f.Renewals.P50, f.Renewals.P99)
			burst = fmt.Sprintf("%.1f", f.Renewals.Burst)
		}
		t.Rows = append(t.Rows, []string{f.What, fmt.Sprint(f.N), fmt.Sprintf("%.1f s", f.Seconds), fmt.Sprintf("%.1f KB", f.Bytes/1000),
			fmt.Sprintf("%.0f", f.Goroutines), fmt.Sprintf("%.0f", f.PerSecond), fmt.Sprintf("%.2f", f.CPU), fmt.Sprint(f.Lost), apart, burst})
	}
	return t
}

// Run measures. It returns what was measured even if something failed on the way.
func (s Scale) Run(ctx context.Context) (figures []ScaleFigure, err error) {
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	server.CreateBucket(scaleBucket, gcstest.BucketConfig{})
	listener, err := server.Listen("")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	var seen renewals
	seen.reset()
	server.Observe(seen.observe)

	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), scaleEnv+"="+listener.URL())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stdin.Close(), cmd.Wait()) }()
	orders, answers := json.NewEncoder(stdin), json.NewDecoder(stdout)

	others, err := newScaler(ctx, listener.URL()) // who holds what the client waits for
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, others.close(context.WithoutCancel(ctx))) }()
	if err := others.lockAll(ctx, waitersOfOne, 1); err != nil {
		return nil, err
	}
	if err := others.lockAll(ctx, waitersEach, s.Names); err != nil {
		return nil, err
	}
	for _, o := range []order{
		{leasesHeld, s.Leases, s.Watch, s.Profiles},
		{waitersOfOne, s.Leases, s.Watch / 2, s.Profiles},
		{waitersEach, s.Names, s.Watch / 2, s.Profiles},
	} {
		seen.reset()
		if err := orders.Encode(o); err != nil {
			return figures, err
		}
		var f ScaleFigure
		if err := answers.Decode(&f); err != nil {
			return figures, fmt.Errorf("%s: %w", o.What, err)
		}
		if o.What == leasesHeld {
			f.Renewals = seen.spread()
		}
		figures = append(figures, f)
	}
	return figures, nil
}

// renewals watches the changes of metadata at the service.
type renewals struct {
	mu   sync.Mutex
	last map[string]time.Time
	gaps []time.Duration
	per  map[int64]int // number in each 100 ms
}

func (r *renewals) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.gaps, r.per = make(map[string]time.Time), nil, make(map[int64]int)
}

func (r *renewals) observe(rec gcstest.Record) {
	if rec.Kind != gcstest.Patch || rec.Status != 200 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, ok := r.last[rec.Name]; ok {
		r.gaps = append(r.gaps, rec.Time.Sub(before))
	}
	r.last[rec.Name] = rec.Time
	r.per[rec.Time.UnixMilli()/100]++
}

func (r *renewals) spread() *Spread {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.gaps) == 0 {
		return nil
	}
	var sum, most, first, last int64
	for slot, n := range r.per {
		if sum == 0 {
			first, last = slot, slot
		}
		sum, most, first, last = sum+int64(n), max(most, int64(n)), min(first, slot), max(last, slot)
	}
	q := func(q float64) float64 { return percentile(r.gaps, q).Seconds() }
	return &Spread{P1: q(0.01), P50: q(0.5), P99: q(0.99), Burst: float64(most) * float64(last-first+1) / float64(sum)}
}

// scaler is a client with many names.
type scaler struct {
	client *gcsync.Client
	wire   *wire
	end    func() error
	lost   atomic.Int64
}

func newScaler(ctx context.Context, url string) (*scaler, error) {
	s, w, err := dialEmulator(ctx, url)
	if err != nil {
		return nil, err
	}
	c, err := gcsync.New(s.Bucket(scaleBucket), &gcsync.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return &scaler{client: c, wire: w, end: s.Close}, nil
}

func (s *scaler) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	return errors.Join(s.client.Close(ctx), s.end())
}

// mutex returns the i-th mutex of those that are about something.
func (s *scaler) mutex(what string, i int) *gcsync.Mutex {
	return s.client.Mutex(fmt.Sprintf("%s/%d", strings.ReplaceAll(what, " ", "-"), i))
}

// atOnce is how many calls are made at the same time.
const atOnce = 64

func (s *scaler) lockAll(ctx context.Context, what string, n int) error {
	return s.each(ctx, n, func(i int) error { return s.mutex(what, i).Lock(ctx) })
}

func (s *scaler) each(ctx context.Context, n int, f func(i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return f(i) })
	}
	return g.Wait()
}

// scaleChild is the client under test.
func scaleChild(url string, stdin io.Reader, stdout io.Writer) error {
	ctx := context.Background()
	s, err := newScaler(ctx, url)
	if err != nil {
		return err
	}
	orders, answers := json.NewDecoder(stdin), json.NewEncoder(stdout)
	for {
		var o order
		if orders.Decode(&o) != nil {
			return s.close(ctx)
		}
		f, err := s.obey(ctx, o)
		if err != nil {
			return err
		}
		if err := answers.Encode(f); err != nil {
			return err
		}
	}
}

// obey brings about what is ordered, watches it, and ends it.
func (s *scaler) obey(ctx context.Context, o order) (ScaleFigure, error) {
	memory, goroutines, begun := used(), runtime.NumGoroutine(), time.Now()
	undo, err := s.bringAbout(ctx, o)
	if err != nil {
		return ScaleFigure{}, err
	}
	f := ScaleFigure{What: o.What, N: o.N, Seconds: round(time.Since(begun).Seconds())}
	f.Bytes = round((used() - memory) / float64(o.N))
	f.Goroutines = float64(runtime.NumGoroutine() - goroutines)
	profiled, err := profile(o)
	if err != nil {
		return f, err
	}
	before, cpu, from := s.wire.usage(), cpuTime(), time.Now()
	time.Sleep(o.Watch)
	after, d := s.wire.usage().minus(before), time.Since(from).Seconds()
	f.PerSecond = round(float64(after.ClassA+after.ClassB+after.Free) / d)
	f.CPU = round((cpuTime() - cpu) / d)
	err = errors.Join(profiled(), undo())
	f.Lost = s.lost.Swap(0)
	return f, err
}

// profile writes what the client has in memory and which goroutines, what it does and what it waits for until the
// function that it returns is called.
func profile(o order) (end func() error, err error) {
	if o.Profiles == "" {
		return func() error { return nil }, nil
	}
	create := func(kind string) (*os.File, error) {
		return os.Create(filepath.Join(o.Profiles, strings.ReplaceAll(o.What, " ", "-")+"."+kind))
	}
	write := func(kinds ...string) error {
		for _, kind := range kinds {
			f, err := create(kind)
			if err != nil {
				return err
			}
			if err := errors.Join(pprof.Lookup(kind).WriteTo(f, 0), f.Close()); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write("heap", "goroutine", "allocs"); err != nil {
		return nil, err
	}
	f, err := create("cpu")
	if err != nil {
		return nil, err
	}
	runtime.SetBlockProfileRate(int(10 * time.Microsecond))
	runtime.SetMutexProfileFraction(10)
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(f.Close(), write("block", "mutex"))
	}, pprof.StartCPUProfile(f)
}

// bringAbout returns when all is as it should be, and how to undo it.
func (s *scaler) bringAbout(ctx context.Context, o order) (undo func() error, err error) {
	if o.What == leasesHeld {
		err := s.lockAll(ctx, o.What, o.N)
		return func() error {
			return s.each(ctx, o.N, func(i int) error {
				err := s.mutex(o.What, i).Unlock(ctx)
				if errors.Is(err, gcsync.ErrLost) {
					s.lost.Add(1)
					return nil
				}
				return err
			})
		}, err
	}
	waiting, leave := context.WithCancel(ctx)
	var all sync.WaitGroup
	var got atomic.Int64
	for i := range o.N {
		if o.What == waitersOfOne {
			i = 0
		}
		all.Go(func() {
			if s.mutex(o.What, i).Lock(waiting) == nil {
				got.Add(1)
			}
		})
	}
	time.Sleep(o.Watch / 2) // until all have drawn their tickets and found out whom to wait for
	return func() error {
		leave()
		all.Wait()
		if n := got.Load(); n > 0 {
			return fmt.Errorf("%s: %d got what somebody else held", o.What, n)
		}
		return nil
	}, nil
}

// used is the memory in use: live objects and stacks.
func used() float64 {
	runtime.GC()
	runtime.GC() // what the first one found to be finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
