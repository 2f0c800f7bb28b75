package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// streamHead is what every entry of a stream begins with: format and time. It is
// enough to rebuild a ring.
const streamHead = 9

// appendLogHead begins a log entry of count items.
func appendLogHead(b []byte, at time.Time, prev object.LogID, count int) []byte {
	b = append(b, format)
	b = appendTime(b, at)
	b = appendText(b, prev)
	return binary.AppendUvarint(b, uint64(count))
}

// appendItem writes one item; data is its record, packed.
func appendItem(b []byte, item object.LogItem, data []byte) ([]byte, error) {
	b = append(b, byte(item.Kind))
	b = appendTime(b, item.At)
	switch item.Kind {
	case object.ItemRecord:
		b = appendKey(b, item.Record.Key)
		b = appendHead(b, item.Record.Head)
		return appendText(b, data), nil
	case object.ItemPosition, object.ItemResyncEnd:
		return appendText(b, item.Version), nil
	case object.ItemResyncBegin:
		return appendJSON(b, item.Resync)
	case object.ItemColumns:
		return appendJSON(b, item.Columns)
	}
	return nil, fmt.Errorf("encode log item: unknown kind %d", item.Kind)
}

// decodeLog reads a log entry. The items' Data shares blob's memory.
func decodeLog(id object.LogID, blob []byte) (object.LogEntry, error) {
	s := scanner{rest: blob}
	s.format()
	s.time()
	entry := object.LogEntry{ID: id, Prev: object.LogID(s.text())}
	entry.Items = make([]object.LogItem, 0, s.count(10))
	for range cap(entry.Items) {
		if s.err != nil {
			break
		}
		entry.Items = append(entry.Items, s.item())
	}
	if err := s.done(); err != nil {
		return object.LogEntry{}, fmt.Errorf("decode log entry %s: %w", id, err)
	}
	return entry, nil
}

func (s *scanner) item() object.LogItem {
	item := object.LogItem{Kind: object.ItemKind(s.byte()), At: s.time()}
	switch item.Kind {
	case object.ItemRecord:
		item.Packed.Head = s.head(object.ParseKey(s.text()))
		item.Packed.Data = s.bytes()
	case object.ItemPosition, object.ItemResyncEnd:
		item.Version = s.version()
	case object.ItemResyncBegin:
		s.json(&item.Resync)
	case object.ItemColumns:
		s.json(&item.Columns)
	default:
		s.fail()
	}
	return item
}

// appendJSON is for what is rare: columns and resyncs.
func appendJSON(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return appendText(b, text), nil
}

func (s *scanner) json(v any) {
	if text := s.bytes(); s.err == nil && json.Unmarshal(text, v) != nil {
		s.fail()
	}
}

// appendObject writes a snapshot's field value: all of an object but its key.
func appendObject(b []byte, p object.Packed) []byte {
	b = append(b, format)
	b = appendHead(b, p.Head)
	return append(b, p.Data...)
}

// decodeObject reads what appendObject wrote. Data shares value's memory.
func decodeObject(key object.Key, value []byte) (object.Packed, error) {
	s := scanner{rest: value}
	s.format()
	p := object.Packed{Head: s.head(key)}
	if s.err != nil {
		return object.Packed{}, fmt.Errorf("decode object %v: %w", key, s.err)
	}
	if len(s.rest) > 0 {
		p.Data = s.rest
	}
	return p, nil
}

const flagHold = 1

// appendFeedHead writes a feed entry but for its changes, which follow it.
func appendFeedHead(b []byte, at time.Time, e object.FeedEntry) ([]byte, error) {
	b = append(b, format)
	b = appendTime(b, at)
	b = appendText(b, e.Prev)
	var flags byte
	if e.Hold {
		flags |= flagHold
	}
	b = append(b, flags)
	b = appendText(b, e.Barrier)
	b = appendText(b, e.Lineage)
	b = appendText(b, e.Freshness.Streamed)
	b = appendTime(b, e.Freshness.StreamedAt)
	b = appendText(b, e.Freshness.Verified)
	b = appendTime(b, e.Freshness.VerifiedAt)
	b = binary.AppendUvarint(b, uint64(e.Objects))
	b, err := appendJSON(b, e.Columns)
	if err != nil {
		return nil, err
	}
	return binary.AppendUvarint(b, uint64(len(e.Changes))), nil
}

// appendChangeHead writes what stands before a change's object value.
func appendChangeHead(b []byte, kind object.EventType, key string, value int) []byte {
	b = append(b, byte(kind))
	b = appendText(b, key)
	return binary.AppendUvarint(b, uint64(value))
}

// decodeFeed reads a feed entry. The changes' Data shares blob's memory.
func decodeFeed(id object.LogID, blob []byte) (object.FeedEntry, error) {
	s := scanner{rest: blob}
	s.format()
	s.time()
	e := object.FeedEntry{ID: id, Prev: object.LogID(s.text())}
	e.Hold = s.byte()&flagHold != 0
	e.Barrier = s.version()
	e.Lineage = s.text()
	e.Freshness.Streamed = s.version()
	e.Freshness.StreamedAt = s.time()
	e.Freshness.Verified = s.version()
	e.Freshness.VerifiedAt = s.time()
	e.Objects = int64(s.uvarint())
	s.json(&e.Columns)
	e.Changes = make([]object.Change, 0, s.count(14))
	for range cap(e.Changes) {
		if s.err != nil {
			break
		}
		e.Changes = append(e.Changes, s.change())
	}
	if err := s.done(); err != nil {
		return object.FeedEntry{}, fmt.Errorf("decode feed entry %s: %w", id, err)
	}
	return e, nil
}

func (s *scanner) change() object.Change {
	change := object.Change{Type: object.EventType(s.byte())}
	if change.Type < object.Added || change.Type > object.Deleted {
		s.fail()
	}
	key := object.ParseKey(s.text())
	value := s.bytes()
	if s.err != nil {
		return object.Change{}
	}
	p, err := decodeObject(key, value)
	if err != nil {
		s.fail()
	}
	change.Object = p
	return change
}
