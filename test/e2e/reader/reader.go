// Package reader follows KRM as its users do, all the time, and watches over what
// they are promised: no object goes back in time, and none comes back from the dead.
package reader

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
)

// Journal is what a reader of one resource has seen so far. It is safe for
// concurrent use.
type Journal struct {
	resource string

	mu      sync.Mutex
	now     map[string]compare.Object // by key
	newest  map[string]string         // version by UID, of every object ever seen
	gone    map[string]bool           // UIDs that disappeared
	faults  []string
	updates int
}

// NewJournal returns a journal of resource in which nothing has been seen.
func NewJournal(resource string) *Journal {
	return &Journal{
		resource: resource,
		now:      map[string]compare.Object{}, newest: map[string]string{}, gone: map[string]bool{},
	}
}

// Replace notes a whole list.
func (j *Journal) Replace(objects map[string]compare.Object) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.updates++
	for key, before := range j.now {
		if after, ok := objects[key]; !ok || after.UID != before.UID {
			j.gone[before.UID] = true
		}
	}
	for _, o := range objects {
		j.check(o)
	}
	j.now = maps.Clone(objects)
}

// Put notes one object that was added or updated.
func (j *Journal) Put(o compare.Object) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.updates++
	if before, ok := j.now[o.Key]; ok && before.UID != o.UID {
		j.gone[before.UID] = true
	}
	j.check(o)
	j.now[o.Key] = o
}

// Delete notes that one object disappeared.
func (j *Journal) Delete(key, uid string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.updates++
	j.gone[uid] = true
	if j.now[key].UID == uid {
		delete(j.now, key)
	}
}

// check needs mu.
func (j *Journal) check(o compare.Object) {
	if j.gone[o.UID] {
		j.fault("%s %s (uid %s) came back after it was gone, at version %s", j.resource, o.Key, o.UID, o.Version)
		delete(j.gone, o.UID) // say it once
	}
	before, seen := j.newest[o.UID]
	if seen {
		order, err := resourceversion.CompareResourceVersion(o.Version, before)
		if err != nil {
			j.fault("%s %s: version %q cannot be compared with %q: %v", j.resource, o.Key, o.Version, before, err)
			return
		}
		if order < 0 {
			j.fault("%s %s went back from version %s to %s", j.resource, o.Key, before, o.Version)
		}
	}
	j.newest[o.UID] = o.Version
}

func (j *Journal) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

// Now returns a copy of what the reader holds.
func (j *Journal) Now() map[string]compare.Object {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.now)
}

// Faults returns the broken promises so far.
func (j *Journal) Faults() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.faults)
}

// Updates says how often something was noted.
func (j *Journal) Updates() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.updates
}
