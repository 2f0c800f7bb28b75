package lifetime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Feed is a resource's snapshot and feed. internal/store implements it.
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

// Follower writes the lives of a cluster's pods, or of its claims; see the package.
type Follower struct {
	db      metricdb.DB
	feed    Feed
	kind    *kind
	cluster string
	options Options
	log     *slog.Logger

	ready   bool
	behind  bool             // Redis said that there is more, but the last read brought nothing
	place   place            // up to where all is written
	lives   map[string]*Life // by UID: what is there, and what ended lately
	alive   int              // of these, how many are there
	forgot  time.Time        // when what ended was dropped last
	waiting bool             // and has said so
	size    int              // how many records are written at a time
}

// Times of following the feed.
const (
	callTimeout = 5 * time.Second
	readWait    = 5 * time.Second
	maxPause    = 10 * time.Second
)

// NewFollower returns a writer of the lives of the pods that feed is about. It does no I/O.
func NewFollower(db metricdb.DB, feed Feed, cluster string, options Options, log *slog.Logger) *Follower {
	return newFollower(&pods, db, feed, cluster, options, log)
}

// NewClaimFollower returns a writer of the lives of the claims to storage
// (persistentvolumeclaims) that feed is about. It does no I/O.
func NewClaimFollower(db metricdb.DB, feed Feed, cluster string, options Options, log *slog.Logger) *Follower {
	return newFollower(&claims, db, feed, cluster, options, log)
}

func newFollower(kind *kind, db metricdb.DB, feed Feed, cluster string, options Options, log *slog.Logger) *Follower {
	options.Separator = cmp.Or(options.Separator, ",")
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	return &Follower{
		db: db, feed: feed, kind: kind, cluster: cluster, options: options,
		log: log.With("resource", kind.name, "cluster", cluster), lives: map[string]*Life{}, size: 5000,
	}
}

// Run writes lives until ctx ends, and then returns nil. While Redis or the database is
// away it waits: what it has not written stays in the feed. It waits, too, while nobody
// watches the resource, and says so once.
func (f *Follower) Run(ctx context.Context) error {
	const least = 200 * time.Millisecond
	pause := least
	for ctx.Err() == nil {
		err := f.Step(ctx)
		if err == nil {
			pause, f.waiting = least, false
			continue
		}
		if ctx.Err() != nil {
			break
		}
		f.complain(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxPause)
	}
	return nil
}

func (f *Follower) complain(err error) {
	if !errors.Is(err, object.ErrNotSynced) {
		f.options.Metrics.failures.WithLabelValues(f.kind.name).Inc()
		f.log.Warn("lives cannot be written: trying again", "err", err)
		return
	}
	if !f.waiting {
		f.waiting = true
		f.log.Info("lives are written once there is a snapshot")
	}
}

// Step writes what the feed has brought, and waits a few seconds if that is nothing.
func (f *Follower) Step(ctx context.Context) error {
	if !f.ready {
		if err := f.open(ctx); err != nil {
			return err
		}
	}
	entries, err := f.read(ctx, f.place.id, readWait)
	if errors.Is(err, object.ErrExpired) {
		return f.gap(ctx, "the feed was trimmed")
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return f.idle(ctx)
	}
	f.behind = false
	w := f.begin()
	for i := range entries {
		if entries[i].Prev != w.place.id {
			if err := w.flush(ctx); err != nil {
				return err
			}
			return f.gap(ctx, "the feed does not go on where it was left")
		}
		if err := w.take(ctx, &entries[i]); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}

// idle asks, when nothing came, whether Redis still has what was read, and writes what
// is due.
func (f *Follower) idle(ctx context.Context) error {
	state, err := f.state(ctx)
	if err != nil {
		return err
	}
	switch order := state.Tail.Compare(f.place.id); {
	case order < 0:
		return f.gap(ctx, "the feed ends before where it was left")
	case order > 0 && f.behind: // there is more, and it cannot be read
		return f.gap(ctx, "the feed was trimmed")
	case order > 0:
		f.behind = true
		return nil
	}
	f.behind = false
	w := f.begin()
	w.advance(state.Freshness.StreamedAt)
	return w.flush(ctx)
}

func (f *Follower) read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	entries, err := f.feed.Read(ctx, after, wait)
	if err != nil {
		return nil, fmt.Errorf("read the feed of %s: %w", f.kind.name, err)
	}
	return entries, nil
}

func (f *Follower) state(ctx context.Context) (object.SnapshotState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	state, err := f.feed.State(ctx)
	if err == nil && !state.Synced {
		err = object.ErrNotSynced
	}
	if err != nil {
		return state, fmt.Errorf("read the state of %s: %w", f.kind.name, err)
	}
	return state, nil
}
