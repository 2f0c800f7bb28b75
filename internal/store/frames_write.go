package store

import (
	"context"
	_ "embed" // the script is a file of its own
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var (
	//go:embed lua/frame.lua
	frameLua    string
	frameScript = redis.NewScript(frameLua)
)

const roleCollector = "collector"

// FrameWriter is the collector's end of one stream of frames. It is safe for concurrent
// use: one goroutine may append while another beats.
type FrameWriter struct {
	*writer
	stream object.FrameStream
	keys   frameKeys

	mu      sync.Mutex // one append at a time
	tail    object.LogID
	pending object.LogID // sent, but Redis did not tell whether it arrived
}

// FrameWriter returns the collector's end of stream. It does no I/O.
func (s *Store) FrameWriter(stream object.FrameStream) *FrameWriter {
	return &FrameWriter{
		writer: s.writer(frameResource(stream), roleCollector),
		stream: stream,
		keys:   newFrameKeys(s.options.Prefix, stream),
	}
}

// Acquire blocks until the stream is ours alone to write, and says by waiting, called
// once with who holds it now, that it has to wait. It starts a tenure: what an earlier
// one could not finish is dropped; Last tells what arrived. Call it again after object.ErrFenced or object.ErrLost.
func (w *FrameWriter) Acquire(ctx context.Context, waiting func(holder string)) error {
	token := randomID()
	w.setToken("")
	for told := false; ; told = true {
		holder, left, err := w.tryAcquire(ctx, token)
		if err != nil {
			return err
		}
		if holder == "" {
			break
		}
		if !told {
			waiting(holder)
		}
		if err := sleep(ctx, min(left+time.Millisecond, standbyPoll)); err != nil {
			return fmt.Errorf("acquire %s: %w", w.subject(), err)
		}
	}
	tail, err := w.store.tail(ctx, w.keys.meta, w.subject())
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.tail, w.pending = tail, ""
	w.mu.Unlock()
	w.setToken(token)
	if err := w.store.buryFrames(ctx); err != nil {
		return err
	}
	return w.store.registerFrames(ctx, w.stream)
}

// Beat keeps the stream ours and says that its writer lives. Call it every third of the
// lease's time to live. It returns object.ErrFenced if another writer took over.
func (w *FrameWriter) Beat(ctx context.Context) error {
	if _, err := w.beat(ctx); err != nil {
		return err
	}
	return w.store.registerFrames(ctx, w.stream)
}

// Last returns when the window of the newest frame ended, the zero time if there is no
// frame. It needs no lease.
func (w *FrameWriter) Last(ctx context.Context) (time.Time, error) {
	tail, err := w.store.tail(ctx, w.keys.meta, w.subject())
	if err != nil {
		return time.Time{}, err
	}
	return frameTime(tail)
}

// Append writes frame, and keyframe (nil: none) in place of the newest keyframe, in one
// script, and drops frames older than readers want. A frame must be newer than the
// stream's last. It returns object.ErrFenced if another writer took over,
// object.ErrLost if the stream does not end where this writer left it, object.ErrFull
// if Redis has no memory left.
//
// After any other error it is unknown whether the frame arrived: call Append again with
// the same frame; one that had arrived is not written twice.
func (w *FrameWriter) Append(ctx context.Context, frame object.Frame, keyframe []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := frameID(frame.At)
	oldest := frameID(frame.At.Add(-framesKept))
	if id == "" || oldest == "" {
		return fmt.Errorf("append to %s: a frame of %v", w.subject(), frame.At)
	}
	if last, err := frameTime(w.tail); err != nil || !frame.At.After(last) {
		return fmt.Errorf("append to %s: a frame of %v after one of %v", w.subject(), frame.At, last)
	}
	retry := "no"
	if w.pending == id {
		retry = "retry"
	}
	err := w.store.call(ctx, "append frame", w.subject(), scanTimeout, func(ctx context.Context) error {
		_, _, err := w.store.run(ctx, frameScript,
			[]string{w.keys.fence(w.role), w.keys.meta, w.keys.frames, w.keys.key},
			w.fence(), string(w.tail), string(id), string(oldest), framesSilent.Milliseconds(), retry, frame.Data, keyframe)
		return err
	})
	switch {
	case err == nil:
		w.tail, w.pending = id, ""
	case errors.Is(err, object.ErrFenced), errors.Is(err, object.ErrLost), errors.Is(err, object.ErrFull):
	default:
		w.pending = id
	}
	return err
}
