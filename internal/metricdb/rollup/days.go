package rollup

import (
	"context"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// closingDay is a day whose hours are all over, and what there is of it now.
type closingDay struct {
	cluster string
	begin   time.Time
	hours   []hourBatches // all 24
	now     seal
}

func (d *closingDay) hour(i int) time.Time { return d.begin.Add(time.Duration(i) * hour) }

func (d *closingDay) key(i int) spanKey { return spanKey{d.cluster, d.hour(i).Unix()} }

// closeDays puts the hours of each day together, the newest day first: that is what is
// asked for most. It is not done if an hour ended meanwhile, which goes before.
func (e *Engine) closeDays(ctx context.Context, cluster string, from, horizon time.Time, batches map[spanKey]hourBatches) (done bool, err error) {
	where := []metricdb.Match{metricdb.Is(metricdb.TagCluster, cluster)}
	end := floorDay(horizon)
	rolled, err := readRolled(ctx, e.db, day, where, from, end)
	if err != nil {
		return false, fmt.Errorf("read which days of %s are rolled up: %w", cluster, err)
	}
	days, err := readClosed(ctx, e.db, DaysSet, where, from, end)
	if err != nil {
		return false, fmt.Errorf("read days of %s: %w", cluster, err)
	}
	for begin := end.Add(-day); !begin.Before(from); begin = begin.Add(-day) {
		d := &closingDay{cluster: cluster, begin: begin}
		for i := range 24 {
			d.hours = append(d.hours, batches[d.key(i)])
			d.now = d.now.add(d.hours[i].seal)
		}
		if d.now.batches == 0 {
			continue
		}
		if work := e.work(cluster, begin, d.now, rolled); len(work) > 0 {
			if e.horizonNow().After(horizon) {
				return false, nil
			}
			if err := e.rollDay(ctx, d, work); err != nil {
				return false, err
			}
		}
		if was, ok := days[spanKey{cluster, begin.Unix()}]; !ok || was.seal != d.now {
			if err := e.closeDay(ctx, d); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// rollDay rolls those metrics and levels up whose hours are all there. What is there is
// asked for anew: hours that were just written may still be on their way.
func (e *Engine) rollDay(ctx context.Context, d *closingDay, work []task) error {
	where := []metricdb.Match{metricdb.Is(metricdb.TagCluster, d.cluster)}
	hours, err := readRolled(ctx, e.db, hour, where, d.begin, d.begin.Add(day))
	if err != nil {
		return fmt.Errorf("read what is rolled up of %s: %w", d.cluster, err)
	}
	for _, t := range work {
		done, ok := d.sealOf(t.pair, hours)
		if !ok {
			continue
		}
		cells, err := mergeHours(ctx, e.db, d, t.pair, &done)
		if err != nil {
			return fmt.Errorf("put hours of %s of %v at %v together: %w", t.metric, t.level, d.begin, err)
		}
		done.wide = wide(cells)
		if err := e.store(ctx, &storing{task: t, cluster: d.cluster, span: day, begin: d.begin, cells: cells, done: done}); err != nil {
			return err
		}
	}
	return nil
}

// sealOf is the seal of the day, if the roll-ups of all its hours are of all their batches.
func (d *closingDay) sealOf(p pair, hours map[rolledKey]rolledSeal) (all rolledSeal, ok bool) {
	all.seal = d.now
	for i, now := range d.hours {
		if now.batches == 0 {
			continue
		}
		one, ok := hours[rolledKey{d.key(i), p}]
		if !ok || one.seal != now.seal {
			return all, false
		}
		all.every, all.wide = union(all.every, one.every), max(all.wide, one.wide)
		all.late += min(one.late, 1)
	}
	return all, len(all.every) <= maxEvery
}

// mergeHours reads the roll-ups of a day's hours, as a stream, and puts them together.
func mergeHours(ctx context.Context, db metricdb.DB, d *closingDay, p pair, made *rolledSeal) ([]*cell, error) {
	m := newMerger(p, made.every, isCounter(p.metric))
	q := recordQuery(d.cluster, p, hour, d.begin, d.begin.Add(day))
	q.Fields = cellFields(p, made.every, made.wide)
	if m.counter {
		q.Fields = append(q.Fields, counterFields()...)
	}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		m.add(&r)
	}
	return m.finish(), nil
}

// closeDay writes that a day is closed, if all its hours are.
func (e *Engine) closeDay(ctx context.Context, d *closingDay) error {
	where := []metricdb.Match{metricdb.Is(metricdb.TagCluster, d.cluster)}
	hours, err := readClosed(ctx, e.db, HoursSet, where, d.begin, d.begin.Add(day))
	if err != nil {
		return fmt.Errorf("read hours of %s: %w", d.cluster, err)
	}
	var all closedSpan
	for i, now := range d.hours {
		one := hours[d.key(i)]
		if one.seal != now.seal {
			return nil
		}
		all.seal, all.failed, all.windows = all.add(one.seal), all.failed+one.failed, all.windows+one.windows
		all.expected, all.closed, all.late = all.expected+one.expected, max(all.closed, one.closed), all.late+min(one.late, 1)
	}
	if err := e.db.WriteRecords(ctx, []metricdb.Record{all.record(DaysSet, d.cluster, d.begin)}); err != nil {
		return fmt.Errorf("write that the day %v of %s is closed: %w", d.begin, d.cluster, err)
	}
	return nil
}
