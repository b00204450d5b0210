package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/gcsync/gcsync/gcstest"
)

// model is the service as the command simulates it by default.
var model = gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 3}

var seeds = flag.Int("seeds", 1, "number of seeds for TestFigures")

// virtual runs a scenario in virtual time, in which the machine is infinitely fast and only the service takes time. It
// must be called in a bubble. It also returns what the service counted.
func virtual(t *testing.T, l Lock, s Scenario, m gcstest.Model, bucket gcstest.BucketConfig, measure time.Duration) (*Result, gcstest.Stats, error) {
	t.Helper()
	var stats gcstest.Stats
	b := &bench{
		lock: l,
		open: func(context.Context) (*service, error) {
			server := gcstest.New(m)
			server.CreateBucket("b", bucket)
			svc := inBubble(server, func() { stats = server.Stats() })
			if r, ok := l.(*recording); ok {
				svc.dial = r.dial(svc.dial)
			}
			return svc, nil
		},
		warmUp:  2 * time.Second,
		measure: measure,
	}
	res, err := b.run(t.Context(), s, silent{})
	return res, stats, err
}

// inBubble is a service without sockets.
func inBubble(server *gcstest.Server, closed func()) *service {
	return &service{
		bucket: "b",
		prefix: "p/",
		dial: func(ctx context.Context) (*storage.Client, *wire, error) {
			return dialWith(ctx, server.Transport(),
				option.WithEndpoint("http://gcs.invalid/storage/v1/"), option.WithoutAuthentication())
		},
		close: func(context.Context) error {
			server.Close()
			closed()
			return nil
		},
	}
}

// scenarioOf returns the scenario of that name.
func scenarioOf(t *testing.T, name string) Scenario {
	t.Helper()
	s, err := Choose(name)
	if err != nil {
		t.Fatal(err)
	}
	return s[0]
}

// counter is a log handler that counts the messages.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (*counter) Enabled(context.Context, slog.Level) bool { return true }
func (c *counter) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c *counter) WithGroup(string) slog.Handler          { return c }
func (c *counter) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[r.Message]++
	return nil
}

// TestFigures holds the lock to what it promises, in virtual time, where a slow machine is no excuse.
func TestFigures(t *testing.T) {
	type bounds struct {
		perSecond, jain float64 // at least
		p50, p99        float64 // at most; 0: any
		classA, all     float64 // at most; 0: any
		usd             float64 // at most; 0: any
	}
	tests := []struct {
		name       string
		scenario   string
		procs      int
		goroutines int
		hold       time.Duration
		measure    time.Duration
		want       bounds
	}{
		{"warm", "uncontended", 0, 0, -1, 10 * time.Second, bounds{classA: 1.05, all: 4.5}},
		{"cold", "uncontended/cold", 0, 0, -1, 10 * time.Second, bounds{classA: 2.05, all: 6.05}},
		{"relock", "uncontended/relock", 0, 0, -1, 10 * time.Second, bounds{perSecond: 99, classA: 0.01, all: 0.1}},
		{"contended", "contended", 8, 1, 100 * time.Millisecond, 30 * time.Second, bounds{perSecond: 6, p50: 60, p99: 180, jain: 0.99}},
		{"crowded", "contended", 32, 1, 10 * time.Millisecond, 12 * time.Second, bounds{perSecond: 10, jain: 0.98}},
		{"local", "local", 8, 8, 10 * time.Millisecond, 10 * time.Second, bounds{perSecond: 60, usd: 3}},
	}
	for _, test := range tests {
		for seed := range uint64(*seeds) {
			t.Run(fmt.Sprintf("%s/%d", test.name, seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := model
					m.Seed = seed
					events := &counter{n: make(map[string]int)}
					s := scenarioOf(t, test.scenario)
					if test.procs > 0 {
						s.Procs, s.Goroutines, s.Hold = test.procs, test.goroutines, test.hold
					}
					got, _, err := virtual(t, tickets{log: slog.New(events)}, s, m, gcstest.BucketConfig{}, test.measure)
					if err != nil {
						t.Fatal(err)
					}
					var line bytes.Buffer
					(&lines{w: &line}).add(got)
					t.Logf("%s%v", line.Bytes(), events.n)

					atLeast := func(what string, got *float64, want float64) {
						if *got < want {
							t.Errorf("%s is %v, want at least %v", what, *got, want)
						}
					}
					atMost := func(what string, got *float64, want float64) {
						if want > 0 && *got > want {
							t.Errorf("%s is %v, want at most %v", what, *got, want)
						}
					}
					want := test.want
					atLeast("acquisitions_per_s", got.PerSecond, want.perSecond)
					atLeast("jain", got.Jain, want.jain)
					if got.HandoffP50 != nil {
						atMost("handoff_ms_p50", got.HandoffP50, want.p50)
						atMost("handoff_ms_p99", got.HandoffP99, want.p99)
					}
					atMost("class_a_per_acq", got.ClassA, want.classA)
					atMost("requests per acquisition", some(*got.ClassA+*got.ClassB+*got.Free), want.all)
					atMost("usd_per_million", got.USD, want.usd)
					if got.Broken() {
						t.Errorf("%d overlaps, %d token regressions", *got.Overlaps, *got.Regressions)
					}
				})
			})
		}
	}
}

