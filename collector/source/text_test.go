package source

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func cadvisor(t *testing.T, text string) map[string]int64 {
	t.Helper()
	s := NewSample("node-a")
	if err := NewDecoder(nil).Cadvisor([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return flatten(t, s)
}

func TestCadvisor(t *testing.T) {
	got := cadvisor(t, `# HELP container_fs_reads_bytes_total Cumulative count of bytes read
# TYPE container_fs_reads_bytes_total counter
container_fs_reads_bytes_total{container="",device="/dev/sda",id="/",image="",name="",namespace="",pod=""} 1.641011e+06 1000
container_fs_reads_bytes_total{container="app",device="/dev/sda",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 4096 2000
container_fs_reads_bytes_total{container="app",device="8:16",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 5 2000
container_fs_reads_bytes_total{container="app",device="",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 6 2000
container_fs_reads_bytes_total{container="app",device="",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 7 2000
container_fs_reads_bytes_total{container="",device="/dev/sda",id="/system.slice/sshd.service",image="",name="",namespace="",pod=""} 8 2000
# TYPE container_fs_reads_total counter
container_fs_reads_total{container="app",device="/dev/sda",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 77 2000
# TYPE container_fs_writes_bytes_total counter
container_fs_writes_bytes_total{container="app",device="/dev/sda",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 8192 2000
# TYPE container_memory_cache gauge
container_memory_cache{container="",id="/",image="",name="",namespace="",pod=""} 6.17054208e+08 1000
container_memory_cache{container="",id="/kubepods",image="",name="",namespace="",pod=""} 3 1000
container_memory_cache{container="",id="/kubepods/burstable",image="",name="",namespace="",pod=""} 4 1000
container_memory_cache{container="",id="/kubepods/podu",image="",name="",namespace="default",pod="web"} 10 1000
container_memory_cache{container="",id="/kubepods/podu/sandbox",image="pause",name="sandbox",namespace="default",pod="web"} 11 1000
container_memory_cache{container="POD",id="/kubepods/podu/docker",image="pause",name="k8s_POD",namespace="default",pod="web"} 12 1000
container_memory_cache{container="app",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 13 1000
container_memory_cache{container="app",id="/kubepods/podu/c0",image="i",name="c0",namespace="default",pod="web"} 99 1000
container_memory_cache{container="late",id="/kubepods/podu/l0",image="i",name="l0",namespace="default",pod="web"} 14 1000
container_memory_cache{container="late",id="/kubepods/podu/l1",image="i",name="l1",namespace="default",pod="web"} 15 1000
container_memory_cache{container="side",id="/kubepods/podu/s",image="i, \"}\\",name="s",namespace="default",pod="web"} -1 1000
container_memory_cache{container="nan",id="/kubepods/podu/n",image="i",name="s",namespace="default",pod="web"} NaN
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="app",id="/kubepods/podu/c1",image="i",name="c1",namespace="default",pod="web"} 20.5
container_start_time_seconds{container="app",id="/kubepods/podu/c0",image="i",name="c0",namespace="default",pod="web"} 10
container_start_time_seconds{container="late",id="/kubepods/podu/l0",image="i",name="l0",namespace="default",pod="web"} 10
container_start_time_seconds{container="late",id="/kubepods/podu/l1",image="i",name="l1",namespace="default",pod="web"} 11
`)
	const app = "namespace:default/pod:web/container:app "
	if diff := cmp.Diff(map[string]int64{
		"node:node-a disk/io_read_bytes{resource_id:/dev/sda}": 1641011, "node:node-a krm/disk_time{resource_id:/dev/sda}": 1e9,
		"node:node-a memory/cache": 617054208, "node:node-a/container:pods memory/cache": 3,
		"namespace:default/pod:web/container:late memory/cache": 15,
		"namespace:default/pod:web memory/cache":                10,
		app + "memory/cache":                                    13,
		app + "disk/io_read_bytes{resource_id:/dev/sda}":        4096, app + "disk/io_write_bytes{resource_id:/dev/sda}": 8192,
		app + "krm/disk_time{resource_id:/dev/sda}": 2e9, app + "krm/start_time{resource_id:/dev/sda}": 20.5e9,
		app + "disk/io_read_bytes{resource_id:8:16}": 5, app + "krm/disk_time{resource_id:8:16}": 2e9, app + "krm/start_time{resource_id:8:16}": 20.5e9,
		app + "disk/io_read_bytes{resource_id:unknown}": 13, app + "krm/disk_time{resource_id:unknown}": 2e9, app + "krm/start_time{resource_id:unknown}": 20.5e9,
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRealCadvisor(t *testing.T) {
	text, err := os.ReadFile("testdata/cadvisor-real.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{
		"node:node-a memory/cache": 617054208, "node:node-a/container:pods memory/cache": 9347072,
		"namespace:default/pod:hostnet memory/cache":                            77824,
		"namespace:default/pod:hostnet/container:app memory/cache":              16384,
		"namespace:default/pod:web-597bf88d85-pbsrw memory/cache":               4096,
		"namespace:default/pod:web-597bf88d85-pbsrw/container:app memory/cache": 4096,
		"namespace:default/pod:web-597bf88d85-6jnvg memory/cache":               45056,
		"namespace:default/pod:web-597bf88d85-6jnvg/container:app memory/cache": 24576,
	}, cadvisor(t, string(text))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCadvisorRemembersPodsThatAreGone(t *testing.T) {
	s := decode(t, []byte(`{"node":{"nodeName":"a"},"pods":[{"podRef":{"name":"p","namespace":"n"},"containers":[{"name":"c"}]}]}`))
	if err := NewDecoder(nil).Cadvisor([]byte(`# TYPE container_memory_cache gauge
container_memory_cache{container="c",id="/1",namespace="n",pod="p"} 1
container_memory_cache{container="c",id="/2",namespace="n",pod="gone"} 2
container_memory_cache{container="old",id="/3",namespace="n",pod="p"} 3
`), s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"namespace:n/pod:p/container:c memory/cache": 1}, flatten(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestTextThatIsNone(t *testing.T) {
	d := NewDecoder(nil)
	for _, text := range []string{
		"", "{}", "\x00\x01", "<html>",
		"# TYPE container_memory_cache gauge\ncontainer_memory_cache{id=\"/\"} x\n",
		"# TYPE container_memory_cache gauge\ncontainer_memory_cache{id=\"/\"\n",
		"# TYPE container_memory_cache gauge\ncontainer_memory_cache{id=\"/} 1\n",
		"# TYPE container_memory_cache gauge\ncontainer_memory_cache{id} 1\n",
		"# TYPE container_memory_cache gauge\ncontainer_memory_cache{id=\"/\"} 1 -5\n",
		"# TYPE container_memory_cache gauge\ncontainer_memory_cache{id=\"/\"} 1 1\ncontainer_memory_cache{id=\"/a\"} 1 x",
	} {
		s := NewSample("node-a")
		if err := d.Cadvisor([]byte(text), s); err == nil || len(s.Sets) > 0 {
			t.Errorf("%q: error %v and %d sets", text, err, len(s.Sets))
		}
		if text = strings.ReplaceAll(text, "container_memory_cache", "DCGM_FI_DEV_FB_USED"); d.DCGM([]byte(text), nil, s) == nil || len(s.Sets) > 0 {
			t.Errorf("%q: no error, or sets", text)
		}
	}
	s := NewSample("node-a")
	if err := d.Cadvisor([]byte("# HELP x y\nx 1\n"), s); err != nil || len(s.Sets) > 0 {
		t.Errorf("metrics of others: %v", err)
	}
}

// dcgmText is one exporter's: GPU 0 is held, 1 idle, 2 shared by two pods, 3 sliced.
const dcgmText = `# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100, 40GB",Hostname="node-a",container="train",namespace="ml",pod="job-0"} 97
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",device="nvidia1",modelName="NVIDIA A100",Hostname="node-a"} 0
# TYPE DCGM_FI_DEV_FB_FREE gauge
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100, 40GB",Hostname="node-a",container="train",namespace="ml",pod="job-0"} 30000
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100, 40GB",Hostname="node-a",container="train",namespace="ml",pod="job-0"} 10000
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-b",device="nvidia1",modelName="NVIDIA A100",Hostname="node-a"} 4
DCGM_FI_DEV_FB_USED{gpu="2",UUID="GPU-c",device="nvidia2",modelName="NVIDIA A100",Hostname="node-a",container="x",namespace="ml",pod="p1"} 500
DCGM_FI_DEV_FB_USED{gpu="2",UUID="GPU-c",device="nvidia2",modelName="NVIDIA A100",Hostname="node-a",container="x",namespace="ml",pod="p2"} 500
DCGM_FI_DEV_FB_USED{gpu="3",UUID="GPU-d",device="nvidia3",modelName="NVIDIA A100",GPU_I_PROFILE="1g.5gb",GPU_I_ID="7",Hostname="node-a",container_name="y",pod_namespace="ml",pod_name="p3"} 11.6
DCGM_FI_DEV_FB_USED{gpu="3",UUID="GPU-d",device="nvidia3",modelName="NVIDIA A100",GPU_I_PROFILE="1g.5gb",GPU_I_ID="8",Hostname="node-a",container="y",namespace="ml",pod="p4"} 12
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-z",device="nvidia0",modelName="NVIDIA A100",Hostname="node-z"} 1
# TYPE DCGM_FI_DEV_FB_RESERVED gauge
DCGM_FI_DEV_FB_RESERVED{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100, 40GB",Hostname="node-a",container="train",namespace="ml",pod="job-0"} 960
`

func TestDCGM(t *testing.T) {
	s := NewSample("node-a")
	if err := NewDecoder(nil).DCGM([]byte(dcgmText), []string{"node-a", "10.0.0.1"}, s); err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	train, slice7, slice8 := "namespace:ml/pod:job-0/container:train ", "namespace:ml/pod:p3/container:y ", "namespace:ml/pod:p4/container:y "
	accelerator := "{accelerator_id:GPU-%s,make:nvidia,model:NVIDIA A100%s}"
	a, b, c := fmt.Sprintf(accelerator, "a", "_ 40GB"), fmt.Sprintf(accelerator, "b", ""), fmt.Sprintf(accelerator, "c", "")
	d7, d8 := fmt.Sprintf(accelerator, "d/7", " MIG 1g.5gb"), fmt.Sprintf(accelerator, "d/8", " MIG 1g.5gb")
	if diff := cmp.Diff(map[string]int64{
		train + "accelerator/duty_cycle" + a: 97, train + "accelerator/memory_used" + a: 10000 * mib, train + "accelerator/memory_total" + a: 40960 * mib,
		train + "gpu/usage{gpu_index:0,gpu_name:NVIDIA A100_ 40GB,gpu_uuid:GPU-a}": 10000,
		"node:node-a accelerator/duty_cycle" + b:                                   0, "node:node-a accelerator/memory_used" + b: 4 * mib,
		"node:node-a gpu/usage{gpu_index:1,gpu_name:NVIDIA A100,gpu_uuid:GPU-b}":           4,
		"node:node-a accelerator/memory_used" + c:                                          500 * mib,
		"node:node-a gpu/usage{gpu_index:2,gpu_name:NVIDIA A100,gpu_uuid:GPU-c}":           500,
		slice7 + "accelerator/memory_used" + d7:                                            12163482, // 11.6 MiB
		slice7 + "gpu/usage{gpu_index:3,gpu_name:NVIDIA A100 MIG 1g.5gb,gpu_uuid:GPU-d/7}": 12,
		slice8 + "accelerator/memory_used" + d8:                                            12 * mib,
		slice8 + "gpu/usage{gpu_index:3,gpu_name:NVIDIA A100 MIG 1g.5gb,gpu_uuid:GPU-d/8}": 12,
	}, flatten(t, s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDCGMOfTheNodeItself(t *testing.T) {
	s := NewSample("node-a")
	if err := NewDecoder(nil).DCGM([]byte(dcgmText), nil, s); err != nil {
		t.Fatal(err)
	}
	if got := flatten(t, s)["node:node-a gpu/usage{gpu_index:0,gpu_name:NVIDIA A100,gpu_uuid:GPU-z}"]; got != 1 {
		t.Error("an exporter's own name for its host is taken for another node's")
	}
}

func TestScrapeExporter(t *testing.T) {
	server, _, access := kubelet(t, answer(200, dcgmText))
	sample, err := scrape(t, opened(t, "dcgm:"+server.URL+"?nodeSelector=!none", access), nodeAt(t, server.URL), 5*time.Second)
	if err != nil || len(sample.Sets) != 5 {
		t.Fatalf("%v, want 5 sets", err)
	}
}

// FuzzText: no text makes the decoders panic, and what is refused leaves nothing.
func FuzzText(f *testing.F) {
	text, err := os.ReadFile("testdata/cadvisor-real.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text[:4000])
	f.Add([]byte(dcgmText))
	f.Add([]byte("# TYPE x\ncontainer_memory_cache{a=\"\\\"\",id=\"/\"} 1e3 5\ncontainer_fs_reads_bytes_total 1"))
	d := NewDecoder(nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		s := NewSample("n")
		if err := d.Cadvisor(text, s); err != nil && len(s.Sets) > 0 {
			t.Fatal("sets stay")
		}
		before := len(s.Sets)
		if err := d.DCGM(text, nil, s); err != nil && len(s.Sets) > before {
			t.Fatal("sets stay")
		}
		flatten(t, s)
		s.Release()
	})
}

// BenchmarkCadvisor reads a kubelet's text in which nearly all is of no use.
func BenchmarkCadvisor(b *testing.B) {
	var text strings.Builder
	for family := range 60 {
		name := fmt.Sprintf("container_family_%02d", family)
		if family == 30 {
			name = "container_memory_cache"
		}
		fmt.Fprintf(&text, "# HELP %s Something\n# TYPE %s gauge\n", name, name)
		for i := range 60 {
			fmt.Fprintf(&text, `%s{container="app",id="/kubepods/burstable/pod17f127f7-5c26-4128-b67f-376c5bf0bfbc/%d",image="docker.io/local/app:1",name="%d",namespace="default",pod="web-%d"} 16384 1795281022513`+"\n", name, i, i, i)
		}
	}
	d := NewDecoder(nil)
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	body := []byte(text.String())
	for b.Loop() {
		s := NewSample("n")
		if err := d.Cadvisor(body, s); err != nil || len(s.Sets) != 60 {
			b.Fatal(err)
		}
		s.Release()
	}
}
