package rollup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

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
