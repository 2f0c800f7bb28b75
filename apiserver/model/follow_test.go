package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// redis is what collectors and followers meet in.
type redis struct {
	mu      sync.Mutex
	changed chan struct{} // closed at every change
	streams []object.FrameStream
	keys    map[object.FrameStream]object.Frame
	frames  map[object.FrameStream][]object.Frame
	err     error
	ranges  int
}

func newRedis() *redis {
	return &redis{changed: make(chan struct{}), keys: map[object.FrameStream]object.Frame{}, frames: map[object.FrameStream][]object.Frame{}}
}

func (r *redis) edit(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// reads is how many times a stream was read whole.
func (r *redis) reads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ranges
}

func (r *redis) Streams(context.Context) ([]object.FrameStream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.streams), r.err
}

func (r *redis) Keyframe(_ context.Context, s object.FrameStream) (object.Frame, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok := r.keys[s]; ok || r.err != nil {
		return key, r.err
	}
	return object.Frame{}, object.ErrNotSynced
}

func (r *redis) Range(_ context.Context, s object.FrameStream, after time.Time) ([]object.Frame, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ranges++
	return r.after(s, after), r.err
}

func (r *redis) after(s object.FrameStream, after time.Time) (frames []object.Frame) {
	for _, frame := range r.frames[s] {
		if frame.At.After(after) {
			frames = append(frames, frame)
		}
	}
	return frames
}

func (r *redis) Read(ctx context.Context, s object.FrameStream, after time.Time, wait time.Duration) ([]object.Frame, error) {
	limit := time.After(wait)
	for {
		r.mu.Lock()
		frames, err, changed := r.after(s, after), r.err, r.changed
		r.mu.Unlock()
		if err != nil || len(frames) > 0 {
			return frames, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit:
			return nil, nil
		case <-changed:
		}
	}
}

// write puts a cluster's next batch into Redis, with a keyframe if that is asked for.
func (r *redis) write(c *cluster, withKey ...bool) object.Frame {
	time.Sleep(resolution)
	b := c.batch()
	frame := object.Frame{At: b.Time, Data: c.encode(b)}
	r.edit(func() {
		if !slices.Contains(r.streams, c.stream) {
			r.streams = append(r.streams, c.stream)
		}
		r.frames[c.stream] = append(r.frames[c.stream], frame)
		if len(withKey) > 0 {
			r.keys[c.stream] = object.Frame{At: b.Time, Data: c.encoder.Keyframe(b)}
		}
	})
	return frame
}

// station is a follower of a redis, in a bubble.
type station struct {
	t        *testing.T
	redis    *redis
	cluster  *cluster
	follower *Follower
	logs     *journal
}

// journal is what was logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// run runs f beside a follower that f starts.
func run(t *testing.T, f func(t *testing.T, s *station, start func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		s := &station{t: t, redis: newRedis(), cluster: newCluster(DefaultCluster), logs: new(journal)}
		s.follower = NewFollower(s.redis, FollowerOptions{Registry: prometheus.NewRegistry()}, slog.New(slog.NewTextHandler(s.logs, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		started := false
		defer func() {
			cancel()
			if started {
				<-done
			}
		}()
		f(t, s, func() {
			started = true
			go func() {
				defer close(done)
				if err := s.follower.Run(ctx); err != nil {
					t.Error(err)
				}
			}()
			time.Sleep(time.Second)
		})
	})
}

// has says which points the model has of the cluster's CPU.
func (s *station) has(want ...string) {
	s.t.Helper()
	time.Sleep(time.Millisecond)
	got := []string{}
	if v := s.follower.View(DefaultCluster); v != nil {
		points, _, _ := v.Series(metrics.Key{Kind: metrics.Cluster}, "cpu/usage_rate", nil, time.Time{}, time.Time{})
		for _, p := range points {
			got = append(got, p.Time.Format("04:05"))
		}
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("at %s: %v, want %v", time.Now().UTC().Format("04:05"), got, want)
	}
}

func (s *station) count(c *prometheus.CounterVec) int {
	return int(testutil.ToFloat64(c.WithLabelValues(DefaultCluster)))
}

func TestFollow(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		if err := s.follower.Loading(); err == nil || !strings.Contains(err.Error(), "no answer of Redis yet") {
			t.Errorf("before: %v", err)
		}
		s.redis.write(s.cluster)
		s.redis.write(s.cluster, true)
		s.redis.write(s.cluster)
		start()
		s.has("00:30", "01:00", "01:30")
		s.redis.write(s.cluster)
		s.has("00:30", "01:00", "01:30", "02:00")
		if err := errors.Join(s.follower.Loading(), s.follower.Doubt(DefaultCluster)); err != nil {
			t.Error(err)
		}
		for range 40 { // what is older than is kept goes
			s.redis.write(s.cluster)
		}
		if n := len(s.follower.View(DefaultCluster).Batches()); n < 30 || n > 31 {
			t.Errorf("%d batches are kept, want those of 15 minutes", n)
		}
		if s.redis.reads() != 1 || s.count(s.follower.stats.restores) != 1 {
			t.Errorf("read whole %d times", s.redis.reads())
		}
	})
}

