package reader

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
)

func object(key, uid, version string) compare.Object {
	return compare.Object{Key: key, UID: uid, Version: version}
}

func list(objects ...compare.Object) map[string]compare.Object {
	m := map[string]compare.Object{}
	for _, o := range objects {
		m[o.Key] = o
	}
	return m
}

func TestJournalFindsBrokenPromises(t *testing.T) {
	f := func(want string, lists ...map[string]compare.Object) {
		t.Helper()
		whole, single := NewJournal("pods"), NewJournal("pods")
		for _, l := range lists {
			whole.Replace(l)
			now := single.Now()
			for key, o := range now {
				if _, ok := l[key]; !ok {
					single.Delete(key, o.UID)
				}
			}
			for _, o := range l {
				single.Put(o)
			}
		}
		for _, j := range []*Journal{whole, single} {
			faults := strings.Join(j.Faults(), "; ")
			if want == "" && faults != "" || !strings.Contains(faults, want) {
				t.Errorf("faults %q, want %q", faults, want)
			}
			if !slices.Equal(keys(j.Now()), keys(lists[len(lists)-1])) {
				t.Errorf("holds %v", j.Now())
			}
		}
	}
	f("", list(object("a/x", "1", "9")), list(object("a/x", "1", "10")), list(object("a/x", "1", "10")))
	f("", list(object("a/x", "1", "9")), list(), list(object("a/x", "2", "12")))
	f("went back from version 10 to 9", list(object("a/x", "1", "10")), list(object("a/x", "1", "9")))
	f("came back", list(object("a/x", "1", "9")), list(), list(object("a/x", "1", "9")))
	f("came back", list(object("a/x", "1", "9")), list(object("a/x", "2", "12")), list(object("a/x", "1", "9")))
	f("cannot be compared", list(object("a/x", "1", "9")), list(object("a/x", "1", "abc")))
}

func keys(m map[string]compare.Object) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestPathOf(t *testing.T) {
	f := func(group, resource, want string) {
		t.Helper()
		if got := PathOf(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f("", "pods", "/api/v1/pods")
	f("apps", "deployments", "/apis/apps/v1/deployments")
}
