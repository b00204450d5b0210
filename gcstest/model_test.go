package gcstest_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
)

func TestLatencyDistribution(t *testing.T) {
	const median, p99, n = 30 * time.Millisecond, 120 * time.Millisecond, 4000
	inBubble(t, gcstest.Model{Median: median, P99: p99, Seed: 1}, func(t *testing.T, w *world) {
		w.mustPut(t, "o")
		var committed time.Time
		w.server.Observe(func(r gcstest.Record) { committed = r.Time })
		took := make([]time.Duration, n)
		for i := range took {
			start := time.Now()
			if err := w.get(t.Context(), "o"); err != nil {
				t.Fatal(err)
			}
			took[i] = time.Since(start)
			share := float64(committed.Sub(start)) / float64(took[i])
			if share < 0.3499 || share > 0.6501 {
				t.Fatalf("the request was carried out after %v of its time", share)
			}
		}
		slices.Sort(took)
		for _, c := range [...]struct {
			share float64
			want  time.Duration
		}{{0.5, median}, {0.99, p99}} {
			got := took[int(c.share*n)]
			if ratio := float64(got) / float64(c.want); ratio < 0.9 || ratio > 1.1 {
				t.Errorf("quantile %v is %v, want about %v", c.share, got, c.want)
			}
		}
		if took[0] < median/6 || took[n-1] < p99 {
			t.Errorf("requests took from %v to %v", took[0], took[n-1])
		}
	})
}

func TestLatencyIsRepeatable(t *testing.T) {
	var first time.Duration
	for i := range 3 {
		seed := uint64(i / 2) // the first two are alike
		inBubble(t, gcstest.Model{Median: time.Second, P99: 3 * time.Second, Seed: seed}, func(t *testing.T, w *world) {
			for range 10 {
				_ = w.get(t.Context(), "none") // only its time matters
			}
			switch got := w.elapsed(); {
			case i == 0:
				first = got
			case (got == first) != (i == 1):
				t.Errorf("run %d with seed %d took %v, the first %v", i, seed, got, first)
			}
		})
	}
}

// TestRateCountsEveryMutation checks that each kind of mutation uses up the
// allowance of the name, over deletion and recreation, and that what fails does
// not.
func TestRateCountsEveryMutation(t *testing.T) {
	inBubble(t, gcstest.Model{Rate: 2}, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.bucket.Object("o")
		patch := func() error {
			_, err := o.Update(ctx, storage.ObjectAttrsToUpdate{Metadata: map[string]string{"k": "v"}})
			return err
		}
		steps := []func() error{
			func() error { return w.put(ctx, "o") },
			patch,
			func() error { return put(ctx, o, nil) },
			func() error { return o.Delete(ctx) },
			func() error { return w.put(ctx, "o") },
			func() error { return o.Delete(ctx) },
		}
		for i, step := range steps {
			wantStatus(t, fmt.Sprint("step ", i), step(), 0)
			time.Sleep(499 * time.Millisecond)
			for range 3 {
				wantStatus(t, "too early", put(ctx, o, nil), http.StatusTooManyRequests)
			}
			wantStatus(t, "other name", put(ctx, w.bucket.Object(fmt.Sprint("other", i)), nil), 0)
			time.Sleep(time.Millisecond)
		}
		wantStatus(t, "patch of nothing", patch(), http.StatusNotFound)
		wantStatus(t, "create", w.put(ctx, "o"), 0)
	})
}

// TestRateOrder checks what a loser learns first.
func TestRateOrder(t *testing.T) {
	inBubble(t, gcstest.Model{Rate: 1}, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.mustPut(t, "o")
		wantStatus(t, "lost create", w.put(ctx, "o"), http.StatusTooManyRequests)
		old := w.bucket.Object("o").If(storage.Conditions{GenerationMatch: 1})
		wantStatus(t, "lost delete", old.Delete(ctx), http.StatusTooManyRequests)
		wantStatus(t, "delete of another generation", w.bucket.Object("o").Generation(1).Delete(ctx), http.StatusNotFound)
		time.Sleep(time.Second)
		wantStatus(t, "lost create later", w.put(ctx, "o"), http.StatusPreconditionFailed)
		wantStatus(t, "lost delete later", old.Delete(ctx), http.StatusPreconditionFailed)
		wantStatus(t, "delete", w.bucket.Object("o").Delete(ctx), 0)
		wantStatus(t, "delete of nothing", w.bucket.Object("o").Delete(ctx), http.StatusNotFound)
	})
}

func TestBurst(t *testing.T) {
	inBubble(t, gcstest.Model{Rate: 1, Burst: 3}, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.bucket.Object("o")
		allowed := func(tries int) (n int) {
			for range tries {
				if put(ctx, o, nil) == nil {
					n++
				}
			}
			return n
		}
		for _, step := range [...]struct {
			rest time.Duration
			want int
		}{{0, 3}, {time.Second, 1}, {2 * time.Second, 2}, {time.Hour, 3}, {500 * time.Millisecond, 0}} {
			time.Sleep(step.rest)
			if got := allowed(5); got != step.want {
				t.Errorf("after a rest of %v %d mutations passed, want %d", step.rest, got, step.want)
			}
		}
	})
}

// TestGenerations checks that generations rise over all names of the server and
// have gaps, and stay near the time.
func TestGenerations(t *testing.T) {
	inBubble(t, gcstest.Model{Seed: 5}, func(t *testing.T, w *world) {
		last, gaps := int64(0), make(map[int64]bool)
		for i := range 50 {
			name := fmt.Sprint("o", i%3)
			if err := put(t.Context(), w.bucket.Object(name), nil); err != nil {
				t.Fatal(err)
			}
			gen := w.server.Objects("b", name)[0].Generation
			if gen <= last {
				t.Fatalf("generation %d came after %d", gen, last)
			}
			gaps[gen-last] = true
			last = gen
		}
		if len(gaps) < 25 {
			t.Errorf("only %d different gaps", len(gaps))
		}
		if drift := time.Until(time.UnixMicro(last)); drift < 0 || drift > time.Second {
			t.Errorf("generations are %v from the time", drift)
		}
	})
}
