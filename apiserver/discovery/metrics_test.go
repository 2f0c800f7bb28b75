package discovery

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// metricsOf are resources that KRM makes itself, in two versions.
func metricsOf(versions ...string) (all []object.Resource) {
	for _, version := range versions {
		all = append(all,
			object.Resource{Group: "metrics.k8s.io", Version: version, Name: "nodes", Kind: "NodeMetrics"},
			object.Resource{Group: "metrics.k8s.io", Version: version, Name: "pods", Kind: "PodMetrics", Namespaced: true})
	}
	return all
}

// upstreamMetrics are documents of an API server whose own metrics are away.
func upstreamMetrics(t *testing.T) object.Documents {
	set := captured(t)
	edit := func(path, from, to string) {
		d := set.ByPath[path]
		text := strings.Replace(string(d.Data), from, to, 1)
		if text == string(d.Data) {
			t.Fatalf("%s: no %s", path, from)
		}
		set.ByPath[path] = object.PackedDocument{Revision: d.Revision + "M", Data: []byte(text)}
	}
	edit("/apis", `"groups":[`, `"groups":[{"name":"metrics.k8s.io","versions":[{"groupVersion":"metrics.k8s.io/v1beta1","version":"v1beta1"}],"preferredVersion":{"groupVersion":"metrics.k8s.io/v1beta1","version":"v1beta1"}},`)
	edit(object.AggregatedGroups, `"items":[`, `"items":[{"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale"}]},`)
	return set
}

func TestOwnMetrics(t *testing.T) {
	served := append([]object.Resource{pods}, metricsOf("v1", "v1beta1")...)
	for name, documents := range map[string]object.Documents{
		"none": {}, "without the group": captured(t), "with the group": upstreamMetrics(t),
	} {
		for _, scope := range []Scope{ScopeServed, ScopeReads, ScopeAll} {
			if name == "with the group" && scope != ScopeServed { // then it is the API server's
				continue
			}
			s := stock(t, documents, scope, served...)
			s.handler.options.Unwatched = []string{"metrics.k8s.io"}
			var groups metav1.APIGroupList
			decode(t, s, "/apis", &groups)
			i := slices.IndexFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == "metrics.k8s.io" })
			if i < 0 || len(groups.Groups[i].Versions) != 2 {
				t.Errorf("%s, scope %d: /apis: %v", name, scope, groups.Groups)
			}
			var group metav1.APIGroup
			decode(t, s, "/apis/metrics.k8s.io", &group)
			if len(group.Versions) != 2 {
				t.Errorf("%s, scope %d: %v", name, scope, group)
			}
			for _, version := range []string{"v1", "v1beta1"} {
				var list metav1.APIResourceList
				decode(t, s, "/apis/metrics.k8s.io/"+version, &list)
				if len(list.APIResources) != 2 || list.APIResources[1].Kind != "PodMetrics" || !list.APIResources[1].Namespaced {
					t.Errorf("%s, scope %d, %s: %v", name, scope, version, list)
				}
				for _, r := range list.APIResources {
					if !slices.Equal(r.Verbs, []string{"get", "list"}) {
						t.Errorf("%s, scope %d, %s: verbs %v", name, scope, version, r.Verbs)
					}
				}
			}
			if documents.ByPath == nil {
				continue
			}
			var all apidiscovery.APIGroupDiscoveryList
			decode(t, s, "aggregated /apis", &all)
			i = slices.IndexFunc(all.Items, func(g apidiscovery.APIGroupDiscovery) bool { return g.Name == "metrics.k8s.io" })
			if i < 0 || len(all.Items[i].Versions) != 2 {
				t.Errorf("%s, scope %d: aggregated: %v", name, scope, all.Items)
				continue
			}
			for _, v := range all.Items[i].Versions {
				if v.Freshness != "Current" || len(v.Resources) != 2 || !slices.Equal(v.Resources[0].Verbs, []string{"get", "list"}) {
					t.Errorf("%s, scope %d: aggregated: %+v", name, scope, v)
				}
			}
		}
	}
}

// The group is there only as long as it is served.
func TestOwnMetricsGone(t *testing.T) {
	s := stock(t, captured(t), ScopeServed, append([]object.Resource{pods}, metricsOf("v1beta1")...)...)
	if code := s.get("/apis/metrics.k8s.io/v1beta1").Code; code != 200 {
		t.Errorf("served: %d", code)
	}
	s.served = []object.Resource{pods}
	for _, path := range []string{"/apis/metrics.k8s.io/v1beta1", "/apis/metrics.k8s.io"} {
		if code := s.get(path).Code; code != 0 {
			t.Errorf("%s: %d, want that it is not handled", path, code)
		}
	}
	if text := s.get("/apis").Body.String(); strings.Contains(text, "metrics.k8s.io") {
		t.Error(text)
	}
}

func decode(t *testing.T, s *stand, path string, into any) {
	t.Helper()
	accept := ""
	if rest, is := strings.CutPrefix(path, "aggregated "); is {
		path, accept = rest, aggregated
	}
	w := s.get(path, "Accept", accept)
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil || w.Code != 200 {
		t.Errorf("%s: %d, %v: %s", path, w.Code, err, w.Body)
	}
}
