package metrics

import (
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// TestBlockKeepsChanges packs any changes of any rows, and reads them both ways.
func TestBlockKeepsChanges(t *testing.T) {
	value := rapid.OneOf(
		rapid.Int64(),
		rapid.Int64Range(-3, 3),
		rapid.Map(rapid.Int64Range(-1000, 1000), func(v int64) int64 { return v << 12 }),
		rapid.Map(rapid.Int64Range(0, 40), func(v int64) int64 { return v * 1e9 }),
		rapid.SampledFrom([]int64{0, -1 << 63, 1<<63 - 1}),
	)
	rapid.Check(t, func(t *rapid.T) {
		present := rapid.Uint64().Draw(t, "present")
		extra := rapid.SampledFrom([]uint64{0, 0, rapid.Uint64().Draw(t, "extra")}).Draw(t, "which") &^ present
		rows := present | extra
		if rows == 0 {
			return
		}
		d := &draft{flip: rapid.Uint64().Draw(t, "flip"), extra: extra}
		one := rapid.Just(value.Draw(t, "common"))
		var want [blockRows]int64
		for left := rows; left != 0; left &= left - 1 {
			bit := bits.TrailingZeros64(left)
			want[bit] = rapid.OneOf(one, one, value).Draw(t, "value")
			d.add(uint8(bit), want[bit])
		}
		data := d.appendPacked([]byte{0xff})[1:]
		b, ok := readBlock(data)
		if !ok || !b.holds(present) || b.flip != d.flip || b.extra != extra {
			t.Fatalf("read %+v, %v", b, ok)
		}
		var got [blockRows]int64
		if read := b.changes(present, &got); read != rows || got != want {
			t.Fatalf("rows %x, want %x: %v, want %v", read, rows, got, want)
		}
		for bit := range uint(blockRows) {
			v, ok := b.change(present, bit)
			if ok != (rows>>bit&1 != 0) || v != want[bit] {
				t.Fatalf("row %d: %d, %v; want %d", bit, v, ok, want[bit])
			}
		}
		for n := range data { // a part of it is no block, or not this one
			if b, ok := readBlock(data[:n]); ok && b.holds(present) && b.width > 0 {
				t.Fatalf("%d of %d bytes are a block", n, len(data))
			}
		}
	})
}

func TestBlockSize(t *testing.T) {
	f := func(name string, most int, value func(row int) int64) {
		t.Helper()
		d := &draft{}
		for row := range blockRows {
			d.add(uint8(row), value(row))
		}
		if got := len(d.appendPacked(nil)); got > most {
			t.Errorf("%s: %d bytes, want at most %d", name, got, most)
		}
	}
	f("all the same", 9, func(int) int64 { return 30e9 })
	f("pages", 8+64*6/8, func(row int) int64 { return int64(row) << 12 })
	f("seconds", 10+64*4/8, func(row int) int64 { return 30e9 + int64(row%10)*1e9 })
	f("one that started anew", 24, func(row int) int64 {
		if row == 7 {
			return -1e15
		}
		return 30
	})
}
