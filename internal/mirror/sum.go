package mirror

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Sum identifies a set of objects by what they say: equal sets have equal sums on
// every replica, whatever led to them, and other sets almost surely have others.
// The empty set's is zero.
type Sum [2]uint64

// Add returns the sum of the union of two sets that share no object.
func (s Sum) Add(other Sum) Sum { return Sum{s[0] + other[0], s[1] + other[1]} }

func (s Sum) minus(other Sum) Sum { return Sum{s[0] - other[0], s[1] - other[1]} }

// sumOf is the sum of one object. Whoever writes objects must not be able to make two
// of the same sum, hence a cryptographic hash.
func sumOf(text string, body, cells []byte) Sum {
	h := sha256.New()
	var lengths [16]byte
	binary.LittleEndian.PutUint64(lengths[:], uint64(len(text)))
	binary.LittleEndian.PutUint64(lengths[8:], uint64(len(cells)))
	h.Write(lengths[:]) // a hash never fails
	h.Write([]byte(text))
	h.Write(cells)
	h.Write(body)
	sum := h.Sum(nil)
	return Sum{binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])}
}

// Scope is what is known of all objects of a namespace, or of a whole Root.
type Scope struct {
	Objects int
	Sum     Sum
}

func (s Scope) with(o *Object) Scope { return Scope{s.Objects + 1, s.Sum.Add(o.Sum)} }

func (s Scope) without(o *Object) Scope { return Scope{s.Objects - 1, s.Sum.minus(o.Sum)} }

// contents is a set of objects that can be changed, and copied in O(1).
type contents struct {
	tree   objectTree
	scopes scopeMap
	all    Scope
	bytes  int64
}

func newContents() contents { return contents{tree: newTree()} }

// copy returns a copy that may change independently of c.
func (c *contents) copy() contents {
	return contents{tree: c.tree.Copy(), scopes: *c.scopes.Copy(), all: c.all, bytes: c.bytes}
}

// set puts o in the place of what has its key, and returns that, nil if there was none.
func (c *contents) set(o *Object) (before *Object) {
	before, _ = c.tree.Set(o)
	c.count(before, o)
	return before
}

// remove takes away what has the key, and returns it, nil if there was none.
func (c *contents) remove(key object.Key) (before *Object) {
	before, _ = c.tree.Delete(&Object{path: key.String()})
	c.count(before, nil)
	return before
}

// count moves the numbers on: before went and after came, each nil if there is none.
func (c *contents) count(before, after *Object) {
	if before == nil && after == nil {
		return
	}
	of := before
	if of == nil {
		of = after
	}
	scope, _ := c.scopes.Get(of.Key.Namespace)
	if before != nil {
		scope, c.all, c.bytes = scope.without(before), c.all.without(before), c.bytes-before.size()
	}
	if after != nil {
		scope, c.all, c.bytes = scope.with(after), c.all.with(after), c.bytes+after.size()
	}
	if scope.Objects == 0 {
		c.scopes.Delete(of.Key.Namespace)
		return
	}
	c.scopes.Set(of.Key.Namespace, scope)
}
