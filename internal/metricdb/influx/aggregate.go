package influx

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

func itoa(i int) string { return strconv.Itoa(i) }

func isUnknownPolicy(err error) bool {
	return err != nil && strings.Contains(err.Error(), "retention policy not found")
}

// Aggregate lets the server add up what it can: counts, sums, least and greatest,
// where all batches had one resolution and no sum is beyond int64. Everything else is
// reduced here, from samples.
func (s *Store) Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) (groups []metricdb.Group, err error) {
	done := s.options.Metrics.Query("aggregate")
	defer func() { done(err) }()
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	if err = g.Check(); err != nil {
		return nil, err
	}
	resolutions, err := s.Resolutions(ctx, "", q.From, q.To)
	if err != nil {
		return nil, err
	}
	byServer := !s.flux() && !g.Increase && !g.Median && len(g.Percentiles) == 0 && !mixed(resolutions) &&
		!slices.ContainsFunc(q.Where, func(m metricdb.Match) bool { return m.Tag == metricdb.TagPodID })
	if byServer && !sooner(q, g, resolutions) {
		groups, ok, err := s.serverGroups(ctx, q, g, resolutions)
		if ok || err != nil {
			return groups, err
		}
	}
	return s.reduce(ctx, q, g, resolutions)
}

// fewWindows is how many samples of a set are read in less time than the server takes to
// add them up set by set: each figure is a pass over the samples there. Measured with
// 1,000 pods: 60 samples of each take half the server's time, 240 half as long again.
const fewWindows = 120

// sooner says whether the samples are read, and reduced here, in less time than the server
// takes: where it would have to group by pods, or find the first and last of buckets.
func sooner(q metricdb.Query, g metricdb.Grouping, resolutions []metricdb.Resolution) bool {
	windows := 0
	for _, r := range resolutions {
		windows = max(windows, r.Batches)
	}
	if g.Bucket > 0 {
		return g.Span
	}
	bySet := slices.Contains(g.By, metricdb.TagPod) || slices.Contains(g.By, metricdb.TagPodID)
	return aboutPods(q.Level) && bySet && windows <= fewWindows
}

// mixed says whether samples had several resolutions.
func mixed(resolutions []metricdb.Resolution) bool {
	return slices.ContainsFunc(resolutions, func(r metricdb.Resolution) bool { return r.Every != resolutions[0].Every })
}

func (s *Store) reduce(ctx context.Context, q metricdb.Query, g metricdb.Grouping, resolutions []metricdb.Resolution) ([]metricdb.Group, error) {
	from := q.From
	if g.Increase {
		from = from.Add(-metricdb.Lookback)
	}
	reducer := metricdb.NewReducer(q, g, resolutions)
	if err := s.runs(ctx, q, g.By, from, func(run metricdb.Run) bool { reducer.Add(&run); return true }); err != nil {
		return nil, err
	}
	return reducer.Groups(), nil
}

// serverGroups asks the server; ok is false if it cannot tell.
func (s *Store) serverGroups(ctx context.Context, q metricdb.Query, g metricdb.Grouping, resolutions []metricdb.Resolution) (groups []metricdb.Group, ok bool, err error) {
	by := slices.Clone(g.By)
	named := aboutPods(q.Level) && slices.Contains(by, metricdb.TagPodID)
	plan := reading{q: q}
	if named {
		// The server groups by the pod's name; names that several pods had are done here.
		if plan, err = s.plan(ctx, q, q.From); err != nil {
			return nil, false, err
		}
		by = append(by, metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod)
		slices.Sort(by)
		by = slices.Compact(by)
		for _, tenures := range plan.directory {
			if len(tenures) > 1 {
				return nil, false, nil
			}
		}
	}
	var every time.Duration
	if len(resolutions) > 0 {
		every = resolutions[0].Every
	}
	measurement, field := s.options.place(q.Metric)
	name := quoteIdent(field)
	st := newStatement().raw("SELECT count(" + name + "), sum(" + name + "), max(" + name + ")")
	if !g.SkipMin {
		st.raw(", min(" + name + ")")
	}
	st.from(samplePolicy, measurement).where(q.From, q.To, plan.conditions()).groupBy(by, g.Bucket)
	ok = true
	err = s.ask(ctx, st, func(one *series, r row) bool {
		var group metricdb.Group
		if group, ok = serverGroup(r, isFloat(q.Metric), every); !ok {
			return false
		}
		group.Tags, group.Time = one.tags, q.From
		if g.Bucket > 0 {
			group.Time = time.Unix(0, r.int(0)).UTC()
		}
		if group.Count > 0 {
			groups = append(groups, group)
		}
		return true
	})
	if err != nil || !ok {
		return nil, ok, err
	}
	if g.Span {
		if err := s.spans(ctx, plan, by, groups); err != nil {
			return nil, false, err
		}
	}
	if named {
		groups, ok = nameGroups(groups, plan.directory, g.By)
	}
	metricdb.SortGroups(groups, g.By)
	return groups, ok, nil
}

// serverGroup reads a row: time, count, sum, max and perhaps min. It is not ok if the
// sum may have gone beyond int64 on the way.
func serverGroup(r row, float bool, every time.Duration) (g metricdb.Group, ok bool) {
	g.Count = r.int(1)
	g.Max, g.Sum = r.value(3, float), r.total(2)
	if len(r) > 4 {
		g.Min = r.value(4, float)
	}
	greatest := max(math.Abs(g.Min.Number()), math.Abs(g.Max.Number()))
	if !float && (float64(g.Count)*greatest >= 1<<62 || g.Sum.Int < 0) {
		return g, false
	}
	g.Steps = []metricdb.Step{{Every: every, Count: g.Count, Sum: g.Sum}}
	return g, true
}

// spans asks for the times of each group's first and last sample.
func (s *Store) spans(ctx context.Context, plan reading, by []string, groups []metricdb.Group) error {
	places := make(map[string]*metricdb.Group, len(groups))
	for i := range groups {
		places[groups[i].Tags.Key()] = &groups[i]
	}
	measurement, field := s.options.place(plan.q.Metric)
	ask := func(function string, use func(g *metricdb.Group, at time.Time)) error {
		st := newStatement().raw("SELECT "+function+"("+quoteIdent(field)+")").
			from(samplePolicy, measurement).where(plan.q.From, plan.q.To, plan.conditions()).groupBy(by, 0)
		return s.ask(ctx, st, func(one *series, r row) bool {
			if g := places[one.tags.Key()]; g != nil {
				use(g, time.Unix(0, r.int(0)).UTC())
			}
			return true
		})
	}
	if err := ask("first", func(g *metricdb.Group, at time.Time) { g.First = at }); err != nil {
		return err
	}
	return ask("last", func(g *metricdb.Group, at time.Time) { g.Last = at })
}

// nameGroups gives groups their pod's UID, and takes away the tags that were not
// asked for. It is not ok if that puts groups together.
func nameGroups(groups []metricdb.Group, d directory, by []string) ([]metricdb.Group, bool) {
	keys := slices.Clone(by)
	slices.Sort(keys)
	seen := make(map[string]struct{}, len(groups))
	for i := range groups {
		tags := groups[i].Tags
		if tenures := d[podName(tags)]; tags.Get(metricdb.TagPodID) == "" && len(tenures) == 1 {
			tags = tags.With(metricdb.TagPodID, tenures[0].uid)
		}
		groups[i].Tags = tags.Only(keys)
		key := groups[i].Tags.Key() + itoa(int(groups[i].Time.UnixNano()))
		if _, twice := seen[key]; twice {
			return nil, false
		}
		seen[key] = struct{}{}
	}
	return groups, true
}
