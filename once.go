package gcsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

const kindOnce = "once"

// A Once is a piece of work that is done once among all clients of a bucket: a migration, say, that every instance calls
// for when it starts. Get one from [Client.Once].
//
// It is done when a function has returned nil and the service has confirmed that this was recorded. A function that
// returns an error or panics leaves it undone, and the next caller runs its own. A process that dies while it runs one is
// replaced after its lease ([Options.TTL]), by a caller that waits or the next that comes.
//
// Without a crash, a pause longer than the lease, or a Reset, the function runs once. With them it may run again: its
// process can die after the work and before the record. It runs at least once, and the record is made exactly once:
// whoever comes too late with a result of its own is given the one that was recorded.
//
// Once it is done, a process needs one read to learn so, and none after that.
type Once struct {
	c    *Client
	name string
}

// Once returns the once called name. It sends no request and never fails: an impossible name is an error of the first
// call. All of one name and one client are the same once. No Every and no Election can have the same name.
func (c *Client) Once(name string) *Once { return &Once{c, name} }

// Do runs f unless it was done before, by anybody. While somebody else is at it, Do waits, and takes over if they fail. It
// returns nil only if the work is done. ctx bounds the waiting, and f.
//
// The context of f is ctx, cancelled with an [ErrLost] cause when the lease under which f runs is lost, with [ErrClosed]
// when the client closes, and carrying the fencing token for [lease.TokenFrom]. f should stop when it ends: from then on
// somebody else may be running theirs. If somebody else's result was recorded by then, Do returns nil whatever f
// returned; otherwise the error of f, joined with [ErrLost].
//
// If f fails, Do returns its error, and the next caller runs theirs at once. If f panics, or calls [runtime.Goexit], so
// does Do, and the next caller is let in. f must not call Do of the same once, which would wait for itself.
//
// Other errors are those of the waiting: the cause of ctx, together with a [*lease.HeldError] that tells who is at it;
// [ErrClosed], a [*MismatchError], a [*ForeignError], or what the service refused for good. An error that wraps
// [ErrUnconfirmed] or the cause of ctx may also mean that f has run, and that the service did not confirm its record: the
// next Do finds out.
func (o *Once) Do(ctx context.Context, f func(ctx context.Context) error) error {
	_, _, err := o.do(ctx, func(ctx context.Context) (content, error) { return content{}, f(ctx) })
	return err
}

// Done reports whether the work is done. A false may be out of date when it is returned. It takes one read, or none if
// this client knows; a few if whoever did it has died before the end.
func (o *Once) Done(ctx context.Context) (bool, error) {
	r, err := o.c.register(kindOnce, o.name)
	if err != nil {
		return false, err
	}
	t := o.c.onces.enter(r.path)
	defer t.leave()
	known, changes := t.recall()
	if known != nil {
		return true, nil
	}
	err = o.c.ask(ctx, func(ctx context.Context) error {
		run, err := o.c.get(ctx, r.object())
		if err == nil {
			err = r.check(run)
		}
		if err == nil {
			known, _, err = r.result(ctx, run)
		}
		return err
	})
	if err != nil {
		return false, r.failed("ask", err)
	}
	if known != nil {
		t.remember(known, changes)
	}
	return known != nil, nil
}

// Reset has the work done once more: what was done before, and what is being done at the moment, no longer counts. A call
// of Do that is running its function waits for its turn and runs it again. A Do that begins after Reset has returned never
// reports, and a function of [OnceValue] never returns, what came of a run from before.
//
// That does not reach the memory of other processes: one that has learned that the work is done goes on believing so
// until it ends, and returns the old value. Reset what is asked for at the start of a process; do not use it to pass on
// changes.
//
// An error means that it may have been reset or not, or may be in a moment; Reset again.
func (o *Once) Reset(ctx context.Context) error {
	r, err := o.c.register(kindOnce, o.name)
	if err != nil {
		return err
	}
	t := o.c.onces.enter(r.path)
	defer t.leave()
	defer t.forget()
	return r.failed("reset", o.c.ask(ctx, r.reset))
}