// The wires, the clients and the service count the same requests.
func TestUsageIsWhatTheServiceCounts(t *testing.T) {
	for _, name := range []string{"uncontended", "uncontended/cold"} {
		synctest.Test(t, func(t *testing.T) {
			l := &recording{Lock: tickets{log: slog.New(slog.DiscardHandler)}}
			_, stats, err := virtual(t, l, scenarioOf(t, name), model, gcstest.BucketConfig{}, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			var clients, wires Usage
			var unknown int64
			for _, c := range l.clients {
				u := c.(ticketClient).Usage()
				clients = clients.plus(Usage{ClassA: u.ClassA, ClassB: u.ClassB, Free: u.Free})
				unknown += u.Unknown
			}
			for _, w := range l.wires {
				wires = wires.plus(w.usage())
			}
			// The last Lock is cut short by the end of the run. What it has sent is carried out, but the client does not
			// wait for the answer, and cannot tell the price.
			near := func(got int64, want int) bool { return got <= int64(want) && int64(want) <= got+unknown }
			for _, u := range []Usage{clients, wires} {
				if total := stats.ClassA + stats.ClassB + stats.Free; u.ClassA+u.ClassB+u.Free != int64(total) ||
					!near(u.ClassA, stats.ClassA) || !near(u.ClassB, stats.ClassB) || unknown > 2 {
					t.Errorf("%s: counted %+v and %+v, the service %+v", name, clients, wires, stats)
				}
			}
		})
	}
}

// recording remembers all clients of a lock and their wires.
type recording struct {
	Lock
	mu      sync.Mutex
	clients []Client
	wires   []*wire
}

func (r *recording) dial(dial dialer) dialer {
	return func(ctx context.Context) (*storage.Client, *wire, error) {
		c, w, err := dial(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.wires = append(r.wires, w)
		return c, w, err
	}
}

func (r *recording) Client(ctx context.Context, s Setup) (Client, error) {
	c, err := r.Lock.Client(ctx, s)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients = append(r.clients, c)
	return c, err
}

// fake is a lock that goes wrong.
type fake struct {
	mu    sync.Mutex
	token atomic.Int64
	step  int64 // from one token to the next
	open  bool  // excludes nobody
	fail  error // of every fifth Unlock
	stuck int   // after so many turns nobody gets it any more; 0: never
	n     int
}

func (f *fake) Name() string                                  { return "fake" }
func (f *fake) Client(context.Context, Setup) (Client, error) { return f, nil }
func (f *fake) Locker(w Want) (Locker, error)                 { return f, nil }
func (f *fake) Close(context.Context) error                   { return nil }

func (f *fake) Lock(ctx context.Context) (int64, error) {
	time.Sleep(time.Millisecond)
	for !f.open && !f.take() {
		time.Sleep(time.Millisecond)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	return f.token.Add(f.step), nil
}

func (f *fake) take() bool {
	if !f.mu.TryLock() {
		return false
	}
	if f.stuck > 0 && f.n == f.stuck {
		f.mu.Unlock()
		return false
	}
	return true
}

func (f *fake) Unlock(context.Context) error {
	if f.open {
		return nil
	}
	defer f.mu.Unlock()
	if f.n++; f.n%5 == 0 {
		return f.fail
	}
	return nil
}

// A lock that does not keep its promises is found out.
func TestReferee(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name                  string
		lock                  *fake
		overlaps, regressions bool
		err                   error
	}{
		{"good", &fake{step: 1}, false, false, nil},
		{"no exclusion", &fake{step: 1, open: true}, true, false, nil},
		{"no order", &fake{step: -1}, false, true, nil},
		{"failing", &fake{step: 1, fail: broken}, false, false, broken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := scenarioOf(t, "contended")
				s.Hold = 10 * time.Millisecond
				test.lock.token.Store(1 << 20)
				got, _, err := virtual(t, test.lock, s, gcstest.Model{}, gcstest.BucketConfig{}, time.Second)
				if !errors.Is(err, test.err) || test.err == nil && err != nil {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				if (*got.Overlaps > 0) != test.overlaps {
					t.Errorf("%d overlaps", *got.Overlaps)
				}
				// Where nobody is excluded, the order in which the referee is told is anybody's.
				if !test.lock.open && (*got.Regressions > 0) != test.regressions {
					t.Errorf("%d regressions", *got.Regressions)
				}
			})
		})
	}
}

