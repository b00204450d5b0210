package gcsync_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// every calls Do and wants to hear whether the job ran.
func (b *bed) every(e *gcsync.Every, j *job, want bool) {
	b.Helper()
	ran, err := e.Do(b.Context(), j.do)
	if ran != want || err != nil {
		b.Errorf("at %v: Do = %v, %v, want %v", time.Now().UTC().Format(time.TimeOnly), ran, err, want)
	}
}

// Several machines, each with its cron: once an hour, by whoever comes first.
func TestEvery(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		j := &job{takes: time.Minute}
		var work sync.WaitGroup
		for i := range 4 {
			h := b.host(string(rune('a' + i)))
			work.Go(func() {
				for range 24 {
					time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
					if _, err := h.Every("report", time.Hour).Do(b.Context(), j.do); err != nil {
						b.Error(err)
					}
				}
			})
		}
		work.Wait()
		b.ran(j, 24)
		if n := len(b.srv.Objects(bucket, "")); n != 1 {
			b.Errorf("%d objects after a day, want 1", n)
		}
	})
}

// The slot is over when it is over, not a period after the last run.
func TestEverySlots(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		e, j := b.host("x").Every("report", time.Hour), new(job)
		for _, c := range []struct {
			after time.Duration
			want  bool
		}{
			{50 * time.Minute, true}, {5 * time.Minute, false}, {6 * time.Minute, true}, {30 * time.Minute, false}, {3 * time.Hour, true}, {0, false},
		} {
			time.Sleep(c.after)
			count := b.requests()
			b.every(e, j, c.want)
			if a, paid, free := count(); !c.want && a+paid+free != 0 {
				b.Errorf("to learn again that it is done took %d, %d and %d requests", a, paid, free)
			}
		}
		count := b.requests()
		b.every(b.host("y").Every("report", time.Hour), j, false)
		if a, paid, free := count(); a != 0 || paid != 1 || free != 0 {
			b.Errorf("to learn that it is done took %d, %d and %d requests", a, paid, free)
		}
		// Clients that do not agree on the period: what counts is when the slots begin.
		b.every(b.host("z").Every("report", time.Minute), j, true)
		b.every(b.host("z").Every("report", time.Minute), j, false)
		b.every(b.host("z").Every("report", time.Hour), j, false)
	})
}

// What fails is tried again in the same slot, by whoever waits or comes.
func TestEveryFailure(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x").Every("report", time.Hour), b.host("y").Every("report", time.Hour)
		j := &job{takes: 5 * time.Second}
		j.fails.Store(2)
		var work sync.WaitGroup
		work.Go(func() {
			if ran, err := x.Do(b.Context(), j.do); !ran || err != errJob {
				b.Errorf("Do = %v, %v, want the error of the job", ran, err)
			}
		})
		time.Sleep(time.Second)
		if ran, err := y.Do(b.Context(), j.do); !ran || err != errJob {
			b.Errorf("Do by who waited = %v, %v, want the error of the job", ran, err)
		}
		work.Wait()
		func() {
			defer func() {
				if recover() == nil {
					b.Error("the panic was swallowed")
				}
			}()
			x.Do(b.Context(), func(context.Context) error { panic("boom") })
		}()
		b.every(x, j, true)
		b.every(y, j, false)
		b.ran(j, 3)
	})
}

func TestEveryRunnerDies(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		dying, j := &job{takes: time.Hour}, new(job)
		go x.Every("report", time.Hour).Do(b.Context(), dying.do)
		time.Sleep(time.Second)
		x.vanish()
		start := time.Now()
		b.every(y.Every("report", time.Hour), j, true)
		b.within("taking over", start, 8*time.Second, 12*time.Second)

		// A lease that was lost while the job ran: it may have been run by others, and is not said to be done.
		z := b.host("z")
		time.Sleep(time.Hour)
		ran, err := z.Every("report", time.Hour).Do(b.Context(), func(ctx context.Context) error {
			z.faults.Partition(true)
			<-ctx.Done()
			z.faults.Partition(false)
			return nil
		})
		if !ran || !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Do = %v, %v, want ErrLost", ran, err)
		}
		b.every(y.Every("report", time.Hour), j, true)
	})
}

