package lifetime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Feed is the pods' snapshot and feed. internal/store implements it.
type Feed interface {
	// State returns the snapshot's state, object.ErrNotSynced if there is none.
	State(ctx context.Context) (object.SnapshotState, error)
	// Scan yields the whole snapshot as it changes meanwhile; a key may come twice.
	// One that cannot be opened comes with object.ErrUnreadable, and others follow.
	Scan(ctx context.Context) iter.Seq2[object.Record, error]
	// Read returns the entries after that ID, oldest first; none after wait.
	Read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error)
	// Unpack opens what a feed entry carries, or fails with object.ErrUnreadable.
	Unpack(ctx context.Context, packed object.Packed) (object.Record, error)
}

// Options are the settings of a Follower; the zero value is the default.
type Options struct {
	Separator string   // between labels in the tag labels; "," if ""
	Ignore    []string // labels that are left out of it
	Now       func() time.Time
	Metrics   *Metrics
}

// Follower writes the lives of a cluster's pods. Where it is in the feed it keeps in the
// database, with what it wrote up to there: it goes on from there after a restart. If the
// feed does not reach back so far, it reads all pods anew, warns, and counts a gap: pods
// that came and went meanwhile are not known then, and deletions are dated when they
// were noticed. Two of them for one cluster write the same.
type Follower struct {
	db      metricdb.DB
	feed    Feed
	cluster string
	options Options
	log     *slog.Logger

	ready   bool
	behind  bool             // Redis said that there is more, but the last read brought nothing
	last    object.LogID     // the last entry that is written
	alive   map[string]*Life // by UID: the pods that are there
	missing map[string]bool  // UIDs that a scan lacked: gone, unless the feed says until target how
	target  object.LogID
	day     time.Time // the last one whose aliveSet is written
	said    time.Time
}

// placeSet has one record per cluster, at the epoch: where in the feed it is.
// [tenure, n: of the entry's ID; at: of its freshness, Unix ms]
const placeSet = metricdb.RecordPrefix + "lifetimes"

// writeSize is how many records are written at a time.
const writeSize = 5000

// Times of following the feed.
const (
	callTimeout = 5 * time.Second
	readWait    = 5 * time.Second
	maxPause    = 10 * time.Second
)

// NewFollower returns a writer of the lives of the pods that feed is about. It does no I/O.
func NewFollower(db metricdb.DB, feed Feed, cluster string, options Options, log *slog.Logger) *Follower {
	options.Separator = cmp.Or(options.Separator, ",")
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	return &Follower{db: db, feed: feed, cluster: cluster, options: options, log: log, alive: map[string]*Life{}}
}