// Nobody has collected yet: there is nothing, and that is known. Then somebody begins.
func TestFollowFromNothing(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		start()
		if err := s.follower.Loading(); err != nil || s.follower.View(DefaultCluster) != nil || len(s.follower.Clusters()) != 0 {
			t.Error(err, s.follower.Clusters())
		}
		s.redis.edit(func() { s.redis.streams = []object.FrameStream{s.cluster.stream} }) // it has registered, and collects
		time.Sleep(3 * time.Second)
		if err := s.follower.Loading(); err != nil {
			t.Error(err)
		}
		s.redis.write(s.cluster)
		s.has("00:30")
	})
}

func TestRedisAway(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		s.redis.write(s.cluster, true)
		s.redis.edit(func() { s.redis.err = errors.New("connection refused") })
		start()
		if err := s.follower.Loading(); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("away from the start: %v", err)
		}
		s.redis.edit(func() { s.redis.err = nil })
		time.Sleep(5 * time.Second)
		if err := s.follower.Loading(); err != nil {
			t.Error(err)
		}
		s.has("00:30")
		s.redis.edit(func() { s.redis.err = errors.New("connection refused") })
		time.Sleep(time.Minute)
		if err := s.follower.Doubt(DefaultCluster); err == nil || err.Error() != "newer ones may be missing: connection refused" {
			t.Errorf("away: %v", err)
		}
		if err := s.follower.Doubt("other"); err != nil {
			t.Errorf("another cluster: %v", err)
		}
		s.has("00:30")
		s.redis.edit(func() { s.redis.err = nil })
		s.redis.write(s.cluster)
		if err := s.follower.Doubt(DefaultCluster); err != nil {
			t.Error(err)
		}
		s.has("00:30", "02:00")
		// Twice: it could not be listed, it could not be read. Not once for each try.
		if n := strings.Count(s.logs.String(), "level=WARN"); n != 3 {
			t.Errorf("%d warnings:\n%s", n, s.logs)
		}
	})
}

// A batch that was never written leaves a hole in time, and none in what is known.
func TestDroppedBatch(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		s.redis.write(s.cluster, true)
		start()
		time.Sleep(resolution)
		_ = s.cluster.encoder.Encode(s.cluster.batch()) // and not committed
		s.redis.write(s.cluster)
		s.has("00:30", "01:30")
		if n := s.count(s.follower.stats.gaps); n != 0 {
			t.Errorf("%d gaps", n)
		}
	})
}

