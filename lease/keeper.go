package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/tasks"
	"github.com/gcsync/gcsync/tracing"
)

// A Record is the object that stands for a lease: whoever last wrote it holds it, for a length counted from the moment
// that write was sent.
type Record struct {
	Name    string
	Version object.Version
	Nonce   string        // the nonce of the write that is confirmed, as Keeping.Nonce finds it
	From    clock.Instant // when that write was sent; a lease never counts from an answer
	Length  time.Duration // how long the others leave the record alone
}

// Keeping says how a [Keeper] renews.
type Keeping struct {
	Store   *object.Store
	Tasks   *tasks.Group
	TTL     time.Duration                        // the length that each renewal gives to the lease
	Backoff func() object.Backoff                // between attempts to renew
	Fields  func(nonce string) map[string]string // the metadata that a renewal writes
	Nonce   func(map[string]string) string       // the nonce of the write that the metadata came from

	Watcher Watcher // hears of what becomes of it; may be nil
}

// A Watcher hears of every renewal, of every attempt at one that did not succeed, and of the loss. It must not call the
// keeper.
type Watcher interface {
	Renewed(attempts int)
	Failed(err error)
	Lost(err error)
}

// A Keeper keeps one record alive and tells the current [Lease] on it when it can no longer. It has one timer and, but for
// the moments of a renewal, no goroutine. It ends lost or stopped, once, and never comes back.
type Keeper struct {
	how Keeping

	mu      sync.Mutex
	rec     Record
	current *Lease // the grant in force; nil between grants
	err     error  // why it ended; nil while it is kept
	trouble error  // what the latest attempt to renew failed with; nil since one succeeded
	sent    map[string]clock.Instant
	alarm   *time.Timer
	next    time.Duration      // after rec.From, when to renew
	cancel  context.CancelFunc // ends the renewal under way; nil: none is
}

// Keep starts to keep rec. The first renewal comes after a third of the lease.
func Keep(how Keeping, rec Record) *Keeper {
	k := &Keeper{how: how, rec: rec}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.schedule()
	return k
}

// Grant begins a lease with the given token on what is kept. It returns nil if the time is over.
func (k *Keeper) Grant(token int64) *Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check()
	if k.err != nil {
		return nil
	}
	k.current = &Lease{keeper: k, token: token, done: make(chan struct{})}
	return k.current
}

// Retire ends the current lease as released and keeps the record for the next grant. It returns the error that the
// lease had ended with, nil if it was held until now.
func (k *Keeper) Retire() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check()
	if k.current != nil {
		k.current.end(ErrReleased)
		k.current = nil
	}
	return k.err
}

// Stop ends belief: the current lease ends with the given error, nothing is renewed any more, and a renewal under way
// is given up. After Stop the record may be deleted. It returns the error that the keeper had ended with before, nil if
// it was kept until now.
func (k *Keeper) Stop(cause error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check()
	was := k.err
	k.finish(cause)
	return was
}

// Err returns nil while the record is kept, and otherwise why it is no longer.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check()
	return k.err
}

// Record returns the record as the last confirmed write left it.
func (k *Keeper) Record() Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rec
}

// Wrote reports whether the nonce is of a write of this keeper: the confirmed one, or an attempt that may yet land.
func (k *Keeper) Wrote(nonce string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, sent := k.sent[nonce]
	return sent || nonce == k.rec.Nonce
}

// remaining is the time for which the holder may still believe. k.mu is held.
func (k *Keeper) remaining() time.Duration {
	return k.rec.Length - Margin(k.rec.Length) - k.how.Store.Clock().Now().Longest(k.rec.From)
}

func (k *Keeper) deadline() time.Time {
	return time.Now().Add(k.remaining())
}

// check turns a passed deadline into the loss that it is. k.mu is held.
func (k *Keeper) check() {
	if k.err != nil || k.remaining() > 0 {
		return
	}
	if k.trouble != nil {
		k.lose(fmt.Errorf("%w: %w", errLate, k.trouble))
	} else {
		k.lose(errLate)
	}
}

// lose ends the keeper as lost. k.mu is held.
func (k *Keeper) lose(why error) {
	if k.err != nil {
		return
	}
	err := fmt.Errorf("%s: %w: %w", k.how.Store.URL(k.rec.Name), ErrLost, why)
	k.finish(err)
	if k.how.Watcher != nil {
		k.how.Watcher.Lost(err)
	}
}

// finish ends the keeper. k.mu is held.
func (k *Keeper) finish(err error) {
	if k.err != nil {
		return
	}
	k.err = err
	k.alarm.Stop()
	if k.cancel != nil {
		k.cancel()
	}
	if k.current != nil {
		k.current.end(err)
		k.current = nil
	}
}

// schedule plans the next renewal by the record, which was just written. k.mu is held.
func (k *Keeper) schedule() {
	third := k.rec.Length / 3
	k.next = third - time.Duration(rand.Int64N(int64(third)/10+1)) // early, never late
	k.cancel = nil
	k.watch()
}

// watch sets the alarm: for the end of the lease, for the renewal if none is under way, and for every now and then before.
// Timers stand still while a virtual machine is suspended, and after that the end may long be past. k.mu is held.
func (k *Keeper) watch() {
	d := min(k.remaining(), Margin(k.rec.Length))
	if k.cancel == nil {
		d = min(d, k.untilRenewal())
	}
	if k.alarm == nil {
		k.alarm = k.how.Tasks.AfterFunc(d, k.ring)
	} else {
		k.alarm.Reset(d)
	}
}

