package embedded

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// A window is how much time a block is about.
const (
	sampleWindow = int64(time.Hour)
	recordWindow = 7 * 24 * int64(time.Hour)
)

// fieldMark stands between a set's name and a field's; no name holds it.
const fieldMark = "#"

func windowOf(name string) int64 {
	if strings.Contains(name, fieldMark) {
		return recordWindow
	}
	return sampleWindow
}

// windowKey is the beginning of the keys of a name's window. Windows order as times do.
func windowKey(name string, window int64) []byte {
	key := append(make([]byte, 0, len(name)+17), name...)
	return binary.BigEndian.AppendUint64(append(key, 0), uint64(window)^1<<63)
}

// layout remembers the tags and series of a stream of batches.
type layout struct {
	*metricdb.Layout
	rows [metrics.Kinds][]known
}

type known struct {
	tags *metrics.Label // the first: tags that did not change are the same slice
	id   uint64
}

// change is what one write adds. Its series and names are put into memory first, so
// that readers know them as soon as they are on disk: a batch is seen whole, or not at all.
type change struct {
	s       *Store
	fresh   []*series
	names   map[string]bool
	columns map[string][]column // by name
	samples int
}

func (s *Store) change() *change {
	return &change{s: s, names: map[string]bool{}, columns: map[string][]column{}}
}

// id returns the series' number. The holder of s.writing may read s.book without s.mu.
func (c *change) id(tags metricdb.Tags) uint64 {
	one := c.s.book.find(tags)
	if one == nil {
		c.s.mu.Lock()
		one = c.s.book.add(c.s.book.next, tags)
		c.s.mu.Unlock()
		c.fresh = append(c.fresh, one)
	}
	return one.id
}

// undo takes out of memory what did not get onto the disk.
func (c *change) undo() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	ids := make([]uint64, len(c.fresh))
	for i, one := range c.fresh {
		ids[i] = one.id
	}
	c.s.book.remove(ids)
	for name := range c.names {
		delete(c.s.names, name)
	}
}

// typed says whether name holds values of that type: what came first decides.
func (c *change) typed(name string, float bool) bool {
	was, ok := c.s.names[name]
	if !ok {
		c.s.mu.Lock()
		c.s.names[name] = float
		c.s.mu.Unlock()
		c.names[name], was = float, float
	}
	return was == float
}

func (c *change) add(name string, id uint64, at, value int64) {
	c.columns[name] = append(c.columns[name], column{id: id, times: []int64{at}, values: []int64{value}})
	c.samples++
}

// Write stores a batch in one transaction.
func (s *Store) Write(ctx context.Context, b *metrics.Batch) error {
	if err := metricdb.CheckBatch(b); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	start := time.Now()
	who := stream{b.Cluster, b.Shard}
	of := s.layouts[who]
	if of == nil {
		of = &layout{Layout: metricdb.NewLayout()}
		s.layouts[who] = of
	}
	change := s.change()
	times := slices.Clip([]int64{b.Time.UnixNano()})
	of.Columns(b, func(c metricdb.Column) bool {
		s.column(change, of, &c, times)
		return true
	})
	change.record(metricdb.BatchRecord(b))
	err := s.commit(change)
	s.wrote(&s.fullBatches, err)
	if err != nil {
		clear(of.rows[:]) // they may hold series that are not there
		return err
	}
	s.options.Metrics.Wrote(change.samples, time.Since(start))
	return nil
}

