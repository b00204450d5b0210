package gcsync_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

// TestOnceSimulation has fleets under the faults of TestSimulation call for what is to be done once, ask whether it is
// done, and reset it. Their histories must be those of one register that is written once between two resets, and nobody
// may see a value from before a reset that had returned when they called.
func TestOnceSimulation(t *testing.T) {
	schedules(t, 50, func(t *testing.T, seed uint64) {
		j := &onceJudge{
			ops: make(map[string][]porcupine.Event), resets: make(map[string][]*span), runs: make(map[string]*span),
			rounds: make(map[string]string), payloads: make(map[string]int64), recorded: make(map[string]bool),
		}
		w := newWorld(t, seed, lockKind{slots: 1, weights: []int64{1}, boot: j.boot}, new(branches))
		w.live, j.w = j.user, w
		w.srv.Observe(j.observe)
		w.run()
		j.judge()
	})
}

// onceJudge knows what was called and what came of it, in the order in which it was seen.
type onceJudge struct {
	w  *world
	mu sync.Mutex

	seq    int
	ops    map[string][]porcupine.Event
	resets map[string][]*span // those that succeeded
	runs   map[string]*span   // by the value that they made

	rounds   map[string]string // by name: the generation and the number
	payloads map[string]int64  // by round: the generation of what is there
	recorded map[string]bool   // by round: whether there ever was any
}

// span is something with a beginning and an end; 0: it has not come to its end, or not to a good one.
type span struct{ from, to int }

// The operations. An outcome is the value that was returned; of a Done, someValue or noValue; of a Do, someValue.
type onceOp int

const (
	onceGet onceOp = iota
	onceDone
	onceReset
	onceMaybeReset
)

const (
	noValue   = ""
	someValue = "?"
)

func (j *onceJudge) boot(m *machine) locks {
	c := newSolo(m, func(*gcsync.Options) {})
	gcsync.Forgetful(c) // or it would not see what others reset
	return &onces{j, m, c}
}

type onces struct {
	j *onceJudge
	m *machine
	c *gcsync.Client
}

func (l *onces) close(ctx context.Context) { l.c.Close(ctx) }

// take is how everybody who is alive asks in the end.
func (l *onces) take(ctx context.Context, name string, _ int64, _ bool) (hold, error) {
	rng := rand.New(rand.NewPCG(1, uint64(l.m.id)))
	for {
		err := l.j.get(ctx, l, name, rng)
		if err == nil || ctx.Err() != nil || errors.Is(err, gcsync.ErrClosed) {
			return nothingHeld{}, err
		}
	}
}

type nothingHeld struct{}

func (nothingHeld) Done() <-chan struct{}        { return nil }
func (nothingHeld) Err() error                   { return nil }
func (nothingHeld) Token() int64                 { return 0 }
func (nothingHeld) record(int64) string          { return "" }
func (nothingHeld) unlock(context.Context) error { return nil }

// user is one goroutine of a program.
func (j *onceJudge) user(m *machine, rng *rand.Rand) {
	l := m.locks.(*onces)
	for !m.w.over.Load() && m.ctx.Err() == nil {
		name := m.w.plot.nameFor(m, rng)
		ctx, cancel := m.ctx, context.CancelFunc(func() {})
		if rng.IntN(4) == 0 {
			ctx, cancel = context.WithTimeout(m.ctx, time.Duration(rng.Int64N(int64(5*time.Second))))
		}
		var err error
		switch n := rng.IntN(20); {
		case n < 10:
			err = j.get(ctx, l, name, rng)
		case n < 14:
			err = j.do(ctx, l, name, rng)
		case n < 17:
			err = j.done(ctx, l, name)
		default:
			err = j.reset(ctx, l, name)
		}
		cancel()
		if err != nil {
			m.w.logf("machine %d %s: %v", m.id, name, err)
			if ctx.Err() == nil && !errors.Is(err, gcsync.ErrClosed) && !errors.Is(err, errOnce) && !errors.Is(err, gcsync.ErrLost) &&
				!errors.Is(err, gcsync.ErrUnconfirmed) && !errors.Is(err, gcsync.ErrNoAnswer) {
				m.w.t.Errorf("seed %d: machine %d %s: %v", m.w.seed, m.id, name, err)
			}
		}
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
	}
}

var errOnce = errors.New("f has failed")

// work makes a value, or fails in one of the ways in which a program may.
func (j *onceJudge) work(ctx context.Context, l *onces, name string, rng *rand.Rand) (string, error) {
	j.mu.Lock()
	j.seq++
	run := &span{from: j.seq}
	value := fmt.Sprintf("%s/%d/%d", name, l.m.id, run.from)
	j.runs[value] = run
	j.mu.Unlock()
	j.w.logf("machine %d %s: runs for %s", l.m.id, name, value)
	takes := time.Duration(rng.Int64N(int64(300 * time.Millisecond)))
	if rng.IntN(12) == 0 {
		takes = time.Duration(rng.Int64N(int64(15 * time.Second)))
	}
	if rng.IntN(2) == 0 {
		time.Sleep(takes) // does not listen
	} else {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	switch n := rng.IntN(20); {
	case n < 3:
		return "", errOnce
	case n == 3:
		panic(errOnce)
	}
	j.mu.Lock()
	j.seq++
	run.to = j.seq
	j.mu.Unlock()
	return value, nil
}

func (j *onceJudge) get(ctx context.Context, l *onces, name string, rng *rand.Rand) error {
	return j.call(l, name, onceGet, func() (value string, err error) {
		defer recovered(&err)
		return gcsync.OnceValue(l.c.Once(name), func(ctx context.Context) (string, error) { return j.work(ctx, l, name, rng) })(ctx)
	})
}

// do makes a value as well, for OnceValue to find.
func (j *onceJudge) do(ctx context.Context, l *onces, name string, rng *rand.Rand) error {
	return j.call(l, name, onceGet, func() (value string, err error) {
		defer recovered(&err)
		_, err = gcsync.OnceValue(l.c.Once(name), func(ctx context.Context) (string, error) { return j.work(ctx, l, name, rng) })(ctx)
		return someValue, err
	})
}

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = r.(error)
	}
}

