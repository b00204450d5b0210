package gcsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

func (b *bed) campaign(h *host, value string) *gcsync.Term {
	b.Helper()
	t, err := h.Election("e").Campaign(b.Context(), value)
	if err != nil {
		b.Fatal(err)
	}
	return t
}

func (b *bed) resign(t *gcsync.Term) {
	b.Helper()
	if err := t.Resign(b.Context()); err != nil {
		b.Error(err)
	}
}

// leads wants the election to be led with the given value; empty: by nobody.
func (b *bed) leads(h *host, value string) gcsync.Leader {
	b.Helper()
	l, err := h.Election("e").Leader(b.Context())
	if value == "" && !errors.Is(err, gcsync.ErrNoLeader) || value != "" && err != nil || l.Value != value {
		b.Errorf("Leader = %+v, %v, want %q", l, err, value)
	}
	return l
}

func TestElection(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		b.leads(z, "")
		first := b.campaign(x, "x:80")
		if l := b.leads(z, "x:80"); l.Owner != "x" || l.Term != first.Number() {
			b.Errorf("%+v, want the term %d of x", l, first.Number())
		}
		second := make(chan *gcsync.Term)
		go func() { second <- b.campaign(y, "") }()
		time.Sleep(time.Hour)
		if first.Err() != nil {
			b.Error("a leader that lives was replaced")
		}
		start := time.Now()
		b.resign(first)
		if first.Err() == nil {
			b.Error("still leading after resigning")
		}
		b.leads(z, "")
		after := <-second
		b.within("the succession", start, 0, 3*time.Second)
		if after.Number() <= first.Number() {
			b.Errorf("term %d after %d", after.Number(), first.Number())
		}
		if l, err := z.Election("e").Leader(b.Context()); err != nil || l.Owner != "y" || l.Value != "" {
			b.Errorf("Leader = %+v, %v", l, err)
		}
		if err := first.Resign(b.Context()); !errors.Is(err, lease.ErrReleased) {
			b.Errorf("resigning twice: %v", err)
		}
		if after.Err() != nil {
			b.Error("resigning twice has ended the successor's term")
		}
		b.resign(after)
	})
}

// A leader that dies is followed after its lease, and is no leader for those who ask.
func TestElectionLeaderDies(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		first := b.campaign(x, "x")
		time.Sleep(15 * time.Second)
		x.vanish()
		start := time.Now()
		after := b.campaign(y, "y")
		b.within("the succession", start, 18*time.Second, 34*time.Second)
		if first.Err() == nil {
			b.Error("two leaders")
		}
		time.Sleep(5 * time.Second)
		y.faults.Partition(true)
		time.Sleep(time.Minute)
		if !errors.Is(after.Err(), gcsync.ErrLost) {
			b.Errorf("the term of one who was cut off: %v", after.Err())
		}
		b.leads(b.host("z"), "")
		y.faults.Partition(false)
		if err := after.Resign(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Resign = %v, want ErrLost", err)
		}
	})
}

// The numbers of terms grow even if somebody removes the object.
func TestElectionNumbers(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		h := b.host("x")
		var numbers []int64
		for range 5 {
			term := b.campaign(h, "")
			numbers = append(numbers, term.Number())
			b.resign(term)
			b.srv.Client(nil).Bucket(bucket).Object("gcsync/e/run").Delete(b.Context())
			time.Sleep(time.Second)
		}
		if !slices.IsSorted(numbers) || len(slices.Compact(slices.Clone(numbers))) != 5 {
			b.Errorf("terms %v", numbers)
		}
	})
}

