// Package kubeapi serves mirrored cluster state, read-only, at the Kubernetes
// API's own paths, and at the short paths of the original KRM.
package kubeapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// Discovery tells clients what there is. apiserver/discovery implements it.
type Discovery interface {
	// Serve answers for the paths of discovery and OpenAPI; handled is false for others.
	Serve(w http.ResponseWriter, r *http.Request) (handled bool)
	// SelectableFields are the paths by which a custom resource lets itself be selected.
	SelectableFields(group, version, kind string) []string
}

// Access is what a client wants to do: with a resource that is served here, or, if
// Path is not "", with that path.
type Access struct {
	Verb      string // get, list or watch
	Resource  object.Resource
	Namespace string // "" for all
	Name      string // "" for all
	Path      string
}

// Options are the settings of an API; the zero value is the default.
type Options struct {
	// StaleAfter is how old the stream may be before answers carry a warning. 90 s if 0.
	StaleAfter time.Duration
	// UnverifiedAfter is how old the last verification may be before answers carry
	// a warning: three times its interval, 5 minutes if 0.
	UnverifiedAfter time.Duration
	// WriteTimeout is how long a client may take to accept one piece of an answer
	// (at most 512 KB); a slower one is cut off. 30 s if 0.
	WriteTimeout time.Duration
	// FormBytes bounds the memory for protobuf and compressed forms, which are made
	// once. 128 MiB if 0.
	FormBytes int64
	// Lists is how many lists are answered at a time; more are told to come back. 64 if 0.
	Lists int64
	// Discovery tells clients what there is; nothing is told if nil.
	Discovery Discovery
	// Authorize fails if the client may not do that; everyone may if nil.
	Authorize func(c *gin.Context, access Access) error
	// Forward answers what is not held here, if somebody else can; handled is false if not.
	// Nothing is if nil.
	Forward func(c *gin.Context) (handled bool)
	// Secret is what all replicas sign continue tokens with; a random one of this API's
	// own if nil.
	Secret func(ctx context.Context) ([]byte, error)
}

func (o Options) withDefaults() Options {
	orElse := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	orElse(&o.StaleAfter, 90*time.Second)
	orElse(&o.UnverifiedAfter, 5*time.Minute)
	orElse(&o.WriteTimeout, 30*time.Second)
	if o.FormBytes == 0 {
		o.FormBytes = 128 << 20
	}
	if o.Lists == 0 {
		o.Lists = 64
	}
	if o.Discovery == nil {
		o.Discovery = undiscovered{}
	}
	if o.Authorize == nil {
		o.Authorize = func(*gin.Context, Access) error { return nil }
	}
	if o.Forward == nil {
		o.Forward = func(*gin.Context) bool { return false }
	}
	if o.Secret == nil {
		o.Secret = randomSecret()
	}
	return o
}

// undiscovered tells nothing.
type undiscovered struct{}

func (undiscovered) Serve(http.ResponseWriter, *http.Request) bool    { return false }
func (undiscovered) SelectableFields(string, string, string) []string { return nil }

// API answers from the mirrors of a Set.
type API struct {
	set        *mirror.Set
	options    Options
	forwards   bool // somebody else can answer what is not held here
	log        *slog.Logger
	buffers    sync.Pool // of *[]byte, pieceBytes long
	kinds      sync.Map  // object.Resource → *kind
	metadata   *wire.Codec
	forms      *forms
	compressor *wire.Compressor
	signer     *signer
	lists      *semaphore.Weighted
	watches    watches
}

// New returns an API that answers from set.
func New(set *mirror.Set, options Options, log *slog.Logger) *API {
	forwards := options.Forward != nil
	options = options.withDefaults()
	return &API{
		set: set, options: options, forwards: forwards, log: log,
		metadata: wire.NewMetadataCodec(), forms: newForms(options.FormBytes), compressor: wire.NewCompressor(),
		signer: &signer{secret: options.Secret}, lists: semaphore.NewWeighted(options.Lists),
		buffers: sync.Pool{New: func() any {
			buffer := make([]byte, 0, pieceBytes)
			return &buffer
		}},
	}
}

// Register adds the paths of the Kubernetes API and the short ones to routes.
func (a *API) Register(routes gin.IRoutes) {
	kubernetes := a.handle(a.kubernetes)
	for _, path := range []string{"/api", "/api/*path", "/apis", "/apis/*path", "/version", "/openapi/*path"} {
		routes.Any(path, kubernetes)
	}
	for _, short := range shortPaths {
		handler := a.handle(func(c *gin.Context) error { return a.short(c, short) })
		routes.GET("/"+short.path, handler)
		routes.HEAD("/"+short.path, handler)
	}
	routes.Match([]string{http.MethodGet, http.MethodHead}, "/krm/v1/count", a.handle(a.count))
}

// Watches is how many watches run.
func (a *API) Watches() int { return a.watches.count() }

// FormBytes is about how much memory protobuf and compressed forms take.
func (a *API) FormBytes() int64 { return a.forms.Bytes() }

// The keys under which handlers leave, in a gin.Context, what the request was for:
// metrics are labelled by it. Only names of mirrored resources are left there.
const (
	VerbKey     = "krm.verb"
	ResourceKey = "krm.resource"
)

func (a *API) handle(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := f(c); err != nil {
			WriteError(c, a.log, err)
		}
	}
}
