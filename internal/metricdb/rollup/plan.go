package rollup

import (
	"context"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// part is an interval of one cluster that is answered from roll-ups, or from samples.
type part struct {
	cluster  string   // "": of all
	others   []string // if any: of all but these
	from, to time.Time
	every    []time.Duration // of roll-ups; none: samples
	wide     int64           // 1: some sums of roll-ups are in sumf.R
}

// query is the query for samples of the part.
func (p *part) query(q metricdb.Query) metricdb.Query {
	q.From, q.To = p.from, p.to
	q.Where = p.where(q.Where)
	return q
}

func (p *part) where(where []metricdb.Match) []metricdb.Match {
	switch {
	case len(p.others) > 0:
		return append(slices.Clip(where), metricdb.IsNot(metricdb.TagCluster, p.others...))
	case p.cluster == "":
		return where
	}
	return append(slices.Clip(where), metricdb.Is(metricdb.TagCluster, p.cluster))
}

// records is the query for roll-ups of the part.
func (p *part) records(q metricdb.Query, fields []string) metricdb.RecordQuery {
	r := recordQuery(p.cluster, pair{q.Metric, q.Level}, p.from, p.to)
	r.Fields = fields
	for _, m := range q.Where {
		if m.Tag == metricdb.TagType {
			m.Tag = TagLevel
		}
		r.Where = append(r.Where, m)
	}
	return r
}

// plan says where the answer to a query comes from.
type plan struct {
	parts []part
	late  int64 // hours among them that were changed after they were closed, or will be
}

// makePlan finds the hours within q whose roll-ups are of all batches that there are;
// everything else is read from samples.
func makePlan(ctx context.Context, db metricdb.DB, q metricdb.Query) (*plan, error) {
	from, to := ceilHour(q.From), floorHour(q.To)
	if !from.Before(to) {
		return &plan{}, nil
	}
	var clusters []metricdb.Match
	for _, m := range q.Where {
		if m.Tag == metricdb.TagCluster {
			clusters = append(clusters, m)
		}
	}
	where := append(slices.Clip(clusters), metricdb.Is(TagMetric, q.Metric), metricdb.Is(TagLevel, q.Level.String()))
	rolled, err := readRolled(ctx, db, where, from, to)
	if err != nil || len(rolled) == 0 {
		return &plan{}, err
	}
	now, err := totalSeals(ctx, db, clusters, from, to)
	if err != nil {
		return nil, err
	}
	byCluster := map[string]map[int64]rolledHour{}
	sums := map[string]seal{}
	for key, h := range rolled {
		if byCluster[key.cluster] == nil {
			byCluster[key.cluster] = map[int64]rolledHour{}
		}
		byCluster[key.cluster][key.hour] = h
		sums[key.cluster] = sums[key.cluster].add(h.seal)
	}
	p := &plan{}
	names := sortedKeys(byCluster)
	for _, cluster := range names {
		hours := byCluster[cluster]
		if sums[cluster] != now[cluster] {
			if err := p.dropStale(ctx, db, cluster, hours, from, to); err != nil {
				return nil, err
			}
		}
		p.add(q, cluster, hours)
	}
	if !allOf(q.Where, names) {
		p.parts = append(p.parts, part{others: names, from: q.From, to: q.To})
	}
	return p, nil
}

// dropStale removes hours that are of other batches than there are now.
func (p *plan) dropStale(ctx context.Context, db metricdb.DB, cluster string, hours map[int64]rolledHour, from, to time.Time) error {
	now, err := hourSeals(ctx, db, []metricdb.Match{metricdb.Is(metricdb.TagCluster, cluster)}, from, to)
	if err != nil {
		return err
	}
	for at, h := range hours {
		if now[hourKey{cluster, at}].seal != h.seal {
			delete(hours, at)
			p.late++
		}
	}
	return nil
}

// add adds the parts of one cluster, in the order of time.
func (p *plan) add(q metricdb.Query, cluster string, hours map[int64]rolledHour) {
	at := q.From
	var open *part
	flush := func(next time.Time) {
		if open != nil {
			p.parts = append(p.parts, *open)
			at, open = open.to, nil
		}
		if at.Before(next) {
			p.parts = append(p.parts, part{cluster: cluster, from: at, to: next})
		}
	}
	for _, seconds := range sortedKeys(hours) {
		begin := time.Unix(seconds, 0).UTC()
		p.late += min(hours[seconds].late, 1)
		if open == nil || !open.to.Equal(begin) {
			flush(begin)
			open = &part{cluster: cluster, from: begin}
		}
		open.to, open.every = begin.Add(hour), union(open.every, hours[seconds].every)
		open.wide = max(open.wide, hours[seconds].wide)
	}
	flush(q.To)
}

// allOf says that the conditions hold for none but these clusters.
func allOf(where []metricdb.Match, clusters []string) bool {
	for _, m := range where {
		if m.Tag == metricdb.TagCluster && !m.Not {
			return !slices.ContainsFunc(m.Values, func(v string) bool { return !slices.Contains(clusters, v) })
		}
	}
	return false
}
