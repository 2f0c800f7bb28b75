package faultproxy

import (
	"net"
	"sync"
	"time"
)

// Network is a listener whose connections go wrong when told to, below TLS. All
// its methods may be called at any time.
type Network struct {
	net.Listener

	mu      sync.Mutex
	conns   map[*conn]struct{}
	hole    bool          // new connections are swallowed from the start
	refuse  bool          // new connections are reset
	latency time.Duration // added to each read
	rate    int           // bytes a second towards the client, per connection; 0: no limit
}

// NewNetwork listens on any free port of 127.0.0.1.
func NewNetwork() (*Network, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &Network{Listener: l, conns: map[*conn]struct{}{}}, nil
}

// Accept implements net.Listener.
func (n *Network) Accept() (net.Conn, error) {
	for {
		raw, err := n.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		if n.refuse {
			n.mu.Unlock()
			reset(raw)
			continue
		}
		c := &conn{Conn: raw, network: n, dead: n.hole, closed: make(chan struct{})}
		n.conns[c] = struct{}{}
		n.mu.Unlock()
		return c, nil
	}
}

// Cut resets every connection, and says how many there were.
func (n *Network) Cut() int {
	conns := n.open()
	for _, c := range conns {
		reset(c.Conn)
		_ = c.Close()
	}
	return len(conns)
}

// Refuse makes the server unreachable: new connections are reset while on, and
// the present ones at once.
func (n *Network) Refuse(on bool) {
	n.mu.Lock()
	n.refuse = on
	n.mu.Unlock()
	if on {
		n.Cut()
	}
}

// Swallow makes the connections half-open: whatever either side sends is lost,
// and nobody is told. New connections work only once it is off; those that were
// swallowed stay dead for ever, as they would behind a firewall that forgot them.
func (n *Network) Swallow(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hole = on
	if on {
		for c := range n.conns {
			c.setDead()
		}
	}
}

// Forget swallows the present connections for ever, as Swallow does, and lets new
// ones work.
func (n *Network) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.setDead()
	}
}

// Slow delays each request by latency and lets bytesPerSecond through to each
// client connection; zeros end it.
func (n *Network) Slow(latency time.Duration, bytesPerSecond int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency, n.rate = latency, bytesPerSecond
}

func (n *Network) open() []*conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	return conns
}

func (n *Network) slowness() (latency time.Duration, rate int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latency, n.rate
}

// reset closes with RST, so that the other side notices at once.
func reset(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// conn is one connection of a client.
type conn struct {
	net.Conn
	network *Network
	once    sync.Once
	closed  chan struct{}

	mu   sync.Mutex
	dead bool
}

func (c *conn) setDead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

func (c *conn) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err == nil && c.isDead() {
			continue
		}
		if latency, _ := c.network.slowness(); latency > 0 && err == nil {
			c.pause(latency)
		}
		return n, err
	}
}

func (c *conn) Write(p []byte) (written int, err error) {
	for written < len(p) {
		if c.isDead() {
			return len(p), nil
		}
		piece := p[written:]
		_, rate := c.network.slowness()
		if rate > 0 {
			piece = piece[:min(len(piece), max(1, rate/20))]
		}
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		if rate > 0 {
			c.pause(time.Duration(n) * time.Second / time.Duration(rate))
		}
	}
	return written, nil
}

// pause waits for d, or until the connection is closed.
func (c *conn) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.network.mu.Lock()
		delete(c.network.conns, c)
		c.network.mu.Unlock()
	})
	return c.Conn.Close()
}
