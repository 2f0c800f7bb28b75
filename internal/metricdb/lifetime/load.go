package lifetime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// replayed is how far before its place a follower knows what ended: what comes after the
// place may be written already.
const replayed = time.Hour

// grace is how much later than a change the entry comes that tells of it.
const grace = time.Minute

// open finds where to go on.
func (f *Follower) open(ctx context.Context) error {
	state, err := f.state(ctx)
	if err != nil {
		return err
	}
	found, err := f.recall(ctx)
	if err != nil {
		return err
	}
	if !found {
		return f.load(ctx, "")
	}
	if state.Tail.Compare(f.place.id) < 0 {
		return f.load(ctx, "the feed ends before where it was left")
	}
	f.ready = true
	return nil
}

// recall reads from the database where we are, and what we know. It says whether
// anybody was ever there.
func (f *Follower) recall(ctx context.Context) (found bool, err error) {
	where := metricdb.Is(metricdb.TagCluster, f.cluster)
	places, err := f.kind.places(ctx, f.db, []metricdb.Match{where})
	if err != nil {
		return false, err
	}
	f.place = place{cluster: f.cluster}
	from := time.Unix(0, 0).UTC()
	if found = len(places) > 0; found {
		f.place = places[0]
		if from = f.place.at.Add(-replayed); f.place.day.Before(from) {
			from = f.place.day
		}
	}
	lives, err := f.kind.read(ctx, f.db, from, f.options.Now().Add(365*day), []metricdb.Match{where})
	if err != nil {
		return false, fmt.Errorf("read the known lives of %s: %w", f.kind.name, err)
	}
	clear(f.lives)
	f.alive = 0
	for i := range lives {
		f.lives[f.kind.uid(&lives[i])] = &lives[i]
		f.alive += there(&lives[i])
	}
	return found, nil
}

// gap begins anew, unless another follower of the cluster is further than we are.
func (f *Follower) gap(ctx context.Context, why string) error {
	f.ready, f.behind = false, false
	was := f.place.id
	found, err := f.recall(ctx)
	if err != nil {
		return err
	}
	if found && f.place.id.Compare(was) > 0 {
		f.log.Info("lives are followed from where another process is", "reason", why)
		return nil
	}
	return f.load(ctx, why)
}

// load takes over all that the feed still says, and what the snapshot has. What is gone
// though nothing says so was deleted meanwhile. why is empty at the very first.
func (f *Follower) load(ctx context.Context, why string) error {
	before, err := f.state(ctx)
	if err != nil {
		return err
	}
	w := f.begin()
	w.place.id = ""
	if err := w.catchUp(ctx, before.Tail, nil); err != nil {
		return err
	}
	w.place.id = before.Tail // all before it may be trimmed
	w.advance(before.Freshness.StreamedAt)
	found, err := w.scan(ctx)
	if err != nil {
		return err
	}
	after, err := f.state(ctx)
	if err != nil {
		return err
	}
	if after.Lineage != before.Lineage || after.Tail.Compare(before.Tail) < 0 {
		return fmt.Errorf("scan %s: the snapshot was replaced meanwhile", f.kind.name)
	}
	told := map[string]bool{}
	if err := w.catchUp(ctx, after.Tail, told); err != nil {
		return err
	}
	w.adopt(found, told, f.clamp(before.Freshness.StreamedAt))
	if err := w.flush(ctx); err != nil {
		return err
	}
	f.ready = true
	if why == "" {
		f.log.Info("lives are followed from now on", "known", f.alive)
		return nil
	}
	f.options.Metrics.gaps.WithLabelValues(f.kind.name).Inc()
	f.log.Warn("all objects were read anew: those that came and went meanwhile have no life", "reason", why, "known", f.alive)
	return nil
}

// scan reads the snapshot. Of what cannot be read there is the UID alone.
func (w *writing) scan(ctx context.Context) (map[string]sighting, error) {
	found := map[string]sighting{}
	for record, err := range w.follower.feed.Scan(ctx) {
		if err == nil {
			found[record.UID], err = w.see(&record)
		} else if errors.Is(err, object.ErrUnreadable) {
			w.follower.log.Warn("an object has no life, for it cannot be read", "object", record.Key.String(), "err", err)
			found[record.UID] = sighting{}
		}
		if err != nil && !errors.Is(err, object.ErrUnreadable) {
			return nil, fmt.Errorf("scan %s: %w", w.follower.kind.name, err)
		}
	}
	return found, nil
}

// catchUp takes what the feed says up to an entry, and notes in told, if there is
// one, what it is about; the feed must then go on without a gap.
func (w *writing) catchUp(ctx context.Context, last object.LogID, told map[string]bool) error {
	f := w.follower
	for w.place.id.Compare(last) < 0 {
		entries, err := f.read(ctx, w.place.id, 0)
		if errors.Is(err, object.ErrExpired) {
			entries, err = nil, nil
		}
		if err != nil {
			return err
		}
		if len(entries) == 0 && told == nil {
			return nil // it is trimmed
		}
		if len(entries) == 0 || told != nil && entries[0].Prev != w.place.id {
			return fmt.Errorf("read %s anew: the feed was trimmed meanwhile", f.kind.name)
		}
		for i := range entries {
			entry := &entries[i]
			if entry.ID.Compare(last) > 0 {
				return nil
			}
			for _, change := range entry.Changes {
				if told != nil {
					told[change.Object.UID] = true
				}
			}
			if err := w.take(ctx, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt takes over what a scan found, except what the feed has told meanwhile; what was
// known to be there, and neither has, is gone: dated when that was noticed.
func (w *writing) adopt(found map[string]sighting, told map[string]bool, noticed time.Time) {
	for uid, seen := range found {
		if seen.life != nil && !told[uid] {
			w.learn(seen)
		}
	}
	for _, uid := range w.living() {
		if _, ok := found[uid]; !ok && !told[uid] {
			w.gone(uid, noticed, true)
		}
	}
}
