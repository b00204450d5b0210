package queue

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
	"github.com/gcsync/gcsync/tracing"
)

// The registry of a lock for readers and writers, as a writer sees it. The row has the writers alone; readers have entries
// beside it, L/h/n-nonce, each behind one ticket of the row (see read.go). Whoever is at the head with ticket k waits until
// those behind tickets before its own are gone. No more of them can come: a reader that finds, once its entry is written,
// that a later writer may have looked already takes it back.

// registry is what the head knows of the entries.
type registry map[string]*entry

// entry is one reading process as last read.
type entry struct {
	object.Object
	term
	n     int64         // the ticket that it stands behind
	base  int64         // of the row that the ticket is of
	since clock.Instant // since when it is seen unchanged, its turn having come
	asked bool          // whether a witness was looked for
}

func (e *entry) token() int64 { return ReaderToken(e.base+e.n, e.Metadata[keyNonce]) }

// ReaderToken is the fencing token of a reader behind a ticket: more than any of the writer before it, less than any of the
// next. Readers behind the same ticket are told apart by what comes of their nonces.
func ReaderToken(ticket int64, nonce string) int64 {
	sum := fnv.New32a()
	sum.Write([]byte(nonce))
	return ticket<<passBits | (maxPasses + 1) | int64(sum.Sum32())&maxPasses
}

// parseEntry reads an entry. It fails with a *ForeignError on anything that this package did not write.
func (l *line) parseEntry(o object.Object) (*entry, error) {
	e := &entry{Object: o, since: o.Received}
	var ok bool
	var why string
	if e.n, ok = l.path.behind(o.Name); !ok {
		why = fmt.Sprintf("the name does not begin with a number of %d digits", digits)
	} else if o.Metadata[keyNonce] == "" {
		why = fmt.Sprintf("no %q in its metadata", keyNonce)
	} else if why = e.term.read(o.Metadata); why == "" {
		why = positive(o.Metadata, keyBase, &e.base)
	}
	if why != "" {
		return nil, &ForeignError{URL: l.store.URL(o.Name), Why: why}
	}
	return e, nil
}

// drain waits, at the head, until nobody reads, or only looks. It does nothing for a name that has no readers. A turn that
// comes to nothing is given up.
func (tn *tenure) drain(ctx context.Context, wait bool) error {
	l := tn.l
	if !l.writes {
		return nil
	}
	turn := tn.keeper.Grant(tn.ticket.token(0))
	if turn == nil {
		tn.giveUp()
		return errAgain
	}
	inside, cancel := turn.Context(ctx)
	defer cancel()
	err := l.drain(inside, tn.ticket, wait)
	if tn.keeper.Retire() != nil && ctx.Err() == nil {
		err = errAgain
	}
	if err != nil {
		tn.giveUp()
	}
	return err
}

// giveUp ends a turn at the head that came to nothing, in the background.
func (tn *tenure) giveUp() {
	tn.stop(lease.ErrReleased)
	tn.l.event(Withdrawn, tn.n)
	tn.releaseLater()
}

// drain waits until nobody reads before the head t, or looks once, and returns errBusy. Its ctx ends with our belief to be
// the head.
func (l *line) drain(ctx context.Context, t *ticket, wait bool) error {
	backoff := l.cfg.Backoff()
	var r registry
	for {
		var err error
		if r, err = l.listEntries(ctx, t, nil); err == nil {
			break
		}
		if !retryable(err) || !object.Pause(ctx, backoff) {
			return err
		}
	}
	moved := l.now()
	for round := 0; len(r) > 0; round++ {
		l.crowded(nil)
		for _, e := range r {
			l.blocked(e)
			break
		}
		if !wait && round == 1 {
			return errBusy
		}
		if wait && round > 0 && !object.Sleep(ctx, min(max(minGap, l.now().Since(moved)/10), maxGap, t.baton.claim/4)) {
			r.testify(l)
			return object.Ended(ctx)
		}
		before := len(r)
		err := r.refresh(ctx, l, t, !wait || round%4 == 0)
		if err == nil || retryable(err) {
			err = r.bury(ctx, l, t, wait)
		}
		if err != nil {
			return err
		}
		if len(r) < before {
			moved = l.now()
		}
	}
	return nil
}

