package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestFramesOnMiniredis(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	testFrames(t, &server{options: Options{Addrs: []string{mini.Addr()}}, pass: mini.FastForward})
}

// testFrames checks what the store promises of frames, on any Redis.
func testFrames(t *testing.T, s *server) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"append and read", framesRoundTrip},
		{"wait for the next", framesWait},
		{"a retry does not double", framesRetryOnce},
		{"two writers are fenced", framesFenced},
		{"standby takes over", framesStandby},
		{"lost frames are noticed", framesLost},
		{"old frames go", framesTrimmed},
		{"silent streams are forgotten", framesSilence},
		{"streams do not mix", framesStreams},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.tests++
			test.run(t, &world{t: t, server: s, prefix: fmt.Sprintf("m%d", s.tests), ctx: t.Context()})
		})
	}
}

var (
	wholeCluster = object.FrameStream{Cluster: "default", Shards: 1}
	firstWindow  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// frameOf is the n-th window's.
func frameOf(n int) object.Frame {
	return object.Frame{At: firstWindow.Add(time.Duration(n) * 30 * time.Second), Data: fmt.Appendf(nil, "frame %d", n)}
}

// frames returns an acquired writer.
func (w *world) frames(s *Store, stream object.FrameStream) *FrameWriter {
	w.t.Helper()
	writer := s.FrameWriter(stream)
	w.check(writer.Acquire(w.ctx, func(holder string) { w.t.Errorf("waiting for %s", holder) }))
	return writer
}

func framesRoundTrip(t *testing.T, w *world) {
	s := w.store()
	_, err := s.Frames().Keyframe(w.ctx, wholeCluster)
	w.wantErr(err, object.ErrNotSynced)
	writer := w.frames(s, wholeCluster)
	last, err := writer.Last(w.ctx)
	w.check(err)
	w.equal(last, time.Time{})
	for n := range 5 {
		var key []byte
		if n%3 == 0 {
			key = fmt.Appendf(nil, "key %d", n)
		}
		w.check(writer.Append(w.ctx, frameOf(n), key))
	}
	last, err = writer.Last(w.ctx)
	w.check(err)
	w.equal(last, frameOf(4).At)

	reader := w.store().Frames()
	key, err := reader.Keyframe(w.ctx, wholeCluster)
	w.check(err)
	w.equal(key, object.Frame{At: frameOf(3).At, Data: []byte("key 3")})
	all, err := reader.Range(w.ctx, wholeCluster, time.Time{})
	w.check(err)
	w.equal(all, []object.Frame{frameOf(0), frameOf(1), frameOf(2), frameOf(3), frameOf(4)})
	newer, err := reader.Range(w.ctx, wholeCluster, key.At)
	w.check(err)
	w.equal(newer, []object.Frame{frameOf(4)})
	none, err := reader.Read(w.ctx, wholeCluster, last, 0)
	w.check(err)
	w.equal(len(none), 0)
	streams, err := reader.Streams(w.ctx)
	w.check(err)
	w.equal(streams, []object.FrameStream{wholeCluster})
}

func framesWait(t *testing.T, w *world) {
	s := w.store()
	writer := w.frames(s, wholeCluster)
	w.check(writer.Append(w.ctx, frameOf(0), nil))
	appended := make(chan error, 1)
	go func() {
		<-time.After(50 * time.Millisecond)
		appended <- writer.Append(w.ctx, frameOf(1), nil)
	}()
	got, err := w.store().Frames().Read(w.ctx, wholeCluster, frameOf(0).At, 5*time.Second)
	w.check(err)
	w.check(<-appended)
	w.equal(got, []object.Frame{frameOf(1)})
}

func framesRetryOnce(t *testing.T, w *world) {
	s := w.store()
	writer := w.frames(s, wholeCluster)
	w.check(writer.Append(w.ctx, frameOf(0), nil))
	// The answer to an append is lost: as if it was not known whether it arrived.
	writer.tail, writer.pending = "", frameID(frameOf(0).At)
	w.check(writer.Append(w.ctx, frameOf(0), nil))
	w.check(writer.Append(w.ctx, frameOf(1), nil))
	all, err := s.Frames().Range(w.ctx, wholeCluster, time.Time{})
	w.check(err)
	w.equal(all, []object.Frame{frameOf(0), frameOf(1)})
	// The same window twice without such an error is somebody's mistake.
	if err := writer.Append(w.ctx, frameOf(1), nil); err == nil {
		t.Fatal("a window twice is no error")
	}

	// Nor may one that another hand wrote be taken for ours.
	writer.tail = frameID(frameOf(0).At)
	w.wantErr(writer.Append(w.ctx, frameOf(1), nil), object.ErrLost)
	writer.tail = frameID(frameOf(1).At)

	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := writer.Append(ctx, frameOf(2), nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that of the context", err)
	}
	w.equal(writer.pending, frameID(frameOf(2).At))
	w.check(writer.Append(w.ctx, frameOf(2), nil))
}

func framesFenced(t *testing.T, w *world) {
	first := w.frames(w.store(), wholeCluster)
	w.check(first.Append(w.ctx, frameOf(0), nil))
	w.expire()
	second := w.frames(w.store(), wholeCluster)
	w.wantErr(first.Append(w.ctx, frameOf(1), nil), object.ErrFenced)
	w.wantErr(first.Beat(w.ctx), object.ErrFenced)
	w.check(second.Append(w.ctx, frameOf(1), nil))
	w.check(second.Beat(w.ctx))
}

func framesStandby(t *testing.T, w *world) {
	first := w.frames(w.store(func(o *Options) { o.Instance = "first" }), wholeCluster)
	second := w.store().FrameWriter(wholeCluster)
	waiting, acquired := make(chan string, 1), make(chan error, 1)
	go func() { acquired <- second.Acquire(w.ctx, func(holder string) { waiting <- holder }) }()
	w.equal(<-waiting, "first")
	w.check(first.Append(w.ctx, frameOf(0), nil))
	w.check(first.Release(w.ctx))
	w.check(<-acquired)
	last, err := second.Last(w.ctx)
	w.check(err)
	w.equal(last, frameOf(0).At)
	w.check(second.Append(w.ctx, frameOf(1), nil))
}

func framesLost(t *testing.T, w *world) {
	s := w.store()
	writer := w.frames(s, wholeCluster)
	w.check(writer.Append(w.ctx, frameOf(0), nil))
	w.check(s.client.Del(w.ctx, writer.keys.frames, writer.keys.meta).Err())
	w.wantErr(writer.Append(w.ctx, frameOf(1), nil), object.ErrLost)
	w.check(writer.Acquire(w.ctx, func(string) { t.Error("waiting for ourselves") }))
	w.check(writer.Append(w.ctx, frameOf(1), []byte("key")))
}

func framesTrimmed(t *testing.T, w *world) {
	s := w.store()
	writer := w.frames(s, wholeCluster)
	for n := range 40 {
		w.check(writer.Append(w.ctx, frameOf(n), nil))
	}
	all, err := s.Frames().Range(w.ctx, wholeCluster, time.Time{})
	w.check(err)
	w.equal(len(all), 35) // 17 minutes of 30 s, both ends
	w.equal(all[0], frameOf(5))
}

func framesSilence(t *testing.T, w *world) {
	s := w.store()
	writer := w.frames(s, wholeCluster)
	w.check(writer.Append(w.ctx, frameOf(0), bytes.Repeat([]byte("key"), 1000)))
	for _, key := range []string{writer.keys.frames, writer.keys.meta, writer.keys.key} {
		left, err := s.client.PTTL(w.ctx, key).Result()
		w.check(err)
		if left <= framesKept || left > framesSilent {
			t.Errorf("%s lives for %v, want %v", key, left, framesSilent)
		}
	}
	old := object.FrameStream{Cluster: "gone", Shards: 1}
	text := fmt.Sprintf(`{"stream":{"Cluster":"gone","Shards":1},"at":%q}`, time.Now().Add(-framesSilent-time.Second).Format(time.RFC3339))
	w.check(s.client.HSet(w.ctx, s.frameRegistry(), frameResource(old).Name, text).Err())
	streams, err := s.Frames().Streams(w.ctx)
	w.check(err)
	w.equal(streams, []object.FrameStream{wholeCluster})
	w.check(writer.Release(w.ctx))
	w.frames(s, wholeCluster)
	fields, err := s.client.HLen(w.ctx, s.frameRegistry()).Result()
	w.check(err)
	w.equal(fields, int64(1))
}

func framesStreams(t *testing.T, w *world) {
	s := w.store()
	shards := []object.FrameStream{{Cluster: "b", Shard: 0, Shards: 2}, {Cluster: "b", Shard: 1, Shards: 2}, {Cluster: "a", Shards: 1}}
	for n, stream := range shards {
		w.check(w.frames(s, stream).Append(w.ctx, frameOf(n), nil))
	}
	for n, stream := range shards {
		got, err := s.Frames().Range(w.ctx, stream, time.Time{})
		w.check(err)
		w.equal(got, []object.Frame{frameOf(n)})
	}
	streams, err := s.Frames().Streams(w.ctx)
	w.check(err)
	w.equal(streams, []object.FrameStream{shards[2], shards[0], shards[1]})
}
