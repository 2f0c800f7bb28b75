package metricdb

import (
	"math"
	"slices"
	"time"
)

// Reducer computes groups from runs: the one definition of what Aggregate answers.
// Where a database computes some of it by itself, the suite checks that it comes to
// the same.
type Reducer struct {
	q        Query
	g        Grouping
	from, to int64
	by       []string
	identity []string
	wait     bool // steps wait until samples can be sorted by time
	steps    stepIndex
	groups   map[string]*group
	sets     map[string]*setState
}

// setState is what is remembered of one metric set from run to run.
type setState struct {
	first   *member
	members map[string]*member // by key; nil while there is only the first
	steps   stepper
}

// member is a set as long as it had the tags that it is grouped by.
type member struct {
	key    string
	tags   Tags
	groups map[int64]*group // by bucket
}

type group struct {
	tags     Tags
	bucket   int64
	count    int64
	sum      sum
	min, max Value
	steps    map[time.Duration]*step
	sets     int
	increase sum
	first    int64
	last     int64
	values   []int64
	float    bool
}

type step struct {
	count int64
	sum   sum
}

// NewReducer returns a reducer for the samples of q. Resolutions are those of the
// interval; where Increase is wanted, runs must begin at From - Lookback.
func NewReducer(q Query, g Grouping, resolutions []Resolution) *Reducer {
	by := slices.Clone(g.By)
	slices.Sort(by)
	r := &Reducer{
		q: q, g: g, from: q.From.UnixNano(), to: q.To.UnixNano(), by: by,
		identity: Identity(q.Metric, q.Level), steps: indexSteps(resolutions),
		groups: map[string]*group{}, sets: map[string]*setState{},
	}
	r.wait = g.Increase && slices.ContainsFunc(by, func(key string) bool {
		_, ok := slices.BinarySearch(r.identity, key)
		return !ok
	})
	return r
}

// Add takes a run. Runs of one set and the same tags must come in ascending order;
// those of a set whose other tags change may come in any order, as DB.Runs has it.
// Where Increase is grouped by such a tag, samples are kept until Passed says that
// nothing before them can come any more, or until Groups.
func (r *Reducer) Add(run *Run) {
	set, as := r.set(run.Tags)
	every := r.steps.of(run.Tags.Get(TagCluster))
	for i, at := range run.Times {
		value := run.Values[i]
		var in *group
		if at >= r.from && at < r.to {
			in = as.group(r, at)
			in.add(at, value, run.Float, every.at(at), r)
		}
		switch {
		case r.wait:
			set.steps.waiting = append(set.steps.waiting, waiting{at: at, value: value, float: run.Float, key: as.key, in: in})
		case r.g.Increase:
			set.steps.step(at, value, run.Float, in)
		}
	}
}

// Passed says that all samples before t (Unix nanoseconds) were added. It is never
// necessary: it frees memory.
func (r *Reducer) Passed(t int64) {
	if r.wait {
		for _, set := range r.sets {
			set.steps.settle(t)
		}
	}
}

func (r *Reducer) set(tags Tags) (*setState, *member) {
	id := tags.Only(r.identity).Key()
	by := tags.Only(r.by)
	key := by.Key()
	set, ok := r.sets[id]
	if !ok {
		set = &setState{first: &member{key: key, tags: by, groups: map[int64]*group{}}}
		r.sets[id] = set
	}
	if set.first.key == key {
		return set, set.first
	}
	as, ok := set.members[key]
	if !ok {
		if set.members == nil {
			set.members = map[string]*member{}
		}
		as = &member{key: key, tags: by, groups: map[int64]*group{}}
		set.members[key] = as
	}
	return set, as
}

// group returns the group that a sample belongs to.
func (m *member) group(r *Reducer, at int64) *group {
	bucket := r.from
	if r.g.Bucket > 0 {
		bucket = floor(at, int64(r.g.Bucket))
	}
	found, ok := m.groups[bucket]
	if ok {
		return found
	}
	key := m.key + string(appendInt(nil, bucket))
	if found, ok = r.groups[key]; !ok {
		found = &group{tags: m.tags, bucket: bucket, first: math.MaxInt64, last: math.MinInt64, steps: map[time.Duration]*step{}}
		r.groups[key] = found
	}
	found.sets++
	m.groups[bucket] = found
	return found
}

func appendInt(b []byte, i int64) []byte {
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(i>>shift))
	}
	return b
}

func floor(at, size int64) int64 {
	rest := at % size
	if rest < 0 {
		rest += size
	}
	return at - rest
}

func (g *group) add(at, bits int64, float bool, every time.Duration, r *Reducer) {
	v := Value{Bits: bits, Float: float}
	if g.count == 0 {
		g.min, g.max, g.float = v, v, float
	} else if v.less(g.min) {
		g.min = v
	} else if g.max.less(v) {
		g.max = v
	}
	g.count++
	g.sum.add(bits, float)
	s := g.steps[every]
	if s == nil {
		s = &step{}
		g.steps[every] = s
	}
	s.count++
	s.sum.add(bits, float)
	g.first, g.last = min(g.first, at), max(g.last, at)
	if r.g.Median || len(r.g.Percentiles) > 0 {
		g.values = append(g.values, bits)
	}
}

// Groups returns what came of it.
func (r *Reducer) Groups() []Group {
	r.Passed(math.MaxInt64)
	groups := make([]Group, 0, len(r.groups))
	for _, g := range r.groups {
		if g.count > 0 {
			groups = append(groups, g.finish(&r.g))
		}
	}
	SortGroups(groups, r.g.By)
	return groups
}

// SortGroups sorts as Aggregate returns them.
func SortGroups(groups []Group, by []string) {
	slices.SortFunc(groups, func(a, b Group) int {
		if c := compareBy(a.Tags, b.Tags, by); c != 0 {
			return c
		}
		return a.Time.Compare(b.Time)
	})
}

func (g *group) finish(want *Grouping) Group {
	done := Group{
		Tags: g.tags, Time: time.Unix(0, g.bucket).UTC(), Count: g.count, Sum: g.sum.total(),
		Max: g.max, Sets: g.sets,
	}
	if !want.SkipMin {
		done.Min = g.min
	}
	for every, s := range g.steps {
		done.Steps = append(done.Steps, Step{Every: every, Count: s.count, Sum: s.sum.total()})
	}
	slices.SortFunc(done.Steps, func(a, b Step) int { return int(a.Every - b.Every) })
	if want.Increase {
		done.Increase = g.increase.total()
		if g.float && !g.increase.real {
			done.Increase = Total{}
		}
	}
	if want.Span {
		done.First, done.Last = time.Unix(0, g.first).UTC(), time.Unix(0, g.last).UTC()
	}
	if g.values != nil {
		slices.SortFunc(g.values, func(a, b int64) int {
			switch v, w := (Value{a, g.float}), (Value{b, g.float}); {
			case v.less(w):
				return -1
			case w.less(v):
				return 1
			}
			return 0
		})
		g.ranks(want, &done)
	}
	return done
}

// ranks fills in what needs the sorted values.
func (g *group) ranks(want *Grouping, done *Group) {
	n := len(g.values)
	at := func(i int) Value { return Value{g.values[i], g.float} }
	for _, p := range want.Percentiles {
		rank := int(math.Ceil(p / 100 * float64(n)))
		done.Percentiles = append(done.Percentiles, at(min(max(rank, 1), n)-1))
	}
	if want.Median {
		done.Median = at(n / 2).Number()
		if n%2 == 0 {
			done.Median = (at(n/2-1).Number() + done.Median) / 2
		}
	}
}
