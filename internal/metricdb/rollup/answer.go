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

// Answer is db.Aggregate with the help of roll-ups: whole days (UTC) and hours come from
// them, the rest from samples. Integers are equal to the last bit to what samples alone
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
	v, err := alone(ctx, db, q)
	if err != nil {
		return nil, Coverage{}, err
	}
	return v.answer(ctx, q, g)
}

func (v *Interval) answer(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, Coverage, error) {
	if g.Median || len(g.Percentiles) > 0 {
		return v.fromSamples(ctx, q, g)
	}
	p, err := v.plan(ctx, q, &g)
	if err != nil {
		return nil, Coverage{}, err
	}
	a := &answer{v: v, q: q, g: g, plan: p, groups: map[groupKey]*group{}}
	return a.run(ctx)
}

// fromSamples answers what cannot be put together of hours.
func (v *Interval) fromSamples(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, Coverage, error) {
	groups, err := v.db.Aggregate(ctx, q, g)
	if err != nil {
		return nil, Coverage{}, err
	}
	_, cover, err := v.answer(ctx, q, metricdb.Grouping{By: g.By, Bucket: g.Bucket})
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
	v      *Interval
	q      metricdb.Query
	g      metricdb.Grouping
	plan   *plan
	fine   []string // the tags that groups in the making have
	groups map[groupKey]*group
	cells  memo[cellsKey, []*cell]       // of this answer only
	raw    memo[*part, []metricdb.Group] // what samples say of the parts without roll-ups
}

func (a *answer) run(ctx context.Context) ([]metricdb.Group, Coverage, error) {
	a.fine = slices.Concat(metricdb.Identity(a.q.Metric, a.q.Level), a.g.By)
	slices.Sort(a.fine)
	a.fine = slices.Compact(a.fine)
	if err := a.warm(ctx, a.need()); err != nil {
		return nil, Coverage{}, err
	}
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
	if p.span > 0 {
		return a.rolledPart(ctx, p)
	}
	groups, err := a.samples(ctx, p)
	if err != nil {
		return err
	}
	for i := range groups {
		a.add(&groups[i])
	}
	return nil
}

// samples reads what samples say of a part.
func (a *answer) samples(ctx context.Context, p *part) ([]metricdb.Group, error) {
	return a.raw.get(ctx, p, func(ctx context.Context) ([]metricdb.Group, error) {
		return a.v.db.Aggregate(ctx, p.query(a.q), metricdb.Grouping{By: a.fine, Bucket: a.g.Bucket, Span: true, SkipMin: a.g.SkipMin})
	})
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

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
