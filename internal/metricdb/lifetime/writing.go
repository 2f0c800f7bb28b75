package lifetime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// writing is what is written at once. Nothing of it counts as known before it is written.
type writing struct {
	follower *Follower
	changed  map[string]*Life // by UID; what is in it is not changed any more
	place    place
}

func (f *Follower) begin() *writing {
	return &writing{follower: f, changed: map[string]*Life{}, place: f.place}
}

// clamp is a time of the feed that is not far from ours: days that have not come are not written.
func (f *Follower) clamp(at time.Time) time.Time {
	if latest := f.options.Now().Add(time.Hour); at.After(latest) || at.Before(time.Unix(0, 0)) {
		at = latest
	}
	return at.UTC().Truncate(time.Millisecond)
}

// advance says that all up to a time is known. A day counts as begun a little later, when
// all that was before it is known, too.
func (w *writing) advance(at time.Time) {
	if at = w.follower.clamp(at); at.After(w.place.at) {
		w.place.at = at
	}
	if w.place.first.IsZero() { // changes may be a little older than the entry that tells of them
		w.place.first = at.Add(-replayed).Truncate(day)
		w.place.day = w.place.first.Add(-day)
	}
	if begun := at.Add(-grace).Truncate(day); begun.After(w.place.day) {
		w.place.day = begun
	}
}

// take takes over what an entry tells.
func (w *writing) take(ctx context.Context, entry *object.FeedEntry) error {
	f := w.follower
	w.advance(entry.Freshness.StreamedAt)
	for _, change := range entry.Changes {
		head := &change.Object.Head
		if change.Type == object.Deleted && len(change.Object.Data) == 0 { // nobody saw when
			w.gone(w.uid(head), head.SeenAt, true)
			continue
		}
		var seen sighting
		record, err := f.feed.Unpack(ctx, change.Object)
		if err == nil {
			record.Deleted = record.Deleted || change.Type == object.Deleted
			seen, err = w.see(&record)
		}
		switch {
		case err == nil:
			w.learn(seen)
		case !errors.Is(err, object.ErrUnreadable):
			return fmt.Errorf("unpack %s %v: %w", f.kind.one, head.Key, err)
		case change.Type == object.Deleted:
			w.gone(w.uid(head), head.SeenAt, false)
		}
	}
	w.place.id = entry.ID
	return nil
}

// uid is whom a tombstone is of: some have but the name. What came to be after it, we may
// know already.
func (w *writing) uid(head *object.Head) string {
	if head.UID != "" {
		return head.UID
	}
	for _, uid := range w.living() {
		life := w.known(uid)
		if life.Tags.Get(metricdb.TagNamespace) == head.Key.Namespace && life.Tags.Get(w.follower.kind.tagName) == head.Key.Name &&
			!life.Created.After(head.SeenAt) {
			return uid
		}
	}
	return ""
}

// known is what is known of a life so far, nil if nothing.
func (w *writing) known(uid string) *Life {
	if life := w.changed[uid]; life != nil {
		return life
	}
	return w.follower.lives[uid]
}

// living are the UIDs of what is known to be there.
func (w *writing) living() (uids []string) {
	for _, known := range []map[string]*Life{w.follower.lives, w.changed} {
		for uid := range known {
			if there(w.known(uid)) == 1 {
				uids = append(uids, uid)
			}
		}
	}
	return uids
}

// sighting is a state of a life, and when it was seen.
type sighting struct {
	life *Life
	at   time.Time
}

// see reads an object's state, or warns and returns object.ErrUnreadable.
func (w *writing) see(record *object.Record) (sighting, error) {
	f := w.follower
	life, err := f.kind.decode(&f.options, f.cluster, record, w.known(record.UID) != nil)
	if err != nil {
		f.log.Warn("an object has no life, for it cannot be read", "object", record.Key.String(), "err", err)
		return sighting{}, err
	}
	return sighting{life, life.seen(record)}, nil
}

// learn takes over what was seen of a life. Its tags stay those with which it was
// first written, for records replace one another by their tags.
func (w *writing) learn(s sighting) {
	life, seen := s.life, s.at
	uid := w.follower.kind.uid(life)
	was := w.known(uid)
	if was == nil || !w.follower.kind.settled(was) {
		life.Requests = []Request{{life.Created, life.amounts()}}
		w.changed[uid] = life
		return
	}
	next := *was
	next.merge(life)
	if end := next.Ended(); end.IsZero() || seen.Before(end) {
		next.Requests = requests(was.Requests).learn(seen, life.amounts())
	}
	if !next.same(was) {
		w.changed[uid] = &next
	}
}

