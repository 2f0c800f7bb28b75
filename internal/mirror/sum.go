package mirror

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Sum identifies a set of objects by what they say: equal sets have equal sums on
// every replica, whatever led to them, and other sets almost surely have others.
// The empty set's is zero.
type Sum [2]uint64

// Add returns the sum of the union of two sets that share no object.
func (s Sum) Add(other Sum) Sum { return Sum{s[0] + other[0], s[1] + other[1]} }

func (s Sum) minus(other Sum) Sum { return Sum{s[0] - other[0], s[1] - other[1]} }

// sumOf is the sum of one object.
func sumOf(text string, body, cells []byte) Sum {
	a, b := xxhash.Sum64(body), xxhash.Sum64String(text)^bits.RotateLeft64(xxhash.Sum64(cells), 29)
	return Sum{mix(a ^ bits.RotateLeft64(b, 32)), mix(a + 0x9e3779b97f4a7c15*b)}
}

// mix spreads x's bits (splitmix64's last step), so that sums of many hold as much
// as sums of few.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
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
