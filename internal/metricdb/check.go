package metricdb

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// earliest and latest are what every database can say as a time.
var (
	earliest = time.Unix(0, math.MinInt64+int64(time.Hour)*24*365).UTC()
	latest   = time.Unix(0, math.MaxInt64-int64(time.Hour)*24*365).UTC()
)

// ValidName says whether name can be that of a metric, a set, a field or a tag.
func ValidName(name string) bool {
	if name == "" || len(name) > 256 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_./:-", rune(c)) {
			return false
		}
	}
	return true
}

// Check returns the query as implementations answer it: with the metric's canonical
// name, clean values, times that databases can say. It returns ErrInvalid otherwise.
func (q Query) Check() (Query, error) {
	q.Metric = metrics.Canonical(q.Metric)
	if !ValidName(q.Metric) {
		return q, fmt.Errorf("%w: %q cannot be the name of a metric", ErrInvalid, q.Metric)
	}
	if q.Level >= metrics.Levels {
		return q, fmt.Errorf("%w: %v is no level of metric sets", ErrInvalid, q.Level)
	}
	var err error
	q.From, q.To, q.Where, err = check(q.From, q.To, q.Where)
	return q, err
}

// Check is Query.Check for records.
func (q RecordQuery) Check() (RecordQuery, error) {
	if !ValidName(q.Set) || !strings.HasPrefix(q.Set, RecordPrefix) {
		return q, fmt.Errorf("%w: %q cannot be the name of a set of records", ErrInvalid, q.Set)
	}
	if len(q.Fields) == 0 {
		return q, fmt.Errorf("%w: no field of %s is named", ErrInvalid, q.Set)
	}
	if err := CheckNames(q.Fields); err != nil {
		return q, err
	}
	var err error
	q.From, q.To, q.Where, err = check(q.From, q.To, q.Where)
	return q, err
}

// RecordPrefix is what the names of records' sets begin with.
const RecordPrefix = "krm/"

// CheckNames returns ErrInvalid unless all names can be those of tags or fields.
func CheckNames(names []string) error {
	for _, name := range names {
		if !ValidName(name) {
			return fmt.Errorf("%w: %q cannot be the name of a tag or a field", ErrInvalid, name)
		}
	}
	return nil
}

// Check returns ErrInvalid if nothing can be grouped so.
func (g *Grouping) Check() error {
	for _, p := range g.Percentiles {
		if !(p > 0 && p <= 100) {
			return fmt.Errorf("%w: there is no percentile %v", ErrInvalid, p)
		}
	}
	if g.Bucket < 0 {
		return fmt.Errorf("%w: a bucket cannot be %v long", ErrInvalid, g.Bucket)
	}
	return CheckNames(g.By)
}

// Check returns ErrInvalid if the record cannot be stored.
func (r *Record) Check() error {
	if !ValidName(r.Set) || !strings.HasPrefix(r.Set, RecordPrefix) {
		return fmt.Errorf("%w: %q cannot be the name of a set of records", ErrInvalid, r.Set)
	}
	if len(r.Fields) == 0 {
		return fmt.Errorf("%w: a record of %s without fields", ErrInvalid, r.Set)
	}
	for _, field := range r.Fields {
		if !ValidName(field.Name) {
			return fmt.Errorf("%w: %q cannot be the name of a field", ErrInvalid, field.Name)
		}
	}
	for _, label := range r.Tags {
		if !ValidName(label.Key) {
			return fmt.Errorf("%w: %q cannot be the name of a tag", ErrInvalid, label.Key)
		}
	}
	return checkTime(r.Time, "a record of "+r.Set)
}

// CheckBatch returns ErrInvalid if the batch cannot be stored.
func CheckBatch(b *metrics.Batch) error {
	return checkTime(b.Time, "a batch")
}

func checkTime(at time.Time, what string) error {
	if at.Before(earliest) || at.After(latest) {
		return fmt.Errorf("%w: %s at %v, want a time from %v to %v", ErrInvalid, what, at, earliest, latest)
	}
	return nil
}

func check(from, to time.Time, where []Match) (time.Time, time.Time, []Match, error) {
	if !from.Before(to) {
		return from, to, where, fmt.Errorf("%w: the interval [%v, %v) is empty", ErrInvalid, from, to)
	}
	if from.Before(earliest) {
		from = earliest
	}
	if to.After(latest) {
		to = latest
	}
	if !from.Before(to) {
		return from, to, where, fmt.Errorf("%w: the interval ends before %v, or begins after %v", ErrInvalid, earliest, latest)
	}
	where = slices.Clone(where)
	for i, match := range where {
		if !ValidName(match.Tag) {
			return from, to, where, fmt.Errorf("%w: %q cannot be the name of a tag", ErrInvalid, match.Tag)
		}
		values := make([]string, len(match.Values))
		for k, value := range match.Values {
			values[k] = Clean(value)
		}
		where[i].Values = values
	}
	return from, to, where, nil
}
