package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const listedChunk = 4096 // items

// encodeListed returns the statement without its items, and those in chunks.
// Every chunk names the statement that it belongs to.
func encodeListed(listed object.Listed) (head []byte, chunks [][]byte, err error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, nil, err
	}
	for items := listed.Items; len(items) > 0; items = items[min(listedChunk, len(items)):] {
		plain := appendListedItems(nil, items[:min(listedChunk, len(items))])
		chunk := appendText([]byte{format}, listed.ID)
		chunks = append(chunks, encoder.EncodeAll(plain, chunk))
	}
	h := listedHead{Listed: listed, Chunks: int64(len(chunks)), Count: int64(len(listed.Items))}
	h.Items = nil
	head, err = json.Marshal(h)
	return head, chunks, err
}

// listedHead is what stands in the meta hash.
type listedHead struct {
	object.Listed
	Chunks int64
	Count  int64 // of Items, which are in the chunks
}

func appendListedItems(b []byte, items []object.ListedItem) []byte {
	b = binary.AppendUvarint(b, uint64(len(items)))
	for _, item := range items {
		b = appendKey(b, item.Key)
		b = appendText(b, item.UID)
		b = appendText(b, item.Version)
		b = binary.LittleEndian.AppendUint64(b, item.Hash)
	}
	return b
}

// decodeListedItems adds what appendListedItems wrote to items.
func decodeListedItems(items []object.ListedItem, plain []byte) ([]object.ListedItem, error) {
	s := scanner{rest: plain}
	for range s.count(11) {
		item := object.ListedItem{Key: object.ParseKey(s.text()), UID: s.text(), Version: s.version(), Hash: s.uint64()}
		if s.err != nil {
			break
		}
		items = append(items, item)
	}
	return items, s.done()
}

// errReplaced comes when a listed was replaced while it was read.
var errReplaced = errors.New("replaced meanwhile")

// readListed reads the statement that stands in Redis, unless it is notID.
func (s *Store) readListed(ctx context.Context, k keys, notID string) (listed object.Listed, ok bool, err error) {
	id, err := s.client.HGet(ctx, k.listedMeta, "id").Result()
	if errors.Is(err, redis.Nil) || err == nil && id == notID {
		return object.Listed{}, false, nil
	}
	if err != nil {
		return object.Listed{}, false, err
	}
	// A statement is often replaced by the next one, but never many times while it is read.
	for range 5 {
		listed, err = s.readListedOnce(ctx, k)
		if !errors.Is(err, errReplaced) {
			return listed, err == nil, err
		}
	}
	return object.Listed{}, false, err
}

func (s *Store) readListedOnce(ctx context.Context, k keys) (object.Listed, error) {
	meta, err := s.client.HGetAll(ctx, k.listedMeta).Result()
	if err != nil {
		return object.Listed{}, err
	}
	var head listedHead
	if err := json.Unmarshal([]byte(meta["head"]), &head); err != nil {
		return object.Listed{}, err
	}
	listed := head.Listed
	if !isVersion(listed.Version) || !isVersion(listed.After) {
		return object.Listed{}, errGarbage
	}
	decoder, err := newDecoder(nil)
	if err != nil {
		return object.Listed{}, err
	}
	defer decoder.Close()
	const page = 16 // chunks at once: a few megabytes
	for at := int64(0); at < head.Chunks; at += page {
		chunks, err := s.client.LRange(ctx, k.listed, at, min(at+page, head.Chunks)-1).Result()
		if err != nil {
			return object.Listed{}, err
		}
		for _, chunk := range chunks {
			if listed.Items, err = decodeChunk(listed.Items, decoder, listed.ID, []byte(chunk)); err != nil {
				return object.Listed{}, err
			}
		}
	}
	if int64(len(listed.Items)) != head.Count {
		return object.Listed{}, errReplaced // the list vanished or shrank under us
	}
	return listed, nil
}

func decodeChunk(items []object.ListedItem, decoder *zstd.Decoder, id string, chunk []byte) ([]object.ListedItem, error) {
	s := scanner{rest: chunk}
	s.format()
	owner := s.text()
	if s.err != nil {
		return nil, s.err
	}
	if owner != id {
		return nil, errReplaced
	}
	plain, err := decoder.DecodeAll(s.rest, nil)
	if err != nil {
		return nil, fmt.Errorf("decode chunk of listed %s: %w", id, err)
	}
	return decodeListedItems(items, plain)
}
