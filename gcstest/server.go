package gcstest

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Server is a simulated Cloud Storage service. It is an [http.Handler] for the
// part of the JSON API that the Go client uses for objects, and answers
// anything else with status 501. A Server may be used by any number of
// goroutines.
//
// Use [Server.Client] for a client without sockets, as a testing/synctest
// bubble needs it, and [Server.Listen] to serve on a real port.
type Server struct {
	latency  *latency
	inflight group

	mu      sync.Mutex // held while a request is decided, never while one takes its time
	store   *store
	counts  counters
	observe func(Record)
}

// New returns a server without buckets that behaves as the model says.
func New(m Model) *Server {
	return &Server{latency: newLatency(m), store: newStore(m)}
}

// CreateBucket creates a bucket. For one that exists it replaces the
// configuration and leaves the objects alone.
func (s *Server) CreateBucket(name string, cfg BucketConfig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store.configure(name, cfg, time.Now())
}

// ServeHTTP implements [http.Handler]. A request that has been read completely
// is carried out even if the caller goes away.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.inflight.enter() {
		http.Error(w, "gcstest: server closed", http.StatusServiceUnavailable)
		return
	}
	defer s.inflight.leave()
	body, err := readBody(r.Body, r.ContentLength)
	if err != nil {
		http.Error(w, "gcstest: the request is incomplete", http.StatusBadRequest)
		return
	}
	s.handle(r.Method, r.URL, r.Host, r.Header, body).writeTo(w)
}

// handle carries out a request: half of the latency on the way there, the
// decision, the other half on the way back.
func (s *Server) handle(method string, u *url.URL, host string, header http.Header, body []byte) *reply {
	c := parse(method, u, host, header, body)
	before, after := s.latency.draw()
	pause(before)
	out, at := s.decide(c)
	pause(after)
	return c.render(&out, at)
}

// pause sleeps, and does not yield for nothing.
func pause(d time.Duration) {
	if d > 0 {
		time.Sleep(d)
	}
}

// decide is the moment at which a request takes effect.
func (s *Server) decide(c *call) (outcome, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	out := c.run(s.store, c, now)
	status := out.status(c)
	kind := c.kind
	if out.upload != nil {
		kind = Other // a part of an upload costs nothing, its end does
	}
	s.counts.count(kind, status)
	if s.observe != nil {
		s.observe(c.record(kind, status, &out, now))
	}
	return out, now
}

func (c *call) record(kind Kind, status int, out *outcome, now time.Time) Record {
	r := Record{
		Time: now, Kind: kind, Bucket: c.bucket, Name: c.name, Status: status,
		IfGeneration: c.conds.generation, IfMetageneration: c.conds.metageneration,
	}
	if o := out.object; o != nil {
		r.Generation, r.Metageneration, r.Metadata = o.generation, o.metageneration, o.Metadata
	}
	return r
}

// Close refuses new requests and waits for those in flight, which are carried
// out whether or not their callers still wait.
func (s *Server) Close() {
	s.inflight.close()
	s.inflight.wait()
}

// Observe has fn called with every request at the moment the service decides on
// it, one at a time and in the order of the decisions. The function must return
// quickly and must not use the server. A nil fn ends the observation.
func (s *Server) Observe(fn func(Record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe = fn
}

// Stats returns the counts since the start or the last [Server.ResetStats].
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.stats()
}

// ResetStats sets all counts to zero.
func (s *Server) ResetStats() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = counters{}
}

// Object is a live object of a [Server], as [Server.Objects] returns it.
type Object struct {
	Name             string
	Generation       int64
	Metageneration   int64
	Metadata         map[string]string
	Content          []byte
	Created, Updated time.Time
}

func (o *object) export() Object {
	return Object{
		Name: o.name, Generation: o.generation, Metageneration: o.metageneration,
		Metadata: maps.Clone(o.Metadata), Content: slices.Clone(o.data),
		Created: o.created, Updated: o.updated,
	}
}

// Objects returns a copy of the live objects under a prefix, sorted by name. It
// takes no time and counts as no request. A bucket that does not exist has no
// objects.
func (s *Server) Objects(bucket, prefix string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.store.buckets[bucket]; b != nil {
		return b.snapshot(prefix)
	}
	return nil
}

// readBody reads a body of a length, which as in an http.Request is not known if
// it is not positive.
func readBody(body io.Reader, length int64) ([]byte, error) {
	switch {
	case body == nil, body == http.NoBody:
		return nil, nil
	case length > 0 && length <= 1<<20:
		buf := make([]byte, length)
		_, err := io.ReadFull(body, buf)
		return buf, err
	}
	return io.ReadAll(body)
}
