package gcsync_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/queue"
)

// impostors are answers that something on the way gives in the service's place.
func impostors(yield func(gcstest.Fault) bool) {
	for _, status := range []int{200, 204, 302, 304, 400, 401, 403, 404, 412, 429, 502} {
		for body := gcstest.BodyText; body <= gcstest.BodyCut; body++ {
			if status != 200 && status != 404 && body != gcstest.Body(status%int(gcstest.BodyCut+1)) {
				continue // all bodies of those that are believed soonest; one, whichever, of the others
			}
			if !yield(gcstest.Fault{Kind: gcstest.Foreign, Status: status, Body: body}) {
				return
			}
		}
	}
}

// rival is one way to hold a name and to want it meanwhile.
type rival struct {
	name string
	hold func(b *bed, h *host) (release func())
	want func(ctx context.Context, h *host) error
}

var rivals = []rival{
	{"mutex", holdMutex, func(ctx context.Context, h *host) error { return h.Mutex("m").Lock(ctx) }},
	{"writer behind a reader", func(b *bed, h *host) func() {
		rw := h.RWMutex("m")
		if err := rw.RLock(context.Background()); err != nil {
			b.Fatal(err)
		}
		return func() { _ = rw.RUnlock(context.Background()) }
	}, func(ctx context.Context, h *host) error { return h.RWMutex("m").Lock(ctx) }},
	{"reader behind a writer", func(b *bed, h *host) func() {
		rw := h.RWMutex("m")
		if err := rw.Lock(context.Background()); err != nil {
			b.Fatal(err)
		}
		return func() { _ = rw.Unlock(context.Background()) }
	}, func(ctx context.Context, h *host) error { return h.RWMutex("m").RLock(ctx) }},
	{"semaphore", func(b *bed, h *host) func() {
		p, err := h.Semaphore("m", 1).Acquire(context.Background(), 1)
		if err != nil {
			b.Fatal(err)
		}
		return func() { _ = p.Release(context.Background()) }
	}, func(ctx context.Context, h *host) error {
		_, err := h.Semaphore("m", 1).Acquire(ctx, 1)
		return err
	}},
}

func holdMutex(b *bed, h *host) func() {
	b.lock(h.Mutex("m"))
	return func() { _ = h.Mutex("m").Unlock(context.Background()) }
}

// Whatever answers in the service's place, to whichever request and for however long: nobody gets in beside a holder, and
// everybody gets in soon after it.
func TestForeignAnswerIsNoEvidence(t *testing.T) {
	for _, r := range rivals {
		for _, on := range []struct {
			kind gcstest.Kind
			name string
		}{{gcstest.List, "m/"}, {gcstest.List, "m/h/"}, {gcstest.Any, "m/"}} {
			for _, once := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%v of %s/once=%v", r.name, on.kind, on.name, once), func(t *testing.T) {
					for fault := range impostors {
						inBubble(t, typical, func(b *bed) {
							x, y := b.host("x"), b.host("y")
							release := r.hold(b, x)
							match := gcstest.On(on.kind, on.name)
							if once {
								y.faults.Script(match, fault)
							} else {
								time.AfterFunc(10*time.Second, y.faults.Always(match, fault))
							}
							got := make(chan error, 1)
							go func() { got <- r.want(context.Background(), y) }()
							time.Sleep(15 * time.Second)
							select {
							case err := <-got:
								b.Fatalf("%+v: let in beside the holder: %v", fault, err)
							default:
							}
							if drawn := y.Usage().ClassA; drawn > 25 {
								b.Errorf("%+v: %d class A requests in 15 s", fault, drawn)
							}
							release()
							select {
							case err := <-got:
								if err != nil {
									b.Errorf("%+v: %v", fault, err)
								}
							case <-time.After(15 * time.Second):
								b.Errorf("%+v: not let in for 15 s after the holder has left", fault)
							}
						})
					}
				})
			}
		}
	}
}

// A release that something else has answered is not done.
func TestForeignAnswerToARelease(t *testing.T) {
	for fault := range impostors {
		if fault.Status < 300 {
			continue // nothing of the answer to a delete tells whose it is
		}
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			x.faults.Script(gcstest.On(gcstest.Delete, ""), fault, fault)
			b.unlock(x.Mutex("m"))
			released := time.Now()
			b.lock(y.Mutex("m"))
			b.within(fmt.Sprintf("%+v: to lock what was unlocked", fault), released, 0, time.Second)
		})
	}
}

