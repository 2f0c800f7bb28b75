// Package model answers for metrics: with the paths of Heapster's model and export,
// with the Kubernetes resource metrics API (metrics.k8s.io) that kubectl top and
// autoscalers read, and with how the collection of each node went. What it answers
// from, a Follower reads from Redis.
package model

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// DefaultCluster is the cluster whose metrics stand at the paths without a cluster's
// name: the one that sources are of unless they say another.
const DefaultCluster = "default"

// Source is what there is of metrics. Follower implements it.
type Source interface {
	// Clusters are the clusters of which there are metrics, sorted.
	Clusters() []string
	// View is the newest state of a cluster's metrics, nil if there is none.
	View(cluster string) *metrics.View
	// Loading says why there may be metrics that View does not know yet, at the start;
	// nil if it knows what there is.
	Loading() error
	// Doubt says why View may not be the newest state, nil if it is.
	Doubt(cluster string) error
}

// Options are the settings of an API; the zero value is the default.
type Options struct {
	// Authorize fails if the client may not do that; everyone may if nil.
	Authorize func(c *gin.Context, access kubeapi.Access) error
	// DisableExport answers the export with nothing.
	DisableExport bool
	// Exports is how many exports and complete lists are answered at a time; more are
	// told to come back. 8 if 0.
	Exports int64
}

// API answers from a Source. It may be used by several goroutines at once.
type API struct {
	source  Source
	options Options
	log     *slog.Logger
	exports *semaphore.Weighted
}

// New returns an API that answers from source.
func New(source Source, options Options, log *slog.Logger) *API {
	if options.Authorize == nil {
		options.Authorize = func(*gin.Context, kubeapi.Access) error { return nil }
	}
	return &API{source: source, options: options, log: log, exports: semaphore.NewWeighted(cmp.Or(options.Exports, 8))}
}

const (
	modelRoot   = "/api/v1/model"
	exportPath  = "/api/v1/metric-export"
	schemaPath  = "/api/v1/metric-export-schema"
	groupRoot   = "/apis/" + Group
	clusterRoot = "/clusters"
	nodesPath   = "/krm/v1/metrics/nodes"
)

// request is what a client asks for.
type request struct {
	*gin.Context
	cluster string
	local   bool   // the cluster is the one that the server's users have rights in
	path    string // below the cluster, without slashes at its end
}

// Serve answers a request for metrics; handled is false, and nothing written, for
// those that are for something else. metrics.k8s.io is something else as long as
// there are no metrics of the default cluster: another may serve it then.
func (a *API) Serve(c *gin.Context) (handled bool) {
	q := request{Context: c, cluster: DefaultCluster, local: true, path: c.Request.URL.Path}
	if strings.HasPrefix(q.path, "//") {
		return a.redirect(c)
	}
	q.path = strings.TrimRight(q.path, "/")
	if q.path == clusterRoot {
		a.answer(q, "clusters", a.clusters)
		return true
	}
	below, ofCluster := strings.CutPrefix(q.path, clusterRoot+"/")
	if ofCluster {
		q.cluster, q.path, _ = strings.Cut(below, "/")
		q.local, q.path = q.cluster == DefaultCluster, "/"+q.path
	}
	verb, answer := a.route(q, ofCluster)
	if answer == nil {
		return false
	}
	a.answer(q, verb, answer)
	return true
}

// route finds who answers, nil if it is not us.
func (a *API) route(q request, ofCluster bool) (verb string, answer func(request) error) {
	switch {
	case ofCluster && !q.local && !slices.Contains(a.source.Clusters(), q.cluster):
		return "model", a.noCluster
	case under(q.path, modelRoot):
		return "model", a.model
	case q.path == exportPath:
		return "export", a.export
	case q.path == schemaPath:
		return "export-schema", a.schema
	case strings.HasPrefix(q.path, groupRoot+"/"):
		parts := strings.Split(strings.TrimPrefix(q.path, groupRoot+"/"), "/")
		if len(parts) > 1 && slices.Contains(versions(), parts[0]) && a.source.View(q.cluster) != nil {
			return "resource-metrics", a.resource
		}
	case q.path == nodesPath:
		return "metrics-nodes", a.nodes
	}
	if ofCluster {
		return "model", func(request) error { return errNoPage }
	}
	return "", nil
}

