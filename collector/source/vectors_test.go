package source

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// The vectors of the specification's section 7: each object has a seed, and each of
// its fields has the seed and an offset.
var (
	scraped = time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC)
	started = scraped.Add(-time.Hour)
)

func n(v int) *uint64 {
	u := uint64(v)
	return &u
}

func at(t time.Time) metav1.Time { return metav1.Time{Time: t} }

func cpuOf(s int) *stats.CPUStats {
	return &stats.CPUStats{Time: at(scraped), UsageCoreNanoSeconds: n(s + 1)}
}

func memoryOf(s int) *stats.MemoryStats {
	return &stats.MemoryStats{
		Time: at(scraped), PageFaults: n(s + 2), MajorPageFaults: n(s + 3), UsageBytes: n(s + 4),
		RSSBytes: n(s + 5), WorkingSetBytes: n(s + 6),
	}
}

func networkOf(s int) *stats.NetworkStats {
	return &stats.NetworkStats{Time: at(scraped), InterfaceStats: stats.InterfaceStats{
		Name: "eth0", RxBytes: n(s + 7), RxErrors: n(s + 8), TxBytes: n(s + 9), TxErrors: n(s + 10),
	}}
}

func fsOf(s int) *stats.FsStats {
	return &stats.FsStats{Time: at(scraped), UsedBytes: n(s + 11), CapacityBytes: n(s + 12), AvailableBytes: n(s + 13)}
}

func containerOf(name string, s int) stats.ContainerStats {
	return stats.ContainerStats{
		Name: name, StartTime: at(started), CPU: cpuOf(s), Memory: memoryOf(s), Rootfs: fsOf(s), Logs: fsOf(s),
		Accelerators: nil,
	}
}

func podOf(namespace, name string, s int) stats.PodStats {
	return stats.PodStats{
		PodRef: stats.PodReference{Namespace: namespace, Name: name, UID: "uid-" + name}, StartTime: at(started),
		Network: networkOf(s),
	}
}

func vectorSummary() stats.Summary {
	system := func(name string, s int) stats.ContainerStats {
		c := containerOf(name, s)
		c.Rootfs, c.Logs = nil, nil
		return c
	}
	ended := containerOf("c0", 9000)
	ended.StartTime = at(started.Add(-time.Minute))
	pod0 := podOf("test0", "pod0", 1000)
	pod0.CPU, pod0.Memory, pod0.EphemeralStorage = cpuOf(1000), memoryOf(1000), fsOf(1000)
	pod0.Containers = []stats.ContainerStats{containerOf("c0", 2000), containerOf("c1", 2001), ended}
	pod1 := podOf("test0", "pod1", 3000)
	pod1.Containers = []stats.ContainerStats{containerOf("c0", 4000)}
	pod1.VolumeStats = []stats.VolumeStats{{Name: "A", FsStats: *fsOf(3000)}, {Name: "B", FsStats: *fsOf(3000)}}
	other := podOf("test1", "pod0", 5000)
	other.Containers = []stats.ContainerStats{containerOf("c1", 6000), containerOf("runtime", 7000)}
	pod2 := podOf("test0", "pod2", 8000)
	pod2.StartTime = metav1.Time{}
	pod2.VolumeStats = []stats.VolumeStats{{Name: "C", FsStats: stats.FsStats{AvailableBytes: n(1130), UsedBytes: n(13340), CapacityBytes: n(2153)}}}
	bare := stats.ContainerStats{Name: "c4", StartTime: at(started.Add(-time.Minute))}
	blank := bare
	blank.StartTime = at(started.Add(-2 * time.Minute))
	blank.CPU, blank.Memory = &stats.CPUStats{}, &stats.MemoryStats{}
	pod4 := podOf("test0", "pod4", 10000)
	pod4.Containers = []stats.ContainerStats{containerOf("c4", 11000), bare, blank}
	pod5 := podOf("test0", "pod5", 12000)
	c5 := containerOf("c5", 13000)
	c5.Accelerators = []stats.AcceleratorStats{{
		Make: "nvidia", Model: "Tesla P100", ID: "GPU-deadbeef-1234", MemoryTotal: 13014, MemoryUsed: 13015, DutyCycle: 13016,
	}}
	pod5.Containers = []stats.ContainerStats{c5}
	return stats.Summary{
		Node: stats.NodeStats{
			NodeName: "test", StartTime: at(started), CPU: cpuOf(0), Memory: memoryOf(0), Network: networkOf(0), Fs: fsOf(0),
			SystemContainers: []stats.ContainerStats{system("kubelet", 200), system("runtime", 300), system("misc", 400)},
		},
		Pods: []stats.PodStats{pod0, pod1, other, pod2, pod4, pod5},
	}
}

