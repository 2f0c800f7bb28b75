package metrics

import (
	"slices"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// BatchView is a view of one batch alone, without a past. It uses the batch's own
// columns.
func BatchView(b *Batch) *View {
	s := &segment{names: &dictionary{}}
	s.header = header{
		cluster: b.Cluster, shard: b.Shard, shards: b.Shards, at: b.Time,
		resolution: b.Resolution, scrapedAt: b.ScrapedAt, nodes: b.Nodes,
	}
	for kind := range Kinds {
		t := b.Tables[kind]
		s.names.tables[kind].fill(t.Entities, kind)
		s.names.tables[kind].sort(s.names)
		columns := []headColumn{{has: t.Live}}
		for _, c := range t.Columns() {
			columns = append(columns, headColumn{metric: c.Metric, values: c.Values, has: c.Has})
		}
		s.head[kind].columns = columns
	}
	s.names.hostnames = s.names.tables[Node].hosts()
	s.past = []*frame{{at: b.Time, nodes: len(b.Nodes), failed: s.failed()}}
	stream := object.FrameStream{Cluster: b.Cluster, Shard: b.Shard, Shards: b.Shards}
	return newView(b.Cluster, []*shard{{stream, []*segment{s}}})
}

// fill takes over a batch's entities.
func (t *dictionaryTable) fill(entities []Entity, kind Kind) {
	t.parents, t.names, t.known = make([]Ref, len(entities)), make([]string, len(entities)), make(Bitmap, blocksOf(len(entities)))
	if kind == Container {
		t.images = make([]string, len(entities))
	}
	if kind < Levels {
		t.metas = make([]*Meta, len(entities))
	}
	for row := range entities {
		e := &entities[row]
		if e.Name == "" && kind != Cluster {
			continue
		}
		t.known[row>>6] |= 1 << (row & 63)
		t.parents[row], t.names[row] = e.Parent, e.Name
		if kind == Container {
			t.images[row] = e.Image
		}
		if kind < Levels {
			t.metas[row] = e.Meta
		}
	}
}

// Batch returns the newest batch of stream as its collector had it, nil if there is
// none. A collector that starts anew can go on from it: with ResumeLedger, and Commit
// of its encoder. Rows, rates and readers then continue as if nothing had happened.
// It is the caller's.
func (m *Model) Batch(stream object.FrameStream) *Batch {
	m.writing.Lock()
	defer m.writing.Unlock()
	from := m.streams[stream]
	if from == nil {
		return nil
	}
	s := from.head()
	b := &Batch{
		Cluster: s.cluster, Shard: s.shard, Shards: s.shards, Time: s.at, Resolution: s.resolution,
		ScrapedAt: s.scrapedAt, Nodes: slices.Clone(s.nodes), run: s.run,
	}
	for kind := range Kinds {
		names, head := &s.names.tables[kind], &s.head[kind]
		t := &Table{Kind: kind, Live: slices.Clone(head.live()), Entities: make([]Entity, len(names.names))}
		for block, word := range names.known {
			for row := range rowsOf(word, block*blockRows) {
				e := Entity{Parent: names.parents[row], Name: names.names[row]}
				if kind == Container {
					e.Image = names.images[row]
				}
				if kind < Levels {
					e.Meta = names.metas[row]
				}
				t.Entities[row] = e
			}
		}
		for _, c := range head.columns {
			if c.metric != nil {
				column := t.Make(c.metric)
				column.Values, column.Has = longer(c.values, len(c.has)*blockRows), slices.Clone(c.has)
			}
		}
		b.Tables[kind] = t
	}
	return b
}
