// Package embedded is the metric database of krm standalone: one bbolt file, owned
// by one process.
//
// bbolt gives crash safety, snapshots for readers and free space management; what is
// ours is how samples lie in it. A batch is one transaction, synced to disk, with one
// entry per metric (the head). When an hour is over, its entries are folded into
// blocks of 512 series, compressed to about a byte a sample. Nothing of samples is kept in
// memory; the tags of series are, until retention has removed the last sample or record
// that they had.
//
// # A full disk
//
// When the disk is full, writes return ErrFull and krm_metricdb_full is 1, until a write
// works again. Nothing is given up for the sake of new samples: what was acknowledged
// stays, roll-ups and lifetimes first of all, and is answered as ever. What makes room is
// retention, which goes on (removing frees pages of the file, which writes take before the file
// grows), and whoever frees the disk. A write that did not fit left nothing behind: the file
// is as it was after the last one that did.
//
// # A clock that is wrong
//
// Samples and records may be of any time and come in any order; of two with one set and
// time the later one stays. What retention removes goes by the clock and by the data, see
// horizon: a clock that jumps into the future removes nothing for a day.
package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Options are the settings of a Store. Zero durations keep for ever.
type Options struct {
	Dir             string        // made if it does not exist
	Retention       time.Duration // of samples
	RecordRetention time.Duration // of records
	Metrics         *metricdb.Metrics
	// Now is the clock; nil is time.Now. Only retention and folding look at it.
	Now func() time.Time
}

// The buckets of the file.
var (
	bucketSeries = []byte("series") // id → tags
	bucketNames  = []byte("names")  // name of a metric, or SET#FIELD → 0 or 1 (floats)
	bucketHead   = []byte("head")   // name 0 window sequence → block of one write
	bucketBlocks = []byte("blocks") // name 0 window first-id → block of up to seriesPerBlock series
)

// Store is an embedded metric database. It implements metricdb.DB.
type Store struct {
	db      *bbolt.DB
	codec   *codec
	options Options
	log     *slog.Logger

	maintaining sync.Mutex // held by whoever folds, expires or sweeps; before writing
	removed     bool       // windows were removed since the last sweep, or it is not known
	swept       time.Time

	writing sync.Mutex // held by whoever changes the file; before mu
	layouts map[stream]*layout

	fullBatches, fullRecords atomic.Bool // the last write of a batch, of records, had no room

	mu    sync.RWMutex // guards what follows
	book  book
	names map[string]bool // whether values are floats
}

type stream struct {
	cluster string
	shard   int
}

// Open opens or makes the database. It fails if another process has it open.
func Open(options Options, log *slog.Logger) (*Store, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Metrics == nil {
		options.Metrics = metricdb.NewMetrics(nil)
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the metric database's folder: %w", err)
	}
	path := filepath.Join(options.Dir, "metrics.db")
	_, missing := os.Stat(path)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("open the metric database %s (another krm may have it open: separate processes need InfluxDB): %w", path, err)
	}
	codec, err := newCodec()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a codec: %w", err), db.Close())
	}
	s := &Store{
		db: db, codec: codec, options: options, log: log,
		layouts: map[stream]*layout{}, book: newBook(), names: map[string]bool{},
		removed: true, swept: options.Now().Add(firstSweep - sweepEvery),
	}
	err = s.read()
	if err == nil && missing != nil {
		err = syncDir(options.Dir) // else the file may be gone after a power cut
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the metric database %s: %w", path, err), db.Close())
	}
	return s, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// read makes the buckets, if they are not there, and reads series and names.
func (s *Store) read() error {
	buckets := [][]byte{bucketSeries, bucketNames, bucketHead, bucketBlocks}
	made := true
	err := s.db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			made = made && tx.Bucket(name) != nil
		}
		return nil
	})
	if err == nil && !made {
		err = s.db.Update(func(tx *bbolt.Tx) error {
			for _, name := range buckets {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bucketNames).ForEach(func(name, float []byte) error {
			s.names[string(name)] = len(float) == 1 && float[0] == 1
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.Bucket(bucketSeries).ForEach(func(key, text []byte) error {
			tags, err := decodeTags(text)
			if err != nil || len(key) != 8 {
				return errBlock
			}
			s.book.add(binary.BigEndian.Uint64(key), tags)
			return nil
		})
		s.book.next = max(s.book.next, tx.Bucket(bucketSeries).Sequence())
		return err
	})
}

// Close closes the file, once queries that are under way have ended.
func (s *Store) Close() error {
	err := s.db.Close()
	s.codec.dec.Close()
	return errors.Join(err, s.codec.enc.Close())
}

// Health says whether the file can be read, and the last writes had room.
func (s *Store) Health(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.fullBatches.Load() || s.fullRecords.Load() {
		return metricdb.ErrFull
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketHead) == nil {
			return errBlock
		}
		return nil
	})
}

// fault maps errors of the file to those of the contract. bbolt keeps only the text of
// some of them.
func fault(err error) error {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) || err != nil && strings.HasSuffix(err.Error(), no.Error()) {
			return fmt.Errorf("%w: %w", metricdb.ErrFull, err)
		}
	}
	return err
}

// wrote keeps in mind whether there was room.
func (s *Store) wrote(full *atomic.Bool, err error) {
	full.Store(errors.Is(err, metricdb.ErrFull))
	value := 0.
	if s.fullBatches.Load() || s.fullRecords.Load() {
		value = 1
	}
	s.options.Metrics.Full.Set(value)
}

func encodeTags(tags metricdb.Tags) (text []byte) {
	for _, label := range tags {
		text = binary.AppendUvarint(text, uint64(len(label.Key)))
		text = append(text, label.Key...)
		text = binary.AppendUvarint(text, uint64(len(label.Value)))
		text = append(text, label.Value...)
	}
	return text
}

func decodeTags(text []byte) (tags metricdb.Tags, err error) {
	for r := (reader{b: text}); len(r.b) > 0; {
		key := r.bytes(r.uvarint())
		value := r.bytes(r.uvarint())
		if r.bad {
			return nil, errBlock
		}
		tags = append(tags, metrics.Label{Key: string(key), Value: string(value)})
	}
	return tags, nil
}
