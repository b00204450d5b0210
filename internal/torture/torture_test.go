//go:build unix

package torture

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// With a fence not one acknowledged update is lost, whatever happens to the processes and to their networks.
func TestTorture(t *testing.T) {
	d := duration(t)
	r := torture(t, true, d)
	list := r.fleet.updates()
	r.ledger.audit(t, list)

	// A run in which nothing happened proves nothing.
	minute := func(n int) int { return int(float64(n) * min(1, d.Minutes())) }
	for _, c := range []struct {
		what       string
		got, least int
	}{
		{"acquisitions", r.ledger.counts[entered], minute(30)},
		{"acknowledged updates", r.ledger.counts[acked], minute(20)},
		{"processes killed", int(r.kills.Load()), minute(2)},
		{"processes stopped", int(r.stops.Load()), minute(4)},
		{"networks cut", int(r.cuts.Load()), minute(2)},
		{"networks stalled", int(r.stalls.Load()), minute(2)},
		{"locks lost", r.ledger.counts[lost], minute(2)},
		{"stale writers refused", r.ledger.counts[refused], minute(1)},
	} {
		if c.got < c.least {
			t.Errorf("%d %s, want %d at least: the run proves too little", c.got, c.what, c.least)
		}
	}
}

// The same without a fence, to show what the fence is for: a paused holder writes over what others have done meanwhile.
// How often is a matter of chance; TestPausedHolder leaves nothing to it.
func TestTortureUnfenced(t *testing.T) {
	r := torture(t, false, duration(t)/2)
	for _, f := range r.ledger.faults {
		t.Log("as may be expected:", f)
	}
	t.Logf("without a fence %d of %d acknowledged updates are lost", len(r.ledger.lost(r.fleet.updates())), r.ledger.counts[acked])
}

// ordeal is one run.
type ordeal struct {
	fleet                      *fleet
	ledger                     *ledger
	rng                        *rand.Rand
	readers                    chan *member // those that have just read the object
	kills, stops, cuts, stalls atomic.Int64
}

const (
	processes = 5
	atOnce    = 2 // so many of them are in trouble
)

// torture lets things happen to a fleet for so long, and then lets everybody finish.
func torture(t *testing.T, fenced bool, d time.Duration) *ordeal {
	seed := uint64(time.Now().UnixNano())
	r := &ordeal{fleet: newFleet(t, fenced), ledger: newLedger(), rng: rand.New(rand.NewPCG(seed, 0)), readers: make(chan *member)}
	if fenced {
		r.fleet.server.Observe(r.ledger.see)
	}
	for i := range processes {
		r.fleet.member(string(rune('a'+i)), config{Workers: 2}, r.hear)
	}
	r.await(t, "the first update", acked, 1)
	began := time.Now()
	r.harass(began.Add(d))

	// Whatever has happened, it goes on.
	r.await(t, "updates after the last trouble", acked, r.ledger.count(acked)+2*processes)
	var all sync.WaitGroup
	for _, m := range r.fleet.all {
		all.Go(m.leave)
	}
	all.Wait()
	for _, m := range r.fleet.all {
		m.proxy.close()
	}
	r.fleet.http.Close() // and with it what was still on its way

	l := r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("seed %d, %v: %d acquisitions, %d updates acknowledged, %d of unknown outcome, %d stale writers refused, %d failed, %d locks lost",
		seed, time.Since(began).Round(time.Second), l.counts[entered], l.counts[acked], l.counts[unknown], l.counts[refused], l.counts[failed], l.counts[lost])
	t.Logf("%d killed, %d stopped beyond their lease, %d cut off, %d stalled; %d seals and %d writes applied, %d updates in the object, %d lost",
		r.kills.Load(), r.stops.Load(), r.cuts.Load(), r.stalls.Load(), l.seals, l.writes, len(r.fleet.updates()), len(l.lost(r.fleet.updates())))
	for err, n := range l.errors {
		t.Logf("%d x %s", n, err)
	}
	return r
}

func (r *ordeal) hear(m *member, said message) {
	r.ledger.hear(m.config.Name, said)
	if said.Kind == haveRead {
		select {
		case r.readers <- m: // somebody waits for a victim in the middle of its update
		default:
		}
	}
}

func (r *ordeal) await(t *testing.T, what string, k kind, n int) {
	t.Helper()
	for end := time.Now().Add(patience); r.ledger.count(k) < n; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s in %v", what, patience)
		}
	}
}

// harass does this and that to members until the time has come, and heals them.
func (r *ordeal) harass(end time.Time) {
	well := make(map[*member]bool)
	for _, m := range r.fleet.all {
		well[m] = true
	}
	healed := make(chan *member, processes)
	recover := func(m *member) { well[m] = true }
	for i := 0; time.Now().Before(end); i++ {
		if len(well) <= processes-atOnce {
			recover(<-healed)
		}
		trouble, victim := r.next(i, well)
		delete(well, victim)
		go func() {
			trouble(victim)
			healed <- victim
		}()
		select {
		case m := <-healed:
			recover(m)
		case <-time.After(time.Duration(r.rng.IntN(1000)) * time.Millisecond):
		}
	}
	for len(well) < processes {
		recover(<-healed)
	}
}

// next chooses what happens next, and to whom: of all kinds alike, and those that are about the process mostly to one
// that has just read the object and is about to write it.
func (r *ordeal) next(i int, well map[*member]bool) (trouble func(*member), victim *member) {
	deck := []func(*member){r.stop, r.kill, r.cut, r.stop, r.stall}
	trouble = deck[i%len(deck)]
	if i%len(deck) < 2 || r.rng.IntN(4) == 0 {
		for late := time.After(2 * ttl); ; {
			select {
			case m := <-r.readers:
				if well[m] {
					return trouble, m
				}
				continue
			case <-late:
			}
			break
		}
	}
	for m := range well { // in no order
		victim = m
		break
	}
	return trouble, victim
}

func (r *ordeal) kill(m *member) {
	m.kill()
	r.kills.Add(1)
	time.Sleep(time.Second)
	m.start()
}

func (r *ordeal) stop(m *member) {
	m.signal(syscall.SIGSTOP)
	r.stops.Add(1)
	time.Sleep(ttl + 2*time.Second)
	m.signal(syscall.SIGCONT)
}

func (r *ordeal) cut(m *member) {
	m.proxy.breakOff()
	r.cuts.Add(1)
	time.Sleep(ttl + time.Second)
	m.proxy.heal()
}

func (r *ordeal) stall(m *member) {
	m.proxy.stall()
	r.stalls.Add(1)
	time.Sleep(ttl + time.Second)
	m.proxy.heal()
}
