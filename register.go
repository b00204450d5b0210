package gcsync

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

// register is the single object that a Once, an Every or an Election stands on: NAME/run, a lease with marks of its own.
// It is patched and never deleted.
type register struct {
	c    *Client
	kind string
	name string // as the user calls it
	path string // of everything that belongs to it
}

const (
	markKind = "kind" // once, every or election
	markHost = "host" // of who wrote it
)

// register returns the register called name, which nothing but a kind may use.
func (c *Client) register(kind, name string) (*register, error) {
	path, err := queue.NewPath(c.prefix, name)
	if err != nil {
		return nil, fmt.Errorf("gcsync: %s %q: %w", kind, object.Short(name), err)
	}
	return &register{c, kind, name, string(path)}, nil
}

// object names the register's object.
func (r *register) object() string { return r.path + "/run" }

// check refuses an object that is not of the register's kind.
func (r *register) check(o object.Object) error {
	switch kind := o.Metadata[markKind]; {
	case o.Gen == 0 || kind == r.kind:
		return nil
	case kind == "":
		return r.foreign(o, fmt.Sprintf("no %q in its metadata", markKind))
	default:
		return &MismatchError{Name: r.c.store.URL(o.Name), What: "the kind", Theirs: kind, Ours: r.kind}
	}
}

func (r *register) foreign(o object.Object, why string) error {
	return &ForeignError{URL: r.c.store.URL(o.Name), Why: why}
}

// acquire waits for the lease on the register. See, where set, is shown its object at each look, and ends the waiting with
// an error.
func (r *register) acquire(ctx context.Context, marks map[string]string,
	see func(ctx context.Context, o object.Object, held bool) error,
) (h *lease.Held, o object.Object, err error) {
	w := r.tell(ctx)
	terms := r.c.terms
	terms.Store = w.store
	bid := lease.Bid{Watcher: w, Marks: map[string]string{markKind: r.kind, markHost: r.c.host}}
	maps.Copy(bid.Marks, marks)
	bid.See = func(ctx context.Context, o object.Object, held bool) error {
		err := r.check(o)
		if err == nil && see != nil {
			err = see(ctx, o, held)
		}
		w.sees(o, held, bid.Marks, err)
		return err
	}
	err = r.c.call(ctx, func(ctx context.Context) error {
		h, o, err = terms.Acquire(ctx, r.object(), bid)
		if err == nil && !r.c.held.add(h) {
			_, _ = r.c.terms.Release(ctx, h, ErrClosed, nil) // closed in the same moment
			return ErrClosed
		}
		return err
	})
	w.answered(ctx, h, err)
	return h, o, err
}

// leave gives the lease back and writes marks along. It returns the object as it was last seen, the zero Object if that is
// not known.
func (r *register) leave(ctx context.Context, h *lease.Held, marks map[string]string) (last object.Object, err error) {
	defer r.c.held.remove(h)
	err = ErrClosed
	give := func() error {
		r.c.tasks.Do(func(context.Context) { last, err = r.c.terms.Release(ctx, h, lease.ErrReleased, marks) })
		return err
	}
	if w := r.c.toldOf(h); h.Err() == nil { // what is lost, or closed, is told
		w.End(w.hold)
		err = w.Release(context.Background(), 0, give)
	} else {
		err = give()
	}
	return last, err
}

// persist tries until the service says something, the policy gives up, or ctx ends.
func (c *Client) persist(ctx context.Context, try func() error) error {
	for backoff := c.terms.Backoff(); ; {
		err := try()
		switch object.OutcomeOf(err) {
		case object.Busy, object.Indeterminate:
			if object.Pause(ctx, backoff) {
				continue
			}
		}
		return err
	}
}

// get reads an object; the zero Object if there is none.
func (c *Client) get(ctx context.Context, name string) (o object.Object, err error) {
	err = c.persist(ctx, func() (err error) {
		o, err = c.store.Get(ctx, name)
		return err
	})
	if object.OutcomeOf(err) == object.Missing {
		return object.Object{}, nil
	}
	return o, err
}

// call runs f in the caller's goroutine as a task of the client, so that Close waits for it, with a context that ends
// when the client closes.
func (c *Client) call(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.waiting, func() { cancel(ErrClosed) })()
	err := ErrClosed
	if c.waiting.Err() == nil {
		c.tasks.Do(func(context.Context) { err = f(ctx) })
	}
	return c.store.Because(ctx, err)
}

// ask is call for what waits for nobody but the service, and so ends by itself if that does not answer.
func (c *Client) ask(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := object.Bound(ctx)
	defer cancel()
	return c.call(ctx, f)
}

// finish runs f like call, but f may go on for a while after ctx has ended and while the client closes: it is what
// remains to be done after the user's own work.
func (c *Client) finish(ctx context.Context, while time.Duration, f func(ctx context.Context) error) error {
	ended := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(c.tasks.Context(), func() { cancel(ErrClosed) })()
	defer context.AfterFunc(ended, func() {
		object.Sleep(ctx, while)
		cancel(context.Cause(ended))
	})()
	err := ErrClosed
	c.tasks.Do(func(context.Context) { err = f(ctx) })
	return c.store.Because(ctx, err)
}

// farewell is for how long what remains to be done may go on after the caller has left.
func (c *Client) farewell() time.Duration {
	return max(lease.RequestTimeout(c.terms.TTL), 3*time.Second)
}

// holdings are the leases that a client holds on registers.
type holdings struct {
	mu     sync.Mutex
	closed bool
	leases map[*lease.Held]struct{}
}

// add reports false if the client has closed.
func (h *holdings) add(l *lease.Held) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if h.leases == nil {
		h.leases = make(map[*lease.Held]struct{})
	}
	maps.DeleteFunc(h.leases, func(old *lease.Held, _ struct{}) bool { return old.Err() != nil }) // lost, and never given back
	h.leases[l] = struct{}{}
	return true
}

func (h *holdings) remove(l *lease.Held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.leases, l)
}

// close gives back what is held, and lets nothing more be.
func (h *holdings) close(leave func(*lease.Held)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.leases {
		leave(l)
	}
	clear(h.leases)
}

// failed says what failed; nil stays nil, and so does an error of the user's own function.
func (r *register) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("gcsync: %s %s %q: %w", what, r.kind, object.Short(r.name), err)
}
