package gcsync_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// job counts how often it is run.
type job struct {
	runs  atomic.Int32
	takes time.Duration
	fails atomic.Int32 // so many runs
}

var errJob = errors.New("the job has failed")

func (j *job) do(ctx context.Context) error {
	j.runs.Add(1)
	select {
	case <-time.After(j.takes):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if j.fails.Add(-1) >= 0 {
		return errJob
	}
	return nil
}

// ran fails unless the job was run so often.
func (b *bed) ran(j *job, want int32) {
	b.Helper()
	if got := j.runs.Load(); got != want {
		b.Errorf("the job ran %d times, want %d", got, want)
	}
}

func (b *bed) once(o *gcsync.Once, j *job) {
	b.Helper()
	if err := o.Do(b.Context(), j.do); err != nil {
		b.Fatal(err)
	}
}

func (b *bed) isDone(o *gcsync.Once, want bool) {
	b.Helper()
	if got, err := o.Done(b.Context()); got != want || err != nil {
		b.Errorf("Done = %v, %v, want %v", got, err, want)
	}
}

// requests returns how many requests there have been since the last call.
func (b *bed) requests() func() (a, c, free int) {
	last := b.srv.Stats()
	return func() (int, int, int) {
		now := b.srv.Stats()
		a, c, f := now.ClassA-last.ClassA, now.ClassB-last.ClassB, now.Free-last.Free
		last = now
		return a, c, f
	}
}

func TestOnce(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		j := &job{takes: 300 * time.Millisecond}
		var work sync.WaitGroup
		for i := range 4 {
			h := b.host(string(rune('a' + i)))
			for range 10 {
				work.Go(func() {
					b.once(h.Once("o"), j)
					if j.runs.Load() != 1 {
						b.Error("Do returned before the job was done")
					}
				})
			}
		}
		work.Wait()
		b.ran(j, 1)
		late := b.host("late").Once("o")
		b.isDone(late, true)
		b.once(late, j)
		b.ran(j, 1)
	})
}

// What fails is not done: whoever waits has the next try, and soon.
func TestOnceError(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x").Once("o"), b.host("y").Once("o")
		j := &job{takes: 5 * time.Second}
		j.fails.Store(1)
		failed := make(chan error, 1)
		go func() { failed <- x.Do(b.Context(), j.do) }()
		time.Sleep(time.Second)
		b.isDone(y, false)
		start := time.Now()
		b.once(y, j)
		b.within("the failure, the hand-over and the second run", start, 9*time.Second, 12*time.Second)
		if err := <-failed; err != errJob {
			b.Errorf("Do = %v, want the error of the function as it is", err)
		}
		b.ran(j, 2)
		b.once(x, j)
		b.ran(j, 2)
	})
}

func TestOncePanic(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		o := b.host("x").Once("o")
		func() {
			defer func() {
				if recover() != "boom" {
					b.Error("the panic was swallowed")
				}
			}()
			o.Do(b.Context(), func(context.Context) error { panic("boom") })
		}()
		exited := make(chan bool)
		go func() {
			defer close(exited)
			o.Do(b.Context(), func(context.Context) error { runtime.Goexit(); return nil })
		}()
		<-exited
		b.isDone(o, false)
		start := time.Now()
		b.once(b.host("y").Once("o"), new(job))
		b.within("the run after the panics", start, 0, 5*time.Second)
	})
}

// The context of the function tells of the loss and carries a token.
func TestOnceContext(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h, other := b.host("x"), b.host("y")
		err := h.Once("o").Do(b.Context(), func(ctx context.Context) error {
			if token, ok := lease.TokenFrom(ctx); !ok || token == 0 {
				b.Error("no token")
			}
			h.faults.Partition(true)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), gcsync.ErrLost) {
				b.Errorf("cause = %v", context.Cause(ctx))
			}
			h.faults.Partition(false)
			return errJob
		})
		if !errors.Is(err, errJob) || !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Do after a loss = %v, want both errors", err)
		}
		b.isDone(other.Once("o"), false)

		// What somebody else has recorded meanwhile counts.
		err = h.Once("p").Do(b.Context(), func(ctx context.Context) error {
			h.faults.Partition(true)
			b.once(other.Once("p"), new(job))
			h.faults.Partition(false)
			<-ctx.Done()
			return errJob
		})
		if err != nil {
			b.Errorf("Do = %v, though somebody else has done it", err)
		}
	})
}

