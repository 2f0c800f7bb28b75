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
	if requestOf(q.Metric, q.Level) == "" {
		return nil, fmt.Errorf("%w: %s of %v is not billed by request", metricdb.ErrInvalid, q.Metric, q.Level)
	}
	p := &plan{}
	if fits(q, g) {
		if p, err = makePlan(ctx, db, q); err != nil {
			return nil, err
		}
	}
	if len(p.parts) == 0 {
		p.parts = []part{{from: q.From, to: q.To}}
	}
	b := &biller{answer{db: db, q: q, g: g, plan: p, fine: sorted(by), groups: map[groupKey]*group{}}}
	for i := range p.parts {
		read := b.samples
		if len(p.parts[i].every) > 0 {
			read = b.records
		}
		if err := read(ctx, &p.parts[i]); err != nil {
			return nil, err
		}
	}
	var groups []metricdb.Group
	for _, found := range b.groups {
		m := &merged{group: *found}
		groups = append(groups, m.finish(&g))
	}
	metricdb.SortGroups(groups, by)
	return groups, nil
}

type biller struct{ answer }

func (b *biller) samples(ctx context.Context, p *part) error {
	lines := map[string]timeline{}
	all, err := b.db.Resolutions(ctx, p.cluster, p.from, p.to)
	if err != nil {
		return err
	}
	for _, r := range all {
		lines[r.Cluster] = append(lines[r.Cluster], r)
	}
	for from := p.from; from.Before(p.to); {
		chunk := *p
		chunk.from, chunk.to = from, floorHour(from).Add(hour)
		if p.to.Before(chunk.to) {
			chunk.to = p.to
		}
		err := eachBilled(ctx, b.db, chunk.query(b.q), requestOf(b.q.Metric, b.q.Level), b.g.By, func(tags metricdb.Tags, at, bits int64) {
			b.bill(tags, lines[tags.Get(metricdb.TagCluster)].at(at), metricdb.Total{Int: bits, Exact: true})
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

func (b *biller) records(ctx context.Context, p *part) error {
	var fields []string
	for _, e := range p.every {
		fields = append(fields, "billed."+seconds(e))
	}
	if p.wide != 0 {
		for _, e := range p.every {
			fields = append(fields, "billedf."+seconds(e))
		}
	}
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
