package gcsync_test

import (
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what happened to one name, in the order in which it was seen: for porcupine to find out whether a lock
// could have behaved like that.
type history struct {
	slots  int64
	events []porcupine.Event
	last   int
}

// operation is an acquisition, or the end of a grant: by a release, by a loss, by the holder's death.
type operation struct {
	grant  int // the acquisition that succeeded or ends
	weight int64
	ends   bool
}

// call begins an operation: the acquisition of a weight, or the end of a grant if there is one.
func (h *history) call(client, grant int, weight int64) (id int) {
	h.last++
	op := operation{grant, weight, grant != 0}
	if grant == 0 {
		op.grant = h.last
	}
	h.events = append(h.events, porcupine.Event{ClientId: client, Kind: porcupine.CallEvent, Value: op, Id: h.last})
	return h.last
}

// answer ends an operation. Its value is the token of the grant, 0 if there is none.
func (h *history) answer(client, id int, token int64) {
	h.events = append(h.events, porcupine.Event{ClientId: client, Kind: porcupine.ReturnEvent, Value: token, Id: id})
}

// cancel takes back an operation that came to nothing.
func (h *history) cancel(id int) {
	h.events = slices.DeleteFunc(h.events, func(e porcupine.Event) bool { return e.Id == id })
}

// check says Ok if the operations can be put in an order in which each takes effect between its call and its answer and
// the grants in force never weigh more than there are slots. With one slot tokens must grow.
func (h *history) check() porcupine.CheckResult {
	type state struct {
		free  int64
		held  []int // the grants in force, in order
		token int64
	}
	model := porcupine.Model{
		Init: func() any { return state{free: h.slots} },
		Step: func(s, input, output any) (bool, any) {
			now, op, token := s.(state), input.(operation), output.(int64)
			at, there := slices.BinarySearch(now.held, op.grant)
			switch {
			case op.ends:
				if !there {
					return false, now
				}
				return true, state{now.free + op.weight, slices.Delete(slices.Clone(now.held), at, at+1), now.token}
			case op.weight > now.free, h.slots == 1 && token != 0 && token <= now.token:
				return false, now
			}
			return true, state{now.free - op.weight, slices.Insert(slices.Clone(now.held), at, op.grant), token}
		},
		Equal: func(a, b any) bool {
			x, y := a.(state), b.(state)
			return slices.Equal(x.held, y.held) && (h.slots > 1 || x.token == y.token)
		},
	}
	return porcupine.CheckEventsTimeout(model, h.events, time.Minute)
}

// TestHistories shows what the judge of the histories lets pass and what not.
func TestHistories(t *testing.T) {
	for _, c := range []struct {
		slots, first, second int64
		token                int64 // of the second grant; the first has 5
		apart                bool  // the first ends before the second begins
		want                 porcupine.CheckResult
	}{
		{1, 1, 1, 6, true, porcupine.Ok},
		{1, 1, 1, 6, false, porcupine.Illegal},
		{1, 1, 1, 5, true, porcupine.Illegal},
		{3, 1, 2, 5, false, porcupine.Ok},
		{3, 2, 2, 6, false, porcupine.Illegal},
		{3, 2, 3, 4, true, porcupine.Ok},
	} {
		h := &history{slots: c.slots}
		a := h.call(1, 0, c.first)
		h.answer(1, a, 5)
		if c.apart {
			h.answer(1, h.call(1, a, c.first), 0)
		}
		h.cancel(h.call(2, 0, c.slots)) // in vain, which changes nothing
		b := h.call(3, 0, c.second)
		h.answer(3, b, c.token)
		if got := h.check(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
