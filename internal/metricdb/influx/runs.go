package influx

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// reading is how a query is read: what is asked of the server, and what is left to do.
type reading struct {
	q         metricdb.Query // as the server gets it
	all       []metricdb.Match
	directory directory // nil where samples carry their pod's UID, or have none
	late      []metricdb.Match
}

// plan finds out how a query is read. Conditions on pod_id are checked here, once
// samples have got theirs.
func (s *Store) plan(ctx context.Context, q metricdb.Query, from time.Time) (reading, error) {
	r := reading{q: q, all: q.Where}
	if !aboutPods(q.Level) {
		return r, nil
	}
	r.q.Where = nil
	for _, match := range q.Where {
		if match.Tag == metricdb.TagPodID {
			r.late = append(r.late, match)
		} else {
			r.q.Where = append(r.q.Where, match)
		}
	}
	look := q
	look.From = from
	var err error
	r.directory, err = s.directory(ctx, look)
	return r, err
}

// conditions are those of the server: the level too.
func (r *reading) conditions() []metricdb.Match {
	return append([]metricdb.Match{metricdb.Is(metricdb.TagType, r.q.Level.String())}, r.q.Where...)
}

// isFloat says whether a metric's values are floats. Of one that is not in the
// catalog, they are integers.
func isFloat(metric string) bool {
	d, ok := metrics.Lookup(metric)
	return ok && d.Float
}

// Runs yields samples, set by set.
func (s *Store) Runs(ctx context.Context, q metricdb.Query, tags ...string) iter.Seq2[metricdb.Run, error] {
	return func(yield func(metricdb.Run, error) bool) {
		q, err := q.Check()
		if err == nil {
			err = metricdb.CheckNames(tags)
		}
		if err == nil {
			err = s.runs(ctx, q, tags, q.From, func(run metricdb.Run) bool { return yield(run, nil) })
		}
		if err != nil {
			yield(metricdb.Run{}, err)
		}
	}
}

func (s *Store) runs(ctx context.Context, q metricdb.Query, tags []string, from time.Time, yield func(metricdb.Run) bool) error {
	plan, err := s.plan(ctx, q, from)
	if err != nil {
		return err
	}
	keys := slices.Concat(metricdb.Identity(q.Metric, q.Level), tags)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return s.pieces(ctx, &plan, keys, from, func(run metricdb.Run) bool {
		return plan.directory.split(run, func(part metricdb.Run) bool {
			return !metricdb.All(plan.late, part.Tags) || yield(part)
		})
	})
}

// ask is query for reading samples and records: what does not exist yet is empty.
func (s *Store) ask(ctx context.Context, st *statement, yield func(*series, row) bool) error {
	err := s.query(ctx, st, yield)
	if isUnknownDatabase(err) || isUnknownPolicy(err) {
		return nil
	}
	return err
}

func (s *Store) flux() bool { return s.options.Flux || s.options.version2() }

// Points yields samples, newest first.
func (s *Store) Points(ctx context.Context, q metricdb.Query, limit int) iter.Seq2[metricdb.Point, error] {
	return func(yield func(metricdb.Point, error) bool) {
		q, err := q.Check()
		if err == nil {
			err = s.points(ctx, q, limit, func(p metricdb.Point) bool { return yield(p, nil) })
		}
		if err != nil {
			yield(metricdb.Point{}, err)
		}
	}
}

func (s *Store) points(ctx context.Context, q metricdb.Query, limit int, yield func(metricdb.Point) bool) error {
	plan, err := s.plan(ctx, q, q.From)
	if err != nil {
		return err
	}
	if s.flux() {
		return s.fluxPoints(ctx, &plan, limit, yield)
	}
	out := &ordered{limit: limit, yield: yield}
	if limit == 0 || len(plan.late) > 0 {
		err := s.descending(ctx, &plan, q.From, q.To, 0, out.add)
		out.flush()
		return err
	}
	// The last of limit points may have others beside it at its time, that come before it
	// in the order of tags: those are asked for again.
	var before time.Time
	count := 0
	err = s.descending(ctx, &plan, q.From, q.To, limit, func(p metricdb.Point) bool {
		count++
		before = p.Time
		return out.add(p)
	})
	if err != nil || out.stopped {
		return err
	}
	if count == limit {
		out.same = out.same[:0]
		err = s.descending(ctx, &plan, before, before.Add(1), 0, out.add)
	}
	out.flush()
	return err
}

// ordered puts points of one time in order, and ends at the limit.
type ordered struct {
	same    []metricdb.Point
	sent    int
	limit   int
	stopped bool
	yield   func(metricdb.Point) bool
}

func (o *ordered) add(p metricdb.Point) bool {
	if len(o.same) > 0 && !o.same[0].Time.Equal(p.Time) {
		o.flush()
	}
	o.same = append(o.same, p)
	return !o.stopped
}

func (o *ordered) flush() {
	slices.SortFunc(o.same, func(a, b metricdb.Point) int { return a.Tags.Compare(b.Tags) })
	for _, p := range o.same {
		if o.stopped = o.stopped || o.limit > 0 && o.sent == o.limit || !o.yield(p); o.stopped {
			break
		}
		o.sent++
	}
	o.same = o.same[:0]
}

// descending reads points with all their tags, newest first.
func (s *Store) descending(ctx context.Context, plan *reading, from, to time.Time, limit int, yield func(metricdb.Point) bool) error {
	measurement, field := s.options.place(plan.q.Metric)
	st := newStatement().raw("SELECT ").ident(field).raw(", *::tag").from(samplePolicy, measurement).
		where(from, to, plan.conditions()).raw(" ORDER BY time DESC")
	if limit > 0 {
		st.raw(" LIMIT ").raw(itoa(limit))
	}
	float := isFloat(plan.q.Metric)
	return s.ask(ctx, st, func(one *series, r row) bool {
		p := metricdb.Point{Time: time.Unix(0, r.int(0)).UTC(), Value: r.value(1, float), Tags: cellTags(one.columns, r, 2)}
		if tenures := plan.directory[podName(p.Tags)]; len(tenures) > 0 && p.Tags.Get(metricdb.TagPodID) == "" {
			p.Tags = p.Tags.With(metricdb.TagPodID, at(tenures, p.Time.UnixNano()))
		}
		return !metricdb.All(plan.late, p.Tags) || yield(p)
	})
}

// cellTags returns the tags of a row whose columns from first on are tags, sorted.
func cellTags(columns []string, r row, first int) metricdb.Tags {
	tags := make(metricdb.Tags, 0, len(columns)-first)
	for i := first; i < len(columns) && i < len(r); i++ {
		if value := r.text(i); value != "" {
			tags = append(tags, metrics.Label{Key: columns[i], Value: value})
		}
	}
	return tags
}
