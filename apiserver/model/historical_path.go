package model

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// past is what a path of the historical API names.
type past struct {
	question
	uids         []string // of pods that are named by their UIDs: key has no names then
	aggregations []string // nil: the points themselves
}

// parseHistorical reads a path below the historical root: those of the model, with
// metrics-aggregated/AGGREGATIONS/METRIC besides metrics/METRIC, and pods by their UIDs.
func parseHistorical(path string) (past, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if p, ok := parsePlain(parts); ok {
		return p, p.what != askKeys
	}
	for i, part := range parts {
		if part != "metrics-aggregated" || i+2 >= len(parts) {
			continue
		}
		p, ok := parsePlain(slices.Concat(parts[:i], []string{"metrics"}, parts[i+2:]))
		if ok && (p.what == askSeries || p.what == askPodSeries) {
			p.aggregations = strings.Split(parts[i+1], ",")
			return p, true
		}
	}
	return past{}, false
}

// parsePlain reads a path without aggregations.
func parsePlain(parts []string) (past, bool) {
	if parts[0] != "pod-id" && parts[0] != "pod-id-list" {
		asked, ok := parsePath(strings.Join(parts, "/"))
		return past{question: asked}, ok
	}
	uids, rest, ok := named(parts)
	if !ok {
		return past{}, false
	}
	key := metrics.Key{Kind: metrics.Pod}
	p := past{uids: []string{uids}}
	if parts[0] == "pod-id-list" {
		p.uids = strings.Split(uids, ",")
	} else if rest[0] == "containers" {
		if key.Container, rest, ok = named(rest); !ok {
			return past{}, false
		}
		key.Kind = metrics.Container
	}
	if p.question, ok = metricsOf(key, rest); !ok || p.what != askSeries {
		return past{}, false
	}
	if parts[0] == "pod-id-list" {
		p.what = askPodSeries
	}
	return p, true
}

// access is the right that the question takes. Whose a UID is, is not known before: it
// takes the right to see those of all pods.
func (p past) access(path string) kubeapi.Access {
	if p.uids != nil {
		return kubeapi.Access{Verb: "list", Resource: podsResource("v1beta1")}
	}
	return p.question.access(path)
}

// check refuses names that nothing can have.
func (p past) check() error {
	invalid := func(what, name string) error { return badRequest(fmt.Errorf("Invalid %s %q", what, name)) } //nolint:staticcheck // clients know these words
	for _, one := range []struct{ what, name string }{
		{"node name", p.key.Node}, {"namespace name", p.key.Namespace}, {"pod name", p.key.Pod}, {"container name", p.key.Container},
	} {
		if !plainName(one.name, "") {
			return invalid(one.what, one.name)
		}
	}
	for _, pod := range p.pods {
		if !plainName(pod, "") || pod == "" {
			return invalid("pod name", pod)
		}
	}
	for _, uid := range p.uids {
		if !plainName(uid, "") || uid == "" {
			return invalid("pod id", uid)
		}
	}
	if !plainName(p.metric, "/:") {
		return invalid("metric name", p.metric)
	}
	for _, name := range p.aggregations {
		if !slices.Contains([]string{"average", "max", "min", "median", "count", "50-perc", "95-perc", "99-perc"}, name) {
			return badRequest(fmt.Errorf("Unknown aggregation %q", name)) //nolint:staticcheck // clients know these words
		}
	}
	return nil
}

// plainName says whether a name has letters, digits, "_", "." and "-" only, and more.
func plainName(name, more string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.-"+more, r)
	}) && len(name) <= 512
}

// pastSpan is the interval that is asked for, [from, to), and how it is to be cut.
type pastSpan struct {
	from, to time.Time // from is zero if no start is given
	start    time.Time // as it was given, in whole seconds
	bucket   time.Duration
	labels   []metrics.Label
}

// parsePast reads the query of a question about the past. Start and end are no part
// of the answer, and count in whole seconds.
func parsePast(raw string, now time.Time) (s pastSpan, err error) {
	plain, err := parseSpan(raw)
	if err != nil {
		return s, err
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return s, badRequest(err)
	}
	s.labels = plain.labels
	for _, l := range s.labels {
		if !plainName(l.Key, "/") || strings.ContainsAny(l.Value, `'"`) || strings.ContainsFunc(l.Value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return s, badRequest(fmt.Errorf("Invalid label value %q", l.Key+":"+l.Value)) //nolint:staticcheck // clients know these words
		}
	}
	s.to = now.Truncate(time.Second)
	if !plain.to.IsZero() {
		s.to = plain.to.Truncate(time.Second)
	}
	if !plain.from.IsZero() {
		s.start = plain.from.Truncate(time.Second)
		s.from = s.start.Add(time.Nanosecond)
	}
	if s.bucket, err = parseBucket(values.Get("bucket")); err != nil {
		return s, badRequest(fmt.Errorf("unable to parse bucket size: %w", err))
	}
	return s, nil
}

