package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// content is what a kubelet answers.
type content interface {
	summary(clock, Shape) []byte
	cadvisor(clock) []byte
	resource(clock) []byte
}

// options say how kubelets answer.
type options struct {
	address      string // 127.0.0.1
	tls          *tls.Config
	tokens       *tokens // nil if everyone may ask
	housekeeping int64   // seconds
	shape        Shape
}

// kubelet answers for one node, on a port of its own.
type kubelet struct {
	name    string
	port    int // the same as long as it lives
	content content
	options options
	log     *slog.Logger
	fault   atomic.Pointer[Fault]
	asked   atomic.Int64 // requests so far
	unknown atomic.Int64 // of them those that gave no good token

	mu     sync.Mutex
	server *http.Server // nil while nothing listens
	done   chan struct{}
}

// newKubelet listens for a node, on port if that is not 0.
func newKubelet(name string, port int, c content, o options, log *slog.Logger) (*kubelet, error) {
	k := &kubelet{name: name, port: port, content: c, options: o, log: log}
	return k, k.listen()
}

func (k *kubelet) listen() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(k.options.address, strconv.Itoa(k.port)))
	if err != nil {
		return fmt.Errorf("listen for node %s: %w", k.name, err)
	}
	k.port = listener.Addr().(*net.TCPAddr).Port
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(k.options.tls != nil)
	k.server = &http.Server{
		Handler: k, TLSConfig: k.options.tls.Clone(), Protocols: protocols,
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(k.log.Handler(), slog.LevelDebug),
	}
	k.done = make(chan struct{})
	go func(server *http.Server, done chan struct{}) {
		defer close(done)
		var err error
		if k.options.tls != nil {
			err = server.ServeTLS(listener, "", "")
		} else {
			err = server.Serve(listener)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			k.log.Error("a kubelet ended", "node", k.name, "err", err)
		}
	}(k.server, k.done)
	return nil
}

// close cuts all connections; listen begins anew on the same port.
func (k *kubelet) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server != nil {
		_ = k.server.Close()
		<-k.done
		k.server = nil
	}
}

// set gives the kubelet a fault; one without a kind ends the fault before.
func (k *kubelet) set(f Fault) error {
	if f.Kind == "gone" {
		k.fault.Store(&f)
		k.close()
		return nil
	}
	if f.Kind == "" {
		k.fault.Store(nil)
	} else {
		k.fault.Store(&f)
	}
	return k.listen()
}

// ServeHTTP answers as a kubelet does at these paths.
func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.asked.Add(1)
	if strings.TrimSuffix(r.URL.Path, "/") == "/healthz" {
		_, _ = io.WriteString(w, "ok")
		return
	}
	if !k.options.tokens.allow(r) {
		k.unknown.Add(1)
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	fault := Fault{}
	if f := k.fault.Load(); f != nil {
		fault = *f
	}
	if fault.refuse(w, r) {
		return
	}
	now := clock{now: time.Now(), housekeeping: k.options.housekeeping}
	var body []byte
	kind := "text/plain; version=0.0.4; charset=utf-8"
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case "/stats/summary":
		kind = "application/json"
		again := func(at time.Time) []byte {
			return k.content.summary(clock{now: at, housekeeping: k.options.housekeeping}, k.options.shape)
		}
		body = fault.spoil(again(now.now), again)
	case "/metrics/cadvisor":
		body = k.content.cadvisor(now)
	case "/metrics/resource":
		body = k.content.resource(now)
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if fault.Kind == "half" {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// tokens are the bearer tokens that kubelets take: the lines of a file, which is
// read again when it changes.
type tokens struct {
	path string
	mu   sync.Mutex
	at   time.Time
	good []string
}

// allow says whether whoever asks may. Nobody is asked for a token if t is nil.
func (t *tokens) allow(r *http.Request) bool {
	if t == nil {
		return true
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t.mu.Lock()
	defer t.mu.Unlock()
	if info, err := os.Stat(t.path); err == nil && !info.ModTime().Equal(t.at) {
		if text, err := os.ReadFile(t.path); err == nil {
			t.at, t.good = info.ModTime(), strings.Fields(string(text))
		}
	}
	return ok && slices.Contains(t.good, token)
}

// openAll listens for all nodes; ports are consecutive from first, or any if that is 0.
func openAll(nodes map[string]content, names []string, first int, o options, log *slog.Logger) (all []*kubelet, err error) {
	for i, name := range names {
		port := 0
		if first > 0 {
			port = first + i
		}
		k, err := newKubelet(name, port, nodes[name], o, log)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

func closeAll(all []*kubelet) {
	var g errgroup.Group
	for _, k := range all {
		g.Go(func() error {
			k.close()
			return nil
		})
	}
	_ = g.Wait() // close returns nothing
}

// serve runs a small server of ours until ctx ends.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve at %s: %w", listener.Addr(), err)
	}
	return nil
}
