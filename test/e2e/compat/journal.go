package main

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// journal is what the informers program writes down of one informer.
type journal struct {
	Name, Server, Resource string
	Selected               bool
	Events                 []struct {
		Kind, Key, UID, Version string
		At                      time.Time
	}
	Lists   []time.Time
	Watches int
	Store   map[string]struct {
		UID, Version string
		Hash         uint64
	}
}

// excuse is how long before and after an informer asks for everything its server may
// leave out changes that were overtaken.
const excuse = 3 * time.Second

// faults are the promises that were broken to this informer, given all writes since
// before it was started.
func (j *journal) faults(writes []write) (faults []string) {
	return append(j.disorder(), j.lost(writes)...)
}

// disorder finds versions that fall, and objects that come back after their deletion.
func (j *journal) disorder() (faults []string) {
	newest, gone := map[string]string{}, map[string]bool{}
	for _, e := range j.Events {
		if gone[e.UID] && !j.Selected { // with a selector it may come back
			faults = append(faults, fmt.Sprintf("%s of %s (%s) at version %s after its deletion", e.Kind, e.Key, e.UID, e.Version))
		}
		if before, seen := newest[e.UID]; seen && e.Kind != "UNKNOWN" {
			order, err := resourceversion.CompareResourceVersion(e.Version, before)
			if err != nil || order < 0 {
				faults = append(faults, fmt.Sprintf("%s of %s at version %s after %s (%v)", e.Kind, e.Key, e.Version, before, err))
			}
		}
		newest[e.UID] = e.Version
		gone[e.UID] = e.Kind == "DELETED" || e.Kind == "UNKNOWN"
	}
	return faults
}

// lost finds writes that the informer should have been told of and was not.
func (j *journal) lost(writes []write) (faults []string) {
	told, deleted := map[string]bool{}, map[string]bool{}
	for _, e := range j.Events {
		told[e.UID+"@"+e.Version] = true
		if e.Kind == "DELETED" || e.Kind == "UNKNOWN" {
			deleted[e.UID] = true
		}
	}
	inside := map[string]bool{} // by UID: the selector matched after the last write
	for _, w := range writes {
		if w.resource != j.Resource {
			continue
		}
		matched := inside[w.uid]
		inside[w.uid] = w.in || !j.Selected && w.version != ""
		if !matched && !inside[w.uid] || j.excused(w.at) {
			continue
		}
		if w.version == "" && !deleted[w.uid] {
			faults = append(faults, fmt.Sprintf("never told of the deletion of %s (%s)", w.key, w.uid))
		}
		if w.version != "" && !told[w.uid+"@"+w.version] {
			faults = append(faults, fmt.Sprintf("never told of %s at version %s", w.key, w.version))
		}
	}
	return faults
}

func (j *journal) excused(at time.Time) bool {
	if len(j.Lists) == 0 || at.Before(j.Lists[0]) {
		return true // it was not there yet
	}
	for _, list := range j.Lists {
		if at.After(list.Add(-excuse)) && at.Before(list.Add(excuse)) {
			return true
		}
	}
	return false
}

// unlike compares the stores of two informers of the same kind on two servers.
func (j *journal) unlike(other *journal) (faults []string) {
	for key, mine := range j.Store {
		if theirs, ok := other.Store[key]; !ok || theirs != mine {
			faults = append(faults, fmt.Sprintf("at the end %s is %v at %s and %v at %s", key, mine, j.Server, theirs, other.Server))
		}
	}
	for key := range other.Store {
		if _, ok := j.Store[key]; !ok {
			faults = append(faults, fmt.Sprintf("at the end only %s has %s", other.Server, key))
		}
	}
	return faults
}
