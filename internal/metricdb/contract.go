package metricdb

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Errors of the contract; test for them with errors.Is.
var (
	// ErrUnavailable comes when the database cannot be reached, or did not answer in time.
	ErrUnavailable = errors.New("the metric database is away")
	// ErrInvalid comes when a query asks for what cannot exist.
	ErrInvalid = errors.New("the query is not valid")
	// ErrFull comes when there is no room left to write to; reading still works.
	ErrFull = errors.New("the metric database is full")
)

// Lookback is how far before an interval the sample is looked for that a counter's
// first step in the interval starts from.
const Lookback = 10 * time.Minute

// DB is a metric database. All methods may be called at the same time. Sequences
// end after their first error; breaking out of one is fine.
type DB interface {
	// Write stores all samples of a batch. After nil they are durable: acknowledged by
	// the server, or in a file that survives a kill. Writing a batch again changes
	// nothing. ErrFull or ErrUnavailable: nothing may have been stored; try again later.
	Write(ctx context.Context, b *metrics.Batch) error

	// Runs yields the samples that q selects, in pieces of one metric set each. Pieces of
	// one set (the same Tags) ascend in time; the order is otherwise open. Tags are those
	// that identify the set and those named by tags. It streams: memory is that of about an
	// hour of the selected samples, whatever the interval. A Run is the receiver's to keep.
	Runs(ctx context.Context, q Query, tags ...string) iter.Seq2[Run, error]

	// Points yields single samples with all their tags, newest first, equal times by
	// their tags; at most limit, all if it is 0. It streams.
	Points(ctx context.Context, q Query, limit int) iter.Seq2[Point, error]

	// Aggregate returns what g wants of the samples that q selects, by group and bucket,
	// sorted by the values of g.By in their order, then by time. Groups without samples
	// are absent.
	Aggregate(ctx context.Context, q Query, g Grouping) ([]Group, error)

	// Tags returns the distinct combinations of the tags by among the samples that q
	// selects, sorted; combinations that lack all of them are left out. It is for listings
	// of nodes, namespaces, pods, containers, resource_ids, and for tag values.
	Tags(ctx context.Context, q Query, by ...string) ([]Tags, error)

	// Metrics returns the names of the metrics that have samples, sorted. Of q it uses
	// everything but Metric.
	Metrics(ctx context.Context, q Query) ([]string, error)

	// Resolutions says how far apart batches of each cluster were in an interval ("" is
	// every cluster): spans of equal resolution, by cluster and time.
	Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]Resolution, error)

	// WriteRecords stores records; those with the same Set, Time and Tags are replaced
	// field by field. Durable after nil, as Write.
	WriteRecords(ctx context.Context, records []Record) error

	// Records yields records, ascending in time, equal times by their tags.
	Records(ctx context.Context, q RecordQuery) iter.Seq2[Record, error]

	// RecordTotals returns totals of each field over the records that q selects, by the
	// tags by, sorted by their values.
	RecordTotals(ctx context.Context, q RecordQuery, by ...string) ([]RecordGroup, error)

	// Health returns nil if the database answers and can be written to.
	Health(ctx context.Context) error

	// Run does the work beside: sends what is queued, compacts, drops what is older than
	// the retention. It blocks until ctx ends, then returns nil. A DB on which Run is not
	// called stores and answers all the same.
	Run(ctx context.Context) error

	// Close releases files and connections. Run must have returned.
	Close() error
}

// Query selects samples of one metric at one level. The zero times are not allowed.
type Query struct {
	Metric   string       // a name; old aliases are accepted
	Level    metrics.Kind // below metrics.Levels; of a labelled metric, the level of the sets that have it
	From, To time.Time    // [From, To)
	Where    []Match      // all must hold
}

// Match is a condition on a tag. A tag that is absent has the value "".
type Match struct {
	Tag    string
	Not    bool     // none of Values, instead of one of them
	Values []string // without any, Match holds for nothing, or with Not for everything
}

// Is is the condition that tag has one of values.
func Is(tag string, values ...string) Match { return Match{Tag: tag, Values: values} }

// IsNot is the condition that tag has none of values.
func IsNot(tag string, values ...string) Match { return Match{Tag: tag, Not: true, Values: values} }

// Tags are labels sorted by key, without empty values. They are shared: do not change them.
type Tags []metrics.Label

// Get returns the tag's value, "" if it is absent.
func (t Tags) Get(key string) string {
	for _, label := range t {
		if label.Key == key {
			return label.Value
		}
	}
	return ""
}

