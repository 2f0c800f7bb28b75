package influx

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// TestSchema checks the lines against Heapster's schema.
func TestSchema(t *testing.T) {
	pod := dbtest.Pod{Namespace: "ns", Name: "web-0", UID: "u-1", Node: "n1", Labels: "app:web,tier:a b", Stored: []metrics.Label{{Key: "team", Value: "x=y"}}}
	w := dbtest.NewWorld("default")
	w.Begin(time.Unix(1700000000, 0), time.Minute)
	w.Set(pod, metrics.CPUUsageRate, metricdb.Int(255))
	w.Set(pod, metrics.CPUUsage, metricdb.Int(7))
	w.Set(pod, metrics.NetworkRxRate, metricdb.Float(1000))
	w.Set(pod, metrics.Uptime, metricdb.Int(5))
	w.SetContainer(pod, "app", "nginx:1", metrics.MemoryUsage, metricdb.Int(4096))
	w.SetVolume(pod, "Volume:data", metrics.FilesystemUsage, metricdb.Int(3))
	w.SetNode("n1", metrics.CPUNodeCapacity, metricdb.Float(4000))
	w.SetNamespace("ns", metrics.CPUUsageRate, metricdb.Int(9))
	f := func(options Options, want ...string) {
		t.Helper()
		var got []string
		for _, one := range newLines(&options).batch(w.Batch()) {
			if one.policy == samplePolicy {
				got = append(got, strings.Split(strings.TrimSpace(strings.ReplaceAll(string(one.lines), " 1700000000000000000", "")), "\n")...)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", options, diff)
		}
	}
	const of = `,labels=app:web\,tier:a\ b,namespace_name=ns,nodename=n1,pod_name=web-0`
	f(
		Options{},
		`cpu/usage_rate,cluster_name=default`+of+`,team=x\=y,type=pod value=255i`,
		`cpu/usage,cluster_name=default`+of+`,team=x\=y,type=pod value=7i`,
		`network/rx_rate,cluster_name=default`+of+`,team=x\=y,type=pod value=1000`,
		`uptime,cluster_name=default`+of+`,team=x\=y,type=pod value=5i`,
		`memory/usage,cluster_name=default,container_base_image=nginx:1,container_name=app`+of+`,team=x\=y,type=pod_container value=4096i`,
		`filesystem/usage,cluster_name=default`+of+`,resource_id=Volume:data,team=x\=y,type=pod value=3i`,
		`cpu/node_capacity,cluster_name=default,nodename=n1,type=node value=4000`,
		`cpu/usage_rate,cluster_name=default,namespace_name=ns,type=ns value=9i`,
	)
	f(
		Options{WithFields: true, Types: []string{"pod"}, Tags: []string{"pod_id", "namespace_id"}, ClusterName: "c1", DisableCounters: true},
		`cpu,cluster_name=c1,labels=app:web\,tier:a\ b,namespace_id=id-ns,namespace_name=ns,nodename=n1,pod_id=u-1,pod_name=web-0,team=x\=y,type=pod usage_rate=255i`,
		`network,cluster_name=c1,labels=app:web\,tier:a\ b,namespace_id=id-ns,namespace_name=ns,nodename=n1,pod_id=u-1,pod_name=web-0,team=x\=y,type=pod rx_rate=1000`,
		`uptime,cluster_name=c1,labels=app:web\,tier:a\ b,namespace_id=id-ns,namespace_name=ns,nodename=n1,pod_id=u-1,pod_name=web-0,team=x\=y,type=pod value=5i`,
		`filesystem,cluster_name=c1,labels=app:web\,tier:a\ b,namespace_id=id-ns,namespace_name=ns,nodename=n1,pod_id=u-1,pod_name=web-0,resource_id=Volume:data,team=x\=y,type=pod usage=3i`,
	)
}
