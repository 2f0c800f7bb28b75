package rollup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Answer is db.Aggregate with the help of roll-ups: whole hours come from them, the
// rest from samples. Integers are equal to the last bit to what samples alone
// give unless the sum of a metric set's part is beyond int64; then and for floats it
// is about 1e-15 of the sum. Sets is always known. Without roll-ups, for percentiles and
// medians, for buckets that are no whole hours, and for tags that roll-ups do not keep,
// everything comes from samples. Coverage says how complete the answer is.
func Answer(ctx context.Context, db metricdb.DB, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, Coverage, error) {
	q, err := q.Check()
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return nil, Coverage{}, err
	}
	if g.Median || len(g.Percentiles) > 0 {
		return fromSamples(ctx, db, q, g)
	}
	p := &plan{}
	if fits(q, g) {
		if p, err = makePlan(ctx, db, q); err != nil {
			return nil, Coverage{}, err
		}
	}
	if len(p.parts) == 0 {
		p.parts = []part{{from: q.From, to: q.To}}
	}
	a := &answer{db: db, q: q, g: g, plan: p, groups: map[groupKey]*group{}}
	return a.run(ctx)
}

// fromSamples answers what cannot be put together of hours.
func fromSamples(ctx context.Context, db metricdb.DB, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, Coverage, error) {
	groups, err := db.Aggregate(ctx, q, g)
	if err != nil {
		return nil, Coverage{}, err
	}
	_, cover, err := Answer(ctx, db, q, metricdb.Grouping{By: g.By, Bucket: g.Bucket})
	if len(cover.Each) != len(groups) {
		cover.Each = nil // samples came in between
	}
	return groups, cover, err
}

// fits says whether roll-ups can say what is asked for.
func fits(q metricdb.Query, g metricdb.Grouping) bool {
	if g.Bucket%hour != 0 || g.Increase && !isCounter(q.Metric) {
		return false
	}
	known := tagsOf(q.Metric, q.Level)
	for _, m := range q.Where {
		// A condition that may cease to hold while a set lives leaves out the values that
		// steps start from.
		if g.Increase && slices.Contains(carried, m.Tag) && !slices.Contains(metricdb.Identity(q.Metric, q.Level), m.Tag) {
			return false
		}
		if _, ok := slices.BinarySearch(known, m.Tag); !ok {
			return false
		}
	}
	for _, tag := range g.By {
		if _, ok := slices.BinarySearch(known, tag); !ok {
			return false
		}
	}
	return true
}

// answer is an answer in the making. It groups by the metric sets, too, so that it
// knows what each had: coverage needs that.
type answer struct {
	db     metricdb.DB
	q      metricdb.Query
	g      metricdb.Grouping
	plan   *plan
	fine   []string // the tags that groups in the making have
	groups map[groupKey]*group
}

type groupKey struct {
	tags   string
	bucket int64
}

// group is the samples of one metric set with the same tags in a bucket.
type group struct {
	tags        metricdb.Tags
	bucket      int64
	count       int64
	sum         sum
	min, max    metricdb.Value
	steps       steps
	first, last time.Time
	unspanned   bool // first and last are not known of its roll-ups
	increase    sum
}

func (a *answer) run(ctx context.Context) ([]metricdb.Group, Coverage, error) {
	a.fine = slices.Concat(metricdb.Identity(a.q.Metric, a.q.Level), a.g.By)
	slices.Sort(a.fine)
	a.fine = slices.Compact(a.fine)
	for i := range a.plan.parts {
		if err := a.part(ctx, &a.plan.parts[i]); err != nil {
			return nil, Coverage{}, err
		}
	}
	if a.g.Increase {
		if err := a.increases(ctx); err != nil {
			return nil, Coverage{}, err
		}
	}
	return a.finish(ctx)
}

func (a *answer) part(ctx context.Context, p *part) error {
	if len(p.every) > 0 {
		return a.rolledPart(ctx, p)
	}
	groups, err := a.db.Aggregate(ctx, p.query(a.q), metricdb.Grouping{By: a.fine, Bucket: a.g.Bucket, Span: true, SkipMin: a.g.SkipMin})
	if err != nil {
		return err
	}
	for i := range groups {
		a.add(&groups[i])
	}
	return nil
}

// add adds a group of samples.
func (a *answer) add(from *metricdb.Group) {
	to := a.group(from.Tags, from.Time)
	to.merge(from.Count, from.Sum, from.Min, from.Max)
	to.span(from.First, from.Last)
	for _, s := range from.Steps {
		step := to.steps.of(s.Every)
		step.count += s.Count
		step.sum.addTotal(s.Sum)
	}
}

func (a *answer) group(tags metricdb.Tags, at time.Time) *group {
	bucket := a.q.From.UnixNano()
	if a.g.Bucket > 0 {
		bucket = floor(at.UnixNano(), int64(a.g.Bucket))
	}
	key := groupKey{tags.Key(), bucket}
	found, ok := a.groups[key]
	if !ok {
		found = &group{tags: tags, bucket: bucket}
		a.groups[key] = found
	}
	return found
}

