package lease

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/tasks"
)

// Terms are what the leases of one client of the parent package have in common. Its primitives on a single object stand
// on them: they write marks of their own beside those of the lease, and decide at each look whether to go on waiting.
type Terms struct {
	Store   *object.Store
	Bucket  string
	Tasks   *tasks.Group // whose are the renewals; once its context has ended, releases are given up
	Owner   string
	TTL     time.Duration // rounded up to whole seconds
	Claim   time.Duration // the same until the first renewal
	Backoff func() object.Backoff
	Logger  *slog.Logger
}

// A Bid is one call's wish for the lease on an object.
type Bid struct {
	// See, where set, is shown the object at each look, before anything is done about it: the zero Object if there is
	// none, and whether somebody holds it. An error ends the call, which then returns it.
	See func(ctx context.Context, o object.Object, held bool) error

	// Watcher, where set, hears of what becomes of the lease.
	Watcher BidWatcher

	// Marks are written to the object with the acquisition. Marks that are there already and not among these stay.
	Marks map[string]string
}

// A BidWatcher also hears of a dead holder that was removed for the bid: of its object as it was, how long it was seen to
// be silent, and whether it was the service's clock that proved it dead.
type BidWatcher interface {
	Watcher
	TookOver(dead object.Object, silent time.Duration, proven bool)
}

// OwnerOf returns who holds an object of these leases, or held it last, for people.
func OwnerOf(metadata map[string]string) string { return signatureOf(metadata).owner }

// Watcher returns what watches a lease: that of its bid.
func (t Terms) Watcher(h *Held) BidWatcher { return h.lock.bid.Watcher }

// Acquire waits for the lease on the object name as the function of that name does, and returns the object as it was
// when it was acquired as well. What See judged is what was acquired: nobody wrote in between.
func (t Terms) Acquire(ctx context.Context, name string, b Bid) (*Held, object.Object, error) {
	l := t.lock(name)
	l.bid = b
	h, err := l.seek(ctx, true)
	if err != nil {
		return nil, object.Object{}, err
	}
	return h, h.taken, nil
}

// Release is the method of [Held], and ends the lease with the given cause and writes marks along. It returns the object
// as it was last seen, the zero Object if it is not there or not known; without an error, that was after the release.
func (Terms) Release(ctx context.Context, h *Held, cause error, marks map[string]string) (object.Object, error) {
	return h.leave(ctx, cause, marks)
}

// Break takes the object name away from the holder that has the token, and from nobody else, and reports whether it did. The
// holder learns of it when it next renews.
func (t Terms) Break(ctx context.Context, name string, token int64) (broken bool, err error) {
	l := t.lock(name)
	sig := signature{owner: l.owner, grant: object.NewNonce(), write: object.NewNonce()}
	err = l.store.Ask(ctx, l.backoff(), func() error {
		o, err := l.store.Get(ctx, name)
		switch {
		case object.OutcomeOf(err) == object.Missing:
			return nil
		case err != nil:
			return err
		case writeOf(o.Metadata) == sig.write: // by an attempt without an answer
			broken = true
			return nil
		case lengthOf(o.Metadata) == 0 || tokenOf(o) != token:
			return nil
		}
		_, err = l.store.Patch(ctx, name, o.Version, map[string]string{keyExpires: "0", keyOwner: sig.String()})
		switch object.OutcomeOf(err) {
		case object.Applied:
			broken = true
		case object.Refused: // renewed meanwhile, or the echo of our own success
			return fmt.Errorf("changed while it was looked at: %w", errContested)
		}
		return err
	})
	return broken, err
}

// Watch looks at the object name without wanting it.
func (t Terms) Watch(name string) *Watch { return &Watch{lock: t.lock(name)} }

func (t Terms) lock(name string) *lock {
	ttl, claim := wholeSeconds(t.TTL), wholeSeconds(t.Claim)
	return &lock{
		store:   t.Store.WithTimeout(RequestTimeout(claim)),
		bucket:  t.Bucket,
		name:    name,
		owner:   t.Owner,
		ttl:     ttl,
		first:   claim,
		backoff: t.Backoff,
		logger:  t.Logger,
		tasks:   t.Tasks,
	}
}

// A Watch is what one onlooker has seen of the object of a lease. It is not safe for concurrent use.
type Watch struct {
	lock *lock
	seen sighting

	// What there was to see, and since when: the object's absence, too, has a beginning.
	grant  string
	free   bool
	steady clock.Instant
}

// Look reads the object and returns its state, and the object itself; the zero Object if there is none. It reads until
// the service's time is known, if it can be, since the state depends on it: twice the first time, then once.
func (w *Watch) Look(ctx context.Context) (State, object.Object, error) {
	l, s := w.lock, &w.seen
	for first := true; first || !s.free() && s.hint.IsZero() && s.looks < 3; first = false {
		if err := l.look(ctx, s); err != nil {
			return State{}, object.Object{}, err
		}
	}
	if w.steady.IsZero() || w.grant != s.grant || w.free != s.free() {
		w.grant, w.free, w.steady = s.grant, s.free(), l.now()
	}
	st := l.state(s)
	if !s.free() && s.silent(l.now()) {
		st.Expired = true // seen with our own eyes
	}
	return st, s.Object, nil
}

// Sleep sleeps until it is worth looking again: for a tenth of the time for which nothing has happened, and 2 s at most.
// It reports true, or false if ctx ended first.
func (w *Watch) Sleep(ctx context.Context) bool {
	gap := max(minGap, min(w.lock.now().Since(w.steady)/10, maxGap))
	return object.Sleep(ctx, gap/2+rand.N(gap/2))
}

// life is the context within which releases go on: that of the client, if the lease has one.
func (l *lock) life() context.Context {
	if l.tasks == nil {
		return context.Background()
	}
	return l.tasks.Context()
}