// listEntries reads the entries that t, which is proven to be the head, has to wait for, and takes from old since when they
// are seen. Each of them was made before t became the head: so that pages are of different moments does no harm.
func (l *line) listEntries(ctx context.Context, t *ticket, old registry) (registry, error) {
	objects, err := l.anchored(ctx)
	if err != nil {
		return nil, err
	}
	r := make(registry)
	for _, o := range objects {
		if _, ok := l.path.behind(o.Name); !ok {
			continue
		}
		e, err := l.parseEntry(o)
		if err != nil {
			return nil, err
		}
		if e.base == t.base && e.n >= t.n {
			continue // it comes after us; of a row that was wiped and began anew, it counts whatever its number
		}
		if was := old[o.Name]; was != nil && was.Version == e.Version {
			e.since, e.asked = was.since, was.asked
		}
		r[o.Name] = e
	}
	for name, e := range old {
		if r[name] == nil {
			l.event(EntryGone, e.n)
			l.crowded(e)
		}
	}
	return r, nil
}

// manyEntries are so many that a listing is cheaper than to read each.
const manyEntries = 12

// refresh reads the entries again. Unless plain, entries that nobody is suspicious of are read on condition that they
// have been renewed: refused, such a read costs nothing, and tells nothing.
func (r registry) refresh(ctx context.Context, l *line, t *ticket, plain bool) error {
	if len(r) > manyEntries {
		fresh, err := l.listEntries(ctx, t, r)
		if err == nil {
			clear(r)
			for name, e := range fresh {
				r[name] = e
			}
		}
		return err
	}
	names := make([]string, 0, len(r))
	for name := range r {
		names = append(names, name)
	}
	now := l.now()
	answers := readAll(names, func(name string) (object.Object, error) {
		e := r[name]
		if plain || now.Since(e.since) >= e.lease() {
			return l.store.Get(ctx, name)
		}
		v := e.Version
		v.Meta++
		return l.store.GetIf(ctx, name, v)
	})
	for i, a := range answers {
		e := r[names[i]]
		switch object.OutcomeOf(a.err) {
		case object.Denied:
			return a.err
		case object.Missing:
			r.gone(l, e)
		case object.Applied:
			if a.o.Gen != e.Gen { // what stands there now is nobody's: each name is used once
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
			r[names[i]] = fresh
		}
	}
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

// anchored lists the registry. That nobody reads looks like any empty answer, and whoever is let in for it had better know
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

func (r registry) gone(l *line, e *entry) {
	delete(r, e.Name)
	l.event(EntryGone, e.n)
	l.crowded(e)
}

// bury removes the entries of those who are dead: who were silent for their lease under our eyes, or for twice as long by
// the service's clock. Somebody who will not stay says so, and leaves word for those who come later.
func (r registry) bury(ctx context.Context, l *line, t *ticket, staying bool) error {
	for _, e := range r {
		if e.Sent.Since(e.since) < e.lease() && !l.longGone(ctx, e, t, staying) {
			continue
		}
		gone, err := l.expire(ctx, death{
			reason: e.silence(), event: EntryExpired, n: e.n, object: &e.Object, own: e.Metadata,
			lease: e.lease(), silent: l.now().Since(e.since),
		})
		switch {
		case gone:
			delete(r, e.Name)
			l.crowded(e)
		case object.OutcomeOf(err) == object.Denied:
			return err
		}
	}
	return nil
}

// silence is the reason for which a dead reader is removed, as package tracing calls it.
func (e *entry) silence() string {
	switch {
	case e.Sent.Since(e.since) < e.lease():
		return tracing.SilenceProven
	case e.renewal == "":
		return tracing.ClaimExpired
	}
	return tracing.TTLExpired
}

// longGone reports whether the service's clock proves that a reader was dead before the ticket t was made.
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

// testify leaves word, in the background, of those who have not moved while we waited, for callers who come when we have
// left.
func (r registry) testify(l *line) {
	for _, e := range r {
		if e.renewal == "" && l.now().Since(e.since) > tentative {
			l.cfg.Tasks.Go(func(ctx context.Context) { _, _, _ = l.witness(ctx, e.Gen, e.Meta) })
		}
	}
}
