package model

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// History is what the metric database tells of the past. metricdb.DB is one.
type History interface {
	Runs(ctx context.Context, q metricdb.Query, tags ...string) iter.Seq2[metricdb.Run, error]
	Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error)
	Tags(ctx context.Context, q metricdb.Query, by ...string) ([]metricdb.Tags, error)
	Metrics(ctx context.Context, q metricdb.Query) ([]string, error)
}

// Historical answers from the metric database, with the paths of Heapster's historical
// API. Where an API answers about the present, it may ask that: containers of pods.
type Historical struct {
	api *API
	db  History
	now func() time.Time
}

// NewHistorical returns a Historical over db that authorizes and writes as api does.
func NewHistorical(api *API, db History) *Historical {
	return &Historical{api: api, db: db, now: time.Now}
}

const historicalRoot = "/api/v1/historical"

// Serve answers a request for the past; handled is false, and nothing written, for
// those that are for something else. Ask it before API.Serve, which takes all paths
// below /clusters/NAME.
func (h *Historical) Serve(c *gin.Context) (handled bool) {
	q := request{Context: c, cluster: DefaultCluster, local: true, path: strings.TrimRight(c.Request.URL.Path, "/")}
	if below, ofCluster := strings.CutPrefix(q.path, clusterRoot+"/"); ofCluster {
		q.cluster, q.path, _ = strings.Cut(below, "/")
		q.local, q.path = q.cluster == DefaultCluster, "/"+q.path
	}
	if !under(q.path, historicalRoot) {
		return false
	}
	h.api.answer(q, "historical", h.answer)
	return true
}

// answer answers below the historical root.
func (h *Historical) answer(q request) error {
	asked, ok := parseHistorical(strings.TrimPrefix(q.path, historicalRoot))
	if !ok {
		return errNoPage
	}
	if err := checkForm(q.Request); err != nil {
		return err
	}
	if err := h.api.authorize(q, asked.access(q.path)); err != nil {
		return err
	}
	if err := asked.check(); err != nil {
		return err
	}
	span, err := parsePast(q.Request.URL.RawQuery, h.now())
	if err != nil {
		return err
	}
	header := q.Writer.Header()
	header.Set("Cache-Control", "private, no-store")
	header.Set("Vary", "Accept, Accept-Encoding, Authorization")
	var answer func(request, past, pastSpan) error
	switch {
	case asked.what == askContainers:
		return h.containers(q, asked)
	case asked.what != askSeries && asked.what != askPodSeries:
		answer = h.list
	case span.from.IsZero():
		return badRequest(errors.New("no start time (or a start time of zero) provided"))
	case asked.aggregations != nil:
		answer = h.aggregated
	default:
		answer = h.series
	}
	return fault(answer(q, asked, span))
}

// fault makes an answer of the database's errors.
func fault(err error) error {
	switch {
	case errors.Is(err, metricdb.ErrUnavailable):
		return kubeapi.Unavailable("the metric database does not answer")
	case errors.Is(err, metricdb.ErrInvalid):
		return badRequest(err)
	}
	return err
}

// containers answers from memory, as it always did.
func (h *Historical) containers(q request, asked past) error {
	v, err := h.api.view(q)
	if err != nil {
		return err
	}
	h.api.send(q, pretty(asked.list(v)))
	return nil
}

// listed are metrics that all things of a level have: the first that there is tells
// which things there were.
var listed = []metrics.ID{metrics.Uptime, metrics.CPUUsageRate, metrics.MemoryUsage}

// list answers with names: of all time, or of what is between start and end.
func (h *Historical) list(q request, asked past, s pastSpan) error {
	if s.from.IsZero() {
		s.from = time.Unix(0, 0)
	}
	if !s.from.Before(s.to) {
		h.api.send(q, pretty(nil))
		return nil
	}
	if asked.what == askMetrics {
		names, err := h.db.Metrics(q.Request.Context(), asked.query(q.cluster, s))
		if err == nil {
			h.api.send(q, pretty(names))
		}
		return err
	}
	tag, level := metricdb.TagPod, metrics.Pod
	switch asked.what {
	case askNodes:
		tag, level = metricdb.TagNode, metrics.Node
	case askNamespaces:
		tag = metricdb.TagNamespace
	case askSystemContainers:
		tag, level = metricdb.TagContainer, metrics.SystemContainer
	}
	for _, id := range listed {
		query := asked.query(q.cluster, s)
		query.Metric, query.Level = metrics.Describe(id).Name, level
		all, err := h.db.Tags(q.Request.Context(), query, tag)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			h.api.send(q, pretty(valuesOf(all, tag)))
			return nil
		}
	}
	h.api.send(q, pretty(nil))
	return nil
}

func valuesOf(all []metricdb.Tags, tag string) (names []string) {
	for _, tags := range all {
		names = append(names, tags.Get(tag))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// series answers with the points between start and end, ascending.
func (h *Historical) series(q request, asked past, s pastSpan) error {
	all := make([]result, len(asked.names()))
	for i := range all {
		all[i].Metrics = []point{}
	}
	if query, ok := asked.series(q.cluster, s); ok {
		places := map[string][]int{}
		for i, name := range asked.names() {
			places[name] = append(places[name], i)
		}
		for run, err := range h.db.Runs(q.Request.Context(), query) {
			if err != nil {
				return fmt.Errorf("read %s: %w", query.Metric, err)
			}
			d := &metrics.Descriptor{Float: run.Float}
			for _, place := range places[asked.name(run.Tags)] {
				for i, at := range run.Times {
					all[place].Metrics = append(all[place].Metrics, pointOf(metrics.Point{Time: time.Unix(0, at), Bits: run.Values[i]}, d))
				}
			}
		}
	}
	for i := range all {
		slices.SortStableFunc(all[i].Metrics, func(a, b point) int { return a.Timestamp.Compare(b.Timestamp) })
		if n := len(all[i].Metrics); n > 0 {
			all[i].LatestTimestamp = all[i].Metrics[n-1].Timestamp
		}
	}
	if asked.what == askSeries {
		h.api.send(q, prettyValue(all[0]))
		return nil
	}
	h.api.send(q, compactValue(map[string]any{"items": all}))
	return nil
}
