package gcsync_test

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what happened to one name, in the order in which it was seen: for porcupine to find out whether a lock
// could have behaved like that.
type history struct {
	events []porcupine.Event
	last   int
}

// operation is an attempt to acquire, or the end of a grant: by a release, by a loss, by the holder's death.
type operation struct {
	ends int // the operation that was granted what ends here; 0: this one acquires
}

// result is what came of an operation. Only a grant has one.
type result struct {
	grant int   // 0: nothing was granted
	token int64 // 0: the lock has no tokens
}

func (h *history) call(client int, op operation) (id int) {
	h.last++
	h.events = append(h.events, porcupine.Event{ClientId: client, Kind: porcupine.CallEvent, Value: op, Id: h.last})
	return h.last
}

func (h *history) answer(client, id, grant int, token int64) int {
	h.events = append(h.events, porcupine.Event{ClientId: client, Kind: porcupine.ReturnEvent, Value: result{grant, token}, Id: id})
	return grant
}

// check says Ok if the operations can be put in an order in which each takes effect between its call and its answer and
// the name is free whenever it is granted, with tokens that grow.
func (h *history) check() porcupine.CheckResult {
	type state struct {
		holder int
		token  int64
	}
	model := porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, input, output any) (bool, any) {
			now, op, res := s.(state), input.(operation), output.(result)
			switch {
			case op.ends != 0:
				return now.holder == op.ends, state{0, now.token}
			case res.grant == 0:
				return true, now
			case now.holder != 0, res.token != 0 && res.token <= now.token:
				return false, now
			}
			return true, state{res.grant, res.token}
		},
	}
	return porcupine.CheckEventsTimeout(model, h.events, time.Minute)
}
