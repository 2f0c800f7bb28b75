package metricdb

import (
	"slices"
)

// Totals computes RecordTotals' answer: the one definition of it.
type Totals struct {
	fields []string
	by     []string
	want   Want
	groups map[string]*recordGroup
	last   *recordGroup
}

type recordGroup struct {
	key    string
	tags   Tags
	fields []fieldTotals
}

type fieldTotals struct {
	count    int64
	sum      sum
	min, max Value
}

// NewTotals returns empty totals of the query's fields.
func NewTotals(q *RecordQuery, by []string) *Totals {
	return &Totals{fields: q.Fields, want: q.Want, by: by, groups: map[string]*recordGroup{}}
}

// Add adds values of the field with that place in the fields. Tags hold the group's
// only.
func (t *Totals) Add(tags Tags, field int, values []int64, float bool) {
	key := tags.Key()
	if t.last == nil || t.last.key != key {
		group, ok := t.groups[key]
		if !ok {
			group = &recordGroup{key: key, tags: tags, fields: make([]fieldTotals, len(t.fields))}
			t.groups[key] = group
		}
		t.last = group
	}
	totals := &t.last.fields[field]
	for _, bits := range values {
		v := Value{Bits: bits, Float: float}
		if totals.count == 0 {
			totals.min, totals.max = v, v
		} else if v.less(totals.min) {
			totals.min = v
		} else if totals.max.less(v) {
			totals.max = v
		}
		totals.count++
		totals.sum.add(bits, float)
	}
}

// Groups returns the totals.
func (t *Totals) Groups() []RecordGroup {
	groups := make([]RecordGroup, 0, len(t.groups))
	for _, group := range t.groups {
		done := RecordGroup{Tags: group.tags}
		for i, name := range t.fields {
			f := group.fields[i]
			done.Fields = append(done.Fields, f.finish(name, t.want))
		}
		groups = append(groups, done)
	}
	SortRecordGroups(groups, t.by)
	return groups
}

func (f *fieldTotals) finish(name string, want Want) FieldTotals {
	done := FieldTotals{Name: name}
	if want.Has(WantCount) {
		done.Count = f.count
	}
	if want.Has(WantSum) {
		done.Sum = f.sum.total()
	}
	if want.Has(WantMin) {
		done.Min = f.min
	}
	if want.Has(WantMax) {
		done.Max = f.max
	}
	return done
}

// SortRecordGroups sorts as RecordTotals returns them.
func SortRecordGroups(groups []RecordGroup, by []string) {
	slices.SortFunc(groups, func(a, b RecordGroup) int { return compareBy(a.Tags, b.Tags, by) })
}

// SortTags sorts by the values of keys, in their order.
func SortTags(all []Tags, keys []string) {
	slices.SortFunc(all, func(a, b Tags) int { return compareBy(a, b, keys) })
}
