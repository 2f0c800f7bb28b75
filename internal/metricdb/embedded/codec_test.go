package embedded

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCodecGivesBackWhatItGot(t *testing.T) {
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	value := rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 1000), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 0, -1, 1 << 53}),
		rapid.Map(rapid.Float64(), func(f float64) int64 { return int64(math.Float64bits(f)) }),
		rapid.Map(rapid.Int64Range(-1000, 1000), func(i int64) int64 { return 4096 * i }))
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(rapid.Int64Range(-1<<40, 1<<40), 1, 40, rapid.ID[int64]).Draw(t, "times")
		slices.Sort(all)
		var columns []column
		var id uint64
		for range rapid.IntRange(1, 20).Draw(t, "series") {
			id += rapid.Uint64Range(1, 1000).Draw(t, "id")
			one := column{id: id}
			has := rapid.SliceOfN(rapid.Bool(), len(all), len(all)).Draw(t, "has")
			has[0] = has[0] || !slices.Contains(has, true)
			for i, at := range all {
				if has[i] {
					one.times, one.values = append(one.times, at), append(one.values, value.Draw(t, "value"))
				}
			}
			columns = append(columns, one)
		}
		skip := rapid.Uint64Range(0, 5).Draw(t, "skip")
		var want, got []column
		for _, one := range columns {
			if skip == 0 || one.id%skip != 0 {
				want = append(want, one)
			}
		}
		block := c.encode(columns)
		err := c.decode(block, func(id uint64) bool { return skip == 0 || id%skip != 0 }, func(one column) { got = append(got, one) })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(column{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.encode([]column{{1, []int64{1, 2, 3}, []int64{5, 9, 13}}, {7, []int64{2}, []int64{-5}}, {9, []int64{1, 2}, []int64{4, 4}}}))
	f.Fuzz(func(t *testing.T, block []byte) {
		_ = c.decode(block, func(uint64) bool { return true }, func(one column) {
			if len(one.times) != len(one.values) {
				t.Fatal("a column with times that have no values")
			}
		})
	})
}
