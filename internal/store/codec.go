package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	formatZstd   = 1        // Packed.Data: this byte, the dictionary's ID, a zstd frame
	packedHead   = 5        // bytes before the frame
	maxBody      = 64 << 20 // a frame that claims more is garbage
	missingCache = time.Second
)

// codec opens Packed records of one resource. It fetches dictionaries that it
// has not seen from Redis. It is safe for concurrent use.
type codec struct {
	store   *Store
	keys    keys
	subject string

	mu       sync.Mutex
	decoders map[uint32]*zstd.Decoder // by dictionary; 0 is none
	missing  map[uint32]time.Time     // when Redis was last found not to have it
}

func newCodec(s *Store, resource object.Resource) *codec {
	return &codec{
		store:    s,
		keys:     newKeys(s.options.Prefix, resource),
		subject:  resource.String(),
		decoders: map[uint32]*zstd.Decoder{},
		missing:  map[uint32]time.Time{},
	}
}

// unpack opens p. The record's Body and Cells are its own memory.
func (c *codec) unpack(ctx context.Context, p object.Packed) (object.Record, error) {
	r := object.Record{Head: p.Head}
	if len(p.Data) == 0 {
		return r, nil // a deletion that was not seen
	}
	if len(p.Data) < packedHead || p.Data[0] != formatZstd {
		return r, fmt.Errorf("unpack %v: %w: %w", p.Key, object.ErrUnreadable, errGarbage)
	}
	decoder, err := c.decoder(ctx, binary.LittleEndian.Uint32(p.Data[1:]))
	if err != nil {
		return r, fmt.Errorf("unpack %v: %w", p.Key, err)
	}
	plain, err := decoder.DecodeAll(p.Data[packedHead:], nil)
	if err != nil {
		return r, fmt.Errorf("unpack %v: %w: %w", p.Key, object.ErrUnreadable, err)
	}
	s := scanner{rest: plain}
	r.Cells = s.bytes()
	if s.err != nil {
		return r, fmt.Errorf("unpack %v: %w: %w", p.Key, object.ErrUnreadable, s.err)
	}
	if len(r.Cells) == 0 {
		r.Cells = nil
	}
	r.Body = s.rest
	return r, nil
}

func (c *codec) decoder(ctx context.Context, id uint32) (*zstd.Decoder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.decoders[id]; d != nil {
		return d, nil
	}
	if time.Since(c.missing[id]) < missingCache {
		return nil, c.missingError(id)
	}
	var dict []byte
	if id != 0 {
		var err error
		if dict, err = c.fetch(ctx, id); err != nil {
			return nil, err
		}
	}
	d, err := newDecoder(dict)
	if err != nil {
		return nil, fmt.Errorf("%w: load dictionary %d of %s: %w", object.ErrUnreadable, id, c.subject, err)
	}
	c.decoders[id] = d
	return d, nil
}

func (c *codec) missingError(id uint32) error {
	return fmt.Errorf("%w: dictionary %d of %s is not in redis (%s): a full verification or a resync repairs that",
		object.ErrUnreadable, id, c.subject, c.keys.dict(id))
}

// fetch reads a dictionary from Redis. The caller holds the lock, so that many
// readers ask once.
func (c *codec) fetch(ctx context.Context, id uint32) (dict []byte, err error) {
	err = c.store.call(ctx, "read dictionary", c.subject, callTimeout, func(ctx context.Context) error {
		dict, err = c.store.client.Get(ctx, c.keys.dict(id)).Bytes()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return err
	})
	if err == nil && dict == nil {
		c.missing[id] = time.Now()
		return nil, c.missingError(id)
	}
	return dict, err
}

// load reads the dictionary that a log's meta names, nil if there is none, or
// Redis lost it.
func (c *codec) load(ctx context.Context, name string) (d *dictionary, err error) {
	if name == "" {
		return nil, nil
	}
	var content []byte
	err = c.store.call(ctx, "read dictionary", c.subject, callTimeout, func(ctx context.Context) error {
		content, err = c.store.client.Get(ctx, c.keys.base+"dict:"+name).Bytes()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return err
	})
	if err != nil || content == nil {
		return nil, err
	}
	return newDictionary(content)
}

// save writes a dictionary to Redis, before anything that needs it.
func (c *codec) save(ctx context.Context, d *dictionary) error {
	return c.store.call(ctx, "save dictionary", c.subject, callTimeout, func(ctx context.Context) error {
		_, err := c.store.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, c.keys.dict(d.id), d.content, 0)
			p.SAdd(ctx, c.keys.dicts, d.id)
			return nil
		})
		return err
	})
}

func newDecoder(dict []byte) (*zstd.Decoder, error) {
	options := []zstd.DOption{
		zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)), // so many DecodeAll at once; no goroutines
		zstd.WithDecoderMaxMemory(maxBody),
		zstd.WithDecoderLowmem(true),
	}
	if dict != nil {
		options = append(options, zstd.WithDecoderDicts(dict))
	}
	return zstd.NewReader(nil, options...)
}

// packer compresses records. It is not safe for concurrent use.
type packer struct {
	encoder *zstd.Encoder
	dict    *dictionary // nil: none
	id      uint32
	plain   []byte // scratch
}

func newPacker(dict *dictionary) (*packer, error) {
	options := []zstd.EOption{
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), // full verification hashes the bodies
		zstd.WithLowerEncoderMem(true),
	}
	p := &packer{dict: dict}
	if dict != nil {
		p.id = dict.id
		options = append(options, zstd.WithEncoderDict(dict.content))
	}
	encoder, err := zstd.NewWriter(nil, options...)
	if err != nil {
		return nil, fmt.Errorf("load dictionary %d: %w", p.id, err)
	}
	p.encoder = encoder
	return p, nil
}

// pack appends r's packed body and cells to b.
func (p *packer) pack(b []byte, r object.Record) []byte {
	if len(r.Body) == 0 && len(r.Cells) == 0 {
		return b
	}
	p.plain = appendPlain(p.plain[:0], r)
	b = append(b, formatZstd)
	b = binary.LittleEndian.AppendUint32(b, p.id)
	return p.encoder.EncodeAll(p.plain, b)
}

// appendPlain appends what a packed record holds before compression.
func appendPlain(b []byte, r object.Record) []byte {
	b = appendText(b, r.Cells)
	return append(b, r.Body...)
}
