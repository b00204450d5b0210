package object

import (
	"errors"
	"strconv"
	"sync/atomic"

	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/status"

	"github.com/gcsync/gcsync/tracing"
)

// Usage counts the requests of a store by what they cost. Prices are per operation class, see
// https://cloud.google.com/storage/pricing#operations-pricing.
type Usage struct {
	ClassA    int64 // creates, patches and listings that were answered with success
	ClassB    int64 // reads that were answered with success
	Free      int64 // deletes, and every request that failed
	Throttled int64 // of the free ones: those answered 429
	Unknown   int64 // of the free ones: those without an answer; the service may have charged for them
	Resolved  int64 // writes without an answer that a read-back showed to be ours
}

type counters struct {
	classA, classB, free, throttled, unknown, resolved atomic.Int64
}

// Sub returns what was requested since the usage was u.
func (u Usage) Sub(since Usage) Usage {
	return Usage{
		ClassA:    u.ClassA - since.ClassA,
		ClassB:    u.ClassB - since.ClassB,
		Free:      u.Free - since.Free,
		Throttled: u.Throttled - since.Throttled,
		Unknown:   u.Unknown - since.Unknown,
		Resolved:  u.Resolved - since.Resolved,
	}
}

// priceOf returns the price class of a request that ended with the outcome.
func priceOf(op string, o Outcome) string {
	switch {
	case o != Applied || op == opDelete:
		return tracing.Free
	case op == opGet:
		return tracing.ClassB
	}
	return tracing.ClassA
}

func (c *counters) count(price string, o Outcome) {
	switch price {
	case tracing.ClassA:
		c.classA.Add(1)
	case tracing.ClassB:
		c.classB.Add(1)
	default:
		c.free.Add(1)
	}
	switch o {
	case Busy:
		c.throttled.Add(1)
	case Indeterminate:
		c.unknown.Add(1)
	}
}

// count notes a request that was answered, or was not: in the usage of the store, of what it was derived from, and for
// whoever watches the client.
func (s *Store) count(op, name string, o Outcome, err error) {
	price := priceOf(op, o)
	s.usage.count(price, o)
	if s.tally != nil {
		s.tally.count(price, o)
	}
	s.tell.Requested(price, o == Busy, func() string { return codeOf(err) })
	if o == Busy {
		s.throttle.refused(s, op, name)
	}
}

// resolved notes that a write without an answer was found to be ours.
func (s *Store) resolved() {
	s.usage.resolved.Add(1)
	if s.tally != nil {
		s.tally.resolved.Add(1)
	}
	s.tell.Resolved()
}

// codeOf names the answer to a request: ok, the status of an error, or none if there was no answer.
func codeOf(err error) string {
	if err == nil {
		return "ok"
	}
	var g *googleapi.Error
	if errors.As(err, &g) {
		return strconv.Itoa(g.Code)
	}
	var spoken interface{ GRPCStatus() *status.Status }
	if errors.As(err, &spoken) {
		return spoken.GRPCStatus().Code().String()
	}
	return "none"
}

// Usage returns what the store, and all that were derived from it, have requested so far. Of a store that keeps its own
// count ([Store.Counted]) it is what went through that one alone.
func (s *Store) Usage() Usage {
	c := s.usage
	if s.tally != nil {
		c = s.tally
	}
	return Usage{
		ClassA:    c.classA.Load(),
		ClassB:    c.classB.Load(),
		Free:      c.free.Load(),
		Throttled: c.throttled.Load(),
		Unknown:   c.unknown.Load(),
		Resolved:  c.resolved.Load(),
	}
}

// Counted returns the same store with a count of its own besides the common one.
func (s *Store) Counted() *Store {
	t := *s
	t.tally = new(counters)
	return &t
}
