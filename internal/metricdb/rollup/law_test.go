package rollup

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// history makes batches of a few hours, or of days: with gaps, changes of the resolution,
// counters that begin anew, names that are used again, labels that change, and late batches.
type history struct {
	begin    time.Time
	days     bool // fewer batches, of more than a day
	t        *rapid.T
	db       *dbtest.Memory
	clusters []string
	late     []func()
	hours    int
	counters map[string]int64
	uids     map[string]string
	labels   map[string]string
}

func (h *history) run() {
	n := 0
	for _, cluster := range h.clusters {
		every, last := 10*time.Minute, time.Time{}
		change, choice := 30*time.Minute, []time.Duration{5 * time.Minute, 10 * time.Minute, 10 * time.Minute, 15 * time.Minute}
		if h.days {
			every, change, choice = time.Hour, 3*time.Hour, []time.Duration{20 * time.Minute, time.Hour, time.Hour, 90 * time.Minute}
		}
		for at := h.begin; at.Before(h.begin.Add(time.Duration(h.hours) * time.Hour)); at = at.Add(every) {
			if at.Sub(h.begin)%change == 0 {
				every = rapid.SampledFrom(choice).Draw(h.t, "every")
			}
			if !at.After(last) { // each window has one batch
				continue
			}
			last = at
			switch fate := rapid.IntRange(0, 11).Draw(h.t, "fate"); {
			case fate == 0: // a gap
				at = at.Add(time.Duration(rapid.IntRange(0, 15).Draw(h.t, "gap")) * 10 * time.Minute).Truncate(every)
			case fate <= 2:
				write := h.batch(cluster, at, every, n)
				h.late = append(h.late, write)
			default:
				h.batch(cluster, at, every, n)()
			}
			n++
		}
	}
}

// batch makes a batch, and returns what writes it.
func (h *history) batch(cluster string, at time.Time, every time.Duration, n int) func() {
	type row struct {
		metric string
		value  int64
		tags   metricdb.Tags
	}
	var rows []row
	for _, name := range []string{"a", "b"} {
		if rapid.IntRange(0, 4).Draw(h.t, "absent") == 0 {
			continue
		}
		key := cluster + name
		fate := rapid.IntRange(0, 9).Draw(h.t, "change")
		if h.uids[key] == "" || fate == 0 {
			h.uids[key], h.counters[key] = fmt.Sprintf("%s-%d", name, n), 0
		}
		if fate == 1 {
			h.labels[key] = rapid.SampledFrom([]string{"", "x:1", "a:2"}).Draw(h.t, "labels")
		}
		if fate == 2 {
			h.counters[key] = 0
		}
		h.counters[key] += rapid.Int64Range(0, 1000).Draw(h.t, "up")
		is := podTags(cluster, "ns", name, h.uids[key], h.labels[key])
		gauge := rapid.SampledFrom([]int64{0, 1, 7, 250, 1 << 40, math.MaxInt64 / 2, -3}).Draw(h.t, "gauge")
		rows = append(rows, row{"cpu/usage_rate", gauge, is}, row{"network/rx", h.counters[key], is},
			row{"network/rx_rate", metrics.FloatBits(float64(gauge%1000) / 7), is})
		if fate != 3 {
			rows = append(rows, row{"cpu/request", rapid.Int64Range(0, 300).Draw(h.t, "request"), is})
		}
	}
	return func() {
		h.db.Batch(cluster, at, every, 0)
		for _, r := range rows {
			h.db.Put(r.metric, metrics.Pod, at, r.value, r.tags)
		}
	}
}

func rolledInTests() []Rolled {
	var all []Rolled
	for _, metric := range []string{"cpu/usage_rate", "network/rx", "network/rx_rate"} {
		all = append(all, Rolled{metric, []metrics.Kind{metrics.Pod}})
	}
	return all
}

