package sink

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// example is a batch with something of everything.
func example(cluster string) *metrics.Batch {
	b := metrics.NewLedger(time.Hour).Begin(cluster, time.Unix(1800000000, 0).UTC(), 30*time.Second)
	ref := func(kind metrics.Kind, parent metrics.Ref, name string) metrics.Ref {
		return metrics.Ref{Kind: kind, Row: b.Row(kind, parent, name)}
	}
	set := func(r metrics.Ref, id metrics.ID, bits int64) { b.Tables[r.Kind].Set(id, r.Row, bits) }
	node := ref(metrics.Node, metrics.Ref{}, "a")
	ns := ref(metrics.Namespace, metrics.Ref{}, "ns")
	pod := ref(metrics.Pod, ns, "web")
	app := ref(metrics.Container, pod, `a"pp`)
	kubelet := ref(metrics.SystemContainer, node, "kubelet")
	b.Describe(pod, "", &metrics.Meta{Node: "a"})
	set(metrics.Ref{}, metrics.CPUUsageRate, 300)
	set(metrics.Ref{}, metrics.PodsMissing, 2)
	set(node, metrics.CPUNodeUtilization, metrics.FloatBits(0.5))
	set(node, metrics.NetworkRxRate, metrics.FloatBits(12.5))
	set(node, metrics.StartTime, 5) // hidden
	set(ns, metrics.MemoryRequest, 1<<40)
	set(pod, metrics.NetworkTx, 7)
	set(pod, metrics.RestartCount, 3)
	set(app, metrics.CPUUsage, 1_500_000_000)
	set(app, metrics.Uptime, 2500)
	set(kubelet, metrics.MemoryWorkingSet, 4096)
	for _, r := range []metrics.Ref{node, app} {
		set(ref(metrics.Filesystem, r, "resource_id:/"), metrics.FilesystemUsage, 10+int64(r.Kind))
	}
	set(ref(metrics.Disk, app, "resource_id:8:0"), metrics.DiskReadBytes, 99)
	gpu := metrics.JoinLabels([]metrics.Label{{Key: "gpu_index", Value: "0"}, {Key: "gpu_name", Value: "T4"}, {Key: "gpu_uuid", Value: "GPU-1"}})
	set(ref(metrics.GPU, app, gpu), metrics.GPUUsage, 2)
	set(ref(metrics.GPU, node, gpu), metrics.GPUUsage, 1) // in the node's sum
	set(node, metrics.GPUUsage, 3)
	set(pod, metrics.GPUUsage, 2)
	b.Tables[metrics.Pod].Make(metrics.ResourceRequest("nvidia.com/gpu")).Set(pod.Row, 1)
	b.Tables[metrics.Pod].Make(metrics.ResourceRequest("hugepages-2Mi")).Set(pod.Row, 4)
	return b
}

