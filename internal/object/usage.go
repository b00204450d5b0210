package object

import "sync/atomic"

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

func (c *counters) count(op string, o Outcome) {
	switch {
	case o != Applied || op == opDelete:
		c.free.Add(1)
	case op == opGet:
		c.classB.Add(1)
	default:
		c.classA.Add(1)
	}
	switch o {
	case Busy:
		c.throttled.Add(1)
	case Indeterminate:
		c.unknown.Add(1)
	}
}

// Usage returns what the store, and all that were derived from it, have requested so far.
func (s *Store) Usage() Usage {
	c := s.usage
	return Usage{
		ClassA:    c.classA.Load(),
		ClassB:    c.classB.Load(),
		Free:      c.free.Load(),
		Throttled: c.throttled.Load(),
		Unknown:   c.unknown.Load(),
		Resolved:  c.resolved.Load(),
	}
}