// OnceValue returns a function that runs f unless it was run before, by anybody, and returns what it returned, to every
// caller on every machine. It is [Once.Do] for a function with a result, and the same once: if that is done already,
// the result is read.
//
// The result travels as JSON, and what is returned is always what the JSON says, also to the caller whose f made it. It
// may be up to 8 MiB long; to share more, write an object of your own and return its name. A result that is longer or
// cannot be encoded is an error, and the work is not done. It is an error as well if the once was done by [Once.Do],
// without a result, or with one that does not fit into a T. A process reads the result once. All its callers share what it
// refers to, and should not change it.
func OnceValue[T any](o *Once, f func(ctx context.Context) (T, error)) func(ctx context.Context) (T, error) {
	run := func(ctx context.Context) (content, error) {
		v, err := f(ctx)
		if err != nil {
			return content{}, err
		}
		return encode(v)
	}
	var mine turns[reading[T]]
	return func(ctx context.Context) (value T, err error) {
		t := mine.enter("")
		defer t.leave()
		var gone identity
		for {
			p, body, err := o.do(ctx, run)
			if err != nil {
				return value, err
			}
			if known, _ := t.recall(); known != nil && known.of == p.id() {
				return known.value, nil
			}
			r, again, err := read[T](ctx, o, t, p, body)
			if !again {
				return r.value, err
			}
			if p.id() == gone {
				return value, fmt.Errorf("gcsync: once %q: done, but its value in %s was removed: Reset it", object.Short(o.name), o.c.store.URL(p.name))
			}
			gone = p.id()
		}
	}
}

// OnceValues is [OnceValue] for a function with two results.
func OnceValues[T1, T2 any](o *Once, f func(ctx context.Context) (T1, T2, error)) func(ctx context.Context) (T1, T2, error) {
	type pair struct {
		First  T1 `json:"first"`
		Second T2 `json:"second"`
	}
	get := OnceValue(o, func(ctx context.Context) (p pair, err error) {
		p.First, p.Second, err = f(ctx)
		return p, err
	})
	return func(ctx context.Context) (T1, T2, error) {
		p, err := get(ctx)
		return p.First, p.Second, err
	}
}

// content is what a run leaves for the others. The zero content is that of a run without a result.
type content struct {
	body []byte // JSON; nil: none, or not known
}

const (
	maxValue  = 8 << 20
	valueType = "application/json"
)

func encode(v any) (content, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return content{}, fmt.Errorf("gcsync: the value of a once must be JSON: %w", err)
	}
	if len(body) > maxValue {
		return content{}, fmt.Errorf("gcsync: the value of a once may be %d bytes of JSON long, this is %d: write it to an object of your own", maxValue, len(body))
	}
	return content{body}, nil
}

// reading is a value and the payload that it was read from.
type reading[T any] struct {
	of    identity
	value T
}

// read returns the value of the payload p, whose body need not be known. It reports again if the payload is not there any
// more, after a Reset. One goroutine reads, and the others wait for it.
func read[T any](ctx context.Context, o *Once, t *turn[reading[T]], p *payload, body []byte) (r reading[T], again bool, err error) {
	if err := t.take(ctx); err != nil {
		return r, false, fmt.Errorf("gcsync: once %q: %w", object.Short(o.name), err)
	}
	defer t.pass()
	known, changes := t.recall()
	if known != nil && known.of == p.id() {
		return *known, false, nil
	}
	if body == nil {
		if body, again, err = o.fetch(ctx, p); again || err != nil {
			return r, again, err
		}
	}
	r.of = p.id()
	if len(body) == 0 {
		return r, false, fmt.Errorf("gcsync: once %q was done without a value, by Once.Do", object.Short(o.name))
	}
	if err := json.Unmarshal(body, &r.value); err != nil {
		return reading[T]{}, false, fmt.Errorf("gcsync: once %q: the value in %s: %w", object.Short(o.name), o.c.store.URL(p.name), err)
	}
	t.remember(&r, changes)
	return r, false, nil
}

// fetch reads a payload's body.
func (o *Once) fetch(ctx context.Context, p *payload) (body []byte, again bool, err error) {
	store := o.c.store.WithTimeout(upload(maxValue))
	err = o.c.call(ctx, func(ctx context.Context) error {
		return o.c.persist(ctx, func() (err error) {
			body, err = store.Read(ctx, p.name, p.gen, maxValue)
			return err
		})
	})
	switch object.OutcomeOf(err) {
	case object.Applied:
		return body, false, nil
	case object.Refused, object.Missing:
		if r, err := o.c.register(kindOnce, o.name); err == nil {
			t := o.c.onces.enter(r.path)
			defer t.leave()
			if known, _ := t.recall(); known != nil && known.id() == p.id() {
				t.forget()
			}
		}
		return nil, true, nil
	}
	return nil, false, fmt.Errorf("gcsync: once %q: %w", object.Short(o.name), err)
}

