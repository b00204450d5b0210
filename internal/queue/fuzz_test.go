package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// Whatever two locks are called, neither's objects are in the other's folders, and every name that is taken is one that
// the service takes.
func FuzzNames(f *testing.F) {
	for _, pair := range [][2]string{{"a", "a/t"}, {"a", "a/"}, {"a/%74", "a/t"}, {"..", "."}, {"a#1", "a"}, {"a\nb", "a?b"}, {"ä", "a\u0308"}, {"t", "w"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		p, err := NewPath("gcsync/", a)
		if err != nil {
			return
		}
		q, err := NewPath("gcsync/", b)
		if err != nil {
			return
		}
		for _, name := range []string{p.ticket(0), p.ticket(1<<63 - 1), p.witness(1<<63-1, 1<<63-1)} {
			if err := object.CheckName(name); err != nil {
				t.Errorf("%q of lock %q: %v", name, a, err)
			}
			if a != b && (strings.HasPrefix(name, q.tickets()) || strings.HasPrefix(name, q.witnesses())) {
				t.Errorf("%q of lock %q is in a folder of lock %q", name, a, b)
			}
		}
		if n, ok := p.number(p.ticket(42)); !ok || n != 42 {
			t.Errorf("ticket 42 of %q reads as %d, %v", a, n, ok)
		}
	})
}

// Whatever stands in an object's metadata, it is a ticket with sensible values, or it is refused.
func FuzzRecord(f *testing.F) {
	f.Add("gcsync/m/t/0000000000000000007", "nonce", "mutex", "30000", "10000", "5", "1700000000000", "", "")
	f.Add("gcsync/m/t/7", "", "", "-1", "9223372036854775808", "0", "-5", "x", "1")
	f.Fuzz(func(t *testing.T, name, nonce, kind, ttl, claim, prev, base, renewal, gone string) {
		r := &record{Object: object.Object{Name: name, Created: time.UnixMilli(1), Metadata: map[string]string{
			keyNonce: nonce, keyKind: kind, keyTTL: ttl, keyClaim: claim, keyPrev: prev, keyBase: base, keyRenewal: renewal, keyGone: gone,
		}}}
		if r.read("gcsync/m") != "" {
			return
		}
		if r.nonce == "" || r.n < 0 || r.n > 0 && (r.prev <= 0 || r.base <= 0) || lease.CheckLength(r.lease()) != nil {
			t.Errorf("%+v was taken for a ticket: %+v", r.Metadata, r)
		}
	})
}
