package gcstest

import (
	"net/http"
	"time"
)

// Stats counts the requests that a [Server] has answered.
type Stats struct {
	ClassA    int            // billed as class A: uploads, changes of metadata, listings
	ClassB    int            // billed as class B: reads of objects and of bucket attributes
	Free      int            // not billed: deletions, failed calls, administration, parts of uploads
	Throttled int            // refused with status 429
	Failed    int            // answered with any status from 400 up, 429 included
	ByOp      map[string]int // all requests by the name of their [Kind]
}

// Record tells an observer of a [Server] about one request at the moment the
// service decided on it.
type Record struct {
	Time   time.Time
	Kind   Kind
	Bucket string
	Name   string // of the object, or the prefix of a listing

	IfGeneration     int64 // ifGenerationMatch, or -1 if the request had none
	IfMetageneration int64 // ifMetagenerationMatch, or -1 if the request had none

	Status int // of the answer

	// Generation and Metageneration are those of the object after the request,
	// of the deleted object for a deletion, and 0 if there is none to speak of.
	Generation, Metageneration int64

	// Metadata is the custom metadata of the object. It may be kept but must
	// not be changed.
	Metadata map[string]string
}

// counters collects what Stats reports, without a map on the way.
type counters struct {
	class             [classB + 1]int
	throttled, failed int
	kind              [kinds]int
}

func (c *counters) count(k Kind, status int) {
	c.kind[k]++
	switch {
	case status >= http.StatusBadRequest:
		c.class[free]++
		c.failed++
		if status == http.StatusTooManyRequests {
			c.throttled++
		}
	default:
		c.class[k.price()]++
	}
}

func (c *counters) stats() Stats {
	s := Stats{
		ClassA: c.class[classA], ClassB: c.class[classB], Free: c.class[free],
		Throttled: c.throttled, Failed: c.failed, ByOp: make(map[string]int),
	}
	for k, n := range c.kind {
		if n > 0 {
			s.ByOp[Kind(k).String()] = n
		}
	}
	return s
}
