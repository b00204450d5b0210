package gcsync_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

// referee knows what everybody believes and what the bucket holds, and objects when they break an invariant:
//
//  1. those who believe that they hold a name never have more slots than there are;
//  2. tokens grow from grant to grant, if there is one slot;
//  3. a ticket is deleted only after the one before it, and the tail never;
//  4. the object that a lease is on is deleted only when its holder does not believe any more;
//  5. who is granted a name has a real ticket, whose baton is there, with nothing before it;
//  6. nobody's baton is taken from him before he was silent for his whole lease;
//  7. nobody believes longer than the lease that the others see, less the margin; counted from when they can first see it;
//  8. a lease is lost only when its time is over or its object is gone, and is not renewed after that;
//  9. while another process waits, a process does not keep the name to itself;
//  10. where nothing goes wrong, nobody is given up, and who closes a client costs the others nothing;
//  11. whoever learns that he has made a ghost removes it;
//  12. the dead cost those who live no more than a lease each;
//  13. no slot of a semaphore is free for long beside somebody who waits for one.
type referee struct {
	w  *world
	mu sync.Mutex

	believers map[string][]*belief
	histories map[string]*history
	rows      map[string]*row
	lost      map[string]lost // by the object that the lease was on
	queues    map[string]*crowd
}

// crowd is who waits for a semaphore, and which of its slots nobody has.
type crowd struct {
	waiting map[int]time.Time // calls for one slot, since when
	several int               // calls for several, or such as do not wait
	quiet   time.Time         // since when there are none
}

type belief struct {
	m        *machine
	hold     hold
	weight   int64
	grant    int  // the operation that it came from
	ending   bool // the operation that ends it has begun
	name     string
	parts    []*belief // of several slots, one in each
	gathered bool      // with others, for one call
}

// lost says who has lost a lease and when.
type lost struct {
	m  *machine
	at time.Time
}

// row is the legitimate tickets of one queue: those that were the tail's successor when they were made.
type row struct {
	base    int64 // what tickets add to their number to make a token
	tail    int64 // the highest number; -1: none yet
	tickets map[int64]*ticketSeen
	deleted time.Time      // when the last ticket was
	ghosts  map[string]int // the others that are there, by number and generation
}

// ticketSeen is a legitimate ticket that is there.
type ticketSeen struct {
	gen     int64
	owner   string
	made    time.Time
	changed time.Time // when it was made or last changed
	lease   time.Duration
	gone    bool      // its owner has given up
	passed  time.Time // when the name was first handed on within the process whose ticket it is
}

func newReferee(w *world) *referee {
	return &referee{w: w, believers: make(map[string][]*belief), histories: make(map[string]*history), rows: make(map[string]*row), lost: make(map[string]lost), queues: make(map[string]*crowd)}
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
	arrived := r.arrive(name, id, weight)
	slots := make(map[string]int) // any of them may be what it gets
	if r.w.kind.numbered {
		for i := range r.w.kind.slots {
			slot := slotName(name, i)
			slots[slot] = r.history(slot).call(m.id, 0, 1)
		}
	}
	return func(h hold) hold {
		r.mu.Lock()
		defer r.mu.Unlock()
		arrived()
		if h == nil || m.ctx.Err() != nil {
			r.history(name).cancel(id)
			for slot, id := range slots {
				r.history(slot).cancel(id)
			}
			return nil
		}
		r.w.logf("machine %d %s: has it, token %d, weight %d", m.id, name, h.Token(), weight)
		r.history(name).answer(m.id, id, h.Token())
		b := &belief{m: m, hold: h, weight: weight, grant: id, name: name}
		r.believers[name] = append(r.believers[name], b)
		if p, ok := h.(permit); ok {
			parts := p.parts(name)
			if int64(len(parts)) != weight {
				r.fail("%s: machine %d has %d slots and not %d", name, m.id, len(parts), weight)
			}
			for slot, id := range slots {
				part := parts[slot]
				if part == nil {
					r.history(slot).cancel(id)
					continue
				}
				r.history(slot).answer(m.id, id, part.Token())
				c := &belief{m: m, hold: part, weight: 1, grant: id, name: slot, gathered: weight > 1}
				b.parts = append(b.parts, c)
				r.believers[slot] = append(r.believers[slot], c)
				r.count(slot)
				r.granted(slot, c)
				r.bounded(slot)
			}
		}
		r.count(name)
		r.granted(name, b)
		r.bounded(name)
		return h
	}
}

// mostIdle is for how long a slot may be free beside somebody who waits for one, where nothing goes wrong.
const mostIdle = 5 * time.Second

