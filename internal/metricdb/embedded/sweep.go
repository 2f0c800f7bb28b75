package embedded

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// sweepEvery is how far sweeps are apart, firstSweep how long after opening the first is.
	sweepEvery = 24 * time.Hour
	firstSweep = time.Hour
	// sweepAtOnce is how many series one transaction forgets: batches wait for it.
	sweepAtOnce = 16 << 10
)

// sweep forgets series that neither samples nor records have any more: their tags in the
// file and in memory. It reads the headers of all blocks (a second for 100,000 blocks), so
// it is done once a day, and only if something was removed since. A series that comes back
// is a new one with another id; its tags, and so what is answered, are the same.
func (s *Store) sweep(ctx context.Context) error {
	now := s.options.Now()
	if since := now.Sub(s.swept); !s.removed || since >= 0 && since < sweepEvery {
		return nil
	}
	used, sequence, err := s.used(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if done, sequence, err = s.forget(used, sequence); err != nil {
			return fmt.Errorf("sweep: %w", fault(err))
		}
	}
	s.swept, s.removed = now, false
	return nil
}

// bitmap is a set of ids.
type bitmap []uint64

func (b *bitmap) set(id uint64) {
	for id/64 >= uint64(len(*b)) {
		*b = append(*b, 0)
	}
	(*b)[id/64] |= 1 << (id % 64)
}

func (b bitmap) has(id uint64) bool { return id/64 < uint64(len(b)) && b[id/64]>>(id%64)&1 == 1 }

// used finds the series that some block has. sequence is the last write that it saw:
// series of later ones are to be added. Nothing is folded meanwhile.
func (s *Store) used(ctx context.Context) (used bitmap, sequence uint64, err error) {
	limit := s.nextID()
	err = s.db.View(func(tx *bbolt.Tx) error {
		sequence = tx.Bucket(bucketHead).Sequence()
		for _, bucket := range [][]byte{bucketHead, bucketBlocks} {
			cursor := tx.Bucket(bucket).Cursor()
			for key, block := cursor.First(); key != nil; key, block = cursor.Next() {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := used.mark(block, limit); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return used, sequence, err
}

func (s *Store) nextID() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.book.next
}

// mark adds the series of a block.
func (b *bitmap) mark(block []byte, limit uint64) error {
	h, _, err := header(block)
	if err != nil {
		return err
	}
	for _, id := range h.ids {
		if id >= limit {
			return errBlock
		}
		b.set(id)
	}
	return nil
}

// forget removes some series that are not used. Writes since sequence are looked at
// first; while it runs there are none.
func (s *Store) forget(used bitmap, sequence uint64) (done bool, seen uint64, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	var gone []uint64
	err = s.db.Update(func(tx *bbolt.Tx) error {
		heads := tx.Bucket(bucketHead)
		seen = heads.Sequence()
		cursor := heads.Cursor()
		for key, block := cursor.First(); key != nil; key, block = cursor.Next() {
			if len(key) < 8 || binary.BigEndian.Uint64(key[len(key)-8:]) > sequence {
				if err := used.mark(block, s.book.next); err != nil {
					return err
				}
			}
		}
		for _, one := range s.book.all {
			if len(gone) < sweepAtOnce && !used.has(one.id) {
				gone = append(gone, one.id)
			}
		}
		bucket := tx.Bucket(bucketSeries)
		for _, id := range gone {
			if err := bucket.Delete(binary.BigEndian.AppendUint64(nil, id)); err != nil {
				return err
			}
		}
		return bucket.SetSequence(s.book.next)
	})
	if err != nil {
		return false, sequence, err
	}
	s.mu.Lock()
	s.book.remove(gone)
	s.mu.Unlock()
	for _, of := range s.layouts {
		clear(of.rows[:]) // they may hold ids that are gone
	}
	if len(gone) > 0 {
		s.log.Info("series without samples forgotten", "series", len(gone), "left", len(s.book.all))
	}
	return len(gone) < sweepAtOnce, seen, nil
}
