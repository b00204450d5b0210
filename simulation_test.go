package gcsync_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

var (
	firstSeed = flag.Uint64("sim.seed", 1, "the first seed of the simulated schedules")
	seedCount = flag.Int("sim.count", 0, "how many schedules to simulate; 0: GCSYNC_SIM_COUNT, or a few hundred")
)

// TestSimulation runs fleets of clients through seeded schedules of faults, in virtual time, and holds what they do
// against the invariants of the protocol. A failure names the seed; go test -run TestSimulation -sim.seed N -sim.count 1
// -v replays it with a timeline.
func TestSimulation(t *testing.T) { simulate(t, mutexKind, 150) }

// simulate runs as many schedules on a kind of lock as the flags say, a few if they say nothing.
func simulate(t *testing.T, kind lockKind, few int) {
	var hits branches
	count := schedules(t, few, func(t *testing.T, seed uint64) { newWorld(t, seed, kind, &hits).run() })
	hits.report(t, count, kind.never)
}

// schedules runs as many schedules as the flags say, a few if they say nothing, each in a bubble of its own.
func schedules(t *testing.T, few int, run func(t *testing.T, seed uint64)) (count int) {
	count = *seedCount
	if count == 0 {
		count, _ = strconv.Atoi(os.Getenv("GCSYNC_SIM_COUNT"))
	}
	if count == 0 {
		count = few
	}
	var begun atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					i := begun.Add(1) - 1
					if i >= int64(count) {
						return
					}
					seed := *firstSeed + uint64(i)
					if i%1000 == 0 && i > 0 {
						fmt.Fprintf(os.Stderr, "%s: %d of %d schedules begun, next seed %d\n", time.Now().Format(time.TimeOnly), i, count, seed)
					}
					synctest.Test(t, func(t *testing.T) { run(t, seed) })
					if t.Failed() {
						test, _, _ := strings.Cut(t.Name(), "/")
						t.Logf("replay: go test -run '^%s$' -sim.seed %d -sim.count 1 -v .", test, seed)
					}
				}
			})
		}
	})
	return count
}

// branches counts how often each branch of the protocol was taken.
type branches struct {
	mu sync.Mutex
	n  map[queue.Event]int
}

func (b *branches) hit(e queue.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == nil {
		b.n = make(map[queue.Event]int)
	}
	b.n[e]++
}

func (b *branches) count(e queue.Event) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n[e]
}

func (b *branches) report(t *testing.T, schedules int, never func(queue.Event) bool) {
	for _, e := range queue.Events() {
		if never(e) {
			continue
		}
		t.Logf("%-18s %d", e, b.n[e])
		if b.n[e] == 0 && schedules >= 1000 {
			t.Errorf("no schedule reached the branch %q", e)
		}
	}
}

// world is one schedule: a service, a fleet, and the faults that befall them.
type world struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	hits   *branches
	srv    *gcstest.Server
	ref    *referee
	start  time.Time
	kind   lockKind
	strict bool // the service takes one change a second to a name, and never two
	plot   *plot
	live   func(*machine, *rand.Rand) // what a goroutine of a machine does

	strikes chan aimed
	over    atomic.Bool // nothing goes wrong any more

	convict  func(verdict string) // what becomes of a violation
	patience time.Duration        // for which everybody who is alive must have got every name in the end; 0: never mind

	mu       sync.Mutex
	names    []string
	timeline bytes.Buffer
	machines []*machine // of the goroutine that runs the schedule
}

// machine is one process.
type machine struct {
	w       *world
	id      int
	faults  *gcstest.Faults
	storage *storage.Client
	locks   locks
	stop    context.CancelFunc // ends its goroutines
	ctx     context.Context
	work    sync.WaitGroup

	sleeping atomic.Bool   // stopped
	ahead    time.Duration // by which its wall clock is wrong from the start
	step     atomic.Int64  // by which somebody has set it since

	mu        sync.Mutex
	rate      float64       // of its monotonic clock
	suspended time.Duration // for which its monotonic clock has stood still
	asleep    int           // suspensions in force
	asleepAt  time.Duration // since when
}

const bucket = "bucket"

// rateError is by how much clocks may run too fast or too slow.
const rateError = 0.01

