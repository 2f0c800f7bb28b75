package embedded

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// horizonHours is how many hours with batches retention looks back, see horizon.
const horizonHours = 24

// expire removes windows that ended before the retention.
func (s *Store) expire(ctx context.Context) error {
	s.mu.RLock()
	names := make([]string, 0, len(s.names))
	for name := range s.names {
		names = append(names, name)
	}
	s.mu.RUnlock()
	samples, err := s.horizon(s.options.Retention)
	if err != nil {
		return fmt.Errorf("expire: %w", err)
	}
	records, err := s.horizon(s.options.RecordRetention)
	if err != nil {
		return fmt.Errorf("expire: %w", err)
	}
	for _, name := range names {
		limit := samples
		if windowOf(name) == recordWindow {
			limit = records
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.expireName(name, floor(limit, windowOf(name))); err != nil {
			return fmt.Errorf("expire %s: %w", name, fault(err))
		}
	}
	return nil
}

// horizon returns the time before which nothing is kept. It is counted back from now,
// but from no later than what the data say: a day after the hour that is the 24th newest
// one with batches (of a retention below a day: as many hours). While batches come as they
// should, that is now. After a clock has jumped ahead, and also after a long pause, it stays
// behind until there are batches of so many hours: time for someone to see to it. Without
// any batch nothing is removed.
func (s *Store) horizon(keep time.Duration) (int64, error) {
	if keep <= 0 {
		return math.MinInt64 / 2, nil
	}
	n := int(min(max(keep/time.Hour, 1), horizonHours))
	hours, err := s.newestHours(n)
	if err != nil || len(hours) == 0 {
		return math.MinInt64 / 2, err
	}
	seen := hours[len(hours)-1] + int64(n)*int64(time.Hour)
	return min(s.options.Now().UnixNano(), seen) - int64(keep), nil
}

// newestHours returns the begins of the hours that have batches, newest first, at most n.
func (s *Store) newestHours(n int) (hours []int64, err error) {
	name := metricdb.BatchSet + fieldMark + metricdb.BatchAt
	windows, err := s.windows(name, math.MinInt64/2, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	for _, window := range slices.Backward(windows) {
		prefix := windowKey(name, window)
		err := s.db.View(func(tx *bbolt.Tx) error {
			for _, bucket := range [][]byte{bucketBlocks, bucketHead} {
				cursor := tx.Bucket(bucket).Cursor()
				for key, block := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, block = cursor.Next() {
					h, _, err := header(block)
					if err != nil {
						return err
					}
					for _, at := range h.times {
						hours = append(hours, floor(at, int64(time.Hour)))
					}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		slices.SortFunc(hours, func(a, b int64) int { return cmp.Compare(b, a) })
		if hours = slices.Compact(hours); len(hours) >= n {
			return hours[:n], nil
		}
	}
	return hours, nil
}

// expireName removes the windows of name that begin before limit.
func (s *Store) expireName(name string, limit int64) error {
	windows, err := s.windows(name, math.MinInt64/2, limit)
	if err != nil || len(windows) == 0 {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, window := range windows {
		prefix := windowKey(name, window)
		err := s.db.Update(func(tx *bbolt.Tx) error {
			for _, bucket := range [][]byte{bucketHead, bucketBlocks} {
				var keys [][]byte
				cursor := tx.Bucket(bucket).Cursor()
				for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = cursor.Next() {
					keys = append(keys, bytes.Clone(key))
				}
				for _, key := range keys {
					if err := tx.Bucket(bucket).Delete(key); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.removed = true
		s.options.Metrics.Expired.Inc()
	}
	return nil
}
