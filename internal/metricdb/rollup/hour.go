package rollup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// cell is what the roll-up of one metric set in one hour is made of. Where carried
// tags changed within the hour, a set has several.
type cell struct {
	tags        metricdb.Tags
	float       bool
	count       int64
	min, max    metricdb.Value
	steps       steps
	first, last int64
	// Of counters: steps between samples of the hour, the step into its first sample, and
	// the hour's first and last value, if they are this cell's.
	inner      sum
	into       sum
	head, tail *int64
	billed     steps
}

func (c *cell) add(at, bits int64, every time.Duration) {
	v := metricdb.Value{Bits: bits, Float: c.float}
	if c.count == 0 {
		c.min, c.max, c.first, c.last = v, v, at, at
	}
	if less(v, c.min) {
		c.min = v
	}
	if less(c.max, v) {
		c.max = v
	}
	c.count++
	step := c.steps.of(every)
	step.count++
	step.sum.add(bits, c.float)
	c.first, c.last = min(c.first, at), max(c.last, at)
}

// rolling computes an hour of one metric and level of a cluster.
type rolling struct {
	cluster  string
	metric   string
	level    metrics.Kind
	begin    time.Time
	timeline timeline
	identity []string
	cells    map[string]*cell
	pieces   map[string][]piece // of counters, by set
}

// piece is a run of a counter's samples.
type piece struct {
	run  metricdb.Run
	cell *cell
}

// roll reads the samples of an hour, as a stream, and returns the cells by their
// tags. Of counters, and of what usage is billed with, it keeps the hour's samples.
func roll(ctx context.Context, db metricdb.DB, cluster string, pair pair, begin time.Time, line timeline) ([]*cell, error) {
	r := &rolling{
		cluster: cluster, metric: pair.metric, level: pair.level, begin: begin, timeline: line,
		identity: metricdb.Identity(pair.metric, pair.level), cells: map[string]*cell{}, pieces: map[string][]piece{},
	}
	if err := r.read(ctx, db); err != nil {
		return nil, fmt.Errorf("read %s of %v at %v: %w", pair.metric, pair.level, begin, err)
	}
	r.increases()
	if request := requestOf(pair.metric, pair.level); request != "" {
		if err := r.bill(ctx, db, request); err != nil {
			return nil, fmt.Errorf("bill %s of %v at %v: %w", pair.metric, pair.level, begin, err)
		}
	}
	all := make([]*cell, 0, len(r.cells))
	for _, c := range r.cells {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *cell) int { return a.tags.Compare(b.tags) })
	return all, nil
}

func (r *rolling) query(metric string) metricdb.Query {
	return metricdb.Query{
		Metric: metric, Level: r.level, From: r.begin, To: r.begin.Add(hour),
		Where: []metricdb.Match{metricdb.Is(metricdb.TagCluster, r.cluster)},
	}
}

func (r *rolling) read(ctx context.Context, db metricdb.DB) error {
	q := r.query(r.metric)
	counter := isCounter(r.metric)
	if counter {
		q.From = q.From.Add(-metricdb.Lookback)
	}
	from := r.begin.UnixNano()
	for run, err := range db.Runs(ctx, q, carried...) {
		if err != nil {
			return err
		}
		var c *cell
		for i, at := range run.Times {
			if at < from {
				continue
			}
			if c == nil {
				c = r.cell(run.Tags, run.Float)
			}
			c.add(at, run.Values[i], r.timeline.at(at))
		}
		if counter {
			set := run.Tags.Only(r.identity).Key()
			r.pieces[set] = append(r.pieces[set], piece{run, c})
		}
	}
	return nil
}

func (r *rolling) cell(tags metricdb.Tags, float bool) *cell {
	key := tags.Key()
	c, ok := r.cells[key]
	if !ok {
		c = &cell{tags: tags, float: float}
		r.cells[key] = c
	}
	return c
}

