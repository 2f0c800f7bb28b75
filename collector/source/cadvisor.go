package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Cadvisor adds to sample what a kubelet's /metrics/cadvisor says of page cache and disk
// I/O: of the node (/), its pods (/kubepods), pods and their containers. Of containers
// with one name it takes the one that started last. If sample has the summary's sets,
// only what these are about gets more: cadvisor remembers pods that are gone. It adds
// nothing and returns an error if text is not in Prometheus' format.
func (d *Decoder) Cadvisor(text []byte, sample *Sample) error {
	c := cgroups{now: time.Now(), names: d.names, byID: map[string]*cgroup{}}
	err := c.read(text)
	if err != nil {
		return fmt.Errorf("decode cadvisor's metrics: %w", err)
	}
	known := knownTo(sample)
	for _, group := range c.latest() {
		if known == nil || known[group.entity] {
			group.add(sample)
		}
	}
	return nil
}

// knownTo returns what sample has sets of; nil if it has none at all.
func knownTo(sample *Sample) map[entity]bool {
	if len(sample.Sets) == 0 {
		return nil
	}
	known := make(map[entity]bool, len(sample.Sets))
	for i := range sample.Sets {
		set := &sample.Sets[i]
		known[entity{set.Kind, set.Namespace, set.Pod, set.Container}] = true
	}
	return known
}

// cgroups are those that belong to an entity, by their path.
type cgroups struct {
	now   time.Time
	names *interner
	byID  map[string]*cgroup
	all   []*cgroup // in the order of the text
}

// cgroup is what is known of one.
type cgroup struct {
	entity entity
	start  int64
	cache  int64 // -1 if not known
	disks  []disk
}

// entity is what a cgroup is the cgroup of.
type entity struct {
	kind                      metrics.Kind
	namespace, pod, container string
}

type disk struct {
	name        string
	at          int64
	read, wrote int64 // -1 if not known
}

func (c *cgroups) read(text []byte) error {
	if !isMetrics(text) {
		return errors.New("it is in no format of Prometheus")
	}
	return points(text, []family{
		{"container_memory_cache", func(p *point) error {
			return c.each(p, func(g *cgroup, n int64, _ []byte) { g.cache = n })
		}},
		{"container_fs_reads_bytes_total", func(p *point) error {
			return c.each(p, func(g *cgroup, n int64, device []byte) {
				d := g.disk(c, device, p.at)
				d.read = sum(d.read, n)
			})
		}},
		{"container_fs_writes_bytes_total", func(p *point) error {
			return c.each(p, func(g *cgroup, n int64, device []byte) {
				d := g.disk(c, device, p.at)
				d.wrote = sum(d.wrote, n)
			})
		}},
		{"container_start_time_seconds", func(p *point) error {
			return c.each(p, func(g *cgroup, _ int64, _ []byte) {
				if p.value > 0 && p.value < 9e9 {
					g.start = int64(p.value * 1e9)
				}
			})
		}},
	})
}

// sum adds devices that have no name, which are told apart by nothing.
func sum(a, b int64) int64 {
	if total, ok := addUp(max(a, 0), b); ok {
		return total
	}
	return a
}

// each finds the cgroup that a line is about, if that is an entity's, and hands its
// value on, if that is one.
func (c *cgroups) each(p *point, set func(g *cgroup, n int64, device []byte)) error {
	var who identity
	for {
		name, value, err := p.next()
		if err != nil {
			return err
		}
		if name == nil {
			break
		}
		who.keep(string(name), value)
	}
	g := c.group(&who)
	if n, ok := whole(p.value); ok && g != nil {
		set(g, n, who.device)
	}
	return nil
}

// identity are the labels that tell cgroups apart.
type identity struct{ id, name, namespace, pod, container, device []byte }

func (who *identity) keep(name string, value []byte) {
	switch name {
	case "id":
		who.id = value
	case "name":
		who.name = value
	case "namespace":
		who.namespace = value
	case "pod":
		who.pod = value
	case "container":
		who.container = value
	case "device":
		who.device = value
	}
}

// group returns the cgroup, nil if it is no entity's: a pod's sandbox, a service of the
// system, a class of pods.
func (c *cgroups) group(who *identity) *cgroup {
	if g, ok := c.byID[string(who.id)]; ok {
		return g
	}
	var g *cgroup
	if e, ok := c.entity(who); ok {
		g = &cgroup{entity: e, cache: -1}
		c.all = append(c.all, g)
	}
	c.byID[string(who.id)] = g
	return g
}

func (c *cgroups) entity(who *identity) (e entity, ok bool) {
	switch id := string(who.id); {
	case len(who.pod) > 0 && len(who.container) > 0 && string(who.container) != "POD":
		e.kind = metrics.Container
	case len(who.pod) > 0 && len(who.container) == 0 && len(who.name) == 0:
		e.kind = metrics.Pod
	case len(who.pod) > 0 || len(who.container) > 0:
		return e, false
	case id == "/":
		e.kind = metrics.Node
		return e, true
	case id == "/kubepods" || id == "/kubepods.slice":
		e.kind, e.container = metrics.SystemContainer, "pods"
		return e, true
	default:
		return e, false
	}
	e.namespace, e.pod = c.names.get(who.namespace, c.now), c.names.get(who.pod, c.now)
	e.container = c.names.get(who.container, c.now)
	return e, true
}

// disk returns the device's row.
func (g *cgroup) disk(c *cgroups, device []byte, at int64) *disk {
	if len(device) == 0 {
		device = []byte("unknown")
	}
	var room [128]byte
	name := c.names.get(appendLabel(append(room[:0], "resource_id:"...), device), c.now)
	i := slices.IndexFunc(g.disks, func(d disk) bool { return d.name == name })
	if i < 0 {
		i = len(g.disks)
		g.disks = append(g.disks, disk{name: name, at: at, read: -1, wrote: -1})
	}
	return &g.disks[i]
}

// latest returns one cgroup for each entity, in the order of the text: the one that
// started last.
func (c *cgroups) latest() []*cgroup {
	of := make(map[entity]int, len(c.all))
	kept := c.all[:0:0]
	for _, g := range c.all {
		i, twice := of[g.entity]
		switch {
		case !twice:
			of[g.entity] = len(kept)
			kept = append(kept, g)
		case g.start > kept[i].start:
			kept[i] = g
		}
	}
	return kept
}

// add makes a set of g.
func (g *cgroup) add(sample *Sample) {
	set := Set{Kind: g.entity.kind, Namespace: g.entity.namespace, Pod: g.entity.pod, Container: g.entity.container}
	if g.cache >= 0 {
		from := sample.values.begin()
		sample.values.add(Value{metrics.MemoryCache, g.cache})
		set.Values = sample.values.since(from)
	}
	slices.SortFunc(g.disks, func(a, b disk) int { return strings.Compare(a.name, b.name) })
	rows := sample.labelled.begin()
	for _, d := range g.disks {
		from := sample.values.begin()
		for _, v := range [...]Value{{metrics.DiskReadBytes, d.read}, {metrics.DiskWriteBytes, d.wrote}} {
			if v.Bits >= 0 {
				sample.values.add(v)
			}
		}
		for _, v := range [...]Value{{metrics.StartTime, g.start}, {metrics.DiskTime, d.at}} {
			if v.Bits != 0 {
				sample.values.add(v)
			}
		}
		sample.labelled.add(Labelled{metrics.Disk, d.name, sample.values.since(from)})
	}
	set.Labelled = sample.labelled.since(rows)
	if len(set.Values) > 0 || len(set.Labelled) > 0 {
		sample.Sets = append(sample.Sets, set)
	}
}