// A lock that hands on fast and then no more is not a fast one.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scenarioOf(t, "contended")
		s.Hold = 10 * time.Millisecond
		got, _, err := virtual(t, &fake{step: 1, stuck: 300}, s, gcstest.Model{}, gcstest.BucketConfig{}, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n := float64(*got.Acquisitions); n < 50 || n > 300 || *got.PerSecond > 1.1*n/20 {
			t.Errorf("%v acquisitions in 20 s are %v a second", n, *got.PerSecond)
		}
	})
}

// What fails where a program would try again, and what an Unlock finds lost, is counted and goes on.
func TestFailuresAreCounted(t *testing.T) {
	for _, failure := range []error{ErrLost, ErrAgain} {
		synctest.Test(t, func(t *testing.T) {
			got, _, err := virtual(t, &fake{step: 1, fail: failure}, scenarioOf(t, "contended"), gcstest.Model{}, gcstest.BucketConfig{}, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if lost := *got.Lost > 0; lost != (failure == ErrLost) {
				t.Errorf("%v: %d lost", failure, *got.Lost)
			}
			if failed := *got.Failed > 0; failed != (failure == ErrAgain) {
				t.Errorf("%v: %d failed", failure, *got.Failed)
			}
		})
	}
}

// Those who share are no overlap as long as there is room; those who want all of it want it for themselves.
func TestRefereeKnowsShares(t *testing.T) {
	tests := []struct {
		name     string
		scenario Scenario
		inside   []int // players, in order
		overlaps int64
	}{
		{"permits", Scenario{Procs: 5, Goroutines: 1, Kind: Semaphore, Capacity: 3}, []int{0, 1, 2}, 0},
		{"one permit too many", Scenario{Procs: 5, Goroutines: 1, Kind: Semaphore, Capacity: 3}, []int{0, 1, 2, 3}, 1},
		{"readers", Scenario{Procs: 5, Goroutines: 1, Kind: RWMutex, Writers: 1}, []int{1, 2, 3, 4}, 0},
		{"a writer among readers", Scenario{Procs: 5, Goroutines: 1, Kind: RWMutex, Writers: 1}, []int{1, 0}, 1},
		{"a reader beside the writer", Scenario{Procs: 5, Goroutines: 1, Kind: RWMutex, Writers: 1}, []int{0, 1}, 1},
		{"writers", Scenario{Procs: 5, Goroutines: 1, Kind: RWMutex, Writers: 2}, []int{0, 1}, 1},
	}
	for _, test := range tests {
		r := newReferee(test.scenario, time.Now(), func() Usage { return Usage{} })
		for _, i := range test.inside {
			r.waits(i)
			r.enters(i, 0)
		}
		if r.overlaps != test.overlaps {
			t.Errorf("%s: %d overlaps, want %d", test.name, r.overlaps, test.overlaps)
		}
	}
}

// A holder that vanishes costs the others what its lease says.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, _, err := virtual(t, tickets{log: slog.New(slog.DiscardHandler)}, scenarioOf(t, "crash"), model, gcstest.BucketConfig{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if *got.Crashes < 2 || *got.RecoveryP50 < 9_000 || *got.RecoveryMax > 12_000 || got.Broken() {
			t.Errorf("%d crashes, recovered in %v to %v ms, %d overlaps", *got.Crashes, *got.RecoveryP50, *got.RecoveryMax, *got.Overlaps)
		}
	})
}

// What a lock does not have is no failure, and has no numbers.
func TestUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, _, err := virtual(t, oneObject{log: slog.New(slog.DiscardHandler)}, scenarioOf(t, "semaphore"), model, gcstest.BucketConfig{}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Unsupported || got.PerSecond != nil || got.Overlaps != nil {
			t.Errorf("result %+v", got)
		}
	})
}

// oncer does the work once, or for everybody who asks.
type oncer struct {
	*fake
	mu    sync.Mutex
	done  map[string]bool
	twice bool
}

