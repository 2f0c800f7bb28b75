package mirror

import (
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Label is one label of an object. Its strings are shared by all objects that have them.
type Label struct{ Key, Value string }

// Labels are an object's labels, sorted by key. They implement the Labels
// interface of k8s.io/apimachinery/pkg/labels; pass a pointer to them, so that
// matching a selector allocates nothing.
type Labels []Label

// Lookup returns the value of the label and whether there is one.
func (l Labels) Lookup(key string) (value string, ok bool) {
	if len(l) > 16 {
		i, found := slices.BinarySearchFunc(l, key, func(label Label, key string) int { return strings.Compare(label.Key, key) })
		if !found {
			return "", false
		}
		return l[i].Value, true
	}
	for i := range l {
		if l[i].Key == key {
			return l[i].Value, true
		}
	}
	return "", false
}

// Has says whether there is such a label.
func (l Labels) Has(key string) bool {
	_, ok := l.Lookup(key)
	return ok
}

// Get returns the label's value, "" if there is none.
func (l Labels) Get(key string) string {
	value, _ := l.Lookup(key)
	return value
}

// LabelMask is a sketch of labels: it tells of most objects that lack a label without a
// look at their labels, which are somewhere else in memory.
type LabelMask uint64

// MaskOf is the sketch of one label.
func MaskOf(key, value string) LabelMask {
	h := xxhash.Sum64String(key)*0x9e3779b97f4a7c15 + xxhash.Sum64String(value)
	return 1<<(h&63) | 1<<(h>>6&63)
}

// mask is the sketch of all labels.
func (l Labels) mask() (mask LabelMask) {
	for _, label := range l {
		mask |= MaskOf(label.Key, label.Value)
	}
	return mask
}

// MayHave says false only if the object lacks one of the labels that mask is the
// sketch of.
func (o *Object) MayHave(mask LabelMask) bool { return o.mask&mask == mask }
