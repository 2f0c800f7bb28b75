package billing

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func TestAnswers(t *testing.T) {
	db := small()
	h := handler(db, Options{})
	f := func(path, body string, fields string, want ...string) {
		t.Helper()
		var got []string
		for _, row := range rowsOf(t, send(h, post(path, body))) {
			var cells []string
			for field := range strings.SplitSeq(fields, " ") {
				cells = append(cells, fmt.Sprint(row[field]))
			}
			got = append(got, strings.Join(cells, " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s: -want +got\n%s", path, body, diff)
		}
	}
	const sums = "namespace_name pod_name pod_uid level sum samples expected coverage mean max integral integral_unit unit"
	// Single samples: the default level is the container's; newest first.
	f("/api/cpu/usage_rate", `{"namespace":"b",`+hourBody+`,"limit":"3"}`, "time value unit level type namespace_name pod_name container_name nodename labels cluster_name",
		"2024-02-01T00:59:00Z 500 millicores container pod_container b web a n1 app:web,team:b default",
		"2024-02-01T00:59:00Z 500 millicores container pod_container b web b n1 app:web,team:b default",
		"2024-02-01T00:58:00Z 500 millicores container pod_container b web a n1 app:web,team:b default")
	f("/api/cpu/usage_rate", `{"level":"cluster",`+hourBody+`,"limit":1}`, "time value level type", "2024-02-01T00:59:00Z 1754 cluster cluster")
	f("/api/cpu/node_capacity", `{"namespace":"b",`+hourBody+`,"limit":1}`, "value level nodename unit", "4000 node n1 millicores")
	f("/api/network/rx", `{"namespace":"b",`+hourBody+`,"limit":1}`, "time value level pod_name", "2024-02-01T00:03:00Z 1.048576e+06 pod web")
	// Sums: pods, once each, whatever else is stored; a name used again is another row.
	f("/api/cpu/usage_rate", `{"namespace":"a",`+hourBody+`,"agg":"pod-by-namespace","limit":1}`, sums,
		"a db u3 pod 3120 60 60 1 52 52 0.052 core-hours millicores",
		"a web u1 pod 6060 30 30 1 202 202 0.101 core-hours millicores",
		"a web u2 pod 12060 30 30 1 402 402 0.201 core-hours millicores")
	f("/api/cpu/usage_rate", `{"agg":"all-pod","excludeNamespaces":["a"],`+hourBody+`}`, sums,
		"b web u4 pod 60120 60 60 1 1002 1002 1.002 core-hours millicores")
	f("/api/cpu/usage_rate", `{"agg":"all-namespace","namespace":"x",`+hourBody+`}`, sums,
		"a <nil> <nil> pod 21240 120 120 1 177 402 0.354 core-hours millicores",
		"b <nil> <nil> pod 60120 60 60 1 1002 1002 1.002 core-hours millicores")
	f("/api/cpu/usage_rate", `{"agg":"all-namespace","level":"container",`+hourBody+`}`, "namespace_name level sum samples expected",
		"a container 21000 240 240", "b container 60000 120 120")
	f("/api/cpu/usage_rate", `{"agg":"all-namespace","level":"namespace",`+hourBody+`}`, "namespace_name level sum samples",
		"b namespace 105240 60")
	f("/api/memory/request", `{"agg":"all-namespace",`+hourBody+`}`, "namespace_name mean integral integral_unit", "a 1.073741824e+09 2 GiB-hours", "b 1.073741824e+09 1 GiB-hours")
	// A counter's increase: over a restart, and from a sample before the interval on.
	f("/api/network/rx", `{"agg":"all-pod",`+hourBody+`}`, "pod_name integral integral_unit unit max", fmt.Sprintf("web %v bytes bytes %v", float64(2<<30+1<<20), float64(2<<30)))
	f("/api/network/rx", `{"agg":"all-pod","timeBeginInterval":"2024-02-01 00:02:00","timeEndInterval":"2024-02-01 01:00:00"}`, "integral", fmt.Sprint(float64(1<<30+1<<20)))
	// The end is excluded, the begin included.
	f("/api/cpu/usage_rate", `{"namespace":"b","agg":"all-pod","excludeNamespaces":["a"],"timeBeginInterval":"2024-02-01 00:10:00","timeEndInterval":"2024-02-01 00:11:00"}`, "time samples", "2024-02-01T00:10:00Z 1")
	f("/api/cpu/usage_rate", `{"cluster":"other","agg":"all-pod",`+hourBody+`}`, sums)
}

func TestLabelledMetricsHaveNoSampleTwice(t *testing.T) {
	db := &fakeDB{}
	t0 := begun()
	db.spans(t0, t0.Add(time.Hour), every)
	pod := labels("namespace_name", "a", "pod_name", "p", "pod_id", "u")
	for _, container := range []string{"c1", "c2"} {
		db.add("filesystem/usage", metrics.Container, pod.With("container_name", container).With("resource_id", "/"), t0, every, repeat(10, 60)...)
		db.add("gpu/usage", metrics.Container, pod.With("container_name", container).With("gpu_uuid", "GPU-"+container), t0, every, repeat(512, 60)...)
	}
	db.add("filesystem/usage", metrics.Pod, pod.With("resource_id", "Volume:data"), t0, every, repeat(7, 60)...)
	db.add("gpu/usage", metrics.Pod, pod, t0, every, repeat(1024, 60)...)
	db.add("ephemeral_storage/usage", metrics.Pod, pod, t0, every, repeat(99, 60)...)
	for level, tags := range map[metrics.Kind]metricdb.Tags{metrics.Namespace: labels("namespace_name", "a"), metrics.Cluster: nil} {
		db.add("gpu/usage", level, tags, t0, every, repeat(1024, 60)...)
	}
	node := labels("nodename", "n1")
	db.add("gpu/usage", metrics.Node, node, t0, every, repeat(1027, 60)...)
	db.add("gpu/usage", metrics.Node, node.With("gpu_index", "9").With("gpu_name", "T4").With("gpu_uuid", "GPU-idle"), t0, every, repeat(3, 60)...)
	h := handler(db, Options{})
	f := func(metric string, want ...string) {
		t.Helper()
		var got []string
		for _, row := range rowsOf(t, send(h, post("/api/"+metric, `{"agg":"all-pod",`+hourBody+`}`))) {
			got = append(got, fmt.Sprint(row["resource_id"], " ", row["level"], " ", row["sum"], " ", row["samples"], " ", row["expected"], " ", row["integral"], " ", row["integral_unit"]))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", metric, diff)
		}
	}
	f("filesystem/usage", "/ container 1200 120 120 1.862645149230957e-08 GiB-hours", "Volume:data pod 420 60 60 6.51925802230835e-09 GiB-hours")
	f("gpu/usage", "<nil> pod 61440 120 120 1 GiB-hours")
	f("ephemeral_storage/usage", "<nil> pod 5940 60 60 9.220093488693237e-08 GiB-hours")
	// Every level of gpu/usage has each device once.
	for _, group := range []struct{ agg, level, want string }{
		{"all-pod", "pod", "61440 60 1"}, {"all-pod", "container", "61440 120 1"}, {"all-namespace", "namespace", "61440 60 1"}, {"all-namespace", "", "61440 120 1"},
	} {
		rows := rowsOf(t, send(h, post("/api/gpu/usage", `{"agg":"`+group.agg+`","level":"`+group.level+`",`+hourBody+`}`)))
		if len(rows) != 1 || fmt.Sprint(rows[0]["sum"], " ", rows[0]["samples"], " ", rows[0]["integral"]) != group.want {
			t.Errorf("%+v: %v", group, rows)
		}
	}
	for level, want := range map[string]float64{"container": 1024, "pod": 1024, "namespace": 1024, "cluster": 1024, "node": 1027} {
		var sum float64
		for _, row := range rowsOf(t, send(h, post("/api/gpu/usage", `{"namespace":"a","level":"`+level+`","limit":0,`+hourBody+`}`))) {
			sum += row["value"].(float64)
			if labelled := row["gpu_uuid"] != nil; labelled != (level == "container") || row["level"] != level {
				t.Errorf("%s: %v", level, row)
			}
		}
		if sum != 60*want {
			t.Errorf("level %s: %v MiB, want %v", level, sum, want)
		}
	}
}

func TestCoverageIsOverThePodsLife(t *testing.T) {
	db := &fakeDB{}
	t0 := begun()
	db.spans(t0, t0.Add(time.Hour), every)
	tags := func(pod string) metricdb.Tags {
		return labels("namespace_name", "a", "pod_name", pod, "pod_id", "u-"+pod, "cluster_name", "default")
	}
	put := func(pod string, created, deleted time.Time) {
		l := lifetime.Life{Tags: tags(pod), Created: created, Started: created.Add(time.Second), Deleted: deleted}
		db.records = append(db.records, l.Records()...)
	}
	put("old", t0.Add(-1000*time.Hour), time.Time{}) // sampled for a while in the middle only
	put("mid", t0.Add(10*time.Minute), t0.Add(30*time.Minute))
	for _, pod := range []string{"old", "mid", "unknown"} {
		db.add("cpu/usage_rate", metrics.Pod, tags(pod), t0.Add(15*time.Minute), every, repeat(1, 5)...)
		db.add("cpu/usage_rate", metrics.Pod, tags(pod), t0.Add(22*time.Minute), every, repeat(1, 3)...)
	}
	got := map[string]string{}
	for _, row := range rowsOf(t, send(handler(db, Options{}), post("/api/cpu/usage_rate", `{"agg":"all-pod",`+hourBody+`}`))) {
		got[row["pod_name"].(string)] = fmt.Sprint(row["samples"], "/", row["expected"])
	}
	if diff := cmp.Diff(map[string]string{"old": "8/60", "mid": "8/19", "unknown": "8/10"}, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever is stored at whichever levels: the sum is that of one of them.
func TestLevelsNeverCountTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db := &fakeDB{}
		t0 := begun()
		db.spans(t0, t0.Add(time.Hour), every)
		want := map[string]int64{}
		for i := range rapid.IntRange(1, 6).Draw(t, "pods") {
			namespace := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace")
			name, uid := rapid.SampledFrom([]string{"p", "q"}).Draw(t, "name"), fmt.Sprint("u", i)
			tags := labels("namespace_name", namespace, "pod_name", name, "pod_id", uid)
			total := int64(0)
			for c := range rapid.IntRange(0, 3).Draw(t, "containers") {
				v := rapid.Int64Range(0, 1<<40).Draw(t, "value")
				total += v
				db.add("memory/usage", metrics.Container, tags.With("container_name", fmt.Sprint(c)), t0, every, v)
			}
			db.add("memory/usage", metrics.Pod, tags, t0, every, total)
			db.add("memory/usage", metrics.Namespace, labels("namespace_name", namespace), t0, every, total)
			want[namespace] += total
		}
		h := handler(db, Options{})
		for _, agg := range []string{allPod, allNamespace} {
			for _, level := range []string{"", "pod", "container"} {
				got := map[string]int64{}
				w := send(h, post("/api/memory/usage", fmt.Sprintf(`{"agg":%q,"level":%q,%s}`, agg, level, hourBody)))
				var rows []struct {
					Namespace string `json:"namespace_name"`
					Sum       int64
				}
				if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil {
					t.Fatal(err, w.Body)
				}
				for _, row := range rows {
					got[row.Namespace] += row.Sum
				}
				for namespace, sum := range want {
					if got[namespace] != sum {
						t.Fatalf("%s %s: %v, want %v", agg, level, got, want)
					}
				}
			}
		}
	})
}

