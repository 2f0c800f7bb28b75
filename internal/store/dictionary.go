package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	trainLeast   = 64       // records that training needs
	trainMost    = 128      // records whose statistics it takes: more hardly help and cost time
	historySize  = 64 << 10 // of sample records in a dictionary
	historyPart  = 8 << 10  // of one of them
	retrainAfter = 10       // times the size at which the dictionary was trained
)

// dictionary is what zstd knows of a resource's bodies before it sees them.
type dictionary struct {
	id      uint32 // derived from content
	content []byte
}

// train makes a dictionary from records. It takes some 10 ms.
//
// Its history is whole records, spread over all of them, and not the frequent
// fragments that dict.BuildZstdDict picks: objects of one owner share long texts,
// so that pods take half the bytes, in less time (BenchmarkPack).
func train(records []object.Record) (*dictionary, error) {
	var history []byte
	for _, r := range spread(records, 2*historySize/historyPart) {
		part := appendPlain(nil, r)
		part = part[:min(len(part), historyPart)]
		if len(history)+len(part) <= historySize {
			history = append(history, part...)
		}
	}
	var contents [][]byte
	for _, r := range spread(records, trainMost) {
		sample := appendPlain(nil, r)
		contents = append(contents, sample[:min(len(sample), historySize/2)]) // zstd.BuildDict panics on long ones
	}
	content, err := buildDict(history, contents)
	if err != nil {
		return nil, fmt.Errorf("train dictionary on %d records: %w", len(contents), err)
	}
	return newDictionary(content)
}

// spread returns at most n of records at even distances.
func spread(records []object.Record, n int) []object.Record {
	if len(records) <= n {
		return records
	}
	chosen := make([]object.Record, n)
	for i := range chosen {
		chosen[i] = records[i*len(records)/n]
	}
	return chosen
}

// buildDict turns the panics of the builder, which it has for samples that have
// nothing in common, into errors.
func buildDict(history []byte, contents [][]byte) (content []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			content, err = nil, fmt.Errorf("builder: %v", r)
		}
	}()
	return zstd.BuildDict(zstd.BuildDictOptions{
		ID:       1 << 15, // newDictionary sets the real one
		Contents: contents,
		History:  history,
		Offsets:  [3]int{1, 4, 8}, // those with which every frame without a dictionary begins
		Level:    zstd.SpeedFastest,
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
