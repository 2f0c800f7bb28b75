// Package discovery answers what a client asks an API server about its API:
// /version, discovery below /api and /apis, and OpenAPI. The answers are the API
// server's own documents, which a streamer keeps in Redis, cut to what KRM serves:
// they are there while the API server is not. Each is cut once per revision of
// its document and set of served resources, when it is first asked for.
package discovery

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Source is where the API server's documents are kept. internal/store implements it.
type Source interface {
	// Documents returns what is kept, or have if that is what is kept.
	Documents(ctx context.Context, have object.Documents) (object.Documents, error)
	// UnpackDocument opens one of them.
	UnpackDocument(d object.PackedDocument) ([]byte, error)
}

// Scope says how much of the API the answers name.
type Scope int

const (
	// ScopeServed names what KRM serves, with the verbs get, list and watch.
	ScopeServed Scope = iota
	// ScopeReads names all that can be read: every resource and subresource of the
	// API server that has one of these verbs, with these verbs only.
	ScopeReads
	// ScopeAll names everything: the documents are the API server's, uncut. A
	// resource that KRM serves and they do not name yet is added.
	ScopeAll
)

// Options are what New does not need. The zero value is the default.
type Options struct {
	Scope Scope
	Poll  time.Duration // how often Run looks for new documents, default 2 s
	// Unwatched are the groups of which KRM serves resources that cannot be watched.
	Unwatched []string
}

// Discovery answers requests for the API's description. It may be used by several
// goroutines at once, and before Run has found any documents.
type Discovery struct {
	source  Source
	served  func() []object.Resource
	options Options
	log     *slog.Logger

	documents atomic.Pointer[object.Documents]
	making    sync.Mutex // held while a view is made
	view      atomic.Pointer[view]
}

// New makes a Discovery of the documents in source. served is asked at every
// request for what KRM serves now: it must be quick. Of those without a Kind, only
// what the documents say is shown.
func New(source Source, served func() []object.Resource, options Options, log *slog.Logger) *Discovery {
	options.Poll = cmp.Or(options.Poll, 2*time.Second)
	d := &Discovery{source: source, served: served, options: options, log: log}
	d.documents.Store(&object.Documents{})
	return d
}

// Run keeps the documents current until ctx ends, and then returns nil. While
// Redis is away, or has lost them, the last ones stay.
func (d *Discovery) Run(ctx context.Context) error {
	ticker := time.NewTicker(d.options.Poll)
	defer ticker.Stop()
	failing := false
	for {
		err := d.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			d.log.Warn("the API server's documents cannot be read from Redis: the last ones stay", "err", err)
		case err == nil && failing:
			d.log.Info("the API server's documents are read from Redis again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// poll reads the documents if they have changed.
func (d *Discovery) poll(ctx context.Context) error {
	have := d.documents.Load()
	found, err := d.source.Documents(ctx, *have)
	if err != nil || found.Revision == have.Revision || found.Revision == "" {
		return err
	}
	d.documents.Store(&found)
	return nil
}

// Ready says whether there are documents: until then only what is known of the
// served resources themselves is answered.
func (d *Discovery) Ready() bool { return d.documents.Load().Revision != "" }

// current returns the view of the documents and served resources of now.
func (d *Discovery) current() *view {
	documents, served := d.documents.Load(), d.servedNow()
	if v := d.view.Load(); v.is(documents, served) {
		return v
	}
	d.making.Lock()
	defer d.making.Unlock()
	old := d.view.Load()
	if old.is(documents, served) {
		return old
	}
	v := newView(d.source, documents, served, d.options, old)
	if v.err != nil {
		d.log.Warn("part of the API server's documents cannot be used", "err", v.err)
	}
	d.view.Store(v)
	return v
}

// servedNow returns what is served in an order of its own.
func (d *Discovery) servedNow() []object.Resource {
	served := slices.Clone(d.served())
	slices.SortFunc(served, func(a, b object.Resource) int {
		return cmp.Or(a.Compare(b), strings.Compare(a.Version, b.Version))
	})
	return slices.CompactFunc(served, func(a, b object.Resource) bool { return a.Compare(b) == 0 && a.Version == b.Version })
}

// Document returns the API server's own document at path, uncut, such as
// "/openapi/v3/apis/apps/v1"; false if there is none. It is unpacked at each call.
func (d *Discovery) Document(path string) ([]byte, bool) {
	packed, found := d.documents.Load().ByPath[path]
	if !found {
		return nil, false
	}
	text, err := d.source.UnpackDocument(packed)
	if err != nil {
		d.log.Warn("a document of the API server cannot be unpacked", "path", path, "err", err)
		return nil, false
	}
	return text, true
}
