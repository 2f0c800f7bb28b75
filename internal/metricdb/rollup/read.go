package rollup

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// fewHours is up to how many hours roll-ups are read one by one: databases add up few
// records of many sets more slowly than they hand them out. Days are always few.
const fewHours = 48 * hour

// manyBuckets is from how many buckets on records are read one by one.
const manyBuckets = 40

// single says that a part's roll-ups are read one by one.
func (a *answer) single(p *part) bool {
	size := p.to.Sub(p.from)
	return p.span == day || size <= fewHours || a.g.Bucket > 0 && size > manyBuckets*a.g.Bucket
}

// need is what is needed of roll-ups.
type need struct {
	sums, low, steps, billed bool
}

// need is what the answer needs of a part.
func (a *answer) need() need {
	return need{sums: true, low: !a.g.SkipMin, steps: a.g.Increase}
}

func (n need) fields(p *part) (names []string) {
	if n.sums {
		names = append(sumFields(p.every, p.wide), "max", "first", "last")
	}
	if n.low {
		names = append(names, "min")
	}
	if n.steps {
		names = append(names, "inner", "head", "tail", "ends")
	}
	if n.billed {
		names = append(names, billedFields(p.every, p.wide)...)
	}
	return names
}

// cellsKey is what cells are read for.
type cellsKey struct {
	pair
	need
	cluster  string
	from, to int64
}

// cellsOf reads the roll-ups of a part, and puts those with the same tags together.
// The cells are shared. Of what is likely to be asked for again, all is read that a
// question may need, which costs little more, and kept as long as the interval is.
func (a *answer) cellsOf(ctx context.Context, p *part, n need) ([]*cell, error) {
	of, from := pair{a.q.Metric, a.q.Level}, &a.cells
	if !a.v.alone && again(a.q.Metric) {
		n = need{sums: true, low: true, billed: requestOf(a.q.Metric, a.q.Level) != ""}
		from = &a.v.cells
	}
	return from.get(ctx, cellsKey{of, n, p.cluster, p.from.Unix(), p.to.Unix()}, func(ctx context.Context) ([]*cell, error) {
		m := newMerger(of, p.every, n.steps)
		for r, err := range a.v.db.Records(ctx, p.records(a.q, n.fields(p))) {
			if err != nil {
				return nil, err
			}
			m.add(&r)
		}
		return m.finish(), nil
	})
}

// again says whether reports ask for a metric several times: what was used and
// requested, what is billed of it, and how long it was there.
func again(metric string) bool {
	switch metric {
	case "cpu/usage_rate", "cpu/request", "memory/usage", "memory/request":
		return true
	}
	return false
}

// warm reads at once what would be read one after the other.
func (a *answer) warm(ctx context.Context, n need) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range a.plan.parts {
		switch p := &a.plan.parts[i]; {
		case p.span > 0 && a.g.Bucket == 0 && a.single(p):
			group.Go(func() error { _, err := a.cellsOf(ctx, p, n); return err })
		case p.span == 0 && n.sums:
			group.Go(func() error { _, err := a.samples(ctx, p); return err })
		}
	}
	if n.sums { // coverage is asked for, too
		group.Go(func() error { _, err := a.v.Complete(ctx); return err })
		if ofPods(a.q.Level) {
			group.Go(func() error { _, err := a.v.readLives(ctx); return err })
		}
	}
	return group.Wait()
}

// rolledPart adds roll-ups.
func (a *answer) rolledPart(ctx context.Context, p *part) error {
	switch {
	case !a.single(p):
		return a.eachBucket(p, func(piece *part) error { return a.rolledTotals(ctx, piece) })
	case a.g.Bucket > 0:
		return a.rolledBuckets(ctx, p)
	}
	cells, err := a.cellsOf(ctx, p, a.need())
	if err != nil {
		return err
	}
	for _, c := range cells {
		a.addCell(c, p.from)
	}
	return nil
}

// rolledBuckets reads roll-ups one by one, and puts those of a bucket together.
func (a *answer) rolledBuckets(ctx context.Context, p *part) error {
	var m *merger
	var bucket int64
	flush := func() {
		if m != nil {
			for _, c := range m.finish() {
				a.addCell(c, time.Unix(0, bucket))
			}
		}
	}
	n := need{sums: true, low: !a.g.SkipMin}
	for r, err := range a.v.db.Records(ctx, p.records(a.q, n.fields(p))) {
		if err != nil {
			return err
		}
		if of := floor(r.Time.UnixNano(), int64(a.g.Bucket)); m == nil || of != bucket {
			flush()
			m, bucket = newMerger(pair{a.q.Metric, a.q.Level}, p.every, false), of
		}
		m.add(&r)
	}
	flush()
	return nil
}

func (a *answer) addCell(c *cell, at time.Time) {
	if c.count == 0 {
		return
	}
	to := a.group(c.tags.Only(a.fine), at)
	to.merge(c.count, metricdb.Total{}, c.min, c.max)
	to.span(time.Unix(0, c.first).UTC(), time.Unix(0, c.last).UTC())
	for i := range c.steps {
		step := to.steps.of(c.steps[i].every)
		step.count += c.steps[i].count
		step.sum.addSum(&c.steps[i].sum)
		to.sum.addSum(&c.steps[i].sum)
	}
}
