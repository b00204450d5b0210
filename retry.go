package gcsync

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/gcsync/gcsync/internal/object"
)

// Backoff makes the pauses between the attempts of one call: a fresh policy for each, because a policy has state and is
// not safe for concurrent use. [backoff.BackOff] is its interface; any policy of that package will do.
//
// When a policy gives up ([backoff.Stop]), the call fails with the error of the last attempt, and what it had begun is
// left to its lease. A lease that is held is renewed regardless, for as long as there is time.
type Backoff func() backoff.BackOff

// DefaultBackoff is the policy of a client that is given none: 100 ms at first, half as much again each time up to 2 s,
// each spread by half so that clients do not retry in step, and never an end, which is for the context to set
// (https://cloud.google.com/storage/docs/retry-strategy).
func DefaultBackoff() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMultiplier(1.5),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(0), // the package's own default gives up after 15 minutes
	)
}

// internal hands the policy down: the layers below know only the method that they call.
func (b Backoff) internal() func() object.Backoff {
	if b == nil {
		b = DefaultBackoff
	}
	return func() object.Backoff { return b() }
}
