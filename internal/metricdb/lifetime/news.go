package lifetime

import (
	"maps"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// news are the records of what is new of a life since it was written as old, nil if it never was.
// Records of days are there from first to last.
func (s *kind) news(old, l *Life, first, last time.Time) (records []metricdb.Record) {
	records = append(records, s.record(l, s.set, l.Created, old == nil))
	since := l.Created // the earliest change
	changes := map[time.Time]bool{}
	if old != nil {
		since = last.Add(day)
	}
	for i, at := range l.times() {
		was := time.Time{}
		if old != nil {
			was = old.times()[i]
		}
		if at.Equal(was) && (i != deletedAt || old == nil || old.Estimated == l.Estimated) {
			continue
		}
		since = earlier(since, earlier(at, was))
		if !at.Truncate(day).Equal(l.Created.Truncate(day)) { // else the creation's record is always read
			changes[at] = true
		}
	}
	for i, r := range l.Requests {
		if old == nil && i == 0 || old != nil && slices.ContainsFunc(old.Requests, r.equal) {
			continue
		}
		since = earlier(since, r.Since)
		changes[r.Since] = true
	}
	for _, at := range slices.SortedFunc(maps.Keys(changes), time.Time.Compare) {
		records = append(records, s.record(l, s.changes, at, true))
	}
	begin := since.Truncate(day)
	if begin.Before(since) {
		begin = begin.Add(day)
	}
	if begin.Before(first) {
		begin = first
	}
	return append(records, s.dayRecords(l, begin, last)...)
}

// deletedAt is the deletion's place among times.
const deletedAt = 3

// times are those that come after the creation.
func (l *Life) times() [4]time.Time {
	return [...]time.Time{l.Scheduled, l.Started, l.Finished, deletedAt: l.Deleted}
}

// dayRecords are the records of days from first to last, of a life that began before. The
// days after its end say so: they may have been written when that was not known.
func (s *kind) dayRecords(l *Life, first, last time.Time) (records []metricdb.Record) {
	if !s.settled(l) {
		return nil
	}
	for begin := first; !begin.After(last); begin = begin.Add(day) {
		if l.Created.Before(begin) {
			records = append(records, s.record(l, s.days, begin, true))
		}
	}
	return records
}