// Point is one sample.
type Point struct {
	Time  time.Time // UTC
	Value Value
	Tags  Tags // all of them
}

// Run is a piece of one metric set's samples.
type Run struct {
	Tags   Tags    // those that identify the set, with type and cluster_name, and those asked for
	Times  []int64 // Unix nanoseconds, ascending, each once
	Values []int64 // integers, or the bits of floats, as Float says
	Float  bool
}

// Resolution says that batches of a cluster came every Every, from the first to the
// last of Batches batches, both included.
type Resolution struct {
	Cluster     string
	Every       time.Duration
	First, Last time.Time
	Batches     int // windows with a batch of at least one shard
}

// Grouping says what Aggregate shall compute.
type Grouping struct {
	By     []string      // tags; none gives one group
	Bucket time.Duration // 0: one bucket, the whole interval
	// Increase: of counters. It costs a pass over the samples in this process.
	Increase bool
	// SkipMin leaves the least sample out: on InfluxDB each figure is a pass of its own over
	// the samples.
	SkipMin bool
	// Span: the times of each group's first and last sample.
	Span bool
	// Percentiles, 0 < p <= 100, by nearest rank: the smallest sample such that at least
	// p percent are not above it. They cost memory of 8 bytes a sample.
	Percentiles []float64
	// Median: the mean of the two middle samples, or the middle one.
	Median bool
}

// Group is what was asked for of one group and bucket.
type Group struct {
	Tags     Tags      // of Grouping.By; absent ones are missing
	Time     time.Time // the bucket's begin, or Query.From without buckets
	Count    int64     // samples
	Sum      Total
	Min, Max Value // Min is zero with Grouping.SkipMin
	// Steps are sums by resolution of the batches, by Every: usually one. Use them for
	// exact integrals: Σ Sum × Every.
	Steps []Step
	// Sets is how many metric sets (pods, containers …) had samples; 0 if not cheap to know.
	Sets        int
	Increase    Total
	First, Last time.Time
	Percentiles []Value // as Grouping.Percentiles
	Median      float64
}

// Step is the part of a group's samples that had one resolution.
type Step struct {
	Every time.Duration
	Count int64
	Sum   Total
}

// Mean returns the mean of the samples.
func (g *Group) Mean() float64 {
	if g.Count == 0 {
		return 0
	}
	return g.Sum.Number() / float64(g.Count)
}

// Integral returns the integral over time in value × seconds; see the package.
func (g *Group) Integral() (seconds float64) {
	for _, step := range g.Steps {
		seconds += step.Sum.Number() * step.Every.Seconds()
	}
	return seconds
}

// Record is a row of numbers. Sets' names begin with "krm/", and their names and those
// of fields and tags match [A-Za-z0-9_./-]+.
type Record struct {
	Set    string
	Time   time.Time
	Tags   Tags
	Fields []Field // by name; a field has one type for ever
}

// Field is one number of a record.
type Field struct {
	Name  string
	Value Value
}

// Get returns the field's value.
func (r *Record) Get(name string) (Value, bool) {
	for _, field := range r.Fields {
		if field.Name == name {
			return field.Value, true
		}
	}
	return Value{}, false
}

// Int returns the integer of that field, 0 if there is none.
func (r *Record) Int(name string) int64 {
	v, _ := r.Get(name)
	return v.Bits
}

// Sort sorts the fields by name.
func (r *Record) Sort() {
	slices.SortFunc(r.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
}

// RecordQuery selects records.
type RecordQuery struct {
	Set      string
	Fields   []string // those that are wanted; must be named
	From, To time.Time
	Where    []Match
	// Want says which totals RecordTotals shall compute; 0 is all. On InfluxDB each is a pass
	// of its own over the records: a month of 1,000 pods takes 0.3 s for each of each field.
	// Without WantCount and WantMax, InfluxDB's sums of integers wrap beyond int64 unseen.
	Want Want
}

// Want is a set of totals.
type Want uint8

// The totals of a field.
const (
	WantCount Want = 1 << iota
	WantSum
	WantMin
	WantMax
)

// Has says whether some of the totals are wanted.
func (w Want) Has(some Want) bool { return w == 0 || w&some != 0 }

// RecordGroup is the totals of one group of records.
type RecordGroup struct {
	Tags   Tags
	Fields []FieldTotals // as RecordQuery.Fields
}

// FieldTotals are the totals of one field; those that were not wanted are zero.
type FieldTotals struct {
	Name     string
	Count    int64
	Sum      Total
	Min, Max Value
}
