package harness

import (
	"context"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// An Experiment is one run against a simulated service of its own.
type Experiment struct {
	Lock     Lock
	Scenario Scenario
	Model    gcstest.Model // which the scenario may change
	Duration time.Duration // measured, after the warm-up
}

// WarmUp is the time before the measurement.
const WarmUp = 2 * time.Second

// Run measures. It returns what was measured even if something failed or ctx ended on the way; nil if that was nothing.
func (e Experiment) Run(ctx context.Context) (*Result, error) {
	m := e.Model
	if e.Scenario.Service != nil {
		e.Scenario.Service(&m)
	}
	b := &bench{
		lock:    e.Lock,
		open:    func(context.Context) (*service, error) { return simulated(m) },
		warmUp:  WarmUp,
		measure: e.Duration,
		model:   m,
	}
	return b.run(ctx, e.Scenario, silent{})
}
