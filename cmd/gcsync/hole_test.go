//go:build unix

package main

import (
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gcsync/gcsync/gcstest"
)

// hole is a network that can swallow all that is sent on the connections that there are, in both directions, and lets new ones
// through.
type hole struct {
	ln  net.Listener
	all sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	dead  []*atomic.Bool
}

func newHole(t *testing.T, target string) *hole {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hole{ln: ln}
	h.all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			dead := new(atomic.Bool)
			h.mu.Lock()
			h.conns, h.dead = append(h.conns, client, server), append(h.dead, dead)
			h.mu.Unlock()
			h.all.Go(func() { pump(server, client, dead) })
			h.all.Go(func() { pump(client, server, dead) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		h.mu.Lock()
		for _, c := range h.conns {
			c.Close()
		}
		h.mu.Unlock()
		h.all.Wait()
	})
	return h
}

func pump(to, from net.Conn, dead *atomic.Bool) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err == nil && !dead.Load() {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			if !dead.Load() { // else nobody learns of it
				to.Close()
				from.Close()
			}
			return
		}
	}
}

// swallow begins.
func (h *hole) swallow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.dead {
		d.Store(true)
	}
}

// A connection on which nothing comes through any more costs no lock, where a new one would do: it is found out and replaced
// before the lease is over.
func TestBlackHoledConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tls := httptest.NewUnstartedServer(w.server)
	tls.EnableHTTP2 = true
	tls.StartTLS()
	t.Cleanup(tls.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	network := newHole(t, tls.Listener.Addr().String())
	var swallowed atomic.Bool
	renewed := make(chan struct{}, 100)
	w.server.Observe(func(r gcstest.Record) {
		if r.Kind == gcstest.Patch && swallowed.Load() {
			renewed <- struct{}{}
		}
	})

	cmd := w.command("lock", "-ttl", "60s", "-claim", "30s", "gs://bbb/m", "--", "sh", "-c", "echo in; read word")
	cmd.Env = append(cmd.Env, "STORAGE_EMULATOR_HOST=https://"+network.ln.Addr().String(), "SSL_CERT_FILE="+authority)
	in, keys, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	cmd.Stdin = in
	p := w.launch(cmd)
	in.Close()
	p.line()
	network.swallow()
	swallowed.Store(true)
	select {
	case <-renewed:
	case <-p.ended:
	}
	keys.Close()
	p.want(1) // of read, which finds the end
}
