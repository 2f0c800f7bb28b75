package source

import (
	"encoding/json"
	"math/rand"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/randfill"
)

// plain is the same as the decoder, over Kubernetes' own types: slow, and simple enough
// to be believed.
type plain struct {
	flat    map[string]int64
	exclude *regexp.Regexp
}

func plainly(s *stats.Summary, exclude *regexp.Regexp) map[string]int64 {
	p := plain{map[string]int64{}, exclude}
	node := "node:" + s.Node.NodeName
	var used *uint64
	if s.Node.Fs != nil {
		used = s.Node.Fs.UsedBytes
	}
	p.sections(node, s.Node.StartTime, s.Node.CPU, s.Node.Memory, s.Node.Network, p.exclude)
	p.filesystem(node, "/", s.Node.Fs)
	p.number(node+" ephemeral_storage/usage", used)
	for _, c := range s.Node.SystemContainers {
		if c.Name != "" {
			p.container(node+"/container:"+systemName(c.Name), c)
		}
	}
	pods := map[stats.PodReference]stats.PodStats{}
	for _, pod := range s.Pods {
		name := pod.PodRef
		name.UID = ""
		if other, ok := pods[name]; (!ok || pod.StartTime.After(other.StartTime.Time)) && name.Name != "" {
			pods[name] = pod
		}
	}
	for name, pod := range pods {
		p.pod("namespace:"+name.Namespace+"/pod:"+name.Name, pod)
	}
	return p.flat
}

func (p plain) pod(key string, pod stats.PodStats) {
	p.sections(key, pod.StartTime, pod.CPU, pod.Memory, pod.Network, nil)
	if pod.EphemeralStorage != nil {
		p.number(key+" ephemeral_storage/usage", pod.EphemeralStorage.UsedBytes)
	}
	for _, v := range pod.VolumeStats {
		if v.Name != "" {
			p.filesystem(key, "Volume:"+v.Name, &v.FsStats)
		}
	}
	containers := map[string]stats.ContainerStats{}
	for _, c := range pod.Containers {
		if other, ok := containers[c.Name]; (!ok || c.StartTime.After(other.StartTime.Time)) && c.Name != "" {
			containers[c.Name] = c
		}
	}
	for name, c := range containers {
		p.container(key+"/container:"+name, c)
	}
}

func (p plain) container(key string, c stats.ContainerStats) {
	p.sections(key, c.StartTime, c.CPU, c.Memory, nil, nil)
	p.filesystem(key, "/", c.Rootfs)
	p.filesystem(key, "logs", c.Logs)
	if c.Rootfs != nil && c.Logs != nil && c.Rootfs.UsedBytes != nil && c.Logs.UsedBytes != nil {
		both := *c.Rootfs.UsedBytes + *c.Logs.UsedBytes
		p.number(key+" ephemeral_storage/usage", &both)
	}
	for _, a := range c.Accelerators {
		row := "{" + string(acceleratorName(nil, []byte(a.ID), []byte(a.Make), []byte(a.Model))) + "}"
		p.number(key+" accelerator/memory_total"+row, &a.MemoryTotal)
		p.number(key+" accelerator/memory_used"+row, &a.MemoryUsed)
		p.number(key+" accelerator/duty_cycle"+row, &a.DutyCycle)
	}
}

func (p plain) number(key string, n *uint64) {
	if n != nil && *n < 1<<63 {
		p.flat[key] = int64(*n)
	}
}

func (p plain) time(key string, t metav1.Time) int64 {
	if t.Year() < 1970 || t.Year() > 2261 || t.UnixNano() == 0 {
		return 0
	}
	p.flat[key] = t.UnixNano()
	return t.UnixNano()
}

func (p plain) filesystem(key, name string, fs *stats.FsStats) {
	if fs == nil {
		return
	}
	row := "{resource_id:" + name + "}"
	p.number(key+" filesystem/usage"+row, fs.UsedBytes)
	p.number(key+" filesystem/limit"+row, fs.CapacityBytes)
	p.number(key+" filesystem/available"+row, fs.AvailableBytes)
	p.number(key+" filesystem/inodes"+row, fs.Inodes)
	p.number(key+" filesystem/inodes_free"+row, fs.InodesFree)
}

func (p plain) sections(key string, start metav1.Time, cpu *stats.CPUStats, memory *stats.MemoryStats, network *stats.NetworkStats, exclude *regexp.Regexp) {
	began := p.time(key+" krm/start_time", start)
	var now int64
	see := func(at int64) {
		if now == 0 {
			now = at
		}
	}
	if cpu != nil {
		see(p.time(key+" krm/cpu_time", cpu.Time))
		p.number(key+" cpu/usage", cpu.UsageCoreNanoSeconds)
		p.number(key+" krm/cpu_nanocores", cpu.UsageNanoCores)
	}
	if memory != nil {
		see(p.time(key+" krm/memory_time", memory.Time))
		p.number(key+" memory/usage", memory.UsageBytes)
		p.number(key+" memory/working_set", memory.WorkingSetBytes)
		p.number(key+" memory/rss", memory.RSSBytes)
		p.number(key+" memory/page_faults", memory.PageFaults)
		p.number(key+" memory/major_page_faults", memory.MajorPageFaults)
	}
	if network != nil {
		see(p.time(key+" krm/network_time", network.Time))
		p.network(key, network, exclude)
	}
	if began != 0 && now >= began {
		p.flat[key+" uptime"] = (now - began) / 1e6
	}
}

