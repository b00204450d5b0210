package gcsync

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// Backoff makes the pauses between the attempts of one call: a fresh policy for each, because a policy has state and is
// not safe for concurrent use. [backoff.BackOff] is its interface; any policy of that package will do.
//
// When a policy gives up ([backoff.Stop]), the call fails with the error of the last attempt, and what it had begun is
// left to its lease. A lease that is held is renewed regardless, for as long as there is time. Pauses shorter than 10 ms
// are made that long.
type Backoff func() backoff.BackOff

// DefaultBackoff is the policy of a client that is given none, the same as [lease.DefaultBackoff]: it never gives up,
// which is for the context to do.
func DefaultBackoff() backoff.BackOff { return lease.DefaultBackoff() }

// internal hands the policy down: the layers below know only the method that they call.
func (b Backoff) internal() func() object.Backoff {
	if b == nil {
		b = DefaultBackoff
	}
	return func() object.Backoff { return &retries{policy: b} }
}

// retries is the policy of one call, made when the first pause is needed: most calls need none.
type retries struct {
	policy Backoff
	state  backoff.BackOff
}

func (r *retries) NextBackOff() time.Duration {
	if r.state == nil {
		r.state = r.policy()
	}
	return r.state.NextBackOff()
}
