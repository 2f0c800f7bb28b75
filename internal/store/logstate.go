package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// advance applies an item to the log's state. A position never moves backwards
// within one lineage.
func advance(s *object.LogState, item object.LogItem) {
	switch item.Kind {
	case object.ItemResyncBegin:
		if item.Resync.Lineage != s.Resync.Lineage {
			s.Position, s.PositionAt = "", time.Time{}
		}
		s.Resync, s.Resyncing = item.Resync, true
	case object.ItemResyncEnd:
		s.Resyncing = false
		advancePosition(s, item)
	case object.ItemPosition:
		advancePosition(s, item)
	}
}

func advancePosition(s *object.LogState, item object.LogItem) {
	switch order := item.Version.Compare(s.Position); {
	case order > 0:
		s.Position, s.PositionAt = item.Version, item.At
	case order == 0 && item.At.After(s.PositionAt):
		s.PositionAt = item.At
	}
}

// logMeta returns the fields of the log's meta to write: the position, and what changed.
func logMeta(state, old object.LogState, items []object.LogItem) ([]any, error) {
	meta := []any{
		"position", string(state.Position),
		"positionAt", strconv.FormatInt(unixNano(state.PositionAt), 10),
		"resyncing", strconv.FormatBool(state.Resyncing),
	}
	if state.Resync != old.Resync {
		text, err := json.Marshal(state.Resync)
		if err != nil {
			return nil, err
		}
		meta = append(meta, "resync", text)
	}
	for _, item := range items {
		if item.Kind != object.ItemColumns {
			continue
		}
		text, err := json.Marshal(item.Columns)
		if err != nil {
			return nil, err
		}
		meta = append(meta, "columns", text)
	}
	return meta, nil
}

// logState reads a log's meta hash.
func (s *Store) logState(ctx context.Context, k keys, resource object.Resource) (state object.LogState, meta map[string]string, err error) {
	err = s.call(ctx, "read log state", resource.String(), callTimeout, func(ctx context.Context) error {
		meta, err = s.client.HGetAll(ctx, k.logMeta).Result()
		return err
	})
	if err != nil {
		return object.LogState{}, nil, err
	}
	if state, err = parseLogState(meta); err != nil {
		return object.LogState{}, nil, fmt.Errorf("read log state of %v: %w", resource, err)
	}
	return state, meta, nil
}

func parseLogState(meta map[string]string) (object.LogState, error) {
	state := object.LogState{
		Position:  object.Version(meta["position"]),
		Resyncing: meta["resyncing"] == "true",
		Tail:      object.LogID(meta["tail"]),
	}
	if !isVersion(state.Position) {
		return object.LogState{}, fmt.Errorf("position %q: %w", state.Position, errGarbage)
	}
	if text := meta["positionAt"]; text != "" {
		nanos, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return object.LogState{}, fmt.Errorf("positionAt %q: %w", text, errGarbage)
		}
		state.PositionAt = fromUnixNano(nanos)
	}
	if text := meta["resync"]; text != "" {
		if err := json.Unmarshal([]byte(text), &state.Resync); err != nil {
			return object.LogState{}, fmt.Errorf("resync %q: %w", text, errGarbage)
		}
	}
	return state, nil
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromUnixNano(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
