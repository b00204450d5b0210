package fence_test

import (
	"testing"
	"time"

	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
)

// A holder is paused at any point of its turn, another has its own, and then the first goes on.
func TestZombieIsRefusedAtEveryStep(t *testing.T) {
	for _, existing := range []bool{false, true} {
		for step, title := range []string{"before its seal", "before its read", "before its write", "before its second write"} {
			t.Run(title, func(t *testing.T) {
				inBubble(t, gcstest.Model{}, func(w *world) {
					zombie, next := w.machine(), w.machine()
					want := "old"
					if !existing {
						want = ""
					} else {
						w.foreign("old", nil)
					}
					takeover := func(at int) {
						if at == step {
							o := next.seal(9)
							w.read(o, want)
							w.write(o, want+"+9")
						}
					}
					err := func() error {
						takeover(0)
						o, err := fence.Seal(w.Context(), zombie.bucket, name, 7, nil)
						if err != nil {
							return err
						}
						takeover(1)
						data, err := o.Read(w.Context())
						if err != nil {
							return err
						}
						takeover(2)
						if err := o.Write(w.Context(), append(data, "+7"...)); err != nil {
							return err
						}
						want += "+7"
						takeover(3)
						return o.Write(w.Context(), append(data, "+7+7"...))
					}()
					w.stale(err, 7, 9)
					w.is(want+"+9", 9)
				})
			})
		}
	}
}

// A write or a seal that was sent in time and lands after a newer holder has sealed the object.
func TestZombieRequestInFlight(t *testing.T) {
	for _, kind := range []gcstest.FaultKind{gcstest.Delay, gcstest.Ghost, gcstest.Duplicate} {
		for _, request := range []gcstest.Kind{gcstest.Insert, gcstest.Patch} {
			t.Run(kind.String()+" "+request.String(), func(t *testing.T) {
				inBubble(t, gcstest.Model{}, func(w *world) {
					zombie, next := w.machine(), w.machine()
					w.foreign("old", nil)
					zombie.Script(gcstest.On(request, name), gcstest.Fault{Kind: kind, Delay: 20 * time.Second})
					heal := zombie.Always(func(op gcstest.Op) bool { return op.Seq > 4 }, gcstest.Fault{Kind: gcstest.Stall})
					turn := later(0, func() {
						o, err := fence.Seal(within(w, 15*time.Second), zombie.bucket, name, 7, nil)
						if err == nil {
							o.Write(within(w, 15*time.Second), []byte("old+7"))
						}
					})
					time.Sleep(10 * time.Second)
					o := next.seal(9)
					sealed := w.object()
					time.Sleep(time.Minute)
					turn()
					heal()
					if now := w.object(); now.Generation != sealed.Generation || now.Metageneration != sealed.Metageneration {
						t.Errorf("changed after the seal: %+v", now)
					}
					w.write(o, "9")
					w.is("9", 9)
				})
			})
		}
	}
}
