package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// reload is why a snapshot is read again; a value of the metric's label.
type reload string

const (
	reloadNone    reload = ""
	reloadStart   reload = "start"
	reloadTrimmed reload = "trimmed" // the feed no longer keeps what comes next
	reloadLost    reload = "lost"    // Redis lost what the mirror had read
	reloadEmpty   reload = "empty"   // Redis has no snapshot any more
	reloadCount   reload = "count"   // the mirror has another number of objects than the snapshot
)

// follower is a mirror's walk along the feed after one load.
type follower struct {
	*Mirror
	draft  *draft
	target object.LogID // nothing is shown before the feed has passed it
	first  bool         // the entry of the draft's own ID may still come
	shown  bool         // a root of this load has been published
	behind bool         // Redis said that there is more, but the last read brought nothing
	events []Event      // what has changed since the last root
	torn   bool         // and something that watchers cannot be told
}

// follow applies the feed to d and publishes a root at each complete state, until
// the snapshot has to be read again, or ctx ends (reloadNone).
func (m *Mirror) follow(ctx context.Context, d *draft, target object.LogID) reload {
	f := &follower{Mirror: m, draft: d, target: target, first: true}
	m.setStatus(func(s *Status) { s.Phase = PhaseCatchingUp })
	wait := m.backoff()
	for ctx.Err() == nil {
		why, err := f.step(ctx)
		switch {
		case ctx.Err() != nil:
			return reloadNone
		case why != reloadNone:
			return why
		case err != nil:
			m.cutOff(ctx, err)
			sleep(ctx, wait())
		default:
			m.connected()
			wait = m.backoff()
		}
	}
	return reloadNone
}

// step reads once and applies what came. After an error the next step reads again
// what was not applied.
func (f *follower) step(ctx context.Context) (reload, error) {
	after, patience := f.draft.last, f.options.Wait
	if f.first {
		// The last entry comes once more, to learn whether it left the snapshot
		// between two states; if it was trimmed there is no news to wait for.
		after, patience = beforeID(after), 10*time.Millisecond
	}
	entries, err := f.read(ctx, after, patience)
	if errors.Is(err, object.ErrExpired) {
		return reloadTrimmed, nil
	}
	if err != nil {
		return reloadNone, err
	}
	if len(entries) == 0 && !f.first {
		return f.idle(ctx)
	}
	f.behind = false
	for _, entry := range entries {
		if why := f.check(entry); why != reloadNone {
			return why, nil
		}
		if err := f.apply(ctx, entry); err != nil {
			return reloadNone, err
		}
		if why := f.show(entry); why != reloadNone {
			return why, nil
		}
	}
	if f.first = false; len(entries) == 0 {
		return f.show(object.FeedEntry{Objects: int64(f.draft.contents.tree.Len())}), nil
	}
	return reloadNone, nil
}

func (f *follower) read(ctx context.Context, after object.LogID, patience time.Duration) ([]object.FeedEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+callTimeout)
	defer cancel()
	entries, err := f.feed.Read(ctx, after, patience)
	if err != nil {
		return nil, fmt.Errorf("read feed of %v: %w", f.resource, err)
	}
	return entries, nil
}

// check says whether entry follows what is applied.
func (f *follower) check(entry object.FeedEntry) reload {
	if f.first && entry.ID == f.draft.last {
		return reloadNone
	}
	f.first = false
	switch order := compareID(entry.Prev, f.draft.last); {
	case order > 0:
		return reloadTrimmed
	case order < 0:
		return reloadLost
	}
	return reloadNone
}

// apply opens everything that entry carries before it changes anything: an entry
// is applied whole or not at all.
func (f *follower) apply(ctx context.Context, entry object.FeedEntry) error {
	objects := make([]*Object, len(entry.Changes))
	broken := false
	for i, change := range entry.Changes {
		if change.Type == object.Deleted && (!f.shown || len(change.Object.Data) == 0) {
			continue // there are no watchers yet, or nobody saw the deletion
		}
		record, err := f.feed.Unpack(ctx, change.Object)
		if err == nil {
			objects[i], err = f.open(record)
		}
		switch {
		case errors.Is(err, object.ErrUnreadable):
			f.leaveOut(change.Object.Key, err) // nil: what was known of it goes
			broken = true
		case err != nil:
			return fmt.Errorf("unpack %v of %v: %w", change.Object.Key, f.resource, err)
		}
	}
	if broken {
		f.options.OnUnreadable(ctx, f.resource)
	}
	events, whole := f.draft.apply(entry, objects)
	f.first = false
	if f.shown {
		f.events, f.torn = append(f.events, events...), f.torn || !whole
		f.metrics.applied.Add(float64(len(entry.Changes)))
	}
	return nil
}

// show publishes the draft if it is a complete state that readers may see. entry
// is what led to it.
func (f *follower) show(entry object.FeedEntry) reload {
	d := f.draft
	if d.hold || compareID(d.last, f.target) < 0 {
		if before := f.Root(); before != nil && f.shown {
			f.Mirror.show(shown{root: before, read: d.last, hold: true})
		}
		return reloadNone
	}
	if entry.Objects != int64(d.contents.tree.Len()) && time.Since(f.counts) > time.Minute {
		// A mirror that differs from the snapshot must heal by itself. If that did
		// not help, the number is wrong and not the mirror.
		f.counts = time.Now()
		f.log.Error("mirror has another number of objects than the snapshot", "mirror", d.contents.tree.Len(), "snapshot", entry.Objects, "entry", entry.ID)
		return reloadCount
	}
	if !f.shown && !d.reaches(f.seen[d.lineage]) {
		// Redis went back, perhaps even to a lineage before this one.
		return reloadNone
	}
	if n := len(f.events); n > 0 && !f.torn {
		// All changes up to a change of the stream are known, whether or not the position says so.
		d.freshness.Streamed = d.freshness.Streamed.Newest(f.events[n-1].Version)
	}
	f.seen[d.lineage] = d.newest
	root := d.root(f.resource)
	f.remember(root)
	f.kept.letGo()
	f.Mirror.show(shown{root: root, read: d.last})
	if f.onPublish != nil {
		f.onPublish(root)
	}
	if f.shown {
		f.metrics.observe(entry.Changes, time.Now())
		return reloadNone
	}
	f.shown = true
	f.following(root)
	return reloadNone
}

// remember takes the way to root into the history, or begins that anew.
func (f *follower) remember(root *Root) {
	events, torn := f.events, f.torn
	f.events, f.torn = nil, false
	if f.shown && !torn {
		bytes := f.options.HistoryBytes
		if bytes == 0 {
			bytes = max(16<<20, root.Bytes/4)
		}
		if f.history.extend(root, events, bytes, f.options.HistoryFor) {
			return
		}
		f.log.Error("changes are not in the order of versions: watchers read everything anew", "version", string(root.Freshness.Streamed))
	}
	f.history.restart(root, root.newest())
}

// idle asks, when the feed has brought nothing for a while, whether Redis still
// has what was read: one that lost it may stay silent for ever.
func (f *follower) idle(ctx context.Context) (reload, error) {
	state, err := f.State(ctx)
	if errors.Is(err, object.ErrNotSynced) {
		return reloadEmpty, nil
	}
	if err != nil {
		return reloadNone, err
	}
	switch order := compareID(state.Tail, f.draft.last); {
	case order < 0:
		return reloadLost, nil
	case order > 0 && f.behind:
		return reloadTrimmed, nil
	default:
		f.behind = order > 0
	}
	return reloadNone, nil
}
