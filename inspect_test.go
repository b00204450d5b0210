package gcsync_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// Inspect tells who holds a name and who waits, in order, with the tokens that they have or will have.
func TestInspect(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx := context.Background()
		viewer := b.host("viewer")
		state := func() *gcsync.State {
			t.Helper()
			s, err := viewer.Inspect(ctx, "m")
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := state(); s.Kind != "" || s.Holders != nil || s.Waiters != nil || !s.Used.IsZero() {
			t.Errorf("a name never used: %+v", s)
		}
		names := []string{"a", "b", "c", "d"}
		type had struct {
			owner string
			token int64
		}
		turn, done := make(chan struct{}), make(chan had)
		leave, cancel := context.WithCancel(ctx)
		for _, name := range names {
			m, wait := b.host(name).Mutex("m"), ctx
			if name == "c" {
				wait = leave
			}
			go func() {
				mine := had{owner: name}
				if err := m.Lock(wait); err == nil {
					mine.token = m.Lease().Token()
					<-turn
					b.unlock(m)
				}
				done <- mine
			}()
			time.Sleep(time.Second)
		}
		time.Sleep(20 * time.Second) // until the holder has renewed
		s := state()
		if len(s.Holders) != 1 || len(s.Waiters) != 3 || s.Kind != "mutex" {
			t.Fatalf("%+v", s)
		}
		holder := s.Holders[0]
		if holder.Owner != "a" || holder.Renewed.IsZero() || holder.Lease != 30*time.Second ||
			!holder.Expires.Equal(holder.Renewed.Add(holder.Lease)) || holder.Expires.Before(s.At) {
			t.Errorf("holder: %+v at %v", holder, s.At)
		}
		promised := make(map[string]int64)
		for i, w := range s.Waiters {
			if w.Owner != names[i+1] || !w.Renewed.IsZero() || w.Came.Before(holder.Came) || !w.Since.IsZero() {
				t.Errorf("waiter %d: %+v", i, w)
			}
			promised[w.Owner] = w.Token
		}

		// One that closes has left its place.
		cancel()
		<-done
		if err := viewer.Break(ctx, "m", holder.Token+1<<20); !errors.Is(err, gcsync.ErrStale) {
			t.Errorf("broken with the token of a waiter: %v", err)
		}
		turn <- struct{}{}
		if first := <-done; first != (had{"a", holder.Token}) {
			t.Errorf("%+v was first, shown was %+v", first, holder)
		}
		for _, name := range []string{"b", "d"} {
			turn <- struct{}{}
			if next := <-done; next != (had{name, promised[name]}) {
				t.Errorf("%+v was next, promised was %s %d", next, name, promised[name])
			}
		}
		time.Sleep(time.Minute) // until the place of the one who left is gone
		if s := state(); s.Holders != nil || s.Waiters != nil || s.Used.IsZero() {
			t.Errorf("a free name: %+v", s)
		}
	})
}

// A waiter that closed is not shown, though its ticket stays until its turn.
func TestInspectLeavesOutTheAbandoned(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx := context.Background()
		a, viewer := b.host("a").Mutex("m"), b.host("viewer")
		b.lock(a)
		w := b.host("w")
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := w.Mutex("m").Lock(short); err == nil {
			t.Fatal("locked twice")
		}
		if err := w.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if s, err := viewer.Inspect(ctx, "m"); err != nil || len(s.Holders) != 1 || len(s.Waiters) != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		b.unlock(a)
		if s, err := viewer.Inspect(ctx, "m"); err != nil || len(s.Holders) != 0 || len(s.Waiters) != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// List tells of the names that begin with a prefix, whatever they are called, and of no others; and changes nothing.
func TestList(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(b *bed) {
		ctx := context.Background()
		a := b.host("a")
		names := []string{"a/t", "a/t/w", "jobs/x", "jobs/x/t", "jobs/ä b", "jobs2", "t"}
		for _, name := range names {
			b.lock(a.Mutex(name))
		}
		before := len(b.srv.Objects(bucket, ""))
		for prefix, want := range map[string][]string{
			"": names, "jobs": names[2:6], "jobs/": names[2:5], "jobs/x": names[2:4], "a/t": names[:2], "a/t/": names[1:2], "none": nil,
		} {
			var got []string
			for s, err := range a.List(ctx, prefix) {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, s.Name); len(s.Holders) != 1 {
					t.Errorf("%q: %+v", s.Name, s)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("prefix %q: %q, want %q", prefix, got, want)
			}
		}
		if after := len(b.srv.Objects(bucket, "")); after != before {
			t.Errorf("%d objects before, %d after", before, after)
		}
		b.srv.CreateBucket(bucket, gcstest.BucketConfig{DenyAll: true})
		for s, err := range a.List(ctx, "") {
			if err == nil {
				t.Errorf("listed without permission: %+v", s)
			}
		}
		b.srv.CreateBucket(bucket, gcstest.BucketConfig{})
	})
}

