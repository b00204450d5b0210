package main

import (
	"slices"
	"time"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// A step is one scenario that all locks go through, in one place of the report.
type step struct {
	scenario harness.Scenario
	ours     time.Duration // how long gcsync is measured
	peers    time.Duration // how long the others are: most of them acquire once in two seconds, and need longer

	// apart says that the lock under test gets the machine for itself. Otherwise all run at the same time, each against a
	// service of its own: where nobody acquires often, nobody is in the way.
	apart bool
}

const (
	sweepHold = 100 * time.Millisecond
	sweepAt   = 8 // clients, where the hold time is what changes
)

// matrix is all that the report shows. The quick one shows that it works.
func matrix(quick bool) []step {
	var steps []step
	add := func(s harness.Scenario, ours, peers time.Duration, apart bool) {
		if quick {
			ours, peers, apart = 5*time.Second, 5*time.Second, false
		}
		steps = append(steps, step{s, ours, peers, apart})
	}

	contended := scenario("contended")
	clients := []int{1, 2, 4, 8, 16, 32, 64, 128}
	holds := []time.Duration{10 * time.Millisecond, time.Second, 10 * time.Second}
	if quick {
		clients, holds = []int{1, 8, 32}, holds[:1]
	}
	for _, n := range clients {
		contended.Procs, contended.Hold = n, sweepHold
		turns := time.Duration(n) * 450 * time.Millisecond // three each, and who is fair can be told
		add(contended, max(15*time.Second, turns), max(30*time.Second, turns), true)
	}
	for _, hold := range holds {
		contended.Procs, contended.Hold = sweepAt, hold
		long := max(30*time.Second, 2*sweepAt*hold) // two each
		add(contended, long, long, hold < time.Second)
	}

	for _, s := range harness.Scenarios {
		switch s.Name {
		case "contended": // is above
		case "sparse", "crash", "election/failover":
			if !quick {
				add(s, 45*time.Second, 45*time.Second, false)
			}
		case "slow":
			add(s, 30*time.Second, 30*time.Second, false)
		case "unlimited":
			add(s, 15*time.Second, 15*time.Second, true)
		default:
			add(s, 10*time.Second, 20*time.Second, true)
		}
	}
	return steps
}

func scenario(name string) harness.Scenario {
	i := slices.IndexFunc(harness.Scenarios, func(s harness.Scenario) bool { return s.Name == name })
	return harness.Scenarios[i]
}

// rounds returns the locks that are measured at the same time, round after round.
func (s step) rounds(locks []harness.Lock) [][]harness.Lock {
	switch {
	case !s.apart:
		return [][]harness.Lock{locks}
	case s.scenario.Name == "unlimited" || s.scenario.Kind != harness.Mutex: // nobody is held up: each for itself
		var each [][]harness.Lock
		for _, l := range locks {
			each = append(each, []harness.Lock{l})
		}
		return each
	default:
		return [][]harness.Lock{locks[:1], locks[1:]}
	}
}

// duration is how long a lock is measured.
func (s step) duration(l harness.Lock) time.Duration {
	if l.Name() == ours {
		return s.ours
	}
	return s.peers
}

// takes is how long a round takes, roughly: clients are made, warm up, are measured and drain.
func (s step) takes(round []harness.Lock) time.Duration {
	d := harness.WarmUp + time.Second + time.Duration(s.scenario.Procs)*20*time.Millisecond + s.scenario.Hold
	var most time.Duration
	for _, l := range round {
		if supports(l, s.scenario.Kind) {
			most = max(most, s.duration(l))
		}
	}
	if most == 0 {
		return 0
	}
	return d + most
}

const ours = "gcsync"

// supports reports whether a lock has something of the kind, as far as is known beforehand.
func supports(l harness.Lock, k harness.Kind) bool {
	return k == harness.Mutex || l.Name() == ours || k == harness.Election && l.Name() == etcd{}.Name()
}
