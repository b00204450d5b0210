package gcstest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/storage"
)

// Listener serves a [Server] on a real port.
type Listener struct {
	url   string
	http  *http.Server
	ended chan struct{} // closed when no more connections are accepted

	mu         sync.Mutex
	transports []*http.Transport
}

// Listen serves the server on a TCP address; an empty address means any free
// port of the loopback interface. Close the listener before the server.
func (s *Server) Listen(addr string) (*Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("gcstest: %w", err)
	}
	l := &Listener{
		url:   "http://" + ln.Addr().String(),
		http:  &http.Server{Handler: s, ReadHeaderTimeout: time.Minute},
		ended: make(chan struct{}),
	}
	go func() {
		defer close(l.ended)
		_ = l.http.Serve(ln) // returns when the listener is closed
	}()
	return l, nil
}

// URL returns the address of the server as the environment variable
// STORAGE_EMULATOR_HOST takes it, such as "http://127.0.0.1:4443".
func (l *Listener) URL() string { return l.url }

// maxIdle is the number of idle connections that a client keeps, enough for
// every goroutine of a benchmark to have one.
const maxIdle = 1024

// Client returns a client with connections of its own, whose requests go
// through the faults if f is not nil.
func (l *Listener) Client(f *Faults) (*storage.Client, error) {
	t := &http.Transport{MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle, DisableCompression: true}
	l.mu.Lock()
	l.transports = append(l.transports, t)
	l.mu.Unlock()
	var rt http.RoundTripper = t
	if f != nil {
		rt = f.Wrap(t)
	}
	client, err := newClient(rt, l.url+"/storage/v1/")
	if err != nil {
		return nil, fmt.Errorf("gcstest: %w", err)
	}
	return client, nil
}

// closeTimeout bounds the time that Close waits for a caller that has opened a
// connection and does not finish its request.
const closeTimeout = 10 * time.Second

// Close stops accepting connections, waits for the requests in flight and
// closes the idle connections of both sides.
func (l *Listener) Close() {
	l.mu.Lock()
	for _, t := range l.transports {
		t.CloseIdleConnections()
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if l.http.Shutdown(ctx) != nil {
		_ = l.http.Close() // cuts off whoever is left
	}
	<-l.ended
	// Connections that were busy before are idle now.
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.transports {
		t.CloseIdleConnections()
	}
}
