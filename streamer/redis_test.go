package streamer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const leaseTTL = 5 * time.Second

var errAway = errors.New("redis is away")

// redis holds one resource's log.
type redis struct {
	mu         sync.Mutex
	entries    []object.LogEntry
	tenure     int
	fence      int // 0: nobody's
	beaten     time.Time
	away       bool
	forgetful  bool // writes, but the answer is lost
	asks       []object.Ask
	reports    []object.Status
	released   int
	acquired   int
	violations []string
	freed      chan struct{}
}

func newRedis() *redis { return &redis{freed: make(chan struct{})} }

// handle is one streamer's end of the log.
type handle struct {
	r     *redis
	fence int
	tail  object.LogID // as it was acknowledged
	n     int
	tried []object.LogItem // not acknowledged yet
}

func (r *redis) open(object.Resource) Log { return &handle{r: r} }

func (r *redis) do(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *redis) tail() object.LogID {
	if len(r.entries) == 0 {
		return ""
	}
	return r.entries[len(r.entries)-1].ID
}

// lose drops the last entries. It says whether a whole lineage went with them,
// unless lineages are to be spared.
func (r *redis) lose(n int, spare bool) (lineage bool) {
	r.do(func() {
		all, before := r.entries, r.state().Resync.Lineage
		r.entries = r.entries[:max(0, len(r.entries)-n)]
		after := r.state().Resync.Lineage
		lineage = after != "" && after != before
		if lineage && spare {
			r.entries, lineage = all, false
		}
	})
	return lineage
}

// usurp fences the writer.
func (r *redis) usurp() { r.do(func() { r.tenure++; r.fence = -1 }) }

func (r *redis) ask(asked object.Ask) { r.do(func() { r.asks = append(r.asks, asked) }) }

// state is what the log's entries say. r.mu is held.
func (r *redis) state() object.LogState {
	state := object.LogState{Tail: r.tail()}
	for item := range r.items() {
		switch item.Kind {
		case object.ItemResyncBegin:
			if item.Resync.Lineage != state.Resync.Lineage {
				state.Position = ""
			}
			state.Resync, state.Resyncing = item.Resync, true
		case object.ItemResyncEnd:
			state.Resyncing = false
			state.Position, state.PositionAt = item.Version, item.At
		case object.ItemPosition:
			state.Position, state.PositionAt = item.Version, item.At
		}
	}
	return state
}

func (r *redis) items() func(func(object.LogItem) bool) {
	return func(yield func(object.LogItem) bool) {
		for _, entry := range r.entries {
			for _, item := range entry.Items {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// now is the state, for tests.
func (r *redis) now() object.LogState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state()
}

// all is a copy of all items, for tests.
func (r *redis) all() []object.LogItem {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(r.items())
}

// status is the last one reported.
func (r *redis) status() object.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reports) == 0 {
		return object.Status{}
	}
	return r.reports[len(r.reports)-1]
}

func (h *handle) Acquire(ctx context.Context) (object.LogState, error) {
	for {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return object.LogState{}, err
		}
		h.r.mu.Lock()
		if h.r.away {
			h.r.mu.Unlock()
			return object.LogState{}, errAway
		}
		if h.r.fence <= 0 || h.r.fence == h.fence || time.Since(h.r.beaten) > leaseTTL {
			defer h.r.mu.Unlock()
			h.r.beaten = time.Now()
			h.r.tenure++
			h.r.acquired++
			h.fence, h.r.fence = h.r.tenure, h.r.tenure
			h.tail, h.n, h.tried = h.r.tail(), 0, nil
			return h.r.state(), nil
		}
		freed := h.r.freed
		h.r.mu.Unlock()
		select {
		case <-ctx.Done():
			return object.LogState{}, ctx.Err()
		case <-freed:
		case <-time.After(time.Second):
		}
	}
}

func (h *handle) Append(ctx context.Context, items []object.LogItem) error {
	if err := sleep(ctx, time.Millisecond); err != nil {
		return err
	}
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	id := object.LogID(fmt.Sprintf("%d-%d", h.fence, h.n+1))
	h.guard(id, items)
	switch {
	case h.r.away && !h.r.forgetful:
		return errAway
	case h.r.fence != h.fence:
		return object.ErrFenced
	case h.r.tail() == id: // a retry
	case h.r.tail() != h.tail:
		return object.ErrLost
	default:
		h.r.entries = append(h.r.entries, object.LogEntry{ID: id, Prev: h.tail, Items: slices.Clone(items)})
	}
	if h.r.away {
		return errAway
	}
	h.tail, h.n, h.tried = id, h.n+1, nil
	return nil
}

// guard notes what no streamer may do.
func (h *handle) guard(id object.LogID, items []object.LogItem) {
	if len(items) == 0 {
		h.r.violations = append(h.r.violations, "empty append")
	}
	if h.tried != nil && !reflect.DeepEqual(h.tried, items) {
		h.r.violations = append(h.r.violations, fmt.Sprintf("other items under the ID %s", id))
	}
	h.tried = slices.Clone(items)
}

func (h *handle) Beat(ctx context.Context) ([]object.Ask, error) {
	if err := sleep(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	switch {
	case h.r.away:
		return nil, errAway
	case h.r.fence != h.fence:
		return nil, object.ErrFenced
	}
	h.r.beaten = time.Now()
	asks := h.r.asks
	h.r.asks = nil
	return asks, nil
}

func (h *handle) Report(_ context.Context, status object.Status) error {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	if h.r.away {
		return errAway
	}
	h.r.reports = append(h.r.reports, status)
	return nil
}

func (h *handle) Release(context.Context) error {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	switch {
	case h.r.away:
		return errAway
	case h.r.fence != h.fence:
		return object.ErrFenced
	}
	h.r.fence = 0
	h.r.released++
	close(h.r.freed)
	h.r.freed = make(chan struct{})
	return nil
}