// Clocks that differ shift when the job is done, and never have it done twice.
func TestEverySkewedClocks(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		right, fast, slow := b.host("right"), b.host("fast"), b.host("slow")
		fast.jump.Store(int64(20 * time.Minute))
		slow.jump.Store(-int64(20 * time.Minute))
		j := new(job)
		time.Sleep(30 * time.Minute)
		for range 3 {
			time.Sleep(15 * time.Minute) // a quarter to the hour: 5 past by the fast clock
			b.every(fast.Every("report", time.Hour), j, true)
			b.every(right.Every("report", time.Hour), j, false)
			time.Sleep(20 * time.Minute) // 5 past
			b.every(right.Every("report", time.Hour), j, false)
			b.every(slow.Every("report", time.Hour), j, false)
			time.Sleep(25 * time.Minute)
			b.every(slow.Every("report", time.Hour), j, false)
		}
		b.ran(j, 3)

		// One that is years ahead would have the others wait for as long.
		fast.jump.Store(int64(10 * 365 * 24 * time.Hour))
		if ran, err := fast.Every("report", time.Hour).Do(b.Context(), j.do); ran || err == nil || !strings.Contains(err.Error(), "ahead of the service's") {
			b.Errorf("Do by a machine that is years ahead = %v, %v", ran, err)
		}
		time.Sleep(time.Hour)
		b.every(right.Every("report", time.Hour), j, true)
	})
}

// Whatever happens to the answers, once per slot, and the next is not kept waiting.
func TestEveryLostAnswers(t *testing.T) {
	for _, fault := range []gcstest.Fault{
		{Kind: gcstest.LoseAnswer},
		{Kind: gcstest.FailAfter},
		{Kind: gcstest.StallAnswer},
		{Kind: gcstest.Reset},
		{Kind: gcstest.Refuse, Status: 429},
		{Kind: gcstest.Ghost, Delay: 3 * time.Second},
		{Kind: gcstest.Duplicate, Delay: time.Second},
		{Kind: gcstest.DuplicateLast, Delay: time.Millisecond},
	} {
		for _, kind := range []gcstest.Kind{gcstest.Insert, gcstest.Patch} {
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("x"), b.host("y")
				j := &job{takes: time.Second}
				x.faults.Script(gcstest.On(kind, "report/run"), fault)
				b.every(x.Every("report", time.Hour), j, true)
				start := time.Now()
				b.every(y.Every("report", time.Hour), j, false)
				b.within(fault.Kind.String(), start, 0, 5*time.Second)
				b.ran(j, 1)
			})
		}
	}
}

func TestEveryClose(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		j := &job{takes: 10 * time.Minute}
		var work sync.WaitGroup
		work.Go(func() {
			ran, err := x.Every("report", time.Hour).Do(b.Context(), j.do)
			if !ran || !errors.Is(err, gcsync.ErrClosed) {
				b.Errorf("Do of the closed client = %v, %v", ran, err)
			}
		})
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		ran, err := y.Every("report", time.Hour).Do(ctx, j.do)
		if held := new(lease.HeldError); ran || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &held) || held.Owner != "x" {
			b.Errorf("Do of one who has not the time to wait = %v, %v", ran, err)
		}
		x.Close(b.Context())
		work.Wait()
		start := time.Now()
		b.every(y.Every("report", time.Hour), new(job), true)
		b.within("the next", start, 0, 5*time.Second)
		if _, err := x.Every("report", time.Hour).Do(b.Context(), j.do); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Do after Close = %v", err)
		}
		if _, err := y.Every("short", time.Millisecond).Do(b.Context(), j.do); err == nil {
			b.Error("a period of a millisecond was taken")
		}
		if _, err := y.Every("", time.Hour).Do(b.Context(), j.do); err == nil {
			b.Error("a name that is empty was taken")
		}
	})
}
