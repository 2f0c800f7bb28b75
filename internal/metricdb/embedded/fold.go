package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

const (
	seriesPerBlock = 512
	// grace is how long after its end a window's entries are folded: most late data has
	// come by then. What comes later is folded too, at the next time.
	grace = 10 * time.Minute
	// foldAt is how many entries a window may have before it is folded while it is open.
	foldAt = 128
	// foldEvery is how often Run looks for something to do.
	foldEvery = time.Minute
)

// Run folds and expires until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(foldEvery)
	defer ticker.Stop()
	for {
		if err := s.Maintain(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("the metric database could not be folded; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Maintain drops what is too old, folds what is due, and forgets the tags of series that
// have nothing left. Run does it every minute.
func (s *Store) Maintain(ctx context.Context) error {
	s.maintaining.Lock()
	defer s.maintaining.Unlock()
	// What is too old goes first, and goes also where folding has no room: it makes some.
	expired := s.expire(ctx)
	folded := s.foldDue(ctx)
	var swept error
	if expired == nil && folded == nil {
		swept = s.sweep(ctx)
	}
	return errors.Join(expired, folded, swept)
}

func (s *Store) foldDue(ctx context.Context) error {
	due, err := s.due()
	if err != nil {
		return err
	}
	for _, one := range due {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.fold(one.name, one.window); err != nil {
			return err
		}
	}
	return nil
}

type due struct {
	name    string
	window  int64
	entries int
}

// due lists the windows of the head that are over, or have many entries.
func (s *Store) due() (all []due, err error) {
	now := s.options.Now().Add(-grace).UnixNano()
	err = s.db.View(func(tx *bbolt.Tx) error {
		var last due
		flush := func() {
			if last.entries > 0 && (last.window+windowOf(last.name) <= now || last.entries >= foldAt) {
				all = append(all, last)
			}
		}
		cursor := tx.Bucket(bucketHead).Cursor()
		for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
			end := bytes.IndexByte(key, 0)
			if end < 0 || len(key) != end+17 {
				return errBlock
			}
			window := windowIn(key, end+1)
			if string(key[:end]) != last.name || window != last.window {
				flush()
				last = due{name: string(key[:end]), window: window}
			}
			last.entries++
		}
		flush()
		return nil
	})
	return all, err
}

// fold puts the entries and blocks of a window into new blocks. The file holds either
// the old or the new, whatever happens.
func (s *Store) fold(name string, window int64) error {
	var keys source
	everything := func(uint64) bool { return true }
	columns, err := s.load(name, window, everything, math.MinInt64, math.MaxInt64, &keys)
	if err != nil {
		return err
	}
	prefix := windowKey(name, window)
	s.writing.Lock()
	defer s.writing.Unlock()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		heads, blocks := tx.Bucket(bucketHead), tx.Bucket(bucketBlocks)
		for _, key := range keys.blocks {
			if err := blocks.Delete(key); err != nil {
				return err
			}
		}
		for len(columns) > 0 {
			part := columns[:min(seriesPerBlock, len(columns))]
			columns = columns[len(part):]
			key := binary.BigEndian.AppendUint64(bytes.Clone(prefix), part[0].id)
			if err := blocks.Put(key, s.codec.encode(part)); err != nil {
				return err
			}
		}
		for _, key := range keys.heads {
			if err := heads.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fold %s: %w", name, fault(err))
	}
	s.options.Metrics.Folded.Inc()
	return nil
}

var _ metricdb.DB = (*Store)(nil)
