package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// ErrTooNew comes when the mirror has not reached a version within the time that
// readers are let wait for it.
var ErrTooNew = errors.New("too large resource version")

// patience is how long a reader waits for a state that is not here yet. It is the
// API server's own figure.
const patience = 3 * time.Second

// shown is what readers may see, and how far the feed has been read.
type shown struct {
	root    *Root        // nil before the first
	read    object.LogID // the last entry that is applied
	hold    bool         // it is not in root yet, for it left the snapshot between two states
	changed chan struct{}
}

// Root returns the state to read from, nil before the first. Within one lineage it is
// not older than what any earlier call returned.
func (m *Mirror) Root() *Root { return m.shown.Load().root }

// show wakes those who wait.
func (m *Mirror) show(next shown) {
	before := m.shown.Load()
	next.changed = make(chan struct{})
	m.shown.Store(&next)
	close(before.changed)
}

// await returns the first root for which enough says true, or the present one and
// the cause when ctx ends.
func (m *Mirror) await(ctx context.Context, enough func(*shown) bool) (*Root, error) {
	for {
		s := m.shown.Load()
		if enough(s) {
			return s.root, nil
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return s.root, context.Cause(ctx)
		}
	}
}

var (
	errBehind  = errors.New("the mirror lags behind the feed")
	errReading = errors.New("the snapshot is read again")
	errLost    = errors.New("redis lost what was read")
)

// Latest returns a state that is not older than what Redis held when it was called,
// whichever replica is asked: reads through several never go back in time. If that
// cannot be had, because Redis is away or the mirror lags, it returns what it has
// and an error that says why. Without any state the error is object.ErrNotSynced and the
// Root nil.
func (m *Mirror) Latest(ctx context.Context) (*Root, error) {
	root := m.Root()
	if root == nil {
		return nil, object.ErrNotSynced
	}
	switch status := m.Status(); {
	case status.Err != nil:
		return root, status.Err
	case status.Phase != PhaseFollowing: // it may take long
		return root, errReading
	}
	tail, err := m.tails.read(ctx, m.feed.Tail)
	if err != nil {
		return m.Root(), fmt.Errorf("ask where the feed of %v ends: %w", m.resource, err)
	}
	if s := m.shown.Load(); compareID(tail, s.root.ID) < 0 {
		return s.root, errLost
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errBehind)
	defer cancel()
	return m.await(ctx, func(s *shown) bool {
		return compareID(s.root.ID, tail) >= 0 || s.hold && compareID(s.read, tail) >= 0
	})
}

// NotOlderThan returns a state that is at least at version, and waits a little for
// it; then the error is ErrTooNew, and the Root the present one. Without any state the error is
// object.ErrNotSynced.
func (m *Mirror) NotOlderThan(ctx context.Context, version object.Version) (*Root, error) {
	root := m.Root()
	switch {
	case root == nil:
		return nil, object.ErrNotSynced
	case !version.Newer(root.Freshness.Streamed):
		return root, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrTooNew)
	defer cancel()
	// A quiet resource's position moves about once a minute: have it moved.
	nudge := time.AfterFunc(patience/10, func() { m.nudge(ctx) })
	defer nudge.Stop()
	return m.await(ctx, func(s *shown) bool { return !version.Newer(s.root.Freshness.Streamed) })
}

// Exact returns the state at version, waits for it as NotOlderThan does, and fails
// with object.ErrExpired if it is not kept any more. It costs O(changes since).
func (m *Mirror) Exact(ctx context.Context, version object.Version) (*Root, error) {
	root, err := m.NotOlderThan(ctx, version)
	if err != nil || root.Freshness.Streamed == version {
		return root, err
	}
	if root := m.kept.get(root.Lineage, version); root != nil {
		return root, nil
	}
	present, events, fresh, err := m.history.since(version)
	if err != nil {
		return nil, fmt.Errorf("state of %v: %w", m.resource, err)
	}
	past := present.undo(events)
	past.Freshness = fresh
	past.Freshness.Streamed = version
	m.kept.put(past)
	return past, nil
}

