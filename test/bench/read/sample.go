package main

import (
	"math"
	"slices"
	"time"
)

// samples are how long single reads took.
type samples []time.Duration

// quantile is the nearest rank; 0 without samples.
func (s samples) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func (s samples) median() time.Duration { return s.quantile(0.5) }

// median of numbers; NaN without any.
func median(of []float64) float64 {
	if len(of) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[max(0, int(math.Ceil(0.5*float64(len(sorted))))-1)]
}

// over is a ratio; NaN where there is none.
func over[T ~int64 | ~float64](a, b T) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
