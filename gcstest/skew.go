package gcstest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// skew is a fault of the service's clock as one machine sees it.
type skew struct {
	start  time.Time
	offset time.Duration
	rate   float64
}

// Skew makes the clock of the service wrong for this machine, which is the same
// as making the machine's own clock wrong: a time t in an answer becomes
//
//	t + offset + rate*(t - time of this call)
//
// That goes for the Date header and for the updated and timeCreated of objects.
// Over a transport of the package's own, Date is shifted before it is rounded
// down to a second, over others after. Skew(0, 0) sets the clock right.
func (f *Faults) Skew(offset time.Duration, rate float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.skew = skew{start: time.Now(), offset: offset, rate: rate}
}

func (s *skew) apply(t time.Time) time.Time {
	drift := time.Duration(s.rate * float64(t.Sub(s.start)))
	return t.Add(s.offset + drift)
}

// shift rewrites the times in an answer.
func (f *Faults) shift(r *result) {
	f.mu.Lock()
	s := f.skew
	f.mu.Unlock()
	if s.offset == 0 && s.rate == 0 {
		return
	}
	date, err := http.ParseTime(r.rep.Header.Get("Date"))
	if m, ok := r.rep.Body.(*memBody); ok {
		date, err = m.at, nil
	}
	if err == nil {
		r.rep.Header.Set("Date", s.apply(date).UTC().Format(http.TimeFormat))
	}
	if body := s.rewrite(r.body); body != nil {
		r.body = body
		r.rep.ContentLength = int64(len(body))
		if r.rep.Header.Get("Content-Length") != "" {
			r.rep.Header.Set("Content-Length", strconv.Itoa(len(body)))
		}
	}
}

// rewrite returns a JSON answer with other times, nil if it is not one with
// times in it.
func (s *skew) rewrite(body []byte) []byte {
	var head struct {
		Kind string `json:"kind"`
	}
	if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &head) != nil {
		return nil
	}
	var out map[string]json.RawMessage
	switch head.Kind {
	case "storage#object":
		return s.rewriteObject(body)
	case "storage#objects":
		var items []json.RawMessage
		if json.Unmarshal(body, &out) != nil || len(out["items"]) == 0 || json.Unmarshal(out["items"], &items) != nil {
			return nil
		}
		for i, item := range items {
			if next := s.rewriteObject(item); next != nil {
				items[i] = next
			}
		}
		out["items"] = marshal(items)
		return marshal(out)
	}
	return nil
}

func (s *skew) rewriteObject(body []byte) []byte {
	var o map[string]json.RawMessage
	if json.Unmarshal(body, &o) != nil {
		return nil
	}
	for _, key := range [...]string{"updated", "timeCreated"} {
		var t time.Time
		if v, ok := o[key]; ok && json.Unmarshal(v, &t) == nil {
			o[key] = marshal(stamp(s.apply(t)))
		}
	}
	return marshal(o)
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON before
	}
	return b
}
