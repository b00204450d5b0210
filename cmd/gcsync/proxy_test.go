//go:build unix

package main

import (
	"io"
	"net"
	"strings"
	"sync"
)

// proxy is the network between a process and the service, which can be cut.
type proxy struct {
	ln  net.Listener
	all sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

func (w *world) proxy() *proxy {
	w.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	p := &proxy{ln: ln}
	target := strings.TrimPrefix(w.url, "http://")
	p.all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil || !p.add(client, server) {
				client.Close()
				continue
			}
			pump := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				to.Close()
				from.Close()
			}
			p.all.Go(func() { pump(server, client) })
			p.all.Go(func() { pump(client, server) })
		}
	})
	w.Cleanup(func() {
		ln.Close()
		p.breakOff() // the last word: no more are accepted
		p.all.Wait()
	})
	return p
}

func (p *proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		for _, c := range conns {
			c.Close()
		}
		return false
	}
	p.conns = append(p.conns, conns...)
	return true
}

// breakOff breaks every connection, and each new one.
func (p *proxy) breakOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for _, c := range p.conns {
		c.Close()
	}
}

// heal lets new connections through again.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.conns = false, nil
}

func (p *proxy) url() string { return "http://" + p.ln.Addr().String() }
