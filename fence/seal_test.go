package fence_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
)

func TestSealCreatesTheObject(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		o, err := fence.Seal(w.Context(), w.machine().bucket, name, 7, &fence.Options{Initial: []byte("[]"), ContentType: "application/json"})
		if err != nil {
			t.Fatal(err)
		}
		w.is("[]", 7)
		w.read(o, "[]")
		if o.Token() != 7 || o.Generation() != w.object().Generation || w.attrs().ContentType != "application/json" {
			t.Errorf("token %d, generation %d, type %s", o.Token(), o.Generation(), w.attrs().ContentType)
		}
	})
}

func TestSealTakesObjectWithoutToken(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		w.foreign("old", map[string]string{"team": "red"})
		o := w.machine().seal(7)
		w.is("old", 7)
		w.read(o, "old")
		w.write(o, "new")
		w.is("new", 7)
		if a := w.attrs(); a.Metadata["team"] != "red" || a.ContentType != "application/json" || a.CacheControl != "private" {
			t.Errorf("what describes the content was not kept: %+v", a)
		}
	})
}

func TestSealRefusesSmallerToken(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		m := w.machine()
		m.seal(9)
		before := w.object().Metageneration
		_, err := fence.Seal(w.Context(), m.bucket, name, 8, nil)
		w.stale(err, 8, 9)
		if w.object().Metageneration != before {
			t.Error("it changed the object")
		}
		// As numbers, not as text.
		if _, err := fence.Seal(w.Context(), m.bucket, name, 10, nil); err != nil {
			t.Error(err)
		}
	})
}

// The same holder may seal again, and what it did before, even if it is still on its way, is over.
func TestSealUnderEqualToken(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		m := w.machine()
		first := m.seal(7)
		second := m.seal(7)
		w.wants(first.Write(w.Context(), []byte("first")), fence.ErrChanged, fence.ErrUnknown)
		w.write(second, "second")
		w.is("second", 7)
	})
}

func TestSealWithMishaps(t *testing.T) {
	for _, existing := range []bool{false, true} {
		eachMishap(t, func(w *world, m *machine, faults []gcstest.Fault) {
			kind := gcstest.Insert
			if existing {
				kind = gcstest.Patch
				w.foreign("old", nil)
			}
			before := len(w.changes())
			m.Script(gcstest.On(kind, name), faults...)
			m.Script(gcstest.On(gcstest.Get, name), gcstest.Fault{}, gcstest.Fault{Kind: gcstest.Reset})
			o := m.seal(7)
			w.write(o, "new")
			time.Sleep(2 * time.Minute)
			w.is("new", 7)
			if n := len(w.changes()) - before; n != 2 {
				w.Errorf("%d changes to seal and write, want 2", n)
			}
		})
	}
}

// However many race to create it, the greatest token is what is there, and everybody else is stale afterwards.
func TestSealRacesToCreate(t *testing.T) {
	const racers = 6
	model := gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 1}
	for seed := range uint64(20) {
		model.Seed = seed
		inBubble(t, model, func(w *world) {
			var all sync.WaitGroup
			var sealed [racers + 1]*fence.Object
			for token := 1; token <= racers; token++ {
				m := w.machine()
				all.Go(func() {
					o, err := fence.Seal(w.Context(), m.bucket, name, int64(token), nil)
					if stale := new(*fence.StaleError); err != nil && !errors.As(err, stale) {
						t.Error(err)
					}
					sealed[token] = o
				})
			}
			all.Wait()
			for token := 1; token < racers; token++ {
				if o := sealed[token]; o != nil {
					w.stale(o.Write(w.Context(), []byte("zombie")), int64(token), racers)
				}
			}
			w.write(sealed[racers], "newest")
			w.is("newest", racers)
			for i, c := range w.changes() {
				if c.Kind == gcstest.Insert && i > 0 && i < len(w.changes())-1 {
					t.Errorf("change %d is another creation", i)
				}
			}
		})
	}
}

func TestSealRefusesWhatIsNoToken(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		m := w.machine()
		for _, token := range []int64{0, -1} {
			if _, err := fence.Seal(w.Context(), m.bucket, name, token, nil); err == nil {
				t.Errorf("token %d accepted", token)
			}
		}
		for _, text := range []string{"", "banana", "-5", "0", "9223372036854775808", "7 "} {
			w.foreign("old", map[string]string{fence.MetadataKey: text})
			before := len(w.changes())
			_, err := fence.Seal(w.Context(), m.bucket, name, 7, nil)
			if err == nil || !strings.Contains(err.Error(), "gs://b/"+name) || !strings.Contains(err.Error(), fence.MetadataKey) {
				t.Errorf("metadata %q: error %v, want one that names the object and the key", text, err)
			}
			if len(w.changes()) != before {
				t.Errorf("metadata %q: the object was changed", text)
			}
		}
	})
}

// What stands beside the token decides nothing, so that garbage there does no harm.
func TestSealIgnoresGarbage(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		for _, garbage := range []string{"x:y", ":", "5", " 9 :: 99999999999999999999:z -1:", strings.Repeat("1:a ", 500)} {
			w.foreign("old", map[string]string{fence.MetadataKey: "5", "gcsync-fence-writes": garbage, "gcsync-fence-seal": garbage})
			o := w.machine().seal(7)
			w.write(o, "new")
			w.is("new", 7)
		}
	})
}

func TestSealFailsForGood(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		w.server.CreateBucket("locked", gcstest.BucketConfig{DenyWrite: true})
		client := w.server.Client(nil)
		for _, c := range []struct{ bucket, object, want string }{
			{"absent", name, "bucket not found"},
			{"locked", name, "permission denied"},
			{"b", "", "illegal name"},
		} {
			_, err := fence.Seal(w.Context(), client.Bucket(c.bucket), c.object, 7, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("gs://%s/%s: error %v, want %q", c.bucket, c.object, err, c.want)
			}
		}
		if _, err := fence.Seal(w.Context(), nil, name, 7, nil); err == nil {
			t.Error("no bucket accepted")
		}
	})
}

func TestSealEndsWithItsContext(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		m := w.machine()
		m.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 429})
		began := time.Now()
		_, err := fence.Seal(within(w, 10*time.Second), m.bucket, name, 7, nil)
		w.wants(err, context.DeadlineExceeded, nil)
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
