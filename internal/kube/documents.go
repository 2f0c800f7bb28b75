package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	asAggregated    = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	aggregatedKind  = "as=APIGroupDiscoveryList"
	documentTimeout = time.Minute   // of one document: an OpenAPI document may have to be made first
	incomplete      = "-incomplete" // added to a revision so that the server's ETag never equals it
)

// ReadDocuments reads one part of the documents in which the API server describes
// its API: object.DiscoveryPart or object.OpenAPIPart. What known holds at the
// same revision is not read again: discovery that has not changed costs three
// small requests, OpenAPI two. Documents of another cluster than known's count as
// unknown. Known.ByPath needs no Data.
//
// A document of one group that its own server does not give stays as it is known,
// and is left out if it is not. Errors are those of the API server as a whole.
func (c *Client) ReadDocuments(ctx context.Context, part string, known object.Documents) (object.DocumentsRead, error) {
	r := &documentReading{client: c, part: part, known: known.ByPath, read: object.DocumentsRead{Revisions: map[string]string{}}}
	uid, err := c.clusterUID(ctx)
	if err != nil {
		return r.read, fmt.Errorf("identify the cluster: %w", err)
	}
	r.read.ClusterUID = uid
	if uid != "" && known.ClusterUID != "" && uid != known.ClusterUID {
		r.known = nil
	}
	switch part {
	case object.DiscoveryPart:
		err = r.discovery(ctx)
	case object.OpenAPIPart:
		err = r.openAPI(ctx)
	default:
		panic("BUG: no such part of the documents: " + part)
	}
	if err != nil {
		return r.read, fmt.Errorf("read the API server's %s documents: %w", part, err)
	}
	return r.read, nil
}

// documentReading is one call of ReadDocuments.
type documentReading struct {
	client  *Client
	part    string
	known   map[string]object.PackedDocument
	read    object.DocumentsRead
	partial bool // a group's documents could not be read
}

// fetched is what one request brought.
type fetched struct {
	body      []byte
	revision  string // its ETag, else a hash
	kind      string // its Content-Type
	unchanged bool   // 304: no body
}

// keep says that the document at path is still what we know.
func (r *documentReading) keep(path string) bool {
	d, known := r.known[path]
	if known {
		r.read.Revisions[path] = d.Revision
	}
	return known
}

// take adds what was fetched, unless it is known.
func (r *documentReading) take(path string, f fetched) {
	if r.known[path].Revision == f.revision {
		r.keep(path)
		return
	}
	r.read.Revisions[path] = f.revision
	r.read.Changed = append(r.read.Changed, object.Document{Path: path, Revision: f.revision, Body: f.body})
}

// optional adds the document at path, asking with query. That it cannot be had
// is an error only if the API server does not answer at all.
func (r *documentReading) optional(ctx context.Context, path, query string) error {
	f, err := r.fetch(ctx, path, query, asJSON, "")
	switch {
	case err == nil:
		r.take(path, f)
	case !answeredAtAll(err):
		return err
	default:
		r.client.log.Debug("a document of the API server cannot be read", "path", path, "err", err)
		r.keep(path)
		r.partial = true
	}
	return nil
}

// answeredAtAll says whether err is an answer of the API server.
func answeredAtAll(err error) bool {
	var refused *refusedDocument
	return errors.As(err, &refused)
}

// refusedDocument is an answer that is no document.
type refusedDocument struct{ cause error }

func (e *refusedDocument) Error() string { return e.cause.Error() }
func (e *refusedDocument) Unwrap() error { return e.cause }

// discovery reads /version and everything below /api and /apis. The aggregated
// forms have ETags: while those stay, the plain forms stay.
func (r *documentReading) discovery(ctx context.Context) error {
	version, err := r.fetch(ctx, "/version", "", asJSON, "")
	if err != nil {
		return err
	}
	r.take("/version", version)
	core, err := r.aggregated(ctx, object.AggregatedCore, "/api")
	if err != nil {
		return err
	}
	groups, err := r.aggregated(ctx, object.AggregatedGroups, "/apis")
	if err != nil {
		return err
	}
	if core.unchanged && groups.unchanged {
		for path := range r.known {
			if !strings.HasPrefix(path, "/openapi/") {
				if _, read := r.read.Revisions[path]; !read {
					r.keep(path)
				}
			}
		}
		return nil
	}
	if err := r.plain(ctx); err != nil {
		return err
	}
	for path, f := range map[string]fetched{object.AggregatedCore: core, object.AggregatedGroups: groups} {
		switch {
		case f.unchanged:
			r.keep(path)
		case f.body != nil:
			if r.partial {
				f.revision += incomplete
			}
			r.take(path, f)
		}
	}
	return nil
}

