// Package source is the part of the Kubernetes API that krm streamer needs, for
// pods that package frames makes up.
package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
)

// Sent tells when the frame of an event began its way.
type Sent struct {
	Event frames.Event
	At    time.Time
}

// Server answers as an API server does. Watches of at most proofSeconds only follow
// what happens; the others make it happen while the source is unpaced.
type Server struct {
	world    *frames.World
	listener net.Listener
	server   *http.Server
	sent     chan Sent

	mu      sync.Mutex
	unpaced bool
	until   time.Time // when the unpaced events end
	watches int       // watches so far that began at a version
	lists   int       // watches so far that began with the initial events
	expired int       // watches so far that were refused as too old
}

const (
	proofSeconds  = 30
	sampleEvery   = 10
	batch         = 64        // events that happen at once while unpaced
	flushBytes    = 128 << 10 // frames are sent in pieces of about this size
	bookmarkEvery = 10 * time.Second
)

// New listens on any free port of 127.0.0.1. Run serves.
func New(world *frames.World) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the source: %w", err)
	}
	s := &Server{world: world, listener: listener, sent: make(chan Sent, 1000)}
	mux := http.NewServeMux()
	for path, text := range documents() {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(text)) // who went away need not be told
		})
	}
	mux.HandleFunc("GET /api/v1/pods", s.pods)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	return s, nil
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.server.Close() })
	defer stop()
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the source: %w", err)
	}
	return nil
}

// WriteKubeconfig writes how to reach the source.
func (s *Server) WriteKubeconfig(path string) error {
	const name = "bench"
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[name] = &clientcmdapi.Cluster{Server: "http://" + s.listener.Addr().String()}
	cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{}
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	cfg.CurrentContext = name
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return fmt.Errorf("write the source's kubeconfig: %w", err)
	}
	return nil
}

// Flood lets events happen as fast as the watch is read, for d.
func (s *Server) Flood(d time.Duration) {
	s.mu.Lock()
	s.unpaced, s.until = true, time.Now().Add(d)
	s.mu.Unlock()
	s.world.Advance(1) // wakes the watches
}

// flooding says whether the watches make events happen.
func (s *Server) flooding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unpaced = s.unpaced && time.Now().Before(s.until)
	return s.unpaced
}

// Pace lets events happen at a rate, one by one, for d.
func (s *Server) Pace(ctx context.Context, rate int, d time.Duration) {
	began, done := time.Now(), 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		since := time.Since(began)
		if since > d {
			return
		}
		if due := int(since.Seconds() * float64(rate)); due > done {
			s.world.Advance(due - done)
			done = due
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sent yields every tenth event as it is sent, if somebody reads, except deletions.
func (s *Server) Sent() <-chan Sent { return s.sent }

// Counts says how many watches began with the initial events, how many went on from
// a version, and how many were refused as too old.
func (s *Server) Counts() (lists, watches, expired int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.watches, s.expired
}

func (s *Server) count(counter *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*counter++
}

func (s *Server) pods(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	if query.Get("watch") != "true" && query.Get("watch") != "1" {
		s.list(w)
		return
	}
	seconds, err := strconv.Atoi(query.Get("timeoutSeconds"))
	if err != nil {
		seconds = 1800
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	stream := &stream{server: s, out: w, flush: http.NewResponseController(w).Flush, drives: seconds > proofSeconds}
	if query.Get("sendInitialEvents") == "true" {
		if query.Get("labelSelector") != "" { // of which nothing is true here
			stream.bookmark(s.world.Head(), true)
			<-ctx.Done()
			return
		}
		s.count(&s.lists)
		stream.initial()
	} else {
		s.count(&s.watches)
		version, err := strconv.ParseUint(query.Get("resourceVersion"), 10, 64)
		if err != nil {
			http.Error(w, "resourceVersion", http.StatusBadRequest)
			return
		}
		stream.position = version
	}
	stream.follow(ctx)
}

// list answers a list of one page and one object with nothing but its metadata: who
// asks wants to know how many there are and at which version.
func (s *Server) list(w http.ResponseWriter) {
	events, head := s.world.Now()
	namespace, name := s.world.Set().Key(events[0])
	fmt.Fprintf(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"%d","continue":"none","remainingItemCount":%d},`+
		`"items":[{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"namespace":%q,"name":%q,"uid":"00000000-0000-4000-a000-000000000001","resourceVersion":"%d"}}]}`,
		head, len(events)-1, namespace, name, events[0].Version)
}
