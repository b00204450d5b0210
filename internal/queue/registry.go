package queue

import (
	"context"
	"fmt"
	"sync"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/tracing"
)

// What several may hold at once has a registry beside its queue: L/h/k is the entry of the holder who came with ticket k.
// The entry is made by the head, who then deletes its baton, and with that it is in:
//
//	k is in  <=>  t/(k-1) was deleted by k itself, h/k is there, and k's lease is valid
//
// So whoever is the head knows that nobody can come in before it but by its own leave: an entry below its number that
// it has seen absent will not come back.

// registry is what the line knows of the entries. It only remembers what no later event can make untrue.
type registry struct {
	base    int64            // of the queue that the numbers belong to
	below   int64            // an entry of a smaller number is among these, or gone for good
	entries map[int64]*entry // by number
}

// entry is one holder as last read.
type entry struct {
	object.Object
	term
	n      int64
	weight int64
	since  clock.Instant // since when it is seen unchanged, its holder being in
	asked  bool          // whether a witness was looked for
}

// The registry is read by a listing if many names would have to be read one by one.
const manyEntries = 12

// parseEntry reads an entry. It fails with a *ForeignError on anything that this package did not write.
func (l *line) parseEntry(o object.Object) (*entry, error) {
	e := &entry{Object: o, since: o.Received}
	var ok bool
	var why string
	if e.n, ok = l.path.holderNumber(o.Name); !ok {
		why = fmt.Sprintf("the name is not a number of %d digits", digits)
	} else if o.Metadata[keyNonce] == "" {
		why = fmt.Sprintf("no %q in its metadata", keyNonce)
	} else if why = e.term.read(o.Metadata); why == "" {
		why = positive(o.Metadata, keyWeight, &e.weight)
	}
	if why != "" {
		return nil, &ForeignError{URL: l.store.URL(o.Name), Why: why}
	}
	return e, nil
}

// sum is the weight of all who are in.
func (r *registry) sum() (sum int64) {
	for _, e := range r.entries {
		sum += e.weight
	}
	return sum
}

// settle learns of all entries below the head t, which is proven to be the head.
func (r *registry) settle(ctx context.Context, l *line, t *ticket) error {
	if r.base != t.base || r.below > t.n {
		*r = registry{base: t.base} // somebody has wiped the queue since
	}
	if r.below == 0 || t.n-r.below > manyEntries {
		return r.list(ctx, l, t)
	}
	names := make([]string, 0, t.n-r.below)
	for n := r.below; n < t.n; n++ {
		names = append(names, l.path.holder(n))
	}
	var found []*entry
	for _, a := range readAll(names, func(name string) (object.Object, error) { return l.store.Get(ctx, name) }) {
		switch object.OutcomeOf(a.err) {
		case object.Applied:
			e, err := l.parseEntry(a.o)
			if err != nil {
				return err
			}
			found = append(found, e)
		case object.Missing:
		default:
			return a.err
		}
	}
	for _, e := range found {
		r.entries[e.n] = e
	}
	r.below = t.n
	return nil
}

// readAll reads several objects at once.
func readAll(names []string, read func(name string) (object.Object, error)) []answer {
	answers := make([]answer, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			o, err := read(name)
			answers[i] = answer{o, err}
		})
	}
	all.Wait()
	return answers
}

// list reads the whole registry. Every entry that counts was made before t became the head: so that pages are of
// different moments does no harm.
func (r *registry) list(ctx context.Context, l *line, t *ticket) error {
	objects, err := l.anchored(ctx)
	if err != nil {
		return err
	}
	entries := make(map[int64]*entry)
	for _, o := range objects {
		n, numbered := l.path.holderNumber(o.Name)
		if !numbered || n >= t.n {
			continue
		}
		e, err := l.parseEntry(o)
		if err != nil {
			return err
		}
		if old := r.entries[n]; old != nil && old.Version == e.Version {
			e.since, e.asked = old.since, old.asked
		}
		entries[n] = e
	}
	for n, e := range r.entries {
		if entries[n] == nil {
			l.event(EntryGone, n)
			l.crowded(e)
		}
	}
	r.below, r.entries = t.n, entries
	return nil
}

// refresh reads the entries again. Unless plain, entries that nobody is suspicious of are read on condition that they
// have been renewed: refused, such a read costs nothing, and tells nothing.
func (r *registry) refresh(ctx context.Context, l *line, t *ticket, plain bool) error {
	if len(r.entries) > manyEntries {
		return r.list(ctx, l, t)
	}
	names := make([]string, 0, len(r.entries))
	for _, e := range r.entries {
		names = append(names, e.Name)
	}
	now := l.now()
	answers := readAll(names, func(name string) (object.Object, error) {
		n, _ := l.path.holderNumber(name)
		e := r.entries[n]
		if plain || now.Since(e.since) >= e.lease() {
			return l.store.Get(ctx, name)
		}
		v := e.Version
		v.Meta++
		return l.store.GetIf(ctx, name, v)
	})
	for i, a := range answers {
		n, _ := l.path.holderNumber(names[i])
		e := r.entries[n]
		switch object.OutcomeOf(a.err) {
		case object.Denied:
			return a.err
		case object.Missing:
			r.gone(l, e)
		case object.Applied:
			if a.o.Gen != e.Gen { // what stands there now is nobody's: each number registers once
				r.gone(l, e)
				continue
			}
			fresh, err := l.parseEntry(a.o)
			if err != nil {
				return err
			}
			if fresh.Version == e.Version {
				fresh.since, fresh.asked = e.since, e.asked
			}
			r.entries[n] = fresh
		}
	}
	return nil
}

