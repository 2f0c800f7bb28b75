package process

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

const (
	second = int64(time.Second)
	began  = int64(1_700_000_000) * second
)

// reading is one reading of a counter.
type reading struct {
	value, at, start int64
	nano             int64 // the kubelet's own rate; -1 if it gave none
}

// rateOf returns the rate id between two readings in windows of 60 s.
func rateOf(id metrics.ID, before, now reading) (float64, bool) {
	b := newBatches()
	d := metrics.Describe(id)
	put := func(r reading) metrics.Ref {
		ref := b.container("ns", "pod", "c")
		b.set(ref, int64(metrics.StartTime), r.start, int64(d.RateTime), r.at, int64(d.RateOf), r.value)
		if r.nano >= 0 {
			b.set(ref, int64(metrics.CPUNanoCores), r.nano)
		}
		return ref
	}
	b.next(0)
	put(before)
	prev := b.next(60)
	ref := put(now)
	Rates(prev, b.Batch)
	return b.Tables[ref.Kind].Column(id).Number(ref.Row)
}

func TestRates(t *testing.T) {
	f := func(id metrics.ID, from, to, elapsed int64, want float64) {
		t.Helper()
		got, ok := rateOf(id, reading{from, began, began - second, -1}, reading{to, began + elapsed, began - second, -1})
		if want < 0 && ok || want >= 0 && (!ok || got != want) {
			t.Errorf("%s of %d to %d in %v: %v (%v), want %v", metrics.Describe(id).Name, from, to, time.Duration(elapsed), got, ok, want)
		}
	}
	const none = -1
	f(metrics.CPUUsageRate, 947130377781, 948071062732, 60*second, 15)
	f(metrics.NetworkTxErrorsRate, 0, 120, 60*second, 2)
	f(metrics.CPUUsageRate, 0, 119_999_999, 60*second, 1)      // truncated
	f(metrics.CPUUsageRate, 100, 99, 60*second, none)          // fell
	f(metrics.NetworkRxRate, 100, 99, 60*second, none)         // fell
	f(metrics.CPUUsageRate, -5, 5, 60*second, none)            // was negative
	f(metrics.CPUUsageRate, 0, 100, 0, none)                   // time stood still
	f(metrics.CPUUsageRate, 0, 100, -second, none)             // time went back
	f(metrics.CPUUsageRate, 0, 60e9, 1, none)                  // the clock was set back, nearly as far as it went
	f(metrics.CPUUsageRate, 0, 60e9, 2*second, none)           // as well: it would be 30 cores
	f(metrics.CPUUsageRate, 0, 60e9, 3600*second, none)        // the clock was set forward
	f(metrics.CPUUsageRate, 0, 60e9, 50*second, 1200)          // the kubelet read a little late before
	f(metrics.CPUUsageRate, 0, math.MaxInt64, 60*second, none) // garbage
	f(metrics.NetworkRxRate, 0, math.MaxInt64, 60*second, none)
}

func TestRatesOfWhatStartedAnew(t *testing.T) {
	before := reading{value: 5e9, at: began, start: began - 100*second, nano: -1}
	now := reading{value: 9e9, at: began + 60*second, start: began + second, nano: -1}
	if rate, ok := rateOf(metrics.CPUUsageRate, before, now); ok {
		t.Errorf("a restarted container has the rate %v of two lives", rate)
	}
	now.nano = 66_999_999
	if rate, ok := rateOf(metrics.CPUUsageRate, before, now); !ok || rate != 66 {
		t.Errorf("a restarted container has rate %v (%v), want the kubelet's own, 66", rate, ok)
	}
	now.start = before.start
	if rate, _ := rateOf(metrics.CPUUsageRate, before, now); rate != 66 { // 4e9 in 60 s
		t.Errorf("rate is %v, want 66", rate)
	}
	now.value = 1e9 // fell, so that the kubelet's own rate may be as wrong
	if rate, ok := rateOf(metrics.CPUUsageRate, before, now); ok {
		t.Errorf("a counter that fell has rate %v", rate)
	}
}