func (g *group) merge(count int64, total metricdb.Total, low, high metricdb.Value) {
	if g.count == 0 {
		g.min, g.max = low, high
	}
	if less(low, g.min) {
		g.min = low
	}
	if less(g.max, high) {
		g.max = high
	}
	g.count += count
	g.sum.addTotal(total)
}

// span takes in the times of first and last samples; a zero one is none.
func (g *group) span(first, last time.Time) {
	if !first.IsZero() && (g.first.IsZero() || first.Before(g.first)) {
		g.first = first
	}
	if last.After(g.last) {
		g.last = last
	}
}

// recordBy are the tags of roll-ups that make the tags of the groups.
func (a *answer) recordBy() []string {
	by := slices.Clone(a.fine)
	for i, tag := range by {
		if tag == metricdb.TagType {
			by[i] = TagLevel
		}
	}
	return by
}

// sampleTags turns a roll-up's tags into those of the samples.
func sampleTags(tags metricdb.Tags, keys []string) metricdb.Tags {
	labels := make([]metrics.Label, 0, len(tags))
	for _, label := range tags {
		if label.Key == TagLevel {
			label.Key = metricdb.TagType
		}
		if _, ok := slices.BinarySearch(keys, label.Key); ok {
			labels = append(labels, label)
		}
	}
	return metricdb.MakeTags(labels...)
}

func totalOf(v metricdb.Value) metricdb.Total {
	if v.Float {
		return metricdb.Total{Float: v.Number()}
	}
	return metricdb.Total{Int: v.Bits, Exact: true}
}

// finish puts the groups together as they were asked for.
func (a *answer) finish(ctx context.Context) ([]metricdb.Group, Coverage, error) {
	cover := newCoverer(a)
	if err := cover.read(ctx); err != nil {
		return nil, Coverage{}, err
	}
	if a.g.Span || cover.needsSpans() {
		if err := a.spans(ctx); err != nil {
			return nil, Coverage{}, err
		}
	}
	by := slices.Clone(a.g.By)
	slices.Sort(by)
	identity := metricdb.Identity(a.q.Metric, a.q.Level)
	coarse := map[groupKey]*merged{}
	for _, key := range slices.SortedFunc(maps.Keys(a.groups), func(a, b groupKey) int { return cmp.Or(cmp.Compare(a.tags, b.tags), cmp.Compare(a.bucket, b.bucket)) }) {
		g := a.groups[key]
		if g.count == 0 {
			continue
		}
		tags := g.tags.Only(by)
		to := coarse[groupKey{tags.Key(), g.bucket}]
		if to == nil {
			to = &merged{group: group{tags: tags, bucket: g.bucket}, sets: map[string]bool{}}
			coarse[groupKey{tags.Key(), g.bucket}] = to
		}
		to.take(g)
		to.sets[g.tags.Only(identity).Key()] = true
		cover.add(to, g)
	}
	all := make([]*merged, 0, len(coarse))
	for _, m := range coarse {
		all = append(all, m)
	}
	slices.SortFunc(all, func(x, y *merged) int {
		for _, tag := range a.g.By {
			if c := cmp.Compare(x.tags.Get(tag), y.tags.Get(tag)); c != 0 {
				return c
			}
		}
		return cmp.Compare(x.bucket, y.bucket)
	})
	groups := make([]metricdb.Group, 0, len(all))
	for _, m := range all {
		groups = append(groups, m.finish(&a.g))
	}
	return groups, cover.coverage(all), nil
}

// merged is a group as it was asked for.
type merged struct {
	group
	sets  map[string]bool
	cover Cover
}

func (m *merged) take(g *group) {
	m.merge(g.count, g.sum.total(), g.min, g.max)
	m.span(g.first, g.last)
	for i := range g.steps {
		step := m.steps.of(g.steps[i].every)
		step.count += g.steps[i].count
		step.sum.addTotal(g.steps[i].sum.total())
	}
	m.increase.addTotal(g.increase.total())
}

func (m *merged) finish(want *metricdb.Grouping) metricdb.Group {
	done := metricdb.Group{
		Tags: m.tags, Time: time.Unix(0, m.bucket).UTC(), Count: m.count, Sum: typed(m.sum.total(), m.max.Float),
		Max: m.max, Sets: len(m.sets),
	}
	if !want.SkipMin {
		done.Min = m.min
	}
	for i := range m.steps {
		s := &m.steps[i]
		done.Steps = append(done.Steps, metricdb.Step{Every: s.every, Count: s.count, Sum: typed(s.sum.total(), m.max.Float)})
	}
	slices.SortFunc(done.Steps, func(a, b metricdb.Step) int { return cmp.Compare(a.Every, b.Every) })
	if want.Increase {
		done.Increase = typed(m.increase.total(), m.max.Float)
	}
	if want.Span {
		done.First, done.Last = m.first, m.last
	}
	return done
}

// typed is a total of floats as such, even if it is 0.
func typed(t metricdb.Total, float bool) metricdb.Total {
	if float {
		return metricdb.Total{Float: t.Number()}
	}
	return t
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
