package main

import "math"

// source makes values that vary like real ones, in closed form: the same for the
// same seed and second, whenever and in whatever order they are asked for.
type source uint64

// hash is a well mixed number for the n-th draw.
func (s source) hash(n int64) uint64 {
	x := uint64(s) + uint64(n)*0x9e3779b97f4a7c15
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// child is a source of its own for something below.
func (s source) child(n int64) source { return source(s.hash(n) | 1) }

// unit is the n-th draw, at least 0 and below 1.
func (s source) unit(n int64) float64 { return float64(s.hash(n)>>11) / (1 << 53) }

// spread is the n-th draw of what is mostly small and sometimes very big, as use of
// CPU is: its median is median, one in six is above factor times that.
func (s source) spread(n int64, median, factor float64) float64 {
	u1, u2 := max(s.unit(2*n), 1e-9), s.unit(2*n+1)
	normal := math.Sqrt(-2*math.Log(u1)) * math.Cos(2*math.Pi*u2)
	return median * math.Pow(factor, normal)
}

// between is a smooth walk with a new direction every period seconds: from -1 to 1.
func (s source) between(second, period int64) float64 {
	k, within := second/period, second%period
	from, to := 2*s.unit(k)-1, 2*s.unit(k+1)-1
	return from + (to-from)*float64(within)/float64(period)
}

// counter is what something counted in its first seconds that happens rate times a
// second on average: never less than a second before. Bursts last ten seconds and
// five minutes.
func (s source) counter(rate float64, second int64) float64 {
	if second <= 0 || rate <= 0 {
		return 0
	}
	return rate/2*s.swing(second, 10) + rate/2*s.child(1).swing(second, 300)
}

// swing grows by 1 a second on average, never by less than 0.1.
func (s source) swing(second, period int64) float64 {
	return float64(second) + 0.45*float64(period)*(s.between(second, period)-s.between(0, period))
}
