package metricdb

import (
	"math"
	"slices"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Layout is the tags of a batch's rows. It remembers them from batch to batch, since
// rows are stable: make one per stream of batches. It is for one goroutine.
type Layout struct {
	extra []string
	rows  [metrics.Kinds][]layoutRow
}

type layoutRow struct {
	entity metrics.Entity
	owner  *layoutRow // of families' rows and of what stands below others: the parent's
	level  metrics.Kind
	tags   Tags
}

// NewLayout returns an empty layout. Of namespace_id, hostname and host_id it adds
// those that are named by extra.
func NewLayout(extra ...string) *Layout { return &Layout{extra: extra} }

// Column is one metric of a level in a batch.
type Column struct {
	Metric *metrics.Descriptor
	column *metrics.Column
	rows   []Row
}

// Row is a set that a column may have a value of.
type Row struct {
	Kind  metrics.Kind // the table; with Row it names the set within the layout
	Row   metrics.Row
	Level metrics.Kind
	Tags  Tags
}

// Values yields the rows that have a value. A float that is no finite number is none:
// not every database can keep it, and no sum could be made of it.
func (c *Column) Values(yield func(row *Row, bits int64) bool) {
	for i := range c.rows {
		bits, ok := c.column.Get(c.rows[i].Row)
		if ok && c.Metric.Float && !finite(metrics.BitsFloat(bits)) {
			continue
		}
		if ok && !yield(&c.rows[i], bits) {
			return
		}
	}
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// Columns yields all columns of b that are to be stored. A metric whose name is not
// valid is not.
func (l *Layout) Columns(b *metrics.Batch, yield func(Column) bool) {
	for kind := range metrics.Kinds {
		table := b.Tables[kind]
		if table == nil {
			continue
		}
		rows := l.table(b, table)
		for _, column := range table.Columns() {
			if !column.Metric.Hidden() && ValidName(column.Metric.Name) && !yield(Column{Metric: column.Metric, column: column, rows: rows}) {
				return
			}
		}
	}
}

// table returns the rows of a table that are in the batch. Tables come in the order
// of their kinds; parents are looked at when they are needed.
func (l *Layout) table(b *metrics.Batch, table *metrics.Table) []Row {
	rows := make([]Row, 0, table.Live.Count())
	for row := range table.Rows {
		known := l.row(b, metrics.Ref{Kind: table.Kind, Row: row})
		rows = append(rows, Row{Kind: table.Kind, Row: row, Level: known.level, Tags: known.tags})
	}
	return rows
}

func (l *Layout) row(b *metrics.Batch, ref metrics.Ref) *layoutRow {
	var owner *layoutRow
	entity := b.Tables[ref.Kind].Entities[ref.Row]
	if entity.Parent.Kind != metrics.Cluster {
		owner = l.row(b, entity.Parent)
	}
	for len(l.rows[ref.Kind]) <= int(ref.Row) {
		l.rows[ref.Kind] = append(l.rows[ref.Kind], make([]layoutRow, 64)...)
	}
	known := &l.rows[ref.Kind][ref.Row]
	if known.tags == nil || known.entity != entity || !sameOwner(known.owner, owner) {
		*known = l.describe(b.Cluster, ref.Kind, entity, owner)
	}
	return known
}

func sameOwner(a, b *layoutRow) bool {
	return a == b || a != nil && b != nil && a.level == b.level && slices.Equal(a.tags, b.tags)
}

// describe makes the tags of a row; see the package for what they are.
func (l *Layout) describe(cluster string, kind metrics.Kind, entity metrics.Entity, owner *layoutRow) layoutRow {
	row := layoutRow{entity: entity, level: kind}
	if owner != nil {
		copied := *owner
		copied.owner = nil
		row.owner = &copied
	}
	if kind >= metrics.Levels {
		row.level = metrics.Cluster
		var labels []metrics.Label
		if owner != nil {
			row.level = owner.level
			labels = append(labels, owner.tags...)
		}
		labels = append(labels, metrics.SplitLabels(kind, entity.Name)...)
		row.tags = MakeTags(append(labels, metrics.Label{Key: TagType, Value: row.level.String()}, metrics.Label{Key: TagCluster, Value: cluster})...)
		return row
	}
	labels := l.meta(kind, entity.Meta)
	add := func(key, value string) { labels = append(labels, metrics.Label{Key: key, Value: value}) }
	add(TagType, kind.String())
	add(TagCluster, cluster)
	switch kind {
	case metrics.Namespace:
		add(TagNamespace, entity.Name)
	case metrics.Node:
		add(TagNode, entity.Name)
	case metrics.Pod:
		add(TagNamespace, owner.entity.Name)
		add(TagPod, entity.Name)
	case metrics.Container:
		add(TagNamespace, owner.tags.Get(TagNamespace))
		add(TagPod, owner.entity.Name)
		add(TagContainer, entity.Name)
		add(TagImage, entity.Image)
	case metrics.SystemContainer:
		add(TagNode, owner.entity.Name)
		add(TagContainer, entity.Name)
	}
	row.tags = MakeTags(labels...)
	return row
}

// meta makes the labels that come from enrichment. Copied labels come first: a tag
// of ours with the same name wins.
func (l *Layout) meta(kind metrics.Kind, meta *metrics.Meta) (labels []metrics.Label) {
	if meta == nil || kind == metrics.Cluster || kind == metrics.SystemContainer {
		return nil
	}
	add := func(key, value string) { labels = append(labels, metrics.Label{Key: key, Value: value}) }
	if kind != metrics.Namespace {
		labels = append(labels, meta.Stored...)
		add(TagNode, meta.Node)
		add(TagLabels, meta.Joined)
	}
	if kind == metrics.Pod || kind == metrics.Container {
		add(TagPodID, meta.UID)
	}
	for _, name := range l.extra {
		switch {
		case name == tagNamespaceID && kind != metrics.Node:
			add(name, meta.NamespaceID)
		case name == tagHostname && kind != metrics.Namespace:
			add(name, meta.Hostname)
		case name == tagHostID && kind != metrics.Namespace:
			add(name, meta.HostID)
		}
	}
	return labels
}
