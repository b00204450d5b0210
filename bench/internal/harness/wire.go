package harness

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
)

// Usage counts requests by what they cost.
type Usage struct {
	ClassA    int64 `json:"a"`         // creates, patches and listings that were answered with success
	ClassB    int64 `json:"b"`         // reads that were answered with success
	Free      int64 `json:"free"`      // deletes, and every request that failed
	Throttled int64 `json:"throttled"` // of the free ones: those answered 429
}

func (u Usage) plus(v Usage) Usage {
	return Usage{u.ClassA + v.ClassA, u.ClassB + v.ClassB, u.Free + v.Free, u.Throttled + v.Throttled}
}

func (u Usage) minus(v Usage) Usage {
	return u.plus(Usage{-v.ClassA, -v.ClassB, -v.Free, -v.Throttled})
}

func (u Usage) dollars() float64 {
	return (float64(u.ClassA)*priceClassA + float64(u.ClassB)*priceClassB) / 1e6
}

// A wire carries the requests of one client. It counts them, in the same way for every lock, and it can be cut.
type wire struct {
	base http.RoundTripper
	cut  atomic.Bool

	classA, classB, free, throttled atomic.Int64
}

var errCut = errors.New("the machine is gone")

// RoundTrip implements [http.RoundTripper].
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.cut.Load() {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errCut
	}
	res, err := w.base.RoundTrip(r)
	switch {
	case err != nil || res.StatusCode >= 300 || r.Method == http.MethodDelete:
		w.free.Add(1)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && !strings.HasSuffix(r.URL.Path, "/o"):
		w.classB.Add(1)
	default:
		w.classA.Add(1)
	}
	if err == nil && res.StatusCode == http.StatusTooManyRequests {
		w.throttled.Add(1)
	}
	if err == nil && w.cut.Load() { // the answer arrives where nobody is
		res.Body.Close()
		return nil, errCut
	}
	return res, err
}

func (w *wire) usage() Usage {
	return Usage{ClassA: w.classA.Load(), ClassB: w.classB.Load(), Free: w.free.Load(), Throttled: w.throttled.Load()}
}

// close gives up the connections.
func (w *wire) close() {
	if t, ok := w.base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// set says what another process has counted.
func (w *wire) set(u Usage) {
	w.classA.Store(u.ClassA)
	w.classB.Store(u.ClassB)
	w.free.Store(u.Free)
	w.throttled.Store(u.Throttled)
}
