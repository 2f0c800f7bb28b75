package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// FrameWriter is the writing end of one stream of frames. internal/store implements it.
type FrameWriter interface {
	// Acquire blocks until the stream is ours, and calls waiting with who has it.
	Acquire(ctx context.Context, waiting func(holder string)) error
	// Beat keeps it ours, and returns object.ErrFenced if it is not.
	Beat(ctx context.Context) error
	// Last returns the time of the newest frame, the zero time if there is none.
	Last(ctx context.Context) (time.Time, error)
	// Append writes a frame and perhaps a keyframe. After errors but object.ErrFenced and
	// object.ErrLost the same may be appended again, and is there once.
	Append(ctx context.Context, frame object.Frame, keyframe []byte) error
	// Release lets another instance write.
	Release(ctx context.Context) error
}

// FrameReader is the reading end. internal/store implements it.
type FrameReader interface {
	// Keyframe returns the newest one, object.ErrNotSynced if there is none.
	Keyframe(ctx context.Context, stream object.FrameStream) (object.Frame, error)
	// Range returns the frames after a time, oldest first.
	Range(ctx context.Context, stream object.FrameStream, after time.Time) ([]object.Frame, error)
}

const (
	beatEvery     = 1500 * time.Millisecond // the lease lives 5 s
	releaseTime   = 2 * time.Second
	keyframeEvery = 10          // frames; readers that start read as many deltas at most
	baseKept      = time.Minute // of history in the model that decodes the base
)

// errNotYet comes while it is not known who works.
var errNotYet = errors.New("redis has not said yet whether another collector works")

// Redis writes batches as frames into Redis, for apiservers to read. Of all collectors
// of a cluster (and shard) one writes; the others stand by. Whoever takes over goes on
// from the last frame, so that readers see no difference.
type Redis struct {
	stream  object.FrameStream
	writer  FrameWriter
	reader  FrameReader
	metrics *Metrics
	log     *slog.Logger
	again   chan struct{} // Write asks Run to acquire anew
	unwell  bool          // Run has logged an error

	mu     sync.Mutex
	tenure Tenure
	held   *holding // nil: the stream is not ours
	mine   *holding // the newest one, which may become it again
}

// holding is what Write keeps over a tenure.
type holding struct {
	encoder *metrics.Encoder
	last    time.Time // of the newest frame
	count   int       // frames of this tenure

	of         *metrics.Batch // what the frames below say: kept for another try
	delta, key []byte
}

// NewRedis returns the sink that writes the stream of writer. m may be nil.
func NewRedis(stream object.FrameStream, writer FrameWriter, reader FrameReader, m *Metrics, log *slog.Logger) *Redis {
	if m == nil {
		m = NewMetrics(nil)
	}
	return &Redis{
		stream: stream, writer: writer, reader: reader, metrics: m, again: make(chan struct{}, 1),
		log: log.With("cluster", stream.Cluster, "shard", stream.Shard),
	}
}

// Tenure says whether this collector works.
func (r *Redis) Tenure() Tenure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tenure
}

// Run keeps the stream ours, or waits for it, until ctx ends, and then lets it go.
func (r *Redis) Run(ctx context.Context) error {
	defer r.release(ctx)
	pause := firstPause
	for {
		err := r.acquire(ctx)
		if err == nil {
			pause = firstPause
			err = r.keep(ctx)
		}
		r.lose()
		if ctx.Err() != nil {
			return nil
		}
		r.tell(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, longPause)
	}
}

// tell logs the first error after all was well, and the first success after that.
func (r *Redis) tell(err error) {
	if err != nil && !r.unwell {
		r.log.Warn("metrics cannot go to redis, trying again", "err", err)
	}
	if err == nil && r.unwell {
		r.log.Info("metrics can go to redis again")
	}
	r.unwell = err != nil
}

