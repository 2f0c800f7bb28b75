package figures

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Window says when KRM reads the kubelet for a point: between From and To after the
// point's time.
type Window struct{ From, To time.Duration }

// Check is the comparison of one series.
type Check struct {
	Key       Key
	KRM       float64 // the last value, or the mean rate
	Kubelet   float64
	Points    int     // of KRM's that were compared
	Deviation float64 // the worst, as a share of the kubelet's value
	Worst     string  // where that was
	Fault     string  // why it could not be compared, though it should
}

func (c Check) String() string {
	if c.Fault != "" {
		return fmt.Sprintf("%s: %s", c.Key, c.Fault)
	}
	return fmt.Sprintf("%s: KRM %.4g, kubelet %.4g, %.2f %% apart in %d points%s", c.Key, c.KRM, c.Kubelet, 100*c.Deviation, c.Points, c.Worst)
}

// Compare compares every series of the kubelet's, and its rate, with the points that
// KRM has at the given times. There must be at least two. What a counter did before
// the first time does not matter.
func Compare(kubelet map[Key]History, krm map[Key][]Point, times []time.Time, window Window) []Check {
	var checks []Check
	for key, history := range kubelet {
		c := comparison{key: key, history: history, times: times, window: window}
		if !counted(key.Metric) {
			if check, ok := c.gauge(krm[key]); ok {
				checks = append(checks, check)
			}
			continue
		}
		name, factor, _ := rateOf(key.Metric)
		rate := key
		rate.Metric = name
		checks = append(checks, c.counter(krm[key], krm[rate], rate, factor)...)
	}
	slices.SortFunc(checks, func(a, b Check) int { return a.Key.Compare(b.Key) })
	return checks
}

type comparison struct {
	key     Key
	history History
	times   []time.Time
	window  Window
}

// candidates are the samples of which KRM must have read one for the point at t. None,
// if the kubelet did not know the series yet.
func (c comparison) candidates(t time.Time) History {
	seen := c.history.visible(t.Add(c.window.From), t.Add(c.window.To))
	if len(seen) == 0 || seen[0].Seen.After(t.Add(c.window.From)) {
		return nil
	}
	return seen
}

// nearest returns the candidate for the point at t that is nearest to value, and how
// far apart they are. A counter also had every value between two candidates.
func (c comparison) nearest(t time.Time, value float64) (best Sample, deviation float64) {
	deviation = math.Inf(1)
	candidates := c.candidates(t)
	for i, s := range candidates {
		if i > 0 && counted(c.key.Metric) && candidates[i-1].Value < value && value < s.Value {
			return between(candidates[i-1], s, value), 0
		}
		if d := apart(value, s.Value); d < deviation {
			best, deviation = s, d
		}
	}
	return best, deviation
}

// between is the sample that a counter had when it was at value.
func between(a, b Sample, value float64) Sample {
	share := (value - a.Value) / (b.Value - a.Value)
	return Sample{At: a.At.Add(time.Duration(share * float64(b.At.Sub(a.At)))), Seen: b.Seen, Value: value}
}

// apart is the difference as a share of want. What is rounded to whole numbers may
// differ by one.
func apart(got, want float64) float64 {
	difference := math.Abs(got - want)
	if difference <= 1 {
		return 0
	}
	if want == 0 {
		return 1
	}
	return (difference - 1) / math.Abs(want)
}

func (c comparison) gauge(points []Point) (Check, bool) {
	check := Check{Key: c.key}
	for _, t := range c.times {
		if len(c.candidates(t)) == 0 {
			continue
		}
		point, ok := at(points, t)
		if !ok {
			check.Fault = missing(t)
			return check, true
		}
		sample, deviation := c.nearest(t, point.Value)
		check.note(c, point, sample, deviation)
	}
	return check, check.Points > 0
}

// counter checks a counter's own points, and its rate: the mean of KRM's over all
// windows against the change of the kubelet's counter from the first to the last.
//
// The Summary's times are whole seconds, so that a single rate may be wrong by a
// second's share of its window: only over several windows it must be right.
func (c comparison) counter(points, rates []Point, rate Key, factor float64) []Check {
	own, mean := Check{Key: c.key}, Check{Key: rate}
	var first, last, previous Sample
	var weighted float64
	for _, t := range c.times {
		if len(c.candidates(t)) == 0 {
			continue
		}
		point, ok := at(points, t)
		if !ok {
			own.Fault = missing(t)
			return []Check{own}
		}
		sample, deviation := c.nearest(t, point.Value)
		own.note(c, point, sample, deviation)
		if own.Points == 1 {
			first, last, previous = sample, sample, sample
			continue
		}
		if !sample.At.After(previous.At) {
			continue // the kubelet had measured nothing new
		}
		r, ok := at(rates, t)
		if !ok {
			mean.Fault = missing(t)
			return []Check{own, mean}
		}
		mean.Points++
		weighted += r.Value * sample.At.Sub(previous.At).Seconds()
		last, previous = sample, sample
	}
	if own.Points == 0 {
		return nil
	}
	took := last.At.Sub(first.At).Seconds()
	if mean.Points == 0 || took <= 0 {
		return []Check{own}
	}
	mean.KRM = weighted / took
	mean.Kubelet = (last.Value - first.Value) / took * factor
	if mean.Kubelet < least(rate.Metric) && mean.KRM < 2*least(rate.Metric) {
		return []Check{own} // both say: next to nothing
	}
	mean.Deviation = apart(mean.KRM, mean.Kubelet)
	return []Check{own, mean}
}

// note adds the comparison of one point.
func (c *Check) note(of comparison, point Point, sample Sample, deviation float64) {
	c.Points++
	c.KRM, c.Kubelet = point.Value, sample.Value
	if deviation <= c.Deviation {
		return
	}
	c.Deviation = deviation
	c.Worst = fmt.Sprintf(", at %s KRM says %.10g and the kubelet", point.At.UTC().Format("15:04:05"), point.Value)
	for _, s := range of.candidates(point.At) {
		c.Worst += fmt.Sprintf(" %.10g (measured %s, seen %s)", s.Value, s.At.UTC().Format("15:04:05.0"), s.Seen.UTC().Format("15:04:05.0"))
	}
}

func missing(t time.Time) string {
	return fmt.Sprintf("the kubelet has it at %s and KRM has not", t.UTC().Format("15:04:05"))
}

// at returns the point with that time.
func at(points []Point, t time.Time) (Point, bool) {
	for _, p := range points {
		if p.At.Equal(t) {
			return p, true
		}
	}
	return Point{}, false
}