// The release of what was held for long is looked after, whatever it was answered with.
func TestForeignSuccessOfARelease(t *testing.T) {
	for _, status := range []int{200, 204} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			time.Sleep(15 * time.Second)
			x.faults.Script(gcstest.On(gcstest.Delete, ""), gcstest.Fault{Kind: gcstest.Foreign, Status: status})
			b.unlock(x.Mutex("m"))
			released := time.Now()
			b.lock(y.Mutex("m"))
			b.within("to lock what was unlocked", released, 0, time.Second)
		})
	}
}

// A release that was only said to be done must not be taken for done by whoever sent it: it would time the next in line, who
// knows better, as if that were the head.
func TestForeignSuccessOfAShortRelease(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		b.lock(z.Mutex("m"))
		go x.Mutex("m").Lock(context.Background())
		time.Sleep(500 * time.Millisecond)
		go y.Mutex("m").Lock(context.Background())
		time.Sleep(500 * time.Millisecond)
		b.unlock(z.Mutex("m"))
		time.Sleep(2 * time.Second)
		x.faults.Script(gcstest.On(gcstest.Delete, ""), gcstest.Fault{Kind: gcstest.Foreign, Status: http.StatusNoContent})
		b.unlock(x.Mutex("m"))
		go x.Mutex("m").Lock(context.Background())
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			mine, theirs := x.Mutex("m").Lease(), y.Mutex("m").Lease()
			if mine != nil && mine.Err() == nil && theirs != nil && theirs.Err() == nil {
				b.Fatal("two believe")
			}
		}
		if x.events.count(queue.BaseProbed) == 0 {
			b.Error("the tail was not probed: the test tests nothing")
		}
		x.vanish()
		y.vanish()
	})
}

// A release that was answered by something else leaves a baton in the row. Were the one after it deleted all the same, a create
// that arrives late would find its number free and what it was built on there.
func TestForeignSuccessOfAReleaseKeepsTheOrder(t *testing.T) {
	for _, try := range []bool{false, true} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			again := func() {
				if try {
					if ok, err := x.Mutex("m").TryLock(context.Background()); !ok || err != nil {
						b.Fatalf("try: %v, %v", ok, err)
					}
				} else {
					b.lock(x.Mutex("m"))
				}
			}
			again()
			b.unlock(x.Mutex("m"))
			y.faults.Script(gcstest.On(gcstest.Insert, ticket("m", 2)), gcstest.Fault{Kind: gcstest.Delay, Delay: 1800 * time.Millisecond})
			got := make(chan error, 1)
			go func() { got <- y.Mutex("m").Lock(context.Background()) }()
			time.Sleep(200 * time.Millisecond)

			again()
			x.faults.Script(gcstest.On(gcstest.Delete, ticket("m", 1)), gcstest.Fault{Kind: gcstest.Foreign, Status: http.StatusNoContent})
			b.unlock(x.Mutex("m"))
			again()
			if len(b.srv.Objects(bucket, ticket("m", 1))) > 0 {
				b.Error("the baton that was said to be deleted is there, beside the next")
			}
			b.unlock(x.Mutex("m"))
			again()
			held := x.Mutex("m").Lease()
			select {
			case <-got:
				b.Fatalf("let in beside the holder, who believes: %v", held.Err())
			case <-time.After(4 * time.Second):
			}
			b.unlock(x.Mutex("m"))
			if err := <-got; err != nil {
				b.Error(err)
			}
			b.unlock(y.Mutex("m"))
		})
	}
}

// A holder whose renewals are answered by something else has not renewed.
func TestForeignAnswerToARenewal(t *testing.T) {
	for fault := range impostors {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			held := x.Mutex("m").Lease()
			x.faults.Always(gcstest.On(gcstest.Patch, ""), fault)
			b.lock(y.Mutex("m"))
			if held.Err() == nil {
				b.Errorf("%+v: two believe", fault)
			}
		})
	}
}

// A baton that was only said to be removed is still there: whoever comes next must not be let in past it.
func TestForeignAnswerToAnExpiry(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		x.vanish()
		y.faults.Script(gcstest.On(gcstest.Delete, ""), gcstest.Fault{Kind: gcstest.Foreign, Status: http.StatusNoContent})
		b.lock(y.Mutex("m"))
		if left := b.srv.Objects(bucket, "gcsync/m/t/"); len(left) != 2 {
			b.Errorf("%d tickets where the holder's baton and its own should be: %v", len(left), left)
		}
	})
}

