package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Frames is where collectors leave their frames. internal/store implements it.
type Frames interface {
	// Streams returns the streams that have frames, or will have.
	Streams(ctx context.Context) ([]object.FrameStream, error)
	// Keyframe returns the newest keyframe, object.ErrNotSynced if there is none.
	Keyframe(ctx context.Context, stream object.FrameStream) (object.Frame, error)
	// Range returns the frames after a time, oldest first.
	Range(ctx context.Context, stream object.FrameStream, after time.Time) ([]object.Frame, error)
	// Read is Range of some frames, and waits up to wait for the first.
	Read(ctx context.Context, stream object.FrameStream, after time.Time, wait time.Duration) ([]object.Frame, error)
}

// Keep is how long metrics are kept.
const Keep = 15 * time.Minute

const (
	lookEvery  = 2 * time.Second // for streams that have come or gone
	readWait   = 5 * time.Second
	firstPause = 250 * time.Millisecond
	longPause  = 15 * time.Second
)

// Follower keeps a model of all streams of frames. Its methods may be called from
// several goroutines at once, and before Run; while Redis is away the model stays as
// it was.
type Follower struct {
	frames Frames
	model  *metrics.Model
	stats  *stats
	log    *slog.Logger

	mu      sync.Mutex
	looked  error // why the streams could not be listed last, nil if they could
	failing bool  // they could not, and somebody was told
	listed  bool  // they could once
	streams map[object.FrameStream]*stream
}

// stream is one that is followed.
type stream struct {
	name   object.FrameStream
	cancel context.CancelFunc
	ended  chan struct{}

	// Of the goroutine that follows it.
	restore bool          // it has to be read anew
	pause   time.Duration // before the next try, after one that failed

	// Guarded by Follower.mu.
	after  time.Time // of the newest frame that was read
	loaded bool      // it has been read once, as far as there is something
	err    error
}

// NewFollower returns a Follower of frames that knows nothing before Run.
func NewFollower(frames Frames, options FollowerOptions, log *slog.Logger) *Follower {
	return &Follower{
		frames: frames, model: metrics.NewModel(Keep), stats: newStats(options.Registry), log: log,
		looked: errors.New("no answer of Redis yet"), streams: map[object.FrameStream]*stream{},
	}
}

// Clusters are the clusters of which there are metrics, sorted.
func (f *Follower) Clusters() []string { return f.model.Clusters() }

// View is the newest state of a cluster's metrics, nil if there is none.
func (f *Follower) View(cluster string) *metrics.View { return f.model.View(cluster) }

// Loading says why there may be metrics in Redis that were not read yet; nil once all
// that there were at the start have been.
func (f *Follower) Loading() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.listed {
		return fmt.Errorf("the server does not know yet which there are: %w", f.looked)
	}
	for _, s := range f.streams {
		switch {
		case s.loaded:
		case s.err != nil:
			return fmt.Errorf("those of cluster %s cannot be read: %w", s.name.Cluster, s.err)
		default:
			return fmt.Errorf("those of cluster %s are being read", s.name.Cluster)
		}
	}
	return nil
}

// Doubt says why the cluster's View may not be the newest state, nil if it is as far as
// we know.
func (f *Follower) Doubt(cluster string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		if s.name.Cluster == cluster && s.err != nil {
			return fmt.Errorf("newer ones may be missing: %w", s.err)
		}
	}
	return nil
}

// Run follows all streams until ctx ends, and then returns nil.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for _, s := range f.streams {
			<-s.ended
		}
	}()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		f.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look follows the streams that have come, and forgets those that have gone.
func (f *Follower) look(ctx context.Context) {
	names, err := f.frames.Streams(ctx)
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	changed := err != nil && !f.failing
	f.looked, f.failing = err, err != nil
	if err == nil {
		f.listed = true
		f.start(ctx, names)
	}
	gone := f.missing(names, err)
	f.mu.Unlock()
	if changed {
		f.log.Warn("which metrics there are cannot be read from Redis: those that are known stay", "err", err)
	}
	for _, s := range gone {
		f.forget(s)
	}
}

// start follows the names that are not followed yet. The caller holds f.mu.
func (f *Follower) start(ctx context.Context, names []object.FrameStream) {
	for _, name := range names {
		if f.streams[name] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		s := &stream{name: name, cancel: cancel, ended: make(chan struct{}), restore: true}
		f.streams[name] = s
		go func() {
			defer close(s.ended)
			f.follow(ctx, s)
		}()
	}
}

// missing returns the streams that are registered no more and whose metrics are too old
// to be kept: a Redis that lost its registry has them registered again in a moment.
// The caller holds f.mu.
func (f *Follower) missing(names []object.FrameStream, err error) (gone []*stream) {
	if err != nil {
		return nil
	}
	for name, s := range f.streams {
		if !slices.Contains(names, name) && time.Since(s.after) > Keep {
			gone = append(gone, s)
		}
	}
	return gone
}

// forget ends the following of s, and drops what it brought.
func (f *Follower) forget(s *stream) {
	s.cancel()
	<-s.ended
	f.model.Drop(s.name)
	f.mu.Lock()
	delete(f.streams, s.name)
	f.mu.Unlock()
	f.log.Info("stream of metrics is gone", "stream", nameOf(s.name))
}

func nameOf(s object.FrameStream) string {
	return fmt.Sprintf("%s/%d-%d", s.Cluster, s.Shard, s.Shards)
}
