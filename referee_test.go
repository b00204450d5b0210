package gcsync_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/anishathalye/porcupine"

	"github.com/gcsync/gcsync/gcstest"
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
	histories map[string]*history
	rows      map[string]*row
}

type belief struct {
	m     *machine
	hold  hold
	grant int // the operation that it came from
}

// row is the legitimate tickets of one queue: those that were the tail's successor when they were made.
type row struct {
	base int64           // what tickets add to their number to make a token
	tail int64           // the highest number; -1: none yet
	gens map[int64]int64 // of those that are there
}

func newReferee(w *world) *referee {
	return &referee{w: w, believers: make(map[string][]*belief), histories: make(map[string]*history), rows: make(map[string]*row)}
}

func (r *referee) fail(format string, args ...any) {
	r.w.logf("VIOLATION: "+format, args...)
	r.w.convict(fmt.Sprintf(format, args...))
}

// acquiring is called before a machine tries to get a name. The function that it returns is called with what came of
// it; it returns that, or nil if the machine has died meanwhile.
func (r *referee) acquiring(m *machine, name string) func(hold) hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.history(name).call(m.id, operation{})
	return func(h hold) hold {
		r.mu.Lock()
		defer r.mu.Unlock()
		if h == nil || m.ctx.Err() != nil {
			r.history(name).answer(m.id, id, 0, 0)
			return nil
		}
		r.w.logf("machine %d %s: has it, token %d", m.id, name, h.Token())
		grant := r.history(name).answer(m.id, id, id, h.Token())
		for _, b := range r.believers[name] {
			if b.hold.Err() == nil && h.Err() == nil {
				r.fail("%s: machine %d and machine %d both hold it", name, b.m.id, m.id)
			}
		}
		r.believers[name] = append(r.believers[name], &belief{m, h, grant})
		return h
	}
}

// releasing is called when a machine gives a name back, and the function that it returns when that is done.
func (r *referee) releasing(m *machine, name string, h hold) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.logf("machine %d %s: gives it back, %v", m.id, name, h.Err())
	for i, b := range r.believers[name] {
		if b.m == m && b.hold == h {
			r.believers[name] = slices.Delete(r.believers[name], i, i+1)
			id := r.history(name).call(m.id, operation{ends: b.grant})
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.history(name).answer(m.id, id, 0, 0)
			}
		}
	}
	return func() {} // the machine has died meanwhile
}

// judge has the histories checked.
func (r *referee) judge() {
	for name, h := range r.histories {
		if verdict := h.check(); verdict != porcupine.Ok {
			r.fail("%s: the history is not that of a lock: %v", name, verdict)
		}
	}
}

func (r *referee) history(name string) *history {
	if r.histories[name] == nil {
		r.histories[name] = new(history)
	}
	return r.histories[name]
}

// forget is called when a machine is no more.
func (r *referee) forget(m *machine) {
	m.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, believers := range r.believers {
		for _, b := range believers {
			if b.m == m {
				id := r.history(name).call(m.id, operation{ends: b.grant})
				r.history(name).answer(m.id, id, 0, 0)
			}
		}
		r.believers[name] = slices.DeleteFunc(believers, func(b *belief) bool { return b.m == m })
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
			if b.hold.Token()>>20 == q.base+n+1 && b.hold.Err() == nil {
				r.fail("%s: the baton of machine %d was deleted while it believed", name, b.m.id)
			}
		}
	}
}