// arrive notes a call for slots of a semaphore, and returns what notes its end: if all that time somebody had waited for one
// slot, and a slot was free that all may use, it was idle for too long. r.mu is held, then as well.
func (r *referee) arrive(name string, id int, weight int64) (ended func()) {
	if !r.w.kind.numbered || !r.w.plot.calm {
		return func() {}
	}
	q := r.queues[name]
	if q == nil {
		q = &crowd{waiting: make(map[int]time.Time)}
		r.queues[name] = q
	}
	if weight == 1 {
		q.waiting[id] = time.Now()
	} else {
		q.several++
	}
	return func() {
		r.idle(name, q)
		delete(q.waiting, id)
		if weight > 1 {
			q.several--
			q.quiet = time.Now()
		}
	}
}

// idle checks that no slot was free for long beside somebody who waits. r.mu is held.
func (r *referee) idle(name string, q *crowd) {
	if q.several > 0 {
		return // what they have gathered so far nobody believes in yet
	}
	first := time.Now()
	for _, since := range q.waiting {
		if since.Before(first) {
			first = since
		}
	}
	for i := range r.w.kind.slots - 1 { // some know of no more
		slot := slotName(name, i)
		if row := r.rows[slot]; len(r.believers[slot]) > 0 || row != nil && len(row.tickets) > 1 {
			continue
		}
		free := first
		if row := r.rows[slot]; row != nil {
			free = latest(free, row.deleted)
		}
		if since := time.Since(latest(free, q.quiet)); since > mostIdle {
			r.fail("%s was free for %v beside somebody who waits", slot, since)
		}
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
	if slots := r.slots(name); sum > slots {
		r.fail("%s: %s hold %d of %d", name, strings.Join(who, " and "), sum, slots)
	}
}

// slots is how many there are of a name; it may be that of one slot.
func (r *referee) slots(name string) int64 {
	if r.w.kind.numbered && strings.Contains(name, "/s/") {
		return 1
	}
	return r.w.kind.slots
}

// granted checks that a grant is due: that the ticket is the head of its row, and which turn of its process it is.
// r.mu is held.
func (r *referee) granted(name string, b *belief) {
	q, n := r.baton(name, b)
	if q == nil || b.hold.Err() != nil {
		return
	}
	own, baton := q.tickets[n+1], q.tickets[n]
	owner := ownerOf(b.m)
	if own == nil || own.owner != owner || baton == nil {
		r.fail("%s: machine %d was granted ticket %d without having it in the row", name, b.m.id, n+1)
		return
	}
	if before := q.tickets[n-1]; before != nil {
		r.fail("%s: machine %d was granted ticket %d though ticket %d is there", name, b.m.id, n+1, n-1)
	}
	next, now := q.tickets[n+2], time.Now()
	turn := b.hold.Token() & (1<<20 - 1)
	if turn > 0 && own.passed.IsZero() {
		own.passed = now
	}
	if turn == 0 || next == nil || !r.w.plot.calm || b.gathered {
		return // what was gathered was granted some time before its holder was told
	}
	// The process looks for a successor from its second turn on, at least each fifth of a second.
	known := latest(next.made, own.passed).Add(200*time.Millisecond + 700*time.Millisecond)
	if now.After(known) && (turn > 16 || now.Sub(own.passed) > time.Second) {
		r.fail("%s: machine %d had turn %d, %v after the first, though %s waits for %v", name, b.m.id, turn, now.Sub(own.passed), next.owner, now.Sub(next.made))
	}
}

func ownerOf(m *machine) string { return fmt.Sprintf("machine-%d", m.id) }

// baton finds the row and the number of the baton that a belief rests on; nil if it rests on something else. r.mu is held.
func (r *referee) baton(name string, b *belief) (*row, int64) {
	q := r.rows[name]
	if q == nil {
		return nil, 0
	}
	num, ok := strings.CutPrefix(b.hold.record(q.base), "t/")
	if !ok {
		return nil, 0
	}
	n, _ := strconv.ParseInt(num, 10, 64)
	return q, n
}

// bounded checks that nobody believes for longer than the others leave him in peace. r.mu is held.
func (r *referee) bounded(name string) {
	for _, b := range r.believers[name] {
		l, ok := b.hold.(interface{ Deadline() time.Time })
		q, n := r.baton(name, b)
		if !ok || q == nil || q.tickets[n] == nil || b.hold.Err() != nil {
			continue
		}
		t := q.tickets[n]
		if end := q.watched(n).Add(t.lease - lease.Margin(t.lease)); l.Deadline().After(end) {
			r.fail("%s: machine %d believes for %v too long", name, b.m.id, l.Deadline().Sub(end))
		}
	}
}

// watched returns since when the holder of baton n can have been seen to be the head, in the state in which the baton is.
func (q *row) watched(n int64) time.Time {
	since := latest(q.tickets[n].changed, q.deleted)
	if own := q.tickets[n+1]; own != nil {
		since = latest(since, own.made)
	}
	return since
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// releasing is called when a machine gives a name back or has lost it, and the function that it returns when that is done.
func (r *referee) releasing(m *machine, name string, h hold) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.logf("machine %d %s: gives it back, %v", m.id, name, h.Err())
	for _, b := range r.believers[name] {
		if b.m == m && b.ends(h) {
			ends := []func(){r.ending(b)}
			for _, part := range b.parts {
				ends = append(ends, r.ending(part))
			}
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				for _, end := range ends {
					end()
				}
			}
		}
	}
	return func() {} // the machine has died meanwhile
}

