package metrics

import (
	"math"
	"math/bits"
	"time"
)

// Kind says what a table's rows are: the levels first, then families of labelled
// metrics, whose rows belong to a row of a level.
type Kind uint8

// The tables of a batch.
const (
	Cluster         Kind = iota // one row, with the name ""
	Namespace                   // name: the namespace
	Node                        // name: the node
	Pod                         // name: the pod; parent: its Namespace
	Container                   // name: the container; parent: its Pod
	SystemContainer             // name: kubelet, docker-daemon, system, pods; parent: its Node
	Filesystem                  // name: "resource_id:/"; parent: Node, Pod, Container or SystemContainer
	Disk                        // name: "resource_id:8:0"; parent as of Filesystem
	Accelerator                 // name: "accelerator_id:…,make:…,model:…"; parent: Container, or Node when idle
	GPU                         // name: "gpu_index:…,gpu_name:…,gpu_uuid:…"; parent as of Accelerator

	// Kinds is how many there are; Levels how many of them are levels.
	Kinds
	Levels = Filesystem
)

// String is the kind as it stands in the label "type" of sets; families have their
// metrics' first word.
func (k Kind) String() string {
	return [...]string{"cluster", "ns", "node", "pod", "pod_container", "sys_container", "filesystem", "disk", "accelerator", "gpu"}[k]
}

// Row is an entity's place in a table. An entity keeps it as long as it is
// remembered, over batches: columns of successive batches line up.
type Row int32

// Ref is a row of a table.
type Ref struct {
	Kind Kind
	Row  Row
}

// Label is one label. Its strings are shared.
type Label struct{ Key, Value string }

// Meta is what enrichment knows of a node, a namespace or a pod. It is never
// changed, and shared by a pod and its containers; nil if nothing is known.
type Meta struct {
	UID         string  // the object's UID: a pod's pod_id
	NamespaceID string  // the namespace's UID
	Node        string  // the node's name, of nodes and pods
	Hostname    string  // the node's address of type Hostname, else its name
	HostID      string  // the node's provider ID, or what the option host_id_annotation names
	Labels      []Label // all labels, by key
	Joined      string  // the label "labels": sorted and joined, without the ignored ones
	Stored      []Label // labels that are copied to labels of their own, by key
}

// Entity is what a row is about. It is never changed.
type Entity struct {
	Parent Ref    // the zero Ref (the cluster) of namespaces, nodes and the cluster
	Name   string // see the Kinds
	Image  string // of a Container: as its spec says it
	Meta   *Meta  // of Namespace, Node, Pod and Container; families have their parent's
}

// Bitmap is a set of rows.
type Bitmap []uint64

// Has says whether row is in b.
func (b Bitmap) Has(row Row) bool {
	return int(row>>6) < len(b) && b[row>>6]&(1<<(row&63)) != 0
}