// A runner that is silent is replaced after its lease, not before, by one that waits: after its claim, if it has not renewed.
func TestOnceRunnerDies(t *testing.T) {
	for after, lease := range map[time.Duration]time.Duration{2 * time.Second: 10 * time.Second, 5 * time.Second: 30 * time.Second} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			dying, j := &job{takes: time.Hour}, new(job)
			go x.Once("o").Do(b.Context(), dying.do)
			time.Sleep(after)
			x.vanish()
			start := time.Now()
			b.once(y.Once("o"), j)
			b.within("taking over", start, lease-3*time.Second, lease+3*time.Second)
			b.ran(dying, 1)
			b.ran(j, 1)
		})
	}
}

// A runner that dies between the record and the mark leaves work that is done: nobody does it again, and whoever comes
// next sets the mark.
func TestOnceRunnerDiesBeforeTheMark(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		j := &job{takes: time.Second}
		go x.Once("o").Do(b.Context(), j.do)
		x.faults.Script(gcstest.On(gcstest.Patch, "o/run"), gcstest.Fault{Kind: gcstest.Stall})
		waiting := time.Now()
		time.Sleep(500 * time.Millisecond)
		b.once(y.Once("o"), j)
		b.within("seeing the record", waiting, time.Second, 3*time.Second)
		x.vanish()
		b.isDone(z.Once("o"), true)
		b.ran(j, 1)
		if mark := b.object("gcsync/o/run").Metadata["done"]; mark != "" {
			b.Fatalf("marked by somebody: %q", mark)
		}
		time.Sleep(time.Minute)
		b.once(b.host("later").Once("o"), j)
		b.ran(j, 1)
		if b.object("gcsync/o/run").Metadata["done"] == "" {
			b.Error("still not marked")
		}
	})
}

// object returns an object past all faults.
func (b *bed) object(name string) gcstest.Object {
	b.Helper()
	for _, o := range b.srv.Objects(bucket, name) {
		if o.Name == name {
			return o
		}
	}
	b.Fatalf("%s is not there", name)
	return gcstest.Object{}
}

// Whatever happens to the answers of its writes, the work is done once, with one result, and nobody has to wait for a
// lease.
func TestOnceLostAnswers(t *testing.T) {
	writes := []gcstest.Match{
		gcstest.On(gcstest.Insert, "o/run"), gcstest.On(gcstest.Patch, "o/run"), gcstest.On(gcstest.Insert, "o/done/"),
		gcstest.On(gcstest.Get, "o/run"), gcstest.On(gcstest.Get, "o/done/"), gcstest.On(gcstest.Media, "o/done/"),
	}
	for _, fault := range []gcstest.Fault{
		{Kind: gcstest.LoseAnswer},
		{Kind: gcstest.FailAfter},
		{Kind: gcstest.Truncate},
		{Kind: gcstest.StallAnswer},
		{Kind: gcstest.Reset},
		{Kind: gcstest.Refuse, Status: 429},
		{Kind: gcstest.Ghost, Delay: 3 * time.Second},
		{Kind: gcstest.Duplicate, Delay: time.Second},
		{Kind: gcstest.DuplicateLast, Delay: time.Millisecond},
	} {
		for i, match := range writes {
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("x"), b.host("y")
				x.faults.Script(match, fault)
				y.faults.Script(match, fault)
				var values [2]string
				var runs atomic.Int32
				var work sync.WaitGroup
				start := time.Now()
				for n, h := range []*host{x, y} {
					work.Go(func() {
						f := gcsync.OnceValue(h.Once("o"), func(ctx context.Context) (string, error) {
							time.Sleep(100 * time.Millisecond)
							return fmt.Sprint("run ", runs.Add(1)), nil
						})
						var err error
						if values[n], err = f(b.Context()); err != nil {
							b.Errorf("%v of write %d: %v", fault.Kind, i, err)
						}
					})
				}
				work.Wait()
				b.within(fmt.Sprintf("%v of write %d", fault.Kind, i), start, 0, 29*time.Second)
				if runs.Load() != 1 || values != [2]string{"run 1", "run 1"} {
					b.Errorf("%v of write %d: %d runs, values %q", fault.Kind, i, runs.Load(), values)
				}
			})
		}
	}
}

