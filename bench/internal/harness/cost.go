package harness

import (
	"fmt"
	"time"
)

// Bounds of what one goroutine that wants the lock requests. Who acquires makes one request after the other, and no bucket
// answers in less than five milliseconds; who waits asks less often. The simulated service, slower than that, counts 60 a
// second at most. A tenth of the requests are of class A at most, those of an uncontended lock a third.
const (
	requestsPerSecond = 200
	shareOfClassA     = 0.34
)

// estimate bounds what a run against a real bucket costs, in dollars, and says how long it takes.
func estimate(runs []run, warmUp, measure time.Duration) (dollars float64, d time.Duration) {
	for _, r := range runs {
		requests := float64(r.scenario.players()) * requestsPerSecond * (warmUp + measure).Seconds()
		dollars += requests * (shareOfClassA*priceClassA + (1-shareOfClassA)*priceClassB) / 1e6
		d += warmUp + measure
	}
	return dollars, d
}

func (set *settings) consent(runs []run) error {
	dollars, d := estimate(runs, set.warmUp(), set.duration)
	text := fmt.Sprintf("%d runs against %s take about %v and cost at most $%.2f, at $%g and $%g a million requests of class A and B",
		len(runs), set.bucket, d.Round(time.Second), dollars, priceClassA, priceClassB)
	if !set.yes {
		return fmt.Errorf("%s: say -yes if that is all right", text)
	}
	fmt.Fprintf(set.stderr, "bench: %s.\n", text)
	return nil
}