func TestExpose(t *testing.T) {
	var out bytes.Buffer
	if err := Expose(t.Context(), &out, map[string]*metrics.Batch{"default": example("default")}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "# HELP") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	const app = `cluster="default",namespace="ns",pod="web",node="a",container="a\"pp"`
	want := strings.Split(strings.TrimSpace(`
# TYPE krm_batch_timestamp_seconds gauge
# UNIT krm_batch_timestamp_seconds seconds
krm_batch_timestamp_seconds{cluster="default"} 1800000000
# TYPE krm_cluster_cpu_usage_cores gauge
# UNIT krm_cluster_cpu_usage_cores cores
krm_cluster_cpu_usage_cores{cluster="default"} 0.3
# TYPE krm_cluster_pods_missing gauge
krm_cluster_pods_missing{cluster="default"} 2
# TYPE krm_container_cpu_usage_seconds counter
# UNIT krm_container_cpu_usage_seconds seconds
krm_container_cpu_usage_seconds_total{`+app+`} 1.5
# TYPE krm_container_disk_io_read_bytes counter
# UNIT krm_container_disk_io_read_bytes bytes
krm_container_disk_io_read_bytes_total{`+app+`,resource_id="8:0"} 99
# TYPE krm_container_filesystem_usage_bytes gauge
# UNIT krm_container_filesystem_usage_bytes bytes
krm_container_filesystem_usage_bytes{`+app+`,resource_id="/"} 14
# TYPE krm_container_gpu_usage_bytes gauge
# UNIT krm_container_gpu_usage_bytes bytes
krm_container_gpu_usage_bytes{`+app+`,gpu_index="0",gpu_name="T4",gpu_uuid="GPU-1"} 2.097152e+06
# TYPE krm_container_uptime_seconds gauge
# UNIT krm_container_uptime_seconds seconds
krm_container_uptime_seconds{`+app+`} 2.5
# TYPE krm_namespace_memory_request_bytes gauge
# UNIT krm_namespace_memory_request_bytes bytes
krm_namespace_memory_request_bytes{cluster="default",namespace="ns"} 1099511627776
# TYPE krm_node_cpu_utilization_ratio gauge
# UNIT krm_node_cpu_utilization_ratio ratio
krm_node_cpu_utilization_ratio{cluster="default",node="a"} 0.5
# TYPE krm_node_filesystem_usage_bytes gauge
# UNIT krm_node_filesystem_usage_bytes bytes
krm_node_filesystem_usage_bytes{cluster="default",node="a",resource_id="/"} 12
# TYPE krm_node_gpu_usage_bytes gauge
# UNIT krm_node_gpu_usage_bytes bytes
krm_node_gpu_usage_bytes{cluster="default",node="a"} 3.145728e+06
# TYPE krm_node_network_rx_bytes_per_second gauge
krm_node_network_rx_bytes_per_second{cluster="default",node="a"} 12.5
# TYPE krm_pod_gpu_usage_bytes gauge
# UNIT krm_pod_gpu_usage_bytes bytes
krm_pod_gpu_usage_bytes{cluster="default",namespace="ns",pod="web",node="a"} 2.097152e+06
# TYPE krm_pod_network_tx_bytes counter
# UNIT krm_pod_network_tx_bytes bytes
krm_pod_network_tx_bytes_total{cluster="default",namespace="ns",pod="web",node="a"} 7
# TYPE krm_pod_resource_request gauge
krm_pod_resource_request{cluster="default",namespace="ns",pod="web",node="a",resource="nvidia.com/gpu"} 1
krm_pod_resource_request{cluster="default",namespace="ns",pod="web",node="a",resource="hugepages-2Mi"} 4
# TYPE krm_pod_restarts gauge
krm_pod_restarts{cluster="default",namespace="ns",pod="web",node="a"} 3
# TYPE krm_system_container_memory_working_set_bytes gauge
# UNIT krm_system_container_memory_working_set_bytes bytes
krm_system_container_memory_working_set_bytes{cluster="default",node="a",container="kubelet"} 4096
# EOF
`), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Every metric of the catalog has a name that OpenMetrics admits, at every level, and
// no two have the same.
func TestFamilyNames(t *testing.T) {
	name := regexp.MustCompile(`^krm_(cluster|namespace|node|pod|container|system_container)(_[a-z]+)+$`)
	seen := map[string]string{}
	for id := range metrics.NumIDs {
		d := metrics.Describe(id)
		if d.Hidden() && id != metrics.PodsMissing {
			continue
		}
		for level := range metrics.Levels {
			f := familyOf(d, level)
			if !name.MatchString(f.name) || strings.HasSuffix(f.name, "_total") || strings.Contains(f.name, "bytes_bytes") {
				t.Errorf("%s of %v: %s", d.Name, level, f.name)
			}
			if f.unit != "" && !strings.HasSuffix(f.name, "_"+f.unit) {
				t.Errorf("%s: %s does not end with its unit %s", d.Name, f.name, f.unit)
			}
			for _, reserved := range []string{"_count", "_sum", "_bucket", "_created", "_info"} {
				if strings.HasSuffix(f.name, reserved) {
					t.Errorf("%s: %s ends like something else", d.Name, f.name)
				}
			}
			if other, twice := seen[f.name]; twice {
				t.Errorf("%s and %s are both %s", d.Name, other, f.name)
			}
			seen[f.name] = d.Name
			if f.counter != (d.Type == metrics.Cumulative && id != metrics.Uptime) {
				t.Errorf("%s: counter %v", d.Name, f.counter)
			}
		}
	}
}

func TestPrometheusServes(t *testing.T) {
	p := NewPrometheus()
	get := func(header ...string) *http.Response {
		r := httptest.NewRequest(http.MethodGet, ExpositionPath, nil)
		if len(header) > 0 {
			r.Header.Set(header[0], header[1])
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w.Result()
	}
	body, _ := io.ReadAll(get().Body)
	if !strings.HasSuffix(string(body), "# EOF\n") {
		t.Errorf("before the first batch: %q", body)
	}
	for _, cluster := range []string{"b", "a"} {
		if err := p.Write(t.Context(), example(cluster)); err != nil {
			t.Fatal(err)
		}
	}
	response := get()
	plain, _ := io.ReadAll(response.Body)
	if got := response.Header.Get("Content-Type"); got != openMetrics {
		t.Errorf("content type %q", got)
	}
	checkExposition(t, plain)
	if n := strings.Count(string(plain), `krm_pod_restarts{cluster="`); n != 2 {
		t.Errorf("%d clusters", n)
	}
	unpacked, err := gzip.NewReader(get("Accept-Encoding", "gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := io.ReadAll(unpacked)
	if err != nil || !bytes.Equal(packed, plain) {
		t.Errorf("gzip: %v, %d bytes of %d", err, len(packed), len(plain))
	}
	p.slots <- struct{}{}
	p.slots <- struct{}{}
	if got := get(); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("with others reading: %d", got.StatusCode)
	}
}

// checkExposition reads OpenMetrics text strictly enough: metadata first, once per
// family, samples of that family, no sample twice, and the end.
func checkExposition(t *testing.T, text []byte) {
	t.Helper()
	sample := regexp.MustCompile(`^([a-z_]+)(\{([a-z_]+="(?:[^"\\]|\\.)*",?)*\}) ([-+0-9.e]+)$`)
	families, samples := map[string]bool{}, map[string]bool{}
	family, kind, ended := "", "", false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		words := strings.Fields(line)
		switch {
		case ended:
			t.Fatalf("%q after the end", line)
		case line == "# EOF":
			ended = true
		case words[0] == "#" && words[1] == "TYPE":
			if families[words[2]] {
				t.Fatalf("family %s twice", words[2])
			}
			family, kind = words[2], words[3]
			families[family] = true
		case words[0] == "#":
			if words[2] != family {
				t.Fatalf("%q below %s", line, family)
			}
		default:
			m := sample.FindStringSubmatch(line)
			want := family
			if kind == "counter" {
				want += "_total"
			}
			if m == nil || m[1] != want || samples[m[1]+m[2]] {
				t.Fatalf("sample %q of %s", line, want)
			}
			samples[m[1]+m[2]] = true
			if _, err := strconv.ParseFloat(m[4], 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !ended || len(samples) == 0 {
		t.Fatalf("ended %v, %d samples", ended, len(samples))
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	if err := NewLog(&out, []string{"pod", "ns"}).Write(t.Context(), example("default")); err != nil {
		t.Fatal(err)
	}
	want := `batch 2027-01-15T08:00:00Z cluster=default nodes=0
  namespace:ns memory/request=1099511627776
  namespace:ns/pod:web gpu/usage=2 hugepages-2Mi/request=4 network/tx=7 nvidia.com/gpu/request=1 restart_count=3
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := NewLog(&out, nil).Write(t.Context(), example("default")); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\n  cluster cpu/usage_rate=300\n", "cpu/node_utilization=0.5", "filesystem/usage{resource_id:/}=12"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in\n%s", part, out.String())
		}
	}
	if err := NewLog(failingWriter{}, nil).Write(t.Context(), example("default")); err == nil {
		t.Error("no error of a writer that fails")
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("disk full") }
