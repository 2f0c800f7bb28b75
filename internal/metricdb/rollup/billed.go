package rollup

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// Billed returns, by the tags by, what is billed of cpu/usage_rate or memory/usage of pods
// or containers: per sample the greater one of usage and request, and the one that
// there is where the other is missing. Only Tags, Time, Sum and Steps' Every and Sum are set, so
// that Integral works; groups are sorted as metricdb.DB.Aggregate sorts them.
func Billed(ctx context.Context, db metricdb.DB, q metricdb.Query, by ...string) ([]metricdb.Group, error) {
	q, err := q.Check()
	if err != nil {
		return nil, err
	}
	g := metricdb.Grouping{By: by}
	if err := g.Check(); err != nil {
		return nil, err
	}
	v, err := alone(ctx, db, q)
	if err != nil {
		return nil, err
	}
	return v.billed(ctx, q, g)
}

func (v *Interval) billed(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error) {
	if requestOf(q.Metric, q.Level) == "" {
		return nil, fmt.Errorf("%w: %s of %v is not billed by request", metricdb.ErrInvalid, q.Metric, q.Level)
	}
	p, err := v.plan(ctx, q, &g)
	if err != nil {
		return nil, err
	}
	b := &biller{answer{v: v, q: q, g: g, plan: p, fine: sorted(g.By), groups: map[groupKey]*group{}}}
	if err := b.warm(ctx, need{billed: true}); err != nil {
		return nil, err
	}
	for i := range p.parts {
		if err := b.part(ctx, &p.parts[i]); err != nil {
			return nil, err
		}
	}
	var groups []metricdb.Group
	for _, found := range b.groups {
		m := &merged{group: *found}
		groups = append(groups, m.finish(&g))
	}
	metricdb.SortGroups(groups, g.By)
	return groups, nil
}

type biller struct{ answer }

func (b *biller) part(ctx context.Context, p *part) error {
	switch {
	case p.span == 0:
		return b.samples(ctx, p)
	case !b.single(p):
		return b.totals(ctx, p)
	}
	cells, err := b.cellsOf(ctx, p, need{billed: true})
	if err != nil {
		return err
	}
	for _, c := range cells {
		for i := range c.billed {
			to := b.group(c.tags.Only(b.fine), b.q.From)
			to.sum.addSum(&c.billed[i].sum)
			to.steps.of(c.billed[i].every).sum.addSum(&c.billed[i].sum)
		}
	}
	return nil
}

func (b *biller) samples(ctx context.Context, p *part) error {
	for from := p.from; from.Before(p.to); {
		chunk := *p
		chunk.from, chunk.to = from, floorHour(from).Add(hour)
		if p.to.Before(chunk.to) {
			chunk.to = p.to
		}
		err := eachBilled(ctx, b.v.db, chunk.query(b.q), requestOf(b.q.Metric, b.q.Level), b.g.By, func(tags metricdb.Tags, at, bits int64) {
			b.bill(tags, b.v.lines[tags.Get(metricdb.TagCluster)].at(at), metricdb.Total{Int: bits, Exact: true})
		})
		if err != nil {
			return err
		}
		from = chunk.to
	}
	return nil
}

func (b *biller) bill(tags metricdb.Tags, every time.Duration, total metricdb.Total) {
	to := b.group(tags.Only(b.fine), b.q.From)
	to.sum.addTotal(total)
	to.steps.of(every).sum.addTotal(total)
}

func (b *biller) totals(ctx context.Context, p *part) error {
	fields := billedFields(p.every, p.wide)
	groups, err := b.billedTotals(ctx, p, fields)
	if err != nil {
		return err
	}
	for _, g := range groups {
		tags := sampleTags(g.Tags, b.fine)
		for i, field := range g.Fields {
			if field.Sum != (metricdb.Total{}) { // else the group has no such field
				b.bill(tags, p.every[i%len(p.every)], field.Sum)
			}
		}
	}
	return nil
}

// billedTotals sums fields up, so that no sum wraps unseen.
func (b *biller) billedTotals(ctx context.Context, p *part, fields []string) ([]metricdb.RecordGroup, error) {
	sums, err := b.askEach(ctx, p, metricdb.WantSum, fields)
	if err != nil {
		return nil, err
	}
	highs, err := b.askEach(ctx, p, metricdb.WantMax, fields)
	if err != nil {
		return nil, err
	}
	counts, err := b.askEach(ctx, p, metricdb.WantCount, fields)
	if err != nil {
		return nil, err
	}
	high, count := 0.0, int64(0)
	for i := range highs {
		for k := range fields {
			high = max(high, math.Abs(highs[i].Fields[k].Max.Number()))
		}
	}
	for i := range counts {
		for k := range fields {
			count = max(count, counts[i].Fields[k].Count)
		}
	}
	if high*float64(count) > 1<<62 {
		return b.askTotals(ctx, p, metricdb.WantSum|metricdb.WantCount|metricdb.WantMax, fields...)
	}
	return sums, nil
}
