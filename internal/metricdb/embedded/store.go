// Package embedded is the metric database of krm standalone: one bbolt file, owned
// by one process.
//
// bbolt gives crash safety, snapshots for readers and free space management; what is
// ours is how samples lie in it. A batch is one transaction, synced to disk, with one
// entry per metric (the head). When an hour is over, its entries are folded into
// blocks of 512 series, compressed to about a byte a sample. Nothing of samples is kept in
// memory; the tags of series are.
package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
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

	writing sync.Mutex // held by whoever changes the file
	layouts map[stream]*layout

	mu     sync.RWMutex // guards what follows
	series []*series    // by id; nil if forgotten
	ids    map[string]uint64
	names  map[string]bool // whether values are floats
}

type stream struct {
	cluster string
	shard   int
}

// series is the tags of one series. A series has samples of many metrics.
type series struct {
	id   uint64
	tags metricdb.Tags
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
		layouts: map[stream]*layout{}, ids: map[string]uint64{}, names: map[string]bool{},
	}
	if err := s.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the metric database %s: %w", path, err), db.Close())
	}
	return s, nil
}

// read makes the buckets and reads series and names.
func (s *Store) read() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketSeries, bucketNames, bucketHead, bucketBlocks} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		err := tx.Bucket(bucketNames).ForEach(func(name, float []byte) error {
			s.names[string(name)] = len(float) == 1 && float[0] == 1
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketSeries).ForEach(func(key, text []byte) error {
			tags, err := decodeTags(text)
			if err != nil || len(key) != 8 {
				return errBlock
			}
			s.remember(&series{id: binary.BigEndian.Uint64(key), tags: tags})
			return nil
		})
	})
}

// remember puts a series into memory.
func (s *Store) remember(one *series) {
	for uint64(len(s.series)) <= one.id {
		s.series = append(s.series, nil)
	}
	s.series[one.id] = one
	s.ids[one.tags.Key()] = one.id
}

// Close closes the file.
func (s *Store) Close() error {
	s.codec.dec.Close()
	return errors.Join(s.codec.enc.Close(), s.db.Close())
}

// Health says whether the file can be read, and the last write worked.
func (s *Store) Health(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketHead) == nil {
			return errBlock
		}
		return nil
	})
}

// fault maps errors of the file to those of the contract.
func (s *Store) fault(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		s.options.Metrics.Full.Set(1)
		return fmt.Errorf("%w: %w", metricdb.ErrFull, err)
	}
	return err
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