func (o *oncer) Client(context.Context, Setup) (Client, error) { return o, nil }
func (o *oncer) Locker(Want) (Locker, error)                   { return o, nil }

func (o *oncer) Once(ctx context.Context, name string, f func(context.Context) error) error {
	for !o.mu.TryLock() { // which a bubble can wait for
		time.Sleep(time.Millisecond)
	}
	defer o.mu.Unlock()
	if o.done[name] && !o.twice {
		return nil
	}
	err := f(ctx)
	o.done[name] = err == nil
	return err
}

// Work that is done twice is found out.
func TestStorm(t *testing.T) {
	for _, twice := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := scenarioOf(t, "once")
			s.Procs = 5
			o := &oncer{fake: new(fake), done: make(map[string]bool), twice: twice}
			got, _, err := virtual(t, o, s, gcstest.Model{}, gcstest.BucketConfig{}, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if (*got.Overlaps > 0) != twice || *got.Acquisitions < 20 {
				t.Errorf("twice %v: %d times done again, %d acquisitions", twice, *got.Overlaps, *got.Acquisitions)
			}
		})
	}
}

// A Lock that fails ends the run with its error, instead of being tried for ever.
func TestLockFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		got, _, err := virtual(t, tickets{log: slog.New(slog.DiscardHandler)}, scenarioOf(t, "contended"), model,
			gcstest.BucketConfig{DenyWrite: true}, time.Hour)
		if err == nil || !strings.Contains(err.Error(), "permission") {
			t.Errorf("error %v, want one about permission", err)
		}
		if got != nil {
			t.Errorf("result %+v of nothing", got)
		}
		if d := time.Since(begun); d > time.Minute {
			t.Errorf("it took %v to fail", d)
		}
	})
}

// An interrupt ends the run early and keeps what was measured.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := gcstest.New(model)
		server.CreateBucket("b", gcstest.BucketConfig{})
		b := &bench{
			lock: tickets{log: slog.New(slog.DiscardHandler)},
			open: func(context.Context) (*service, error) {
				return inBubble(server, func() {}), nil
			},
			warmUp: time.Second, measure: time.Hour,
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		got, err := b.run(ctx, scenarioOf(t, "contended"), silent{})
		if err != nil {
			t.Fatal(err)
		}
		if got == nil || *got.Acquisitions < 30 || *got.Seconds > 9 {
			t.Errorf("result %+v", got)
		}
	})
}

func TestNumbers(t *testing.T) {
	samples := []time.Duration{5, 1, 4, 2, 3, 6, 10, 9, 8, 7}
	for q, want := range map[float64]time.Duration{0.5: 5, 0.9: 9, 0.99: 10, 1: 10, 0: 1} {
		if got := percentile(samples, q); got != want {
			t.Errorf("percentile %v is %d, want %d", q, got, want)
		}
	}
	for want, counts := range map[float64][]int64{1: {3, 3, 3, 3}, 0.25: {8, 0, 0, 0}, 0.5: {1, 0, 1, 0}} {
		r := newReferee(Scenario{Procs: len(counts), Goroutines: 1}, time.Time{}, nil)
		for i, n := range counts {
			r.players[i].acquisitions = n
		}
		if got := r.jain(); got != want {
			t.Errorf("jain(%v) is %v, want %v", counts, got, want)
		}
	}
}

// fields of a line of JSON, which other programs rely on.
const fields = "scenario lock procs goroutines hold_ms seconds acquisitions acquisitions_per_s handoff_ms_p50 " +
	"handoff_ms_p99 wait_ms_max jain class_a_per_acq class_b_per_acq free_per_acq throttled_per_acq usd_per_million " +
	"overlaps token_regressions lost failed crashes recovery_ms_p50 recovery_ms_max wait_ms_p50"

var ours = Command{Name: "bench", Locks: func(log *slog.Logger) ([]Lock, error) { return Ours(log), nil }}

