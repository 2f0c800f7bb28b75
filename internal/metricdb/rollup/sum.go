package rollup

import (
	"math"
	"math/bits"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// sum adds values up: integers in 128 bits, floats with Neumaier's compensation.
type sum struct {
	hi    int64
	lo    uint64
	float float64
	comp  float64
	real  bool
}

func (s *sum) add(v int64, float bool) {
	if float {
		s.addFloat(metrics.BitsFloat(v))
		return
	}
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, uint64(v), 0)
	s.hi += v>>63 + int64(carry)
}

func (s *sum) addFloat(f float64) {
	s.real = true
	t := s.float + f
	if math.Abs(s.float) >= math.Abs(f) {
		s.comp += (s.float - t) + f
	} else {
		s.comp += (f - t) + s.float
	}
	s.float = t
}

// addTotal adds a sum that is done.
func (s *sum) addTotal(t metricdb.Total) {
	switch {
	case t.Exact:
		s.add(t.Int, false)
	case t.Float != 0:
		s.addFloat(t.Float)
	}
}

func (s *sum) total() metricdb.Total {
	whole := metricdb.Total{Int: int64(s.lo), Exact: true}
	if s.hi != int64(s.lo)>>63 {
		whole = metricdb.Total{Float: float64(s.hi)*0x1p64 + float64(s.lo)}
	}
	if s.real {
		return metricdb.Total{Float: whole.Number() + (s.float + s.comp)}
	}
	return whole
}

// step is the part of a set's samples that have one resolution.
type step struct {
	every time.Duration
	count int64
	sum   sum
}

// steps are few: nearly always one.
type steps []step

func (s *steps) of(every time.Duration) *step {
	for i := range *s {
		if (*s)[i].every == every {
			return &(*s)[i]
		}
	}
	*s = append(*s, step{every: every})
	return &(*s)[len(*s)-1]
}

// rise is the step of a counter from one value to the next: one that fell began
// anew at 0.
func rise(before, now int64, float bool) int64 {
	if float {
		up := metrics.BitsFloat(now)
		if was := metrics.BitsFloat(before); up >= was {
			up -= was
		}
		return metrics.FloatBits(up)
	}
	if now >= before {
		return now - before
	}
	return now
}

func less(v, w metricdb.Value) bool {
	if v.Float {
		return v.Number() < w.Number()
	}
	return v.Bits < w.Bits
}

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

func ceil(at, size int64) int64 { return -floor(-at, size) }
