package mirror

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Event is one change as watchers are told of it. It is never changed.
type Event struct {
	Type    object.EventType // Added, Modified or Deleted
	Version object.Version   // what the change made of the resource's version
	Object  *Object          // the new state; of a deletion the last one, at Version
	Before  *Object          // the state before; nil if Type is Added
}

// weight is about how much memory is held for the event alone: the states that no
// root holds any more.
func (e *Event) weight() int64 {
	weight := int64(128)
	if e.Before != nil {
		weight += e.Before.size()
	}
	if e.Type == object.Deleted {
		weight += e.Object.size()
	}
	return weight
}

// step is what led from one root to the next. Steps are a chain that watchers walk
// at their own pace: nothing is buffered for them, and a change costs the same for
// one and for a thousand.
type step struct {
	events    []Event
	freshness object.Freshness
	newest    object.Version // of all changes up to this step
	weight    int64
	at        time.Time
	moved     chan struct{}        // closed when next or err is set
	next      atomic.Pointer[step] // nil once the history does not keep what comes next
	err       error
}

// history keeps the steps that led to the present root, so that a watch can go on
// from a version in the past, and a state of the past can be made again. It begins
// anew whenever what changed has no place in the order of versions.
type history struct {
	mu     sync.Mutex
	steps  []*step // oldest first; the first one has been taken: nothing before it can be told
	start  object.Version
	root   *Root // the present one
	edge   *step // the youngest that is dropped: who stands there is still in time
	weight int64
}

// maxSteps bounds how many steps are kept, whatever they weigh.
const maxSteps = 1 << 16

// restart forgets everything: watchers end with object.ErrExpired. What happened
// after start can be told from now on.
func (h *history) restart(root *Root, start object.Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(fmt.Errorf("the changes of %v have to be read anew: %w", root.Resource, object.ErrExpired))
	h.steps = []*step{{freshness: root.Freshness, newest: start, at: time.Now(), moved: make(chan struct{})}}
	h.start, h.root, h.edge, h.weight = start, root, nil, 0
}

// end ends all watchers.
func (h *history) end(err error) {
	if len(h.steps) == 0 {
		return
	}
	last := h.steps[len(h.steps)-1]
	if last.err == nil {
		last.err = err
		close(last.moved)
	}
}

// close ends all watchers, for the mirror ends.
func (h *history) close(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(err)
	h.steps = nil
}

// extend makes root the present one; events led to it. It returns false, and keeps
// nothing, if they are not in the order of versions: the history has to restart.
func (h *history) extend(root *Root, events []Event, keepBytes int64, keepFor time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.steps[len(h.steps)-1]
	if len(events) > 0 && !events[0].Version.Newer(last.freshness.Streamed) {
		return false // readers were told that everything up to there is known
	}
	s := &step{events: events, freshness: root.Freshness, newest: last.newest, at: time.Now(), moved: make(chan struct{}), weight: 256}
	for i := range events {
		if !events[i].Version.Newer(s.newest) {
			return false
		}
		s.newest = events[i].Version
		s.weight += events[i].weight()
	}
	h.steps, h.weight, h.root = append(h.steps, s), h.weight+s.weight, root
	last.next.Store(s)
	h.trim(keepBytes, s.at.Add(-keepFor))
	close(last.moved)
	return true
}

// trim drops the oldest steps; the newest stays. It cuts the chain behind them, so that a
// watcher who is slow, or writes for long, holds nothing but its own step.
func (h *history) trim(keepBytes int64, since time.Time) {
	n := 0
	for n < len(h.steps)-1 && (h.weight > keepBytes || len(h.steps)-n > maxSteps || h.steps[n].at.Before(since)) {
		h.weight -= h.steps[n].weight
		if h.edge != nil {
			h.edge.next.Store(nil)
		}
		h.edge = h.steps[n]
		n++
	}
	if n == 0 {
		return
	}
	clear(h.steps[:n])
	h.steps = h.steps[n:]
	h.start = h.start.Newest(h.steps[0].newest)
}

// after returns a cursor that yields what happened after version, or fails with
// object.ErrExpired. The version must not be newer than the present root's.
func (h *history) after(version object.Version) (*Cursor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.keeps(version); err != nil {
		return nil, err
	}
	at := len(h.steps) - 1
	for at > 0 && h.steps[at].newest.Newer(version) {
		at--
	}
	return &Cursor{step: h.steps[at], after: version}, nil
}

// keeps fails unless everything after version is known.
func (h *history) keeps(version object.Version) error {
	switch {
	case len(h.steps) == 0:
		return fmt.Errorf("nothing is kept: %w", object.ErrExpired)
	case h.start.Newer(version):
		return fmt.Errorf("version %s: the oldest that is kept is %s: %w", version, h.start, object.ErrExpired)
	}
	return nil
}

// since returns the present root, what happened after version, newest first, and
// how fresh the state at version was.
func (h *history) since(version object.Version) (root *Root, events []Event, fresh object.Freshness, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.keeps(version); err != nil {
		return nil, nil, fresh, err
	}
	at := len(h.steps) - 1
	for ; at > 0 && h.steps[at].newest.Newer(version); at-- {
		step := h.steps[at]
		for i := len(step.events) - 1; i >= 0 && step.events[i].Version.Newer(version); i-- {
			events = append(events, step.events[i])
		}
	}
	return h.root, events, h.steps[at].freshness, nil
}

// Cursor is a watcher's place in the history of a mirror. It is for one goroutine.
type Cursor struct {
	step  *step
	after object.Version // events up to here are known to the watcher
}

// Batch is what one step of the mirror changed: often nothing but the position.
type Batch struct {
	Events    []Event // in the order of their versions; shared, not to be written to
	Freshness object.Freshness
}

// Ready says that Next will not wait.
func (c *Cursor) Ready() bool {
	select {
	case <-c.step.moved:
		return true
	default:
		return false
	}
}

// Next waits for what comes next. It fails with object.ErrExpired if the watcher
// has to read everything anew, because changes came that have no place in the order of
// versions, or because it is so slow that what comes next is not kept any more,
// with object.ErrNotFound if the mirror has ended, and with ctx's error.
func (c *Cursor) Next(ctx context.Context) (Batch, error) {
	select {
	case <-c.step.moved:
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	}
	if c.step.err != nil {
		return Batch{}, c.step.err
	}
	next := c.step.next.Load()
	if next == nil {
		return Batch{}, fmt.Errorf("the watcher is too slow: %w", object.ErrExpired)
	}
	c.step = next
	events := next.events
	for len(events) > 0 && !events[0].Version.Newer(c.after) {
		events = events[1:]
	}
	return Batch{Events: events, Freshness: next.freshness}, nil
}