func newWorld(t *testing.T, seed uint64, kind lockKind, hits *branches) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), kind: kind, hits: hits, start: time.Now()}
	w.live, w.patience = (*machine).user, 5*time.Minute
	w.convict = func(verdict string) { t.Errorf("seed %d: %s", seed, verdict) }
	w.plot = &plots[w.rng.IntN(len(plots))]
	w.strikes = make(chan aimed, 1)
	model := gcstest.Model{Seed: seed}
	if w.rng.IntN(4) > 0 || w.plot.calm {
		model.Median, model.P99 = 30*time.Millisecond, 120*time.Millisecond
	} else {
		model.Median, model.P99 = 5*time.Millisecond, 200*time.Millisecond
	}
	if w.rng.IntN(2) == 0 {
		model.Rate, model.Burst = 1, 1+w.rng.IntN(3)
		w.strict = model.Burst == 1
	}
	w.srv = gcstest.New(model)
	w.srv.CreateBucket(bucket, gcstest.BucketConfig{})
	w.ref = newReferee(w)
	w.srv.Observe(w.ref.observe)
	for i := range 1 + w.rng.IntN(2) {
		if !w.plot.fresh {
			w.use(fmt.Sprintf("name-%d", i))
		}
	}
	return w
}

func (w *world) logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.timeline, "%10.3f "+format+"\n", append([]any{time.Since(w.start).Seconds()}, args...)...)
}

func (w *world) run() {
	defer func() {
		if w.t.Failed() || testing.Verbose() && *seedCount == 1 {
			w.t.Logf("seed %d:\n%s", w.seed, w.timeline.String())
		}
	}()
	defer w.srv.Close()
	for i := range 2 + w.rng.IntN(4) + w.plot.fleet {
		w.machines = append(w.machines, w.boot(i))
	}
	end := time.Duration(5+w.rng.IntN(25)) * time.Second
	w.logf("%d machines, %v, until %v: %s", len(w.machines), w.names, end, w.plot.name)
	w.torment(end)

	// From here on nothing goes wrong any more, and everybody who is alive must get every name: nothing that happened
	// may block a name for longer than its dead need to be noticed one by one.
	w.over.Store(true)
	for _, m := range w.machines {
		m.faults.Random(gcstest.Profile{})
		m.faults.Partition(false)
		m.faults.Resume()
	}
	for _, m := range w.machines {
		if w.patience == 0 {
			m.stop()
		}
		m.work.Wait()
	}
	if w.rng.IntN(10) == 0 && !w.plot.tidy {
		time.Sleep(25 * time.Hour) // until what was left behind is old enough to be swept
	}
	for _, m := range w.machines {
		for _, name := range w.names {
			if w.patience == 0 {
				break
			}
			ctx, cancel := context.WithTimeout(context.Background(), min(w.patience, w.ref.patience(name)))
			if h, err := m.locks.take(ctx, name, slices.Max(w.kind.weights), false); err != nil {
				w.ref.fail("machine %d does not get %s though all is well: %v", m.id, name, err)
			} else if err := h.unlock(ctx); err != nil && !errors.Is(err, gcsync.ErrUnconfirmed) {
				w.ref.fail("machine %d: unlock though all is well: %v", m.id, err)
			}
			cancel()
		}
	}
	if w.plot.tidy {
		time.Sleep(10 * time.Second) // for what is removed in the background
		w.ref.tidy()
	}
	for _, m := range w.machines {
		m.halt(time.Minute)
	}
	w.ref.judge()
}

// boot starts a machine and its goroutines.
func (w *world) boot(id int) *machine {
	m := &machine{w: w, id: id, faults: gcstest.NewFaults(w.rng.Uint64()), rate: 1}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if w.rng.IntN(3) == 0 && !w.plot.calm {
		m.rate = 1 + (w.rng.Float64()-0.5)*2*rateError
	}
	if w.rng.IntN(3) == 0 {
		m.ahead = time.Duration(w.rng.Int64N(int64(2*time.Hour))) - time.Hour
		m.faults.Skew(time.Duration(w.rng.Int64N(int64(2*time.Hour)))-time.Hour, (w.rng.Float64()-0.5)*0.02)
	}
	m.faults.Random(w.profile())
	w.plot.prepare(m, rand.New(rand.NewPCG(w.rng.Uint64(), 4)))
	m.storage = w.srv.Client(m.faults)
	m.locks = w.kind.boot(m)
	users := 1 + w.rng.IntN(3)
	if w.plot.crowd > 0 && id%10 == 0 {
		users = w.plot.crowd
	}
	for g := range users {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), uint64(g)))
		m.work.Go(func() { w.live(m, rng) })
	}
	return m
}

