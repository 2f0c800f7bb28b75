package process

import (
	"math/bits"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// What no machine can do: a kubelet that says so is wrong.
const (
	maxCores     = 100_000
	maxPerSecond = 1e13 // bytes, errors or faults
)

// Rates fills in next's rates: of each counter that both batches have, over the time
// between the two readings of its section. There is none where RateBetween gives
// none (the counter fell, was started anew, or time stood still), where the section's
// clock was set in between (see plausible), or where no machine could have done it.
//
// What prev has no reading of gets the kubelet's own cpu/usage_rate, if it gave one:
// that is a set's first sample, or the first after its node was silent or its
// container restarted. Rates does nothing at all if next is not after prev.
func Rates(prev, next *metrics.Batch) {
	if prev != nil && !next.Time.After(prev.Time) {
		return
	}
	for kind := range metrics.Kinds {
		table := next.Tables[kind]
		if prev == nil {
			firstRates(table, nil)
			continue
		}
		r := rates{before: prev.Tables[kind], now: table, window: next.Time.Sub(prev.Time)}
		r.match()
		for id := range metrics.NumIDs {
			if d := metrics.Describe(id); d.Rate() {
				r.fill(d)
			}
		}
		firstRates(table, r.known)
	}
}

// rates is a table's rates in the making.
type rates struct {
	before, now *metrics.Table
	window      time.Duration
	known       metrics.Bitmap // the rows of the same entity, started at the same time, in both
}

// match finds the rows that can have rates.
func (r *rates) match() {
	r.known = make(metrics.Bitmap, min(len(r.before.Live), len(r.now.Live)))
	for i := range r.known {
		for word := r.before.Live[i] & r.now.Live[i]; word != 0; word &= word - 1 {
			row := metrics.Row(i<<6 + bits.TrailingZeros64(word))
			was, is := &r.before.Entities[row], &r.now.Entities[row]
			if was.Name == is.Name && was.Parent == is.Parent && start(r.before, row) == start(r.now, row) {
				r.known[i] |= word & -word
			}
		}
	}
}

// fill makes the column of the rate d.
func (r *rates) fill(d *metrics.Descriptor) {
	before, now := r.before.Column(d.RateOf), r.now.Column(d.RateOf)
	if before == nil || now == nil {
		return
	}
	var rate *metrics.Column
	for i := range min(len(r.known), len(before.Has), len(now.Has)) {
		for word := r.known[i] & before.Has[i] & now.Has[i]; word != 0; word &= word - 1 {
			row := metrics.Row(i<<6 + bits.TrailingZeros64(word))
			at, ok := r.now.Get(d.RateTime, row)
			wasAt, wasOK := r.before.Get(d.RateTime, row)
			if !ok || !wasOK || !plausible(wasAt, at, r.window) {
				continue
			}
			value, ok := d.RateBetween(
				metrics.Sample{Value: before.Values[row], At: wasAt, Start: start(r.before, row)},
				metrics.Sample{Value: now.Values[row], At: at, Start: start(r.now, row)})
			if !ok || absurd(d, value) {
				continue
			}
			if rate == nil {
				rate = r.now.Make(d)
			}
			rate.Set(row, value)
		}
	}
}

// absurd says that a rate is more than any machine can do.
func absurd(d *metrics.Descriptor, rate int64) bool {
	if d.Float {
		return metrics.BitsFloat(rate) > maxPerSecond
	}
	return rate > maxCores*1000
}

// start is when the row's counters were 0, 0 if that is not known.
func start(t *metrics.Table, row metrics.Row) int64 {
	at, _ := t.Get(metrics.StartTime, row)
	return at
}

// plausible says whether a section's clock can have moved from before to now while
// window went by between the batches. Kubelets read sections every 10 to 15 seconds,
// so that this may be a little off from window to window; but where a clock was set, or
// its reading is garbage, a rate would be off by any factor.
func plausible(before, now int64, window time.Duration) bool {
	elapsed := now - before
	return before > 0 && elapsed > 0 && elapsed >= int64(window)/10 && elapsed <= 2*int64(window)+int64(time.Minute)
}

// firstRates takes the kubelet's own rate where there was nothing to compare with.
func firstRates(table *metrics.Table, known metrics.Bitmap) {
	own := table.Column(metrics.CPUNanoCores)
	if own == nil {
		return
	}
	rate := table.Make(metrics.Describe(metrics.CPUUsageRate))
	for row := range table.Rows {
		nano, ok := own.Get(row)
		if ok && !known.Has(row) && nano >= 0 && nano <= maxCores*1e9 {
			rate.Set(row, nano/1e6)
		}
	}
}
