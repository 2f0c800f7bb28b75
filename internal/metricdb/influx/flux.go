package influx

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/influxdata/influxdb-client-go/v2/api"
	"github.com/influxdata/influxdb-client-go/v2/api/query"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// literal is text as a Flux string literal. It is the only way into Flux for what
// is not written in this file. In a literal only the backslash, the quotation mark and
// "${" mean anything; each byte that is not plain ASCII text is written as \xNN.
func literal(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if r >= ' ' && r < utf8.RuneSelf && r != '"' && r != '\\' && r != '$' && r != 0x7f {
			b.WriteByte(byte(r))
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func literals(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = literal(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// fluxColumn is a column of r, in a predicate.
func fluxColumn(name string) string { return "r[" + literal(name) + "]" }

// fluxRange is the beginning of every query.
func (s *Store) fluxRange(policy string, from, to time.Time) string {
	return "from(bucket: " + literal(s.options.bucket(policy)) + ") |> range(start: " + fluxTime(from) + ", stop: " + fluxTime(to) + ")"
}

func fluxTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// fluxFilter is the predicate of conditions, "" if there are none.
func fluxFilter(conditions ...string) string {
	conditions = slices.DeleteFunc(conditions, func(c string) bool { return c == "" })
	if len(conditions) == 0 {
		return ""
	}
	return " |> filter(fn: (r) => " + strings.Join(conditions, " and ") + ")"
}

func fluxPlace(measurement string, fields ...string) string {
	parts := make([]string, len(fields))
	for i, field := range fields {
		parts[i] = fluxColumn("_field") + " == " + literal(field)
	}
	return fluxColumn("_measurement") + " == " + literal(measurement) + " and (" + strings.Join(parts, " or ") + ")"
}

// fluxMatch is a condition that the server checks; "" for one that is checked here,
// because it is about tags that may be absent.
func fluxMatch(m metricdb.Match) string {
	if m.Not || len(m.Values) == 0 || slices.Contains(m.Values, "") {
		return ""
	}
	parts := make([]string, len(m.Values))
	for i, value := range m.Values {
		parts[i] = fluxColumn(m.Tag) + " == " + literal(value)
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

func fluxMatches(matches []metricdb.Match) string {
	var parts []string
	for _, match := range matches {
		if part := fluxMatch(match); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " and ")
}

// within says whether a row is in an interval: InfluxDB 1.8 includes its end.
func within(record *query.FluxRecord, from, to time.Time) bool {
	at := record.Time()
	return !at.Before(from) && at.Before(to)
}

// fluxRows runs a query and yields its rows.
func (s *Store) fluxRows(ctx context.Context, text string, yield func(*query.FluxRecord) bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	var result *api.QueryTableResult
	result, err := s.client.QueryAPI(s.options.Org).Query(ctx, text)
	if err != nil {
		if isEmptyFlux(err) {
			return nil
		}
		return said("ask InfluxDB", err)
	}
	defer result.Close() //nolint:errcheck // it was only read
	for result.Next() {
		if !yield(result.Record()) {
			return nil
		}
	}
	if err := result.Err(); err != nil && !isEmptyFlux(err) {
		return fault("read InfluxDB's answer", err)
	}
	return nil
}

// isEmptyFlux says that a database or a bucket is not there yet.
func isEmptyFlux(err error) bool {
	if err == nil || strings.Contains(err.Error(), "organization") {
		return false // that does not come by itself
	}
	for _, sign := range []string{"could not find bucket", "no database", "not found"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

// fluxTags returns the tags of a row.
func fluxTags(record *query.FluxRecord) metricdb.Tags {
	values := record.Values()
	tags := make(metricdb.Tags, 0, len(values))
	for key, value := range values {
		text, ok := value.(string)
		if ok && text != "" && !strings.HasPrefix(key, "_") && key != "result" && key != "table" {
			tags = append(tags, metrics.Label{Key: key, Value: text})
		}
	}
	slices.SortFunc(tags, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

func fluxValue(v any, float bool) int64 {
	switch v := v.(type) {
	case int64:
		if float {
			return metrics.FloatBits(float64(v))
		}
		return v
	case float64:
		if float {
			return metrics.FloatBits(v)
		}
		return int64(v)
	}
	return 0
}

// fluxSlice is how much time one query is about: what it brings is held in memory.
const fluxSlice = 6 * time.Hour

// fluxSlices returns the interval in pieces, aligned to fluxSlice; it begins where there
// is something, since each empty piece costs a query.
func (s *Store) fluxSlices(ctx context.Context, plan *reading, from time.Time) (parts [][2]time.Time, err error) {
	if plan.q.To.Sub(from) <= 2*fluxSlice {
		return [][2]time.Time{{from, plan.q.To}}, nil
	}
	measurement, field := s.options.place(plan.q.Metric)
	first, last := plan.q.To, from
	text := s.fluxRange(samplePolicy, from, plan.q.To) + fluxFilter(fluxPlace(measurement, field), fluxMatches(plan.conditions()))
	for _, function := range []string{`first()`, `last()`} {
		err := s.fluxRows(ctx, text+" |> "+function, func(record *query.FluxRecord) bool {
			if at := record.Time(); at.Before(first) {
				first = at
			}
			if at := record.Time(); !at.Before(last) {
				last = at.Add(1)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	for at := first; at.Before(last); {
		end := at.Truncate(fluxSlice).Add(fluxSlice)
		if end.After(last) {
			end = last
		}
		parts = append(parts, [2]time.Time{at, end})
		at = end
	}
	return parts, nil
}

// fluxPieces reads samples grouped by keys.
func (s *Store) fluxPieces(ctx context.Context, plan *reading, keys []string, from time.Time, yield func(metricdb.Run) bool) error {
	parts, err := s.fluxSlices(ctx, plan, from)
	if err != nil {
		return err
	}
	more := true
	for _, part := range parts {
		if !more {
			break
		}
		runs, err := s.fluxSamples(ctx, plan, part[0], part[1], func(t metricdb.Tags) metricdb.Tags { return t.Only(keys) })
		if err != nil {
			return err
		}
		for i := range runs {
			if more = yield(runs[i]); !more {
				break
			}
		}
	}
	return nil
}

// fluxSamples reads an interval's samples, series by series, and puts those together
// whose tags are the same after keep.
func (s *Store) fluxSamples(ctx context.Context, plan *reading, from, to time.Time, keep func(metricdb.Tags) metricdb.Tags) ([]metricdb.Run, error) {
	measurement, field := s.options.place(plan.q.Metric)
	float := isFloat(plan.q.Metric)
	text := s.fluxRange(samplePolicy, from, to) + fluxFilter(fluxPlace(measurement, field), fluxMatches(plan.conditions())) +
		` |> drop(columns: ["_start", "_stop", "_measurement", "_field"])`
	var runs []metricdb.Run
	places := map[string]int{}
	table, place, wanted := -1, 0, false
	err := s.fluxRows(ctx, text, func(record *query.FluxRecord) bool {
		if record.Table() != table {
			table = record.Table()
			all := fluxTags(record)
			wanted = metricdb.All(plan.conditions(), all)
			tags := keep(all)
			key := tags.Key()
			var ok bool
			if place, ok = places[key]; !ok && wanted {
				place = len(runs)
				places[key] = place
				runs = append(runs, metricdb.Run{Tags: tags, Float: float})
			}
		}
		if wanted && within(record, from, to) {
			run := &runs[place]
			run.Times = append(run.Times, record.Time().UnixNano())
			run.Values = append(run.Values, fluxValue(record.Value(), float))
		}
		return true
	})
	runs = slices.DeleteFunc(runs, func(run metricdb.Run) bool { return len(run.Times) == 0 })
	for i := range runs {
		ascend(&runs[i])
	}
	slices.SortFunc(runs, func(a, b metricdb.Run) int { return a.Tags.Compare(b.Tags) })
	return runs, err
}

// ascend brings a run into the order of time, each time once.
func ascend(run *metricdb.Run) {
	if slices.IsSorted(run.Times) && len(slices.Compact(slices.Clone(run.Times))) == len(run.Times) {
		return
	}
	order := make([]int, len(run.Times))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(min(max(run.Times[a]-run.Times[b], -1), 1)) })
	times, values := make([]int64, 0, len(order)), make([]int64, 0, len(order))
	for _, i := range order {
		if n := len(times); n > 0 && times[n-1] == run.Times[i] {
			values[n-1] = run.Values[i]
			continue
		}
		times, values = append(times, run.Times[i]), append(values, run.Values[i])
	}
	run.Times, run.Values = times, values
}

// fluxPoints reads samples slice by slice, backwards.
func (s *Store) fluxPoints(ctx context.Context, plan *reading, limit int, yield func(metricdb.Point) bool) error {
	parts, err := s.fluxSlices(ctx, plan, plan.q.From)
	if err != nil {
		return err
	}
	out := &ordered{limit: limit, yield: yield}
	for _, part := range slices.Backward(parts) {
		if out.stopped {
			break
		}
		runs, err := s.fluxSamples(ctx, plan, part[0], part[1], func(t metricdb.Tags) metricdb.Tags { return t })
		if err != nil {
			return err
		}
		var points []metricdb.Point
		for i := range runs {
			plan.directory.split(runs[i], func(run metricdb.Run) bool {
				for k, at := range run.Times {
					if metricdb.All(plan.late, run.Tags) {
						v := metricdb.Value{Bits: run.Values[k], Float: run.Float}
						points = append(points, metricdb.Point{Time: time.Unix(0, at).UTC(), Value: v, Tags: run.Tags})
					}
				}
				return true
			})
		}
		slices.SortStableFunc(points, func(a, b metricdb.Point) int { return b.Time.Compare(a.Time) })
		for _, p := range points {
			if !out.add(p) {
				break
			}
		}
	}
	if !out.stopped {
		out.flush()
	}
	return nil
}

// fluxMetrics lists metrics.
func (s *Store) fluxMetrics(ctx context.Context, q metricdb.Query) (names []string, err error) {
	plan := reading{q: q}
	text := s.fluxRange(samplePolicy, q.From, q.To) + fluxFilter(fluxMatches(plan.conditions())) +
		` |> first() |> drop(columns: ["_start", "_stop", "_value"])`
	err = s.fluxRows(ctx, text, func(record *query.FluxRecord) bool {
		if metricdb.All(plan.conditions(), fluxTags(record)) && within(record, q.From, q.To) {
			names = append(names, s.options.metric(record.Measurement(), record.Field()))
		}
		return true
	})
	return names, err
}

// fluxRecords reads records into memory, and puts their fields together.
func (s *Store) fluxRecords(ctx context.Context, q metricdb.RecordQuery, yield func(metricdb.Record) bool) error {
	text := s.fluxRange(recordPolicy, q.From, q.To) + fluxFilter(fluxPlace(q.Set, q.Fields...), fluxMatches(q.Where)) +
		` |> drop(columns: ["_start", "_stop", "_measurement"])`
	var records []metricdb.Record
	places := map[string]int{}
	err := s.fluxRows(ctx, text, func(row *query.FluxRecord) bool {
		tags := fluxTags(row)
		if !metricdb.All(q.Where, tags) || !within(row, q.From, q.To) {
			return true
		}
		key := strconv.FormatInt(row.Time().UnixNano(), 10) + tags.Key()
		place, ok := places[key]
		if !ok {
			place = len(records)
			places[key] = place
			records = append(records, metricdb.Record{Set: q.Set, Time: row.Time().UTC(), Tags: tags})
		}
		_, float := row.Value().(float64)
		value := metricdb.Value{Bits: fluxValue(row.Value(), float), Float: float}
		records[place].Fields = append(records[place].Fields, metricdb.Field{Name: row.Field(), Value: value})
		return true
	})
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b metricdb.Record) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return a.Tags.Compare(b.Tags)
	})
	for _, r := range records {
		slices.SortFunc(r.Fields, func(a, b metricdb.Field) int { return slices.Index(q.Fields, a.Name) - slices.Index(q.Fields, b.Name) })
		if !yield(r) {
			return nil
		}
	}
	return nil
}
