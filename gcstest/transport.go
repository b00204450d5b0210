package gcstest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"
)

// endpoint is the address under which clients know a server that has no
// sockets. Nothing resolves it.
const endpoint = "http://gcs.invalid/storage/v1/"

// transport carries requests to a server in the same process.
type transport struct{ server *Server }

// Transport returns a round tripper that carries requests to the server without
// a socket.
//
// As with a real service, a request that has been sent is not undone by its
// caller's context: RoundTrip returns when the context ends, and the server
// carries the request out nevertheless.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		closeBody(req)
		return nil, err
	}
	s := t.server
	if !s.inflight.enter() {
		closeBody(req)
		return nil, fmt.Errorf("gcstest: server closed: %w", net.ErrClosed)
	}
	type result struct {
		rep *reply
		err error
	}
	done := make(chan result, 1)
	header := req.Header.Clone() // a caller that has left may use its own again
	go func() {
		defer s.inflight.leave()
		body, err := readBody(req.Body, req.ContentLength)
		closeBody(req)
		if err == nil {
			err = ctx.Err() // the caller left before all was sent
		}
		if err != nil {
			done <- result{err: err}
			return
		}
		done <- result{rep: s.handle(req.Method, req.URL, req.Host, header, body)}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, r.err
		}
		return r.rep.response(req), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing is written to it
	}
}

// memBody is the body of an answer that never saw a socket. It also carries
// what the Date header is too coarse for.
type memBody struct {
	bytes.Reader
	at time.Time
}

// Close implements [io.Closer].
func (*memBody) Close() error { return nil }

var _ io.WriterTo = (*memBody)(nil)

// response returns the answer as a client receives it.
func (r *reply) response(req *http.Request) *http.Response {
	body := &memBody{at: r.at}
	body.Reset(r.body)
	return &http.Response{
		Status:     statusLine(r.status),
		StatusCode: r.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.header, Body: body, ContentLength: int64(r.length),
		Request: req,
	}
}

func statusLine(status int) string { return fmt.Sprintf("%d %s", status, http.StatusText(status)) }

// Client returns a client whose requests go to the server without a socket,
// through the faults if f is not nil. In a testing/synctest bubble, make the
// client and the faults inside the bubble. The client owns no goroutine, and
// needs no Close.
func (s *Server) Client(f *Faults) *storage.Client {
	rt := s.Transport()
	if f != nil {
		rt = f.Wrap(rt)
	}
	client, err := newClient(rt, endpoint)
	if err != nil {
		// The options are constant, and the client connects to nothing here.
		panic(fmt.Sprintf("gcstest: cannot make a client: %v", err))
	}
	return client
}

// newClient makes a client that needs no credentials and looks for none, which
// would need a network.
func newClient(rt http.RoundTripper, endpoint string) (*storage.Client, error) {
	return storage.NewClient(context.Background(),
		option.WithHTTPClient(&http.Client{Transport: rt}),
		option.WithEndpoint(endpoint),
		option.WithoutAuthentication())
}