// A runner that was paused beyond its lease comes with a result of its own, and gets the one that was recorded.
func TestOncePausedRunner(t *testing.T) {
	for _, reset := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			x, y, z := b.host("x"), b.host("y"), b.host("z")
			runs := 0
			xs := gcsync.OnceValue(x.Once("o"), func(context.Context) (string, error) {
				if runs++; runs > 1 {
					return "x again", nil
				}
				x.faults.Pause()
				time.Sleep(time.Minute)
				return "x", nil
			})
			got := make(chan string, 1)
			go func() {
				v, err := xs(b.Context())
				got <- fmt.Sprint(v, err)
			}()
			time.Sleep(2 * time.Second)
			v := func(h *host, value string) string {
				v, err := gcsync.OnceValue(h.Once("o"), func(context.Context) (string, error) { return value, nil })(b.Context())
				if err != nil {
					b.Error(err)
				}
				return v
			}
			if first := v(y, "y"); first != "y" {
				b.Errorf("y got %q", first)
			}
			want := "y"
			if reset {
				if err := y.Once("o").Reset(b.Context()); err != nil {
					b.Fatal(err)
				}
				want = "x again" // whoever comes first after the reset
			}
			time.Sleep(time.Minute)
			x.faults.Resume()
			if all := <-got; all != want+"<nil>" {
				b.Errorf("reset %v: the paused runner got %s, want %s", reset, all, want)
			}
			for _, h := range []*host{y, z} {
				if v := v(h, "nobody"); v != want {
					b.Errorf("reset %v: somebody got %q, want %q", reset, v, want)
				}
			}
			if left := b.srv.Objects(bucket, "gcsync/o/done/"); len(left) != 1 {
				b.Errorf("reset %v: %d payloads left, want 1", reset, len(left))
			}
		})
	}
}

// A payload that arrives after a reset is never seen.
func TestOnceGhostPayload(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		x.faults.Script(gcstest.On(gcstest.Insert, "o/done/"), gcstest.Fault{Kind: gcstest.Ghost, Delay: time.Minute})
		x.faults.Script(gcstest.On(gcstest.Get, "o/done/"), gcstest.Fault{Kind: gcstest.Stall})
		go gcsync.OnceValue(x.Once("o"), func(context.Context) (string, error) { return "x", nil })(b.Context())
		time.Sleep(3 * time.Second)
		x.vanish()
		if err := y.Once("o").Reset(b.Context()); err != nil {
			b.Fatal(err)
		}
		got, err := gcsync.OnceValue(y.Once("o"), func(context.Context) (string, error) { time.Sleep(time.Minute); return "y", nil })(b.Context())
		if got != "y" || err != nil {
			b.Errorf("y got %q, %v", got, err)
		}
		if n := len(b.srv.Objects(bucket, "gcsync/o/done/")); n != 2 {
			b.Fatalf("%d payloads, want that of y and the ghost", n)
		}
		got, err = gcsync.OnceValue(z.Once("o"), func(context.Context) (string, error) { return "z", nil })(b.Context())
		if got != "y" || err != nil {
			b.Errorf("z got %q, %v", got, err)
		}
	})
}

func TestOnceReset(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x").Once("o"), b.host("y").Once("o")
		j := new(job)
		if err := x.Reset(b.Context()); err != nil {
			b.Errorf("Reset of what never was: %v", err)
		}
		b.once(x, j)
		if err := x.Reset(b.Context()); err != nil {
			b.Fatal(err)
		}
		if n := len(b.srv.Objects(bucket, "gcsync/o/done/")); n != 0 {
			b.Errorf("%d payloads left of before", n)
		}
		b.isDone(x, false)
		b.once(y, j)
		b.ran(j, 2)
		// One that is running runs again.
		if err := x.Reset(b.Context()); err != nil {
			b.Fatal(err)
		}
		long := &job{takes: 20 * time.Second}
		done := make(chan error, 1)
		go func() { done <- x.Do(b.Context(), long.do) }()
		time.Sleep(10 * time.Second)
		if err := y.Reset(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.ran(long, 2)
		b.isDone(y, true)
		// Whoever removes the object by hand has it done again, too, and the payload of before is not in the way.
		b.srv.Client(nil).Bucket(bucket).Object("gcsync/o/run").Delete(b.Context())
		b.once(b.host("z").Once("o"), j)
		b.ran(j, 3)
	})
}