func TestElectionObserve(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		ctx, cancel := context.WithCancel(b.Context())
		var seen []string
		var work sync.WaitGroup
		work.Go(func() {
			for l, err := range z.Election("e").Observe(ctx) {
				switch {
				case errors.Is(err, gcsync.ErrNoLeader):
					seen = append(seen, "-")
				case err != nil:
					seen = append(seen, context.Cause(ctx).Error())
				default:
					seen = append(seen, l.Value)
				}
			}
		})
		time.Sleep(5 * time.Second)
		first := b.campaign(x, "x")
		time.Sleep(10 * time.Minute)
		b.resign(first)
		time.Sleep(5 * time.Second)
		second := b.campaign(y, "y")
		time.Sleep(time.Minute)
		y.vanish()
		time.Sleep(time.Minute)
		if second.Err() == nil {
			b.Error("still leading")
		}
		third := b.campaign(x, "x again")
		time.Sleep(5 * time.Second)
		count := b.requests()
		time.Sleep(10 * time.Minute)
		if a, c, free := count(); c > 300 || free > 400 {
			b.Errorf("observing for ten minutes took %d, %d and %d requests", a, c, free)
		}
		cancel()
		work.Wait()
		if got, want := strings.Join(seen, " "), "- x - y - x again context canceled"; got != want {
			b.Errorf("observed %q, want %q", got, want)
		}
		for range z.Election("e").Observe(b.Context()) {
			break // who has seen enough
		}
		b.resign(third)
		go func() {
			time.Sleep(time.Second)
			z.Close(context.Background())
		}()
		var last error
		for _, err := range z.Election("e").Observe(b.Context()) {
			last = err
		}
		if !errors.Is(last, gcsync.ErrClosed) {
			b.Errorf("observing while the client closes ended with %v", last)
		}
	})
}

// Run leads again after a loss, and two never do at once.
func TestElectionRun(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx, cancel := context.WithCancel(b.Context())
		var work sync.WaitGroup
		leading := make(map[string]context.Context)
		terms := make(map[string]int)
		var mu sync.Mutex
		var hosts []*host
		for i := range 3 {
			h, name := b.host(string(rune('a'+i))), string(rune('a'+i))
			hosts = append(hosts, h)
			work.Go(func() {
				err := h.Election("e").Run(ctx, name, func(ctx context.Context) error {
					mu.Lock()
					for other, ctx := range leading {
						if ctx.Err() == nil {
							b.Errorf("%s and %s lead", other, name)
						}
					}
					leading[name] = ctx
					terms[name]++
					mu.Unlock()
					<-ctx.Done()
					return context.Cause(ctx)
				})
				if !errors.Is(err, context.Canceled) {
					b.Errorf("%s: Run = %v", name, err)
				}
			})
		}
		for range 10 {
			time.Sleep(time.Minute)
			l, err := hosts[0].Election("e").Leader(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			f := hosts[l.Value[0]-'a'].faults
			f.Partition(true)
			time.Sleep(time.Minute)
			f.Partition(false)
		}
		cancel()
		work.Wait()
		sum := 0
		for _, n := range terms {
			sum += n
		}
		if sum != 11 {
			b.Errorf("%d terms, want 11: %v", sum, terms)
		}
		b.leads(hosts[0], "")

		// What the function returns while it leads ends it, and so does a panic.
		mine := errors.New("mine")
		for _, want := range []error{nil, mine} {
			if err := hosts[0].Election("e").Run(b.Context(), "", func(context.Context) error { return want }); err != want {
				b.Errorf("Run = %v, want %v", err, want)
			}
		}
		func() {
			defer func() {
				if recover() != "boom" {
					b.Error("the panic was swallowed")
				}
			}()
			hosts[0].Election("e").Run(b.Context(), "", func(context.Context) error { panic("boom") })
		}()
		b.leads(hosts[1], "")
	})
}

func TestElectionClose(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		term := b.campaign(x, "x")
		var work sync.WaitGroup
		work.Go(func() {
			if _, err := y.Election("e").Campaign(b.Context(), "y"); !errors.Is(err, gcsync.ErrClosed) {
				b.Errorf("Campaign while the client closes = %v", err)
			}
		})
		work.Go(func() {
			err := y.Election("f").Run(b.Context(), "y", func(ctx context.Context) error {
				<-ctx.Done()
				return context.Cause(ctx)
			})
			if !errors.Is(err, gcsync.ErrClosed) {
				b.Errorf("Run while the client closes = %v", err)
			}
		})
		time.Sleep(5 * time.Second)
		y.Close(b.Context())
		work.Wait()
		if err := x.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		if !errors.Is(term.Err(), gcsync.ErrClosed) {
			b.Errorf("the term of a closed client: %v", term.Err())
		}
		if err := term.Resign(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Resign = %v", err)
		}
		b.leads(b.host("z"), "")
		if _, err := x.Election("e").Leader(b.Context()); !errors.Is(err, gcsync.ErrClosed) {
			b.Errorf("Leader of a closed client = %v", err)
		}
	})
}

