package fence_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
)

func TestWriteWithMishaps(t *testing.T) {
	eachMishap(t, func(w *world, m *machine, faults []gcstest.Fault) {
		o := m.seal(7)
		before := len(w.changes())
		m.Script(gcstest.On(gcstest.Insert, name), faults...)
		m.Script(gcstest.On(gcstest.Get, name), gcstest.Fault{Kind: gcstest.Reset})
		w.write(o, "one")
		w.read(o, "one")
		w.write(o, "two")
		time.Sleep(2 * time.Minute)
		w.is("two", 7)
		if n := len(w.changes()) - before; n != 2 {
			w.Errorf("%d changes by two writes", n)
		}
	})
}

func TestReadWithMishaps(t *testing.T) {
	eachMishap(t, func(w *world, m *machine, faults []gcstest.Fault) {
		o := m.seal(7)
		w.write(o, "some content, long enough to be cut in the middle")
		m.Script(gcstest.On(gcstest.Media, name), faults...)
		w.read(o, "some content, long enough to be cut in the middle")
	})
}

func TestWriteOfAnySize(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		o := w.machine().seal(7)
		for _, size := range []int{0, 1, 1 << 18, 1<<24 + 1, 0} {
			data := bytes.Repeat([]byte{'x'}, size)
			w.write(o, string(data))
			w.read(o, string(data))
		}
	})
}

func TestWriteSetsContentType(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		w.foreign("old", nil)
		o, err := fence.Seal(w.Context(), w.machine().bucket, name, 7, &fence.Options{ContentType: "text/csv"})
		if err != nil {
			t.Fatal(err)
		}
		w.write(o, "a,b")
		if a := w.attrs(); a.ContentType != "text/csv" {
			t.Errorf("content type %q", a.ContentType)
		}
	})
}

// The service may touch the metadata of an object. That is no reason to refuse a write.
func TestWriteToTouchedObject(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		o := w.machine().seal(7)
		w.touch()
		w.write(o, "new")
		w.is("new", 7)
		if w.object().Metadata["touched"] == "" {
			t.Error("the metadata of others was not kept")
		}
	})
}

// A write whose answer was lost, and on which a newer holder has put its seal by the time that its writer looks: it was
// applied, and the next one must not be.
func TestWriteAppliedThenSealed(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		old, newer := w.machine(), w.machine()
		o := old.seal(7)
		old.Script(gcstest.On(gcstest.Insert, name), gcstest.Fault{Kind: gcstest.StallAnswer})
		wait := later(time.Second, func() { w.read(newer.seal(9), "seven") })
		w.write(o, "seven")
		wait()
		w.stale(o.Write(w.Context(), []byte("zombie")), 7, 9)
		w.is("seven", 9)
	})
}

// A holder without an answer finds out what became of its write, even if a newer holder has written meanwhile: the object
// remembers its last writes.
func TestWriteThenNewerWrites(t *testing.T) {
	for _, c := range []struct {
		title   string
		fault   gcstest.FaultKind // of the old write
		writes  int               // of the newer holder
		applied bool
		unknown bool
	}{
		{"not applied, sealed", gcstest.Stall, 0, false, false},
		{"not applied, replaced", gcstest.Stall, 1, false, false},
		{"not applied, replaced often", gcstest.Stall, 16, false, false},
		{"not applied, forgotten", gcstest.Stall, 17, false, true},
		{"applied, sealed", gcstest.StallAnswer, 0, true, false},
		{"applied, replaced", gcstest.StallAnswer, 1, true, false},
		{"applied, replaced often", gcstest.StallAnswer, 15, true, false},
		{"applied, forgotten", gcstest.StallAnswer, 17, false, true},
	} {
		t.Run(c.title, func(t *testing.T) {
			inBubble(t, gcstest.Model{}, func(w *world) {
				old, newer := w.machine(), w.machine()
				o := old.seal(7)
				old.Script(gcstest.On(gcstest.Insert, name), gcstest.Fault{Kind: c.fault})
				defer later(time.Second, func() {
					n := newer.seal(9)
					for range c.writes {
						w.write(n, "newer")
					}
				})()
				err := o.Write(w.Context(), []byte("old"))
				if c.applied {
					if err != nil {
						t.Error(err)
					}
					err = o.Write(w.Context(), []byte("zombie"))
				}
				w.stale(err, 7, 9)
				if errors.Is(err, fence.ErrUnknown) != c.unknown {
					t.Errorf("error %v; unknown: %v", err, c.unknown)
				}
			})
		})
	}
}

