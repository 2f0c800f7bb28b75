package kube

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// freezer passes connections on to an address; once frozen, those that are open
// stay open and bring nothing any more.
type freezer struct {
	listener net.Listener
	opened   atomic.Int64
	wait     sync.WaitGroup

	mu    sync.Mutex
	conns []*frozenConn
}

type frozenConn struct {
	net.Conn
	frozen atomic.Bool
}

func (c *frozenConn) Write(p []byte) (int, error) {
	if c.frozen.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func freezing(t *testing.T, target string) *freezer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{listener: listener}
	f.wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			f.opened.Add(1)
			toClient, toServer := &frozenConn{Conn: client}, &frozenConn{Conn: server}
			f.mu.Lock()
			f.conns = append(f.conns, toClient, toServer)
			f.mu.Unlock()
			f.wait.Go(func() { _, _ = io.Copy(toServer, client) })
			f.wait.Go(func() { _, _ = io.Copy(toClient, server) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.wait.Wait()
	})
	return f
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.frozen.Store(true)
	}
}

// A connection that brings not even a header is left: the next request opens
// another one, although in HTTP/2 all share the first.
func TestDeadConnectionIsLeft(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("the request came by %s", r.Proto)
		}
		_, _ = io.WriteString(w, `{"metadata":{"uid":"one"}}`)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	proxy := freezing(t, server.Listener.Addr().String())
	c := connect(t, &rest.Config{
		Host: "https://" + proxy.listener.Addr().String(), TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}, Options{Silence: 300 * time.Millisecond})
	get := func() error {
		var any struct{ Metadata struct{ UID string } }
		return c.object(t.Context(), "test", "/api", asJSON, &any)
	}
	for range 2 {
		if err := get(); err != nil {
			t.Fatal(err)
		}
	}
	if n := proxy.opened.Load(); n != 1 {
		t.Fatalf("%d connections for two requests, want one", n)
	}
	proxy.freeze()
	if err := get(); !errors.Is(err, object.ErrSilent) {
		t.Fatalf("over the dead connection: %v", err)
	}
	if err := get(); err != nil || proxy.opened.Load() != 2 {
		t.Errorf("the next request: %v, %d connections opened", err, proxy.opened.Load())
	}
}
