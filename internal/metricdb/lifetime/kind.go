package lifetime

import (
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// kind is what is particular of pods, or of claims.
type kind struct {
	name, one string // as Kubernetes calls it, and one of it
	// The sets of records; see the package.
	set, days, changes string
	tagName, tagID     string // the tags that have its name and its UID
	fields             []field
	amounts            []amount
	settled            func(*Life) bool // its tags will not change any more: it may be written
	// decode reads a life out of a record; known says that an earlier state of it is known.
	decode func(o *Options, cluster string, r *object.Record, known bool) (*Life, error)
}

// field is a number of a life, 0 if it is not known.
type field struct {
	name string
	get  func(*Life) int64
	set  func(*Life, int64)
}

type amount struct {
	name string
	of   func(*Amounts) *int64
}

// timeField is kept in Unix milliseconds.
func timeField(name string, of func(*Life) *time.Time) field {
	return field{
		name: name,
		get: func(l *Life) int64 {
			if at := of(l); !at.IsZero() {
				return at.UnixMilli()
			}
			return 0
		},
		set: func(l *Life, ms int64) { *of(l) = time.UnixMilli(ms).UTC() },
	}
}

const (
	fieldDeleted   = "deleted"
	fieldEstimated = "estimated"
)

func (s *kind) uid(l *Life) string { return l.Tags.Get(s.tagID) }

func (s *kind) key(l *Life) string { return l.Tags.Get(metricdb.TagCluster) + "\x00" + s.uid(l) }

// names are the names of the fields.
func (s *kind) names() []string {
	names := []string{fieldEstimated}
	for _, f := range s.fields {
		names = append(names, f.name)
	}
	for _, a := range s.amounts {
		names = append(names, a.name)
	}
	return names
}

// record is a life as a record of a set, if need be with what is requested at that time.
func (s *kind) record(l *Life, set string, at time.Time, requested bool) metricdb.Record {
	r := metricdb.Record{Set: set, Time: at, Tags: l.Tags}
	add := func(name string, v int64) {
		r.Fields = append(r.Fields, metricdb.Field{Name: name, Value: metricdb.Int(v)})
	}
	for _, f := range s.fields {
		v := f.get(l)
		if v != 0 {
			add(f.name, v)
		}
		if f.name == fieldDeleted && v != 0 { // 0 as well: another one may have estimated it
			add(fieldEstimated, toInt(l.Estimated))
		}
	}
	if requested {
		now := l.requests().at(at)
		for _, a := range s.amounts {
			add(a.name, *a.of(&now))
		}
	}
	r.Sort()
	return r
}

// life is what a record says.
func (s *kind) life(r *metricdb.Record) *Life {
	l := &Life{Tags: r.Tags, Estimated: r.Int(fieldEstimated) != 0}
	for _, f := range s.fields {
		if v := r.Int(f.name); v != 0 {
			f.set(l, v)
		}
	}
	var now Amounts
	told := false
	for _, a := range s.amounts {
		v, ok := r.Get(a.name)
		*a.of(&now) = v.Bits
		told = told || ok
	}
	if told {
		l.Requests = []Request{{r.Time, now}}
		l.setAmounts(now)
	}
	return l
}

func toInt(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// merge takes over what more knows of the same life, except what it requested. It does not matter
// which of two is merged into which, and merging again changes nothing.
func (l *Life) merge(more *Life) {
	l.Created = earlier(l.Created, more.Created)
	l.Scheduled = earlier(l.Scheduled, more.Scheduled)
	l.Started = earlier(l.Started, more.Started)
	l.Finished = earlier(l.Finished, more.Finished)
	l.Containers = max(l.Containers, more.Containers)
	switch {
	case more.Deleted.IsZero():
	case l.Deleted.IsZero(), l.Estimated && !more.Estimated,
		l.Estimated == more.Estimated && more.Deleted.Before(l.Deleted):
		l.Deleted, l.Estimated = more.Deleted, more.Estimated
	}
}

// same says whether two lives are the same.
func (l *Life) same(m *Life) bool {
	return l.Created.Equal(m.Created) && l.Scheduled.Equal(m.Scheduled) && l.Started.Equal(m.Started) &&
		l.Finished.Equal(m.Finished) && l.Deleted.Equal(m.Deleted) && l.Estimated == m.Estimated &&
		l.Containers == m.Containers && l.Tags.Compare(m.Tags) == 0 && slices.EqualFunc(l.Requests, m.Requests, Request.equal)
}