// Count returns how many rows are in b.
func (b Bitmap) Count() (n int) {
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

func (b *Bitmap) add(row Row) {
	for int(row>>6) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[row>>6] |= 1 << (row & 63)
}

// Column is one metric of all rows of a table.
type Column struct {
	Metric *Descriptor
	Values []int64 // by row, floats as their bits; may be shorter than the table
	Has    Bitmap  // the rows that have a value
}

// Set gives row a value: an integer, or the bits of a float as the metric says.
func (c *Column) Set(row Row, bits int64) {
	for int(row) >= len(c.Values) {
		c.Values = append(c.Values, make([]int64, max(64, int(row)+1-len(c.Values)))...)
	}
	c.Values[row] = bits
	c.Has.add(row)
}

// Clear takes the row's value away.
func (c *Column) Clear(row Row) {
	if c != nil && c.Has.Has(row) {
		c.Has[row>>6] &^= 1 << (row & 63)
	}
}

// Get returns the row's value: an integer, or the bits of a float.
func (c *Column) Get(row Row) (bits int64, ok bool) {
	if c == nil || !c.Has.Has(row) {
		return 0, false
	}
	return c.Values[row], true
}

// Number returns the row's value as a float, whatever it is.
func (c *Column) Number(row Row) (float64, bool) {
	v, ok := c.Get(row)
	if !ok {
		return 0, false
	}
	return c.Metric.Number(v), true
}

// Number is the value with these bits as a float.
func (d *Descriptor) Number(bits int64) float64 {
	if d.Float {
		return BitsFloat(bits)
	}
	return float64(bits)
}

// FloatBits is how a Column holds a float.
func FloatBits(f float64) int64 { return int64(math.Float64bits(f)) }

// BitsFloat is the float that a Column holds.
func BitsFloat(bits int64) float64 { return math.Float64frombits(uint64(bits)) }

// Table is all that a batch says of the rows of one kind.
type Table struct {
	Kind     Kind
	Entities []Entity // by row; a remembered row that is not in this batch stays
	Live     Bitmap   // the rows that are in this batch
	columns  [NumIDs]*Column
	extra    []*Column // of metrics that are not in the catalog, by name
}

// Column returns the column of a metric of the catalog, nil if nothing has it.
func (t *Table) Column(id ID) *Column { return t.columns[id] }

// Make returns the column of d, made empty if there was none.
func (t *Table) Make(d *Descriptor) *Column {
	c := t.find(d)
	if c != nil {
		return c
	}
	c = &Column{Metric: d}
	if d.ID < NumIDs {
		t.columns[d.ID] = c
	} else {
		t.extra = append(t.extra, c)
	}
	return c
}

// find returns the column of d, nil if there is none.
func (t *Table) find(d *Descriptor) *Column {
	if d.ID < NumIDs {
		return t.columns[d.ID]
	}
	for _, c := range t.extra {
		if c.Metric.Name == d.Name {
			return c
		}
	}
	return nil
}

// Set gives row the value of a metric of the catalog.
func (t *Table) Set(id ID, row Row, bits int64) {
	c := t.columns[id]
	if c == nil {
		c = t.Make(&catalog[id])
	}
	c.Set(row, bits)
}

// Get returns row's value of a metric of the catalog.
func (t *Table) Get(id ID, row Row) (bits int64, ok bool) { return t.columns[id].Get(row) }

// Columns returns all columns, hidden ones too: the catalog's in its order, then
// the others.
func (t *Table) Columns() (all []*Column) {
	for _, c := range t.columns {
		if c != nil {
			all = append(all, c)
		}
	}
	return append(all, t.extra...)
}

// Rows yields the rows that are in this batch, ascending.
func (t *Table) Rows(yield func(Row) bool) {
	for i, word := range t.Live {
		for ; word != 0; word &= word - 1 {
			if !yield(Row(i<<6 + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

// NodeStatus is how the collection of one node went.
type NodeStatus struct {
	Name string
	// Reason says in a word why the node has no metrics in this batch, "" if it has:
	// "timeout", "unauthorized", "forbidden", "status", "refused", "unreadable",
	// "not ready", "no address", "untrusted", "canceled", "removed".
	Reason string
	Error  string        // the same for people, with what to do; "" if it has metrics
	Took   time.Duration // from the request to the last byte
	LastAt time.Time     // when it last answered, UTC; zero if never
}

// Batch is all that was measured in one window. Whoever builds it owns it; once it
// is handed to sinks nobody changes it any more.
type Batch struct {
	Cluster    string // cluster_name of the sources; "default"
	Shard      int    // of Shards collectors that divide the nodes: 0 to Shards-1
	Shards     int
	Time       time.Time     // the window's end, UTC, a multiple of Resolution
	Resolution time.Duration // the window's length
	ScrapedAt  time.Time     // when scraping began, UTC
	Nodes      []NodeStatus  // by name
	Tables     [Kinds]*Table

	ledger *Ledger
	run    uint64 // the encoder's that made the frame it was read from; 0 of a new one
}

// Row returns the row of the entity name below parent, and puts it into the batch.
// Namespaces, nodes and the cluster have the zero Ref as parent.
func (b *Batch) Row(kind Kind, parent Ref, name string) Row {
	row := b.ledger.row(kind, parent, name, b.Time)
	t := b.Tables[kind]
	for int(row) >= len(t.Entities) {
		t.Entities = append(t.Entities, Entity{})
	}
	e := &t.Entities[row]
	if e.Name != name || e.Parent != parent {
		*e = Entity{Parent: parent, Name: name}
	}
	t.Live.add(row)
	return row
}

// Find returns the row of an entity of this batch.
func (b *Batch) Find(kind Kind, parent Ref, name string) (Row, bool) {
	row, ok := b.ledger.find(kind, parent, name)
	return row, ok && b.Tables[kind].Live.Has(row)
}

// Describe says what is known of an entity of the batch; later batches know it too.
func (b *Batch) Describe(ref Ref, image string, meta *Meta) {
	e := &b.Tables[ref.Kind].Entities[ref.Row]
	e.Image, e.Meta = image, meta
}