// column adds the samples of one metric of one table.
func (s *Store) column(c *change, of *layout, column_ *metricdb.Column, times []int64) {
	name := column_.Metric.Name
	if !c.typed(name, column_.Metric.Float) {
		dropped := 0
		column_.Values(func(*metricdb.Row, int64) bool { dropped++; return true })
		s.options.Metrics.Drop("type", dropped)
		s.log.Warn("a metric changed its type: not stored", "metric", name)
		return
	}
	columns := c.columns[name]
	column_.Values(func(row *metricdb.Row, bits int64) bool {
		rows := of.rows[row.Kind]
		for len(rows) <= int(row.Row) {
			rows = append(rows, known{})
		}
		of.rows[row.Kind] = rows
		if rows[row.Row].tags != &row.Tags[0] {
			rows[row.Row] = known{tags: &row.Tags[0], id: c.id(row.Tags)}
		}
		columns = append(columns, column{id: rows[row.Row].id, times: times, values: []int64{bits}})
		c.samples++
		return true
	})
	if len(columns) > 0 {
		c.columns[name] = columns
	}
}

// WriteRecords stores records in one transaction.
func (s *Store) WriteRecords(ctx context.Context, records []metricdb.Record) error {
	for i := range records {
		if err := records[i].Check(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil || len(records) == 0 {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	change := s.change()
	for _, record := range records {
		change.record(record)
	}
	err := s.commit(change)
	s.wrote(&s.fullRecords, err)
	return err
}

func (c *change) record(r metricdb.Record) {
	id := c.id(metricdb.MakeTags(slices.Clone(r.Tags)...))
	for _, field := range r.Fields {
		name := r.Set + fieldMark + field.Name
		if !c.typed(name, field.Value.Float) {
			c.s.options.Metrics.Drop("type", 1)
			c.s.log.Warn("a record's field changed its type: not stored", "set", r.Set, "field", field.Name)
			continue
		}
		c.add(name, id, r.Time.UnixNano(), field.Value.Bits)
	}
}

// commit writes a change to disk, whole or not at all.
func (s *Store) commit(c *change) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		seriesBucket, names, heads := tx.Bucket(bucketSeries), tx.Bucket(bucketNames), tx.Bucket(bucketHead)
		for _, one := range c.fresh {
			if err := seriesBucket.Put(binary.BigEndian.AppendUint64(nil, one.id), encodeTags(one.tags())); err != nil {
				return err
			}
		}
		if len(c.fresh) > 0 {
			if err := seriesBucket.SetSequence(s.book.next); err != nil {
				return err
			}
		}
		for name, float := range c.names {
			value := []byte{0}
			if float {
				value[0] = 1
			}
			if err := names.Put([]byte(name), value); err != nil {
				return err
			}
		}
		return s.putHeads(heads, c)
	})
	if err != nil {
		c.undo()
	}
	return fault(err)
}

func (s *Store) putHeads(heads *bbolt.Bucket, c *change) error {
	sequence, err := heads.NextSequence()
	if err != nil {
		return err
	}
	for name, columns := range c.columns {
		for window, part := range byWindow(columns, windowOf(name)) {
			key := binary.BigEndian.AppendUint64(windowKey(name, window), sequence)
			if err := heads.Put(key, s.codec.encode(part)); err != nil {
				return err
			}
		}
	}
	return nil
}

// byWindow sorts single samples into windows, and those of one series together.
func byWindow(columns []column, size int64) map[int64][]column {
	slices.SortStableFunc(columns, func(a, b column) int {
		switch {
		case a.id != b.id && a.id < b.id, a.id == b.id && a.times[0] < b.times[0]:
			return -1
		case a.id == b.id && a.times[0] == b.times[0]:
			return 0
		}
		return 1
	})
	windows := map[int64][]column{}
	for _, one := range columns {
		window := floor(one.times[0], size)
		part := windows[window]
		if n := len(part); n > 0 && part[n-1].id == one.id {
			merged := &part[n-1]
			if last := len(merged.times) - 1; merged.times[last] == one.times[0] {
				merged.values[last] = one.values[0]
			} else {
				merged.times = append(merged.times, one.times[0]) // a batch's shared times have no room: they are copied
				merged.values = append(merged.values, one.values[0])
			}
			continue
		}
		windows[window] = append(part, one)
	}
	return windows
}

func floor(at, size int64) int64 {
	rest := at % size
	if rest < 0 {
		rest += size
	}
	return at - rest
}