// parseBucket reads a length of time: a number and its unit.
func parseBucket(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if len(text) < 2 {
		return 0, fmt.Errorf("%q is too short to be a duration", text)
	}
	for _, unit := range []struct {
		suffix string
		length time.Duration
	}{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}} {
		digits, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n <= 0 || n > int64(100*365*24*time.Hour/unit.length) {
			return 0, fmt.Errorf("%q: want a number above 0 before %s", text, unit.suffix)
		}
		return time.Duration(n) * unit.length, nil
	}
	return 0, fmt.Errorf("%q has no known duration suffix", text)
}

// names are what each series of the answer is of: as many as were asked for, in that order.
func (p past) names() []string {
	switch {
	case p.uids != nil:
		return p.uids
	case p.pods != nil:
		return p.pods
	}
	return []string{""}
}

// tag is the tag that names are values of, "" if there is one series only.
func (p past) tag() string {
	switch {
	case p.uids != nil:
		return metricdb.TagPodID
	case p.pods != nil:
		return metricdb.TagPod
	}
	return ""
}

// name is which series a set belongs to.
func (p past) name(tags metricdb.Tags) string {
	if p.tag() == "" {
		return ""
	}
	return tags.Get(p.tag())
}

// query selects all samples of what is asked about.
func (p past) query(cluster string, s pastSpan) metricdb.Query {
	q := metricdb.Query{
		Metric: cmp.Or(p.metric, metrics.Describe(metrics.Uptime).Name), Level: p.key.Kind, From: s.from, To: s.to,
		Where: []metricdb.Match{metricdb.Is(metricdb.TagCluster, cluster)},
	}
	if p.what == askPodSeries {
		q.Level = metrics.Pod
	}
	container := []string{p.key.Container}
	if other := map[string]string{"runtime": "docker-daemon", "misc": "system"}[p.key.Container]; other != "" && p.key.Kind == metrics.SystemContainer {
		container = append(container, other) // today's names for what was called so
	}
	for _, one := range []struct {
		tag    string
		values []string
	}{
		{metricdb.TagNode, []string{p.key.Node}},
		{metricdb.TagNamespace, []string{p.key.Namespace}},
		{metricdb.TagPod, []string{p.key.Pod}},
		{metricdb.TagContainer, container},
		{p.tag(), p.names()},
	} {
		if one.tag != "" && len(one.values) > 0 && one.values[0] != "" {
			q.Where = append(q.Where, metricdb.Is(one.tag, one.values...))
		}
	}
	return q
}

// series is query for one metric with its labels: all of them, or none for the sums of a
// labelled one. ok is false if no sample can have them.
func (p past) series(cluster string, s pastSpan) (q metricdb.Query, ok bool) {
	q = p.query(cluster, s)
	if !q.From.Before(q.To) {
		return q, false
	}
	d, known := metrics.Lookup(q.Metric)
	labelled := known && d.Labelled
	if len(s.labels) > 0 && !labelled || len(s.labels) == 0 && labelled && !d.Sums || known && d.Hidden() {
		return q, false
	}
	own := metricdb.Identity(q.Metric, q.Level)
	level := metricdb.Identity("uptime", q.Level)
	for _, tag := range own {
		if !slices.Contains(level, tag) { // a label of the metric
			i := slices.IndexFunc(s.labels, func(l metrics.Label) bool { return l.Key == tag })
			value := ""
			if i >= 0 {
				value = s.labels[i].Value
			}
			q.Where = append(q.Where, metricdb.Is(tag, value))
		}
	}
	for _, l := range s.labels {
		if !slices.Contains(own, l.Key) || slices.Contains(level, l.Key) {
			return q, false
		}
	}
	return q, true
}

// errBuckets refuses more buckets than anyone can look at.
var errBuckets = errors.New("too many buckets: take larger ones, or a shorter interval")
