//go:build unix

package torture

import (
	"syscall"
	"testing"
	"time"
)

// A holder reads, is paused for longer than its lease, and goes on to write what it meant to. Without a fence that
// destroys what others have written under the lock meanwhile, although the lock did all that a lock can do. With one, it
// is refused.
func TestPausedHolder(t *testing.T) {
	duration(t)
	for _, c := range []struct {
		title  string
		fenced bool
		ends   kind     // how the paused holder's update ends
		left   []string // what is in the object
	}{
		{"unfenced loses an update", false, acked, []string{"a1.1"}},
		{"fenced loses none", true, refused, []string{"b1.1"}},
	} {
		t.Run(c.title, func(t *testing.T) {
			f := newFleet(t, c.fenced)
			start := func(name string) (*member, func(kind) message) {
				heard := make(chan message, 10)
				m := f.member(name, config{Workers: 1, Once: true}, func(_ *member, m message) { heard <- m })
				return m, func(want kind) message {
					t.Helper()
					select {
					case said := <-heard:
						if said.Kind != want {
							t.Fatalf("%s said %+v, want %s", name, said, want)
						}
						return said
					case <-time.After(patience):
						t.Fatalf("%s says nothing", name)
					}
					panic("unreachable")
				}
			}

			a, fromA := start("a")
			first := fromA(entered)
			fromA(haveRead)
			a.signal(syscall.SIGSTOP)

			b, fromB := start("b")
			second := fromB(entered)
			if second.Token <= first.Token {
				t.Errorf("token %d after %d", second.Token, first.Token)
			}
			fromB(haveRead)
			b.word()
			fromB(acked)
			b.leave()

			a.word()
			a.signal(syscall.SIGCONT)
			said := fromA(c.ends)
			if c.ends == refused {
				t.Log(said.Error)
			}
			fromA(lost)
			a.leave()

			var left []string
			for _, u := range f.updates() {
				left = append(left, u.ID)
			}
			t.Logf("acknowledged to b: b1.1; told to a: %s; in the object: %v", said.Kind, left)
			if len(left) != 1 || left[0] != c.left[0] {
				t.Errorf("the object has %v, want %v", left, c.left)
			}
		})
	}
}
