package model

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/munnerz/goautoneg"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fail answers with err: bare text where Heapster answered so, else a Status.
func (a *API) fail(c *gin.Context, err error) {
	text, ok := asText(err)
	if !ok {
		kubeapi.WriteError(c, a.log, err)
		return
	}
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if text.code == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodGet)
	}
	c.Data(text.code, "text/plain; charset=utf-8", []byte(text.text))
}

// checkForm refuses what is no GET, and clients that take no JSON.
func checkForm(r *http.Request) error {
	if r.Method != http.MethodGet {
		return errMethod
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.Trim(accept, ", ") == "" {
		return nil
	}
	for _, clause := range goautoneg.ParseAccept(accept) {
		if clause.Q > 0 && (clause.Type == "*" || clause.Type == "application" && (clause.SubType == "*" || clause.SubType == "json")) {
			return nil
		}
	}
	return errNotAcceptable
}

// model answers below the model's root.
func (a *API) model(q request) error {
	asked, ok := parsePath(strings.TrimPrefix(q.path, modelRoot))
	if !ok {
		return errNoPage
	}
	if err := checkForm(q.Request); err != nil {
		return err
	}
	if err := a.authorize(q, asked.access(q.path)); err != nil {
		return err
	}
	if asked.what == askSeries || asked.what == askPodSeries {
		return a.series(q, asked)
	}
	v, err := a.view(q)
	if err != nil {
		return err
	}
	partialNodes(q, v)
	a.send(q, pretty(asked.list(v)))
	return nil
}

// list is the answer of what is no series.
func (q question) list(v *metrics.View) []string {
	if v == nil {
		return nil
	}
	switch q.what {
	case askMetrics:
		return v.MetricNames(q.key)
	case askNodes:
		return v.NodeNames()
	case askNamespaces:
		return v.Namespaces()
	case askPods:
		return v.Pods(q.key.Namespace)
	case askContainers:
		return v.Containers(q.key.Namespace, q.key.Pod)
	case askSystemContainers:
		return v.SystemContainers(q.key.Node)
	}
	return v.Keys()
}

// point is one value, as it is sent.
type point struct {
	Timestamp  time.Time `json:"timestamp"`
	Value      uint64    `json:"value"`
	FloatValue *float64  `json:"floatValue,omitempty"`
}

// result is a series, as it is sent.
type result struct {
	Metrics         []point   `json:"metrics"`
	LatestTimestamp time.Time `json:"latestTimestamp"`
}

// series answers with one series, or with one for each of several pods.
func (a *API) series(q request, asked question) error {
	s, err := parseSpan(q.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	v, err := a.view(q)
	if err != nil {
		return err
	}
	if asked.what == askSeries && s.list {
		a.send(q, pretty(labelSets(v, asked)))
		return nil
	}
	if asked.what == askSeries {
		r, lacking := read(v, asked.key, asked.metric, s)
		partial(q, "points", lacking)
		a.send(q, prettyValue(r))
		return nil
	}
	all := struct {
		Items []result `json:"items"`
	}{Items: make([]result, 0, len(asked.pods))}
	for _, pod := range asked.pods {
		r, _ := read(v, metrics.Key{Kind: metrics.Pod, Namespace: asked.key.Namespace, Pod: pod}, asked.metric, s)
		all.Items = append(all.Items, r)
	}
	a.send(q, compactValue(all))
	return nil
}

// labelSets are the label sets of a labelled metric, as the parameter labels takes them.
func labelSets(v *metrics.View, asked question) (sets []string) {
	if v == nil {
		return nil
	}
	for _, labels := range v.LabelSets(asked.key, asked.metric) {
		sets = append(sets, metrics.JoinLabels(labels))
	}
	slices.Sort(sets)
	return sets
}

// read takes a series from v, which may be nil. partial is how many of the points are
// sums that lack pods.
func read(v *metrics.View, key metrics.Key, metric string, s span) (r result, partial int) {
	r.Metrics = []point{}
	if v == nil {
		return r, 0
	}
	points, d, partial := v.Series(key, metric, s.labels, s.from, s.to)
	if d == nil || d.Hidden() {
		return r, 0
	}
	for _, p := range points {
		r.Metrics = append(r.Metrics, pointOf(p, d))
	}
	if n := len(r.Metrics); n > 0 {
		r.LatestTimestamp = r.Metrics[n-1].Timestamp
	}
	return r, partial
}

// pointOf is a point as it is sent: the value is a whole number that is not below 0,
// as it always was; a float is beside it.
func pointOf(p metrics.Point, d *metrics.Descriptor) point {
	sent := point{Timestamp: p.Time.UTC()}
	if !d.Float {
		sent.Value = uint64(max(0, p.Bits))
		return sent
	}
	f := metrics.BitsFloat(p.Bits)
	sent.Value = whole(f)
	if !math.IsNaN(f) && !math.IsInf(f, 0) { // JSON has neither
		sent.FloatValue = &f
	}
	return sent
}

// whole cuts a float to what a whole number that is not below 0 can hold.
func whole(f float64) uint64 {
	switch {
	case !(f > 0): // NaN, too
		return 0
	case f >= math.MaxUint64:
		return math.MaxUint64
	}
	return uint64(f)
}
