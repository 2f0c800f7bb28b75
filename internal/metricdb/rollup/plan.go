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
	span     time.Duration   // of roll-ups: an hour or a day; 0: samples
	every    []time.Duration // of roll-ups
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
	r := recordQuery(p.cluster, pair{q.Metric, q.Level}, p.span, p.from, p.to)
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

// planKey: a plan is of a metric and level, with days or with hours only.
type planKey struct {
	pair
	days bool
}

// plan finds the days and hours whose roll-ups are of all batches that there are;
// everything else is read from samples.
func (v *Interval) plan(ctx context.Context, q metricdb.Query, g *metricdb.Grouping) (*plan, error) {
	if !fits(q, *g) {
		return samplesOnly(q), nil
	}
	key := planKey{pair{q.Metric, q.Level}, g.Bucket%day == 0}
	return v.plans.get(ctx, key, func(ctx context.Context) (*plan, error) { return v.makePlan(ctx, q, key) })
}

func samplesOnly(q metricdb.Query) *plan { return &plan{parts: []part{{from: q.From, to: q.To}}} }

func (v *Interval) makePlan(ctx context.Context, q metricdb.Query, key planKey) (*plan, error) {
	claims, err := v.claims(ctx, key)
	if err != nil || len(claims) == 0 {
		return samplesOnly(q), err
	}
	p := &plan{}
	names := sortedKeys(claims)
	for _, cluster := range names {
		c := &checker{Interval: v, pair: key.pair, cluster: cluster}
		fit, err := c.check(ctx, claims[cluster])
		if err != nil {
			return nil, err
		}
		p.late += c.stale
		p.add(q, cluster, fit)
	}
	if allOf(q.Where, names) {
		return p, nil
	}
	rest := part{others: names, from: q.From, to: q.To}
	for _, err := range v.db.Points(ctx, rest.query(q), 1) {
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, rest)
	}
	return p, nil
}

// add adds the parts of one cluster, in the order of time.
func (p *plan) add(q metricdb.Query, cluster string, claims []claim) {
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
	for i := range claims {
		c := &claims[i]
		p.late += c.lateHours()
		if open == nil || !open.to.Equal(c.begin) || open.span != c.span {
			flush(c.begin)
			open = &part{cluster: cluster, from: c.begin, span: c.span}
		}
		open.to, open.every, open.wide = c.end(), union(open.every, c.every), max(open.wide, c.wide)
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
