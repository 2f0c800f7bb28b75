package figures

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Capacity is what the node can do at most.
type Capacity struct {
	Millicores float64
	Memory     float64 // bytes
	Bytes      float64 // per second of a disk or an interface: far above what any pod moves here
}

// rounding is by how much a rate may seem to exceed what is possible, as the Summary's
// times are whole seconds and windows as short as ten.
const rounding = 1.1

// Absurd returns what no node can do: values below zero, or above its capacity.
func Absurd(series map[Key][]Point, capacity Capacity) []string {
	var found []string
	for key, points := range series {
		most := bound(key.Metric, capacity)
		for _, p := range points {
			if p.Value < 0 || p.Value > most || math.IsNaN(p.Value) {
				found = append(found, fmt.Sprintf("%s was %g at %s, where at most %g is possible", key, p.Value, p.At.UTC().Format("15:04:05"), most))
			}
		}
	}
	slices.Sort(found)
	return found
}

func bound(metric string, c Capacity) float64 {
	switch {
	case metric == "cpu/usage_rate":
		return c.Millicores * rounding
	case strings.HasPrefix(metric, "memory/") && strings.HasSuffix(metric, "faults_rate"):
		return 1e7
	case strings.HasSuffix(metric, "_errors_rate"):
		return 0
	case strings.HasSuffix(metric, "_rate"):
		return c.Bytes * rounding
	case metric == "memory/usage", metric == "memory/working_set", metric == "memory/rss", metric == "memory/cache":
		return c.Memory
	default:
		return 1 << 62 // a negative number that became unsigned is above it
	}
}