// Whoever looks at a term when it is given up sees it over before the service does.
func TestElectionBeliefEndsBeforeTheResignation(t *testing.T) {
	for _, closing := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			h := b.host("x")
			term := b.campaign(h, "x")
			resigned := false
			b.srv.Observe(func(r gcstest.Record) {
				if r.Kind == gcstest.Patch && r.Metadata["expires_sec"] == "0" {
					resigned = true
					if term.Err() == nil {
						b.Errorf("closing %v: the object is free and the term is still believed in", closing)
					}
				}
			})
			if closing {
				h.Close(b.Context())
			} else {
				b.resign(term)
			}
			if !resigned {
				b.Error("nothing was released")
			}
		})
	}
}

// A candidate that leaves, or whose client closes, at any moment, does not lead, and keeps nobody from it.
func TestElectionLeavingAtEveryStep(t *testing.T) {
	for _, closing := range []bool{false, true} {
		for step := 1; ; step++ {
			reached := false
			inBubble(t, typical, func(b *bed) {
				x, y := b.host("x"), b.host("y")
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				closed := make(chan error, 1)
				x.faults.Always(func(op gcstest.Op) bool {
					if op.Seq == step && !reached {
						reached = true
						if closing {
							go func() { closed <- x.Close(context.Background()) }()
						} else {
							cancel()
						}
					}
					return false
				}, gcstest.Fault{})
				term, err := x.Election("e").Campaign(ctx, "x")
				if reached && closing {
					<-closed
				}
				if err == nil {
					term.Resign(b.Context())
				}
				start := time.Now()
				b.resign(b.campaign(y, "y"))
				b.within(fmt.Sprintf("step %d, closing %v: the next", step, closing), start, 0, 6*time.Second)
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

func TestElectionRequests(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		count := b.requests()
		report := func(what string, wantA, wantB, wantFree int) {
			b.Helper()
			a, c, free := count()
			b.Logf("%-40s %3d paid A, %3d paid B, %3d free", what, a, c, free)
			if a > wantA || c > wantB || free > wantFree {
				b.Errorf("%s took %d, %d and %d requests, want %d, %d and %d at most", what, a, c, free, wantA, wantB, wantFree)
			}
		}
		term := b.campaign(x, "x")
		report("campaign, cold", 1, 0, 1)
		b.leads(y, "x")
		report("leader", 0, 1, 1)
		b.resign(term)
		report("resign", 1, 0, 0)
		b.leads(y, "")
		report("leader, when there is none", 0, 1, 0)
		time.Sleep(5 * time.Second)
		term = b.campaign(x, "x")
		report("campaign, warm", 1, 1, 0)
		time.Sleep(time.Hour)
		report("leading for an hour", 400, 0, 0)
		next := make(chan *gcsync.Term)
		go func() { next <- b.campaign(y, "y") }()
		time.Sleep(time.Hour)
		report("leading, and one candidate, for an hour", 400, 1500, 1500)
		b.resign(term)
		b.resign(<-next)
	})
}

func TestElectionValues(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		h := b.host("x")
		for _, value := range []string{"", "ä\n\u2028世界", strings.Repeat("x", 4096)} {
			term := b.campaign(h, value)
			if l, err := h.Election("e").Leader(b.Context()); l.Value != value || err != nil {
				b.Errorf("%.20q arrived as %.20q, %v", value, l.Value, err)
			}
			b.resign(term)
		}
		for _, value := range []string{"\xff", strings.Repeat("x", 4097)} {
			if _, err := h.Election("e").Campaign(b.Context(), value); err == nil {
				b.Errorf("the value %.20q was taken", value)
			}
		}
		if _, err := h.Election("").Campaign(b.Context(), ""); err == nil {
			b.Error("an empty name was taken")
		}
		for _, err := range h.Election("").Observe(b.Context()) {
			if err == nil {
				b.Error("an empty name was observed")
			}
		}
	})
}