// Break frees the name from exactly the holder that was seen.
func TestBreak(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx := context.Background()
		dead, viewer, next := b.host("dead"), b.host("viewer"), b.host("next").Mutex("m")
		b.lock(dead.Mutex("m"))
		token := dead.Mutex("m").Lease().Token()
		dead.vanish()
		start := time.Now()
		if err := viewer.Break(ctx, "m", token); err != nil {
			t.Fatal(err)
		}
		b.lock(next)
		b.within("locking after a break", start, 0, 3*time.Second)
		for _, stale := range []int64{token, 0, -1} {
			if err := viewer.Break(ctx, "m", stale); !errors.Is(err, gcsync.ErrStale) {
				t.Errorf("broken with token %d, which is over: %v", stale, err)
			}
		}
		if err := next.Lease().Err(); err != nil {
			t.Error(err)
		}
		b.unlock(next)
		if err := viewer.Break(ctx, "m", token); !errors.Is(err, gcsync.ErrStale) {
			t.Errorf("broken though free: %v", err)
		}
	})
}

// Of what several may hold, all are shown who do, and those who wait behind them; and one of them can be removed.
func TestInspectRegistry(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx := context.Background()
		viewer, w := b.host("viewer"), b.host("w")
		state := func(name string, holders, waiters []string) *gcsync.State {
			t.Helper()
			s, err := viewer.Inspect(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			owners := func(list []gcsync.Claim) (names []string) {
				for _, c := range list {
					names = append(names, c.Owner)
				}
				return names
			}
			if !slices.Equal(owners(s.Holders), holders) || !slices.Equal(owners(s.Waiters), waiters) {
				t.Errorf("%s: held by %q, %q wait; want %q and %q", name, owners(s.Holders), owners(s.Waiters), holders, waiters)
			}
			return s
		}

		var permits []*gcsync.Permit
		for _, name := range []string{"a", "b"} {
			p, err := b.host(name).Semaphore("s", 3).Acquire(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			permits = append(permits, p)
		}
		in := make(chan *gcsync.Permit)
		go func() {
			p, err := w.Semaphore("s", 3).Acquire(ctx, 2)
			if err != nil {
				t.Error(err)
			}
			in <- p
		}()
		time.Sleep(3 * time.Second)
		s, err := viewer.Inspect(ctx, "s")
		if err != nil {
			t.Fatal(err)
		}
		if s.Kind != "semaphore" || s.Slots != 3 || len(s.Holders) != 3 || len(s.Waiters) == 0 || s.Waiters[0].Owner != "w" {
			t.Fatalf("two hold a slot each, and one gathers two: %+v", s)
		}
		if got := permits[0].Slots()[0]; s.Holders[got.Number].Owner != "a" || s.Holders[got.Number].Token != got.Token || s.Holders[got.Number].Slot != got.Number {
			t.Errorf("a has %+v: %+v", got, s.Holders)
		}
		if err := viewer.Break(ctx, "s", permits[0].Token()); err != nil {
			t.Error(err)
		}
		p := <-in
		if len(p.Slots()) != 2 {
			t.Errorf("%+v", p.Slots())
		}
		if err := p.Release(ctx); err != nil {
			t.Error(err)
		}
		if err := permits[1].Release(ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		state("s", nil, nil)

		reader, writer := b.host("r").RWMutex("rw"), b.host("x").RWMutex("rw")
		if err := reader.RLock(ctx); err != nil {
			t.Fatal(err)
		}
		state("rw", []string{"r"}, nil)
		locked := make(chan error)
		go func() { locked <- writer.Lock(ctx) }()
		time.Sleep(3 * time.Second)
		state("rw", []string{"r"}, []string{"x"})
		if err := reader.RUnlock(ctx); err != nil {
			t.Error(err)
		}
		if err := <-locked; err != nil {
			t.Fatal(err)
		}
		if s := state("rw", []string{"x"}, nil); s.Kind != "rwmutex" || s.Holders[0].Token != writer.Lease().Token() {
			t.Errorf("%+v", s)
		}
		if err := writer.Unlock(ctx); err != nil {
			t.Error(err)
		}
		state("rw", nil, nil)
	})
}

// Tidy leaves one object of a name whose holders and waiters have died, of whatever kind, and keeps its hands off one
// that lives. Tokens go on from where they were.
func TestTidy(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx := context.Background()
		janitor := b.host("janitor")
		var last int64
		take := map[string]func(h *host) error{
			"mutex":     func(h *host) error { return h.Mutex("mutex").Lock(ctx) },
			"reader":    func(h *host) error { return h.RWMutex("reader").RLock(ctx) },
			"writer":    func(h *host) error { return h.RWMutex("writer").Lock(ctx) },
			"semaphore": func(h *host) error { _, err := h.Semaphore("semaphore", 3).Acquire(ctx, 2); return err },
		}
		for name, take := range take {
			dead, waiter := b.host("dead"), b.host("waiter")
			if err := take(dead); err != nil {
				t.Fatal(err)
			}
			if name == "mutex" {
				last = dead.Mutex(name).Lease().Token()
			}
			go func() { _ = take(waiter) }() // ended by its crash
			time.Sleep(3 * time.Second)
			dead.vanish()
			waiter.vanish()
		}
		alive := b.host("alive").Mutex("alive")
		b.lock(alive)
		time.Sleep(2 * time.Hour)

		for name := range take {
			removed, err := janitor.Tidy(ctx, name, time.Hour)
			if err != nil || removed < 1 {
				t.Errorf("%s: removed %d, %v", name, removed, err)
			}
			b.unlocked(name)
			time.Sleep(20 * time.Second) // calls outlive those who were struck by a claim
			for _, o := range b.srv.Objects(bucket, "gcsync/"+name+"/") {
				if !strings.Contains(o.Name, "/t/") && !strings.HasSuffix(o.Name, "/h/anchor") {
					t.Errorf("%s: left is %+v", name, o)
				}
			}
			if removed, err := janitor.Tidy(ctx, name, 0); err != nil || removed != 0 {
				t.Errorf("%s, tidied again: removed %d, %v", name, removed, err)
			}
		}
		next := b.host("next").Mutex("mutex")
		b.lock(next)
		if token := next.Lease().Token(); token <= last {
			t.Errorf("token %d after %d", token, last)
		}
		b.unlock(next)

		if removed, err := janitor.Tidy(ctx, "alive", time.Hour); removed != 0 || err != nil {
			t.Errorf("a name in use: removed %d, %v", removed, err)
		}
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if removed, err := janitor.Tidy(short, "alive", 0); removed != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a name in use: removed %d, %v", removed, err)
		}
		b.unlock(alive)
		if removed, err := janitor.Tidy(ctx, "never", 0); removed != 0 || err != nil {
			t.Errorf("a name never used: removed %d, %v", removed, err)
		}
	})
}

