package lease_test

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// TestPythonRespectsUs: what we hold, the Python library does not get; what we release, it gets.
func TestPythonRespectsUs(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		m, p := w.machine("gopher"), w.python("P")
		h := m.acquire(t)
		for range 60 {
			wantErr(t, p.acquire(t.Context(), key, 20), errConflict)
			time.Sleep(5 * time.Second)
		}
		must(t, h.Err())
		if err := p.release(t.Context(), key); err == nil {
			t.Error("it released a lease of ours")
		}
		release(t, h)
		must(t, p.acquire(t.Context(), key, 20))
	})
}

// TestPythonReadsOurLayout: the object is what the library itself would have made, and more.
func TestPythonReadsOurLayout(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		m := w.machine("gopher 7/b")
		m.opts.TTL = 20500 * time.Millisecond
		h := m.acquire(t)
		attrs, err := m.bucket.Object(key).Attrs(t.Context())
		must(t, err)
		o := w.object(key)
		if attrs.ContentType != "text/plain" || string(o.Content) != "lock" || o.Metadata["expires_sec"] != "21" {
			t.Errorf("the object is %q, %q with %v", attrs.ContentType, o.Content, o.Metadata)
		}
		if got := o.Metadata["lock_owner"]; !strings.HasPrefix(got, "gopher 7/b ") {
			t.Errorf("lock_owner is %q", got)
		}
		release(t, h)
		if o := w.object(key); o.Metadata["expires_sec"] != "0" || o.Generation != attrs.Generation {
			t.Errorf("released, the object is %+v", o)
		}
	})
}

// TestWeRespectPython: what it holds, we do not get before it releases it or its time is over; and its delete, too, makes
// the lease free, and does not set the token back.
func TestWeRespectPython(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		m, p := w.machine("gopher"), w.python("P")
		first := m.acquire(t)
		release(t, first)

		must(t, p.acquire(t.Context(), key, 20))
		_, err := m.try(t)
		wantHeld(t, err, "P")
		must(t, p.release(t.Context(), key))
		time.Sleep(time.Second) // the service's limit would not let a delete and a create come closer
		second, err := m.try(t)
		must(t, err)
		if second.Token() <= first.Token() {
			t.Errorf("token %d after %d", second.Token(), first.Token())
		}
		release(t, second)

		must(t, p.acquire(t.Context(), key, 20)) // and never releases it
		start := time.Now()
		third := m.acquire(t)
		within(t, "waiting for its time to end", time.Since(start), 20*time.Second, 21*time.Second)
		if third.Token() <= second.Token() {
			t.Errorf("token %d after %d", third.Token(), second.Token())
		}
		if err := p.release(t.Context(), key); err == nil {
			t.Error("it released a lease of ours")
		}
		must(t, third.Err())
		release(t, third)
	})
}

// TestPythonTakesOverFromTheDead, and the nonce that it leaves in the metadata is not taken for ours.
func TestPythonTakesOverFromTheDead(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		m, p := w.machine("gopher"), w.python("P")
		h := m.acquire(t)
		m.Partition(true)
		time.Sleep(ttl + time.Second)
		lost(t, h)
		must(t, p.acquire(t.Context(), key, 3600))
		m.Partition(false)
		wantErr(t, h.Release(t.Context()), lease.ErrLost)
		_, err := m.try(t)
		wantHeld(t, err, "P")
	})
}

// TestPythonTakesALiveLease: with a clock that is fast it does, and the holder learns of it at its next renewal.
func TestPythonTakesALiveLease(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		m, p := w.machine("gopher"), w.python("P")
		p.ahead = time.Minute
		h := m.acquire(t)
		must(t, p.acquire(t.Context(), key, 3600))
		time.Sleep(ttl/3 + time.Second)
		lost(t, h)
		writes := w.requests(gcstest.Patch)
		time.Sleep(time.Hour)
		if n := writes(); n != 0 {
			t.Errorf("%d renewals after the loss", n)
		}
	})
}

// TestForeignObjects: what others left in the layout is read as the library does, or better, and survives.
func TestForeignObjects(t *testing.T) {
	for _, c := range []struct {
		expires string
		wait    time.Duration
	}{
		{"", 0}, {"0", 0}, {"-5", 0}, {"soon", 0}, {"NaN", 0}, {"-Inf", 0}, {"1.5", 2 * time.Second}, {"0.2", time.Second},
		{" 20 ", 20 * time.Second}, {"1e1", 10 * time.Second},
	} {
		t.Run(c.expires, func(t *testing.T) {
			inBubble(t, ideal, func(t *testing.T, w *world) {
				m := w.machine("gopher")
				metadata := map[string]string{"color": "red", "gcsync_epoch": "none", "lock_owner": "somebody"}
				if c.expires != "" {
					metadata["expires_sec"] = c.expires
				}
				wr := m.bucket.Object(key).NewWriter(t.Context())
				wr.Metadata = metadata
				must(t, wr.Close())
				start := time.Now()
				h := m.acquire(t)
				within(t, "acquiring", time.Since(start), c.wait, c.wait+100*time.Millisecond)
				if got := w.object(key).Metadata["color"]; got != "red" {
					t.Errorf("the foreign key is %q", got)
				}
				release(t, h)
			})
		})
	}
	for _, expires := range []string{"Inf", "1e300", "99999999999999999999"} {
		t.Run(expires, func(t *testing.T) {
			inBubble(t, ideal, func(t *testing.T, w *world) {
				m := w.machine("gopher")
				wr := m.bucket.Object(key).NewWriter(t.Context())
				wr.Metadata = map[string]string{"lock_owner": "for ever", "expires_sec": expires}
				must(t, wr.Close())
				time.Sleep(1000 * time.Hour)
				_, err := m.try(t)
				wantHeld(t, err, "for ever")
			})
		})
	}
}

// TestForeignTouch: metadata that others, or the service itself, change under a holder is not a loss.
func TestForeignTouch(t *testing.T) {
	inBubble(t, ideal, func(t *testing.T, w *world) {
		m, o := w.machine("gopher"), w.machine("other")
		h := m.acquire(t)
		for range 10 {
			_, err := o.bucket.Object(key).Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"color": "red"}})
			must(t, err)
			time.Sleep(ttl / 2)
		}
		must(t, h.Err())
		_, err := o.bucket.Object(key).Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"color": "blue"}})
		must(t, err)
		release(t, h)
		if got := w.object(key).Metadata; got["expires_sec"] != "0" || got["color"] != "blue" {
			t.Errorf("metadata %v", got)
		}
	})
}