// Sections have times of their own: a network that was read at another time than
// CPU, or a disk.
func TestRatesBySection(t *testing.T) {
	b := newBatches()
	put := func(cpuAt, netAt, n int64) (pod, disk metrics.Ref) {
		pod = b.pod("ns", "pod")
		b.set(
			pod, int64(metrics.CPUTime), began+cpuAt*second, int64(metrics.CPUUsage), n*second,
			int64(metrics.NetworkTime), began+netAt*second, int64(metrics.NetworkRx), n*1000,
		)
		disk = metrics.Ref{Kind: metrics.Disk, Row: b.Row(metrics.Disk, pod, "resource_id:8:0")}
		b.set(disk, int64(metrics.DiskTime), began+netAt*second, int64(metrics.DiskReadBytes), n*1000)
		return pod, disk
	}
	b.next(0)
	put(0, 0, 0)
	prev := b.next(30)
	pod, disk := put(25, 40, 1)
	Rates(prev, b.Batch)
	has(t, b.Batch, pod, metrics.CPUUsageRate, 40)
	hasFloat(t, b.Batch, pod, metrics.NetworkRxRate, 25)
	hasFloat(t, b.Batch, disk, metrics.DiskReadBytesRate, 25)
}

func TestRatesNeedABatchBefore(t *testing.T) {
	b := newBatches()
	b.next(30)
	ref := b.node("n")
	b.set(ref, int64(metrics.CPUTime), began, int64(metrics.CPUUsage), 0)
	late := b.next(30)
	ref = b.node("n")
	b.set(ref, int64(metrics.CPUTime), began+30*second, int64(metrics.CPUUsage), second, int64(metrics.CPUNanoCores), 5e6)
	Rates(late, b.Batch)
	lacks(t, b.Batch, ref, metrics.CPUUsageRate)
	if b.Tables[metrics.Node].Column(metrics.CPUUsageRate) != nil {
		t.Error("there is a column of rates")
	}
}

func TestKubeletsOwnRate(t *testing.T) {
	for nano, want := range map[int64]int64{0: 0, 1_999_999: 1, 250_000_000: 250, -5e6: -1, math.MaxInt64: -1, math.MinInt64: -1} {
		b := newBatches()
		b.next(0)
		ref := b.node("n")
		b.set(ref, int64(metrics.CPUNanoCores), nano)
		Rates(nil, b.Batch)
		if want < 0 {
			lacks(t, b.Batch, ref, metrics.CPUUsageRate)
		} else {
			has(t, b.Batch, ref, metrics.CPUUsageRate, want)
		}
	}
}

// Whatever counters, clocks and starts do, no rate is negative or absurd.
func TestRatesAreNeverAbsurd(t *testing.T) {
	any64 := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, 1, -1, math.MaxInt64, math.MinInt64, began, began + 1, began + 60*second}), rapid.Int64Range(began-3600*second, began+3600*second))
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) reading {
			return reading{any64.Draw(t, label), any64.Draw(t, label+" at"), rapid.SampledFrom([]int64{0, 1, began}).Draw(t, label+" start"), any64.Draw(t, label+" nano")}
		}
		before, now := draw("before"), draw("now")
		for _, id := range []metrics.ID{metrics.CPUUsageRate, metrics.NetworkRxRate, metrics.MemoryPageFaultsRate} {
			rate, ok := rateOf(id, before, now)
			most := float64(maxPerSecond)
			if id == metrics.CPUUsageRate {
				most = maxCores * 1000
			}
			if ok && (math.IsNaN(rate) || rate < 0 || rate > most) {
				t.Fatalf("%s is %v", metrics.Describe(id).Name, rate)
			}
			// A rate is of one life and of a clock that went on.
			if ok && before.start == now.start && (now.value < before.value || now.at <= before.at) {
				t.Fatalf("%s is %v of a counter that fell or at a time that stood", metrics.Describe(id).Name, rate)
			}
		}
	})
}