// upload is how long a request with so many bytes may take.
func upload(size int) time.Duration { return 5*time.Second + time.Duration(size)*time.Second>>20 }

// do has the work done and returns the payload that records it, with its body if it is known.
func (o *Once) do(ctx context.Context, f func(ctx context.Context) (content, error)) (*payload, []byte, error) {
	r, err := o.c.register(kindOnce, o.name)
	if err != nil {
		return nil, nil, err
	}
	t := o.c.onces.enter(r.path)
	defer t.leave()
	if known, _ := t.recall(); known != nil {
		return known, nil, nil
	}
	if err := o.c.call(ctx, t.take); err != nil {
		return nil, nil, r.failed("do", err)
	}
	defer t.pass()
	for {
		known, changes := t.recall()
		if known != nil {
			return known, nil, nil
		}
		p, body, err := r.settle(ctx, f)
		if p != nil {
			t.remember(p, changes)
		}
		if p != nil || err != nil {
			return p, body, err
		}
		// It was reset meanwhile: what we know is of the time before.
	}
}

// A payload records that the work of one round is done, and bears the value. Its object is created once:
// NAME/done/<generation of NAME/run>-<round>.
type payload struct {
	name string
	gen  int64
	of   round
	made time.Time // by the service's clock; zero: not known
}

type identity struct {
	name string
	gen  int64
}

func (p *payload) id() identity { return identity{p.name, p.gen} }

// A round is what lies between two calls of Reset. If somebody deletes NAME/run, a new object begins with new rounds.
type round struct {
	gen int64 // of NAME/run
	n   int64
}

const (
	markRound = "round" // the number of the round; missing: 0
	markDone  = "done"  // the round that is known to be done, and the generation of its payload
)

// round returns the round that the object is in.
func (r *register) round(run object.Object) (round, error) {
	at := round{gen: run.Gen}
	if text, ok := run.Metadata[markRound]; ok {
		n, err := strconv.ParseUint(text, 10, 62)
		if err != nil {
			return at, r.foreign(run, fmt.Sprintf("%s is %q, not a number", markRound, text))
		}
		at.n = int64(n)
	}
	return at, nil
}

// payload names the object of the round's result.
func (r *register) payload(at round) string {
	return fmt.Sprintf("%s/done/%d-%d", r.path, at.gen, at.n)
}

// marked returns the payload that the mark speaks of, nil if it is not of the round: a mark says itself what it is worth,
// so one that is written late, after a Reset, is worth nothing.
func (r *register) marked(run object.Object, at round) *payload {
	n, gen, _ := strings.Cut(run.Metadata[markDone], "/")
	if n != strconv.FormatInt(at.n, 10) {
		return nil
	}
	g, err := strconv.ParseInt(gen, 10, 64)
	if err != nil || g <= 0 {
		return nil
	}
	return &payload{name: r.payload(at), gen: g, of: at}
}

func mark(p *payload) map[string]string {
	return map[string]string{markDone: fmt.Sprintf("%d/%d", p.of.n, p.gen)}
}

// result returns the payload of the round that run is in, nil if there is none. Without a mark it is looked for: whoever
// wrote it may not have come to mark it. Then run is read again, for the payload of a round counts only while that lasts.
//
// If it is unmarked, unmarked is run as it was read last.
func (r *register) result(ctx context.Context, run object.Object) (p *payload, unmarked object.Object, err error) {
	if run.Gen == 0 {
		return nil, run, nil
	}
	at, err := r.round(run)
	if err != nil {
		return nil, run, err
	}
	if p := r.marked(run, at); p != nil {
		return p, object.Object{}, nil
	}
	p, err = r.find(ctx, at)
	if p == nil || err != nil {
		return nil, run, err
	}
	return r.confirm(ctx, p)
}

// heal marks what somebody left unmarked who died, as far as the clock of this machine can tell. The lease stays with
// whoever has it. Should it fail, the next caller tries again.
func (r *register) heal(ctx context.Context, p *payload, run object.Object) {
	if run.Gen != 0 && r.c.store.Clock().Now().Wall().Sub(p.made) > r.c.terms.TTL {
		_, _ = r.c.store.Patch(ctx, r.object(), run.Version, mark(p))
	}
}

