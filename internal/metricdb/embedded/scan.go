package embedded

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

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
// series id. What was written later wins. If keys is not nil, it is told the keys.
func (s *Store) load(name string, window int64, wants func(uint64) bool, from, to int64, keys *source) (columns []column, err error) {
	prefix := windowKey(name, window)
	var found map[uint64]int // places in columns, once a series comes again: blocks alone ascend
	add := func(one column) {
		if n := len(columns); found == nil && n > 0 && columns[n-1].id >= one.id {
			found = make(map[uint64]int, 2*n)
			for i := range columns {
				found[columns[i].id] = i
			}
		}
		if i, ok := found[one.id]; ok {
			was := &columns[i]
			was.times, was.values = append(was.times, one.times...), append(was.values, one.values...)
			return
		}
		if found != nil {
			found[one.id] = len(columns)
		}
		columns = append(columns, one)
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
	kept := columns[:0]
	for _, one := range columns {
		one.mend()
		if one.clip(from, to); len(one.times) > 0 {
			kept = append(kept, one)
		}
	}
	if found != nil {
		slices.SortFunc(kept, func(a, b column) int { return cmp.Compare(a.id, b.id) })
	}
	return kept, nil
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
