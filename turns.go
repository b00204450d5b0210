package gcsync

import (
	"context"
	"sync"

	"github.com/gcsync/gcsync/internal/object"
)

// turns lets one goroutine of the process at a time deal with a name, so that a hundred cost the requests of one, and
// remembers what came of it.
type turns[T any] struct {
	mu        sync.Mutex
	names     map[string]*turn[T]
	forgetful bool // tests want to see the bucket
}

// turn is what the goroutines that deal with one name share.
type turn[T any] struct {
	all  *turns[T]
	name string
	next chan struct{} // holds a token while nobody has the turn

	// Guarded by all.mu.
	users   int
	known   *T  // what is remembered; nil: nothing
	changes int // how often it was forgotten
}

// remembered bounds the names that are kept in memory for what is known of them.
const remembered = 4096

// enter returns the turn of name, to be left when the call is over.
func (a *turns[T]) enter(name string) *turn[T] {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.names[name]
	if t == nil {
		t = &turn[T]{all: a, name: name, next: make(chan struct{}, 1)}
		t.next <- struct{}{}
		if a.names == nil {
			a.names = make(map[string]*turn[T])
		}
		a.names[name] = t
	}
	t.users++
	return t
}

func (t *turn[T]) leave() {
	a := t.all
	a.mu.Lock()
	defer a.mu.Unlock()
	t.users--
	if t.users == 0 && t.known == nil {
		delete(a.names, t.name)
	}
	for name, old := range a.names { // some other, it does not matter which: it costs a read to learn it again
		if len(a.names) <= remembered {
			break
		}
		if old.users == 0 {
			delete(a.names, name)
		}
	}
}

// take waits for the turn.
func (t *turn[T]) take(ctx context.Context) error {
	select {
	case <-t.next:
		return nil
	default:
	}
	select {
	case <-t.next:
		return nil
	case <-ctx.Done():
		return object.Ended(ctx)
	}
}

// pass gives the turn to the next.
func (t *turn[T]) pass() { t.next <- struct{}{} }

// recall returns what is remembered, nil if nothing is, and the number to pass to remember.
func (t *turn[T]) recall() (known *T, changes int) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	return t.known, t.changes
}

// remember keeps what was learned since recall returned changes, unless it was to be forgotten since.
func (t *turn[T]) remember(known *T, changes int) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	if t.changes == changes && !t.all.forgetful {
		t.known = known
	}
}

// forget has everybody ask the bucket again.
func (t *turn[T]) forget() {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.known = nil
	t.changes++
}