// Frames that were trimmed before they were read: the keyframe and what is there.
func TestGap(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		s.redis.write(s.cluster, true)
		start()
		s.has("00:30")
		s.redis.edit(func() { s.redis.err = errors.New("connection refused") })
		lost := s.redis.write(s.cluster)
		s.redis.write(s.cluster, true)
		s.redis.edit(func() {
			s.redis.frames[s.cluster.stream] = slices.DeleteFunc(s.redis.frames[s.cluster.stream], func(f object.Frame) bool { return f.At.Equal(lost.At) })
			s.redis.err = nil
		})
		time.Sleep(20 * time.Second)
		s.redis.write(s.cluster)
		time.Sleep(time.Second)
		view := s.follower.View(DefaultCluster)
		if view == nil || !view.Time().Equal(time.Now().Truncate(resolution)) {
			t.Fatalf("%v", view)
		}
		if n := s.count(s.follower.stats.gaps); n != 1 {
			t.Errorf("%d gaps, want 1\n%s", n, s.logs)
		}
		if s.count(s.follower.stats.restores) != 2 {
			t.Errorf("read whole %d times, want 2", s.redis.reads())
		}
	})
}

// A gap that no keyframe covers: what is known stays until there is one.
func TestGapWithoutKeyframe(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		s.redis.write(s.cluster, true)
		start()
		time.Sleep(resolution)
		s.cluster.encode(s.cluster.batch()) // committed, and yet not there
		for range 3 {
			s.redis.write(s.cluster)
		}
		s.has("00:30")
		if s.redis.reads() > 4 {
			t.Errorf("read whole %d times in three windows", s.redis.reads())
		}
		s.redis.write(s.cluster, true)
		time.Sleep(time.Second)
		view := s.follower.View(DefaultCluster)
		if !view.Time().Equal(time.Now().Truncate(resolution)) {
			t.Errorf("after the keyframe: %v", view.Time())
		}
	})
}

func TestCorruptFrame(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		s.redis.write(s.cluster, true)
		start()
		time.Sleep(resolution)
		b := s.cluster.batch()
		s.cluster.encode(b)
		s.redis.edit(func() {
			s.redis.frames[s.cluster.stream] = append(s.redis.frames[s.cluster.stream], object.Frame{At: b.Time, Data: []byte("garbage")})
		})
		time.Sleep(time.Second)
		s.has("00:30")
		if !strings.Contains(s.logs.String(), "corrupt") {
			t.Errorf("nothing is said:\n%s", s.logs)
		}
		s.redis.write(s.cluster, true)
		time.Sleep(time.Second)
		view := s.follower.View(DefaultCluster)
		if !view.Time().Equal(time.Now().Truncate(resolution)) {
			t.Errorf("after the keyframe: %v\n%s", view.Time(), s.logs)
		}
		if err := s.follower.Doubt(DefaultCluster); err != nil {
			t.Error(err)
		}
	})
}

// A stream whose collector has gone for good is dropped, but not because Redis has
// lost the register for a moment.
func TestStreamGone(t *testing.T) {
	run(t, func(t *testing.T, s *station, start func()) {
		other := newCluster("other")
		s.redis.write(s.cluster, true)
		s.redis.write(other, true)
		start()
		if got := fmt.Sprint(s.follower.Clusters()); got != "[default other]" {
			t.Error(got)
		}
		s.redis.edit(func() { s.redis.streams = nil })
		time.Sleep(time.Minute)
		s.redis.write(s.cluster)
		s.redis.edit(func() { s.redis.streams = nil })
		if got := fmt.Sprint(s.follower.Clusters()); got != "[default other]" {
			t.Errorf("a minute later: %s", got)
		}
		time.Sleep(Keep - time.Minute)
		if got := fmt.Sprint(s.follower.Clusters()); got != "[default]" {
			t.Errorf("when the other's are too old: %s", got)
		}
		time.Sleep(2 * time.Minute)
		if got := fmt.Sprint(s.follower.Clusters()); got != "[]" {
			t.Errorf("when all are too old: %s", got)
		}
		s.redis.write(s.cluster, true)
		time.Sleep(3 * time.Second)
		if got := fmt.Sprint(s.follower.Clusters()); got != "[default]" {
			t.Errorf("when it has come again: %s", got)
		}
	})
}