// Who comes while a name is tidied up shares it with the janitor in turn, like anybody else.
func TestTidyAmongLockers(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx := context.Background()
		var work sync.WaitGroup
		inside := 0
		var last int64
		for i := range 4 {
			m := b.host(string(rune('a' + i))).Mutex("m")
			work.Go(func() {
				for range 10 {
					b.lock(m)
					inside++
					if token := m.Lease().Token(); inside != 1 || token <= last {
						b.Errorf("%d inside, token %d after %d", inside, token, last)
					} else {
						last = token
					}
					time.Sleep(50 * time.Millisecond)
					inside--
					b.unlock(m)
				}
			})
		}
		janitor := b.host("janitor")
		for range 10 {
			if _, err := janitor.Tidy(ctx, "m", 0); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		work.Wait()
		b.unlocked("m")
	})
}

// Of what is kept in a single object the state tells who is at it, and what it is about.
func TestInspectRegister(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		ctx := context.Background()
		a, viewer := b.host("a"), b.host("viewer")
		check := func(name, kind, detail string, token int64) {
			t.Helper()
			s, err := viewer.Inspect(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			held := len(s.Holders) == 1 && s.Holders[0].Owner == "a" && s.Holders[0].Token == token && s.Holders[0].Expires.After(s.At)
			if s.Kind != kind || s.Detail != detail || held != (token != 0) {
				t.Errorf("%+v", s)
			}
			for l, err := range viewer.List(ctx, name) {
				if err != nil || l.Kind != kind || l.Detail != detail {
					t.Errorf("listed: %+v, %v", l, err)
				}
			}
		}
		term, err := a.Election("el").Campaign(ctx, "here")
		if err != nil {
			t.Fatal(err)
		}
		check("el", "election", "here", term.Number())
		if err := term.Resign(ctx); err != nil {
			t.Fatal(err)
		}
		check("el", "election", "here", 0)
		if err := a.Once("o").Do(ctx, func(ctx context.Context) error {
			token, _ := lease.TokenFrom(ctx)
			check("o", "once", "", token)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		check("o", "once", "done", 0)
		slot := time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339)
		if _, err := a.Every("ev", time.Hour).Do(ctx, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		check("ev", "every", slot, 0)

		// A lock and something else of one name are told as two.
		b.lock(a.Mutex("o"))
		var kinds []string
		for s, err := range viewer.List(ctx, "o") {
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, s.Kind)
		}
		if !slices.Equal(kinds, []string{"once", "mutex"}) {
			t.Errorf("%q", kinds)
		}
		b.unlock(a.Mutex("o"))
	})
}

