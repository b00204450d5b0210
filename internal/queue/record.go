package queue

import (
	"fmt"
	"strconv"
	"time"

	"github.com/gcsync/gcsync/internal/object"
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
	keyGone    = "abandoned"
)

// record is what a ticket's metadata says. Its creator wrote all but the last three; the holder that it is the baton of
// writes those.
type record struct {
	object.Object
	n     int64
	nonce string
	kind  string
	prev  int64
	claim time.Duration
	base  int64

	ttl       time.Duration
	renewal   string
	abandoned bool
}

// lease is how long the holder of this baton may be silent, as it stands in the object.
func (r *record) lease() time.Duration {
	if r.renewal == "" {
		return r.claim
	}
	return r.ttl
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
	return fmt.Sprintf("%s is not a ticket of gcsync (%s): move it away, or give the lock another name", e.URL, e.Why)
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
	r.kind, r.renewal = md[keyKind], md[keyRenewal]
	_, r.abandoned = md[keyGone]
	for _, d := range [...]struct {
		key string
		to  *time.Duration
	}{{keyTTL, &r.ttl}, {keyClaim, &r.claim}} {
		ms, err := strconv.ParseInt(md[d.key], 10, 64)
		*d.to = time.Duration(ms) * time.Millisecond
		if err != nil || ms > lease.MaxLength.Milliseconds() || lease.CheckLength(*d.to) != nil {
			return fmt.Sprintf("%s is %q, not a plausible number of milliseconds", d.key, md[d.key])
		}
	}
	if r.n == 0 {
		r.base = r.Created.UnixMilli()
		return ""
	}
	for _, d := range [...]struct {
		key string
		to  *int64
	}{{keyPrev, &r.prev}, {keyBase, &r.base}} {
		var err error
		if *d.to, err = strconv.ParseInt(md[d.key], 10, 64); err != nil || *d.to <= 0 {
			return fmt.Sprintf("%s is %q, not a positive number", d.key, md[d.key])
		}
	}
	return ""
}

// draft is the ticket that follows base; nil for ticket 0.
func (l *line) draft(base *record) object.Draft {
	md := map[string]string{
		keyNonce: object.NewNonce(),
		keyOwner: l.cfg.Owner,
		keyHost:  l.cfg.Host,
		keyKind:  l.kind,
		keyTTL:   millis(l.cfg.TTL),
		keyClaim: millis(l.cfg.Claim),
	}
	if base != nil {
		md[keyPrev] = strconv.FormatInt(base.Gen, 10)
		md[keyBase] = strconv.FormatInt(base.base, 10)
	}
	return object.Draft{Metadata: md}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
