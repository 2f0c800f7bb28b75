package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// cutter passes TCP connections on to a server, and cuts them all when told to.
type cutter struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	running  sync.WaitGroup
}

// newCutter listens in front of the server that config names. Its side differs from
// the server's in nothing but the port.
func newCutter(name string, config *rest.Config, dir string) (*cutter, *side, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, nil, fmt.Errorf("read the address of %s: %w", name, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listen in front of %s: %w", name, err)
	}
	config = rest.CopyConfig(config)
	config.Host = target.Scheme + "://" + listener.Addr().String()
	s, err := newSide(name, config, dir)
	return &cutter{listener: listener, target: target.Host, conns: map[net.Conn]struct{}{}}, s, err
}

// Run serves until ctx ends.
func (c *cutter) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = c.listener.Close(); c.Cut() })
	defer stop()
	defer c.running.Wait()
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.running.Go(func() { c.pass(conn) })
	}
}

func (c *cutter) pass(client net.Conn) {
	server, err := net.DialTimeout("tcp", c.target, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	c.mu.Lock()
	c.conns[client], c.conns[server] = struct{}{}, struct{}{}
	c.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
			_ = pair[1].Close()
		})
	}
	both.Wait()
	c.mu.Lock()
	delete(c.conns, client)
	delete(c.conns, server)
	c.mu.Unlock()
}

// Cut resets every connection.
func (c *cutter) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}