func TestCSV(t *testing.T) {
	db := &fakeDB{}
	t0 := begun()
	db.spans(t0, t0.Add(time.Hour), every)
	names := []string{`plain`, `with,comma`, `with "quotes"`, "uni-çødé-日本", ` spaces `, `'=1+1`, `;`, `a\b`}
	slices.Sort(names)
	for i, name := range names {
		db.add("cpu/usage_rate", metrics.Pod, labels("namespace_name", name, "pod_name", name, "pod_id", fmt.Sprint(i)), t0, every, 1, 2)
	}
	h := handler(db, Options{})
	w := send(h, post("/api/cpu/usage_rate", `{"agg":"all-pod",`+hourBody+`}`, "Accept", "text/csv"))
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/csv") || w.Code != 200 {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	lines, err := csv.NewReader(w.Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("time,sum,cluster_name,namespace_name,pod_name,pod_uid,level,unit,integral,integral_unit,mean,max,samples,expected,coverage", strings.Join(lines[0], ",")); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, line := range lines[1:] {
		got = append(got, line[4])
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Error(diff)
	}
	w = send(h, post("/api/cpu/usage_rate", `{"namespace":"with,comma","level":"pod",`+hourBody+`}`, "Accept", "text/csv;q=1, application/json;q=0.5"))
	if want := "time,value,unit,level,type,cluster_name,namespace_name,pod_name,container_name,nodename,labels\n" +
		"2024-02-01T00:01:00Z,2,millicores,pod,pod,default,\"with,comma\",\"with,comma\",,,\n" +
		"2024-02-01T00:00:00Z,1,millicores,pod,pod,default,\"with,comma\",\"with,comma\",,,\n"; w.Body.String() != want {
		t.Error(cmp.Diff(want, w.Body.String()))
	}
	w = send(h, post("/api/cpu/usage_rate", `{"namespace":"none",`+hourBody+`}`, "Accept", "text/csv"))
	if w.Code != 200 || strings.Count(w.Body.String(), "\n") != 1 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