// ends reports whether the end of a hold ends the belief.
func (b *belief) ends(h hold) bool {
	p, ok := b.hold.(permit)
	if q, too := h.(permit); ok && too {
		return p.Permit == q.Permit
	}
	return b.hold == h
}

// ending begins to end a belief, and returns what does. r.mu is held, then as well.
func (r *referee) ending(b *belief) func() {
	r.bounded(b.name)
	r.lose(b.name, b)
	b.ending = true
	id := r.history(b.name).call(b.m.id, b.grant, b.weight)
	return func() {
		r.believers[b.name] = slices.DeleteFunc(r.believers[b.name], func(x *belief) bool { return x == b })
		r.history(b.name).answer(b.m.id, id, 0)
	}
}

// lose checks the reasons for a loss. r.mu is held.
func (r *referee) lose(name string, b *belief) {
	q, n := r.baton(name, b)
	if q == nil || !errors.Is(b.hold.Err(), gcsync.ErrLost) {
		return
	}
	if p, ok := b.hold.(slotHold); ok && len(p.slots) > 1 {
		return // it may be another of its slots that was lost, and this one is kept until it is given back
	}
	r.lost[name+"/"+b.hold.record(q.base)] = lost{b.m, time.Now()}
	l, ok := b.hold.(interface{ Deadline() time.Time })
	if !ok || q.tickets[n] == nil {
		return
	}
	// A clock that runs too fast ends the lease a little early.
	early := time.Until(l.Deadline())
	if early > time.Duration(float64(q.tickets[n].lease)*2*rateError) {
		r.fail("%s: machine %d has lost it %v too early, and for no reason: %v", name, b.m.id, early, b.hold.Err())
	}
}

// sending is called when a request leaves a machine.
func (r *referee) sending(m *machine, op gcstest.Op) {
	if op.Kind != gcstest.Patch {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name, record := taken(op.Name)
	record = r.record(name, record)
	if l, ok := r.lost[name+"/"+record]; ok && l.m == m && time.Now().After(l.at) {
		r.fail("machine %d renews %s %v after it has lost it", m.id, record, time.Since(l.at))
	}
}

// event is called when a machine takes a branch of the protocol.
func (r *referee) event(m *machine, e queue.Event) {
	if !r.w.plot.calm {
		return
	}
	switch e {
	case queue.EntryExpired:
		// A client that closes in haste cannot remove what it has just registered where a name takes one change a second.
		if r.w.kind.slots > 1 && r.w.strict {
			return
		}
		fallthrough
	case queue.ClaimExpired, queue.TTLExpired, queue.SilenceProven:
		r.fail("machine %d: %v, though nothing went wrong", m.id, e)
	}
}

// tidy checks that no ghost is left.
func (r *referee) tidy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, q := range r.rows {
		for ghost := range q.ghosts {
			r.fail("%s: ghost ticket %s was left behind", name, ghost)
		}
	}
}

// patience returns for how long somebody may have to wait for a name when nothing goes wrong any more: for the leases of
// all who are in the row, should they be dead, and for what may still be under way.
func (r *referee) patience(name string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := time.Minute
	if r.w.kind.slots > 1 {
		return 5 * wait // there may be others than those in the row
	}
	if q := r.rows[name]; q != nil {
		for _, t := range q.tickets {
			wait += t.lease * 11 / 10
		}
	}
	return wait
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
		r.histories[name] = &history{slots: r.slots(name)}
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
			if b.m == m && !b.ending {
				id := r.history(name).call(m.id, b.grant, b.weight)
				r.history(name).answer(m.id, id, 0)
			}
		}
		r.believers[name] = slices.DeleteFunc(believers, func(b *belief) bool { return b.m == m })
	}
}