func TestOnceCache(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		f := gcsync.OnceValues(x.Once("o"), func(context.Context) (string, int, error) { return "a", 1, nil })
		g := gcsync.OnceValues(y.Once("o"), func(context.Context) (string, int, error) { return "b", 2, nil })
		count := b.requests()
		for i, want := range [][3]int{{3, 0, 1}, {0, 2, 0}, {0, 0, 0}} {
			get := [...]func(context.Context) (string, int, error){f, g, g}[i]
			if s, n, err := get(b.Context()); s != "a" || n != 1 || err != nil {
				b.Errorf("call %d: %q, %d, %v", i, s, n, err)
			}
			if a, c, free := count(); [3]int{a, c, free} != want {
				b.Errorf("call %d took %d, %d and %d requests, want %v", i, a, c, free, want)
			}
		}
		// A reset through this client reaches its memory, and the value is read anew.
		if err := y.Once("o").Reset(b.Context()); err != nil {
			b.Fatal(err)
		}
		if s, n, err := g(b.Context()); s != "b" || n != 2 || err != nil {
			b.Errorf("after a reset: %q, %d, %v", s, n, err)
		}
		if s, _, err := f(b.Context()); s != "a" || err != nil {
			b.Errorf("the other process: %q, %v, want what it remembers", s, err)
		}
		if n := gcsync.Remembered(x.Client); n != 1 {
			b.Errorf("%d names remembered", n)
		}
	})
}

func TestOnceValues(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		type result struct {
			Text    string
			private int
		}
		for _, h := range []*host{x, y} { // the same for whoever made it
			v, err := gcsync.OnceValue(h.Once("struct"), func(context.Context) (result, error) { return result{"ä\u2028", 1}, nil })(b.Context())
			if err != nil || v != (result{Text: "ä\u2028"}) {
				b.Errorf("%+v, %v", v, err)
			}
		}
		large := strings.Repeat("x", 8<<20-2)
		for _, h := range []*host{x, y} {
			v, err := gcsync.OnceValue(h.Once("large"), func(context.Context) (string, error) { return large, nil })(b.Context())
			if err != nil || v != large {
				b.Errorf("a large value: %d bytes, %v", len(v), err)
			}
		}
		if _, err := gcsync.OnceValue(x.Once("larger"), func(context.Context) (string, error) { return large + "x", nil })(b.Context()); err == nil {
			b.Error("no error for a value that is too large")
		}
		b.isDone(y.Once("larger"), false)
		_, err := gcsync.OnceValue(x.Once("chan"), func(context.Context) (chan int, error) { return make(chan int), nil })(b.Context())
		if unsupported := new(json.UnsupportedTypeError); !errors.As(err, &unsupported) {
			b.Errorf("a channel: %v", err)
		}
		b.isDone(y.Once("chan"), false)
		if _, err := gcsync.OnceValue(y.Once("large"), func(context.Context) (int, error) { return 0, nil })(b.Context()); err == nil {
			b.Error("a text was read as a number")
		}
		b.once(x.Once("plain"), new(job))
		if _, err := gcsync.OnceValue(y.Once("plain"), func(context.Context) (int, error) { return 0, nil })(b.Context()); err == nil || !strings.Contains(err.Error(), "without a value") {
			b.Errorf("value of a once without one: %v", err)
		}
		if v, err := gcsync.OnceValue(x.Once("nil"), func(context.Context) (*int, error) { return nil, nil })(b.Context()); v != nil || err != nil {
			b.Errorf("nil: %v, %v", v, err)
		}
	})
}

// A value that somebody has removed by hand is missed, not looked for for ever.
func TestOnceValueRemoved(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		get := func(h *host) (string, error) {
			return gcsync.OnceValue(h.Once("o"), func(context.Context) (string, error) { return "v", nil })(b.Context())
		}
		if _, err := get(b.host("x")); err != nil {
			b.Fatal(err)
		}
		for _, o := range b.srv.Objects(bucket, "gcsync/o/done/") {
			b.srv.Client(nil).Bucket(bucket).Object(o.Name).Delete(b.Context())
		}
		y := b.host("y")
		if _, err := get(y); err == nil || !strings.Contains(err.Error(), "Reset") {
			b.Errorf("%v, want an error that says what to do", err)
		}
		if err := y.Once("o").Reset(b.Context()); err != nil {
			b.Fatal(err)
		}
		if v, err := get(y); v != "v" || err != nil {
			b.Errorf("%q, %v", v, err)
		}
	})
}

