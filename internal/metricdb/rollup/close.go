package rollup

import (
	"context"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// closing is an hour that is closed, or mended after late batches came.
type closing struct {
	cluster string
	begin   time.Time
	now     hourBatches
	was     closedSpan
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
			if err := e.rollHour(ctx, c, t); err != nil {
				return err
			}
		}
	} else if len(c.work) > 0 {
		e.options.Metrics.skipped.Add(float64(len(c.work)))
	}
	if c.closed && !late {
		return nil
	}
	done := closedSpan{
		hourBatches: c.now, closed: e.options.Now().Unix(), late: c.was.late,
		expected: c.line.windows(c.begin.UnixNano(), c.begin.Add(hour).UnixNano()),
	}
	if c.closed {
		done.closed, done.late = c.was.closed, c.was.late+1
	}
	if err := e.db.WriteRecords(ctx, []metricdb.Record{done.record(HoursSet, c.cluster, c.begin)}); err != nil {
		return fmt.Errorf("write that %v of %s is closed: %w", c.begin, c.cluster, err)
	}
	e.options.Metrics.hours.Inc()
	e.options.Metrics.seconds.Observe(time.Since(begun).Seconds())
	return nil
}

// rollHour rolls one metric and level of an hour up.
func (e *Engine) rollHour(ctx context.Context, c *closing, t task) error {
	cells, err := roll(ctx, e.db, c.cluster, t.pair, c.begin, c.line)
	if err != nil {
		return err
	}
	s := storing{task: t, cluster: c.cluster, span: hour, begin: c.begin, cells: cells, done: rolledSeal{seal: c.now.seal, every: c.line.every(), wide: wide(cells)}}
	if t.before {
		s.done.late = t.was.late + 1
	}
	return e.store(ctx, &s)
}
