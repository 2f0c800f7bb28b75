package main

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// question is what POST /api/{metric} is asked of one story.
type question struct {
	metric, agg, namespace, level string
	exclude                       []string
	from, to                      time.Time
}

// rowKey tells the rows of an answer apart.
type rowKey struct{ namespace, pod, uid, resource, level string }

func (k rowKey) String() string {
	return strings.Trim(fmt.Sprintf("%s/%s(%s) %s %s", k.namespace, k.pod, k.uid, k.resource, k.level), " ")
}

// sums are what a row must say.
type sums struct {
	sum, most         int64
	samples, expected int64
	rise              int64 // of counters
}

// counters are the metrics whose integral is their increase.
func isCounter(metric string) bool {
	return slices.Contains([]string{"cpu/usage", "network/rx", "network/tx", "uptime"}, metric)
}

// sources are the levels that answer, and what level an answer names.
func (q *question) sources() map[string]string {
	switch {
	case q.level != "":
		return map[string]string{q.level: q.level}
	case q.metric == "gpu/usage":
		return map[string]string{container: podLevel}
	case q.metric == "filesystem/usage":
		return map[string]string{container: container, podLevel: podLevel}
	}
	return map[string]string{podLevel: podLevel}
}

// rows is the truth of an answer with agg.
func (s *story) rows(q question) map[rowKey]*sums {
	rows := map[rowKey]*sums{}
	from, to := s.window(q.from), s.window(q.to)
	for _, one := range s.series {
		says, asked := q.sources()[one.level]
		if !asked || one.metric != q.metric || one.namespace == "" || slices.Contains(q.exclude, one.namespace) && q.agg != "pod-by-namespace" {
			continue
		}
		if q.agg == "pod-by-namespace" && one.namespace != q.namespace {
			continue
		}
		there := s.sampled(one, from, to)
		if len(there) == 0 {
			continue
		}
		key := rowKey{namespace: one.namespace, level: says}
		if q.agg != "all-namespace" && one.pod != nil {
			key.pod, key.uid = one.pod.name, one.pod.uid
		}
		if q.metric != "gpu/usage" {
			key.resource = one.resource
		}
		row := rows[key]
		if row == nil {
			row = &sums{}
			rows[key] = row
		}
		s.addTo(row, one, there, from, to)
	}
	return rows
}

// addTo adds a series' samples, of the windows [from, to), to a row.
func (s *story) addTo(row *sums, one *series, there load, from, to int64) {
	n := there.count()
	row.samples += n
	row.expected += max(n, s.promised(one, there, from, to))
	if one.count == nil {
		row.sum += there.sum()
		row.most = max(row.most, there.max())
		return
	}
	spans := make([]span, len(there))
	for i, p := range there {
		spans[i] = span{p.from, p.to}
	}
	// The sample that the first step starts from: at most ten minutes before the interval.
	before := int64(-1)
	for k := from - 1; k >= from-int64(10*time.Minute/s.every); k-- {
		if len(s.sampled(one, k, k+1)) > 0 {
			before = k
			break
		}
	}
	row.rise += one.count.increase(before, join(spans))
	sum, most := one.count.total(spans)
	row.sum += sum
	row.most = max(row.most, most)
}

// join makes one span of those that touch.
func join(spans []span) (joined []span) {
	for _, s := range spans {
		if n := len(joined); n > 0 && joined[n-1].to == s.from {
			joined[n-1].to = s.to
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// total is the sum of the counter's readings at the windows of spans, and the greatest.
func (c *counter) total(spans []span) (sum, most int64) {
	for _, s := range spans {
		for k := s.from; k < s.to; k++ {
			value := c.at(k)
			sum += value
			most = max(most, value)
		}
	}
	return sum, most
}

// promised is how many samples a set should have: one for each window that ends while
// its pod lives, or from its first to its last sample.
func (s *story) promised(one *series, there load, from, to int64) int64 {
	if one.pod == nil || !one.pod.living {
		return there[len(there)-1].to - there[0].from
	}
	begin, end := s.window(s.seconds(one.pod.started)), s.window(s.seconds(one.pod.ended))
	return max(0, min(end, to)-max(begin, from))
}

// integral is the sum × the resolution in hours, by the unit's divisor.
func (s *story) integral(metric string, row *sums) *big.Rat {
	if isCounter(metric) {
		return new(big.Rat).SetInt64(row.rise)
	}
	whole := new(big.Rat).SetInt64(row.sum)
	whole.Mul(whole, big.NewRat(int64(s.every), int64(time.Hour)))
	switch {
	case strings.HasPrefix(metric, "cpu/"):
		return whole.Quo(whole, big.NewRat(1000, 1))
	case metric == "gpu/usage":
		return whole.Quo(whole, big.NewRat(1024, 1))
	case strings.HasSuffix(metric, "gpu/request"):
		return whole
	}
	return whole.Quo(whole, big.NewRat(gib, 1))
}

// unitOf are the unit of a metric's values, and of its integral.
func unitOf(metric string) (unit, integral string) {
	switch {
	case metric == "cpu/usage":
		return "ns", "ns"
	case metric == "uptime":
		return "ms", "ms"
	case isCounter(metric):
		return "bytes", "bytes"
	case strings.HasPrefix(metric, "cpu/"):
		return "millicores", "core-hours"
	case metric == "gpu/usage":
		return "MiB", "GiB-hours"
	case strings.HasSuffix(metric, "gpu/request"):
		return "count", "count-hours"
	}
	return "bytes", "GiB-hours"
}

// physical is the integral of CPU use over time itself, in millicore windows, for a pod
// that was sampled all the time: its use at a moment is on the line through the middles of
// windows, and a window's sample is its mean.
func physical(l load, from, to int64) float64 {
	area := 0.0
	for _, p := range l.on([]span{{from, to + 1}}) {
		// The line of p is over the time (p.from-1, p.to-1], in windows' ends.
		begin, end := max(float64(p.from)-1, float64(from)), min(float64(p.to)-1, float64(to))
		if begin < end {
			middle := (begin+end)/2 + 0.5 - float64(p.from)
			area += (end - begin) * (float64(p.first) + float64(p.slope)*middle)
		}
	}
	return area
}