// The command itself, over real connections.
func TestCommand(t *testing.T) {
	args := []string{"-scenario", "uncontended/cold,contended", "-hold", "1ms", "-median", "2ms", "-p99", "4ms", "-duration", "500ms"}
	var out, errs bytes.Buffer
	if code := ours.Main(t.Context(), append(args, "-json"), &out, &errs); code != exitOK || errs.Len() > 0 {
		t.Fatalf("exit code %d\n%s", code, &errs)
	}
	all := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(all) != 2 {
		t.Fatalf("%d lines:\n%s", len(all), &out)
	}
	for i, line := range all {
		var names []string
		values := make(map[string]any)
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(strings.NewReader(line))
		dec.Token() // {
		for dec.More() {
			name, _ := dec.Token()
			dec.Token() // the value: none is an object
			names = append(names, name.(string))
		}
		if got := strings.Join(names, " "); got != fields {
			t.Errorf("fields are %s", got)
		}
		if undefined := values["handoff_ms_p50"] == nil; undefined != (i == 0) {
			t.Errorf("hand-off %v in %s", values["handoff_ms_p50"], line)
		}
	}

	out.Reset()
	if code := ours.Main(t.Context(), args, &out, &errs); code != exitOK || errs.Len() > 0 {
		t.Fatalf("exit code %d\n%s", code, &errs)
	}
	all = strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(all) != 6 { // what was measured, a blank line, two of the head, two results
		t.Fatalf("%d lines:\n%s", len(all), &out)
	}
	for _, line := range all[4:] {
		if len(line) != len(all[3]) {
			t.Errorf("the table is crooked:\n%s", &out)
		}
	}
}

// Clients can be processes, of which one can be killed.
func TestProcesses(t *testing.T) {
	args := []string{"-scenario", "contended,crash", "-procs", "3", "-hold", "1ms", "-median", "1ms", "-p99", "2ms", "-duration", "2s", "-exec", "-json"}
	var out, errs bytes.Buffer
	if code := ours.Main(t.Context(), args, &out, &errs); code != exitOK || errs.Len() > 0 {
		t.Fatalf("exit code %d\n%s", code, &errs)
	}
	for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var got Result
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if killed := got.Crashes != nil && *got.Crashes > 0; killed != (i == 1) {
			t.Errorf("crashes %v in %s", got.Crashes, line)
		}
		if i != 1 && (*got.Acquisitions == 0 || *got.ClassA+*got.ClassB+*got.Free == 0) {
			t.Errorf("nothing was measured: %s", line)
		}
	}
}

// What many leases cost is measured in a process of its own.
func TestScale(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{"scale", "-leases", "10", "-names", "3", "-watch", "100ms", "-json"}
	if code := ours.Main(t.Context(), args, &out, &errs); code != exitOK || errs.Len() > 0 {
		t.Fatalf("exit code %d\n%s", code, &errs)
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, &out)
	}
}

// TestMain lets the test program be a client.
func TestMain(m *testing.M) {
	if code, is := Child(Ours(slog.Default()), os.Stdin, os.Stdout); is {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func TestCommandLine(t *testing.T) {
	tests := []struct {
		args string
		code int
		want string // in the standard error output
	}{
		{"-h", exitOK, "uncontended/relock"},
		{"-scenario nonsense", exitUsage, "nonsense"},
		{"-procs 0", exitUsage, "-procs"},
		{"-goroutines -1", exitUsage, "-goroutines"},
		{"-hold -1s", exitUsage, "-hold"},
		{"-duration 0s", exitUsage, "-duration"},
		{"-rate -1", exitUsage, "-rate"},
		{"-bucket my-bucket", exitUsage, "gs://"},
		{"-bucket gs://my-bucket -median 1ms", exitUsage, "-median"},
		{"-bucket gs://my-bucket -scenario slow", exitUsage, "slow"},
		{"-bucket gs://my-bucket", exitUsage, "at most $"},
		{"-lock nonsense", exitUsage, "nonsense"},
		{"-procs x", exitUsage, "-procs"},
		{"-frobnicate", exitUsage, "frobnicate"},
		{"more", exitUsage, "more"},
	}
	for _, test := range tests {
		var errs bytes.Buffer
		if code := ours.Main(t.Context(), strings.Fields(test.args), io.Discard, &errs); code != test.code || !strings.Contains(errs.String(), test.want) {
			t.Errorf("bench %s: exit code %d, want %d\n%s", test.args, code, test.code, &errs)
		}
	}
}

// A bucket that exists is used below a prefix of the run's own, and left as it was.
func TestExistingBucket(t *testing.T) {
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	server.CreateBucket("existing", gcstest.BucketConfig{})
	listener, err := server.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", listener.URL())

	var out, errs bytes.Buffer
	args := []string{"-scenario", "uncontended", "-duration", "200ms", "-bucket", "gs://existing", "-json"}
	if code := ours.Main(t.Context(), args, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &errs)
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, &out)
	}
	if left := server.Objects("existing", ""); len(left) > 0 {
		t.Errorf("%d objects were left, such as %s", len(left), left[0].Name)
	}
}