func (p plain) network(key string, network *stats.NetworkStats, exclude *regexp.Regexp) {
	own := network.InterfaceStats
	if own.RxBytes == nil && own.RxErrors == nil && own.TxBytes == nil && own.TxErrors == nil {
		add := func(to **uint64, n *uint64) {
			if n != nil && *to == nil {
				*to = new(uint64)
			}
			if n != nil {
				**to += *n
			}
		}
		for _, one := range network.Interfaces {
			if exclude != nil && exclude.MatchString(one.Name) {
				continue
			}
			add(&own.RxBytes, one.RxBytes)
			add(&own.RxErrors, one.RxErrors)
			add(&own.TxBytes, one.TxBytes)
			add(&own.TxErrors, one.TxErrors)
		}
	}
	p.number(key+" network/rx", own.RxBytes)
	p.number(key+" network/rx_errors", own.RxErrors)
	p.number(key+" network/tx", own.TxBytes)
	p.number(key+" network/tx_errors", own.TxErrors)
}

func someInterfaces() *regexp.Regexp { return regexp.MustCompile(wholly("lo|veth.*")) }

// randomSummary has sections and names that are there or not, and few names, so that
// some come twice.
func randomSummary(seed int64) *stats.Summary {
	pick := func(c randfill.Continue, names ...string) string { return names[c.Intn(len(names))] }
	s := new(stats.Summary)
	randfill.New().RandSource(rand.NewSource(seed)).NilChance(0.2).NumElements(0, 5).MaxDepth(20).Funcs(
		func(t *metav1.Time, c randfill.Continue) {
			*t = metav1.Time{}
			if c.Intn(5) > 0 {
				*t = at(scraped.Add(time.Duration(c.Intn(4000)) * time.Second))
			}
		},
		func(n *uint64, c randfill.Continue) { *n = uint64(c.Int63n(1 << uint(1+c.Intn(60)))) },
		func(f *float64, c randfill.Continue) { *f = float64(c.Intn(100)) / 8 },
		func(r *stats.PodReference, c randfill.Continue) {
			*r = stats.PodReference{Namespace: pick(c, "a", "b"), Name: pick(c, "x", "y", "z\"ü", ""), UID: pick(c, "1", "2")}
		},
		func(cs *stats.ContainerStats, c randfill.Continue) {
			c.FillNoCustom(cs)
			cs.Name, cs.UserDefinedMetrics = pick(c, "app", "runtime", "side\ncar", ""), nil
			for i := range cs.Accelerators {
				cs.Accelerators[i].ID = string(rune('a' + i)) // rows of one set have different names
			}
		},
		func(ps *stats.PodStats, c randfill.Continue) {
			c.FillNoCustom(ps)
			for i := range ps.VolumeStats {
				ps.VolumeStats[i].Name = []string{"a", "b", "ü", "", ""}[i]
			}
		},
		func(i *stats.InterfaceStats, c randfill.Continue) {
			i.Name = pick(c, "eth1", "lo", "veth77", "ens5")
			if c.Intn(2) == 0 {
				c.Fill(&i.RxBytes)
				c.Fill(&i.RxErrors)
				c.Fill(&i.TxBytes)
				c.Fill(&i.TxErrors)
			}
		},
	).Fill(s)
	for i := range s.Node.SystemContainers { // their names do not come twice
		s.Node.SystemContainers[i].Name = []string{"kubelet", "runtime", "misc", "pods", ""}[i]
	}
	s.Node.NodeName = "node"
	return s
}

func checkRandom(t *testing.T, seed int64) {
	t.Helper()
	want := randomSummary(seed)
	body := encoded(t, want)
	got := NewSample("node")
	if err := NewDecoder(someInterfaces()).Summary(body, got); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if diff := cmp.Diff(plainly(want, someInterfaces()), flatten(t, got)); diff != "" {
		t.Fatalf("seed %d (-plain +ours):\n%s\n%s", seed, diff, body)
	}
}

func TestRandomSummariesDecodeAsPlainly(t *testing.T) {
	for seed := range int64(500) {
		checkRandom(t, seed)
	}
}

func FuzzRandomSummary(f *testing.F) {
	f.Add(int64(1))
	f.Fuzz(func(t *testing.T, seed int64) { checkRandom(t, seed) })
}

// FuzzSummary: what is no JSON is refused, what Kubernetes' own decoder takes is taken,
// and nothing of what is refused stays.
func FuzzSummary(f *testing.F) {
	for _, name := range []string{"heapster/summary-node-a.json", "heapster/summary-node-b.json", "summary-real.json"} {
		body, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `{"node":null,"pods":null}`, `{"pods":[null,{"podRef":null}]}`, `{"node":{"cpu":{"usageCoreNanoSeconds":-1}}}`,
		`{"node":{"cpu":{"time":"x"}}}`, `{"node":{}}x`, `{"node":7}`, `{"pods":[{"podRef":{"name":"p"},"containers":[null]}]}`,
	} {
		f.Add([]byte(body))
	}
	decoder := NewDecoder(someInterfaces())
	f.Fuzz(func(t *testing.T, body []byte) {
		got := NewSample("")
		err := decoder.Summary(body, got)
		if err != nil && len(got.Sets) > 0 {
			t.Fatalf("%d sets stay of a body that is refused: %v", len(got.Sets), err)
		}
		if err == nil && !json.Valid(body) {
			t.Fatal("no JSON, and taken")
		}
		var want stats.Summary
		if kjson.UnmarshalCaseSensitivePreserveInts(body, &want) == nil && err != nil && !slices.Equal(body, []byte("null")) {
			t.Fatalf("good, and refused: %v", err)
		}
		got.Release()
	})
}
