package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	readBytes = 4 << 20                // what one read of a stream should bring
	readStep  = 500 * time.Millisecond // a blocked read notices the end of its context after so long
	pollStep  = 10 * time.Millisecond  // how often a reader of an embedded Redis looks
)

// rebuild fills ring with what the stream at key holds, and returns its last
// entry. Bodies do not leave Redis. renew is called about every second.
func (s *Store) rebuild(ctx context.Context, ring *ring, key, subject string, renew func(context.Context) error) (place, error) {
	ring.clear()
	var last place
	count, renewed := 16, time.Now()
	for start := "-"; ; start = "(" + string(last.id()) {
		page, err := s.sizes(ctx, key, subject, start, count)
		if err != nil || len(page) == 0 {
			return last, err
		}
		var bytes int64
		for _, e := range page {
			ring.add(e)
			bytes += e.bytes
		}
		last = page[len(page)-1].place
		count = pageSize(bytes / int64(len(page)))
		if time.Since(renewed) > time.Second {
			renewed = time.Now()
			if err := renew(ctx); err != nil {
				return place{}, err
			}
		}
	}
}

// pageSize returns how many entries of about so many bytes to read at once.
func pageSize(entry int64) int { return int(min(max(readBytes/max(entry, 1), 4), 1000)) }

func (s *Store) sizes(ctx context.Context, key, subject, start string, count int) (page []ringEntry, err error) {
	err = s.call(ctx, "measure stream", subject, scanTimeout, func(ctx context.Context) error {
		answer, err := sizesScript.Run(ctx, s.client, []string{key}, start, count, streamHead).Slice()
		if err != nil {
			return err
		}
		for ; len(answer) >= 3; answer = answer[3:] {
			e, err := parseSize(answer)
			if err != nil {
				return err
			}
			page = append(page, e)
		}
		return nil
	})
	return page, err
}

func parseSize(answer []any) (ringEntry, error) {
	id, _ := answer[0].(string)
	size, _ := answer[1].(int64)
	head, _ := answer[2].(string)
	p, err := parsePlace(object.LogID(id))
	if err != nil {
		return ringEntry{}, err
	}
	scan := scanner{rest: []byte(head)}
	scan.byte() // the format matters to those who read all of it
	return ringEntry{place: p, bytes: size, at: scan.time()}, nil
}

// tailer reads a stream in portions of about 4 MB.
type tailer struct {
	store   *Store
	key     string
	meta    string // hash whose field tail names the stream's last entry
	subject string
	entry   atomic.Int64 // bytes of an entry, as last seen
}

// raw is an entry as it stands in a stream.
type raw struct {
	id   object.LogID
	blob []byte
}

// read returns the entries after after, waiting up to wait for the first. It
// returns nil if none came.
func (t *tailer) read(ctx context.Context, after object.LogID, wait time.Duration) ([]raw, error) {
	if t.store.options.Embedded {
		return t.poll(ctx, after, wait)
	}
	start := time.Now()
	for {
		step := min(max(wait-time.Since(start), 0), readStep)
		entries, err := t.once(ctx, after, step)
		if err != nil || len(entries) > 0 || time.Since(start) >= wait {
			return entries, err
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.subject, err)
		}
	}
}

// poll is read without XREAD BLOCK, which miniredis answers by walking through
// the whole stream again for every blocked reader after every command of anyone:
// with 20,000 entries and 7 readers each command took 45 ms.
func (t *tailer) poll(ctx context.Context, after object.LogID, wait time.Duration) ([]raw, error) {
	for start := time.Now(); ; {
		tail, err := t.store.tail(ctx, t.meta, t.subject)
		if err != nil {
			return nil, err
		}
		if tail != after {
			entries, err := t.once(ctx, after, 0)
			if err != nil || len(entries) > 0 {
				return entries, err
			}
		}
		left := wait - time.Since(start)
		if left <= 0 {
			return nil, nil
		}
		if err := sleep(ctx, min(left, pollStep)); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.subject, err)
		}
	}
}

// tail reads which entry is the last one, from the stream's meta.
func (s *Store) tail(ctx context.Context, meta, subject string) (object.LogID, error) {
	var tail string
	err := s.call(ctx, "read tail", subject, callTimeout, func(ctx context.Context) (err error) {
		tail, err = s.client.HGet(ctx, meta, "tail").Result()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return err
	})
	return object.LogID(tail), err
}

func (t *tailer) once(ctx context.Context, after object.LogID, block time.Duration) ([]raw, error) {
	if after == "" {
		after = "0-0"
	}
	args := &redis.XReadArgs{Streams: []string{t.key, string(after)}, Count: int64(pageSize(max(t.entry.Load(), 4<<10))), Block: block}
	client := t.store.blocking
	if block < time.Millisecond { // 0 would block for ever
		args.Block = -1
		client = t.store.client
	}
	ctx, cancel := context.WithTimeout(ctx, block+callTimeout)
	defer cancel()
	began := time.Now()
	streams, err := client.XRead(ctx, args).Result()
	if errors.Is(err, redis.Nil) || err == nil && len(streams) == 0 {
		return nil, nil
	}
	if block < time.Millisecond || err != nil {
		t.store.options.Metrics.observe("read stream", time.Since(began), err)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.subject, err)
	}
	return t.entries(streams[0].Messages)
}

func (t *tailer) entries(messages []redis.XMessage) ([]raw, error) {
	entries := make([]raw, 0, len(messages))
	var bytes int64
	for _, m := range messages {
		blob, ok := m.Values["e"].(string)
		if !ok {
			return nil, fmt.Errorf("read %s: entry %s: %w", t.subject, m.ID, errGarbage)
		}
		bytes += int64(len(blob))
		entries = append(entries, raw{object.LogID(m.ID), []byte(blob)})
	}
	t.entry.Store(max(bytes/int64(len(messages)), 1))
	return entries, nil
}
