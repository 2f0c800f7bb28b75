package main

import (
	"fmt"
	"strconv"
)

// family begins a family of the text format.
func (w *writer) family(name, kind, help string) {
	w.b = fmt.Appendf(w.b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample is one line: the series, its value and the time of the reading.
func (w *writer) sample(series, labels string, value float64, at int64) {
	w.b = append(append(append(append(append(w.b, series...), '{'), labels...), '}'), ' ')
	w.b = strconv.AppendFloat(w.b, value, 'g', -1, 64)
	w.b = append(w.b, ' ')
	w.b = strconv.AppendInt(w.b, at*1000, 10)
	w.b = append(w.b, '\n')
}

// resource is the answer to GET /metrics/resource.
func (n *Node) resource(clock clock) []byte {
	load := n.load.Load()
	w := &writer{}
	at := clock.last(load.source)
	all, _ := load.read(at)
	containers := func(name, kind, help string, value func(*Container, reading) float64) {
		w.family(name, kind, help)
		for _, p := range load.Pods {
			for _, c := range p.Containers {
				r := c.read(clock)
				w.sample(name, fmt.Sprintf("container=%q,namespace=%q,pod=%q", c.Name, p.Namespace, p.Name), value(c, r), r.at)
			}
		}
	}
	pods := func(name, kind, help string, value func(reading) float64) {
		w.family(name, kind, help)
		for _, p := range load.Pods {
			r := p.read(clock)
			w.sample(name, fmt.Sprintf("namespace=%q,pod=%q", p.Namespace, p.Name), value(r), r.at)
		}
	}
	node := func(name, kind, help string, value float64) {
		w.family(name, kind, help)
		w.b = fmt.Appendf(w.b, "%s %g %d\n", name, value, at*1000)
	}
	containers("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds",
		func(_ *Container, r reading) float64 { return float64(r.cpu) / 1e9 })
	containers("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes",
		func(_ *Container, r reading) float64 { return float64(r.working) })
	containers("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds",
		func(c *Container, _ reading) float64 { return float64(c.Started.Unix()) })
	node("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds", float64(all.cpu)/1e9)
	node("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes", float64(all.working))
	pods("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds",
		func(r reading) float64 { return float64(r.cpu) / 1e9 })
	pods("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes",
		func(r reading) float64 { return float64(r.working) })
	w.family("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise")
	w.raw("resource_scrape_error 0\n")
	return w.b
}

// cgroup is a series of cAdvisor's: of the node, of a pod, or of a container.
type cgroup struct {
	labels string // in the order of their names, without device
	reading
}

// cgroups are all that cAdvisor would tell of.
func (n *Node) cgroups(clock clock) (all []cgroup) {
	load := n.load.Load()
	at := clock.last(load.source)
	root, _ := load.read(at)
	label := func(container, id, image, name, namespace, pod string) string {
		return fmt.Sprintf("container=%q,id=%q,image=%q,name=%q,namespace=%q,pod=%q", container, id, image, name, namespace, pod)
	}
	all = append(all, cgroup{label("", "/", "", "", "", ""), root})
	for _, p := range load.Pods {
		slice := "/kubepods/burstable/pod" + p.UID
		r := p.read(clock)
		all = append(all, cgroup{label("", slice, "", "", p.Namespace, p.Name), r})
		sandbox := fmt.Sprintf("%016x%016x", p.source.hash(90), p.source.hash(91))
		all = append(all, cgroup{label("", slice+"/"+sandbox, "registry.k8s.io/pause:3.10", sandbox, p.Namespace, p.Name), reading{at: r.at, cache: 5 * page}})
		for _, c := range p.Containers {
			id := fmt.Sprintf("%016x%016x", c.source.hash(90), c.source.hash(91))
			all = append(all, cgroup{label(c.Name, slice+"/"+id, c.Image, id, p.Namespace, p.Name), c.read(clock)})
		}
	}
	return all
}

// device is the disk of all nodes.
const device = "/dev/vda"

// cadvisor is the answer to GET /metrics/cadvisor: what the collector wants, among
// families that it does not.
func (n *Node) cadvisor(clock clock) []byte {
	w := &writer{}
	all := n.cgroups(clock)
	family := func(name, kind, help string, value func(reading) float64) {
		w.family(name, kind, help)
		for _, g := range all {
			w.sample(name, g.labels, value(g.reading), g.at)
		}
	}
	disk := func(name, help string, value func(reading) int64) {
		w.family(name, "counter", help)
		for _, g := range all {
			if v := value(g.reading); v > 0 {
				// Between container and id, where the label stands by name.
				at := len(`container="`)
				for g.labels[at] != '"' {
					at++
				}
				w.sample(name, g.labels[:at+2]+`device="`+device+`",`+g.labels[at+2:], float64(v), g.at)
			}
		}
	}
	w.raw("# HELP cadvisor_version_info A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & cadvisor revision.\n")
	w.raw("# TYPE cadvisor_version_info gauge\ncadvisor_version_info{cadvisorRevision=\"\",cadvisorVersion=\"\",dockerVersion=\"\",kernelVersion=\"6.12\",osVersion=\"Debian GNU/Linux 12\"} 1\n")
	for i := range 12 { // most of what is there is not wanted
		family(fmt.Sprintf("container_other_%d", i), "gauge", "Another family.", func(r reading) float64 { return float64(r.usage) * float64(i) })
	}
	family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", func(r reading) float64 { return float64(r.cpu) / 1e9 })
	disk("container_fs_reads_bytes_total", "Cumulative count of bytes read", func(r reading) int64 { return r.read })
	disk("container_fs_writes_bytes_total", "Cumulative count of bytes written", func(r reading) int64 { return r.written })
	family("container_memory_cache", "gauge", "Number of bytes of page cache memory.", func(r reading) float64 { return float64(r.cache) })
	family("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", func(r reading) float64 { return float64(r.working) })
	return w.b
}
