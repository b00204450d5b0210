package gcsync

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

const kindElection = "election"

// An Election chooses one leader at a time among all clients of a bucket that campaign for it. Get one from
// [Client.Election].
//
// At most one client believes that it leads: leadership is a lease, see [Term]. Candidates have no order; a leader that
// resigns is followed within some seconds, and one that dies after its lease ([Options.TTL]). Every term has a number
// greater than that of all before it. The leader tells a text of its choice, an address say, to everybody who asks.
type Election struct {
	c    *Client
	name string
}

// Election returns the election called name. It sends no request and never fails: an impossible name is an error of the
// first call. No Once and no Every can have the same name.
func (c *Client) Election(name string) *Election { return &Election{c, name} }

// A Term is the time for which a client leads. It ends when the client resigns or closes, or when the lease is lost:
// [lease.Lease.Done], [lease.Lease.Err] and [lease.Lease.Context] tell.
type Term struct {
	*lease.Lease
	r    *register
	held *lease.Held
}

// Number returns the number of the term: the fencing token of its lease. It is greater than that of every term of the
// election before it, also if somebody has deleted the object meanwhile; and it is not consecutive.
func (t *Term) Number() int64 { return t.Token() }

// Resign ends the term and lets another candidate lead. When it returns, this client does not lead, whatever the error:
//
//   - nil: it led until now.
//   - [ErrLost]: the term had been lost before, and somebody else may have led meanwhile.
//   - [ErrUnconfirmed]: it led until now, but the service has not confirmed the resignation within a fifth of the TTL,
//     at least 3 s. At the latest the lease ends the term.
//   - [ErrClosed]: the client was closed, which resigned.
//   - [lease.ErrReleased]: it had resigned before.
//
// Only the values of ctx are used: that it has ended does not keep anybody from resigning.
func (t *Term) Resign(ctx context.Context) error {
	_, err := t.r.leave(ctx, t.held, nil)
	return t.r.failed("resign", err)
}

// Leader is who leads, as everybody sees it.
type Leader struct {
	Term  int64  // the number of the term
	Owner string // Options.Owner of the leader's client
	Host  string // the name of its machine
	Value string // what it told with Campaign
}

// markValue is what the leader wants everybody to know.
const markValue = "value"

// maxLeader bounds the value: the metadata of an object may be 8 KiB in all.
const maxLeader = 4 << 10

// Campaign waits until this client leads. Others can read value while it does: UTF-8, 4 KiB at most. ctx bounds the
// waiting only, and the term outlives it.
//
// An error means that this client does not lead, and that nothing is left to undo. It wraps the cause of ctx, together
// with a [*lease.HeldError] that tells who leads; [ErrClosed], a [*MismatchError], a [*ForeignError], or what the service
// refused for good. Should ctx end while a write of unknown outcome is under way, Campaign takes up to a fifth of the
// TTL more, at least 3 s, to undo it; if even that gets no answer, the error wraps [ErrUnconfirmed], and for one lease
// there may be no leader.
//
// Each call is a candidate of its own: two of one client exclude each other like any others.
func (e *Election) Campaign(ctx context.Context, value string) (*Term, error) {
	r, err := e.c.register(kindElection, e.name)
	if err != nil {
		return nil, err
	}
	switch {
	case len(value) > maxLeader:
		return nil, r.failed("campaign in", fmt.Errorf("the value is %d bytes long: make it %d at most", len(value), maxLeader))
	case !utf8.ValidString(value):
		return nil, r.failed("campaign in", fmt.Errorf("the value must be valid UTF-8: %.40q", value))
	}
	h, _, err := r.acquire(ctx, map[string]string{markValue: value}, nil)
	if err != nil {
		return nil, r.failed("campaign in", err)
	}
	return &Term{h.Lease, r, h}, nil
}