// undo returns the state before events, which are newest first.
func (r *Root) undo(events []Event) *Root {
	r.copying.Lock()
	past := *r
	past.contents = r.contents.copy()
	r.copying.Unlock()
	past.copying = new(sync.Mutex)
	for _, event := range events {
		if event.Before == nil {
			past.contents.remove(event.Object.Key)
		} else {
			past.contents.set(event.Before)
		}
	}
	past.Bytes = past.contents.bytes
	return &past
}

// Keep asks to have the state at root's version at hand for a while, for a reader
// who takes it in pages.
func (m *Mirror) Keep(root *Root) { m.kept.put(root) }

// Changes returns a cursor that yields what happened after version. It waits for
// the version as NotOlderThan does. It fails with object.ErrExpired if that is not kept
// any more, ErrTooNew, or object.ErrNotSynced.
func (m *Mirror) Changes(ctx context.Context, after object.Version) (*Cursor, error) {
	if _, err := m.NotOlderThan(ctx, after); err != nil {
		return nil, err
	}
	return m.history.after(after)
}

// nudge has the stream's position moved on, once a second however many wait.
func (m *Mirror) nudge(ctx context.Context) {
	last, now := m.nudged.Load(), time.Now().UnixNano()
	if now-last >= int64(time.Second) && m.nudged.CompareAndSwap(last, now) {
		m.options.OnBehind(ctx, m.resource)
	}
}

// tails asks Redis where the feed ends, once for all who ask at the same time.
type tails struct {
	mu   sync.Mutex
	next *tailCall
	turn chan struct{}
}

// tailCall is one question that has not been sent yet; who comes later needs another.
type tailCall struct {
	done chan struct{}
	id   object.LogID
	err  error
}

const tailTimeout = time.Second

func (t *tails) read(ctx context.Context, ask func(context.Context) (object.LogID, error)) (object.LogID, error) {
	t.mu.Lock()
	call := t.next
	first := call == nil
	if first {
		call = &tailCall{done: make(chan struct{})}
		t.next = call
	}
	t.mu.Unlock()
	if first {
		t.turn <- struct{}{}
		t.mu.Lock()
		t.next = nil
		t.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tailTimeout) // others wait for it, too
		call.id, call.err = ask(ctx)
		cancel()
		<-t.turn
		close(call.done)
	}
	select {
	case <-call.done:
		return call.id, call.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// kept holds a few states of the past.
type kept struct {
	mu    sync.Mutex
	roots []keptRoot // used last comes last
}

type keptRoot struct {
	root *Root
	used time.Time
}

const (
	keepRoots    = 8
	keepRootsFor = 5 * time.Minute
)

func (k *kept) get(lineage string, version object.Version) *Root {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire()
	for i, kept := range k.roots {
		if kept.root.Lineage == lineage && kept.root.Freshness.Streamed == version {
			k.roots = append(slices.Delete(k.roots, i, i+1), keptRoot{kept.root, time.Now()})
			return kept.root
		}
	}
	return nil
}

func (k *kept) put(root *Root) {
	if k.get(root.Lineage, root.Freshness.Streamed) != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.roots) == keepRoots {
		k.roots = slices.Delete(k.roots, 0, 1)
	}
	k.roots = append(k.roots, keptRoot{root, time.Now()})
}

// letGo lets go of what nobody has used for long.
func (k *kept) letGo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire()
}

// expire is letGo; it needs mu.
func (k *kept) expire() {
	since := time.Now().Add(-keepRootsFor)
	k.roots = slices.DeleteFunc(k.roots, func(kept keptRoot) bool { return kept.used.Before(since) })
}

// FresherThan waits, at most for patience, for a state that the stream was known to
// be at within the last age, and has a quiet resource proven current. It fails with
// object.ErrNotSynced or because there was none in time.
func (m *Mirror) FresherThan(ctx context.Context, age, patience time.Duration) (*Root, error) {
	if m.Root() == nil {
		return nil, object.ErrNotSynced
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errBehind)
	defer cancel()
	m.nudge(ctx)
	return m.await(ctx, func(s *shown) bool { return time.Since(s.root.Freshness.StreamedAt) <= age })
}