// lockKind is what a fleet contends for. Each name has slots, and a grant takes some of them: a mutex is one of one; a
// semaphore of N grants 1 to N; a readers-writer lock has more slots than there are readers, each of whom takes one, and
// a writer takes all.
type lockKind struct {
	slots    int64
	numbered bool    // each slot is a lock of its own
	weights  []int64 // how many slots a call may ask for; each is as likely
	boot     func(*machine) locks
	never    func(queue.Event) bool // the branches that it does not have
}

// locks are those of one machine: gcsync's, or of somebody whom we want to convict.
type locks interface {
	take(ctx context.Context, name string, weight int64, try bool) (hold, error)
	close(ctx context.Context)
}

// hold is one grant, and what its holder believes.
type hold interface {
	Done() <-chan struct{}
	Err() error
	Token() int64
	unlock(ctx context.Context) error

	// record is the end of the name of the object that the lease is on, such as t/0000000000000000003: while the holder
	// believes, nobody may delete it. base is what tickets of this name add to their number to make a token.
	record(base int64) string
}

// mutexKind is gcsync's mutex.
var mutexKind = lockKind{slots: 1, weights: []int64{1}, boot: func(m *machine) locks { return mutexes{m.connect()} }, never: notMutex}

func notMutex(e queue.Event) bool { return e.Shared() || e == queue.BaseShown }

type mutexes struct{ c *gcsync.Client }

type mutexHold struct {
	*lease.Lease
	m *gcsync.Mutex
}

