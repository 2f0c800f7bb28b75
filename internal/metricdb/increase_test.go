package metricdb

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// seen is a sample of the law's own memory.
type seen struct {
	at, value  int64
	pod, label string
}

func (s *seen) tags() Tags {
	return MakeTags(
		metrics.Label{Key: TagType, Value: "pod"}, metrics.Label{Key: TagCluster, Value: "c"}, metrics.Label{Key: TagNamespace, Value: "n"},
		metrics.Label{Key: TagPod, Value: s.pod}, metrics.Label{Key: TagPodID, Value: s.pod}, metrics.Label{Key: TagLabels, Value: s.label},
	)
}

// TestIncreaseGoesByTime: whatever the order in which runs of sets with changing tags
// come, the increase is what the samples give in the order of time.
func TestIncreaseGoesByTime(t *testing.T) {
	const begin, end, hour = int64(100), int64(400), int64(100)
	value := rapid.OneOf(rapid.Int64Range(0, 50), rapid.Int64Range(0, 50), rapid.SampledFrom([]int64{0, math.MaxInt64, math.MinInt64, 1 << 53}))
	rapid.Check(t, func(t *rapid.T) {
		var all []seen
		for pod := range rapid.IntRange(1, 3).Draw(t, "pods") {
			for _, at := range rapid.SliceOfNDistinct(rapid.Int64Range(0, 500), 1, 30, rapid.ID[int64]).Draw(t, "times") {
				all = append(all, seen{at, value.Draw(t, "value"), fmt.Sprint("p", pod), rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "label")})
			}
		}
		by := rapid.SampledFrom([][]string{nil, {TagLabels}, {TagPod}, {TagPod, TagLabels}, {TagLabels, TagPod}}).Draw(t, "by")
		bucket := rapid.SampledFrom([]int64{0, 70, 100}).Draw(t, "bucket")
		q := Query{Metric: "cpu/usage", Level: metrics.Pod, From: time.Unix(0, begin), To: time.Unix(0, end)}
		r := NewReducer(q, Grouping{By: by, Bucket: time.Duration(bucket), Increase: true}, nil)
		if rapid.Bool().Draw(t, "by the hour") {
			for from := int64(0); from < 600; from += hour {
				addShuffled(t, r, all, from, from+hour)
				r.Passed(from + hour)
			}
		} else {
			addShuffled(t, r, all, 0, 600)
		}
		want := byHand(all, by, begin, end, bucket)
		got := r.Groups()
		if len(got) != len(want) {
			t.Fatalf("%d groups, want %d", len(got), len(want))
		}
		for _, g := range got {
			key := g.Tags.Key() + g.Time.String()
			w := want[key]
			if w == nil {
				t.Fatalf("no group %q is wanted", key)
			}
			exact := new(big.Int)
			if g.Increase.Exact {
				exact.SetInt64(g.Increase.Int)
			} else {
				new(big.Float).SetFloat64(g.Increase.Float).Int(exact)
			}
			if g.Increase.Exact != w.rise.IsInt64() || g.Increase.Exact && exact.Cmp(w.rise) != 0 || g.Increase.Float != 0 && relative(exact, w.rise) > 1e-12 {
				t.Fatalf("%v %v: increase %v, want %v", g.Tags, g.Time, g.Increase, w.rise)
			}
			if g.Sets != len(w.pods) || g.Count != w.count {
				t.Fatalf("%v %v: %d sets with %d samples, want %d with %d", g.Tags, g.Time, g.Sets, g.Count, len(w.pods), w.count)
			}
		}
	})
}

func relative(a, b *big.Int) float64 {
	x, _ := new(big.Float).SetInt(a).Float64()
	y, _ := new(big.Float).SetInt(b).Float64()
	return math.Abs(x-y) / max(math.Abs(y), 1)
}

// addShuffled adds the samples of an hour: runs of equal tags ascend, and come in any order.
func addShuffled(t *rapid.T, r *Reducer, all []seen, from, to int64) {
	runs := map[string]*Run{}
	var keys []string
	sorted := slices.SortedFunc(slices.Values(all), func(a, b seen) int { return cmp.Compare(a.at, b.at) })
	for _, s := range sorted {
		if s.at < from || s.at >= to {
			continue
		}
		tags := s.tags()
		run := runs[tags.Key()]
		if run == nil {
			run = &Run{Tags: tags}
			runs[tags.Key()] = run
			keys = append(keys, tags.Key())
		}
		run.Times, run.Values = append(run.Times, s.at), append(run.Values, s.value)
	}
	if !r.wait {
		// Such runs are asked for without the label: one run a set.
		for _, s := range sorted {
			if s.at >= from && s.at < to {
				r.Add(&Run{Tags: s.tags(), Times: []int64{s.at}, Values: []int64{s.value}})
			}
		}
		return
	}
	for _, key := range rapid.Permutation(keys).Draw(t, "order") {
		r.Add(runs[key])
	}
}

type wanted struct {
	rise  *big.Int
	pods  map[string]bool
	count int64
}

func byHand(all []seen, by []string, begin, end, bucket int64) map[string]*wanted {
	last := map[string]int64{}
	groups := map[string]*wanted{}
	for _, s := range slices.SortedFunc(slices.Values(all), func(a, b seen) int { return cmp.Compare(a.at, b.at) }) {
		before, known := last[s.pod]
		last[s.pod] = s.value
		if s.at < begin || s.at >= end {
			continue
		}
		at := begin
		if bucket > 0 {
			at = s.at - s.at%bucket
		}
		key := s.tags().Only(slices.Sorted(slices.Values(by))).Key() + time.Unix(0, at).UTC().String()
		g := groups[key]
		if g == nil {
			g = &wanted{rise: new(big.Int), pods: map[string]bool{}}
			groups[key] = g
		}
		g.count++
		g.pods[s.pod] = true
		if known {
			rise := big.NewInt(s.value)
			if s.value >= before {
				rise.Sub(rise, big.NewInt(before))
			}
			g.rise.Add(g.rise, rise)
		}
	}
	return groups
}
