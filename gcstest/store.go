package gcstest

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// store is the state of the service. It has no lock and no clock of its own:
// the server calls its methods one at a time and says what time it is.
type store struct {
	buckets  map[string]*bucket
	limits   *limiter
	rng      *rand.Rand
	lastGen  int64
	sessions sessions
}

type bucket struct {
	BucketConfig
	name           string
	created        time.Time
	updated        time.Time
	metageneration int64
	objects        map[string]*object
	names          []string // of the live objects, sorted
}

func newStore(m Model) *store {
	return &store{
		buckets: make(map[string]*bucket),
		limits:  newLimiter(m),
		rng:     rand.New(rand.NewPCG(m.Seed, 2)),
	}
}

// configure creates a bucket or replaces the configuration of one.
func (st *store) configure(name string, cfg BucketConfig, now time.Time) *bucket {
	b := st.buckets[name]
	if b == nil {
		b = &bucket{name: name, created: now, objects: make(map[string]*object)}
		st.buckets[name] = b
	}
	b.BucketConfig = cfg
	b.updated = now
	b.metageneration++
	return b
}

// generation returns a new generation: about the time in microseconds, and
// always a random step above any before, so that nobody comes to rely on its
// steps.
func (st *store) generation(now time.Time) int64 {
	st.lastGen = max(now.UnixMicro(), st.lastGen+1+st.rng.Int64N(1000))
	return st.lastGen
}

// put stores an object under its name.
func (b *bucket) put(o *object) {
	if _, ok := b.objects[o.name]; !ok {
		i, _ := slices.BinarySearch(b.names, o.name)
		b.names = slices.Insert(b.names, i, o.name)
	}
	b.objects[o.name] = o
}

// remove deletes the object of that name.
func (b *bucket) remove(name string) {
	delete(b.objects, name)
	if i, ok := slices.BinarySearch(b.names, name); ok {
		b.names = slices.Delete(b.names, i, i+1)
	}
}

// outcome is what came of a call.
type outcome struct {
	err    *apiError
	object *object
	retain time.Duration // the bucket's retention period
	bucket *bucket       // a copy, free to be read later
	page   *page
	upload *progress
	list   []*bucket

	permissions []string
}

func failed(err *apiError) outcome { return outcome{err: err} }

// status returns the HTTP status that stands for the outcome.
func (o *outcome) status(c *call) int {
	switch {
	case o.err != nil:
		return o.err.status
	case o.upload != nil:
		return o.upload.status()
	case c.empty:
		return http.StatusNoContent
	case o.object != nil && c.span != nil:
		return http.StatusPartialContent
	default:
		return http.StatusOK
	}
}

// open finds the bucket of a call and checks the caller's permission.
func (st *store) open(c *call, permission string, write bool) (*bucket, *apiError) {
	b := st.buckets[c.bucket]
	switch {
	case b == nil:
		return nil, noBucket()
	case !b.allows(permission, write):
		return nil, denied(permission)
	}
	return b, nil
}

// live finds the object that a call addresses.
func (b *bucket) live(c *call) (*object, *apiError) {
	o := b.objects[c.name]
	if o == nil || c.generation >= 0 && c.generation != o.generation {
		return nil, noObject(b.name, c.name)
	}
	return o, nil
}

// copyOf returns the bucket's attributes without its objects.
func (b *bucket) copyOf() *bucket {
	c := *b
	c.objects, c.names = nil, nil
	return &c
}

// from returns the live names from a prefix and an offset on.
func (b *bucket) from(prefix, start string) []string {
	i, _ := slices.BinarySearch(b.names, max(prefix, start))
	return b.names[i:]
}

// snapshot copies the objects under a prefix for the outside.
func (b *bucket) snapshot(prefix string) []Object {
	var out []Object
	for _, name := range b.from(prefix, "") {
		if !strings.HasPrefix(name, prefix) {
			break
		}
		out = append(out, b.objects[name].export())
	}
	return out
}
