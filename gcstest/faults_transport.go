package gcstest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// faultyTransport is a transport with faults.
type faultyTransport struct {
	faults *Faults
	base   http.RoundTripper
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (t *faultyTransport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *faultyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	f, ctx := t.faults, req.Context()
	if err := ctx.Err(); err != nil {
		closeBody(req)
		return nil, err
	}
	body, err := readBody(req.Body, req.ContentLength)
	closeBody(req)
	if err != nil {
		return nil, err
	}
	op := newOp(req, body)
	x := &exchange{
		faults: f, base: t.base, fault: f.choose(&op), body: body,
		// A clone of its own, since the caller may leave and use req again.
		req: req.Clone(context.WithoutCancel(ctx)),
	}
	r := x.run(ctx)
	if !f.awake() { // even an answer is seen only by who is awake
		return nil, errCrashed
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.response(req), nil
}

// exchange is one request on its way and back.
type exchange struct {
	faults *Faults
	base   http.RoundTripper
	fault  Fault
	req    *http.Request
	body   []byte
}

// result is what comes back.
type result struct {
	rep  *http.Response // with its body taken out
	body []byte
	cut  bool // the body ends too early
	err  error
	lost <-chan struct{} // non-nil if it came during a partition, closed when that ends
}

// run is the caller's side of the exchange.
func (x *exchange) run(ctx context.Context) result {
	f := x.faults
	if err := f.depart(ctx); err != nil {
		return result{err: err}
	}
	switch x.fault.Kind {
	case Refuse:
		return x.refusal()
	case Foreign:
		return x.foreign()
	case Reset:
		return result{err: errReset()}
	case Stall:
		return f.await(ctx, nil, nil)
	}
	done := make(chan result, 1)
	f.background.enter()
	go func() {
		defer f.background.leave()
		x.travel(done)
	}()
	switch x.fault.Kind {
	case Ghost:
		return result{err: errReset()}
	case StallAnswer:
		return f.await(ctx, nil, nil)
	}
	r := f.await(ctx, done, nil)
	switch {
	case r.lost != nil:
		return f.await(ctx, nil, r.lost)
	case r.err != nil:
		return r
	}
	switch x.fault.Kind {
	case LoseAnswer:
		return result{err: errReset()}
	case FailAfter:
		return x.refusal()
	case ForeignAnswer:
		return x.foreign()
	case WrongDate:
		if date, err := http.ParseTime(r.rep.Header.Get("Date")); err == nil {
			r.rep.Header.Set("Date", date.Add(x.fault.Delay).UTC().Format(http.TimeFormat))
		}
	case Truncate:
		if len(r.body) == 0 {
			return result{err: errReset()}
		}
		r.body, r.cut = r.body[:len(r.body)/2], true
	}
	return r
}

// travel is the network's side of the exchange. It sends the caller's result on
// done, which never blocks.
func (x *exchange) travel(done chan<- result) {
	switch d := x.fault.Delay; x.fault.Kind {
	case Ghost, Delay:
		pause(d)
		done <- x.arrive(x.deliver())
	case Duplicate:
		done <- x.arrive(x.deliver())
		pause(d)
		x.deliver()
	case DuplicateLast:
		x.deliver()
		pause(d)
		done <- x.arrive(x.deliver())
	case DelayAnswer:
		r := x.deliver()
		pause(d)
		done <- x.arrive(r)
	default:
		done <- x.arrive(x.deliver())
	}
}

// deliver has the service carry the request out once.
func (x *exchange) deliver() result {
	req := x.req.WithContext(x.req.Context()) // a shallow copy
	if len(x.body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(x.body)), int64(len(x.body))
	} else {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	rep, err := x.base.RoundTrip(req)
	if err != nil {
		return result{err: err}
	}
	body, err := io.ReadAll(rep.Body)
	_ = rep.Body.Close() // has been read to its end or failed
	if err != nil {
		return result{err: err}
	}
	r := result{rep: rep, body: body}
	x.faults.shift(&r)
	return r
}

// arrive notes whether the result comes to the machine during a partition.
func (x *exchange) arrive(r result) result {
	r.lost, _ = x.faults.gates()
	return r
}

// refusal makes the answer of a service that does not work.
func (x *exchange) refusal() result {
	status := x.fault.Status
	if status == 0 {
		status = http.StatusServiceUnavailable
	}
	r := madeUp(status, "application/json; charset=UTF-8", refusal(status).json())
	if after := x.fault.RetryAfter; after > 0 {
		r.rep.Header.Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	}
	x.faults.shift(&r)
	return r
}

// madeUp is an answer that no service has given.
func madeUp(status int, contentType string, body []byte) result {
	h := make(http.Header)
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if len(body) > 0 {
		h.Set("Content-Type", contentType)
	}
	return result{
		body: body,
		rep: &http.Response{
			Status: statusLine(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h, ContentLength: int64(len(body)),
		},
	}
}

// response returns the result as the caller sees it.
func (r *result) response(req *http.Request) *http.Response {
	rep := *r.rep
	rep.Request = req
	rep.Body = io.NopCloser(bytes.NewReader(r.body))
	if r.cut {
		rep.Body = io.NopCloser(io.MultiReader(bytes.NewReader(r.body), brokenReader{}))
	}
	return &rep
}

// brokenReader is the end of a body whose connection broke.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
