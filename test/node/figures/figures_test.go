package figures

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var (
	zero   = time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	cpu    = Key{Kind: Pod, Namespace: "burn", Pod: "cpu", Metric: "cpu/usage"}
	rate   = Key{Kind: Pod, Namespace: "burn", Pod: "cpu", Metric: "cpu/usage_rate"}
	memory = Key{Kind: Pod, Namespace: "burn", Pod: "cpu", Metric: "memory/rss"}
	window = Window{From: 4 * time.Second, To: 8 * time.Second}
)

func after(seconds float64) time.Time {
	return zero.Add(time.Duration(seconds * float64(time.Second)))
}

// history is of a kubelet that measures every twelve seconds, and of a reader that sees
// it half a second later.
func history(value func(seconds float64) float64) (h History) {
	for s := -1.0; s < 100; s += 12 {
		h = h.add(Sample{At: after(s), Seen: after(s + 0.5), Value: value(s)})
	}
	return h
}

// scene is a pod of 250 millicores whose memory grows, as the kubelet tells, and as KRM
// does that reads it five seconds after each window of 30 s.
func scene() (map[Key]History, map[Key][]Point, []time.Time) {
	use := func(s float64) float64 { return 1e9 + s*250e6 }
	grow := func(s float64) float64 { return 1e6 + 1e5*s }
	kubelet := map[Key]History{cpu: history(use), memory: history(grow)}
	krm := map[Key][]Point{}
	times := []time.Time{after(0), after(30), after(60)}
	for i, measured := range []float64{-1, 35, 59} { // at 5, 35.4 and 65 s
		krm[cpu] = append(krm[cpu], Point{times[i], use(measured)})
		krm[memory] = append(krm[memory], Point{times[i], grow(measured)})
		if i > 0 {
			krm[rate] = append(krm[rate], Point{times[i], 249})
		}
	}
	return kubelet, krm, times
}

func TestCompare(t *testing.T) {
	kubelet, krm, times := scene()
	checks := Compare(kubelet, krm, times, window)
	if len(checks) != 3 {
		t.Fatalf("got %d checks: %v", len(checks), checks)
	}
	for i, want := range []Key{cpu, rate, memory} {
		c := checks[i]
		if c.Key != want || c.Fault != "" || c.Deviation > 0.001 {
			t.Errorf("check %d, of %s: %s", i, want, c)
		}
	}
}

func TestCompareFinds(t *testing.T) {
	f := func(name string, key Key, spoil func([]Point) []Point, least, most float64) {
		t.Helper()
		kubelet, krm, times := scene()
		krm[key] = spoil(krm[key])
		worst := 0.0
		for _, c := range Compare(kubelet, krm, times, window) {
			if c.Fault != "" {
				worst = math.Inf(1)
			}
			worst = max(worst, c.Deviation)
		}
		if worst < least || worst > most {
			t.Errorf("%s: the worst is %.3f, want %.3f to %.3f", name, worst, least, most)
		}
	}
	scale := func(by float64) func([]Point) []Point {
		return func(points []Point) []Point {
			for i := range points {
				points[i].Value *= by
			}
			return points
		}
	}
	f("as it is", cpu, scale(1), 0, 0.001)
	f("a rate that is 10 % too high", rate, scale(1.1), 0.08, 0.1)
	f("a negative rate", rate, scale(-1), 1.9, 2.1)
	f("a gauge that is 6 % too low", memory, scale(0.94), 0.05, 0.06)
	f("a counter that is 6 % too high", cpu, scale(1.06), 0.05, 0.06)
	f("no counter", cpu, scale(0), 0.9, 1)
	nothing := func([]Point) []Point { return nil }
	f("missing rate", rate, nothing, math.Inf(1), math.Inf(1))
	f("missing gauge", memory, nothing, math.Inf(1), math.Inf(1))
	f("missing counter", cpu, nothing, math.Inf(1), math.Inf(1))
	f("points of the window before", memory, func(points []Point) []Point {
		for i := range points[1:] {
			points[len(points)-1-i].Value = points[len(points)-2-i].Value
		}
		return points
	}, 0.3, 1)
}

// KRM may have read a counter that we saw only before and after.
func TestCompareBetween(t *testing.T) {
	kubelet := map[Key]History{cpu: {
		{At: after(3), Seen: after(3), Value: 1e9},
		{At: after(7), Seen: after(7.5), Value: 2e9},
		{At: after(34), Seen: after(34), Value: 8.75e9},
		{At: after(38), Seen: after(38.5), Value: 9.75e9},
	}}
	krm := map[Key][]Point{cpu: {{after(0), 1.5e9}, {after(30), 9e9}}, rate: {{after(30), 250}}}
	for _, c := range Compare(kubelet, krm, []time.Time{after(0), after(30)}, window) {
		if c.Deviation > 0.001 || c.Fault != "" {
			t.Errorf("%s", c)
		}
	}
}

