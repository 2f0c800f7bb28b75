package mirror

import (
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Object is one live object of a Root. It is never changed: share it freely and do
// not write to Body or Cells.
type Object struct {
	Key     object.Key
	UID     string
	Version object.Version
	SeenAt  time.Time // when KRM received this state, UTC
	Body    []byte    // the object as JSON, as KRM stored it
	Cells   []byte    // the Table row's cells as a JSON array; empty if the server made none
	Labels  Labels    // metadata.labels
	Node    string    // spec.nodeName of a pod, "" of everything else; part of Body

	Sum Sum // of this object alone

	path     string // Key.String(), by whose bytes a Root is ordered; Key's strings are parts of it
	metadata span   // where Body tells its metadata
	mask     LabelMask
}

// span is a part of a body.
type span struct{ from, to uint32 }

// Path is "namespace/name", or "name" of a cluster-scoped object: what a Root is ordered by.
func (o *Object) Path() string { return o.path }

// Metadata is the JSON of the object's metadata: a part of Body, not to be written to.
func (o *Object) Metadata() []byte { return o.Body[o.metadata.from:o.metadata.to] }

// objectOverhead is about what an object takes beside its bytes: the struct, its
// place in the tree, and what the allocator rounds up.
const objectOverhead = 416

// size is about how many bytes of memory the object takes.
func (o *Object) size() int64 {
	return int64(len(o.Body) + len(o.Cells) + len(o.path) + len(o.UID) + len(o.Version) + 32*len(o.Labels) + objectOverhead)
}

// newObject takes over the record's bytes. Bytes that waste much of what backs
// them are copied, because they stay for long.
func newObject(record object.Record, pods bool) (*Object, error) {
	found, err := scanBody(record.Body, pods)
	if err != nil {
		return nil, err
	}
	if waste := cap(record.Body) - len(record.Body) - len(record.Cells); waste > 128+len(record.Body)/8 {
		record.Body = append(make([]byte, 0, len(record.Body)), record.Body...)
		if found, err = scanBody(record.Body, pods); err != nil {
			return nil, err
		}
	}
	path, uid, version := record.Key.String(), len(record.UID), len(record.Version)
	// One copy of the small strings: the record's may be parts of a whole feed entry.
	text := strings.Join([]string{path, record.UID, string(record.Version)}, "")
	path = text[:len(path)]
	return &Object{
		Key: object.ParseKey(path), UID: text[len(path) : len(path)+uid], Version: object.Version(text[len(text)-version:]),
		SeenAt: record.SeenAt, Body: record.Body, Cells: record.Cells, Labels: found.labels, Node: found.node,
		Sum: sumOf(text, record.Body, record.Cells), path: path, metadata: found.metadata, mask: found.labels.mask(),
	}, nil
}

// Root is one state of a resource: what the aggregator had published up to ID. It
// is immutable and may be kept as long as its reader likes.
type Root struct {
	Resource  object.Resource
	Freshness object.Freshness // Streamed is the resourceVersion of a list of this Root
	Lineage   string           // versions are comparable within one lineage only
	ID        object.LogID     // the feed's entry that led here; the same state on every replica
	Load      int              // roots of one Load follow one another by the feed; it grows with each reload
	Barrier   object.Version   // no watch may go on from below
	Columns   []object.Column  // of the Table; empty if the server makes none
	Bytes     int64            // about what the objects take in memory

	contents contents // not to be copied but by undo, which takes turns
	copying  *sync.Mutex
}

// Len is the number of objects.
func (r *Root) Len() int { return r.contents.tree.Len() }

// Get returns the object of that key. It costs O(log n).
func (r *Root) Get(key object.Key) (o *Object, ok bool) {
	return r.contents.tree.Get(&Object{path: key.String()})
}

// Scope tells of all objects of the namespace, or of all if it is "". It costs O(log n).
func (r *Root) Scope(namespace string) Scope {
	if namespace == "" {
		return r.contents.all
	}
	scope, _ := r.contents.scopes.Get(namespace)
	return scope
}

// Namespaces yields the namespaces that have objects, in order, with what is
// known of them; of a cluster-scoped resource only "".
func (r *Root) Namespaces() iter.Seq2[string, Scope] { return r.contents.scopes.Scan }

// All yields the objects of the namespace, or of all if it is "", ordered by the
// bytes of "namespace/name" as the API server orders its lists.
func (r *Root) All(namespace string) iter.Seq[*Object] { return r.After(namespace, "") }

// After is All from behind the object of that Path on, whether it is there or not.
func (r *Root) After(namespace, path string) iter.Seq[*Object] {
	tree := r.contents.tree
	if namespace == "" && path == "" {
		return tree.Scan
	}
	prefix := ""
	if namespace != "" {
		prefix = namespace + "/"
	}
	return func(yield func(*Object) bool) {
		tree.Ascend(&Object{path: max(prefix, path)}, func(o *Object) bool {
			if o.path == path {
				return true
			}
			return strings.HasPrefix(o.path, prefix) && yield(o)
		})
	}
}

// newest is the version from which on all changes will be told: a mirror may have
// loaded objects that are newer than the position says.
func (r *Root) newest() object.Version {
	newest := r.Freshness.Streamed.Newest(r.Barrier)
	for o := range r.All("") {
		newest = newest.Newest(o.Version)
	}
	return newest
}

type (
	objectTree = *btree.BTreeG[*Object]
	scopeMap   = btree.Map[string, Scope]
)

func newTree() objectTree {
	less := func(a, b *Object) bool { return a.path < b.path }
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// Restated returns the object as if body, at version, were what was known of it. It
// takes over body.
func (o *Object) Restated(version object.Version, body []byte) (*Object, error) {
	head := object.Head{Key: o.Key, UID: o.UID, Version: version, SeenAt: o.SeenAt}
	return newObject(object.Record{Head: head, Body: body, Cells: o.Cells}, o.Node != "")
}