// anchored lists the registry. That nobody is in looks like any empty answer, and whoever is let in for it had better know
// that it was the service's: so a registry has an anchor, an object that is never removed and comes after all entries, and a
// listing counts only if it shows that. It is made by whoever first misses it.
func (l *line) anchored(ctx context.Context) ([]object.Object, error) {
	anchor := l.path.anchor()
	for backoff := l.cfg.Backoff(); ; {
		objects, _, err := l.store.List(ctx, l.path.holders())
		if err != nil || len(objects) > 0 && objects[len(objects)-1].Name == anchor {
			return objects, err
		}
		_, err = l.store.CreateResolved(ctx, anchor, object.Draft{Metadata: map[string]string{keyNonce: object.NewNonce()}}, backoff)
		switch object.OutcomeOf(err) {
		case object.Applied:
		case object.Denied:
			return nil, err
		default:
			if !object.Pause(ctx, backoff) {
				return nil, object.Ended(ctx)
			}
		}
	}
}

func (r *registry) gone(l *line, e *entry) {
	delete(r.entries, e.n)
	l.event(EntryGone, e.n)
	l.crowded(e)
}

// bury removes the entries of those who are dead: who were silent for their lease under our eyes, or for twice as long by
// the service's clock. Somebody who will not stay says so, and leaves word for those who come later.
func (r *registry) bury(ctx context.Context, l *line, t *ticket, staying bool) error {
	for _, e := range r.entries {
		if e.Sent.Since(e.since) < e.lease() && !l.longGone(ctx, e, t, staying) {
			continue
		}
		gone, err := l.expire(ctx, death{
			reason: e.silence(), event: EntryExpired, n: e.n, object: &e.Object, own: e.Metadata,
			lease: e.lease(), silent: l.now().Since(e.since),
		})
		switch {
		case gone:
			delete(r.entries, e.n)
			l.crowded(e)
		case object.OutcomeOf(err) == object.Denied:
			return err
		}
	}
	return nil
}

// silence is the reason for which a dead holder is removed, as package tracing calls it.
func (e *entry) silence() string {
	switch {
	case e.Sent.Since(e.since) < e.lease():
		return tracing.SilenceProven
	case e.renewal == "":
		return tracing.ClaimExpired
	}
	return tracing.TTLExpired
}

// longGone reports whether the service's clock proves that the holder of an entry was dead before the ticket t was made.
func (l *line) longGone(ctx context.Context, e *entry, t *ticket, staying bool) bool {
	switch {
	case e.renewal != "":
		return t.Created.Sub(e.Updated) >= longSilence*e.ttl
	case t.Created.Sub(e.Created) < longSilence*e.claim:
		return false
	case !staying:
		created, fresh, err := l.witness(ctx, e.Gen, e.Meta)
		return err == nil && !fresh && t.Created.Sub(created) >= longSilence*e.claim
	case e.asked || l.now().Since(e.since) < tentative:
		return false
	}
	o, err := l.store.Get(ctx, l.path.witness(e.Gen, e.Meta))
	e.asked = err == nil || object.OutcomeOf(err) == object.Missing
	return err == nil && t.Created.Sub(o.Created) >= longSilence*e.claim
}

// room waits until fits is content with the limit in force and the weight of all who are in; or looks once, and returns
// errNoRoom. Its ctx ends with our belief to be the head.
func (r *registry) room(ctx context.Context, l *line, t *ticket, wait bool, fits func(limit, sum int64) (bool, error)) error {
	backoff := l.cfg.Backoff()
	for {
		err := r.settle(ctx, l, t)
		if err == nil {
			break
		}
		if !retryable(err) || !object.Pause(ctx, backoff) {
			return err
		}
	}
	newest, moved := t.record, l.now()
	for round := 0; ; round++ {
		if ok, err := fits(newest.slots.limit, r.sum()); ok || err != nil {
			return err
		}
		l.crowded(nil)
		for _, e := range r.entries {
			l.blocked(e)
			break
		}
		if !wait && round == 1 {
			return errNoRoom
		}
		if wait && round > 0 && !object.Sleep(ctx, min(max(minGap, l.now().Since(moved)/10), maxGap, t.baton.claim/4)) {
			r.testify(l)
			return object.Ended(ctx)
		}
		before := len(r.entries)
		var following sync.WaitGroup
		if l.kind == Semaphore {
			following.Go(func() { l.follow(ctx, &newest) })
		}
		err := r.refresh(ctx, l, t, !wait || round%4 == 0)
		following.Wait()
		if err == nil || retryable(err) {
			err = r.bury(ctx, l, t, wait)
		}
		if err != nil {
			return err
		}
		if len(r.entries) < before {
			moved = l.now()
		}
	}
}

// testify leaves word, in the background, of those who have not moved while we waited, for callers who come when we have
// left.
func (r *registry) testify(l *line) {
	for _, e := range r.entries {
		if e.renewal == "" && l.now().Since(e.since) > tentative {
			l.cfg.Tasks.Go(func(ctx context.Context) { _, _, _ = l.witness(ctx, e.Gen, e.Meta) })
		}
	}
}

// follow goes from a ticket to the newest behind it, whose limit is the one in force.
func (l *line) follow(ctx context.Context, newest *record) {
	for {
		o, err := l.get(ctx, newest.n+1)
		if err != nil || o.Metadata[keyPrev] != decimal(newest.Gen) {
			return
		}
		next, err := l.parse(o)
		if err != nil {
			return
		}
		*newest = *next
	}
}