// increases computes the steps of counters, set by set. Pieces with other tags may
// have come in any order.
func (r *rolling) increases() {
	from := r.begin.UnixNano()
	for _, pieces := range r.pieces {
		var before *int64
		var last *cell
		var value int64
		eachSample(pieces, func(p *piece, at, bits int64) {
			if at >= from {
				c := p.cell
				switch {
				case last != nil:
					c.inner.add(rise(*before, bits, c.float), c.float)
				case before != nil:
					c.into.add(rise(*before, bits, c.float), c.float)
				}
				if last == nil {
					c.head = &bits
				}
				last = c
			}
			value, before = bits, &value
		})
		if last != nil {
			last.tail = &value
		}
	}
}

// eachSample visits the samples of a set's pieces by time. Of two at one time, which
// no database should have, it visits one.
func eachSample(pieces []piece, visit func(p *piece, at, bits int64)) {
	if len(pieces) == 1 {
		for i, at := range pieces[0].run.Times {
			visit(&pieces[0], at, pieces[0].run.Values[i])
		}
		return
	}
	type place struct {
		at       int64
		piece, i int
	}
	var all []place
	for p := range pieces {
		for i, at := range pieces[p].run.Times {
			all = append(all, place{at, p, i})
		}
	}
	slices.SortStableFunc(all, func(a, b place) int { return int(min(max(a.at-b.at, -1), 1)) })
	for _, one := range all {
		visit(&pieces[one.piece], one.at, pieces[one.piece].run.Values[one.i])
	}
}

// bill adds, for each set and time, the greater one of what was used and what was
// requested; where there is only one of them, that one.
func (r *rolling) bill(ctx context.Context, db metricdb.DB, request string) error {
	return eachBilled(ctx, db, r.query(r.metric), request, carried, func(tags metricdb.Tags, at, bits int64) {
		c := r.cell(tags, false)
		step := c.billed.of(r.timeline.at(at))
		step.count++
		step.sum.add(bits, false)
	})
}

// eachBilled visits the greater one of q's metric and of request by set and time. It
// keeps the requests of the interval in memory: ask for an hour at a time.
func eachBilled(ctx context.Context, db metricdb.DB, q metricdb.Query, request string, tags []string, visit func(tags metricdb.Tags, at, bits int64)) error {
	requests := q
	requests.Metric = request
	wanted := map[string]*asked{}
	for run, err := range db.Runs(ctx, requests, tags...) {
		if err != nil {
			return err
		}
		key := run.Tags.Key()
		a := wanted[key]
		if a == nil {
			a = &asked{tags: run.Tags}
			wanted[key] = a
		}
		a.times, a.values = append(a.times, run.Times...), append(a.values, run.Values...)
	}
	for run, err := range db.Runs(ctx, q, tags...) {
		if err != nil {
			return err
		}
		a := wanted[run.Tags.Key()]
		for i, at := range run.Times {
			bits := run.Values[i]
			if a != nil {
				if wanted, ok := a.until(at, visit); ok {
					bits = max(bits, wanted)
				}
			}
			visit(run.Tags, at, bits)
		}
	}
	for _, a := range wanted {
		a.rest(visit)
	}
	return nil
}

// asked are the requests of one set, by time.
type asked struct {
	tags   metricdb.Tags
	times  []int64
	values []int64
	next   int
}

// until visits the requests before at, for which there was no usage, and returns the one
// at that time.
func (a *asked) until(at int64, visit func(tags metricdb.Tags, at, bits int64)) (bits int64, ok bool) {
	for a.next < len(a.times) && a.times[a.next] < at {
		visit(a.tags, a.times[a.next], a.values[a.next])
		a.next++
	}
	if a.next < len(a.times) && a.times[a.next] == at {
		a.next++
		return a.values[a.next-1], true
	}
	return 0, false
}

func (a *asked) rest(visit func(tags metricdb.Tags, at, bits int64)) {
	for ; a.next < len(a.times); a.next++ {
		visit(a.tags, a.times[a.next], a.values[a.next])
	}
}
