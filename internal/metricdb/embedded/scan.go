package embedded

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// selection is which series a query wants, and which of them are pieces of one set.
type selection struct {
	set  []int32         // by series id: its place in sets, or -1
	sets []metricdb.Tags // sorted
}

func (s *selection) wants(id uint64) bool { return id < uint64(len(s.set)) && s.set[id] >= 0 }

func (s *selection) empty() bool { return len(s.sets) == 0 }

// choose finds the series whose tags fit. What set a series belongs to, keep says.
func (s *Store) choose(fits func(metricdb.Tags) bool, keep func(metricdb.Tags) metricdb.Tags) *selection {
	s.mu.RLock()
	all := slices.Clone(s.series)
	s.mu.RUnlock()
	chosen := &selection{set: make([]int32, len(all))}
	places := map[string]int32{}
	for id, one := range all {
		chosen.set[id] = -1
		if one == nil || !fits(one.tags) {
			continue
		}
		tags := keep(one.tags)
		key := tags.Key()
		place, ok := places[key]
		if !ok {
			place = int32(len(chosen.sets))
			places[key] = place
			chosen.sets = append(chosen.sets, tags)
		}
		chosen.set[id] = place
	}
	chosen.sort()
	return chosen
}

// sort puts sets in order, so that answers are the same every time.
func (s *selection) sort() {
	order := make([]int32, len(s.sets))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return s.sets[a].Compare(s.sets[b]) })
	sorted, place := make([]metricdb.Tags, len(order)), make([]int32, len(order))
	for to, from := range order {
		sorted[to], place[from] = s.sets[from], int32(to)
	}
	s.sets = sorted
	for id, at := range s.set {
		if at >= 0 {
			s.set[id] = place[at]
		}
	}
}

// windows returns which windows of name there are between from and to, ascending.
func (s *Store) windows(name string, from, to int64) (all []int64, err error) {
	size := windowOf(name)
	first, last := windowKey(name, floor(from, size)), windowKey(name, floor(to-1, size))
	prefix := len(first) - 8
	err = s.db.View(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{bucketHead, bucketBlocks} {
			cursor := tx.Bucket(bucket).Cursor()
			key, _ := cursor.Seek(first)
			for len(key) >= len(first) && bytes.Equal(key[:prefix], first[:prefix]) && bytes.Compare(key[:len(last)], last) <= 0 {
				window := windowIn(key, prefix)
				all = append(all, window)
				key, _ = cursor.Seek(windowKey(name, window+size))
			}
		}
		return nil
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// windowIn reads the window out of a key whose name takes prefix bytes, with its 0.
func windowIn(key []byte, prefix int) int64 {
	return int64(binary.BigEndian.Uint64(key[prefix:]) ^ 1<<63)
}

// source is where entries came from, so that folding removes just these.
type source struct{ heads, blocks [][]byte }

// load reads a window: the samples of the wanted series at from <= t < to, by
// series id. What was written later wins. If from is not nil, it is told the keys.
func (s *Store) load(name string, window int64, wants func(uint64) bool, from, to int64, keys *source) (columns []column, err error) {
	prefix := windowKey(name, window)
	found := map[uint64]*column{}
	add := func(one column) {
		if was := found[one.id]; was != nil {
			was.times, was.values = append(was.times, one.times...), append(was.values, one.values...)
			return
		}
		found[one.id] = &one
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{bucketBlocks, bucketHead} {
			cursor := tx.Bucket(bucket).Cursor()
			for key, block := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, block = cursor.Next() {
				if err := s.codec.decode(block, wants, add); err != nil {
					return fmt.Errorf("read %s: %w", name, err)
				}
				if keys == nil {
					continue
				}
				if key = bytes.Clone(key); &bucket[0] == &bucketHead[0] {
					keys.heads = append(keys.heads, key)
				} else {
					keys.blocks = append(keys.blocks, key)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	columns = make([]column, 0, len(found))
	for _, one := range found {
		one.mend()
		if one.clip(from, to); len(one.times) > 0 {
			columns = append(columns, *one)
		}
	}
	slices.SortFunc(columns, func(a, b column) int { return cmp.Compare(a.id, b.id) })
	return columns, nil
}

// mend brings samples into the order of time; of those at one time the last stays.
func (c *column) mend() {
	ascending := true
	for i := 1; i < len(c.times) && ascending; i++ {
		ascending = c.times[i-1] < c.times[i]
	}
	if ascending {
		return
	}
	order := make([]int, len(c.times))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(c.times[a], c.times[b]) })
	times, values := make([]int64, 0, len(order)), make([]int64, 0, len(order))
	for _, i := range order {
		if n := len(times); n > 0 && times[n-1] == c.times[i] {
			values[n-1] = c.values[i]
			continue
		}
		times, values = append(times, c.times[i]), append(values, c.values[i])
	}
	c.times, c.values = times, values
}

func (c *column) clip(from, to int64) {
	first, _ := slices.BinarySearch(c.times, from)
	last, _ := slices.BinarySearch(c.times, to)
	c.times, c.values = c.times[first:max(first, last)], c.values[first:max(first, last)]
}

// bySet puts the series of one set together.
func (s *selection) bySet(columns []column) []column {
	sets := make([]column, len(columns))
	for i, one := range columns {
		sets[i] = one
		sets[i].id = uint64(s.set[one.id])
	}
	slices.SortStableFunc(sets, func(a, b column) int { return cmp.Compare(a.id, b.id) })
	merged := sets[:0]
	for _, one := range sets {
		n := len(merged)
		if n == 0 || merged[n-1].id != one.id {
			merged = append(merged, one)
			continue
		}
		into := &merged[n-1]
		into.times = append(slices.Clip(into.times), one.times...)
		into.values = append(slices.Clip(into.values), one.values...)
		into.mend()
	}
	return merged
}
