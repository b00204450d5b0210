package fence_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
)

// TestSchedules lets holders with growing tokens append to one object, each beginning before those before it have
// stopped, while requests go wrong by chance. In every schedule:
//
//   - once a token is sealed, nothing older changes the object;
//   - every update that was acknowledged is there exactly once, every one said to have failed is not there, and one of
//     unknown outcome is there once at most;
//   - the tokens of the updates grow.
func TestSchedules(t *testing.T) {
	count := uint64(300)
	if testing.Short() {
		count = 30
	}
	var sum tally
	for seed := range count {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { sum.add(schedule(t, seed)) }) {
			return
		}
	}
	t.Logf("%d schedules: %+v", count, sum)
	if sum.Applied == 0 || sum.Stale == 0 || sum.Unknown == 0 || sum.Refused == 0 {
		t.Errorf("an outcome was never reached: %+v", sum)
	}
}

// tally counts how updates ended.
type tally struct{ Applied, Stale, Unknown, Refused int }

func (t *tally) add(u tally) {
	t.Applied += u.Applied
	t.Stale += u.Stale
	t.Unknown += u.Unknown
	t.Refused += u.Refused
}

// trouble is everything that can go wrong with a request.
var trouble = gcstest.Profile{
	Odds: map[gcstest.FaultKind]float64{
		gcstest.Refuse: 0.05, gcstest.Reset: 0.03, gcstest.Stall: 0.02, gcstest.LoseAnswer: 0.06, gcstest.FailAfter: 0.04,
		gcstest.Truncate: 0.02, gcstest.StallAnswer: 0.04, gcstest.Ghost: 0.06, gcstest.Duplicate: 0.04,
		gcstest.DuplicateLast: 0.04, gcstest.Delay: 0.05, gcstest.DelayAnswer: 0.05, gcstest.Foreign: 0.04, gcstest.ForeignAnswer: 0.04,
	},
	MaxDelay: 15 * time.Second,
}

func schedule(t *testing.T, seed uint64) tally {
	var sum tally
	model := gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 2, Seed: seed}
	inBubble(t, model, func(w *world) {
		rng := rand.New(rand.NewPCG(seed, 1))
		run := run{fate: make(map[string]error)}
		var all sync.WaitGroup
		for token := int64(1); token <= 8; token++ {
			m := w.machine()
			m.Random(trouble)
			turn := turn{machine: m, run: &run, token: token, pauses: [3]time.Duration{}}
			for i := range turn.pauses {
				turn.pauses[i] = time.Duration(rng.ExpFloat64() * float64(2*time.Second))
			}
			patience := time.Duration(5+rng.IntN(40)) * time.Second
			all.Go(func() {
				ctx, cancel := context.WithTimeout(w.Context(), patience)
				defer cancel()
				turn.take(ctx)
			})
			time.Sleep(time.Duration(rng.ExpFloat64() * float64(4*time.Second)))
		}
		all.Wait()
		time.Sleep(time.Minute) // for what is still on its way
		sum = run.judge(w)
	})
	return sum
}

// run is what the holders of one schedule were told.
type run struct {
	mu     sync.Mutex
	sealed int64            // the greatest token whose seal has returned
	fate   map[string]error // what Write returned, by update
	broken []string
}

// turn is one holder's: it seals, reads, and appends twice.
type turn struct {
	*machine
	run    *run
	token  int64
	pauses [3]time.Duration
}

func (h *turn) take(ctx context.Context) {
	time.Sleep(h.pauses[0])
	o, err := fence.Seal(ctx, h.bucket, name, h.token, nil)
	if err != nil {
		return
	}
	h.run.mu.Lock()
	h.run.sealed = max(h.run.sealed, h.token)
	h.run.mu.Unlock()
	for i := range 2 {
		data, err := o.Read(ctx)
		if err != nil {
			return
		}
		time.Sleep(h.pauses[i+1])
		update := fmt.Sprintf("%d.%d ", h.token, i)
		h.run.mu.Lock()
		late := h.run.sealed > h.token
		h.run.mu.Unlock()
		err = o.Write(ctx, append(data, update...))
		h.run.mu.Lock()
		h.run.fate[update] = err
		if late && err == nil {
			h.run.broken = append(h.run.broken, update+"was applied after a newer seal")
		}
		h.run.mu.Unlock()
	}
}

func (r *run) judge(w *world) (sum tally) {
	for _, b := range r.broken {
		w.Error(b)
	}
	var newest int64
	for _, c := range w.changes() {
		token, _ := strconv.ParseInt(c.Metadata[fence.MetadataKey], 10, 64)
		if token < newest {
			w.Errorf("the object went from token %d back to %d", newest, token)
		}
		newest = token
	}
	var content string
	if len(w.server.Objects("b", name)) > 0 {
		content = string(w.object().Content)
	}
	updates := strings.Fields(content)
	if !slices.IsSorted(updates) || len(slices.Compact(slices.Clone(updates))) != len(updates) {
		w.Errorf("out of order or twice: %v", updates)
	}
	for update, err := range r.fate {
		there := slices.Contains(updates, strings.TrimSpace(update))
		switch {
		case err == nil:
			sum.Applied++
			if !there {
				w.Errorf("%sis lost, although it was acknowledged: %q", update, content)
			}
		case errors.Is(err, fence.ErrUnknown):
			sum.Unknown++
		default:
			if stale := new(*fence.StaleError); errors.As(err, stale) {
				sum.Stale++
			}
			sum.Refused++
			if there {
				w.Errorf("%sis there, although it was refused with %v: %q", update, err, content)
			}
		}
	}
	return sum
}
