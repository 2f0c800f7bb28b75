package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// writer turns a story into batches, as a collector hands them to the database.
type writer struct {
	story  *story
	ledger *metrics.Ledger
	metas  map[*pod]*metrics.Meta
	nodes  map[string]*metrics.Meta
	twin   string // namespace whose pods are written a second time, under another UID
}

func newWriter(s *story) *writer {
	return &writer{story: s, ledger: metrics.NewLedger(2 * s.every), metas: map[*pod]*metrics.Meta{}, nodes: map[string]*metrics.Meta{}}
}

// batch is that of window k.
func (w *writer) batch(k int64) *metrics.Batch {
	b := w.ledger.Begin(w.story.cluster, w.story.time(k), w.story.every)
	b.ScrapedAt = b.Time
	for _, name := range w.story.nodes {
		b.Nodes = append(b.Nodes, metrics.NodeStatus{Name: name})
	}
	for _, one := range w.story.series {
		value, ok := one.load.at(k)
		if !ok {
			continue
		}
		if one.count != nil {
			value = one.count.at(k)
		}
		if one.float {
			value = metrics.FloatBits(float64(value))
		}
		w.set(b, one, "", value)
		if w.twin != "" && one.namespace == w.twin && one.pod != nil {
			w.set(b, one, "-again", value)
		}
	}
	return b
}

// set puts a value where the series says; suffix makes it another pod.
func (w *writer) set(b *metrics.Batch, one *series, suffix string, value int64) {
	ref := w.row(b, one, suffix)
	d, ok := metrics.Lookup(one.metric)
	if !ok {
		d = metrics.ResourceRequest(strings.TrimSuffix(one.metric, "/request"))
	}
	if one.resource != "" {
		kind, name := metrics.Filesystem, "resource_id:"+one.resource
		if one.metric == "gpu/usage" {
			kind, name = metrics.GPU, "gpu_index:0,gpu_name:T4,gpu_uuid:"+one.resource
		}
		ref = metrics.Ref{Kind: kind, Row: b.Row(kind, ref, name)}
	}
	b.Tables[ref.Kind].Make(d).Set(ref.Row, value)
}

// row is the set's row at its level.
func (w *writer) row(b *metrics.Batch, one *series, suffix string) metrics.Ref {
	of := func(kind metrics.Kind, parent metrics.Ref, name string) metrics.Ref {
		return metrics.Ref{Kind: kind, Row: b.Row(kind, parent, name)}
	}
	switch one.level {
	case cluster:
		return metrics.Ref{}
	case nodeLevel:
		ref := of(metrics.Node, metrics.Ref{}, one.node)
		if w.nodes[one.node] == nil {
			w.nodes[one.node] = &metrics.Meta{UID: "uid-" + one.node, Node: one.node, Hostname: one.node}
		}
		b.Describe(ref, "", w.nodes[one.node])
		return ref
	case namespace:
		return of(metrics.Namespace, metrics.Ref{}, one.namespace)
	}
	p := one.pod
	meta := w.metas[p]
	if meta == nil {
		meta = &metrics.Meta{UID: p.uid, Node: p.node, Joined: p.labels(), Hostname: p.node}
		w.metas[p] = meta
	}
	if suffix != "" {
		again := *meta
		again.UID += suffix
		meta = &again
	}
	ref := of(metrics.Pod, of(metrics.Namespace, metrics.Ref{}, p.namespace), p.name+suffix)
	b.Describe(ref, "", meta)
	if one.level == container {
		ref = of(metrics.Container, ref, one.container)
		b.Describe(ref, "images.invalid/"+one.container+":1", meta)
	}
	return ref
}

// write writes the batches of spans, some at a time: in which order they come to the
// database makes no difference.
func (w *writer) write(ctx context.Context, db metricdb.DB, spans []span) (written int64, err error) {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(6)
	for _, s := range spans {
		for k := s.from; k < s.to && inner.Err() == nil; k++ {
			b := w.batch(k)
			g.Go(func() error {
				if err := db.Write(inner, b); err != nil {
					return fmt.Errorf("write window %d of %s: %w", k, w.story.cluster, err)
				}
				return nil
			})
			written++
		}
	}
	return written, g.Wait()
}

// lives writes the lives of pods, and the claims.
func (s *story) lives(ctx context.Context, db metricdb.DB) error {
	var records []metricdb.Record
	for _, p := range s.pods {
		if !p.living {
			continue
		}
		l := lifetime.Life{
			Tags:    lifetime.Tags(s.cluster, p.namespace, p.name, p.uid, p.node, p.labels()),
			Created: s.seconds(p.born).Truncate(time.Second), Scheduled: s.seconds(p.born), Started: s.seconds(p.started),
			Finished: s.seconds(p.ended), Deleted: s.seconds(p.ended + 2),
			CPU: p.cpu, Memory: p.memory, GPU: p.gpu, Containers: int64(max(1, len(p.containers))),
		}
		told := l.Records()
		if p.resized > 0 {
			told = told[:1]
			later := l
			later.CPU = p.cpuLater
			for _, at := range []time.Time{s.seconds(p.resized), l.Deleted} {
				later.Deleted = at
				change := later.Records()[1]
				if at != l.Deleted { // it goes on
					change.Fields = slices.DeleteFunc(change.Fields, func(f metricdb.Field) bool {
						return slices.Contains([]string{"deleted", "estimated", "finished"}, f.Name)
					})
				}
				told = append(told, change)
			}
		}
		records = append(records, told...)
	}
	for _, c := range s.claims {
		born := metricdb.Int(s.seconds(c.born).UnixMilli())
		fields := []metricdb.Field{{Name: "bound", Value: born}, {Name: "created", Value: born}}
		if c.ended > 0 {
			fields = append(fields, metricdb.Field{Name: "deleted", Value: metricdb.Int(s.seconds(c.ended).UnixMilli())})
		}
		fields = append(fields, metricdb.Field{Name: "storage.request", Value: metricdb.Int(c.bytes)})
		records = append(records, metricdb.Record{
			Set: "krm/claim", Time: s.seconds(c.born), Fields: fields,
			Tags: metricdb.MakeTags(
				metrics.Label{Key: "cluster_name", Value: s.cluster}, metrics.Label{Key: "namespace_name", Value: c.namespace},
				metrics.Label{Key: "claim_name", Value: c.name}, metrics.Label{Key: "claim_id", Value: "uid-" + c.name},
			),
		})
	}
	return db.WriteRecords(ctx, records)
}