// under says whether path is root or below it.
func under(path, root string) bool {
	rest, found := strings.CutPrefix(path, root)
	return found && (rest == "" || rest[0] == '/')
}

// redirect sends those who doubled the first slash to where they wanted to go.
func (a *API) redirect(c *gin.Context) bool {
	target := path.Clean(c.Request.URL.Path)
	if !under(target, modelRoot) && !under(target, exportPath) && !under(target, schemaPath) && !under(target, clusterRoot) {
		return false
	}
	if strings.HasSuffix(c.Request.URL.Path, "/") && target != "/" {
		target += "/"
	}
	moved := *c.Request.URL
	moved.Path, moved.RawPath = target, ""
	c.Header("Location", moved.RequestURI())
	c.Status(http.StatusMovedPermanently)
	c.Writer.WriteHeaderNow()
	c.Abort()
	return true
}

// answer has f answer, and writes what it fails with.
func (a *API) answer(q request, verb string, f func(request) error) {
	q.Set(kubeapi.VerbKey, verb)
	if err := f(q); err != nil {
		a.fail(q.Context, err)
	}
	q.Abort()
}

// authorize fails unless the client may do that in the request's cluster. Rights in
// namespaces and on nodes are those of the cluster that the server asks, so metrics
// of another cluster take a right to the path.
func (a *API) authorize(q request, access kubeapi.Access) error {
	switch {
	case !q.local:
		access = kubeapi.Access{Verb: "get", Path: clusterRoot + "/" + q.cluster + q.path}
	case access.Path != "":
		access = kubeapi.Access{Verb: "get", Path: q.path}
	}
	if r := access.Resource; r.Name != "" {
		q.Set(kubeapi.ResourceKey, r.String())
	}
	return a.options.Authorize(q.Context, access)
}

// view is the cluster's state, with the headers that tell how far it may be trusted;
// nil if there is none.
func (a *API) view(q request) (*metrics.View, error) {
	v := a.source.View(q.cluster)
	if err := a.source.Loading(); v == nil && err != nil {
		return nil, kubeapi.Unavailable("metrics cannot be served yet: %v", err)
	}
	h := q.Writer.Header()
	h.Set("Cache-Control", "private, no-store")
	h.Set("Vary", "Accept, Accept-Encoding, Authorization")
	if v == nil {
		return nil, nil
	}
	age := time.Since(v.Time())
	h.Set("Krm-Metrics-At", v.Time().UTC().Format(time.RFC3339Nano))
	h.Set("Krm-Metrics-Age", strconv.FormatFloat(max(0, age.Seconds()), 'f', 1, 64))
	if doubt := a.source.Doubt(q.cluster); doubt != nil {
		kubeapi.Warn(h, fmt.Sprintf("metrics: %v; these are of %s", doubt, v.Time().UTC().Format(time.RFC3339)))
	} else if age > lateAfter*v.Resolution() {
		kubeapi.Warn(h, fmt.Sprintf("metrics: the newest are %v old, though they should come every %v: see the collector",
			age.Round(time.Second), v.Resolution()))
	}
	return v, nil
}

// lateAfter is how many resolutions old metrics are when two batches are overdue: one
// of them it takes until the next is due.
const lateAfter = 3

// partial tells the client how many of some things are only part of the truth.
func partial(q request, what string, n int) {
	if n > 0 {
		q.Header("Krm-Partial", what+"="+strconv.Itoa(n))
	}
}

// partialNodes tells how many nodes the newest batch lacks.
func partialNodes(q request, v *metrics.View) {
	if v == nil || v.Complete() {
		return
	}
	failed := 0
	for _, n := range v.Nodes() {
		if n.Reason != "" {
			failed++
		}
	}
	partial(q, "nodes", max(1, failed))
}

// Resources are what source lets the server serve besides what it mirrors: the
// resource metrics, as long as there are metrics of the default cluster.
func Resources(source Source) (all []object.Resource) {
	if source.View(DefaultCluster) == nil {
		return nil
	}
	for _, version := range []string{"v1", "v1beta1"} {
		all = append(all, nodesResource(version), podsResource(version))
	}
	return all
}