// connect returns the machine's client.
func (m *machine) connect() *gcsync.Client {
	w := m.w
	opts := &gcsync.Options{
		Owner:  fmt.Sprintf("machine-%d", m.id),
		TTL:    []time.Duration{4, 10, 30}[w.rng.IntN(3)] * time.Second,
		Claim:  w.plot.claims[w.rng.IntN(len(w.plot.claims))],
		Linger: []time.Duration{0, -1, time.Second}[w.rng.IntN(3)],
		Logger: slog.New(slog.DiscardHandler),
	}
	opts.TTL = max(opts.TTL, opts.Claim)
	gcsync.Instrument(opts, m.clock(), func(e queue.Event, path string) {
		w.hits.hit(e)
		w.ref.event(m, e)
		w.logf("machine %d %s: %v", m.id, path[strings.LastIndex(path, "/")+1:], e)
	})
	c, err := gcsync.New(m.storage.Bucket(bucket), opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (l mutexes) take(ctx context.Context, name string, _ int64, try bool) (hold, error) {
	m := l.c.Mutex(name)
	var err error
	if try {
		var ok bool
		if ok, err = m.TryLock(ctx); !ok {
			return nil, err
		}
	} else if err = m.Lock(ctx); err != nil {
		return nil, err
	}
	if granted := m.Lease(); granted != nil {
		return mutexHold{granted, m}, nil
	}
	return nil, gcsync.ErrClosed // closed in the same moment
}

func (l mutexes) close(ctx context.Context) { l.c.Close(ctx) }

func (h mutexHold) unlock(ctx context.Context) error { return h.m.Unlock(ctx) }

func (h mutexHold) record(base int64) string { return fmt.Sprintf("t/%019d", h.Token()>>20-base-1) }

// now is the machine's monotonic clock: it runs a little too fast or too slow, and stands still while the machine is
// suspended. Its wall clock is right.
func (m *machine) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	real := time.Since(m.w.start)
	if m.asleep > 0 {
		real = m.asleepAt
	}
	return m.w.start.Add(time.Duration(float64(real-m.suspended) * m.rate))
}

// clock is that of the machine. Every other has one that counts through suspensions; of the rest nobody sets the wall clock.
func (m *machine) clock() clock.Clock {
	if m.id%2 == 0 {
		return clock.Clock{Mono: m.now, Wall: func() time.Time { return time.Now().Add(m.ahead) }}
	}
	return clock.Clock{
		Mono: m.now,
		Wall: func() time.Time { return time.Now().Add(m.ahead + time.Duration(m.step.Load())) },
		Boot: func() time.Duration { return time.Since(m.w.start) },
	}
}

// suspend stops a machine together with its monotonic clock, as when a virtual machine is moved.
func (m *machine) suspend() {
	m.faults.Pause()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asleep++; m.asleep == 1 {
		m.asleepAt = time.Since(m.w.start)
	}
}

func (m *machine) resume() {
	m.mu.Lock()
	if m.asleep--; m.asleep == 0 {
		m.suspended += time.Since(m.w.start) - m.asleepAt
	}
	m.mu.Unlock()
	m.faults.Resume()
}

// close closes a machine's client.
func (m *machine) close(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m.locks.close(ctx)
}

// halt ends a machine.
func (m *machine) halt(patience time.Duration) {
	m.stop()
	m.close(patience)
	m.work.Wait()
	m.faults.Close()
	m.storage.Close()
}

// profile draws how often requests go wrong on a machine.
func (w *world) profile() gcstest.Profile {
	p := gcstest.Profile{MaxDelay: 10 * time.Second, Odds: make(map[gcstest.FaultKind]float64)}
	if w.rng.IntN(4) == 0 || w.plot.calm || w.plot.tidy {
		return p
	}
	worst := []float64{0.005, 0.02, 0.05}[w.rng.IntN(3)]
	for kind := gcstest.NoFault + 1; kind <= gcstest.WrongDate; kind++ {
		p.Odds[kind] = worst * w.rng.Float64()
	}
	return p
}

// user is one goroutine of a program: it takes names, holds them for a while, and gives them back.
func (m *machine) user(rng *rand.Rand) {
	for !m.w.over.Load() && m.ctx.Err() == nil {
		name := m.w.plot.nameFor(m, rng)
		h, err := m.take(name, rng)
		if errors.Is(err, gcsync.ErrClosed) {
			return
		}
		if h == nil {
			continue
		}
		hold := time.Duration(rng.Int64N(int64(300 * time.Millisecond)))
		switch {
		case rng.Float64() < m.w.plot.long:
			hold = time.Duration(rng.Int64N(int64(15 * time.Second)))
		case m.w.plot.shortest:
			hold /= 10
		case rng.IntN(12) == 0:
			hold = 0
		}
		select {
		case <-time.After(hold):
		case <-h.Done():
		case <-m.ctx.Done():
		}
		end := m.w.ref.releasing(m, name, h)
		if h.Err() != nil && rng.IntN(3) == 0 {
			time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Second)))) // the program takes its time to notice
		}
		if err := h.unlock(m.ctx); err != nil {
			m.w.logf("machine %d %s: %v", m.id, name, err)
		}
		end()
		if rng.IntN(3) == 0 {
			time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
		}
	}
}

// take tries to get a name, in one of the ways in which a program may; it returns no hold if it does not get it.
func (m *machine) take(name string, rng *rand.Rand) (hold, error) {
	ctx, cancel := m.ctx, context.CancelFunc(func() {})
	switch how := rng.Float64(); {
	case how < m.w.plot.impatient:
		ctx, cancel = context.WithTimeout(m.ctx, time.Duration(rng.Int64N(int64(5*time.Second))))
	case how > 0.75 && m.w.patience > 0:
		ctx = context.Background() // nothing but the end of the client ends such a wait
	}
	defer cancel()
	trying := rng.Float64() < m.w.plot.trying
	weight := m.w.kind.weights[rng.IntN(len(m.w.kind.weights))]
	got := m.w.ref.acquiring(m, name, weight)
	h, err := m.locks.take(ctx, name, weight, trying)
	if h = got(h); h != nil {
		return h, nil
	}
	switch {
	case trying:
		if err != nil {
			m.w.logf("machine %d %s: %v", m.id, name, err)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
	case err != nil && ctx.Err() == nil && !errors.Is(err, gcsync.ErrClosed):
		m.w.t.Errorf("seed %d: machine %d: lock %s: %v", m.w.seed, m.id, name, err)
		time.Sleep(time.Second)
	}
	return nil, err
}

// use notes that a name is in use.
func (w *world) use(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.names, name) {
		w.names = append(w.names, name)
	}
	return name
}
