package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// framesKept is how long Redis keeps frames: the fifteen minutes that readers keep,
// and a little, so that a frame is not gone before the next one is there.
const framesKept = 17 * time.Minute

// framesSilent is after how much silence a stream is forgotten: its newest frame is
// then older than anything that readers keep.
const framesSilent = framesKept + 2*time.Minute

// frameKeys are the names of one stream's keys. They share a slot, so that one script
// may write them.
type frameKeys struct {
	keys          // lease and fence
	frames string // stream: MS-0 → frame
	meta   string // hash: tail
	key    string // hash: at (MS-0), data
}

// frameResource is the stream as what else has keys of its own.
func frameResource(stream object.FrameStream) object.Resource {
	return object.Resource{Name: fmt.Sprintf("metrics/%s/%d-%d", stream.Cluster, stream.Shard, stream.Shards)}
}

func newFrameKeys(prefix string, stream object.FrameStream) frameKeys {
	k := newKeys(prefix, frameResource(stream))
	return frameKeys{keys: k, frames: k.base + "frames", meta: k.base + "frames:meta", key: k.base + "key"}
}

// frameID names a frame in its stream.
func frameID(at time.Time) object.LogID {
	if at.UnixMilli() <= 0 {
		return ""
	}
	return place{tenure: uint64(at.UnixMilli())}.id()
}

func frameTime(id object.LogID) (time.Time, error) {
	p, err := parsePlace(id)
	if err != nil || p == (place{}) {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(p.tenure)).UTC(), nil
}

// Frames are the readers' end of all streams of frames. It is safe for concurrent use.
type Frames struct{ store *Store }

// Frames returns the readers' end of all streams of frames. It does no I/O.
func (s *Store) Frames() *Frames { return &Frames{s} }

// Streams returns the streams whose writer lives, or has lived in the time for which
// frames are kept, by cluster, number of shards and shard. After the shards were
// divided anew the old streams stay for that time: look at the age of their frames.
func (f *Frames) Streams(ctx context.Context) ([]object.FrameStream, error) {
	entries, _, err := f.store.frameEntries(ctx)
	if err != nil {
		return nil, err
	}
	streams := make([]object.FrameStream, 0, len(entries))
	for _, e := range entries {
		streams = append(streams, e.Stream)
	}
	slices.SortFunc(streams, compareStreams)
	return streams, nil
}

// Keyframe returns the newest keyframe of stream, object.ErrNotSynced if there is none.
// The data is the caller's own.
func (f *Frames) Keyframe(ctx context.Context, stream object.FrameStream) (frame object.Frame, err error) {
	k := newFrameKeys(f.store.options.Prefix, stream)
	err = f.store.call(ctx, "read keyframe", k.base, scanTimeout, func(ctx context.Context) error {
		values, err := f.store.client.HMGet(ctx, k.key, "at", "data").Result()
		if err != nil {
			return err
		}
		at, _ := values[0].(string)
		data, ok := values[1].(string)
		if !ok {
			return object.ErrNotSynced
		}
		frame.Data = []byte(data)
		frame.At, err = frameTime(object.LogID(at))
		return err
	})
	return frame, err
}

// Range returns the frames of stream after a time, oldest first. The zero time means
// all that are kept, which may be a hundred megabytes. The data is the caller's own.
func (f *Frames) Range(ctx context.Context, stream object.FrameStream, after time.Time) (frames []object.Frame, err error) {
	t := f.tailer(stream)
	for {
		page, err := t.once(ctx, frameID(after), 0)
		if err != nil || len(page) == 0 {
			return frames, err
		}
		if frames, err = appendFrames(frames, page); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.subject, err)
		}
		after = frames[len(frames)-1].At
	}
}

// Read returns some of the frames of stream after a time, oldest first, and waits up to
// wait for the first. It returns nil if none came.
func (f *Frames) Read(ctx context.Context, stream object.FrameStream, after time.Time, wait time.Duration) ([]object.Frame, error) {
	t := f.tailer(stream)
	page, err := t.read(ctx, frameID(after), wait)
	if err != nil || len(page) == 0 {
		return nil, err
	}
	frames, err := appendFrames(nil, page)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.subject, err)
	}
	return frames, nil
}

// tailer reads stream. Frames are large: it begins with a few.
func (f *Frames) tailer(stream object.FrameStream) *tailer {
	k := newFrameKeys(f.store.options.Prefix, stream)
	t := &tailer{store: f.store, key: k.frames, meta: k.meta, subject: k.frames}
	t.entry.Store(readBytes / 8)
	return t
}

func appendFrames(frames []object.Frame, page []raw) ([]object.Frame, error) {
	for _, e := range page {
		at, err := frameTime(e.id)
		if err != nil {
			return nil, err
		}
		frames = append(frames, object.Frame{At: at, Data: e.blob})
	}
	return frames, nil
}
