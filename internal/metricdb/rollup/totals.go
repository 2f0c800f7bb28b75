package rollup

import (
	"context"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// eachBucket visits a part in pieces of one bucket each.
func (a *answer) eachBucket(p *part, visit func(*part) error) error {
	for from := p.from; from.Before(p.to); {
		piece := *p
		piece.from = from
		if a.g.Bucket > 0 {
			if end := time.Unix(0, floor(from.UnixNano(), int64(a.g.Bucket))).UTC().Add(a.g.Bucket); end.Before(p.to) {
				piece.to = end
			}
		}
		if err := visit(&piece); err != nil {
			return err
		}
		from = piece.to
	}
	return nil
}

// spans adds the times of the first and last samples of roll-ups, which are not read
// before it is known that they are needed.
func (a *answer) spans(ctx context.Context) error {
	for i := range a.plan.parts {
		p := &a.plan.parts[i]
		if p.span == 0 || a.single(p) {
			continue
		}
		if err := a.eachBucket(p, func(piece *part) error { return a.rolledSpans(ctx, piece) }); err != nil {
			return err
		}
	}
	for _, g := range a.groups {
		g.unspanned = false
	}
	return nil
}

func (a *answer) rolledSpans(ctx context.Context, p *part) error {
	var firsts, lasts []metricdb.RecordGroup
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { firsts, err = a.askTotals(groupCtx, p, metricdb.WantMin, "first"); return err })
	group.Go(func() (err error) { lasts, err = a.askTotals(groupCtx, p, metricdb.WantMax, "last"); return err })
	if err := group.Wait(); err != nil {
		return err
	}
	for i := range firsts {
		g := a.group(sampleTags(firsts[i].Tags, a.fine), p.from)
		g.span(time.Unix(firsts[i].Fields[0].Min.Bits, 0).UTC(), time.Time{})
	}
	for i := range lasts {
		g := a.group(sampleTags(lasts[i].Tags, a.fine), p.from)
		g.span(time.Time{}, time.Unix(lasts[i].Fields[0].Max.Bits, 0).UTC())
	}
	return nil
}

func (a *answer) askTotals(ctx context.Context, p *part, want metricdb.Want, fields ...string) ([]metricdb.RecordGroup, error) {
	q := p.records(a.q, fields)
	q.Want = want
	return a.v.db.RecordTotals(ctx, q, a.recordBy()...)
}

// askEach asks for one total of each field by a query of its own, which InfluxDB
// answers faster than one for all, and puts the answers together.
func (a *answer) askEach(ctx context.Context, p *part, want metricdb.Want, fields []string) ([]metricdb.RecordGroup, error) {
	answers := make([][]metricdb.RecordGroup, len(fields))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i, field := range fields {
		group.Go(func() (err error) { answers[i], err = a.askTotals(ctx, p, want, field); return err })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []metricdb.RecordGroup
	places := map[string]int{}
	for i, groups := range answers {
		for _, g := range groups {
			key := g.Tags.Key()
			place, ok := places[key]
			if !ok {
				place = len(all)
				places[key] = place
				all = append(all, metricdb.RecordGroup{Tags: g.Tags, Fields: make([]metricdb.FieldTotals, len(fields))})
			}
			all[place].Fields[i] = g.Fields[0]
		}
	}
	return all, nil
}

// totals are those of roll-ups with the same tags.
type totals struct {
	sums      []metricdb.FieldTotals // as sumFields names them
	high, low metricdb.Value
}

// rolledTotals asks for just the totals that it needs: a database may compute each by
// a pass of its own.
func (a *answer) rolledTotals(ctx context.Context, p *part) error {
	var sums, highs, lows []metricdb.RecordGroup
	fields := sumFields(p.every, p.wide)
	group, groupCtx := errgroup.WithContext(ctx)
	ask := func(to *[]metricdb.RecordGroup, want metricdb.Want, fields ...string) {
		group.Go(func() (err error) { *to, err = a.askEach(groupCtx, p, want, fields); return err })
	}
	ask(&sums, metricdb.WantSum, fields...)
	ask(&highs, metricdb.WantMax, "max")
	if !a.g.SkipMin {
		ask(&lows, metricdb.WantMin, "min")
	}
	if err := group.Wait(); err != nil {
		return err
	}
	found := map[string]*totals{}
	for i := range highs {
		high := highs[i].Fields[0].Max
		found[highs[i].Tags.Key()] = &totals{high: high, low: high}
	}
	for i := range lows {
		if t := found[lows[i].Tags.Key()]; t != nil {
			t.low = lows[i].Fields[0].Min
		}
	}
	if mayWrap(sums, found) { // ask so that they cannot
		var err error
		if sums, err = a.askTotals(ctx, p, metricdb.WantSum|metricdb.WantCount|metricdb.WantMax, fields...); err != nil {
			return err
		}
	}
	for i := range sums {
		if t := found[sums[i].Tags.Key()]; t != nil {
			t.sums = sums[i].Fields
			if to := a.addTotals(sampleTags(sums[i].Tags, a.fine), p.from, t, p.every); to != nil {
				to.unspanned = true
			}
		}
	}
	return nil
}

// mayWrap says whether some sum of integers may be beyond int64.
func mayWrap(sums []metricdb.RecordGroup, found map[string]*totals) bool {
	for i := range sums {
		t := found[sums[i].Tags.Key()]
		if t == nil || t.high.Float {
			continue
		}
		samples := int64(0)
		for k := 1; k < len(sums[i].Fields); k += 2 { // with the sums of too large ones: at worst it asks again
			samples += sums[i].Fields[k].Sum.Int
		}
		if max(math.Abs(t.high.Number()), math.Abs(t.low.Number()))*float64(samples) > 1<<62 {
			return true
		}
	}
	return false
}

// addTotals adds roll-ups, and returns the group that they are of.
func (a *answer) addTotals(tags metricdb.Tags, at time.Time, t *totals, every []time.Duration) *group {
	count := int64(0)
	for i := range every {
		count += t.sums[2*i+1].Sum.Int
	}
	if count == 0 {
		return nil
	}
	to := a.group(tags, at)
	var all sum
	for i, e := range every {
		n := t.sums[2*i+1].Sum.Int
		if n == 0 {
			continue
		}
		s := to.steps.of(e)
		s.count += n
		parts := t.sums[2*i : 2*i+1]
		if wide := 2*len(every) + i; wide < len(t.sums) {
			parts = []metricdb.FieldTotals{parts[0], t.sums[wide]}
		}
		for _, f := range parts {
			s.sum.addTotal(f.Sum)
			all.addTotal(f.Sum)
		}
	}
	to.merge(count, all.total(), t.low, t.high)
	return to
}