// What the kubelet did not know yet, or measured only once, KRM need not have.
func TestCompareAsksNothingImpossible(t *testing.T) {
	kubelet, krm, times := scene()
	late := Key{Kind: Pod, Namespace: "burn", Pod: "late", Metric: "cpu/usage"}
	kubelet[late] = History{{At: after(95), Seen: after(95.5), Value: 1e9}}
	stuck := Key{Kind: Pod, Namespace: "burn", Pod: "stuck", Metric: "cpu/usage"}
	kubelet[stuck] = History{{At: after(-1), Seen: after(-0.5), Value: 1e9}}
	krm[stuck] = []Point{{times[0], 1e9}, {times[1], 1e9}, {times[2], 1e9}}
	for _, c := range Compare(kubelet, krm, times, window) {
		if c.Key.Pod == "late" || c.Fault != "" || c.Deviation > 0.001 {
			t.Errorf("%s", c)
		}
	}
}

func TestAbsurd(t *testing.T) {
	capacity := Capacity{Millicores: 2000, Memory: 1 << 30, Bytes: 1 << 20}
	f := func(metric string, value float64, absurd bool) {
		t.Helper()
		series := map[Key][]Point{{Kind: Node, Metric: metric}: {{zero, value}}}
		if found := Absurd(series, capacity); (len(found) > 0) != absurd {
			t.Errorf("%s %g: found %v", metric, value, found)
		}
	}
	f("cpu/usage_rate", 2000, false)
	f("cpu/usage_rate", 2300, true)
	f("cpu/usage_rate", -1, true)
	f("cpu/usage_rate", math.NaN(), true)
	f("cpu/usage", 1e15, false)
	f("cpu/usage", math.MaxUint64-1000, true)
	f("network/rx_rate", 1<<19, false)
	f("network/rx_rate", 1<<22, true)
	f("network/rx_errors_rate", 1, true)
	f("memory/working_set", 1<<31, true)
	f("memory/page_faults_rate", 5000, false)
	f("memory/major_page_faults_rate", 1e8, true)
}

func TestRecord(t *testing.T) {
	const text = `
container_cpu_usage_seconds_total{container="main",namespace="burn",pod="cpu"} 5.571133024 1795307979552
container_cpu_usage_seconds_total{container="",cpu="total",id="/krm/kubepods",image="",name="",namespace="",pod=""} 9 1795307979553
container_memory_rss{container="",id="/krm/kubepods/podX/0",image="burn",name="0",namespace="burn",pod="cpu"} 1 1795307979552
container_memory_rss{container="",id="/krm/kubepods/podX",image="",name="",namespace="burn",pod="cpu"} 7 1795307979552
container_memory_rss{container="",id="/system.slice",image="",name="",namespace="",pod=""} 8 1795307979552
container_memory_failures_total{container="main",failure_type="pgfault",id="/x",namespace="burn",pod="cpu",scope="container"} 10 1795307979552
container_memory_failures_total{container="main",failure_type="pgfault",id="/x",namespace="burn",pod="cpu",scope="hierarchy"} 11 1795307979552
container_network_receive_bytes_total{container="",id="/x",interface="eth0",name="0",namespace="burn",pod="cpu"} 12 1795307979552
container_network_receive_bytes_total{container="",id="/x",interface="cni0",name="0",namespace="burn",pod="host"} 13 1795307979552
container_fs_writes_bytes_total{container="main",device="/dev/vda",id="/x",namespace="burn",pod="cpu"} 14 1795307979552
container_fs_writes_bytes_total{container="",device="/dev/vda",id="/x",name="",namespace="burn",pod="cpu"} 15 1795307979552
node_memory_working_set_bytes 16 1795307979552
`
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	k := NewKubelet("", nil, "/krm")
	for range 2 { // the second time nothing is new
		k.record(families, zero)
	}
	k.record(map[string]*dto.MetricFamily{}, zero)
	var got []string
	for key, h := range k.History() {
		if len(h) != 1 {
			t.Errorf("%s has %d samples", key, len(h))
		}
		got = append(got, key.String())
	}
	slices.Sort(got)
	want := []string{
		"container burn/cpu/main cpu/usage", "container burn/cpu/main disk/io_write_bytes{/dev/vda}", "container burn/cpu/main memory/page_faults",
		"node memory/working_set", "pod burn/cpu memory/rss", "pod burn/cpu network/rx", "system container pods cpu/usage",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	key := Key{Kind: Container, Namespace: "burn", Pod: "cpu", Container: "main", Metric: "cpu/usage"}
	if s := k.History()[key][0]; math.Abs(s.Value-5571133024) > 1 || !s.At.Equal(time.UnixMilli(1795307979552)) {
		t.Errorf("got %+v", s)
	}
}
