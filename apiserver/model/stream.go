package model

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// follow keeps the model's part of s current until ctx ends.
func (f *Follower) follow(ctx context.Context, s *stream) {
	for ctx.Err() == nil {
		err := f.step(ctx, s)
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		before := s.err
		s.err = err
		f.mu.Unlock()
		switch {
		case err == nil:
			if before != nil {
				f.log.Info("metrics are read again", "stream", nameOf(s.name))
			}
			s.pause = 0
			continue
		case before == nil || before.Error() != err.Error():
			f.log.Warn("metrics cannot be read: what is known of them stays", "stream", nameOf(s.name), "err", err)
		}
		s.pause = min(max(2*s.pause, firstPause), longPause)
		select {
		case <-ctx.Done():
		case <-time.After(s.pause):
		}
	}
}

// step reads s anew if that has to be, and then waits for what follows.
func (f *Follower) step(ctx context.Context, s *stream) error {
	if s.restore {
		if err := f.load(ctx, s); err != nil {
			return err
		}
		s.restore = false
	}
	frames, err := f.frames.Read(ctx, s.name, s.after, readWait)
	if err != nil {
		return err
	}
	for _, frame := range frames {
		if err := f.apply(s, frame); err != nil || s.restore {
			return err
		}
	}
	return nil
}

// apply takes one frame. After one that cannot be taken the stream is to be read anew:
// its keyframe may be newer than what was missed. If it is not, the next frame does not
// fit either, and so on until there is a new keyframe.
func (f *Follower) apply(s *stream, frame object.Frame) error {
	switch err := f.model.Apply(s.name, frame.Data); {
	case err == nil || errors.Is(err, metrics.ErrOld):
		f.reached(s, frame.At)
		f.stats.frames.WithLabelValues(s.name.Cluster).Inc()
		return nil
	case errors.Is(err, metrics.ErrGap):
		s.restore = true
		f.stats.gaps.WithLabelValues(s.name.Cluster).Inc()
		f.log.Info("batches of metrics were missed: reading the stream anew", "stream", nameOf(s.name), "at", frame.At)
		return nil
	default:
		s.restore = true
		return fmt.Errorf("batch of %s: %w", frame.At.UTC().Format(time.RFC3339), err)
	}
}

// load reads all that there is of s: the keyframe, and what is around it.
func (f *Follower) load(ctx context.Context, s *stream) error {
	key, err := f.frames.Keyframe(ctx, s.name)
	if err != nil && !errors.Is(err, object.ErrNotSynced) {
		return err
	}
	after := time.Now().Add(-Keep - time.Minute) // more is not kept
	frames, err := f.frames.Range(ctx, s.name, after)
	if err != nil {
		return err
	}
	newest, deltas := key.At, make([][]byte, 0, len(frames))
	for _, frame := range frames {
		deltas = append(deltas, frame.Data)
		if frame.At.After(newest) {
			newest = frame.At
		}
	}
	if key.Data != nil || len(deltas) > 0 {
		if err := f.model.Restore(s.name, key.Data, deltas); err != nil {
			return fmt.Errorf("restore from %d frames: %w", len(deltas), err)
		}
		f.stats.restores.WithLabelValues(s.name.Cluster).Inc()
		f.log.Info("metrics are read", "stream", nameOf(s.name), "frames", len(deltas), "newest", newest)
	}
	f.reached(s, newest)
	f.mu.Lock()
	s.loaded = true
	f.mu.Unlock()
	return nil
}

func (f *Follower) reached(s *stream, at time.Time) {
	f.mu.Lock()
	s.after = at
	f.mu.Unlock()
}

// FollowerOptions are the settings of a Follower; the zero value is the default.
type FollowerOptions struct {
	Registry prometheus.Registerer // takes the follower's metrics; may be nil
}

// stats are a Follower's own metrics.
type stats struct {
	frames, gaps, restores *prometheus.CounterVec
}

func newStats(registry prometheus.Registerer) *stats {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"cluster"})
	}
	s := &stats{
		frames:   counter("krm_model_frames_total", "Batches of metrics that were taken from Redis."),
		gaps:     counter("krm_model_gaps_total", "Batches of metrics that did not follow what was known."),
		restores: counter("krm_model_restores_total", "Times that a stream of metrics was read from its keyframe."),
	}
	if registry != nil {
		registry.MustRegister(s.frames, s.gaps, s.restores)
	}
	return s
}
