package embedded

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"
)

// present tells of series that have samples of name between from and to, some of
// them several times, until told to stop. Only blocks at the interval's edges are decompressed.
func (s *Store) present(ctx context.Context, name string, chosen *selection, from, to int64, tell func(id uint64) bool) error {
	windows, err := s.windows(name, from, to)
	if err != nil {
		return err
	}
	for _, window := range windows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if more, err := s.presentIn(name, window, chosen, from, to, tell); !more || err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) presentIn(name string, window int64, chosen *selection, from, to int64, tell func(id uint64) bool) (more bool, err error) {
	more = true
	prefix := windowKey(name, window)
	err = s.db.View(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{bucketBlocks, bucketHead} {
			cursor := tx.Bucket(bucket).Cursor()
			for key, block := cursor.Seek(prefix); more && bytes.HasPrefix(key, prefix); key, block = cursor.Next() {
				h, _, err := header(block)
				if err != nil {
					return err
				}
				switch first, last := h.times[0], h.times[len(h.times)-1]; {
				case first >= to || last < from:
				case first >= from && last < to:
					for i := 0; more && i < len(h.ids); i++ {
						if chosen.wants(h.ids[i]) {
							more = tell(h.ids[i])
						}
					}
				default:
					err = s.codec.decode(block, chosen.wants, func(one column) {
						if one.clip(from, to); more && len(one.times) > 0 {
							more = tell(one.id)
						}
					})
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	return more, err
}
