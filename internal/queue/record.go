package queue

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
	"github.com/gcsync/gcsync/lease"
)

// Keys of a ticket's metadata. Durations are whole milliseconds.
const (
	keyNonce   = object.KeyNonce // of the creator
	keyOwner   = "owner"
	keyHost    = "host"
	keyKind    = "kind"  // what the queue is for: "mutex"
	keyPrev    = "prev"  // generation of the ticket before it
	keyTTL     = "ttl"   // how long a holder that has renewed may be silent
	keyClaim   = "claim" // how long a holder that has never renewed may be silent
	keyBase    = "base"  // creation time of ticket 0, in milliseconds since the epoch
	keyRenewal = "rn"    // nonce of the last renewal, written by the holder
	keyHeld    = "held"  // for how long the holder had held it when it last renewed
	keyGone    = "abandoned"

	keyTicket = "ticket" // of a call: the number of the ticket that is called

	// Of a semaphore's tickets.
	keySlots = "slots" // the slots that there are, as whoever made it says
)

// record is what a ticket's metadata says. Its creator wrote all but the last three; the holder that it is the baton of
// writes those.
type record struct {
	object.Object
	n     int64
	nonce string
	kind  string
	prev  int64
	base  int64
	size  int64 // of a semaphore's ticket: the slots that its maker says there are
	term

	abandoned bool
}

// term is how long the holder whom a record keeps alive may be silent.
type term struct {
	claim   time.Duration // before it has renewed
	ttl     time.Duration // afterwards
	renewal string        // nonce of the last renewal; empty: it never has
}

// lease is how long it may be silent as the object stands.
func (t *term) lease() time.Duration {
	if t.renewal == "" {
		return t.claim
	}
	return t.ttl
}

// read takes the term from an object's metadata, or says why there is none.
func (t *term) read(md map[string]string) (why string) {
	t.renewal = md[keyRenewal]
	for _, d := range [...]struct {
		key string
		to  *time.Duration
	}{{keyTTL, &t.ttl}, {keyClaim, &t.claim}} {
		ms, err := strconv.ParseInt(md[d.key], 10, 64)
		*d.to = time.Duration(ms) * time.Millisecond
		if err != nil || ms > lease.MaxLength.Milliseconds() || lease.CheckLength(*d.to) != nil {
			return fmt.Sprintf("%s is %q, not a plausible number of milliseconds", d.key, md[d.key])
		}
	}
	return ""
}

// id is the ticket's identity.
func (r *record) id() ref { return ref{r.n, r.Gen} }

// ref is one ticket: a number names it, but only the generation says which of the objects that ever bore the name.
type ref struct{ n, gen int64 }

// ForeignError says that an object stands where only tickets should, and that gcsync will not touch it.
type ForeignError struct {
	URL string
	Why string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s stands where only objects of gcsync should, and is none (%s): move it away, or choose another name", e.URL, e.Why)
}

// parse reads a ticket. It fails with a *ForeignError on anything that this package did not write.
func (l *line) parse(o object.Object) (*record, error) {
	r := &record{Object: o}
	if why := r.read(l.path); why != "" {
		return nil, &ForeignError{URL: l.store.URL(o.Name), Why: why}
	}
	return r, nil
}

// read fills in r from its object, or says why it is no ticket.
func (r *record) read(p Path) (why string) {
	var ok bool
	if r.n, ok = p.number(r.Name); !ok {
		return fmt.Sprintf("the name is not a number of %d digits", digits)
	}
	md := r.Metadata
	if r.nonce = md[keyNonce]; r.nonce == "" {
		return fmt.Sprintf("no %q in its metadata", keyNonce)
	}
	r.kind = md[keyKind]
	_, r.abandoned = md[keyGone]
	r.size, _ = strconv.ParseInt(md[keySlots], 10, 64)
	if why := r.term.read(md); why != "" {
		return why
	}
	if r.n == 0 {
		r.base = r.Created.UnixMilli()
		return ""
	}
	return cmp.Or(positive(md, keyPrev, &r.prev), positive(md, keyBase, &r.base))
}

// positive takes a number from an object's metadata, or says why it is none.
func positive(md map[string]string, key string, to *int64) (why string) {
	var err error
	if *to, err = strconv.ParseInt(md[key], 10, 64); err != nil || *to <= 0 {
		return fmt.Sprintf("%s is %q, not a positive number", key, md[key])
	}
	return ""
}

// draft is the ticket that follows base; nil for ticket 0.
func (l *line) draft(base *record) object.Draft {
	md := l.signed()
	if base != nil {
		md[keyPrev] = decimal(base.Gen)
		md[keyBase] = decimal(base.base)
	}
	if l.size > 0 {
		md[keySlots] = decimal(l.size)
	}
	return object.Draft{Metadata: md}
}

// signed is the metadata that all our objects begin with.
func (l *line) signed() map[string]string {
	md := map[string]string{
		keyNonce: object.NewNonce(),
		keyOwner: l.cfg.Owner,
		keyHost:  l.cfg.Host,
		keyKind:  l.kind,
		keyTTL:   millis(l.cfg.TTL),
		keyClaim: millis(l.cfg.Claim),
	}
	telemetry.Inject(l.origin(), md)
	return md
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