// observe is called by the service at every commit, in order.
func (r *referee) observe(rec gcstest.Record) {
	if rec.Status/100 != 2 || rec.Kind == gcstest.List {
		return
	}
	name, record := taken(rec.Name)

	r.mu.Lock()
	defer r.mu.Unlock()
	num, ok := strings.CutPrefix(record, "t/")
	if !ok {
		if rec.Kind == gcstest.Delete {
			r.deleted(name, r.record(name, record))
		}
		return
	}
	n, _ := strconv.ParseInt(num, 10, 64)
	q := r.rows[name]
	if q == nil {
		q = &row{tail: -1, tickets: make(map[int64]*ticketSeen), ghosts: make(map[string]int)}
		r.rows[name] = q
	}
	switch rec.Kind {
	case gcstest.Insert:
		r.made(name, q, n, rec)
	case gcstest.Patch:
		if t := q.tickets[n]; t != nil && t.gen == rec.Generation {
			t.read(rec)
		}
	case gcstest.Delete:
		r.removed(name, q, n, rec)
		r.deleted(name, record)
	}
	r.bounded(name)
}

// taken takes the name of an object apart: the lock, or the slot, and what it is there.
func taken(object string) (name, record string) {
	_, path, _ := strings.Cut(object, "/") // past the prefix of all objects
	record = path[strings.LastIndex(path[:max(0, strings.LastIndex(path, "/"))], "/")+1:]
	return strings.TrimSuffix(strings.TrimSuffix(path, record), "/"), record
}

// record is what a hold on the object calls it: an entry goes by its token. r.mu is held.
func (r *referee) record(name, record string) string {
	entry, ok := strings.CutPrefix(record, "h/")
	num, nonce, reader := strings.Cut(entry, "-")
	if !ok || !reader || r.rows[name] == nil {
		return record
	}
	n, _ := strconv.ParseInt(num, 10, 64)
	return fmt.Sprintf("h/%d", queue.ReaderToken(r.rows[name].base+n, nonce))
}

// made is called when a ticket was created. r.mu is held.
func (r *referee) made(name string, q *row, n int64, rec gcstest.Record) {
	prev, _ := strconv.ParseInt(rec.Metadata["prev"], 10, 64)
	if n != q.tail+1 || n > 0 && (q.tickets[n-1] == nil || q.tickets[n-1].gen != prev) {
		r.w.logf("%s: ghost ticket %d by %s", name, n, rec.Metadata["owner"])
		q.ghosts[fmt.Sprintf("%d of generation %d", n, rec.Generation)]++
		return
	}
	r.w.logf("%s: ticket %d by %s", name, n, rec.Metadata["owner"])
	q.tail = n
	t := &ticketSeen{gen: rec.Generation, owner: rec.Metadata["owner"], made: rec.Time}
	t.read(rec)
	q.tickets[n] = t
	switch n {
	case 0:
		q.base = rec.Time.UnixMilli()
	case 1:
		q.base, _ = strconv.ParseInt(rec.Metadata["base"], 10, 64)
	}
}

// read notes the state in which a write has left a ticket.
func (t *ticketSeen) read(rec gcstest.Record) {
	key := "claim"
	if rec.Metadata["rn"] != "" {
		key = "ttl"
	}
	ms, _ := strconv.ParseInt(rec.Metadata[key], 10, 64)
	_, t.gone = rec.Metadata["abandoned"]
	t.changed, t.lease = rec.Time, time.Duration(ms)*time.Millisecond
}

// removed is called when a ticket was deleted. r.mu is held.
func (r *referee) removed(name string, q *row, n int64, rec gcstest.Record) {
	t := q.tickets[n]
	if t == nil || t.gen != rec.Generation {
		r.w.logf("%s: ghost ticket %d deleted", name, n)
		delete(q.ghosts, fmt.Sprintf("%d of generation %d", n, rec.Generation))
		return
	}
	r.w.logf("%s: ticket %d deleted", name, n)
	if n == q.tail {
		r.fail("%s: ticket %d is the tail and was deleted", name, n)
	}
	if q.tickets[n-1] != nil {
		r.fail("%s: ticket %d was deleted before ticket %d", name, n, n-1)
	}
	// A release names the generation alone; who expires somebody else names the version that was silent.
	if rec.IfMetageneration >= 0 && !t.gone {
		silent, slack := rec.Time.Sub(q.watched(n)), 0.0
		if !r.w.plot.calm {
			slack = rateError
		}
		if silent < time.Duration(float64(t.lease)*(1-slack)) {
			r.fail("%s: ticket %d was expired after %v of %v", name, n, silent, t.lease)
		}
		if n+1 == q.tail && !r.w.plot.calm && !r.w.plot.tidy { // nobody is behind: whoever wakes now must not take the tail for a ghost
			r.w.strike(nil, tablesTurn)
		}
	}
	q.deleted = rec.Time
	delete(q.tickets, n)
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