func decode(t *testing.T, body []byte) *Sample {
	t.Helper()
	s := NewSample("")
	if err := NewDecoder(nil).Summary(body, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestVectors(t *testing.T) {
	s := decode(t, encoded(t, vectorSummary()))
	flat := flatten(t, s)
	keys := keysOf(s)
	slices.Sort(keys)
	if diff := cmp.Diff([]string{
		"namespace:test0/pod:pod0", "namespace:test0/pod:pod0/container:c0", "namespace:test0/pod:pod0/container:c1",
		"namespace:test0/pod:pod1", "namespace:test0/pod:pod1/container:c0",
		"namespace:test0/pod:pod2",
		"namespace:test0/pod:pod4", "namespace:test0/pod:pod4/container:c4",
		"namespace:test0/pod:pod5", "namespace:test0/pod:pod5/container:c5",
		"namespace:test1/pod:pod0", "namespace:test1/pod:pod0/container:c1", "namespace:test1/pod:pod0/container:runtime",
		"node:test", "node:test/container:docker-daemon", "node:test/container:kubelet", "node:test/container:system",
	}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	has(t, flat, map[string]int64{
		"node:test cpu/usage": 1, "node:test memory/page_faults": 2, "node:test memory/major_page_faults": 3, "node:test memory/usage": 4,
		"node:test memory/rss": 5, "node:test memory/working_set": 6, "node:test network/rx": 7, "node:test network/rx_errors": 8,
		"node:test network/tx": 9, "node:test network/tx_errors": 10, "node:test filesystem/usage{resource_id:/}": 11,
		"node:test filesystem/limit{resource_id:/}": 12, "node:test filesystem/available{resource_id:/}": 13,
		"node:test ephemeral_storage/usage": 11, "node:test uptime": 3600_000,

		"node:test/container:kubelet cpu/usage": 201, "node:test/container:docker-daemon cpu/usage": 301, "node:test/container:system cpu/usage": 401,

		"namespace:test0/pod:pod0 cpu/usage": 1001, "namespace:test0/pod:pod0 memory/usage": 1004, "namespace:test0/pod:pod0 network/rx": 1007,
		"namespace:test0/pod:pod0 ephemeral_storage/usage": 1011, "namespace:test0/pod:pod0 uptime": 3600_000,
		"namespace:test0/pod:pod0/container:c0 cpu/usage":                              2001,
		"namespace:test0/pod:pod0/container:c0 memory/usage":                           2004,
		"namespace:test0/pod:pod0/container:c0 filesystem/usage{resource_id:/}":        2011,
		"namespace:test0/pod:pod0/container:c0 filesystem/available{resource_id:logs}": 2013,
		"namespace:test0/pod:pod0/container:c0 ephemeral_storage/usage":                2 * 2011,
		"namespace:test0/pod:pod0/container:c1 cpu/usage":                              2002,

		"namespace:test0/pod:pod1 filesystem/usage{resource_id:Volume:A}":     3011,
		"namespace:test0/pod:pod1 filesystem/limit{resource_id:Volume:A}":     3012,
		"namespace:test0/pod:pod1 filesystem/available{resource_id:Volume:B}": 3013,

		"namespace:test1/pod:pod0/container:runtime cpu/usage": 7001,

		"namespace:test0/pod:pod2 filesystem/available{resource_id:Volume:C}": 1130,
		"namespace:test0/pod:pod2 filesystem/usage{resource_id:Volume:C}":     13340,
		"namespace:test0/pod:pod2 filesystem/limit{resource_id:Volume:C}":     2153,

		"namespace:test0/pod:pod4/container:c4 cpu/usage":       11001,
		"namespace:test0/pod:pod4/container:c4 memory/usage":    11004,
		"namespace:test0/pod:pod4/container:c4 krm/start_time":  started.UnixNano(),
		"namespace:test0/pod:pod4/container:c4 krm/cpu_time":    scraped.UnixNano(),
		"namespace:test0/pod:pod4/container:c4 krm/memory_time": scraped.UnixNano(),
		"namespace:test0/pod:pod4 krm/network_time":             scraped.UnixNano(),

		"namespace:test0/pod:pod5/container:c5 accelerator/memory_total{accelerator_id:GPU-deadbeef-1234,make:nvidia,model:Tesla P100}": 13014,
		"namespace:test0/pod:pod5/container:c5 accelerator/memory_used{accelerator_id:GPU-deadbeef-1234,make:nvidia,model:Tesla P100}":  13015,
		"namespace:test0/pod:pod5/container:c5 accelerator/duty_cycle{accelerator_id:GPU-deadbeef-1234,make:nvidia,model:Tesla P100}":   13016,
	})
	for _, key := range []string{"namespace:test0/pod:pod2 uptime", "namespace:test0/pod:pod2 krm/start_time", "namespace:test0/pod:pod0/container:c0 network/rx"} {
		if v, ok := flat[key]; ok {
			t.Errorf("%s is %d, and should not be there", key, v)
		}
	}
}

func TestNodeWithNothingIsThere(t *testing.T) {
	if diff := cmp.Diff([]string{"node:test"}, keysOf(decode(t, []byte(`{"node":{"nodeName":"test"}}`)))); diff != "" {
		t.Error(diff)
	}
}
