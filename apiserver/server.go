// Package apiserver is KRM's HTTP server: cluster state at the Kubernetes API's own
// paths and at the short ones, health, metrics, and what krm status asks.
package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/apiserver/billing"
	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/apiserver/model"
	"github.com/kubernetes-resource-monitor/krm/apiserver/passthrough"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Asks takes wishes for the processes of a resource. internal/store implements it.
type Asks interface {
	Ask(ctx context.Context, r object.Resource, ask object.Ask) error
}

// Options are a Server's settings; the zero value is the default.
type Options struct {
	// Listen is where Run serves, "127.0.0.1:8080" if "".
	Listen string
	// StaleAfter is how old the stream may be before answers carry a warning. 90 s if 0.
	StaleAfter time.Duration
	// FormBytes, Lists, Discovery and Secret are kubeapi.Options'.
	FormBytes int64
	Lists     int64
	Discovery kubeapi.Discovery
	Secret    func(ctx context.Context) ([]byte, error)
	// Guard knows who may read what; everyone may read everything if nil. Whoever calls
	// New also runs it.
	Guard *auth.Guard
	// TLS is what the server shows and asks for; it serves in clear if nil.
	TLS *tls.Config
	// Passthrough sends on what is not held here; nothing is sent on if nil.
	Passthrough *passthrough.Proxy
	// Model is where metrics come from; none are served if nil. Whoever calls New also
	// keeps it current.
	Model model.Source
	// Past is the metric database that is asked about the past; nothing is told of it if
	// nil. It needs Model.
	Past model.History
	// Billing answers billing systems, who have credentials of their own; nobody does if nil.
	Billing *billing.API
	// DisableExport answers the export of metrics with nothing.
	DisableExport bool
	// Drain is how long Run waits, once it is told to stop, for requests to end. 15 s if 0.
	Drain time.Duration
	// Registry takes the server's metrics and is what /metrics shows; a new one if nil.
	Registry *prometheus.Registry
}

// Server answers HTTP requests from the mirrors of a Set.
type Server struct {
	set     *mirror.Set
	asks    Asks
	options Options
	log     *slog.Logger
	metrics *metrics
	api     *kubeapi.API
	model   *model.API        // nil if no metrics are served
	past    *model.Historical // nil if no past is
	engine  *gin.Engine
}

// New returns a server; whoever calls it also runs set.
func New(set *mirror.Set, asks Asks, options Options, log *slog.Logger) *Server {
	if options.Listen == "" {
		options.Listen = "127.0.0.1:8080"
	}
	if options.Drain == 0 {
		options.Drain = 15 * time.Second
	}
	if options.Registry == nil {
		options.Registry = prometheus.NewRegistry()
	}
	s := &Server{set: set, asks: asks, options: options, log: log}
	serving := kubeapi.Options{
		StaleAfter: options.StaleAfter, FormBytes: options.FormBytes, Lists: options.Lists,
		Discovery: options.Discovery, Secret: options.Secret, Authorize: s.authorize,
	}
	if options.Passthrough != nil {
		serving.Forward = s.forward
	}
	s.api = kubeapi.New(set, serving, log)
	if options.Model != nil {
		s.model = model.New(options.Model, model.Options{Authorize: s.authorize, DisableExport: options.DisableExport}, log)
		if options.Past != nil {
			s.past = model.NewHistorical(s.model, options.Past)
		}
	}
	s.metrics = newMetrics(options.Registry, s.api)
	s.engine = s.routes()
	return s
}

// Handler returns what Run serves.
func (s *Server) Handler() http.Handler { return s.engine }

func (s *Server) routes() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.RedirectTrailingSlash = false
	engine.HandleMethodNotAllowed = true
	engine.ForwardedByClientIP = false
	engine.Use(s.observe, s.recover, limitWrites, s.limitURI, s.serveBilling, s.authenticate, s.serveMetrics)
	open := func(path, verb string, handlers ...gin.HandlerFunc) {
		engine.Match([]string{http.MethodGet, http.MethodHead}, path, append([]gin.HandlerFunc{as(verb)}, handlers...)...)
	}
	read := func(path, verb string, handler gin.HandlerFunc) { open(path, verb, s.permit, handler) }
	for _, path := range []string{"/livez", "/healthz"} { // the latter is the old name
		open(path, "livez", func(c *gin.Context) { c.String(http.StatusOK, "ok") })
	}
	open("/readyz", "readyz", s.readyz)
	read("/", "index", index)
	read("/metrics", "metrics", gin.WrapH(promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{Registry: s.options.Registry})))
	read("/krm/v1/status", "status", s.status)
	engine.POST("/krm/v1/verify", as("verify"), s.verify)
	s.api.Register(engine)
	engine.NoRoute(func(c *gin.Context) {
		if s.forward(c) {
			return
		}
		kubeapi.NoSuchPath(c)
	})
	engine.NoMethod(func(c *gin.Context) { // gin has set Allow
		kubeapi.WriteError(c, s.log, kubeapi.MethodNotAllowed(c.Request.Method))
	})
	return engine
}

// serveMetrics answers what the model has an answer for. It comes before the routes,
// because its paths lie among those of the Kubernetes API.
func (s *Server) serveMetrics(c *gin.Context) {
	if s.past != nil && s.past.Serve(c) || s.model != nil && s.model.Serve(c) {
		c.Abort()
	}
}

// serveBilling answers billing systems. It comes before the others' authentication.
func (s *Server) serveBilling(c *gin.Context) {
	if s.options.Billing != nil && s.options.Billing.Serve(c) {
		c.Abort()
	}
}

// Run listens and serves until ctx ends, then lets requests end for a while, and
// returns nil. It fails if it cannot listen.
func (s *Server) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.options.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.options.Listen, err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.engine,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      writeTimeout, // long answers move it on, piece by piece
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(s.api.EndWatches)
	s.log.Info("serving", "address", listener.Addr().String(), "tls", s.options.TLS != nil)
	served := make(chan error, 1)
	go func() {
		if s.options.TLS == nil {
			served <- server.Serve(listener)
			return
		}
		server.TLSConfig = s.options.TLS
		served <- server.ServeTLS(listener, "", "")
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %v: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		s.log.Warn("requests cut off", "after", s.options.Drain, "err", err)
		if err := server.Close(); err != nil {
			s.log.Warn("close server", "err", err)
		}
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %v: %w", listener.Addr(), err)
	}
	return nil
}