// find reads the payload of a round, whatever round it is now.
func (r *register) find(ctx context.Context, at round) (*payload, error) {
	o, err := r.c.get(ctx, r.payload(at))
	if o.Gen == 0 || err != nil {
		return nil, err
	}
	if o.Metadata[markKind] != kindOnce {
		return nil, r.foreign(o, fmt.Sprintf("%s is %q", markKind, o.Metadata[markKind]))
	}
	return &payload{o.Name, o.Gen, at, o.Created}, nil
}

// confirm returns p if its round is still on, and otherwise nil; and run if that has no mark yet.
func (r *register) confirm(ctx context.Context, p *payload) (valid *payload, unmarked object.Object, err error) {
	run, err := r.c.get(ctx, r.object())
	if err != nil {
		return nil, run, err
	}
	if now, err := r.round(run); err != nil || now != p.of {
		return nil, run, err
	}
	if r.marked(run, p.of) != nil {
		run = object.Object{}
	}
	return p, run, nil
}

// settled ends the waiting: somebody else has done it.
type settled struct{ *payload }

func (*settled) Error() string { return "done" }

// settle waits until the work is done, or its own turn to do it. It returns neither a payload nor an error if there was a
// Reset meanwhile.
func (r *register) settle(ctx context.Context, f func(ctx context.Context) (content, error)) (*payload, []byte, error) {
	h, run, err := r.acquire(ctx, nil, func(ctx context.Context, run object.Object, held bool) error {
		at, err := r.round(run)
		if err != nil {
			return err
		}
		p := r.marked(run, at)
		if p == nil && held {
			// Whoever holds it may have died after the work, and a payload that is not there is free to ask for.
			if p, run, err = r.result(ctx, run); p != nil {
				r.heal(ctx, p, run)
			}
		}
		if p != nil {
			return &settled{p}
		}
		return err
	})
	if done := new(settled); errors.As(err, &done) {
		return done.payload, nil, nil
	}
	if err != nil {
		return nil, nil, r.failed("do", err)
	}
	at, err := r.round(run)
	if err != nil {
		_, _ = r.leave(ctx, h, nil)
		return nil, nil, r.failed("do", err)
	}
	return (&attempt{register: r, held: h, at: at, fresh: run.Meta == 1}).run(ctx, f)
}

// attempt is the lease of one caller that is to do the work.
type attempt struct {
	*register
	held  *lease.Held
	at    round
	fresh bool // nobody was here before us
	left  bool
}

func (a *attempt) run(ctx context.Context, f func(ctx context.Context) (content, error)) (*payload, []byte, error) {
	defer func() {
		if !a.left { // f has panicked
			_, _ = a.leave(ctx, nil)
		}
	}()
	if !a.fresh {
		p, err := a.inherit(ctx)
		if err != nil {
			_, _ = a.leave(ctx, nil)
			return nil, nil, a.failed("do", err)
		}
		if p != nil {
			return a.conclude(ctx, p, nil)
		}
	}
	inside, cancel := a.held.Context(ctx)
	defer cancel()
	var made content
	err := a.c.toldOf(a.held).run(inside, func(ctx context.Context) (err error) {
		made, err = f(ctx)
		return err
	})
	cancel()
	if err != nil {
		return a.yield(ctx, err)
	}
	return a.record(ctx, made)
}

func (a *attempt) leave(ctx context.Context, marks map[string]string) (object.Object, error) {
	a.left = true
	return a.register.leave(ctx, a.held, marks)
}

// inherit finds what somebody left who died before it was marked.
func (a *attempt) inherit(ctx context.Context) (p *payload, err error) {
	err = a.c.call(ctx, func(ctx context.Context) error {
		p, err = a.find(ctx, a.at)
		return err
	})
	return p, err
}

// yield lets the next have a try after our function has failed. If the lease was lost, somebody may have succeeded.
func (a *attempt) yield(ctx context.Context, failure error) (p *payload, body []byte, err error) {
	_, err = a.leave(ctx, nil)
	if err == nil {
		return nil, nil, failure
	}
	if errors.Is(err, lease.ErrLost) {
		_ = a.c.finish(ctx, a.c.farewell(), func(ctx context.Context) error {
			if p, _ = a.find(ctx, a.at); p != nil {
				p, _, _ = a.confirm(ctx, p)
			}
			return nil
		})
		if p != nil {
			return p, nil, nil
		}
	}
	return nil, nil, errors.Join(failure, a.failed("do", err))
}

