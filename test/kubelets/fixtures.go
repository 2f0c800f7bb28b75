package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// fixtures are recorded answers whose counters are rate × seconds since T0. They are
// served as of now: T0 is an hour before this program started.
type fixtures struct {
	t0        time.Time
	objects   map[string][]map[string]any // nodes, pods and namespaces
	summaries map[string]*recorded        // by node
}

// recorded is one node's answer.
type recorded struct {
	t0, then, start int64 // Unix seconds: of this run, of the recording, and its T0
	tree            map[string]any
}

// openFixtures reads nodes.json, pods.json, namespaces.json and summary-*.json of dir.
func openFixtures(dir string, now time.Time) (*fixtures, error) {
	f := &fixtures{t0: now.UTC().Add(-time.Hour).Truncate(time.Second), objects: map[string][]map[string]any{}, summaries: map[string]*recorded{}}
	for _, kind := range []string{"nodes", "pods", "namespaces"} {
		var list struct {
			Items []map[string]any `json:"items"`
		}
		if err := readJSON(filepath.Join(dir, kind+".json"), &list); err != nil {
			return nil, err
		}
		f.objects[kind] = list.Items
	}
	for _, pod := range f.objects["pods"] {
		if status, ok := pod["status"].(map[string]any); ok {
			status["startTime"] = f.t0.Format(time.RFC3339)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "summary-*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s holds no summary-NODE.json (%w)", dir, os.ErrNotExist)
	}
	for _, file := range files {
		node := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "summary-"), ".json")
		r := &recorded{t0: f.t0.Unix()}
		if err := readJSON(file, &r.tree); err != nil {
			return nil, err
		}
		if err := r.find(); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		f.summaries[node] = r
	}
	return f, nil
}

func readJSON(path string, to any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read a fixture: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(to); err != nil {
		return fmt.Errorf("read the fixture %s: %w", path, err)
	}
	return nil
}

// find reads the recording's two times.
func (r *recorded) find() error {
	node, _ := r.tree["node"].(map[string]any)
	cpu, _ := node["cpu"].(map[string]any)
	for _, at := range []struct {
		text any
		to   *int64
	}{{node["startTime"], &r.start}, {cpu["time"], &r.then}} {
		text, _ := at.text.(string)
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return fmt.Errorf("the node's startTime and cpu.time: %w", err)
		}
		*at.to = when.Unix()
	}
	if r.then <= r.start {
		return fmt.Errorf("cpu.time %d is not after startTime %d", r.then, r.start)
	}
	return nil
}

// nodes are the names of the recorded nodes and of those that are only objects.
func (f *fixtures) nodes() []string {
	names := map[string]bool{}
	for name := range f.summaries {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// counters are the summary's fields that only grow.
func counters() []string {
	return []string{"usageCoreNanoSeconds", "pageFaults", "majorPageFaults", "rxBytes", "txBytes", "rxErrors", "txErrors"}
}

// summary is the recording as of clock.
func (r *recorded) summary(clock clock, _ Shape) []byte {
	now := clock.last(source(r.t0))
	text, err := json.Marshal(r.advance(r.tree, now))
	if err != nil {
		panic(fmt.Sprintf("BUG: a fixture cannot be written: %v", err))
	}
	return text
}

// advance copies a part of the tree as of the second now: counters that a whole rate
// made go on with it.
func (r *recorded) advance(part any, now int64) any {
	switch part := part.(type) {
	case map[string]any:
		next := make(map[string]any, len(part))
		for key, value := range part {
			next[key] = r.advance(value, now)
			if number, ok := value.(json.Number); ok && slices.Contains(counters(), key) {
				next[key] = r.count(number, now)
			}
			if key == "startTime" {
				next[key] = time.Unix(r.t0, 0).UTC().Format(time.RFC3339)
			}
			if key == "time" {
				next[key] = time.Unix(now, 0).UTC().Format(time.RFC3339)
			}
		}
		return next
	case []any:
		next := make([]any, len(part))
		for i, value := range part {
			next[i] = r.advance(value, now)
		}
		return next
	}
	return part
}

func (r *recorded) count(number json.Number, now int64) any {
	count, err := number.Int64()
	if err != nil || count%(r.then-r.start) != 0 {
		return number
	}
	return count / (r.then - r.start) * (now - r.t0)
}

// The fixtures have no cAdvisor; ours says of each container: a tenth of its memory
// is page cache, and it writes a page and reads two a second.
const (
	fixtureCache   = 10
	fixtureWritten = 1 * page
	fixtureRead    = 2 * page
)

func (r *recorded) cadvisor(clock clock) []byte {
	now := clock.last(source(r.t0))
	var caches, reads, writes []byte
	pods, _ := r.tree["pods"].([]any)
	for _, one := range pods {
		pod, _ := one.(map[string]any)
		ref, _ := pod["podRef"].(map[string]any)
		containers, _ := pod["containers"].([]any)
		for _, one := range containers {
			c, _ := one.(map[string]any)
			memory, _ := c["memory"].(map[string]any)
			usage, _ := memory["usageBytes"].(json.Number)
			bytes, _ := usage.Int64()
			labels := fmt.Sprintf(`id="/kubepods/pod%v/%v",image="i",name="n",namespace="%v",pod="%v"`, ref["uid"], c["name"], ref["namespace"], ref["name"])
			caches = fmt.Appendf(caches, "container_memory_cache{container=\"%v\",%s} %d %d\n", c["name"], labels, bytes/fixtureCache, now*1000)
			reads = fmt.Appendf(reads, "container_fs_reads_bytes_total{container=\"%v\",device=%q,%s} %d %d\n", c["name"], device, labels, fixtureRead*(now-r.t0), now*1000)
			writes = fmt.Appendf(writes, "container_fs_writes_bytes_total{container=\"%v\",device=%q,%s} %d %d\n", c["name"], device, labels, fixtureWritten*(now-r.t0), now*1000)
		}
	}
	return fmt.Appendf(nil, "# TYPE container_fs_reads_bytes_total counter\n%s# TYPE container_fs_writes_bytes_total counter\n%s# TYPE container_memory_cache gauge\n%s",
		reads, writes, caches)
}

func (r *recorded) resource(clock) []byte { return []byte("resource_scrape_error 0\n") }

// dcgm is what an NVIDIA exporter says of the fixtures: a GPU that web-0's container
// side holds, and one that nobody does.
func dcgm() []byte {
	var out []byte
	for _, family := range []struct {
		name, help string
		held, idle int
	}{
		{"DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", 42, 0},
		{"DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", 13000, 15000},
		{"DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", 2048, 3},
	} {
		out = fmt.Appendf(out, "# HELP %s %s\n# TYPE %s gauge\n", family.name, family.help, family.name)
		out = fmt.Appendf(out, `%s{gpu="0",UUID="GPU-0001",pci_bus_id="00000000:00:1E.0",device="nvidia0",modelName="Tesla T4",Hostname="host-a",container="side",namespace="default",pod="web-0"} %d`+"\n", family.name, family.held)
		out = fmt.Appendf(out, `%s{gpu="1",UUID="GPU-0002",pci_bus_id="00000000:00:1F.0",device="nvidia1",modelName="Tesla T4",Hostname="host-a"} %d`+"\n", family.name, family.idle)
	}
	return out
}
