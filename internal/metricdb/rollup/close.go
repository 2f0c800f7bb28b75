package rollup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// writeSize is how many records are written at a time.
const writeSize = 5000

// closing is an hour that is closed, or mended after late batches came.
type closing struct {
	cluster string
	begin   time.Time
	now     hourBatches
	was     closedHour
	closed  bool     // it was closed before: was says how
	line    timeline // of the hour; of an earlier one if it has no batches
	work    []task
}

// close rolls the hour's work up, and then writes that the hour is closed. Stopped in
// its midst, it is done anew: what is not sealed counts for nothing.
func (e *Engine) close(ctx context.Context, c *closing) error {
	begun := time.Now()
	late := c.closed && c.was.seal != c.now.seal
	if late {
		e.log.Info("late batches are folded into an hour", "cluster", c.cluster, "hour", c.begin, "batches", c.now.batches-c.was.batches)
		e.options.Metrics.refolds.Inc()
	}
	if c.line.whole() {
		for _, t := range c.work {
			if err := e.roll(ctx, c, t); err != nil {
				return err
			}
		}
	} else if len(c.work) > 0 {
		e.options.Metrics.skipped.Add(float64(len(c.work)))
	}
	if c.closed && !late {
		return nil
	}
	done := closedHour{
		hourBatches: c.now, closed: e.options.Now().Unix(), late: c.was.late,
		expected: c.line.windows(c.begin.UnixNano(), c.begin.Add(hour).UnixNano()),
	}
	if c.closed {
		done.closed, done.late = c.was.closed, c.was.late+1
	}
	if err := e.db.WriteRecords(ctx, []metricdb.Record{done.record(c.cluster, c.begin)}); err != nil {
		return fmt.Errorf("write that %v of %s is closed: %w", c.begin, c.cluster, err)
	}
	e.options.Metrics.hours.Inc()
	e.options.Metrics.seconds.Observe(time.Since(begun).Seconds())
	return nil
}

// roll rolls one metric and level up.
func (e *Engine) roll(ctx context.Context, c *closing, t task) error {
	cells, err := roll(ctx, e.db, c.cluster, t.pair, c.begin, c.line)
	if err != nil {
		return err
	}
	records := make([]metricdb.Record, len(cells))
	for i, cell := range cells {
		records[i] = cell.record(t.metric, c.begin)
	}
	done := rolledHour{seal: c.now.seal, every: c.line.every(), wide: wide(cells)}
	if t.before {
		if records, err = e.changed(ctx, c, t, records); err != nil {
			return err
		}
		done.late = t.was.late + 1
		// From here on until the end the roll-ups are of no certain batches.
		open := rolledHour{seal: seal{-1, -1}, late: t.was.late, every: union(t.was.every, done.every)}
		if err := e.db.WriteRecords(ctx, []metricdb.Record{open.record(c.cluster, t.pair, c.begin)}); err != nil {
			return fmt.Errorf("open %s of %v at %v: %w", t.metric, t.level, c.begin, err)
		}
	}
	for some := range slices.Chunk(records, writeSize) {
		if err := e.db.WriteRecords(ctx, some); err != nil {
			return fmt.Errorf("write roll-ups of %s of %v at %v: %w", t.metric, t.level, c.begin, err)
		}
	}
	e.options.Metrics.records.Add(float64(len(records)))
	if err := e.db.WriteRecords(ctx, []metricdb.Record{done.record(c.cluster, t.pair, c.begin)}); err != nil {
		return fmt.Errorf("seal %s of %v at %v: %w", t.metric, t.level, c.begin, err)
	}
	return nil
}

// wide is 1 if some sum is beyond int64.
func wide(cells []*cell) int64 {
	for _, c := range cells {
		for _, s := range slices.Concat(c.steps, c.billed) {
			if !c.float && !s.sum.total().Exact {
				return 1
			}
		}
	}
	return 0
}

// changed returns those of the records that are not written so already, marked as
// late. What the former ones had and these lack is set to 0: fields cannot be removed.
func (e *Engine) changed(ctx context.Context, c *closing, t task, records []metricdb.Record) (late []metricdb.Record, err error) {
	former := map[string]metricdb.Record{}
	q := recordQuery(c.cluster, t.pair, c.begin, c.begin.Add(hour))
	q.Fields = allFieldsOf(t.metric, union(t.was.every, c.line.every()))
	for r, err := range e.db.Records(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("read former roll-ups: %w", err)
		}
		former[r.Tags.Key()] = r
	}
	for _, r := range records {
		was := former[r.Tags.Key()]
		same := true
		for _, field := range was.Fields {
			if _, ok := r.Get(field.Name); !ok && field.Name != "late" {
				r.Fields = append(r.Fields, metricdb.Field{Name: field.Name, Value: metricdb.Value{Float: field.Value.Float}})
			}
		}
		for _, field := range r.Fields {
			v, ok := was.Get(field.Name)
			same = same && ok && v == field.Value
		}
		if !same {
			r.Fields = append(r.Fields, metricdb.Field{Name: "late", Value: metricdb.Int(1)})
			r.Sort()
			late = append(late, r)
		}
	}
	return late, nil
}

// recordQuery selects a cluster's roll-ups.
func recordQuery(cluster string, p pair, from, to time.Time) metricdb.RecordQuery {
	return metricdb.RecordQuery{
		Set: setOf(p.metric), From: from, To: to,
		Where: []metricdb.Match{
			metricdb.Is(metricdb.TagCluster, cluster), metricdb.Is(TagMetric, p.metric), metricdb.Is(TagLevel, p.level.String()),
		},
	}
}

// every returns the distinct resolutions, sorted.
func (l timeline) every() (all []time.Duration) {
	for _, r := range l {
		all = append(all, r.Every)
	}
	return union(all, nil)
}

func union(a, b []time.Duration) []time.Duration {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