// A caller that leaves before it has learned what became of its write is told so, and to seal again settles it.
func TestWriteOfUnknownOutcome(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		m := w.machine()
		o := m.seal(7)
		w.write(o, "one")
		m.Script(gcstest.On(gcstest.Insert, name), gcstest.Fault{Kind: gcstest.Ghost, Delay: time.Minute})
		heal := m.Always(gcstest.On(gcstest.Get, name), gcstest.Fault{Kind: gcstest.Stall})
		err := o.Write(within(w, 3*time.Second), []byte("two"))
		w.wants(err, fence.ErrUnknown, nil)
		w.wants(err, context.DeadlineExceeded, fence.ErrChanged)
		heal()

		w.wants(o.Write(w.Context(), []byte("three")), fence.ErrUnknown, nil) // no longer good
		again := m.seal(7)
		w.read(again, "one")
		time.Sleep(2 * time.Minute) // the ghost lands
		w.is("one", 7)
		w.write(again, "three")
		w.is("three", 7)
	})
}

func TestWriteThatWasNotSent(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		m := w.machine()
		o := m.seal(7)
		ended, cancel := context.WithCancel(w.Context())
		cancel()
		w.wants(o.Write(ended, []byte("one")), context.Canceled, fence.ErrUnknown)

		heal := m.Always(gcstest.On(gcstest.Insert, name), gcstest.Fault{Kind: gcstest.Refuse, Status: 429})
		w.wants(o.Write(within(w, time.Second), []byte("one")), context.DeadlineExceeded, fence.ErrUnknown)
		heal()
		w.write(o, "two") // as good as before
		w.is("two", 7)
	})
}

func TestObjectChangedByOthers(t *testing.T) {
	foreign := map[string]func(w *world){
		"overwritten": func(w *world) { w.foreign("foreign", nil) },
		"deleted": func(w *world) {
			if err := w.server.Client(nil).Bucket("b").Object(name).Delete(w.Context()); err != nil {
				w.Fatal(err)
			}
		},
		"token removed": func(w *world) {
			o := w.server.Client(nil).Bucket("b").Object(name)
			if _, err := o.Update(w.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{}}); err != nil {
				w.Fatal(err)
			}
		},
	}
	for title, change := range foreign {
		t.Run(title, func(t *testing.T) {
			inBubble(t, gcstest.Model{}, func(w *world) {
				m := w.machine()
				o := m.seal(7)
				w.write(o, "mine")
				change(w)
				before := len(w.changes())
				w.wants(o.Write(w.Context(), []byte("more")), fence.ErrChanged, nil)
				if _, err := o.Read(w.Context()); err == nil {
					t.Error("no error from a read of what is no longer good")
				}
				if len(w.changes()) != before {
					t.Error("the object was changed")
				}
				w.write(m.seal(7), "again")
				w.is("again", 7)
			})
		})
	}
}

func TestReadOfWhatIsGone(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		m := w.machine()
		o := m.seal(7)
		w.foreign("foreign", nil)
		_, err := o.Read(w.Context())
		w.wants(err, fence.ErrChanged, nil)

		o = m.seal(7)
		w.write(w.machine().seal(9), "newer")
		_, err = o.Read(w.Context())
		w.stale(err, 7, 9)
	})
}

func TestRetentionPolicy(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		w.server.CreateBucket("b", gcstest.BucketConfig{RetentionPeriod: time.Hour})
		o := w.machine().seal(7)
		err := o.Write(within(w, time.Minute), []byte("new"))
		if err == nil || !strings.Contains(err.Error(), "retention policy or hold forbids it") || !strings.Contains(err.Error(), "gs://b/"+name) {
			t.Errorf("error %v, want a sentence about the retention policy that names the object", err)
		}
		w.wants(err, err, fence.ErrUnknown)
		time.Sleep(2 * time.Hour)
		w.write(o, "new") // as good as before
	})
}
