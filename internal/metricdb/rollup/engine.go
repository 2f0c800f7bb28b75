package rollup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Options are the settings of an Engine; the zero value is the default.
type Options struct {
	Rolled   []Rolled         // what is rolled up; Default() if nil
	Grace    time.Duration    // from the end of an hour until it is closed; 3 min if 0
	Every    time.Duration    // between looks for hours to close and for late batches; 1 min if 0
	LateFor  time.Duration    // how old an hour may be for late batches to be looked for, and the rest of its day (UTC); 48 h if 0
	Backfill time.Duration    // how far back the first look goes, for hours and for days; 45 days if 0
	Now      func() time.Time // the clock; time.Now if nil
	Metrics  *Metrics
}

// Engine rolls hours and days up. Any number of them may run over one database: they write
// the same.
type Engine struct {
	db      metricdb.DB
	options Options
	pairs   []pair
	log     *slog.Logger
	seen    map[string]seal // by cluster, of the range that the last look was at
	from    time.Time       // of that range
	horizon time.Time
	first   bool
}

// pair is a metric at a level.
type pair struct {
	metric string
	level  metrics.Kind
}

// New returns an engine over db.
func New(db metricdb.DB, options Options, log *slog.Logger) *Engine {
	options.Grace = cmp.Or(options.Grace, 3*time.Minute)
	options.Every = cmp.Or(options.Every, time.Minute)
	options.LateFor = cmp.Or(options.LateFor, 48*time.Hour)
	options.Backfill = cmp.Or(options.Backfill, 45*24*time.Hour)
	if options.Rolled == nil {
		options.Rolled = Default()
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	e := &Engine{db: db, options: options, log: log, first: true}
	for _, one := range options.Rolled {
		for _, level := range one.Levels {
			e.pairs = append(e.pairs, pair{metrics.Canonical(one.Metric), level})
		}
	}
	return e
}

// Run closes hours until ctx ends, and then returns nil. While the database is away
// it tries again.
func (e *Engine) Run(ctx context.Context) error {
	ticker := time.NewTicker(e.options.Every)
	defer ticker.Stop()
	for {
		if err := e.Pass(ctx); err != nil && ctx.Err() == nil {
			e.options.Metrics.errors.Inc()
			e.log.Warn("hours cannot be rolled up: trying again", "after", e.options.Every, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Pass closes what hours and days are over, and mends those that late batches came to. It
// returns when there is nothing left to do, or when the next hour is over; it may be called
// at any time, with a clock that goes back, too: what is written says which batches it
// is of, never when.
func (e *Engine) Pass(ctx context.Context) error {
	horizon := e.horizonNow()
	back := e.options.LateFor
	if e.first {
		back = max(back, e.options.Backfill)
	}
	from := floorDay(horizon.Add(-back))
	totals, err := totalSeals(ctx, e.db, nil, from, horizon)
	if err != nil {
		return fmt.Errorf("count batches: %w", err)
	}
	if !e.first && from.Equal(e.from) && horizon.Equal(e.horizon) && maps.Equal(totals, e.seen) {
		return nil
	}
	var faults []error
	all := true
	for cluster := range totals {
		done, err := e.cluster(ctx, cluster, from, horizon)
		faults, all = append(faults, err), all && done
	}
	if err := errors.Join(faults...); err != nil || !all {
		return err
	}
	e.seen, e.from, e.horizon, e.first = totals, from, horizon, false
	e.options.Metrics.closed.Set(float64(horizon.Unix()))
	return nil
}

// horizonNow is up to when hours may be closed.
func (e *Engine) horizonNow() time.Time { return floorHour(e.options.Now().Add(-e.options.Grace)) }

// cluster brings the roll-ups of one cluster up to date: first the hours, then the
// days, which is not done if the next hour came in between.
func (e *Engine) cluster(ctx context.Context, cluster string, from, horizon time.Time) (done bool, err error) {
	where := []metricdb.Match{metricdb.Is(metricdb.TagCluster, cluster)}
	batches, err := hourSeals(ctx, e.db, where, from, horizon)
	if err != nil {
		return false, fmt.Errorf("read batches of %s: %w", cluster, err)
	}
	if err := e.closeHours(ctx, cluster, from, horizon, batches); err != nil {
		return false, err
	}
	return e.closeDays(ctx, cluster, from, horizon, batches)
}

// closeHours closes and mends hours, the oldest first: its samples are those that go first.
func (e *Engine) closeHours(ctx context.Context, cluster string, from, horizon time.Time, batches map[spanKey]hourBatches) error {
	where := []metricdb.Match{metricdb.Is(metricdb.TagCluster, cluster)}
	rolled, err := readRolled(ctx, e.db, hour, where, from, horizon)
	if err != nil {
		return fmt.Errorf("read what is rolled up of %s: %w", cluster, err)
	}
	hours, err := readClosed(ctx, e.db, HoursSet, where, from, horizon)
	if err != nil {
		return fmt.Errorf("read hours of %s: %w", cluster, err)
	}
	begun := false
	var every timeline
	for begin := from; begin.Before(horizon); begin = begin.Add(hour) {
		now := batches[spanKey{cluster, begin.Unix()}]
		was, closed := hours[spanKey{cluster, begin.Unix()}]
		if begun = begun || now.batches > 0; !begun {
			continue
		}
		work := e.work(cluster, begin, now.seal, rolled)
		if closed && was.seal == now.seal && len(work) == 0 {
			continue
		}
		if now.batches > 0 {
			if every, err = e.db.Resolutions(ctx, cluster, begin, begin.Add(hour)); err != nil {
				return fmt.Errorf("read resolutions of %s: %w", cluster, err)
			}
		}
		if err := e.close(ctx, &closing{cluster: cluster, begin: begin, now: now, was: was, closed: closed, line: every, work: work}); err != nil {
			return err
		}
	}
	return nil
}

// task is one metric and level of an hour or a day that is to be rolled up.
type task struct {
	pair
	was    rolledSeal
	before bool // it was rolled up before
}

// work is what of an hour or a day is not rolled up, or of other batches.
func (e *Engine) work(cluster string, begin time.Time, now seal, rolled map[rolledKey]rolledSeal) (work []task) {
	if now.batches == 0 {
		return nil
	}
	for _, p := range e.pairs {
		was, ok := rolled[rolledKey{spanKey{cluster, begin.Unix()}, p}]
		if !ok || was.seal != now {
			work = append(work, task{p, was, ok})
		}
	}
	return work
}
