package lease

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// DefaultBackoff is the policy of calls that are given none: 100 ms at first, half as much again each time up to 2 s,
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
