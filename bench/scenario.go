package main

import (
	"fmt"
	"strings"
	"time"
)

// A scenario is one line of the table: who wants the lock, how often, and for how long.
type scenario struct {
	name  string
	about string // the question that it answers

	procs      int           // clients, each with a storage client of its own
	goroutines int           // that want the lock, of each client
	hold       time.Duration // how long the lock is held
	pause      time.Duration // between Unlock and the next Lock of a goroutine

	solo   bool // there is one client with one goroutine, whatever the command line says
	fresh  bool // every acquisition is the first of a new client
	linger bool // a name that was unlocked may be kept for a moment, as it is by default
}

// scenarios in the order in which they run. A name with a slash is a variant of the scenario before the slash.
var scenarios = []scenario{
	{
		name: "uncontended", about: "what Lock and Unlock cost a client that uses the lock often (linger off)",
		procs: 1, goroutines: 1, solo: true,
	},
	{
		name: "uncontended/cold", about: "the same for a client that takes the lock for the first time",
		procs: 1, goroutines: 1, solo: true, fresh: true,
	},
	{
		name: "uncontended/relock", about: "the same for a client that locks again within the linger, 10 ms later",
		procs: 1, goroutines: 1, solo: true, linger: true, pause: 10 * time.Millisecond,
	},
	{
		name: "contended", about: "8 clients that all want the lock all the time, for 100 ms each",
		procs: 8, goroutines: 1, hold: 100 * time.Millisecond, linger: true,
	},
	{
		name: "local", about: "8 clients with 8 goroutines each, for 10 ms each: what handing on inside a client gains",
		procs: 8, goroutines: 8, hold: 10 * time.Millisecond, linger: true,
	},
}

// choose returns the scenarios of a list of names separated by commas, with their variants; all for an empty list.
func choose(names string) ([]scenario, error) {
	if names == "" {
		return scenarios, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, s := range scenarios {
			if s.name == name || strings.HasPrefix(s.name, name+"/") {
				chosen, found = append(chosen, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no scenario %q: there are %s", name, strings.Join(scenarioNames(), ", "))
		}
	}
	return chosen, nil
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// with returns the scenario with what the command line changes about it.
func (s scenario) with(set *settings) scenario {
	if set.hold >= 0 {
		s.hold = set.hold
	}
	if s.solo {
		return s
	}
	if set.procs > 0 {
		s.procs = set.procs
	}
	if set.goroutines > 0 {
		s.goroutines = set.goroutines
	}
	return s
}