// untilRenewal is the time until the next renewal. k.mu is held.
func (k *Keeper) untilRenewal() time.Duration {
	return k.next - k.how.Store.Clock().Now().Since(k.rec.From)
}

// ring is what the alarm does: it announces the end, or renews.
func (k *Keeper) ring(ctx context.Context) {
	if ctx, cancel := k.due(ctx); cancel != nil {
		defer cancel()
		k.renew(ctx)
	}
}

// due sets the alarm anew and returns how to end the renewal that is to begin now; nil if none is.
func (k *Keeper) due(ctx context.Context) (context.Context, context.CancelFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check()
	if k.err != nil {
		return nil, nil
	}
	defer k.watch()
	if k.cancel != nil || k.untilRenewal() > 0 {
		return nil, nil
	}
	ctx, k.cancel = context.WithCancel(ctx)
	return ctx, k.cancel
}

// renew tries until the record is renewed or the lease is over.
func (k *Keeper) renew(ctx context.Context) {
	backoff := k.how.Backoff()
	for attempts := 1; ; attempts++ {
		switch k.attempt(ctx) {
		case renewed:
			if k.how.Watcher != nil {
				k.how.Watcher.Renewed(attempts)
			}
			return
		case over:
			return
		}
		pause := backoff.NextBackOff()
		if pause < 0 || pause > time.Second {
			pause = time.Second // a policy may give up on a call, not on a lease that still has time
		}
		if !object.Sleep(ctx, max(pause, 10*time.Millisecond)) {
			return // over: lost or stopped
		}
	}
}

// progress is what an attempt to renew has come to.
type progress uint8

const (
	again progress = iota // nothing is settled, and there is time left
	renewed
	over // lost or stopped
)

// attempt makes one attempt to renew.
//
// Every attempt carries a nonce of its own, so that a write whose answer was lost can be told later from one that never
// arrived, and counts from its own send.
func (k *Keeper) attempt(ctx context.Context) progress {
	nonce := object.NewNonce()
	k.mu.Lock()
	k.check() // what is lost is not renewed: it would keep others out for a lease that nobody has
	if k.err != nil {
		k.mu.Unlock()
		return over
	}
	rec := k.rec
	if k.sent == nil {
		k.sent = make(map[string]clock.Instant)
	}
	k.sent[nonce] = k.how.Store.Clock().Now()
	k.mu.Unlock()

	store := k.how.Store.WithTimeout(RequestTimeout(rec.Length))
	o, err := store.Patch(ctx, rec.Name, rec.Version, k.how.Fields(nonce))
	switch object.OutcomeOf(err) {
	case object.Applied:
		return k.confirm(nonce, o.Version)
	case object.Refused, object.Missing:
		// Somebody wrote since: an attempt of ours whose answer we did not see, the service itself, or a successor.
		o, err = store.Get(ctx, rec.Name)
		switch object.OutcomeOf(err) {
		case object.Applied:
			return k.reconcile(o)
		case object.Missing:
			return k.gone(errDeleted)
		}
	}
	k.mu.Lock()
	k.trouble = err
	stopped := k.err != nil
	k.mu.Unlock()
	if k.how.Watcher != nil && !stopped {
		k.how.Watcher.Failed(err)
	}
	return again // busy, indeterminate, denied: time is left until the deadline
}

// confirm extends the lease from the send of the attempt with the given nonce.
func (k *Keeper) confirm(nonce string, v object.Version) progress {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check() // an answer that comes after the deadline extends nothing
	if k.err != nil {
		return over
	}
	k.rec.Version, k.rec.Nonce = v, nonce
	k.rec.From, k.rec.Length = k.sent[nonce], k.how.TTL
	k.trouble = nil
	k.sent = nil // and the next renewal is a while away
	k.schedule()
	return renewed
}

// reconcile concludes from the record as it stands, after an attempt was refused.
func (k *Keeper) reconcile(o object.Object) progress {
	nonce := k.how.Nonce(o.Metadata)
	k.mu.Lock()
	_, mine := k.sent[nonce]
	rec := k.rec
	k.mu.Unlock()
	switch {
	case o.Gen != rec.Version.Gen:
		return k.gone(errReplaced)
	case mine:
		return k.confirm(nonce, o.Version)
	case nonce == rec.Nonce:
		// The service touches metadata of its own accord (a lifecycle rule that changes the storage class): not loss.
		k.mu.Lock()
		k.rec.Version = o.Version
		k.mu.Unlock()
		return again
	}
	return k.gone(errTaken)
}

func (k *Keeper) gone(why error) progress {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lose(why)
	return over
}

// What ends a lease before its release.
var (
	errLate     = errors.New("not renewed in time")
	errDeleted  = errors.New("the record was deleted")
	errReplaced = errors.New("the record was replaced")
	errTaken    = errors.New("somebody else took it over")
)

// LossReason tells in a word what ended a lease that was lost, for metrics.
func LossReason(err error) string {
	switch {
	case errors.Is(err, errDeleted):
		return tracing.Deleted
	case errors.Is(err, errReplaced):
		return tracing.Replaced
	case errors.Is(err, errTaken):
		return tracing.TakenOver
	}
	return tracing.NotRenewed
}