func (j *onceJudge) done(ctx context.Context, l *onces, name string) error {
	return j.call(l, name, onceDone, func() (string, error) {
		done, err := l.c.Once(name).Done(ctx)
		if done {
			return someValue, err
		}
		return noValue, err
	})
}

func (j *onceJudge) reset(ctx context.Context, l *onces, name string) error {
	return j.call(l, name, onceReset, func() (string, error) { return noValue, l.c.Once(name).Reset(ctx) })
}

// call notes an operation and what came of it. One that failed has no effect, but a reset may have.
func (j *onceJudge) call(l *onces, name string, op onceOp, f func() (string, error)) error {
	j.mu.Lock()
	j.seq++
	id := j.seq
	j.mu.Unlock()
	value, err := f()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	if err != nil && op != onceReset {
		return err
	}
	end := j.seq
	if err != nil {
		op, end = onceMaybeReset, 1<<30 // it may come at any time
	}
	if err == nil && op == onceReset {
		j.resets[name] = append(j.resets[name], &span{id, end})
	}
	j.w.logf("machine %d %s: %d = %q, called at %d, returned at %d", l.m.id, name, op, value, id, end)
	j.ops[name] = append(j.ops[name],
		porcupine.Event{ClientId: l.m.id, Kind: porcupine.CallEvent, Value: op, Id: id},
		porcupine.Event{ClientId: end, Kind: porcupine.ReturnEvent, Value: value, Id: id})
	if op == onceGet && value != someValue {
		j.fresh(name, value, id)
	}
	return err
}

// fresh objects to a value that nobody made, or that was made before a reset that had returned before the call. j.mu is
// held.
func (j *onceJudge) fresh(name, value string, called int) {
	run := j.runs[value]
	if run == nil || run.to == 0 {
		j.w.ref.fail("%s: value %q, which nobody has made", name, value)
		return
	}
	for _, r := range j.resets[name] {
		if run.from < r.from && r.to < called {
			j.w.ref.fail("%s: a value of the time before a reset: %q, of %d to %d, reset from %d to %d, called at %d", name, value, run.from, run.to, r.from, r.to, called)
		}
	}
}

// observe is called by the service at every commit, in order. It objects to a second record in a round, to one that is
// removed while its round is on, and to a mark without one.
func (j *onceJudge) observe(rec gcstest.Record) {
	_, path, _ := strings.Cut(rec.Name, "/")
	name, record, _ := strings.Cut(path, "/")
	if rec.Status/100 != 2 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch what, of, _ := strings.Cut(record, "/"); {
	case what == "run" && (rec.Kind == gcstest.Insert || rec.Kind == gcstest.Patch):
		n := cmp.Or(rec.Metadata["round"], "0")
		j.rounds[name] = fmt.Sprintf("%s: %d-%s", name, rec.Generation, n)
		gen, marked := strings.CutPrefix(rec.Metadata["done"], n+"/")
		if there := j.payloads[j.rounds[name]]; marked && gen != fmt.Sprint(there) {
			j.w.ref.fail("%s: marked as done by %s, but there is %d", name, gen, there)
		}
	case what == "done" && rec.Kind == gcstest.Insert:
		round := name + ": " + of
		j.w.logf("%s is recorded, and %s is on", round, j.rounds[name])
		if round == j.rounds[name] && j.recorded[round] {
			j.w.ref.fail("%s was recorded again", round)
		}
		j.recorded[round], j.payloads[round] = true, rec.Generation
	case what == "done" && rec.Kind == gcstest.Delete:
		round := name + ": " + of
		j.w.logf("%s is removed, and %s is on", round, j.rounds[name])
		if round == j.rounds[name] {
			j.w.ref.fail("%s was removed", round)
		}
		delete(j.payloads, round)
	}
}

// judge has the histories checked.
func (j *onceJudge) judge() {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{noValue} },
		Step: func(s, input, output any) []any {
			now, value := s.(string), output.(string)
			switch input.(onceOp) {
			case onceReset:
				return []any{noValue}
			case onceMaybeReset:
				return []any{now, noValue}
			case onceDone:
				if value == noValue && now != noValue {
					return nil
				}
			}
			switch {
			case now == value || value == noValue:
				return []any{now}
			case now == noValue, now == someValue: // recorded before, and seen for the first time
				return []any{value}
			case value == someValue:
				return []any{now}
			}
			return nil
		},
	}
	for name, events := range j.ops {
		if verdict := porcupine.CheckEventsTimeout(model.ToModel(), inOrder(events), time.Minute); verdict == porcupine.Illegal {
			j.w.ref.fail("%s: the history is not that of a once", name)
		}
	}
}

// inOrder sorts calls and returns by when they were seen; the ClientId of a return is its place.
func inOrder(events []porcupine.Event) []porcupine.Event {
	place := func(e porcupine.Event) int {
		if e.Kind == porcupine.CallEvent {
			return e.Id
		}
		return e.ClientId
	}
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b porcupine.Event) int { return cmp.Compare(place(a), place(b)) })
	for i := range sorted {
		sorted[i].ClientId = 0
	}
	return sorted
}
