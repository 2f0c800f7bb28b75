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

// addField adds a record's field, if it has it.
func (s *sum) addField(r *metricdb.Record, name string) {
	if v, ok := r.Get(name); ok {
		s.add(v.Bits, v.Float)
	}
}

// addSum adds what another sum has come to so far.
func (s *sum) addSum(t *sum) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, t.lo, 0)
	s.hi += t.hi + int64(carry)
	if t.real {
		s.addFloat(t.float)
		s.addFloat(t.comp)
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