// record records that the work is done. It needs no lease: of all who try in one round, one succeeds.
func (a *attempt) record(ctx context.Context, made content) (p *payload, body []byte, err error) {
	while := a.c.farewell() + upload(len(made.body))
	err = a.c.finish(ctx, while, func(ctx context.Context) error {
		p, body, err = a.write(ctx, made)
		return err
	})
	switch {
	case err != nil:
		_, left := a.leave(ctx, nil)
		return nil, nil, errors.Join(a.failed("record", err), left)
	case p == nil: // removed by a Reset since somebody else wrote it
		_, _ = a.leave(ctx, nil)
		return nil, nil, nil
	}
	return a.conclude(ctx, p, body)
}

// write creates the payload, and returns it, or the one that somebody else was faster with.
func (a *attempt) write(ctx context.Context, made content) (*payload, []byte, error) {
	name, nonce := a.payload(a.at), object.NewNonce()
	draft := object.Draft{
		Metadata: map[string]string{object.KeyNonce: nonce, markKind: kindOnce, markHost: a.c.host, "owner": a.c.terms.Owner},
		Body:     made.body,
	}
	if made.body != nil {
		draft.ContentType = valueType
	}
	store := a.c.store.WithTimeout(upload(len(made.body)))
	var o object.Object
	err := a.c.persist(ctx, func() (err error) {
		o, err = store.CreateResolved(ctx, name, draft, a.c.terms.Backoff())
		return err
	})
	if object.OutcomeOf(err) == object.Refused { // by somebody else's, or the echo of our own
		o, err = a.c.get(ctx, name)
	}
	if err != nil || o.Gen == 0 {
		return nil, nil, err
	}
	p := &payload{name, o.Gen, a.at, o.Created}
	if o.Metadata[object.KeyNonce] != nonce {
		return p, nil, nil
	}
	return p, made.body, nil
}

// conclude marks the work as done, and makes sure that what was recorded counts: that the round is still on.
func (a *attempt) conclude(ctx context.Context, p *payload, body []byte) (*payload, []byte, error) {
	last, err := a.leave(ctx, mark(p))
	if last.Gen != 0 {
		now, err := a.round(last)
		if err != nil {
			return nil, nil, a.failed("do", err)
		}
		if now == p.of {
			return p, body, nil
		}
	} else {
		// The mark is missing, for whoever comes next to add; but the payload is there.
		var valid *payload
		unknown := a.c.finish(ctx, a.c.farewell(), func(ctx context.Context) (err error) {
			valid, _, err = a.confirm(ctx, p)
			return err
		})
		if unknown != nil {
			return nil, nil, a.failed("do", errors.Join(err, unknown))
		}
		if valid != nil {
			return p, body, nil
		}
	}
	a.c.discard(ctx, p) // nobody will look for it
	return nil, nil, nil
}

// discard removes a payload of a round that is over.
func (c *Client) discard(ctx context.Context, p *payload) {
	_ = c.finish(ctx, c.farewell(), func(ctx context.Context) error {
		return c.persist(ctx, func() error { return c.store.Delete(ctx, p.name, object.Version{Gen: p.gen}) })
	})
}

// reset begins a new round, if there has been one. The lease stays with whoever holds it.
func (r *register) reset(ctx context.Context) error {
	run, err := r.c.get(ctx, r.object())
	if err == nil {
		err = r.check(run)
	}
	if run.Gen == 0 || err != nil {
		return err
	}
	old, err := r.round(run)
	if err != nil {
		return err
	}
	done := r.marked(run, old)
	next := map[string]string{markRound: strconv.FormatInt(old.n+1, 10)}
	for {
		err := r.c.persist(ctx, func() error {
			_, err := r.c.store.Patch(ctx, r.object(), run.Version, next)
			return err
		})
		switch object.OutcomeOf(err) {
		case object.Applied:
		case object.Refused, object.Missing:
			// Renewed, released, or reset: by an attempt of ours, or by somebody else, which is as good.
			if run, err = r.c.get(ctx, r.object()); err != nil {
				return err
			}
			now, err := r.round(run)
			if err != nil {
				return err
			}
			if now == old {
				done = r.marked(run, old)
				continue
			}
		default:
			return err
		}
		if done == nil {
			done, _ = r.find(ctx, old)
		}
		if done != nil {
			r.c.discard(ctx, done)
		}
		return nil
	}
}
