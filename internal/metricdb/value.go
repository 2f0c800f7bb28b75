package metricdb

import (
	"math"
	"math/bits"
	"strconv"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Value is an integer or a float.
type Value struct {
	Bits  int64 // the integer, or the float's bits
	Float bool
}

// Int makes a Value of an integer.
func Int(i int64) Value { return Value{Bits: i} }

// Float makes a Value of a float.
func Float(f float64) Value { return Value{Bits: metrics.FloatBits(f), Float: true} }

// Number returns the value as a float.
func (v Value) Number() float64 {
	if v.Float {
		return metrics.BitsFloat(v.Bits)
	}
	return float64(v.Bits)
}

// String is the value in decimal: the shortest that reads back as the same.
func (v Value) String() string {
	if v.Float {
		return strconv.FormatFloat(v.Number(), 'g', -1, 64)
	}
	return strconv.FormatInt(v.Bits, 10)
}

// MarshalJSON writes the value as a number.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Float {
		return strconv.AppendFloat(nil, v.Number(), 'g', -1, 64), nil
	}
	return strconv.AppendInt(nil, v.Bits, 10), nil
}

func (v Value) less(w Value) bool {
	if v.Float {
		return v.Number() < w.Number()
	}
	return v.Bits < w.Bits
}

// Total is a sum. While Exact, Int is the sum of integers, whole; otherwise only
// Float says it: the values are floats, or the sum is beyond int64.
type Total struct {
	Int   int64
	Float float64
	Exact bool
}

// Number returns the sum as a float.
func (t Total) Number() float64 {
	if t.Exact {
		return float64(t.Int)
	}
	return t.Float
}

// Add returns t + u.
func (t Total) Add(u Total) Total {
	if t.Exact && u.Exact {
		if sum, ok := addInt(t.Int, u.Int); ok {
			return Total{Int: sum, Exact: true}
		}
	}
	return Total{Float: t.Number() + u.Number()}
}

// String is the sum in decimal.
func (t Total) String() string {
	if t.Exact {
		return strconv.FormatInt(t.Int, 10)
	}
	return strconv.FormatFloat(t.Float, 'g', -1, 64)
}

// MarshalJSON writes the sum as a number.
func (t Total) MarshalJSON() ([]byte, error) { return []byte(t.String()), nil }

func addInt(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

// sum adds values up. Integers are added in 128 bits, so that the order in which they
// come changes nothing; floats with Neumaier's compensation, so that it changes next
// to nothing.
type sum struct {
	hi    int64
	lo    uint64
	float float64
	comp  float64
	real  bool
}

func (s *sum) add(v int64, float bool) {
	if float {
		s.real = true
		s.addFloat(metrics.BitsFloat(v))
		return
	}
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, uint64(v), 0)
	s.hi += v>>63 + int64(carry)
}

// sub takes an integer away.
func (s *sum) sub(v int64) {
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, uint64(v), 0)
	s.hi -= v>>63 + int64(borrow)
}

func (s *sum) addFloat(f float64) {
	t := s.float + f
	if math.Abs(s.float) >= math.Abs(f) {
		s.comp += (s.float - t) + f
	} else {
		s.comp += (f - t) + s.float
	}
	s.float = t
}

func (s *sum) total() Total {
	switch {
	case s.real:
		return Total{Float: s.float + s.comp}
	case s.hi == int64(s.lo)>>63:
		return Total{Int: int64(s.lo), Exact: true}
	default:
		return Total{Float: float64(s.hi)*0x1p64 + float64(s.lo)}
	}
}
