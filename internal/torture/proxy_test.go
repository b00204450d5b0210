//go:build unix

package torture

import (
	"net"
	"sync"
	"testing"
)

// proxy is the network between one process and the service.
type proxy struct {
	ln     net.Listener
	target string
	all    sync.WaitGroup

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{}
	gate  chan struct{} // closed when bytes may pass
	cut   bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target, conns: make(map[*net.TCPConn]struct{}), gate: make(chan struct{})}
	close(p.gate)
	p.all.Go(p.accept)
	return p
}

func (p *proxy) url() string { return "http://" + p.ln.Addr().String() }

// breakOff breaks every connection, and each new one, until heal.
func (p *proxy) breakOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.drop()
}

// stall lets nothing pass until heal; then what was sent meanwhile arrives, late, even if its sender has given up.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open()
	p.gate = make(chan struct{})
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	p.open()
}

// open opens the gate; p.mu is held.
func (p *proxy) open() {
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// close ends the proxy and everything that goes through it.
func (p *proxy) close() {
	_ = p.ln.Close() // ends accept
	p.mu.Lock()
	p.cut = true
	p.drop()
	p.open()
	p.mu.Unlock()
	p.all.Wait()
}

// drop closes all connections; p.mu is held.
func (p *proxy) drop() {
	for c := range p.conns {
		_ = c.SetLinger(0)
		_ = c.Close() // whoever uses it sees that it is gone
	}
	clear(p.conns)
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn)
		s, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		server := s.(*net.TCPConn)
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		if p.cut {
			p.drop()
		}
		p.mu.Unlock()
		p.all.Go(func() {
			var answers sync.WaitGroup
			answers.Go(func() { p.pump(client, server) })
			p.pump(server, client)
			answers.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, c := range []*net.TCPConn{client, server} {
				_ = c.Close()
				delete(p.conns, c)
			}
		})
	}
}

// pump carries bytes until their source ends, through the gate.
func (p *proxy) pump(to, from *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		<-gate
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if err != nil {
			_ = to.CloseWrite()
			return
		}
	}
}
