package influx

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// cheapestTotals asks the server, or reads the records, whatever takes less. Measured with
// records of 1,000 pods, in processor time of both sides: the server takes 70 ms and 0.37 µs
// a record for each figure, since each is a pass of its own; reading takes 60 ms and 3.1 µs a
// record, however many figures there are. How many records there are is found out by reading.
// It is not ok if the server cannot tell.
func (s *Store) cheapestTotals(ctx context.Context, q metricdb.RecordQuery, by []string) (groups []metricdb.RecordGroup, ok bool, err error) {
	figures := len(q.Fields) * len(totalsOf(q.Want))
	length := q.To.Sub(q.From)
	kind := q.Set
	for _, match := range q.Where {
		kind += "\x00" + match.Tag
	}
	switch few := 8000 * figures * figures; {
	case figures > 6:
		groups, _, err = s.totalsHere(ctx, q, by, math.MaxInt)
		return groups, true, err
	case figures > 1 && s.isShort(kind, length):
		if groups, ok, err = s.totalsHere(ctx, q, by, few); ok || err != nil {
			return groups, true, err
		}
		s.isLong(kind, length)
	}
	return s.serverTotals(ctx, q, by)
}

// isShort says whether intervals of a length had few records of a kind when they were
// last read, as far as is known.
func (s *Store) isShort(kind string, length time.Duration) bool {
	long, known := s.long.Load(kind)
	return !known || length < long.(time.Duration)
}

// isLong remembers an interval that had many records.
func (s *Store) isLong(kind string, length time.Duration) { s.long.Store(kind, length) }

// serverTotals is not ok if a sum may have gone beyond int64 on the way.
func (s *Store) serverTotals(ctx context.Context, q metricdb.RecordQuery, by []string) (groups []metricdb.RecordGroup, ok bool, err error) {
	keys := slices.Clone(by)
	slices.Sort(keys)
	st := newStatement().raw("SELECT ")
	functions := totalsOf(q.Want)
	for i, field := range q.Fields {
		for k, function := range functions {
			if i+k > 0 {
				st.raw(", ")
			}
			st.raw(function.name + "(" + quoteIdent(field) + ")")
		}
	}
	st.from(recordPolicy, q.Set).where(q.From, q.To, q.Where).groupBy(keys, 0)
	ok = true
	err = s.ask(ctx, st, func(one *series, r row) bool {
		group := metricdb.RecordGroup{Tags: one.tags}
		for i, name := range q.Fields {
			totals := metricdb.FieldTotals{Name: name}
			totals.Sum.Exact = q.Want.Has(metricdb.WantSum) // of none: 0
			for k, function := range functions {
				if cell := 1 + len(functions)*i + k; !r.null(cell) {
					function.read(&totals, r, cell)
				}
			}
			group.Fields = append(group.Fields, totals)
			greatest := max(math.Abs(totals.Min.Number()), math.Abs(totals.Max.Number()))
			ok = ok && (!totals.Sum.Exact || float64(totals.Count)*greatest < 1<<62)
		}
		groups = append(groups, group)
		return ok
	})
	metricdb.SortRecordGroups(groups, by)
	return groups, ok, err
}

// totalFunction is a function of InfluxQL, and what its answer means.
type totalFunction struct {
	name string
	want metricdb.Want
	read func(t *metricdb.FieldTotals, r row, cell int)
}

func totalsOf(want metricdb.Want) (some []totalFunction) {
	for _, function := range []totalFunction{
		{"count", metricdb.WantCount, func(t *metricdb.FieldTotals, r row, cell int) { t.Count = r.int(cell) }},
		{"sum", metricdb.WantSum, func(t *metricdb.FieldTotals, r row, cell int) { t.Sum = r.total(cell) }},
		{"min", metricdb.WantMin, func(t *metricdb.FieldTotals, r row, cell int) { t.Min = r.number(cell) }},
		{"max", metricdb.WantMax, func(t *metricdb.FieldTotals, r row, cell int) { t.Max = r.number(cell) }},
	} {
		if want.Has(function.want) {
			some = append(some, function)
		}
	}
	return some
}

// totalsHere reads the records, and adds up here: one pass, whatever is wanted of how
// many fields. It is not ok, and ends, if there are more than most.
func (s *Store) totalsHere(ctx context.Context, q metricdb.RecordQuery, by []string, most int) (groups []metricdb.RecordGroup, ok bool, err error) {
	keys := slices.Clone(by)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	st := newStatement().raw("SELECT ").idents(q.Fields)
	for _, key := range keys {
		st.raw(", ").ident(key).raw("::tag")
	}
	st.from(recordPolicy, q.Set).where(q.From, q.To, q.Where)
	a := &adder{keys: keys, totals: metricdb.NewTotals(&q, by), fields: len(q.Fields), groups: map[string]*addends{}}
	err = s.ask(ctx, st, func(_ *series, r row) bool {
		if most--; most >= 0 {
			a.add(r)
		}
		return most >= 0
	})
	if err != nil || most < 0 {
		return nil, false, err
	}
	a.flush()
	return a.totals.Groups(), true, nil
}

// adder hands the values of records to totals, many of one group at a time.
type adder struct {
	keys   []string
	totals *metricdb.Totals
	fields int
	groups map[string]*addends
	held   int
	name   []byte
}

type addends struct {
	tags   metricdb.Tags
	values [][]int64 // by field
	floats []bool
}

const mostHeld = 1 << 16

// add takes a row: time, the fields, and the values of keys.
func (a *adder) add(r row) {
	a.name = a.name[:0]
	for i := range a.keys {
		a.name = append(append(a.name, r.text(1+a.fields+i)...), 0)
	}
	group, ok := a.groups[string(a.name)]
	if !ok {
		group = &addends{values: make([][]int64, a.fields), floats: make([]bool, a.fields)}
		for i, key := range a.keys {
			if value := r.text(1 + a.fields + i); value != "" {
				group.tags = append(group.tags, metrics.Label{Key: key, Value: value})
			}
		}
		a.groups[string(a.name)] = group
	}
	for i := range a.fields {
		if !r.null(1 + i) {
			v := r.number(1 + i)
			group.values[i], group.floats[i] = append(group.values[i], v.Bits), v.Float
			a.held++
		}
	}
	if a.held >= mostHeld {
		a.flush()
	}
}

func (a *adder) flush() {
	for _, group := range a.groups {
		for i, values := range group.values {
			if len(values) > 0 {
				a.totals.Add(group.tags, i, values, group.floats[i])
				group.values[i] = values[:0]
			}
		}
	}
	a.held = 0
}