// gone takes over that a life that is known ended.
func (w *writing) gone(uid string, at time.Time, estimated bool) {
	was := w.known(uid)
	if was == nil {
		return
	}
	next := *was
	end := was.seen(&object.Record{Head: object.Head{SeenAt: at}})
	if next.merge(&Life{Deleted: end, Estimated: estimated}); !next.same(was) {
		w.changed[uid] = &next
	}
}

// flush writes what changed, and then up to where.
func (w *writing) flush(ctx context.Context) error {
	f := w.follower
	if err := w.write(ctx, w.rolls()); err != nil {
		return err
	}
	if err := w.write(ctx, w.records()); err != nil {
		return err
	}
	for uid, life := range w.changed {
		f.alive += there(life) - there(f.lives[uid])
		f.lives[uid] = life
	}
	f.place = w.place
	f.forget()
	f.options.Metrics.followed.WithLabelValues(f.kind.name).Set(float64(f.alive))
	f.options.Metrics.seen.WithLabelValues(f.kind.name).Set(float64(w.place.at.UnixMilli()) / 1000)
	return nil
}

// rolls yields, life by life, the records of the days that have begun: of what was written before.
func (w *writing) rolls() iter.Seq[[]metricdb.Record] {
	return func(yield func([]metricdb.Record) bool) {
		f := w.follower
		begin := f.place.day.Add(day)
		if begin.Before(w.place.first) {
			begin = w.place.first
		}
		if w.place.day.Before(begin) {
			return
		}
		for uid, old := range f.lives {
			last := w.place.day
			life := w.known(uid)
			if !life.Deleted.IsZero() && life.Deleted.Before(last) {
				last = life.Deleted
			}
			if f.kind.settled(old) && !yield(f.kind.dayRecords(life, begin, last)) {
				return
			}
		}
	}
}

// records yields, life by life, the records of what changed, and then the place.
func (w *writing) records() iter.Seq[[]metricdb.Record] {
	f := w.follower
	var lives [][]metricdb.Record
	for _, uid := range slices.Sorted(maps.Keys(w.changed)) {
		life := w.changed[uid]
		if !f.kind.settled(life) {
			continue
		}
		old := f.lives[uid]
		if old != nil && !f.kind.settled(old) {
			old = nil
		}
		lives = append(lives, f.kind.news(old, life, w.place.first, w.place.day))
	}
	moved := w.place.id != f.place.id || !w.place.day.Equal(f.place.day) || !w.place.first.Equal(f.place.first)
	if moved || len(lives) > 0 || !f.ready {
		lives = append(lives, []metricdb.Record{f.kind.placeRecord(w.place)})
	}
	return slices.Values(lives)
}

// there is 1 for what is there, and 0 for what is not.
func there(l *Life) int {
	if l == nil || !l.Deleted.IsZero() {
		return 0
	}
	return 1
}

// forget drops, once a minute, what ended too long ago to be told of again, and what was requested
// before the day.
func (f *Follower) forget() {
	if f.place.at.Sub(f.forgot) < time.Minute {
		return
	}
	f.forgot = f.place.at
	for uid, life := range f.lives {
		if there(life) == 0 && life.Deleted.Before(f.place.at.Add(-replayed)) && life.Deleted.Before(f.place.day.Add(day)) {
			delete(f.lives, uid)
		} else {
			life.Requests = requests(life.Requests).since(f.place.day)
		}
	}
}

// write writes the records of lives: those of one together, so that what is known of it
// after a crash is all or nothing.
func (w *writing) write(ctx context.Context, lives iter.Seq[[]metricdb.Record]) error {
	f := w.follower
	var batch []metricdb.Record
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := f.db.WriteRecords(ctx, batch); err != nil {
			return fmt.Errorf("write the lives of %s: %w", f.kind.name, err)
		}
		f.options.Metrics.written.WithLabelValues(f.kind.name).Add(float64(len(batch)))
		batch = nil
		return nil
	}
	for records := range lives {
		if len(batch)+len(records) > f.size {
			if err := send(); err != nil {
				return err
			}
		}
		batch = append(batch, records...)
	}
	return send()
}
