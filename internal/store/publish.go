package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// pendingPublish is a publication whose outcome is unknown.
type pendingPublish struct {
	publication object.Publication
	id          place
	args        []any // but for the fence
	bytes       int64 // of the feed entry
	at          time.Time
	trim        object.LogID // the feed before this
}

// Publish writes one step in one script: the objects, the tombstones, the state,
// the drift, and the feed entry, whose ID it returns. State.Listed says which
// Listed was adopted or refused; when it changes, that one's wants and bodies go.
// State.Drift and State.Tail are the store's, who counts and knows them.
//
// It returns ErrFenced if another writer took over, ErrLost if Redis no longer
// holds what it had acknowledged, ErrFull if it has no memory left. After any
// other error it is unknown whether the step arrived: call Publish again with the
// same publication; one that had arrived is neither written nor counted twice.
// If another comes instead, the unfinished one is completed before it.
func (a *Snapshot) Publish(ctx context.Context, publication object.Publication) (object.LogID, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.pending; p != nil {
		if err := a.publish(ctx, p); err != nil {
			return "", err
		}
		if samePublication(p.publication, publication) {
			return a.last, nil
		}
	}
	p, err := a.encode(publication)
	if err != nil {
		return "", fmt.Errorf("publish %v: %w", a.resource, err)
	}
	if err := a.publish(ctx, p); err != nil {
		return "", err
	}
	return a.last, nil
}

// samePublication says whether two publications are the same step.
func samePublication(a, b object.Publication) bool {
	sameChange := func(x, y object.Change) bool { return x.Type == y.Type && x.Object.Head == y.Object.Head }
	return a.State.Checkpoint == b.State.Checkpoint && a.State.Freshness == b.State.Freshness &&
		a.State.Listed == b.State.Listed && a.Entry.Barrier == b.Entry.Barrier && a.Entry.Hold == b.Entry.Hold &&
		a.Drift == b.Drift && slices.EqualFunc(a.Entry.Changes, b.Entry.Changes, sameChange)
}

func (a *Snapshot) publish(ctx context.Context, p *pendingPublish) error {
	k := a.keys
	names := []string{k.fence(a.role), k.snapshotMeta, k.snapshot, k.tombstones, k.feed, k.readers, k.wants, k.bodies}
	args := append([]any{a.fence()}, p.args...)
	err := a.store.call(ctx, "publish", a.resource.String(), scanTimeout, func(ctx context.Context) error {
		_, _, err := a.store.run(ctx, publishScript, names, args...)
		return err
	})
	if err != nil {
		a.pending = p
		return err
	}
	a.pending = nil
	a.last, a.columns = p.id.id(), p.publication.State.Columns
	a.next.n++
	a.ring.add(ringEntry{place: p.id, bytes: p.bytes, at: p.at})
	if trim, err := parsePlace(p.trim); err == nil && p.trim != "" {
		a.ring.forget(trim)
	}
	a.measure()
	return nil
}

// encode makes the script's arguments; see lua/publish.lua.
func (a *Snapshot) encode(publication object.Publication) (*pendingPublish, error) {
	p := &pendingPublish{publication: publication, id: a.next, at: time.Now()}
	entry := publication.Entry
	entry.ID, entry.Prev = a.next.id(), a.last
	head, err := appendFeedHead(nil, p.at, entry)
	if err != nil {
		return nil, err
	}
	state, columns, err := a.encodeState(publication.State)
	if err != nil {
		return nil, err
	}
	changes, bytes := encodeChanges(entry.Changes)
	p.bytes = int64(len(head)) + bytes
	p.trim = a.ring.overflow(p.at, p.bytes)
	d := publication.Drift
	p.args = append([]any{
		string(a.last), string(entry.ID), state, columns,
		publication.State.Listed, string(publication.TrimBefore), string(p.trim),
		strconv.FormatInt(d.Missing, 10), strconv.FormatInt(d.Stale, 10), strconv.FormatInt(d.Ghost, 10), strconv.FormatInt(d.Altered, 10),
		head, len(entry.Changes), len(publication.Tombstones), len(publication.Forgotten),
	}, changes...)
	for _, h := range publication.Tombstones {
		p.args = append(p.args, h.Key.String(), appendObject(nil, object.Packed{Head: h}))
	}
	for _, key := range publication.Forgotten {
		p.args = append(p.args, key.String())
	}
	return p, nil
}

// encodeState returns the state without what stands in fields of its own, and
// the columns if they changed.
func (a *Snapshot) encodeState(state object.SnapshotState) (text, columns []byte, err error) {
	if !slices.Equal(state.Columns, a.columns) {
		if columns, err = json.Marshal(state.Columns); err != nil {
			return nil, nil, err
		}
	}
	state.Columns, state.Tail, state.Drift = nil, "", object.Drift{}
	text, err = json.Marshal(state)
	return text, columns, err
}

// encodeChanges returns four arguments for each change, and the bytes that they
// take in the feed. Only the last change of a key reaches the snapshot.
func encodeChanges(changes []object.Change) (args []any, bytes int64) {
	last := make(map[object.Key]int, len(changes))
	for i, c := range changes {
		last[c.Object.Key] = i
	}
	size := 0
	for _, c := range changes {
		size += len(c.Object.Data) + len(c.Object.Key.Namespace) + len(c.Object.Key.Name) + len(c.Object.UID) + len(c.Object.Version) + 40
	}
	buffer := make([]byte, 0, size) // one for all: the arguments are parts of it
	args = make([]any, 0, 4*len(changes))
	for i, c := range changes {
		key := c.Object.Key.String()
		start := len(buffer)
		buffer = appendObject(buffer, c.Object)
		value := buffer[start:len(buffer):len(buffer)]
		start = len(buffer)
		buffer = appendChangeHead(buffer, c.Type, key, len(value))
		head := buffer[start:len(buffer):len(buffer)]
		args = append(args, operation(c, i == last[c.Object.Key]), key, head, value)
		bytes += int64(len(head) + len(value))
	}
	return args, bytes
}

// operation says what a change does to the snapshot hash.
func operation(c object.Change, last bool) string {
	switch {
	case !last:
		return "f"
	case c.Type == object.Deleted:
		return "d"
	default:
		return "s"
	}
}
