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
	foreign := func(format string, args ...any) error {
		return &ForeignError{URL: l.store.URL(o.Name), Why: fmt.Sprintf(format, args...)}
	}
	r := &record{Object: o}
	var ok bool
	if r.n, ok = l.path.number(o.Name); !ok {
		return nil, foreign("the name is not a number of %d digits", digits)
	}
	md := o.Metadata
	if r.nonce = md[keyNonce]; r.nonce == "" {
		return nil, foreign("no %q in its metadata", keyNonce)
	}
	r.kind, r.renewal = md[keyKind], md[keyRenewal]
	_, r.abandoned = md[keyGone]

	var err error
	duration := func(key string) time.Duration {
		ms, e := strconv.ParseInt(md[key], 10, 64)
		d := time.Duration(ms) * time.Millisecond
		if e != nil || ms > lease.MaxLength.Milliseconds() || lease.CheckLength(d) != nil {
			err = foreign("%s is %q, not a plausible number of milliseconds", key, md[key])
		}
		return d
	}
	number := func(key string) int64 {
		n, e := strconv.ParseInt(md[key], 10, 64)
		if e != nil || n <= 0 {
			err = foreign("%s is %q, not a positive number", key, md[key])
		}
		return n
	}
	r.ttl, r.claim = duration(keyTTL), duration(keyClaim)
	if r.n == 0 {
		r.base = o.Created.UnixMilli()
	} else {
		r.prev, r.base = number(keyPrev), number(keyBase)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
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
