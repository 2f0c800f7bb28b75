package rollup

import (
	"context"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Interval is one interval that several questions are asked about, as a report does.
// What questions have in common is read once, when the first one needs it: resolutions, which
// hours and days are closed and of which batches, lifetimes, and the roll-ups of what a
// report asks for several times. Its methods may be called at the same time. It is for one report,
// not to be kept: samples that come after Open may or may not be seen.
type Interval struct {
	db          metricdb.DB
	from, to    time.Time
	where       []metricdb.Match
	alone       bool // one question will be asked
	resolutions []metricdb.Resolution
	lines       map[string]timeline // by cluster
	every       []time.Duration

	lives    memo[struct{}, *lives]
	complete memo[struct{}, bool]
	counts   memo[[2]int64, map[string]seal]           // of batches, by an interval's ends
	hours    memo[int64, map[spanKey]hourBatches]      // of batches, by the day's begin
	rolled   memo[rolledAsk, map[rolledKey]rolledSeal] // seals
	plans    memo[planKey, *plan]
	cells    memo[cellsKey, []*cell]
}

// lives are lifetimes, and an index of them.
type lives struct {
	all []lifetime.Life
	by  map[string]*lifetime.Life // lifetime.Key
}

// rolledAsk is what seals are asked for.
type rolledAsk struct {
	pair
	span     time.Duration
	from, to int64
}

// Open returns the interval [from, to) of what fulfils where, and reads its
// resolutions. An interval that is empty, or a tag that cannot exist, is
// metricdb.ErrInvalid; other errors are the database's.
func Open(ctx context.Context, db metricdb.DB, from, to time.Time, where ...metricdb.Match) (*Interval, error) {
	q, err := metricdb.RecordQuery{Set: HoursSet, Fields: []string{"batches"}, From: from, To: to, Where: where}.Check()
	if err != nil {
		return nil, err
	}
	v := &Interval{db: db, from: q.From, to: q.To, where: q.Where, lines: map[string]timeline{}}
	if v.resolutions, err = db.Resolutions(ctx, "", v.from, v.to); err != nil {
		return nil, err
	}
	for _, r := range v.resolutions {
		v.lines[r.Cluster] = append(v.lines[r.Cluster], r)
		v.every = append(v.every, r.Every)
	}
	v.every = union(v.every, nil)
	return v, nil
}

// alone opens the interval of a single question.
func alone(ctx context.Context, db metricdb.DB, q metricdb.Query) (*Interval, error) {
	v, err := Open(ctx, db, q.From, q.To, q.Where...)
	if err != nil {
		return nil, err
	}
	v.alone = true
	return v, nil
}

// Answer is the function Answer for a metric and a level in the interval.
func (v *Interval) Answer(ctx context.Context, metric string, level metrics.Kind, g metricdb.Grouping) ([]metricdb.Group, Coverage, error) {
	q, err := v.query(metric, level).Check()
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return nil, Coverage{}, err
	}
	return v.answer(ctx, q, g)
}

// Billed is the function Billed for a metric and a level in the interval.
func (v *Interval) Billed(ctx context.Context, metric string, level metrics.Kind, by ...string) ([]metricdb.Group, error) {
	g := metricdb.Grouping{By: by}
	q, err := v.query(metric, level).Check()
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return nil, err
	}
	return v.billed(ctx, q, g)
}

// Resolutions are those of all clusters in the interval, as metricdb.DB.Resolutions
// has them; they are shared: do not change them.
func (v *Interval) Resolutions() []metricdb.Resolution { return v.resolutions }

// Lives are the pods that were there in the interval, as lifetime.Pods returns them, of
// those conditions that concern clusters, namespaces and pods; they are shared: do not change them.
func (v *Interval) Lives(ctx context.Context) ([]lifetime.Life, error) {
	found, err := v.readLives(ctx)
	if err != nil {
		return nil, err
	}
	return found.all, nil
}

func (v *Interval) readLives(ctx context.Context) (*lives, error) {
	return v.lives.get(ctx, struct{}{}, func(ctx context.Context) (*lives, error) {
		where := v.of(metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod, metricdb.TagPodID)
		all, err := lifetime.Pods(ctx, v.db, v.from, v.to, where...)
		if err != nil {
			return nil, err
		}
		found := &lives{all: all, by: make(map[string]*lifetime.Life, len(all))}
		for i := range all {
			found.by[all[i].Key()] = &all[i]
		}
		return found, nil
	})
}

func (v *Interval) query(metric string, level metrics.Kind) metricdb.Query {
	return metricdb.Query{Metric: metric, Level: level, From: v.from, To: v.to, Where: v.where}
}

// of are the conditions on these tags.
func (v *Interval) of(names ...string) (where []metricdb.Match) {
	for _, m := range v.where {
		if slices.Contains(names, m.Tag) {
			where = append(where, m)
		}
	}
	return where
}

// batches counts the batches between whole hours, by cluster.
func (v *Interval) batches(ctx context.Context, from, to time.Time) (map[string]seal, error) {
	return v.counts.get(ctx, [2]int64{from.Unix(), to.Unix()}, func(ctx context.Context) (map[string]seal, error) {
		return totalSeals(ctx, v.db, v.of(metricdb.TagCluster), from, to)
	})
}

// batchesOf counts the batches of each hour of a day.
func (v *Interval) batchesOf(ctx context.Context, begin time.Time) (map[spanKey]hourBatches, error) {
	return v.hours.get(ctx, begin.Unix(), func(ctx context.Context) (map[spanKey]hourBatches, error) {
		return hourSeals(ctx, v.db, v.of(metricdb.TagCluster), begin, begin.Add(day))
	})
}

// seals reads the seals of hours or days.
func (v *Interval) seals(ctx context.Context, p pair, span time.Duration, from, to time.Time) (map[rolledKey]rolledSeal, error) {
	return v.rolled.get(ctx, rolledAsk{p, span, from.Unix(), to.Unix()}, func(ctx context.Context) (map[rolledKey]rolledSeal, error) {
		where := append(v.of(metricdb.TagCluster), metricdb.Is(TagMetric, p.metric), metricdb.Is(TagLevel, p.level.String()))
		return readRolled(ctx, v.db, span, where, from, to)
	})
}
