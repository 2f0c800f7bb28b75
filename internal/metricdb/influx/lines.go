package influx

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// linesPerPiece is how many points one request carries at most.
const linesPerPiece = 5000

// piece is what one request carries.
type piece struct {
	policy  string
	lines   []byte // of the line protocol
	samples int
}

// pieces collects lines.
type pieces struct{ all []piece }

// next returns the piece that a line of policy goes to.
func (p *pieces) next(policy string) *piece {
	for i := len(p.all) - 1; i >= 0; i-- {
		if one := &p.all[i]; one.policy == policy && one.samples < linesPerPiece {
			return one
		}
	}
	p.all = append(p.all, piece{policy: policy, lines: make([]byte, 0, 64<<10)})
	return &p.all[len(p.all)-1]
}

var escapeTag = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `)

// escapeName escapes a measurement's name: "=" stands for itself there.
var escapeName = strings.NewReplacer(",", `\,`, " ", `\ `)

// appendTags writes ",key=value" of each tag. Values are clean: without control
// characters, which the protocol cannot carry, and without a backslash at the end.
func appendTags(line []byte, tags metricdb.Tags, without []string) []byte {
	for _, label := range tags {
		if slices.Contains(without, label.Key) {
			continue
		}
		line = append(line, ',')
		line = append(line, escapeTag.Replace(label.Key)...)
		line = append(line, '=')
		line = append(line, escapeTag.Replace(label.Value)...)
	}
	return line
}

func appendValue(line []byte, v metricdb.Value) []byte {
	if v.Float {
		return strconv.AppendFloat(line, v.Number(), 'g', -1, 64)
	}
	return append(strconv.AppendInt(line, v.Bits, 10), 'i')
}

func appendLine(line, measurement, tags []byte, field string, v metricdb.Value, at int64) []byte {
	line = append(append(line, measurement...), tags...)
	line = append(append(append(line, ' '), field...), '=')
	line = append(appendValue(line, v), ' ')
	return append(strconv.AppendInt(line, at, 10), '\n')
}

// lines makes the lines of batches of one stream.
type lines struct {
	options *Options
	layout  *metricdb.Layout
	tags    [metrics.Kinds][]escaped
	without []string
	types   []string
	seen    map[podKey]int64 // the hour in which the directory was last told
}

type escaped struct {
	of   *metrics.Label // the tags' first: those that did not change are the same slice
	text []byte
}

func newLines(options *Options) *lines {
	l := &lines{options: options, layout: metricdb.NewLayout(options.Tags...), types: options.Types, seen: map[podKey]int64{}}
	if !slices.Contains(options.Tags, metricdb.TagPodID) {
		l.without = []string{metricdb.TagPodID}
	}
	return l
}

// batch returns the points of a batch, with its record and what the directory of pods
// must be told.
func (l *lines) batch(b *metrics.Batch) []piece {
	if l.options.ClusterName != "" && b.Cluster == "default" {
		renamed := *b
		renamed.Cluster = l.options.ClusterName
		b = &renamed
	}
	out := &pieces{}
	at := b.Time.UnixNano()
	var directory []metricdb.Record
	l.layout.Columns(b, func(c metricdb.Column) bool {
		if l.options.DisableCounters && hasRate(c.Metric) {
			return true
		}
		name, field := l.options.place(c.Metric.Name)
		measurement, field := []byte(escapeName.Replace(name)), escapeTag.Replace(field)
		c.Values(func(row *metricdb.Row, bits int64) bool {
			if len(l.types) > 0 && !slices.Contains(l.types, row.Level.String()) {
				return true
			}
			directory = l.pod(directory, row, b)
			to := out.next(samplePolicy)
			v := metricdb.Value{Bits: bits, Float: c.Metric.Float}
			if v.Float && !finite(v.Number()) {
				return true
			}
			to.lines = appendLine(to.lines, measurement, l.text(row), field, v, at)
			to.samples++
			return true
		})
		return true
	})
	l.forget(at)
	records(out, append(directory, metricdb.BatchRecord(b)))
	return out.all
}

func finite(f float64) bool { return f-f == 0 }

// text returns the row's tags as lines have them.
func (l *lines) text(row *metricdb.Row) []byte {
	for len(l.tags[row.Kind]) <= int(row.Row) {
		l.tags[row.Kind] = append(l.tags[row.Kind], escaped{})
	}
	known := &l.tags[row.Kind][row.Row]
	if known.of != &row.Tags[0] {
		*known = escaped{of: &row.Tags[0], text: appendTags(nil, row.Tags, l.without)}
	}
	return known.text
}

// records appends the lines of records.
func records(out *pieces, all []metricdb.Record) {
	for _, r := range all {
		to := out.next(recordPolicy)
		to.lines = append(to.lines, escapeName.Replace(r.Set)...)
		to.lines = appendTags(to.lines, metricdb.MakeTags(slices.Clone(r.Tags)...), nil)
		separator := byte(' ')
		for _, field := range r.Fields {
			to.lines = append(to.lines, separator)
			to.lines = append(append(to.lines, escapeTag.Replace(field.Name)...), '=')
			to.lines = appendValue(to.lines, field.Value)
			separator = ','
		}
		to.lines = append(to.lines, ' ')
		to.lines = append(strconv.AppendInt(to.lines, r.Time.UnixNano(), 10), '\n')
		to.samples++
	}
}

// hasRate says that d is a counter whose rate is a metric too.
func hasRate(d *metrics.Descriptor) bool {
	if d.Type != metrics.Cumulative {
		return false
	}
	for id := range metrics.NumIDs {
		if metrics.Describe(id).RateOf == d.ID && d.ID < metrics.NumIDs {
			return true
		}
	}
	return false
}