// acquire takes the stream over, and what is needed to go on from its end.
func (r *Redis) acquire(ctx context.Context) error {
	err := r.writer.Acquire(ctx, func(holder string) {
		r.log.Info("standing by", "holder", holder)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tenure.Standby, r.tenure.Base, r.tenure.Ledger = true, nil, nil
	})
	if err != nil {
		return err
	}
	select {
	case <-r.again:
	default:
	}
	last, err := r.writer.Last(ctx)
	if err != nil {
		return err
	}
	if r.ours(last) {
		return nil
	}
	base := r.base(ctx, last)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	h := &holding{encoder: metrics.NewEncoder(), last: last}
	var ledger *metrics.Ledger
	if base != nil {
		ledger = metrics.ResumeLedger(Remembered, base) // first: the encoder goes by it
		h.encoder.Commit(base)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.mine = h, h
	r.tenure = Tenure{Number: r.tenure.Number + 1, Base: base, Ledger: ledger}
	return nil
}

// ours says that the newest frame is the one that we wrote last, and goes on from it.
func (r *Redis) ours(last time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mine == nil || r.mine.count == 0 || !r.mine.last.Equal(last) {
		return false
	}
	r.held = r.mine
	r.tenure.Standby = false
	return true
}

// base is the stream's newest batch, nil if it cannot be had: then readers begin anew.
func (r *Redis) base(ctx context.Context, last time.Time) *metrics.Batch {
	if last.IsZero() {
		return nil
	}
	key, err := r.reader.Keyframe(ctx, r.stream)
	if err == nil {
		var frames []object.Frame
		if frames, err = r.reader.Range(ctx, r.stream, key.At); err == nil {
			model := metrics.NewModel(baseKept)
			deltas := make([][]byte, 0, len(frames))
			for _, f := range frames {
				deltas = append(deltas, f.Data)
			}
			if err = model.Restore(r.stream, key.Data, deltas); err == nil {
				if b := model.Batch(r.stream); b != nil && b.Time.Equal(last) {
					return b
				}
				err = errors.New("the newest frame does not follow the others")
			}
		}
	}
	r.log.Warn("cannot go on from the last batch in redis: rates begin anew", "err", err)
	return nil
}

// keep beats until the stream is not ours any more. While Redis is away it may still be
// ours: the fence knows.
func (r *Redis) keep(ctx context.Context) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		err := r.writer.Beat(ctx)
		if errors.Is(err, object.ErrFenced) {
			return err
		}
		if ctx.Err() == nil {
			r.tell(err)
		}
		select {
		case <-ticker.C:
		case <-r.again:
			return errors.New("the stream of frames was changed by another hand: taking it over again")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Redis) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = nil
}

func (r *Redis) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if err := r.writer.Release(ctx); err != nil {
		r.log.Debug("cannot give the stream of frames back", "err", err)
	}
}

// Write appends b's frame, and every now and then a keyframe.
func (r *Redis) Write(ctx context.Context, b *metrics.Batch) error {
	r.mu.Lock()
	h, standby := r.held, r.tenure.Standby
	r.mu.Unlock()
	switch {
	case standby:
		return ErrStandby
	case h == nil:
		return errNotYet
	case b.Time.Equal(h.last) && h.count == 0:
		return ErrStandby // who worked before us has served this window
	case !b.Time.After(h.last):
		return fmt.Errorf("%w: its window ended at %v, and redis has one that ended at %v: was the clock set back?", ErrDrop, b.Time, h.last)
	}
	h.encode(b)
	err := r.writer.Append(ctx, object.Frame{At: b.Time, Data: h.delta}, h.key)
	if errors.Is(err, object.ErrFenced) || errors.Is(err, object.ErrLost) {
		r.lose()
		select {
		case r.again <- struct{}{}:
		default:
		}
	}
	if err != nil {
		return err
	}
	r.metrics.wrote(b.Cluster, "delta", len(h.delta))
	r.metrics.wrote(b.Cluster, "key", len(h.key))
	r.mu.Lock()
	defer r.mu.Unlock()
	h.commit(b)                               // under the lock for Run, which asks for last and count
	r.tenure.Base, r.tenure.Ledger = nil, nil // the pipeline has gone on from them
	return nil
}

// encode makes b's frames, once for all tries. Readers that miss what the delta is
// against begin at the keyframe: so there is one after a gap.
func (h *holding) encode(b *metrics.Batch) {
	if h.of == b {
		return
	}
	h.of, h.delta, h.key = b, h.encoder.Encode(b), nil
	if h.count%keyframeEvery == 0 || b.Time.Sub(h.last) > 5*b.Resolution {
		h.key = h.encoder.Keyframe(b)
	}
}

func (h *holding) commit(b *metrics.Batch) {
	h.encoder.Commit(b)
	h.last, h.of, h.delta, h.key = b.Time, nil, nil, nil
	h.count++
}
