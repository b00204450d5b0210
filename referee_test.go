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
//  1. those who believe that they hold a name never have more slots than there are;
//  2. tokens grow from grant to grant, if there is one slot;
//  3. a ticket is deleted only after the one before it, and the tail never;
//  4. the object that a lease is on is deleted only when its holder does not believe any more.
type referee struct {
	w  *world
	mu sync.Mutex

	believers map[string][]*belief
	histories map[string]*history
	rows      map[string]*row
}

type belief struct {
	m      *machine
	hold   hold
	weight int64
	grant  int // the operation that it came from
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

// acquiring is called before a machine tries to get some slots of a name. The function that it returns is called with
// what came of it; it returns that, or nil if the machine has died meanwhile.
func (r *referee) acquiring(m *machine, name string, weight int64) func(hold) hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.history(name).call(m.id, 0, weight)
	return func(h hold) hold {
		r.mu.Lock()
		defer r.mu.Unlock()
		if h == nil || m.ctx.Err() != nil {
			r.history(name).cancel(id)
			return nil
		}
		r.w.logf("machine %d %s: has it, token %d, weight %d", m.id, name, h.Token(), weight)
		r.history(name).answer(m.id, id, h.Token())
		r.believers[name] = append(r.believers[name], &belief{m, h, weight, id})
		r.count(name)
		return h
	}
}

// count compares what everybody believes to have of a name with what there is. r.mu is held.
func (r *referee) count(name string) {
	var sum int64
	var who []string
	for _, b := range r.believers[name] {
		if b.hold.Err() == nil {
			sum += b.weight
			who = append(who, fmt.Sprintf("machine %d", b.m.id))
		}
	}
	if sum > r.w.kind.slots {
		r.fail("%s: %s hold %d of %d", name, strings.Join(who, " and "), sum, r.w.kind.slots)
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
			id := r.history(name).call(m.id, b.grant, b.weight)
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.history(name).answer(m.id, id, 0)
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
		r.histories[name] = &history{slots: r.w.kind.slots}
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
				id := r.history(name).call(m.id, b.grant, b.weight)
				r.history(name).answer(m.id, id, 0)
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
	_, path, _ := strings.Cut(rec.Name, "/") // past the prefix of all objects
	name, record, _ := strings.Cut(path, "/")

	r.mu.Lock()
	defer r.mu.Unlock()
	num, ok := strings.CutPrefix(record, "t/")
	if !ok {
		if rec.Kind == gcstest.Delete {
			r.deleted(name, record)
		}
		return
	}
	n, _ := strconv.ParseInt(num, 10, 64)
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
		r.deleted(name, record)
	}
}

// deleted is called when a record of a name is no more. r.mu is held.
func (r *referee) deleted(name, record string) {
	q := r.rows[name]
	if q == nil {
		return
	}
	for _, b := range r.believers[name] {
		if b.hold.record(q.base) == record && b.hold.Err() == nil {
			r.fail("%s: %s of machine %d was deleted while it believed", name, record, b.m.id)
		}
	}
}