// A hundred goroutines cost what one costs.
func TestOnceRequests(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		j := &job{takes: 10 * time.Second}
		count := b.requests()
		report := func(what string, wantA, wantB, wantFree int) {
			b.Helper()
			a, c, free := count()
			b.Logf("%-30s %3d paid A, %3d paid B, %3d free", what, a, c, free)
			if a > wantA || c > wantB || free > wantFree {
				b.Errorf("%s took %d, %d and %d requests, want %d, %d and %d at most", what, a, c, free, wantA, wantB, wantFree)
			}
		}
		b.once(x.Once("cold"), new(job))
		report("cold", 3, 0, 1)
		b.once(x.Once("cold"), new(job))
		report("warm", 0, 0, 0)
		b.once(y.Once("cold"), new(job))
		report("done, in a new process", 0, 1, 0)

		var work sync.WaitGroup
		for range 100 {
			work.Go(func() { b.once(x.Once("local"), j) })
		}
		work.Wait()
		report("100 goroutines, 10 s", 4, 0, 2) // and a renewal, perhaps
		b.ran(j, 1)

		for _, h := range []*host{x, y, z} {
			for range 30 {
				work.Go(func() { b.once(h.Once("fleet"), j) })
			}
		}
		work.Wait()
		report("3 processes, 10 s", 4, 60, 160)
		b.ran(j, 2)

		long := &job{takes: time.Hour}
		work.Go(func() { b.once(x.Once("long"), long) })
		time.Sleep(time.Minute)
		count()
		before := b.srv.Stats().ByOp["patch"]
		work.Go(func() { b.once(y.Once("long"), long) })
		time.Sleep(time.Minute)
		a, c, free := count()
		b.Logf("%-30s %3d paid A (the holder's), %3d paid B, %3d free", "waiting for a minute", a, c, free)
		if c > 50 || free > 150 || a != b.srv.Stats().ByOp["patch"]-before {
			b.Errorf("waiting for a minute took %d, %d and %d requests", a, c, free)
		}
		work.Wait()
		b.ran(long, 1)
	})
}

// A caller that leaves, or whose client closes, at any moment, keeps nobody else waiting, and what was said to be done is
// done.
func TestOnceLeavingAtEveryStep(t *testing.T) {
	for _, closing := range []bool{false, true} {
		for step := 1; ; step++ {
			reached := false
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("x"), b.host("y")
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				closed := make(chan error, 1)
				x.faults.Always(func(op gcstest.Op) bool {
					if op.Seq == step+1 && !reached {
						reached = true
						if closing {
							go func() { closed <- x.Close(context.Background()) }()
						} else {
							cancel()
						}
					}
					return false
				}, gcstest.Fault{})
				j := &job{takes: 50 * time.Millisecond}
				err := x.Once("o").Do(ctx, j.do)
				if reached && closing {
					if err := <-closed; err != nil {
						b.Errorf("step %d: Close = %v", step, err)
					}
				}
				if errors.Is(err, gcsync.ErrUnconfirmed) {
					b.Errorf("step %d, closing %v: %v", step, closing, err)
				}
				ran := j.runs.Load()
				if err == nil {
					b.isDone(y.Once("o"), true)
				}
				start := time.Now()
				b.once(y.Once("o"), j)
				b.within(fmt.Sprintf("step %d, closing %v: the next", step, closing), start, 0, 5*time.Second)
				if err == nil && j.runs.Load() != ran {
					b.Errorf("step %d, closing %v: Do returned nil and it was not done", step, closing)
				}
			})
			if !reached {
				break
			}
			if step > 20 {
				t.Fatal("it never ends")
			}
		}
	}
}

