package influx

import (
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// statement builds InfluxQL. Values are bound parameters, which the server puts in
// after parsing; identifiers, which cannot be bound, go through quoteIdent. Nothing
// else of a caller's gets into the text.
type statement struct {
	text   strings.Builder
	params map[string]any
}

func newStatement() *statement { return &statement{params: map[string]any{}} }

// raw appends a piece of ours.
func (s *statement) raw(text string) *statement {
	s.text.WriteString(text)
	return s
}

func (s *statement) ident(name string) *statement { return s.raw(quoteIdent(name)) }

// bind appends a parameter.
func (s *statement) bind(value string) *statement {
	name := "p" + strconv.Itoa(len(s.params))
	s.params[name] = value
	return s.raw("$" + name)
}

// idents appends identifiers with commas in between.
func (s *statement) idents(names []string) *statement {
	for i, name := range names {
		if i > 0 {
			s.raw(", ")
		}
		s.ident(name)
	}
	return s
}

// from appends FROM with a measurement of a policy.
func (s *statement) from(policy, measurement string) *statement {
	return s.raw(" FROM ").ident(policy).raw(".").ident(measurement)
}

// where appends the conditions: the interval, and what tags must be.
func (s *statement) where(from, to time.Time, matches []metricdb.Match) *statement {
	s.raw(" WHERE time >= ").raw(strconv.FormatInt(from.UnixNano(), 10)).raw(" AND time < ").raw(strconv.FormatInt(to.UnixNano(), 10))
	for _, match := range matches {
		s.raw(" AND ")
		s.match(match)
	}
	return s
}

func (s *statement) match(m metricdb.Match) {
	operator, joint := " = ", " OR "
	if m.Not {
		operator, joint = " != ", " AND "
	}
	if len(m.Values) == 0 {
		// Every point has a cluster_name, if one that is not empty: holds for nothing, or everything.
		m.Values, m.Tag = []string{"\uFFFD no such value"}, metricdb.TagType
	}
	s.raw("(")
	for i, value := range m.Values {
		if i > 0 {
			s.raw(joint)
		}
		s.ident(m.Tag).raw(operator).bind(value)
	}
	s.raw(")")
}

// groupBy appends GROUP BY tags and a bucket, if there are any.
func (s *statement) groupBy(tags []string, bucket time.Duration) *statement {
	if len(tags) == 0 && bucket == 0 {
		return s
	}
	s.raw(" GROUP BY ").idents(tags)
	if bucket > 0 {
		if len(tags) > 0 {
			s.raw(", ")
		}
		s.raw("time(").raw(strconv.FormatInt(bucket.Nanoseconds(), 10)).raw("ns) fill(none)")
	}
	return s
}

// quoteIdent is a name as an InfluxQL identifier.
func quoteIdent(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name) + `"`
}