// Run writes lifetimes until ctx ends, and then returns nil. While Redis or the
// database is away it waits: what it has not written stays in the feed.
func (l *Follower) Run(ctx context.Context) error {
	const least = 200 * time.Millisecond
	pause := least
	for ctx.Err() == nil {
		err := l.Step(ctx)
		if err == nil {
			pause = least
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if now := l.options.Now(); !errors.Is(err, object.ErrNotSynced) || now.Sub(l.said) > time.Minute {
			l.said = now
			l.options.Metrics.errors.Inc()
			l.log.Warn("lifetimes of pods cannot be written: trying again", "cluster", l.cluster, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxPause)
	}
	return nil
}

// Step writes what the feed has brought, and waits a few seconds if that is nothing.
func (l *Follower) Step(ctx context.Context) error {
	if !l.ready {
		if err := l.open(ctx); err != nil {
			return err
		}
	}
	readCtx, cancel := context.WithTimeout(ctx, readWait+callTimeout)
	defer cancel()
	entries, err := l.feed.Read(readCtx, l.last, readWait)
	if errors.Is(err, object.ErrExpired) {
		return l.gap(ctx, "the feed was trimmed")
	}
	if err != nil {
		return fmt.Errorf("read the feed of pods: %w", err)
	}
	if len(entries) == 0 {
		return l.idle(ctx)
	}
	l.behind = false
	w := &writing{lifetimes: l, changed: map[string]*Life{}, last: l.last}
	for _, entry := range entries {
		if entry.Prev != w.last {
			if err := w.flush(ctx); err != nil {
				return err
			}
			return l.gap(ctx, "the feed does not go on where it was left")
		}
		if err := w.take(ctx, &entry); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}

// open finds where to go on.
func (l *Follower) open(ctx context.Context) error {
	now := l.options.Now()
	lives, err := Pods(ctx, l.db, now, now.Add(time.Nanosecond), metricdb.Is(metricdb.TagCluster, l.cluster))
	if err != nil {
		return fmt.Errorf("read known lifetimes: %w", err)
	}
	clear(l.alive)
	for i := range lives {
		if lives[i].Deleted.IsZero() {
			l.alive[lives[i].UID()] = &lives[i]
		}
	}
	place, found, err := l.place(ctx)
	if err != nil {
		return fmt.Errorf("read the place in the feed: %w", err)
	}
	if !found {
		l.log.Info("lifetimes of pods begin", "cluster", l.cluster)
		return l.load(ctx)
	}
	state, err := l.state(ctx)
	if err != nil {
		return err
	}
	if state.Tail.Compare(place) < 0 {
		return l.gap(ctx, "the feed ends before where it was left")
	}
	l.last, l.ready = place, true
	return nil
}

func (l *Follower) place(ctx context.Context) (id object.LogID, found bool, err error) {
	q := metricdb.RecordQuery{
		Set: placeSet, Fields: []string{"tenure", "n"}, From: time.Unix(0, 0), To: time.Unix(1, 0),
		Where: []metricdb.Match{metricdb.Is(metricdb.TagCluster, l.cluster)},
	}
	for r, err := range l.db.Records(ctx, q) {
		if err != nil {
			return "", false, err
		}
		if tenure := r.Int("tenure"); tenure != 0 { // else before the first
			id = object.LogID(fmt.Sprintf("%d-%d", tenure, r.Int("n")))
		}
		return id, true, nil
	}
	return "", false, nil
}

func (l *Follower) state(ctx context.Context) (object.SnapshotState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	state, err := l.feed.State(ctx)
	if err == nil && !state.Synced {
		err = object.ErrNotSynced
	}
	if err != nil {
		return state, fmt.Errorf("read state of pods: %w", err)
	}
	return state, nil
}

// gap reads all pods anew, and says so.
func (l *Follower) gap(ctx context.Context, why string) error {
	l.ready, l.behind = false, false
	l.options.Metrics.gaps.Inc()
	l.log.Warn("pods are read anew: those that came and went meanwhile have no lifetime", "cluster", l.cluster, "reason", why)
	return l.load(ctx)
}

// load writes the lives of all pods of the snapshot.
func (l *Follower) load(ctx context.Context) error {
	before, err := l.state(ctx)
	if err != nil {
		return err
	}
	w := &writing{lifetimes: l, changed: map[string]*Life{}}
	missing := map[string]bool{}
	for uid := range l.alive {
		missing[uid] = true
	}
	for record, err := range l.feed.Scan(ctx) {
		var life *Life
		if err == nil {
			life, err = l.options.decode(l.cluster, &record)
		}
		delete(missing, record.UID)
		switch {
		case errors.Is(err, object.ErrUnreadable):
			l.log.Warn("a pod has no lifetime, for it cannot be read", "pod", record.Key.String(), "err", err)
		case err != nil:
			return fmt.Errorf("scan pods: %w", err)
		default:
			delete(missing, life.UID())
			w.learn(life)
		}
	}
	after, err := l.state(ctx)
	if err != nil {
		return err
	}
	if after.Lineage != before.Lineage || after.Tail.Compare(before.Tail) < 0 {
		return errors.New("scan pods: the snapshot was replaced meanwhile")
	}
	l.missing, l.target = missing, after.Tail
	w.last, w.at = before.Tail, before.Freshness.StreamedAt
	if err := w.flush(ctx); err != nil {
		return err
	}
	l.ready = true
	return nil
}

// idle asks, when nothing came, whether Redis still has what was read, and writes what
// is due.
func (l *Follower) idle(ctx context.Context) error {
	state, err := l.state(ctx)
	if err != nil {
		return err
	}
	switch order := state.Tail.Compare(l.last); {
	case order < 0:
		return l.gap(ctx, "the feed ends before where it was left")
	case order > 0 && l.behind: // there is more, and it cannot be read
		return l.gap(ctx, "the feed was trimmed")
	case order > 0:
		l.behind = true
		return nil
	}
	l.behind = false
	w := &writing{lifetimes: l, changed: map[string]*Life{}, last: l.last, at: state.Freshness.StreamedAt}
	return w.flush(ctx)
}

// writing is what is written at once.
type writing struct {
	lifetimes *Follower
	changed   map[string]*Life // by UID
	last      object.LogID
	at        time.Time // up to when it is true
}

// take takes over what an entry tells.
func (w *writing) take(ctx context.Context, entry *object.FeedEntry) error {
	l := w.lifetimes
	for _, change := range entry.Changes {
		head := &change.Object.Head
		record, err := l.feed.Unpack(ctx, change.Object)
		var life *Life
		if err == nil {
			record.Deleted = record.Deleted || change.Type == object.Deleted
			life, err = l.options.decode(l.cluster, &record)
		}
		switch {
		case errors.Is(err, object.ErrUnreadable):
			known := w.known(head.UID)
			if change.Type == object.Deleted && known != nil {
				gone := *known
				gone.Deleted = head.SeenAt.UTC().Truncate(time.Millisecond)
				w.learn(&gone)
				break
			}
			l.log.Warn("a pod has no lifetime, for it cannot be read", "pod", head.Key.String(), "err", err)
		case err != nil:
			return fmt.Errorf("unpack pod %v: %w", head.Key, err)
		default:
			w.learn(life)
		}
	}
	w.last, w.at = entry.ID, entry.Freshness.StreamedAt
	return nil
}

// known is what is known of a pod so far, nil if nothing.
func (w *writing) known(uid string) *Life {
	if life := w.changed[uid]; life != nil {
		return life
	}
	return w.lifetimes.alive[uid]
}

// learn takes over what is known anew of a pod. Its tags stay those with which it
// was first written: records replace one another by their tags.
func (w *writing) learn(life *Life) {
	uid := life.UID()
	if was := w.known(uid); was != nil {
		if was.Tags.Get(metricdb.TagNode) != "" {
			life.Tags = was.Tags
		}
		life.keep(was)
		if life.same(was) {
			return
		}
	}
	w.changed[uid] = life
}

// keep takes over what was known before, and is not told any more.
func (l *Life) keep(was *Life) {
	if !was.Scheduled.IsZero() {
		l.Scheduled = was.Scheduled
	}
	if !was.Started.IsZero() && (l.Started.IsZero() || was.Started.Before(l.Started)) {
		l.Started = was.Started
	}
	if l.Finished.IsZero() {
		l.Finished = was.Finished
	}
	if l.Deleted.IsZero() {
		l.Deleted = was.Deleted
	}
}

func (l *Life) same(m *Life) bool {
	return l.Created.Equal(m.Created) && l.Scheduled.Equal(m.Scheduled) && l.Started.Equal(m.Started) &&
		l.Finished.Equal(m.Finished) && l.Deleted.Equal(m.Deleted) && l.Tags.Compare(m.Tags) == 0 &&
		l.CPU == m.CPU && l.Memory == m.Memory && l.Storage == m.Storage && l.GPU == m.GPU && l.Containers == m.Containers
}

// flush writes what changed, and then up to where. Nothing of it counts as done before
// it is written.
func (w *writing) flush(ctx context.Context) error {
	l := w.lifetimes
	settled := l.missing != nil && w.last.Compare(l.target) >= 0
	if settled {
		w.settle()
	}
	var records []metricdb.Record
	for _, life := range w.changed {
		if life.Tags.Get(metricdb.TagNode) == "" && life.Deleted.IsZero() {
			continue // it has no node yet: its tags would change
		}
		records = append(records, life.Records()...)
	}
	today := l.options.Now().UTC().Truncate(day)
	if l.day.Before(today) {
		records = append(records, w.roll(today)...)
	}
	if w.last != l.last || len(records) > 0 || !l.ready { // the begin of the feed is a place, too
		records = append(records, w.place())
	}
	for len(records) > 0 {
		n := min(len(records), writeSize)
		if err := l.db.WriteRecords(ctx, records[:n]); err != nil {
			return fmt.Errorf("write lifetimes: %w", err)
		}
		l.options.Metrics.lives.Add(float64(n))
		records = records[n:]
	}
	for uid, life := range w.changed {
		if l.alive[uid] = life; !life.Deleted.IsZero() {
			delete(l.alive, uid)
		}
	}
	l.last, l.day = w.last, today
	if settled {
		l.missing = nil
	}
	l.options.Metrics.pods.Set(float64(len(l.alive)))
	l.options.Metrics.seen.Set(float64(w.at.UnixMilli()) / 1000)
	return nil
}

// settle dates the end of pods that were gone when all were read anew.
func (w *writing) settle() {
	l := w.lifetimes
	for uid := range l.missing {
		if was := l.alive[uid]; was != nil && w.changed[uid] == nil {
			gone := *was
			gone.Deleted, gone.Estimated = w.at.UTC().Truncate(time.Millisecond), true
			w.changed[uid] = &gone
		}
	}
}

// roll are the records of the pods that a day saw from its begin.
func (w *writing) roll(today time.Time) (records []metricdb.Record) {
	for uid, life := range w.lifetimes.alive {
		if newer := w.changed[uid]; newer != nil {
			life = newer
		}
		records = append(records, life.record(aliveSet, today))
	}
	for uid, life := range w.changed {
		if w.lifetimes.alive[uid] == nil && (life.Tags.Get(metricdb.TagNode) != "" || !life.Deleted.IsZero()) {
			records = append(records, life.record(aliveSet, today))
		}
	}
	return records
}

// place is the record of where in the feed all is written up to.
func (w *writing) place() metricdb.Record {
	tenure, n, _ := strings.Cut(string(w.last), "-")
	part := func(text string) metricdb.Value {
		i, _ := strconv.ParseInt(text, 10, 64)
		return metricdb.Int(i)
	}
	return metricdb.Record{
		Set: placeSet, Time: time.Unix(0, 0).UTC(),
		Tags: metricdb.MakeTags(metrics.Label{Key: metricdb.TagCluster, Value: w.lifetimes.cluster}),
		Fields: []metricdb.Field{
			{Name: "at", Value: metricdb.Int(w.at.UnixMilli())}, {Name: "n", Value: part(n)}, {Name: "tenure", Value: part(tenure)},
		},
	}
}
