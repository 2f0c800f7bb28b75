package mirror

import (
	"slices"
	"strings"
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
