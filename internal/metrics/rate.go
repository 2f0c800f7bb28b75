package metrics

// Sample is a counter's reading.
type Sample struct {
	Value int64 // the counter
	At    int64 // when its section was read, Unix nanoseconds
	Start int64 // when the counter was 0, Unix nanoseconds; 0 if not known
}

// RateBetween is the rate between two readings of a counter, as the metric d has it: bits
// of a float per second, or for cpu/usage_rate whole millicores, truncated. There
// is none (ok is false) if time did not move on, if the counter fell, or if it was
// started anew in between.
func (d *Descriptor) RateBetween(before, now Sample) (bits int64, ok bool) {
	elapsed, change := now.At-before.At, now.Value-before.Value
	if elapsed <= 0 || change < 0 || now.Start != before.Start || now.Value < 0 || before.Value < 0 {
		return 0, false
	}
	if d.Float {
		return FloatBits(1e9 * float64(change) / float64(elapsed)), true
	}
	// 1000·Δ/Δt in integers. Δ is nanoseconds of CPU: 2^63/1000 of them are 106 days of
	// one core between two readings.
	if change > (1<<63-1)/1000 {
		return 0, false
	}
	return 1000 * change / elapsed, true
}
