package rollup

import (
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// timeline says which resolution a cluster's batches had.
type timeline []metricdb.Resolution

// at returns the resolution of the batch at a time, as metricdb.Reducer has it.
func (l timeline) at(at int64) time.Duration {
	every := time.Duration(0)
	for i := range l {
		if i > 0 && l[i].First.UnixNano() > at {
			break
		}
		every = l[i].Every
	}
	return every
}

// whole says that all resolutions are whole seconds, and few.
func (l timeline) whole() bool {
	distinct := map[time.Duration]bool{}
	for _, r := range l {
		distinct[r.Every] = true
		if r.Every <= 0 || r.Every%time.Second != 0 {
			return false
		}
	}
	return len(distinct) > 0 && len(distinct) <= maxEvery
}

// windows returns how many windows are promised to end at from <= t < to.
func (l timeline) windows(from, to int64) (n int64) {
	for i, r := range l {
		begin, end := from, to
		if i > 0 {
			begin = max(begin, r.First.UnixNano())
		}
		if i+1 < len(l) {
			end = min(end, l[i+1].First.UnixNano())
		}
		if size := int64(r.Every); begin < end && size > 0 {
			n += (ceil(end, size) - ceil(begin, size)) / size
		}
	}
	return n
}

// every returns the distinct resolutions, sorted.
func (l timeline) every() (all []time.Duration) {
	for _, r := range l {
		all = append(all, r.Every)
	}
	return union(all, nil)
}
