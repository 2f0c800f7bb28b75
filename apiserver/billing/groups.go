package billing

import (
	"cmp"
	"context"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// source is one level that groups are summed from. Sources of one answer share no
// sample: a metric that has more than one of them has its rows in one or the other.
type source struct {
	level metrics.Kind // that is read
	says  metrics.Kind // that answers name
}

// sources tells what is summed for the client's question.
func (asked *query) sources() []source {
	switch {
	case asked.family.gpu && !asked.levelSet:
		return []source{{metrics.Container, metrics.Pod}}
	case asked.family.rows != "" && !asked.levelSet:
		return []source{{metrics.Container, metrics.Container}, {metrics.Pod, metrics.Pod}}
	}
	return []source{{asked.level, asked.level}}
}

// by are the tags that tell the sets of a source apart, so that each one's expected
// samples can be counted.
func (asked *query) by(level metrics.Kind) []string {
	by := []string{metricdb.TagCluster, metricdb.TagNamespace}
	if level != metrics.Namespace {
		by = append(by, metricdb.TagPod, metricdb.TagPodID)
	}
	if level == metrics.Container {
		by = append(by, metricdb.TagContainer)
	}
	if asked.family.rows != "" {
		by = append(by, asked.family.rows)
	}
	return by
}

// rowKey tells the rows of an answer apart.
type rowKey struct {
	cluster, namespace, pod, uid, resource string
	level                                  metrics.Kind
}

func (k rowKey) compare(l rowKey) int {
	return cmp.Or(
		strings.Compare(k.cluster, l.cluster), strings.Compare(k.namespace, l.namespace), strings.Compare(k.pod, l.pod),
		strings.Compare(k.uid, l.uid), strings.Compare(k.resource, l.resource), cmp.Compare(l.level, k.level),
	)
}

// tally is the sums of a row.
type tally struct {
	group    metricdb.Group
	expected int64
}

// add puts another group's samples to it.
func (t *tally) add(g *metricdb.Group, expected int64) {
	t.expected += expected
	if t.group.Count == 0 {
		t.group = *g
		t.group.Steps = slices.Clone(g.Steps)
		return
	}
	t.group.Count += g.Count
	t.group.Sum = t.group.Sum.Add(g.Sum)
	t.group.Increase = t.group.Increase.Add(g.Increase)
	if less(t.group.Max, g.Max) {
		t.group.Max = g.Max
	}
	for _, step := range g.Steps {
		i, found := slices.BinarySearchFunc(t.group.Steps, step.Every, func(s metricdb.Step, every time.Duration) int { return cmp.Compare(s.Every, every) })
		if !found {
			t.group.Steps = slices.Insert(t.group.Steps, i, step)
			continue
		}
		t.group.Steps[i].Count += step.Count
		t.group.Steps[i].Sum = t.group.Steps[i].Sum.Add(step.Sum)
	}
}

func less(v, w metricdb.Value) bool {
	if v.Float || w.Float {
		return v.Number() < w.Number()
	}
	return v.Bits < w.Bits
}

// groups answers an aggregation.
func (a *API) groups(ctx context.Context, q request, asked query) error {
	past, err := rollup.Open(ctx, a.db, asked.from, asked.to, asked.where()...)
	if err != nil {
		return err
	}
	rows := map[rowKey]*tally{}
	for _, source := range asked.sources() {
		groups, covered, err := past.Answer(ctx, asked.metric.Name, source.level,
			metricdb.Grouping{By: asked.by(source.level), Increase: asked.metric.Type == metrics.Cumulative, SkipMin: true})
		if err != nil {
			return err
		}
		for i := range groups {
			if key, ok := asked.key(&groups[i], source.says); ok {
				put(rows, key, &groups[i], covered.Each[i].Expected)
			}
		}
	}
	whole, err := complete(ctx, past, asked.cluster, asked.to, q.now)
	if err != nil {
		return err
	}
	a.headers(q, asked.from, asked.to, of(asked.cluster, past.Resolutions()), whole)
	return a.writeGroups(q, asked, rows)
}

func put(rows map[rowKey]*tally, key rowKey, g *metricdb.Group, expected int64) {
	row := rows[key]
	if row == nil {
		row = &tally{}
		rows[key] = row
	}
	row.add(g, expected)
}

// key is the row that a group belongs to; ok is false for what has no name.
func (asked *query) key(g *metricdb.Group, level metrics.Kind) (key rowKey, ok bool) {
	key = rowKey{cluster: g.Tags.Get(metricdb.TagCluster), namespace: g.Tags.Get(metricdb.TagNamespace), level: level}
	if !asked.family.gpu && asked.family.rows != "" {
		key.resource = g.Tags.Get(asked.family.rows)
	}
	if asked.agg == allNamespace {
		return key, key.namespace != ""
	}
	key.pod, key.uid = g.Tags.Get(metricdb.TagPod), g.Tags.Get(metricdb.TagPodID)
	return key, key.namespace != "" && key.pod != ""
}

// groupColumns are the columns of an aggregation's answer.
func (asked *query) groupColumns() []column {
	columns := []column{{"time", quote}, {"sum", bare}, {"cluster_name", quote}, {"namespace_name", quote}}
	if asked.agg != allNamespace {
		columns = append(columns, column{"pod_name", quote}, column{"pod_uid", quote})
	}
	if !asked.family.gpu && asked.family.rows != "" {
		columns = append(columns, column{asked.family.rows, quote})
	}
	return append(columns, column{"level", quote}, column{"unit", quote}, column{"integral", bare}, column{"integral_unit", quote},
		column{"mean", bare}, column{"max", bare}, column{"samples", bare}, column{"expected", bare}, column{"coverage", bare})
}

func (a *API) writeGroups(q request, asked query, rows map[rowKey]*tally) error {
	columns := asked.groupColumns()
	w := newWriter(q, columns, nil)
	unit, integralName, divisor := unitOf(asked.metric), "", int64(0)
	integralName, divisor = integralUnit(asked.metric)
	for _, key := range slices.SortedFunc(maps.Keys(rows), rowKey.compare) {
		row := rows[key]
		cells := []string{rfc3339(asked.from), row.group.Sum.String(), key.cluster, key.namespace}
		if asked.agg != allNamespace {
			cells = append(cells, key.pod, key.uid)
		}
		if !asked.family.gpu && asked.family.rows != "" {
			cells = append(cells, key.resource)
		}
		if err := w.row(append(cells, levelName(key.level), unit, integralOf(&row.group, divisor), integralName, float(row.group.Mean()), row.group.Max.String(),
			strconv.FormatInt(row.group.Count, 10), strconv.FormatInt(row.expected, 10), coverage(row.group.Count, row.expected))); err != nil {
			return err
		}
	}
	return w.end()
}

// integralOf is the integral: the exact sum of value × resolution, divided and rounded
// once. Of counters, whose divisor is 0, it is the increase.
func integralOf(g *metricdb.Group, divisor int64) string {
	if divisor == 0 {
		return g.Increase.String()
	}
	exact := new(big.Rat).Quo(secondsOf(g), new(big.Rat).SetInt64(divisor))
	number, _ := exact.Float64()
	return float(number)
}

// secondsOf is the sum of value × seconds, exactly.
func secondsOf(g *metricdb.Group) *big.Rat {
	total := new(big.Rat)
	for _, step := range g.Steps {
		part := new(big.Rat).SetFrac64(int64(step.Every), int64(time.Second))
		total.Add(total, part.Mul(part, exactly(step.Sum)))
	}
	return total
}

// exactly is a total as a fraction.
func exactly(t metricdb.Total) *big.Rat {
	if t.Exact {
		return new(big.Rat).SetInt64(t.Int)
	}
	if exact := new(big.Rat).SetFloat64(t.Float); exact != nil {
		return exact
	}
	return new(big.Rat) // not a number: there is nothing to sum
}

func float(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// coverage is the share of the promised samples that there are.
func coverage(samples, expected int64) string {
	if expected == 0 {
		return "1"
	}
	return float(float64(samples) / float64(expected))
}
