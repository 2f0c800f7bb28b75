// Package kubeapi serves mirrored cluster state, read-only, at the Kubernetes
// API's own paths, and at the short paths of the original KRM.
package kubeapi

import (
	"log/slog"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
)

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
}

// API answers from the mirrors of a Set.
type API struct {
	set     *mirror.Set
	options Options
	log     *slog.Logger
	buffers sync.Pool // of *[]byte, pieceBytes long
}

// New returns an API that answers from set.
func New(set *mirror.Set, options Options, log *slog.Logger) *API {
	orElse := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	orElse(&options.StaleAfter, 90*time.Second)
	orElse(&options.UnverifiedAfter, 5*time.Minute)
	orElse(&options.WriteTimeout, 30*time.Second)
	return &API{set: set, options: options, log: log, buffers: sync.Pool{New: func() any {
		buffer := make([]byte, 0, pieceBytes)
		return &buffer
	}}}
}

// Register adds the paths of the Kubernetes API and the short ones to routes.
func (a *API) Register(routes gin.IRoutes) {
	kubernetes := a.handle(a.kubernetes)
	routes.Any("/api/*path", kubernetes)
	routes.Any("/apis/*path", kubernetes)
	for _, short := range shortPaths {
		handler := a.handle(func(c *gin.Context) error { return a.short(c, short) })
		routes.GET("/"+short.path, handler)
		routes.HEAD("/"+short.path, handler)
	}
}

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
