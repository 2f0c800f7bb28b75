// Package kube reads a Kubernetes API server: it is the only user of client-go's
// transport. Objects pass through it as text; nothing is decoded but what
// identifies them.
package kube

import (
	"cmp"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/klog/v2"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Options are what a Client can be told. The zero value is the default.
type Options struct {
	// KeepManagedFields leaves metadata.managedFields in the bodies: about a third more bytes.
	KeepManagedFields bool
	// Silence is how long a connection may bring no byte before it is taken for
	// dead. 0 is 90 s: a healthy watch brings a bookmark about every minute.
	Silence time.Duration
	// WatchTimeout is after how long the server is asked to end a watch. 0 is a
	// new random time between 5 and 10 minutes for each watch, so that the
	// watches of many processes do not end together.
	WatchTimeout time.Duration
	// PageSize is how many objects one page of a list holds at most. 0 is 500.
	PageSize int
	// UserAgent is what the API server's audit log shows. "" is krm.
	UserAgent string
	Metrics   *Metrics
}

// Client talks to one API server. Its methods may be called from several
// goroutines at once. None of them retries: the caller knows when to.
type Client struct {
	http      *http.Client
	base      *url.URL
	discovery *discovery.DiscoveryClient
	opts      Options
	log       *slog.Logger
	// connections are those to the API server: many requests share one in HTTP/2.
	connections *connrotation.Dialer
	maxPage     int // bytes of one page of a list; larger ones are asked for again with fewer objects

	catalog          catalog
	warnOnce         sync.Once // that kube-system may not be read
	withoutWatchList sync.Map  // object.Resource → time.Time until which Probe does not try a WatchList
}

// Connect makes a client for the API server that config names. It makes no
// request, and it leaves config as it is. Client-side rate limits of config do
// not apply: how often to ask is the caller's to decide.
func Connect(config *rest.Config, opts Options, log *slog.Logger) (*Client, error) {
	opts.Silence = cmp.Or(opts.Silence, 90*time.Second)
	opts.PageSize = cmp.Or(opts.PageSize, 500)
	opts.UserAgent = cmp.Or(opts.UserAgent, "krm")
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	config = rest.CopyConfig(config)
	config.UserAgent = opts.UserAgent
	config.DisableCompression = true // spares the API server its gzip, which costs more than the bytes
	config.Timeout = 0               // a watch has no end; Options.Silence takes its place
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	connections := connrotation.NewDialer(dial)
	config.Dial = connections.DialContext
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %q: %w", config.Host, err)
	}
	finder, err := discovery.NewDiscoveryClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return &Client{
		http: client, base: base, discovery: finder, opts: opts, log: log, connections: connections,
		maxPage: 256 << 20,
		catalog: catalog{turn: make(chan struct{}, 1)},
	}, nil
}

// LogTo sends what client-go logs (through klog, which is global) to log. Call it once, in main.
func LogTo(log *slog.Logger) { klog.SetSlogLogger(log) }

// decoder returns a decoder for one list or watch of r.
func (c *Client) decoder(r object.Resource) *decoder {
	return &decoder{resource: r, keep: c.opts.KeepManagedFields}
}

// watchTimeout is how long the next watch may last.
func (c *Client) watchTimeout() time.Duration {
	if c.opts.WatchTimeout > 0 {
		return c.opts.WatchTimeout
	}
	const least = 5 * time.Minute
	return least + rand.N(least)
}
