package figures

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Kubelet records what a kubelet says.
type Kubelet struct {
	url    string
	client *http.Client
	cgroup string // the kubelet's cgroup root

	mu      sync.Mutex
	history map[Key]History
	reads   int
	lastAt  time.Time
	longest time.Duration // between two reads
	lastErr error
}

// NewKubelet records the kubelet at url, which client may read. cgroup is its cgroup
// root, such as /krm.
func NewKubelet(url string, client *http.Client, cgroup string) *Kubelet {
	return &Kubelet{url: url, client: client, cgroup: cgroup, history: map[Key]History{}}
}

// Run reads once a second until ctx ends. A kubelet that does not answer is asked again.
func (k *Kubelet) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err := k.read(ctx)
			k.mu.Lock()
			k.lastErr = err
			if now := time.Now(); err == nil {
				if k.reads > 0 {
					k.longest = max(k.longest, now.Sub(k.lastAt))
				}
				k.reads++
				k.lastAt = now
			}
			k.mu.Unlock()
		}
	}
}

// Reads returns how often the kubelet was read, and how the last try ended.
func (k *Kubelet) Reads() (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reads, k.lastErr
}

// Longest is the longest time between two reads.
func (k *Kubelet) Longest() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.longest
}

// History returns everything recorded so far.
func (k *Kubelet) History() map[Key]History {
	k.mu.Lock()
	defer k.mu.Unlock()
	copied := make(map[Key]History, len(k.history))
	for key, history := range k.history {
		copied[key] = append(History(nil), history...)
	}
	return copied
}

// read takes both pages. Where they tell of the same thing they agree.
func (k *Kubelet) read(ctx context.Context) error {
	for _, path := range []string{"/metrics/resource", "/metrics/cadvisor"} {
		text, err := k.get(ctx, path)
		if err != nil {
			return err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("parse %s: %w", path, err)
		}
		k.record(families, time.Now())
	}
	return nil
}

func (k *Kubelet) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+path, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}

func (k *Kubelet) record(families map[string]*dto.MetricFamily, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			key, factor, ok := k.name(name, labelsOf(metric))
			if !ok || metric.TimestampMs == nil {
				continue
			}
			value := metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + metric.GetUntyped().GetValue()
			k.history[key] = k.history[key].add(Sample{At: time.UnixMilli(metric.GetTimestampMs()), Seen: now, Value: value * factor})
		}
	}
}

func labelsOf(metric *dto.Metric) map[string]string {
	labels := make(map[string]string, len(metric.GetLabel()))
	for _, pair := range metric.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

// name says which series of KRM's model a series of the kubelet's is, and by what its
// values must be multiplied. Others are not compared.
func (k *Kubelet) name(family string, labels map[string]string) (key Key, factor float64, ok bool) {
	switch family {
	case "node_cpu_usage_seconds_total", "pod_cpu_usage_seconds_total", "container_cpu_usage_seconds_total":
		key.Metric, factor = "cpu/usage", 1e9
	case "node_memory_working_set_bytes", "pod_memory_working_set_bytes", "container_memory_working_set_bytes":
		key.Metric, factor = "memory/working_set", 1
	case "container_memory_usage_bytes":
		key.Metric, factor = "memory/usage", 1
	case "container_memory_rss":
		key.Metric, factor = "memory/rss", 1
	case "container_memory_cache":
		key.Metric, factor = "memory/cache", 1
	case "container_memory_failures_total":
		key.Metric, factor = "memory/page_faults", 1
		if labels["failure_type"] != "pgfault" || labels["scope"] != "container" {
			return key, 0, false
		}
	case "container_network_receive_bytes_total":
		key.Metric, factor = "network/rx", 1
	case "container_network_transmit_bytes_total":
		key.Metric, factor = "network/tx", 1
	case "container_fs_reads_bytes_total":
		key.Metric, factor, key.Resource = "disk/io_read_bytes", 1, labels["device"]
	case "container_fs_writes_bytes_total":
		key.Metric, factor, key.Resource = "disk/io_write_bytes", 1, labels["device"]
	default:
		return key, 0, false
	}
	ok = k.entity(&key, family, labels)
	return key, factor, ok
}

// entity fills in whose figure it is. cAdvisor has one entry for the pod's cgroup, one
// for its sandbox, which alone has network figures, and one for each container.
func (k *Kubelet) entity(key *Key, family string, labels map[string]string) bool {
	key.Namespace, key.Pod, key.Container = labels["namespace"], labels["pod"], labels["container"]
	network := strings.HasPrefix(key.Metric, "network/")
	switch {
	case strings.HasPrefix(family, "node_"):
		key.Kind = Node
		return true
	case network:
		key.Kind = Pod
		return key.Pod != "" && labels["interface"] == "eth0"
	case key.Container != "":
		key.Kind = Container
		return true
	case key.Pod != "" && labels["name"] == "": // the pod's own cgroup
		key.Kind = Pod
		// Of pods the Summary has no page cache, no disk figures, and no page faults on cgroup v1.
		return key.Metric != "memory/cache" && key.Metric != "memory/page_faults" && key.Resource == ""
	case key.Metric != "memory/usage" && key.Metric != "memory/rss" && key.Metric != "cpu/usage" && key.Metric != "memory/working_set":
		return false
	case labels["id"] == "/":
		key.Kind = Node
		return true
	case labels["id"] == k.cgroup+"/kubepods":
		key.Kind, key.Container = System, "pods"
		return true
	case labels["id"] == k.cgroup+"/kubelet":
		key.Kind, key.Container = System, "kubelet"
		return true
	default:
		return false
	}
}