// TestAnswersEqualSamples: whatever was rolled up when, the answer is what samples
// alone say.
func TestAnswersEqualSamples(t *testing.T) {
	used := map[time.Duration]int{}
	rapid.Check(t, func(t *rapid.T) {
		h := &history{
			begin: t0, t: t, db: dbtest.NewMemory(), hours: rapid.IntRange(2, 7).Draw(t, "hours"), clusters: []string{"one", "two"}[:rapid.IntRange(1, 2).Draw(t, "clusters")],
			counters: map[string]int64{}, uids: map[string]string{}, labels: map[string]string{},
		}
		if h.days = rapid.Bool().Draw(t, "days"); h.days {
			h.hours = rapid.IntRange(24, 60).Draw(t, "hours of days")
			h.begin = t0.Add(time.Duration(rapid.IntRange(0, 23).Draw(t, "begin")) * time.Hour)
		}
		h.run()
		rolled := rolledInTests()
		first := engineAt(h.db, h.begin.Add(time.Duration(rapid.IntRange(0, 60*h.hours+60).Draw(t, "now"))*time.Minute), rolled...)
		if err := first.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, write := range h.late {
			if rapid.Bool().Draw(t, "comes") {
				write()
			}
		}
		if rapid.Bool().Draw(t, "mend") { // by another instance, or by one that was started anew
			if err := engineAt(h.db, h.begin.Add(time.Duration(h.hours+rapid.SampledFrom([]int{1, 24}).Draw(t, "after"))*time.Hour), rolled...).Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 6 {
			compare(t, h, used)
		}
	})
	if (used[hour] == 0 || used[day] == 0) && !t.Failed() {
		t.Errorf("of the roll-ups some were not used: %v", used)
	}
}

// compare asks something, and counts what the answers came from.
func compare(t *rapid.T, h *history, used map[time.Duration]int) {
	minutes := 60 * h.hours
	from := rapid.IntRange(-30, minutes).Draw(t, "from")
	to := rapid.IntRange(from+1, minutes+90).Draw(t, "to")
	if rapid.Bool().Draw(t, "whole") {
		from, to = from/60*60, from/60*60+60*rapid.IntRange(1, h.hours+1).Draw(t, "long")
	} else if h.days && rapid.Bool().Draw(t, "all") {
		from, to = -60*24, 60*24*4
	}
	q := metricdb.Query{
		Metric: rapid.SampledFrom([]string{"cpu/usage_rate", "network/rx", "network/rx_rate"}).Draw(t, "metric"), Level: metrics.Pod,
		From: h.begin.Add(time.Duration(from) * time.Minute), To: h.begin.Add(time.Duration(to) * time.Minute),
		Where: rapid.SampledFrom([][]metricdb.Match{
			nil,
			{metricdb.Is("pod_name", "a")},
			{metricdb.IsNot("labels", "x:1")},
			{metricdb.Is("cluster_name", "one")},
			{metricdb.Is("type", "pod")},
			{metricdb.IsNot("cluster_name", "one")},
			{metricdb.Is("unknown", "")},
		}).Draw(t, "where"),
	}
	g := metricdb.Grouping{
		By:     rapid.SampledFrom([][]string{nil, {"pod_name"}, {"pod_id", "namespace_name"}, {"labels"}, {"type", "cluster_name"}}).Draw(t, "by"),
		Bucket: rapid.SampledFrom([]time.Duration{0, 0, time.Hour, 2 * time.Hour, 40 * time.Minute, day, 2 * day}).Draw(t, "bucket"),
		Span:   rapid.Bool().Draw(t, "span"), Increase: q.Metric == "network/rx" && rapid.Bool().Draw(t, "increase"),
		SkipMin: rapid.IntRange(0, 4).Draw(t, "skip") == 0, Median: rapid.IntRange(0, 9).Draw(t, "median") == 0,
	}
	want, err := h.db.Aggregate(t.Context(), q, g)
	if err != nil {
		t.Fatal(err)
	}
	got, cover, err := ask(t, h.db, q, g)
	if err != nil {
		t.Fatal(err)
	}
	near := cmpopts.EquateApprox(1e-12, 1e-9)
	// A set's own sum may be beyond int64, and so a float, where that of its group is not.
	totals := cmp.Comparer(func(a, b metricdb.Total) bool {
		if a.Exact && b.Exact {
			return a.Int == b.Int
		}
		return cmp.Equal(a.Number(), b.Number(), near)
	})
	if diff := cmp.Diff(want, got, near, totals, cmpopts.IgnoreFields(metricdb.Group{}, "Sets"), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%+v %+v (-samples +answer):\n%s", q, g, diff)
	}
	samples := int64(0)
	for i := range want {
		samples += want[i].Count
		if cover.Each[i].Samples != want[i].Count || cover.Each[i].Expected < want[i].Count {
			t.Fatalf("coverage %+v of %+v", cover.Each[i], want[i])
		}
	}
	if cover.Samples != samples {
		t.Fatalf("coverage says %d samples, there are %d", cover.Samples, samples)
	}
	if q.Metric == "cpu/usage_rate" {
		compareBilled(t, h, q, g.By)
	}
	for _, part := range planOf(t, h.db, q, g).parts {
		used[part.span]++
	}
}

// ask asks alone, or as one of many questions.
func ask(t *rapid.T, db metricdb.DB, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, Coverage, error) {
	if rapid.Bool().Draw(t, "alone") {
		return Answer(t.Context(), db, q, g)
	}
	v, err := Open(t.Context(), db, q.From, q.To, q.Where...)
	if err != nil {
		t.Fatal(err)
	}
	if q.Metric == "cpu/usage_rate" && rapid.Bool().Draw(t, "billed before") {
		if _, err := v.Billed(t.Context(), q.Metric, q.Level); err != nil {
			t.Fatal(err)
		}
	}
	return v.Answer(t.Context(), q.Metric, q.Level, g)
}

// compareBilled compares what is billed with what plain arithmetic says.
func compareBilled(t *rapid.T, h *history, q metricdb.Query, by []string) {
	most := map[string]metricdb.Point{}
	for _, metric := range []string{"cpu/usage_rate", "cpu/request"} {
		q := q
		q.Metric = metric
		for s := range h.db.Points(t.Context(), q, 0) {
			key := s.Tags.Key() + s.Time.String()
			if was, ok := most[key]; !ok || was.Value.Bits < s.Value.Bits {
				most[key] = s
			}
		}
	}
	resolutions, err := h.db.Resolutions(t.Context(), "", q.From, q.To)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]timeline{}
	for _, r := range resolutions {
		lines[r.Cluster] = append(lines[r.Cluster], r)
	}
	want := map[string]float64{}
	for _, s := range most {
		every := lines[s.Tags.Get("cluster_name")].at(s.Time.UnixNano())
		want[s.Tags.Only(sorted(by)).Key()] += float64(s.Value.Bits) * every.Seconds()
	}
	groups, err := Billed(t.Context(), h.db, q, by...)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for i := range groups {
		got[groups[i].Tags.Key()] = groups[i].Integral()
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 1e-6), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("billed of %+v by %v (-want +got):\n%s", q, by, diff)
	}
}
