package harness

import (
	"fmt"
	"strings"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// A Scenario is one line of the table: who wants what, how often, and for how long.
type Scenario struct {
	Name  string
	About string // the question that it answers

	Procs      int           // clients, each with a storage client of its own
	Goroutines int           // that want the lock, of each client
	Hold       time.Duration // how long the lock is held
	Pause      time.Duration // between Unlock and the next Lock of a goroutine

	Kind     Kind
	Capacity int64 // of a semaphore
	Writers  int   // players that want a RWMutex to write; the others read

	Solo    bool                 // there is one client with one goroutine, whatever the command line says
	Fresh   bool                 // every acquisition is the first of a new client
	Names   int                  // that the new clients take in turn, so that each has rested; 0: one
	Linger  bool                 // a name that was unlocked may be kept for a moment, as it is by default
	Crash   int                  // one holder of so many vanishes, the first after the warm-up above all; 0: none
	Extra   bool                 // not among the scenarios that run when none is chosen
	Service func(*gcstest.Model) // what it changes about the simulated service
}

// Scenarios in the order in which they run. A name with a slash is a variant of the scenario before the slash.
var Scenarios = []Scenario{
	{
		Name: "uncontended", About: "what Lock and Unlock cost a client that uses the lock often (linger off)",
		Procs: 1, Goroutines: 1, Solo: true,
	},
	{
		Name: "uncontended/cold", About: "the same for a client that takes a lock for the first time, one of 32 that have rested",
		Procs: 1, Goroutines: 1, Solo: true, Fresh: true, Names: 32,
	},
	{
		Name: "uncontended/relock", About: "the same for a client that locks again within the linger, 10 ms later",
		Procs: 1, Goroutines: 1, Solo: true, Linger: true, Pause: 10 * time.Millisecond,
	},
	{
		Name: "contended", About: "8 clients that all want the lock all the time, for 100 ms each: how fast it changes hands, and who gets it",
		Procs: 8, Goroutines: 1, Hold: 100 * time.Millisecond, Linger: true,
	},
	{
		Name: "local", About: "8 clients with 8 goroutines each, for 10 ms each: what handing on inside a client gains",
		Procs: 8, Goroutines: 8, Hold: 10 * time.Millisecond, Linger: true,
	},
	{
		Name: "sparse", About: "4 cron jobs, new processes each time, that come every 10 s: what a lock costs that is mostly free",
		Procs: 4, Goroutines: 1, Hold: 10 * time.Millisecond, Pause: 10 * time.Second, Fresh: true, Linger: true, Extra: true,
	},
	{
		Name: "crash", About: "of 100 holders one vanishes, the first right away: how long it keeps the others out",
		Procs: 8, Goroutines: 1, Hold: 100 * time.Millisecond, Linger: true, Crash: 100, Extra: true,
	},
	{
		Name: "throttled", About: "contended, at a service that forgives no burst: is any speed owed to its lenience?",
		Procs: 8, Goroutines: 1, Hold: 100 * time.Millisecond, Linger: true, Extra: true,
		Service: func(m *gcstest.Model) { m.Rate, m.Burst = 1, 1 },
	},
	{
		Name: "unlimited", About: "contended, at a service without a limit of changes: is anything left when the limit goes?",
		Procs: 8, Goroutines: 1, Hold: 100 * time.Millisecond, Linger: true, Extra: true,
		Service: func(m *gcstest.Model) { m.Rate = 0 },
	},
	{
		Name: "slow", About: "contended, 200 ms a request: what distance to the bucket costs",
		Procs: 8, Goroutines: 1, Hold: 100 * time.Millisecond, Linger: true, Extra: true,
		Service: func(m *gcstest.Model) { m.Median, m.P99 = 200*time.Millisecond, 800*time.Millisecond },
	},
	{
		Name: "semaphore", About: "16 clients that want one of 4 permits, for 100 ms each: how near to 4 at once it comes",
		Procs: 16, Goroutines: 1, Hold: 100 * time.Millisecond, Linger: true, Kind: Semaphore, Capacity: 4, Extra: true,
	},
	{
		Name: "rwmutex", About: "15 readers and a writer, for 100 ms each: do readers share, and does the writer get in?",
		Procs: 16, Goroutines: 1, Hold: 100 * time.Millisecond, Linger: true, Kind: RWMutex, Writers: 1, Extra: true,
	},
	{
		Name: "once", About: "200 clients start together, one of them does the work of 100 ms: when does the last one know?",
		Procs: 200, Goroutines: 1, Hold: 100 * time.Millisecond, Kind: Once, Extra: true,
	},
	{
		Name: "election", About: "5 candidates, terms of 500 ms, then the leader resigns: for how long does nobody lead?",
		Procs: 5, Goroutines: 1, Hold: 500 * time.Millisecond, Kind: Election, Extra: true,
	},
	{
		Name: "election/failover", About: "the same, and one leader of 100 vanishes, the first right away",
		Procs: 5, Goroutines: 1, Hold: 500 * time.Millisecond, Kind: Election, Crash: 100, Extra: true,
	},
}

// Choose returns the scenarios of a list of names separated by commas, with their variants; "all" for every one, an
// empty list for those that tell most.
func Choose(names string) ([]Scenario, error) {
	var chosen []Scenario
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, s := range Scenarios {
			if name == "all" || name == "" && !s.Extra || s.Name == name || strings.HasPrefix(s.Name, name+"/") {
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
	for _, s := range Scenarios {
		names = append(names, s.Name)
	}
	return names
}

// variants returns the scenario with what the command line changes about it, once for each number of clients and each
// time to hold.
func (s Scenario) variants(set *settings) []Scenario {
	var all []Scenario
	holds, procs := set.hold, set.procs
	if len(holds) == 0 {
		holds = []time.Duration{s.Hold}
	}
	if len(procs) == 0 || s.Solo {
		procs = []int{s.Procs}
	}
	if set.goroutines > 0 && !s.Solo && s.Crash == 0 && s.Kind != Once {
		s.Goroutines = set.goroutines
	}
	for _, s.Hold = range holds {
		for _, s.Procs = range procs {
			all = append(all, s)
		}
	}
	return all
}

// players is the number of goroutines that want the lock.
func (s Scenario) players() int { return s.Procs * s.Goroutines }

// capacity is how much of the lock there is, in units of the smallest share.
func (s Scenario) capacity() int64 {
	switch s.Kind {
	case Semaphore:
		return s.Capacity
	case RWMutex:
		return int64(s.players())
	default:
		return 1
	}
}

// want is what player i wants, and weight how much of the capacity that is.
func (s Scenario) want(i int) (w Want, weight int64) {
	w = Want{Kind: s.Kind, Capacity: s.Capacity, Shared: s.Kind == RWMutex && i >= s.Writers}
	if s.Kind == RWMutex && !w.Shared {
		return w, s.capacity()
	}
	return w, 1
}
