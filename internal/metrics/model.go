package metrics

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Model keeps the batches of some minutes, of any number of clusters and shards. Its
// methods may be called at the same time; readers take Views and no locks.
type Model struct {
	keep     time.Duration
	unpacker *zstd.Decoder
	writing  sync.Mutex
	streams  map[object.FrameStream]*shard // only while writing
	views    atomic.Pointer[map[string]*View]
}

// shard is what is kept of one stream: the newest segment first. There is more than
// one only for a while after its collector started anew without going on from the
// newest batch.
type shard struct {
	stream   object.FrameStream
	segments []*segment
}

// head is the newest segment.
func (s *shard) head() *segment { return s.segments[0] }

// NewModel returns an empty model that keeps batches for keep before the newest.
func NewModel(keep time.Duration) *Model {
	unpacker, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxFrameBody))
	if err != nil {
		panic("BUG: " + err.Error()) // only options can be wrong
	}
	m := &Model{keep: keep, unpacker: unpacker, streams: map[object.FrameStream]*shard{}}
	m.views.Store(&map[string]*View{})
	return m
}

// Restore replaces what the model has of stream by a keyframe and deltas, which are
// oldest first: those up to the keyframe's time become its past, those after it
// follow it. Deltas that do not fit are left out; if nothing can be made of it the
// model keeps what it had and ErrCorrupt is returned. Without a keyframe (nil) the
// deltas must contain one against nothing.
func (m *Model) Restore(stream object.FrameStream, key []byte, deltas [][]byte) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	r := restorer{keep: m.keep}
	for _, delta := range deltas {
		if p, err := parseFrame(delta, m.unpacker); err == nil {
			r.deltas = append(r.deltas, p)
		}
	}
	if key != nil {
		p, err := parseFrame(key, m.unpacker)
		if err == nil && p.full {
			r.from(p)
		}
	}
	segments := r.run()
	if len(segments) == 0 {
		return ErrCorrupt
	}
	m.put(&shard{stream, evict(segments, m.keep)})
	return nil
}

// restorer makes segments of frames.
type restorer struct {
	keep     time.Duration
	deltas   []*parsed
	segments []*segment // newest first
}

// from begins with a keyframe and makes the deltas before it its past; those that
// are then left are the older ones that do not lead to it, and the later ones.
func (r *restorer) from(key *parsed) {
	s, err := newSegment(key)
	if err != nil {
		return
	}
	var chain []*parsed
	at, run := key.at, key.run
	oldest := 0
	for i, p := range slices.Backward(r.deltas) {
		if p.at.Equal(at) && p.run == run {
			chain = append(chain, p)
			at, run, oldest = p.base, p.baseRun, i
			if p.full {
				break
			}
		}
	}
	later := slices.IndexFunc(r.deltas, func(p *parsed) bool { return p.at.After(key.at) })
	if later < 0 {
		later = len(r.deltas)
	}
	older := r.deltas[:min(oldest, later)]
	r.deltas = r.deltas[later:]
	if len(chain) > 0 {
		if s.reach(chain, r.keep) != nil {
			return
		}
	} else {
		older = slices.DeleteFunc(slices.Clone(older), func(p *parsed) bool { return !p.at.Before(key.at) })
	}
	before := restorer{keep: r.keep, deltas: older}
	r.segments = append([]*segment{s}, before.run()...)
}

// run applies the deltas that are left.
func (r *restorer) run() []*segment {
	for _, p := range r.deltas {
		if next, err := follow(r.segments, p, r.keep); err == nil {
			r.segments = next
		}
	}
	return r.segments
}

// follow returns the segments after the next frame.
func follow(segments []*segment, p *parsed, keep time.Duration) ([]*segment, error) {
	if len(segments) > 0 && !p.at.After(segments[0].at) {
		return nil, ErrOld
	}
	if p.full {
		s, err := newSegment(p)
		if err != nil {
			return nil, err
		}
		return append([]*segment{s}, segments...), nil
	}
	if len(segments) == 0 || segments[0].run != p.baseRun || !segments[0].at.Equal(p.base) {
		return nil, ErrGap
	}
	s, err := segments[0].next(p, keep)
	if err != nil {
		return nil, err
	}
	next := slices.Clone(segments)
	next[0] = s
	return next, nil
}

// evict leaves out what is older than keep before the newest batch.
func evict(segments []*segment, keep time.Duration) []*segment {
	oldest := segments[0].at.Add(-keep)
	kept := segments[:1:1]
	for _, s := range segments[1:] {
		if s.at.Before(oldest) {
			break
		}
		if s.past[0].at.Before(oldest) {
			trimmed := *s
			for trimmed.past[0].at.Before(oldest) {
				trimmed.past = trimmed.past[1:]
			}
			s = &trimmed
		}
		kept = append(kept, s)
	}
	return kept
}

// Apply adds the next batch of stream. It returns ErrGap if the frame is not against
// the newest batch, ErrOld if it is not newer, ErrCorrupt; the model is then as
// before.
func (m *Model) Apply(stream object.FrameStream, delta []byte) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	p, err := parseFrame(delta, m.unpacker)
	if err != nil {
		return err
	}
	var segments []*segment
	if s := m.streams[stream]; s != nil {
		segments = s.segments
	}
	if segments, err = follow(segments, p, m.keep); err != nil {
		return err
	}
	m.put(&shard{stream, evict(segments, m.keep)})
	return nil
}

// Drop forgets a stream: its collector is gone, and its data too old.
func (m *Model) Drop(stream object.FrameStream) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.streams[stream] != nil {
		delete(m.streams, stream)
		m.publish(stream.Cluster)
	}
}

func (m *Model) put(s *shard) {
	m.streams[s.stream] = s
	m.publish(s.stream.Cluster)
}

// publish makes the cluster's view anew.
func (m *Model) publish(cluster string) {
	var shards []*shard
	for stream, s := range m.streams {
		if stream.Cluster == cluster {
			shards = append(shards, s)
		}
	}
	old := *m.views.Load()
	views := make(map[string]*View, len(old)+1)
	for name, view := range old {
		if name != cluster {
			views[name] = view
		}
	}
	if len(shards) > 0 {
		views[cluster] = newView(cluster, shards)
	}
	m.views.Store(&views)
}

// Clusters returns the names of the clusters that have data, sorted.
func (m *Model) Clusters() []string {
	names := []string{}
	for name := range *m.views.Load() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// View returns what the model has of cluster at this moment, nil if nothing.
func (m *Model) View(cluster string) *View { return (*m.views.Load())[cluster] }

// newest puts the shard first whose batch is the newest; among equals the order is
// that of the streams.
func newest(a, b *shard) int {
	return cmp.Or(b.head().at.Compare(a.head().at), cmp.Compare(a.stream.Shards, b.stream.Shards), cmp.Compare(a.stream.Shard, b.stream.Shard))
}