// aggregated asks for the aggregated form of path. Nothing comes of a server that has none.
func (r *documentReading) aggregated(ctx context.Context, name, path string) (fetched, error) {
	f, err := r.fetch(ctx, path, "", asAggregated, r.known[name].Revision)
	if answeredAtAll(err) && (errors.Is(err, object.ErrUnsupported) || errors.Is(err, object.ErrNotFound)) {
		return fetched{}, nil
	}
	if err != nil {
		return fetched{}, err
	}
	if !f.unchanged && !strings.Contains(f.kind, aggregatedKind) {
		return fetched{}, nil
	}
	return f, nil
}

// plain reads /api, /apis, and the list of resources of each group and version.
func (r *documentReading) plain(ctx context.Context) error {
	core, err := r.fetch(ctx, "/api", "", asJSON, "")
	if err != nil {
		return err
	}
	r.take("/api", core)
	groups, err := r.fetch(ctx, "/apis", "", asJSON, "")
	if err != nil {
		return err
	}
	r.take("/apis", groups)
	var versions metav1.APIVersions
	var list metav1.APIGroupList
	if err := json.Unmarshal(core.body, &versions); err != nil {
		return fmt.Errorf("parse /api: %w", err)
	}
	if err := json.Unmarshal(groups.body, &list); err != nil {
		return fmt.Errorf("parse /apis: %w", err)
	}
	for _, version := range versions.Versions {
		if err := r.optional(ctx, "/api/"+version, ""); err != nil {
			return err
		}
	}
	for _, group := range list.Groups {
		for _, version := range group.Versions {
			if err := r.optional(ctx, "/apis/"+version.GroupVersion, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// openAPI reads /openapi/v2, and of /openapi/v3 the index and what it names: each
// document stands there with its hash.
func (r *documentReading) openAPI(ctx context.Context) error {
	f, err := r.fetch(ctx, "/openapi/v2", "", asJSON, r.known["/openapi/v2"].Revision)
	switch {
	case err == nil && f.unchanged:
		r.keep("/openapi/v2")
	case err == nil:
		r.take("/openapi/v2", f)
	case !answeredAtAll(err):
		return err
	default:
		r.keep("/openapi/v2")
	}
	const root = "/openapi/v3"
	index, err := r.fetch(ctx, root, "", asJSON, "")
	if answeredAtAll(err) && errors.Is(err, object.ErrNotFound) {
		return nil // a server that has no such documents
	}
	if err != nil {
		return err
	}
	var names struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(index.body, &names); err != nil {
		return fmt.Errorf("parse %s: %w", root, err)
	}
	for name, at := range names.Paths {
		path, query := root+"/"+name, ""
		if document, err := url.Parse(at.ServerRelativeURL); err == nil {
			query = document.RawQuery
			if hash := document.Query().Get("hash"); hash != "" && r.known[path].Revision == hash {
				r.keep(path)
				continue
			}
		}
		if err := r.optional(ctx, path, query); err != nil {
			return err
		}
	}
	if r.partial {
		index.revision += incomplete
	}
	r.take(root, index)
	return nil
}

// fetch asks for path, unless it still has the given revision. An answer that is
// no success is a *refusedDocument.
func (r *documentReading) fetch(ctx context.Context, path, query, accept, revision string) (fetched, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, documentTimeout, fmt.Errorf("no document within %v", documentTimeout))
	defer cancel()
	f, err := r.client.fetchDocument(ctx, r.part, path, query, accept, revision)
	if err != nil {
		return f, fmt.Errorf("get %s: %w", path, err)
	}
	return f, nil
}

func (c *Client) fetchDocument(ctx context.Context, part, path, query, accept, revision string) (f fetched, err error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return f, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "identity")
	if revision != "" {
		req.Header.Set("If-None-Match", `"`+revision+`"`)
	}
	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		c.opts.Metrics.answered(part, "get", 0, time.Since(began))
		return f, errors.Join(context.Cause(ctx), err)
	}
	defer func() { _ = resp.Body.Close() }()
	c.opts.Metrics.answered(part, "get", resp.StatusCode, time.Since(began))
	switch resp.StatusCode {
	case http.StatusNotModified:
		return fetched{unchanged: true, revision: revision}, nil
	case http.StatusOK:
	default:
		return f, &refusedDocument{refused(resp)}
	}
	f.kind = resp.Header.Get("Content-Type")
	if f.body, err = readAll(resp.Body, nil, c.maxPage); err != nil {
		return f, err
	}
	c.opts.Metrics.received.WithLabelValues(part).Add(float64(len(f.body)))
	f.revision = strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`)
	if f.revision == "" {
		sum := sha256.Sum256(f.body)
		f.revision = hex.EncodeToString(sum[:16])
	}
	if !json.Valid(f.body) {
		return f, &refusedDocument{fmt.Errorf("%w: %s is not JSON", object.ErrGarbled, path)}
	}
	return f, nil
}
