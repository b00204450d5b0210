package gcsync_test

import (
	"strconv"
	"strings"
	"sync"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// referee knows what everybody believes and what the bucket holds, and objects when they break an invariant:
//
//  1. at most one believes that it holds a name;
//  2. tokens grow from grant to grant;
//  3. a ticket is deleted only after the one before it, and the tail never;
//  4. a baton is deleted only when its holder does not believe any more.
type referee struct {
	w  *world
	mu sync.Mutex

	believers map[string][]*belief
	tokens    map[string]int64
	rows      map[string]*row
}

type belief struct {
	m     *machine
	lease *lease.Lease
}

// row is the legitimate tickets of one queue: those that were the tail's successor when they were made.
type row struct {
	base int64           // what tickets add to their number to make a token
	tail int64           // the highest number; -1: none yet
	gens map[int64]int64 // of those that are there
}

func newReferee(w *world) *referee {
	return &referee{w: w, believers: make(map[string][]*belief), tokens: make(map[string]int64), rows: make(map[string]*row)}
}

func (r *referee) fail(format string, args ...any) {
	r.w.logf("VIOLATION: "+format, args...)
	r.w.t.Errorf("seed %d: "+format, append([]any{r.w.seed}, args...)...)
}

// granted is called when a machine believes to have got a name. It returns the channel that tells of the loss, or nil
// if the machine has died meanwhile.
func (r *referee) granted(m *machine, name string, mu *gcsync.Mutex) <-chan struct{} {
	l := mu.Lease()
	r.mu.Lock()
	defer r.mu.Unlock()
	if l == nil || m.ctx.Err() != nil {
		return nil
	}
	r.w.logf("machine %d %s: has it, token %d", m.id, name, l.Token())
	if last := r.tokens[name]; l.Token() <= last {
		r.fail("%s: token %d of machine %d after %d", name, l.Token(), m.id, last)
	}
	r.tokens[name] = l.Token()
	for _, b := range r.believers[name] {
		if b.lease.Err() == nil && l.Err() == nil {
			r.fail("%s: machine %d and machine %d both hold it", name, b.m.id, m.id)
		}
	}
	r.believers[name] = append(r.believers[name], &belief{m, l})
	return l.Done()
}

func (r *referee) released(m *machine, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.believers[name][:0]
	for _, b := range r.believers[name] {
		if b.m != m {
			kept = append(kept, b)
		}
	}
	r.believers[name] = kept
	r.w.logf("machine %d %s: gives it back", m.id, name)
}

// forget is called when a machine is no more.
func (r *referee) forget(m *machine) {
	m.stop()
	for _, name := range r.w.names {
		r.released(m, name)
	}
}

// observe is called by the service at every commit, in order.
func (r *referee) observe(rec gcstest.Record) {
	if rec.Status/100 != 2 || rec.Kind != gcstest.Insert && rec.Kind != gcstest.Delete {
		return
	}
	dir, num, ok := strings.Cut(rec.Name, "/t/")
	if !ok {
		return
	}
	n, _ := strconv.ParseInt(num, 10, 64)
	name := dir[strings.LastIndex(dir, "/")+1:]

	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.rows[name]
	if q == nil {
		q = &row{tail: -1, gens: make(map[int64]int64)}
		r.rows[name] = q
	}
	switch rec.Kind {
	case gcstest.Insert:
		prev, _ := strconv.ParseInt(rec.Metadata["prev"], 10, 64)
		if n == q.tail+1 && (n == 0 || q.gens[n-1] == prev) {
			q.tail, q.gens[n] = n, rec.Generation
			if n == 1 {
				q.base, _ = strconv.ParseInt(rec.Metadata["base"], 10, 64)
			}
			r.w.logf("%s: ticket %d by %s", name, n, rec.Metadata["owner"])
		} else {
			r.w.logf("%s: ghost ticket %d by %s", name, n, rec.Metadata["owner"])
		}
	case gcstest.Delete:
		if q.gens[n] != rec.Generation {
			r.w.logf("%s: ghost ticket %d deleted", name, n)
			return
		}
		r.w.logf("%s: ticket %d deleted", name, n)
		if n == q.tail {
			r.fail("%s: ticket %d is the tail and was deleted", name, n)
		}
		if _, there := q.gens[n-1]; there {
			r.fail("%s: ticket %d was deleted before ticket %d", name, n, n-1)
		}
		delete(q.gens, n)
		for _, b := range r.believers[name] {
			if b.lease.Token()>>20 == q.base+n+1 && b.lease.Err() == nil {
				r.fail("%s: the baton of machine %d was deleted while it believed", name, b.m.id)
			}
		}
	}
}
