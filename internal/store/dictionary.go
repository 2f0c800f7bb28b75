package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/dict"
	"github.com/klauspost/compress/zstd"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	trainLeast   = 64       // records that training needs
	trainMost    = 256      // records that it uses: more hardly help and cost time
	dictSize     = 48 << 10 // found by BenchmarkDictionary
	retrainAfter = 10       // times the size at which the dictionary was trained
)

// dictionary is what zstd knows of a resource's bodies before it sees them.
type dictionary struct {
	id      uint32 // derived from content
	content []byte
}

// train makes a dictionary from records. It takes some 100 ms.
func train(records []object.Record) (*dictionary, error) {
	step := max(1, len(records)/trainMost)
	var samples [][]byte
	for i := 0; i < len(records) && len(samples) < trainMost; i += step {
		samples = append(samples, appendPlain(nil, records[i]))
	}
	content, err := buildDict(samples)
	if err != nil {
		return nil, fmt.Errorf("train dictionary on %d records: %w", len(samples), err)
	}
	return newDictionary(content)
}

// buildDict turns the panics of the trainer, which it has for samples that have
// nothing in common, into errors.
func buildDict(samples [][]byte) (content []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			content, err = nil, fmt.Errorf("trainer: %v", r)
		}
	}()
	return dict.BuildZstdDict(samples, dict.Options{
		MaxDictSize: dictSize,
		HashBytes:   6,
		ZstdDictID:  1 << 15, // newDictionary sets the real one
		ZstdLevel:   zstd.SpeedFastest,
	})
}

// newDictionary gives content the ID that follows from it: two processes that
// train on the same records write the same key. IDs below 2^15 and from 2^31 on
// are reserved (RFC 8878, section 5).
func newDictionary(content []byte) (*dictionary, error) {
	const head = 8 // magic number and ID
	if len(content) < head {
		return nil, errors.New("dictionary is too short")
	}
	id := uint32(1<<15 + xxhash.Sum64(content[head:])%(1<<31-1<<15))
	binary.LittleEndian.PutUint32(content[4:], id)
	return &dictionary{id: id, content: content}, nil
}