// Leader returns who leads. The error is [ErrNoLeader] if nobody does: nobody ever did, the last one has resigned, or was
// not heard of for its lease, by the service's clock (over gRPC, by this machine's).
//
// The answer is out of date when it is there. Use it to find the leader, not to decide whether to act as one.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	r, err := e.c.register(kindElection, e.name)
	if err != nil {
		return Leader{}, err
	}
	ctx, cancel := object.Bound(ctx)
	defer cancel()
	l, err := r.leader(ctx, e.c.terms.Watch(r.object()))
	return l, r.failed("ask for the leader of", err)
}

// Observe returns the leaders from now on: who leads at first, and then each change. While nobody leads, that is an
// element with [ErrNoLeader]. A term so short that it lies between two looks, which are up to 2 s apart, is left out.
//
// Any other error is the last element: the cause of ctx, [ErrClosed], or what the service refused for good. Observing
// costs about one paid read every four seconds. The sequence may be used more than once; each time begins anew.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		r, err := e.c.register(kindElection, e.name)
		if err != nil {
			yield(Leader{}, err)
			return
		}
		w := e.c.terms.Watch(r.object())
		var last Leader
		for first := true; ; first = false {
			l, err := r.leader(ctx, w)
			switch {
			case err != nil && !errors.Is(err, ErrNoLeader):
				yield(Leader{}, r.failed("observe", err))
				return
			case first || l != last:
				if err != nil {
					err = r.failed("observe", err)
				}
				if !yield(l, err) {
					return
				}
				last = l
			}
			err = e.c.call(ctx, func(ctx context.Context) error {
				if !w.Sleep(ctx) {
					return object.Ended(ctx)
				}
				return nil
			})
			if err != nil {
				yield(Leader{}, r.failed("observe", err))
				return
			}
		}
	}
}

// leader looks once more.
func (r *register) leader(ctx context.Context, w *lease.Watch) (l Leader, err error) {
	err = r.c.call(ctx, func(ctx context.Context) error {
		state, o, err := w.Look(ctx)
		if err == nil {
			err = r.check(o)
		}
		if err == nil && state.Expired {
			err = ErrNoLeader
		}
		l = leaderOf(state, o)
		return err
	})
	if err != nil {
		return Leader{}, err
	}
	return l, nil
}

func leaderOf(state lease.State, o object.Object) Leader {
	return Leader{Term: state.Token, Owner: state.Owner, Host: o.Metadata[markHost], Value: o.Metadata[markValue]}
}

// Run campaigns, and runs f while this client leads, again whenever it has lost a term, until ctx ends. The context of f is
// ctx, cancelled with an [ErrLost] cause when the term is lost, with [ErrClosed] when the client closes, and carrying the
// term's number for [lease.TokenFrom]. f should stop when it ends: from then on somebody else may lead. Only when f has
// returned does Run campaign again.
//
// If f returns while it leads, Run resigns and returns what f returned, joined with the error of [Term.Resign] if there
// was one. What f returns after a loss is only logged. If f panics, Run resigns and the panic goes on. Other errors are
// those of [Election.Campaign].
func (e *Election) Run(ctx context.Context, value string, f func(ctx context.Context) error) error {
	for {
		t, err := e.Campaign(ctx, value)
		if err != nil {
			return err
		}
		again, err := t.run(ctx, f)
		if !again {
			return err
		}
	}
}

func (t *Term) run(ctx context.Context, f func(ctx context.Context) error) (again bool, err error) {
	returned := false
	defer func() {
		if !returned { // f has panicked
			_ = t.Resign(ctx)
		}
	}()
	inside, cancel := t.Context(ctx)
	defer cancel()
	err = f(t.r.c.toldOf(t.held).hold.Inside(inside))
	returned = true
	resigned := t.Resign(ctx)
	if errors.Is(resigned, ErrLost) && ctx.Err() == nil {
		t.r.c.terms.Logger.InfoContext(ctx, "gcsync: term lost, campaigning again", "election", t.r.name, "term", t.Number(), "error", err)
		return true, nil
	}
	if resigned != nil {
		err = errors.Join(err, resigned)
	}
	return false, err
}
