package influx

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// pieces reads samples, and puts those together that have the same keys. The server is
// not asked to group: it sends all samples by time, with their tags beside them, in
// less than half the time that it takes to group by pods.
func (s *Store) pieces(ctx context.Context, plan *reading, keys []string, from time.Time, yield func(metricdb.Run) bool) error {
	if s.flux() {
		return s.fluxPieces(ctx, plan, keys, from, yield)
	}
	measurement, field := s.options.place(plan.q.Metric)
	st := newStatement().raw("SELECT ").ident(field).raw("::field")
	g := &gatherer{float: isFloat(plan.q.Metric), until: math.MinInt64, open: map[string]*metricdb.Run{}, yield: yield}
	for _, key := range keys {
		if key == metricdb.TagType {
			g.level = []metrics.Label{{Key: key, Value: plan.q.Level.String()}} // that is what was asked for
			continue
		}
		g.keys = append(g.keys, key)
		st.raw(", ").ident(key).raw("::tag")
	}
	st.from(samplePolicy, measurement).where(from, plan.q.To, plan.conditions())
	if err := s.ask(ctx, st, func(_ *series, r row) bool { return g.add(r) }); err != nil {
		return err
	}
	g.flush()
	return nil
}

// gatherer puts samples, which come by time, together to runs of an hour each.
type gatherer struct {
	float bool
	keys  []string
	level []metrics.Label
	until int64 // the end of the hour that is open
	open  map[string]*metricdb.Run
	runs  []*metricdb.Run // in the order in which they began
	name  []byte
	done  bool // the receiver has enough
	yield func(metricdb.Run) bool
}

// add takes a row: time, value, and the values of keys.
func (g *gatherer) add(r row) bool {
	at := r.int(0)
	if at >= g.until {
		if g.flush(); g.done {
			return false
		}
		g.until = at - floorMod(at, lookHour) + lookHour
	}
	g.name = g.name[:0]
	for i := range g.keys {
		g.name = append(append(g.name, r.text(2+i)...), 0)
	}
	run, ok := g.open[string(g.name)]
	if !ok {
		run = &metricdb.Run{Tags: g.tags(r), Float: g.float, Times: make([]int64, 0, 64), Values: make([]int64, 0, 64)}
		g.open[string(g.name)] = run
		g.runs = append(g.runs, run)
	}
	value := r.value(1, g.float).Bits
	if n := len(run.Times); n > 0 && run.Times[n-1] == at {
		run.Values[n-1] = value // a label changed: the point stands there twice
		return true
	}
	run.Times, run.Values = append(run.Times, at), append(run.Values, value)
	return true
}

func (g *gatherer) tags(r row) metricdb.Tags {
	tags := make(metricdb.Tags, 0, len(g.keys)+1)
	tags = append(tags, g.level...)
	for i, key := range g.keys {
		if value := r.text(2 + i); value != "" {
			tags = append(tags, metrics.Label{Key: key, Value: value})
		}
	}
	slices.SortFunc(tags, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// flush yields the runs of the hour that is open.
func (g *gatherer) flush() {
	for _, run := range g.runs {
		if g.done = g.done || !g.yield(*run); g.done {
			break
		}
	}
	clear(g.open)
	g.runs = nil
}

func floorMod(at, size int64) int64 { return ((at % size) + size) % size }
