package collector

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// told is what a batch says, readably: path and value of a metric of every live row.
func told(b *metrics.Batch) map[string]int64 {
	all := map[string]int64{}
	var path func(ref metrics.Ref) string
	path = func(ref metrics.Ref) string {
		if ref == (metrics.Ref{}) {
			return ""
		}
		e := b.Tables[ref.Kind].Entities[ref.Row]
		return fmt.Sprintf("%s/%s:%s", path(e.Parent), ref.Kind, e.Name)
	}
	for kind := range metrics.Kinds {
		t := b.Tables[kind]
		for row := range t.Rows {
			for _, c := range t.Columns() {
				if v, ok := c.Get(row); ok && c.Metric.ID != metrics.StartTime {
					all[path(metrics.Ref{Kind: kind, Row: row})+" "+c.Metric.Name] = v
				}
			}
		}
	}
	return all
}

func usage(bits int64) source.Value { return source.Value{ID: metrics.CPUUsage, Bits: bits} }
func cache(bits int64) source.Value { return source.Value{ID: metrics.MemoryCache, Bits: bits} }
func began(at int64) source.Value   { return source.Value{ID: metrics.StartTime, Bits: at} }

func emptyBatch() *metrics.Batch {
	return metrics.NewLedger(time.Hour).Begin("default", time.Unix(1800000000, 0), 30*time.Second)
}

func TestAssembly(t *testing.T) {
	a := newAssembly(emptyBatch())
	withDisk := set(metrics.Container, "ns", "web", "app", usage(3))
	withDisk.Labelled = []source.Labelled{{Kind: metrics.Filesystem, Name: "resource_id:/", Values: []source.Value{{ID: metrics.FilesystemUsage, Bits: 4}}}}
	a.add(sampleOf("a",
		set(metrics.Node, "", "", "", usage(1)),
		set(metrics.SystemContainer, "", "", "kubelet", usage(2)),
		set(metrics.Pod, "ns", "web", "", began(1)),
		withDisk,
		set(metrics.Container, "ns", "web", "app", cache(5)), // what cadvisor says
	))
	a.add(sampleOf("b", set(metrics.Node, "", "", "", usage(6)))) // another source's, or node's
	a.add(sampleOf("a", set(metrics.Container, "ns", "web", "app", source.Value{ID: metrics.MemoryRSS, Bits: 7})))
	want := map[string]int64{
		"/node:a cpu/usage":                                                          1,
		"/node:a/sys_container:kubelet cpu/usage":                                    2,
		"/ns:ns/pod:web/pod_container:app cpu/usage":                                 3,
		"/ns:ns/pod:web/pod_container:app/filesystem:resource_id:/ filesystem/usage": 4,
		"/ns:ns/pod:web/pod_container:app memory/cache":                              5,
		"/node:b cpu/usage":                                                          6,
		"/ns:ns/pod:web/pod_container:app memory/rss":                                7,
	}
	if diff := cmp.Diff(want, told(a.batch)); diff != "" {
		t.Error(diff)
	}
	pod := a.batch.Tables[metrics.Pod].Entities[0]
	if pod.Meta == nil || pod.Meta.Node != "a" || pod.Meta.UID != "uid-web" {
		t.Errorf("the pod's meta: %+v", pod.Meta)
	}
	if a.sets != 7 {
		t.Errorf("%d sets", a.sets)
	}
}

// Two nodes report a pod of the same name: the one that started later is there, whole,
// and nothing of the other, in whatever order they come.
func TestPodNameUsedAgain(t *testing.T) {
	sample := func(node string, start, n int64, container string) *source.Sample {
		withDisk := set(metrics.Container, "ns", "web-0", container, usage(n))
		withDisk.Labelled = []source.Labelled{{Kind: metrics.Filesystem, Name: "resource_id:/", Values: []source.Value{{ID: metrics.FilesystemUsage, Bits: n}}}}
		pod := set(metrics.Pod, "ns", "web-0", "", began(start), usage(n))
		pod.UID = "uid-on-" + node
		if node == "old" {
			pod.Values = append(pod.Values, cache(n)) // which the new one does not say
		}
		return sampleOf(node, set(metrics.Container, "ns", "web-0", container, usage(n)), set(metrics.Container, "ns", "other-on-"+node, "app", usage(9)), pod, withDisk)
	}
	want := map[string]int64{
		"/ns:ns/pod:web-0 cpu/usage":                                                      2,
		"/ns:ns/pod:web-0/pod_container:second cpu/usage":                                 2,
		"/ns:ns/pod:web-0/pod_container:second/filesystem:resource_id:/ filesystem/usage": 2,
		"/ns:ns/pod:other-on-old/pod_container:app cpu/usage":                             9,
		"/ns:ns/pod:other-on-new/pod_container:app cpu/usage":                             9,
	}
	before, after := sample("old", 100, 1, "first"), sample("new", 200, 2, "second")
	for _, order := range [][]*source.Sample{{before, after}, {after, before}} {
		a := newAssembly(emptyBatch())
		for _, s := range order {
			a.add(s)
		}
		if diff := cmp.Diff(want, told(a.batch)); diff != "" {
			t.Errorf("%s first: %s", order[0].Node, diff)
		}
		if n, m := a.batch.Tables[metrics.Container].Live.Count(), a.batch.Tables[metrics.Filesystem].Live.Count(); n != 3 || m != 1 {
			t.Errorf("%s first: %d containers and %d filesystems are in the batch", order[0].Node, n, m)
		}
		row, _ := a.batch.Find(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: 0}, "web-0")
		if meta := a.batch.Tables[metrics.Pod].Entities[row].Meta; meta.Node != "new" || meta.UID != "uid-on-new" {
			t.Errorf("%s first: meta %+v", order[0].Node, meta)
		}
	}
}
