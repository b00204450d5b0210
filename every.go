package gcsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

const kindEvery = "every"

// An Every is a piece of work that is done once per period among all clients of a bucket: a cron job on several machines.
// Get one from [Client.Every].
//
// Time is divided into slots of one period, aligned to midnight of 1 January 1970, UTC: of an hour, they begin on the
// hour; of a day, at midnight UTC. The work of a slot is done when a function has returned nil and the service has
// confirmed that this was recorded. One object remembers the last slot that was done.
//
// The slot of a call is that of its machine's wall clock, which is also what makes cron jobs start. Clocks that differ
// shift the time at which the work of a slot is done, and no more: of two machines, the one that is ahead does it by its
// own time, and the other finds it done. A machine that is ahead of the service by more than a period, and more than a
// minute, is refused, lest it keep the others from their work for as long as that. What was missed because nobody
// called in time is not made up for.
//
// A function runs twice for one slot only if its process dies, or is paused for longer than its lease ([Options.TTL]).
// Runs of different slots do not overlap, unless a function does not stop when its context ends.
type Every struct {
	c      *Client
	name   string
	period time.Duration
}

// Every returns the periodic work called name. It sends no request and never fails: an impossible name, or a period of
// less than a second, is an error of the first call. Clients of one name should agree on the period; while they do not, a
// slot counts as done when one that began then or later is. No Once and no Election can have the same name.
//
// A bucket takes about one write a second to one object, and a slot takes two: a period of less than some ten seconds is
// not what it is for.
func (c *Client) Every(name string, period time.Duration) *Every { return &Every{c, name, period} }

// Do runs f unless the work of the present slot was done before, by anybody, and reports whether it ran f. While somebody
// else is at it, Do waits, and takes over if they fail: so a nil error means that the work of the slot is done, or that
// meanwhile that of a later one is. ctx bounds the waiting, and f.
//
// The context of f is ctx, cancelled with an [ErrLost] cause when the lease under which f runs is lost, with [ErrClosed]
// when the client closes, and carrying the fencing token for [lease.TokenFrom]. f should stop when it ends: from then on
// somebody else may be running theirs.
//
// True with an error means that f was run, and that it failed, or that its success could not be recorded ([ErrLost],
// [ErrUnconfirmed], [ErrClosed]); then whoever comes next in the same slot runs it again. A panic is like an error, and
// goes on. False with an error means that f was not run: the cause of ctx, together with a [*lease.HeldError] that tells
// who is at it; [ErrClosed], a [*MismatchError], a [*ForeignError], a clock that is ahead, or what the service refused for
// good.
func (e *Every) Do(ctx context.Context, f func(ctx context.Context) error) (ran bool, err error) {
	r, err := e.c.register(kindEvery, e.name)
	if err != nil {
		return false, err
	}
	if e.period < time.Second {
		return false, r.failed("do", fmt.Errorf("a period of %v is too short: make it a second at least", e.period))
	}
	slot := slotOf(e.c.store.Clock().Now().Wall(), e.period)
	t := e.c.slots.enter(r.path)
	defer t.leave()
	done := func() bool {
		last, _ := t.recall()
		return last != nil && !last.Before(slot)
	}
	if done() {
		return false, nil
	}
	if err := e.c.call(ctx, t.take); err != nil {
		return false, r.failed("do", err)
	}
	defer t.pass()
	if done() {
		return false, nil
	}
	last, ran, err := r.every(ctx, slot, max(e.period, time.Minute), f)
	if !last.IsZero() {
		t.remember(&last, 0) // nothing is ever to be forgotten
	}
	return ran, err
}

// slotOf returns the beginning of the slot that t is in.
func slotOf(t time.Time, period time.Duration) time.Time {
	d := t.UnixNano() % int64(period)
	if d < 0 {
		d += int64(period)
	}
	return time.Unix(0, t.UnixNano()-d).UTC()
}

// markSlot is when the last slot began that is done.
const markSlot = "slot"

// slot returns the beginning of the last slot that is done, the zero time if none is.
func (r *register) slot(o object.Object) (time.Time, error) {
	text, ok := o.Metadata[markSlot]
	if !ok {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, r.foreign(o, fmt.Sprintf("%s is %q, not a time", markSlot, text))
	}
	return at, nil
}

// overtaken ends the waiting: the slot, or a later one, is done.
type overtaken struct{ last time.Time }

func (*overtaken) Error() string { return "done" }

// every runs f for a slot unless that is done. It returns the last slot that it knows to be done.
func (r *register) every(ctx context.Context, slot time.Time, ahead time.Duration, f func(ctx context.Context) error) (last time.Time, ran bool, err error) {
	h, o, err := r.acquire(ctx, nil, func(_ context.Context, o object.Object, _ bool) error {
		last, err := r.slot(o)
		if err == nil && !last.IsZero() && !last.Before(slot) {
			err = &overtaken{last}
		}
		return err
	})
	if done := new(overtaken); errors.As(err, &done) {
		return done.last, false, nil
	}
	if err != nil {
		return time.Time{}, false, r.failed("do", err)
	}
	left := false
	leave := func(marks map[string]string) (object.Object, error) {
		left = true
		o, err := r.leave(ctx, h, marks)
		return o, r.failed("do", err)
	}
	defer func() {
		if !left { // f has panicked
			_, _ = leave(nil)
		}
	}()
	if slot.Sub(o.Updated) > ahead { // the service has just told its time
		err := fmt.Errorf("the clock of this machine is ahead of the service's: the slot of %v, and it is only %v there: set it right",
			slot.Format(time.RFC3339), o.Updated.UTC().Format(time.RFC3339))
		_, left := leave(nil)
		return time.Time{}, false, errors.Join(r.failed("do", err), left)
	}
	inside, cancel := h.Context(ctx)
	defer cancel()
	if err := r.c.toldOf(h).run(inside, f); err != nil {
		if _, left := leave(nil); left != nil {
			err = errors.Join(err, left)
		}
		return time.Time{}, true, err
	}
	cancel()
	o, err = leave(map[string]string{markSlot: slot.Format(time.RFC3339Nano)})
	if err != nil {
		return time.Time{}, true, err
	}
	if last, err := r.slot(o); err != nil || last.Before(slot) { // the answers were lost, and then the lease
		return time.Time{}, true, r.failed("do", errors.Join(ErrLost, err))
	}
	return slot, true, nil
}
