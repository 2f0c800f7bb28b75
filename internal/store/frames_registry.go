package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// frameEntry is one field of the registry of streams: a stream and who writes it.
type frameEntry struct {
	Stream   object.FrameStream `json:"stream"`
	Instance string             `json:"instance"`
	At       time.Time          `json:"at"` // the writer's clock, UTC
}

func (s *Store) frameRegistry() string { return s.options.Prefix + ":metrics" }

// frameEntries returns the registry without what has been silent for long.
func (s *Store) frameEntries(ctx context.Context) (entries []frameEntry, silent []string, err error) {
	var fields map[string]string
	err = s.call(ctx, "read registry", s.frameRegistry(), callTimeout, func(ctx context.Context) error {
		fields, err = s.client.HGetAll(ctx, s.frameRegistry()).Result()
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	for field, text := range fields {
		var e frameEntry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, nil, fmt.Errorf("read registry field %q: %w", field, err)
		}
		if time.Since(e.At) > framesSilent {
			silent = append(silent, field)
			continue
		}
		entries = append(entries, e)
	}
	return entries, silent, nil
}

// registerFrames writes the heartbeat of our stream.
func (s *Store) registerFrames(ctx context.Context, stream object.FrameStream) error {
	text, err := json.Marshal(frameEntry{Stream: stream, Instance: s.options.Instance, At: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("encode status of %v: %w", stream, err)
	}
	return s.call(ctx, "report", s.frameRegistry(), callTimeout, func(ctx context.Context) error {
		return s.client.HSet(ctx, s.frameRegistry(), frameResource(stream).Name, text).Err()
	})
}

// buryFrames drops the heartbeats of streams whose frames are gone.
func (s *Store) buryFrames(ctx context.Context) error {
	_, silent, err := s.frameEntries(ctx)
	if err != nil || len(silent) == 0 {
		return err
	}
	return s.call(ctx, "bury", s.frameRegistry(), callTimeout, func(ctx context.Context) error {
		return s.client.HDel(ctx, s.frameRegistry(), silent...).Err()
	})
}

func compareStreams(a, b object.FrameStream) int {
	return cmp.Or(strings.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Shards, b.Shards), cmp.Compare(a.Shard, b.Shard))
}