// The date of an answer is anybody's, and proves nobody dead.
func TestForeignDate(t *testing.T) {
	for _, ahead := range []time.Duration{2 * time.Minute, 24 * time.Hour, -2 * time.Minute} {
		inBubble(t, typical, func(b *bed) {
			x, y := b.host("x"), b.host("y")
			b.lock(x.Mutex("m"))
			y.faults.Always(nil, gcstest.Fault{Kind: gcstest.WrongDate, Delay: ahead})
			for range 60 {
				time.Sleep(time.Second)
				if ok, err := y.Mutex("m").TryLock(context.Background()); ok || err != nil {
					b.Fatalf("%v ahead: TryLock beside a holder: %v, %v", ahead, ok, err)
				}
			}
			if err := x.Mutex("m").Lease().Err(); err != nil {
				b.Error(err)
			}
		})
	}
}

// Reads that something else answers with 404 do not make a client draw one ticket after the other.
func TestForeignMissingDrawsNoTickets(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		b.lock(x.Mutex("m"))
		heal := y.faults.Always(gcstest.On(gcstest.Get, ""), gcstest.Fault{Kind: gcstest.Foreign})
		time.AfterFunc(10*time.Second, heal)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = y.Mutex("m").Lock(ctx)
		if left := b.srv.Objects(bucket, "gcsync/m/t/"); len(left) > 3 {
			b.Errorf("%d tickets: %v", len(left), left)
		}
	})
}

// A client whose creates are throttled waits before it looks again: listings are charged for.
func TestThrottledCreatesListSeldom(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		listings := 0
		x.faults.Always(func(op gcstest.Op) bool {
			if op.Kind == gcstest.List {
				listings++
			}
			return op.Kind == gcstest.Insert && strings.Contains(op.Name, "/t/")
		}, gcstest.Fault{Kind: gcstest.Refuse, Status: http.StatusTooManyRequests})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := x.Mutex("m").Lock(ctx); err == nil {
			b.Error("locked without a create")
		}
		if listings > 60 {
			b.Errorf("%d listings in a minute", listings)
		}
	})
}

// A ghost that a listing does not show is still there, if the listing was not the service's.
func TestForeignListingHidesNoGhost(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.host("x"), b.host("y"), b.host("z")
		for range 3 {
			b.lock(x.Mutex("m"))
			b.unlock(x.Mutex("m"))
		}
		z.faults.Script(gcstest.On(gcstest.Insert, ticket("m", 4)), gcstest.Fault{Kind: gcstest.Delay, Delay: 1900 * time.Millisecond})
		z.faults.Script(gcstest.On(gcstest.List, "m/t/"), gcstest.Fault{}, gcstest.Fault{Kind: gcstest.Foreign, Status: 200, Body: gcstest.BodyJSON})
		got := make(chan error, 1)
		go func() { got <- z.Mutex("m").Lock(context.Background()) }()
		time.Sleep(500 * time.Millisecond)
		for range 4 {
			b.lock(y.Mutex("m"))
			b.unlock(y.Mutex("m"))
			time.Sleep(100 * time.Millisecond)
		}
		if err := <-got; err != nil {
			b.Fatal(err)
		}
		if z.faults.Counts()[gcstest.Foreign] != 1 || z.events.count(queue.GhostDeleted) != 1 {
			b.Error("no ghost was made, or the listing was not asked for: the test tests nothing")
		}
		b.unlock(z.Mutex("m"))
		b.unlocked("m")
	})
}

// A release that something else answers for as long as the process cares does not keep its next tries from ending, nor its calls
// that wait from getting past it.
func TestForeignSuccessOfAReleaseForLong(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x := b.host("x")
		s, m := x.Semaphore("sem", 1), x.Mutex("m")
		p := b.take(s, 1)
		b.lock(m)
		heal := x.faults.Always(gcstest.On(gcstest.Delete, ""), gcstest.Fault{Kind: gcstest.Foreign, Status: http.StatusNoContent})
		b.giveBack(p)
		b.unlock(m)
		began := time.Now()
		_, _ = s.TryAcquire(b.Context(), 1)
		_, _ = m.TryLock(b.Context())
		b.within("two tries", began, 0, 10*time.Second)
		time.Sleep(15 * time.Second)
		heal()
		began = time.Now()
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		if p, err := s.Acquire(ctx, 1); err != nil {
			b.Error(err)
		} else {
			b.giveBack(p)
		}
		if err := m.Lock(ctx); err != nil {
			b.Error(err)
		} else {
			b.unlock(m)
		}
		b.within("both", began, 0, 25*time.Second)
	})
}