// The token that Inspect tells frees what is kept in a single object as well, and nobody else's hold.
func TestBreakRegisters(t *testing.T) {
	hold := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	for kind, take := range map[string]func(h *host) error{
		"once":     func(h *host) error { return h.Once("n").Do(context.Background(), hold) },
		"every":    func(h *host) error { _, err := h.Every("n", time.Hour).Do(context.Background(), hold); return err },
		"election": func(h *host) error { return h.Election("n").Run(context.Background(), "", hold) },
	} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			go take(x)
			time.Sleep(15 * time.Second)
			state, err := y.Inspect(b.Context(), "n")
			if err != nil || len(state.Holders) != 1 || state.Holders[0].Owner != "x" {
				b.Fatalf("%s: %+v, %v", kind, state, err)
			}
			token := state.Holders[0].Token
			if err := y.Break(b.Context(), "n", token-1); !errors.Is(err, gcsync.ErrStale) {
				b.Errorf("%s: with another token: %v", kind, err)
			}
			if err := y.Break(b.Context(), "n", token); err != nil {
				b.Errorf("%s: %v", kind, err)
			}
			if err := y.Break(b.Context(), "n", token); !errors.Is(err, gcsync.ErrStale) {
				b.Errorf("%s: a second time: %v", kind, err)
			}
			go take(y)
			time.Sleep(5 * time.Second)
			state, err = y.Inspect(b.Context(), "n")
			if err != nil || len(state.Holders) != 1 || state.Holders[0].Owner != "y" {
				b.Errorf("%s: then %+v, %v", kind, state, err)
			}
			x.vanish()
			y.vanish()
		})
	}
}

// A holder says since when it holds, and not since when it has queued, as soon as it has renewed.
func TestInspectTellsSinceWhenItHolds(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		go func() { _ = y.Mutex("m").Lock(context.Background()) }()
		time.Sleep(20 * time.Second)
		b.unlock(x.Mutex("m"))
		began := time.Now()
		for _, after := range []time.Duration{time.Second, 30 * time.Second, 10 * time.Minute} {
			time.Sleep(time.Until(began.Add(after)))
			state, err := x.Inspect(b.Context(), "m")
			if err != nil || len(state.Holders) != 1 {
				b.Fatalf("%+v, %v", state, err)
			}
			h := state.Holders[0]
			if after == time.Second {
				if !h.Since.IsZero() {
					b.Errorf("holds since %v, which nothing tells", h.Since)
				}
			} else if d := h.Since.Sub(began); d < 0 || d > 2*time.Second {
				b.Errorf("holds since %v after it did", d)
			}
			if d := began.Sub(h.Came); d < 18*time.Second {
				b.Errorf("came %v before it held", d)
			}
		}
	})
}

// A client that is closed looks at nothing any more, and ends what it is at.
func TestInspectAfterClose(t *testing.T) {
	calls := map[string]func(h *host) error{
		"Inspect": func(h *host) error { _, err := h.Inspect(context.Background(), "m"); return err },
		"List": func(h *host) error {
			for _, err := range h.List(context.Background(), "") {
				return err
			}
			return nil
		},
		"Break":    func(h *host) error { return h.Break(context.Background(), "m", 1) },
		"Tidy":     func(h *host) error { _, err := h.Tidy(context.Background(), "m", 0); return err },
		"TryLock":  func(h *host) error { _, err := h.Mutex("m").TryLock(context.Background()); return err },
		"TryRLock": func(h *host) error { _, err := h.RWMutex("rw").TryRLock(context.Background()); return err },
		"Leader":   func(h *host) error { _, err := h.Election("e").Leader(context.Background()); return err },
		"Done":     func(h *host) error { _, err := h.Once("o").Done(context.Background()); return err },
		"Reset":    func(h *host) error { return h.Once("o").Reset(context.Background()) },
	}
	for name, call := range calls {
		for _, under := range []bool{true, false} {
			inBubble(t, typical, func(b *bed) {
				h := b.host("h")
				got := make(chan error, 1)
				if under {
					h.faults.Always(nil, gcstest.Fault{Kind: gcstest.Stall})
					go func() { got <- call(h) }()
					time.Sleep(time.Second)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				closed := time.Now()
				h.Close(ctx)
				sent := h.Usage()
				if !under {
					got <- call(h)
				}
				if err := <-got; !errors.Is(err, gcsync.ErrClosed) {
					b.Errorf("%s, under way %v: %v", name, under, err)
				}
				b.within(name, closed, 0, 3*time.Second)
				if !under && h.Usage() != sent {
					b.Errorf("%s sends requests", name)
				}
			})
		}
	}
}