// Who waits in the process, or for another process, leaves when told to.
func TestOnceWaitersLeave(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		j := &job{takes: time.Hour}
		var work sync.WaitGroup
		work.Go(func() {
			if err := x.Once("o").Do(b.Context(), j.do); !errors.Is(err, gcsync.ErrClosed) {
				b.Errorf("Do of the closed client = %v, want ErrClosed", err)
			}
		})
		time.Sleep(time.Second)
		mine := errors.New("mine")
		for _, h := range []*host{x, y, y} {
			work.Go(func() {
				ctx, cancel := context.WithTimeoutCause(b.Context(), 5*time.Second, mine)
				defer cancel()
				start := time.Now()
				err := h.Once("o").Do(ctx, j.do)
				held := new(lease.HeldError)
				if !errors.Is(err, mine) {
					b.Errorf("Do = %v, want the cause of its context", err)
				} else if errors.As(err, &held) && held.Owner != "x" {
					b.Errorf("held by %q", held.Owner)
				}
				b.within("leaving", start, 5*time.Second, 5*time.Second+time.Millisecond)
			})
		}
		time.Sleep(10 * time.Second)
		closed := b.host("closed")
		for range 2 {
			work.Go(func() {
				if err := closed.Once("o").Do(b.Context(), j.do); !errors.Is(err, gcsync.ErrClosed) {
					b.Errorf("waiting while the client closes: %v", err)
				}
			})
		}
		time.Sleep(time.Second)
		closed.Close(b.Context())
		if _, err := closed.Once("o").Done(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Done of a closed client = %v", err)
		}
		if err := closed.Once("o").Reset(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Reset of a closed client = %v", err)
		}
		b.ran(j, 1)

		// The runner's client closes: the function is told, and the next has its turn.
		next := new(job)
		work.Go(func() { b.once(y.Once("o"), next) })
		time.Sleep(time.Second)
		start := time.Now()
		if err := x.Close(b.Context()); err != nil {
			b.Error(err)
		}
		work.Wait()
		b.within("handing over", start, 0, 5*time.Second)
		b.ran(next, 1)
	})
}

// Objects that are not ours are named and left alone.
func TestOnceForeignObjects(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		h := b.host("x")
		write := func(name string, metadata map[string]string) {
			w := b.srv.Client(nil).Bucket(bucket).Object(name).NewWriter(b.Context())
			w.Metadata = metadata
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
		for i, md := range []map[string]string{nil, {"kind": "once", "round": "x"}} {
			name := fmt.Sprintf("foreign-%d", i)
			write("gcsync/"+name+"/run", md)
			before := b.object("gcsync/" + name + "/run")
			_, asked := h.Once(name).Done(b.Context())
			for _, err := range []error{asked, h.Once(name).Do(b.Context(), new(job).do), h.Once(name).Reset(b.Context())} {
				if foreign := new(gcsync.ForeignError); !errors.As(err, &foreign) || !strings.Contains(err.Error(), "gcsync/"+name+"/run") {
					b.Errorf("%v, want a ForeignError with its name", err)
				}
			}
			if after := b.object("gcsync/" + name + "/run"); after.Generation != before.Generation || after.Metageneration != before.Metageneration {
				b.Errorf("%s was touched", name)
			}
		}
		b.once(h.Once("shared"), new(job))
		_, err := h.Every("shared", time.Hour).Do(b.Context(), new(job).do)
		if mismatch := new(gcsync.MismatchError); !errors.As(err, &mismatch) {
			b.Errorf("Every on the name of a Once: %v", err)
		}
		if _, err := h.Election("shared").Leader(b.Context()); !errors.As(err, new(*gcsync.MismatchError)) {
			b.Errorf("Leader on the name of a Once: %v", err)
		}
	})
}

// Each name is a once of its own, and none gets into the way of a mutex.
func TestOnceNames(t *testing.T) {
	names := []string{"a", "a/run", "a/done", "a/done/1-0", "a/", "/a", "a//run", "A", "a#1", "a?b", "a%2F", "a b", "..", ".", "ä", "世界", "run",
		"done", "t", "a\nb", "*", "x[1]", strings.Repeat("long", 200)}
	inBubble(t, gcstest.Model{}, func(b *bed) {
		h, other := b.host("x"), b.host("y")
		j := new(job)
		for _, name := range names {
			if ok, err := h.Mutex(name).TryLock(b.Context()); !ok || err != nil {
				b.Fatalf("TryLock of %q: %v, %v", name, ok, err)
			}
			b.isDone(other.Once(name), false)
			b.once(h.Once(name), j)
		}
		b.ran(j, int32(len(names)))
		for _, name := range names {
			b.isDone(other.Once(name), true)
		}
		for _, name := range []string{"", strings.Repeat("long", 300), "\xff"} {
			if err := h.Once(name).Do(b.Context(), j.do); err == nil {
				b.Errorf("Do of the impossible name %.20q succeeded", name)
			}
		}
	})
}

// What a client remembers of names is bounded.
func TestOnceManyNames(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		h := b.host("x")
		for i := range 5000 {
			if i%5 == 0 {
				b.once(h.Once(fmt.Sprint("n", i)), new(job))
			} else {
				b.isDone(h.Once(fmt.Sprint("n", i)), false)
			}
		}
		if n := gcsync.Remembered(h.Client); n != 1000 {
			b.Errorf("%d names remembered, want the 1000 that are done", n)
		}
	})
}
