package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// DCGM adds to sample what an NVIDIA DCGM exporter says: for each device a GPU row and
// an Accelerator row, of the container that holds the device. A device that nobody
// holds, and one that several containers share, is the node's: what is used of it
// is told of the whole device only. With hosts, only devices count whose exporter says
// that it runs on one of these.
//
// It adds nothing and returns an error if text is not in Prometheus' format.
func (d *Decoder) DCGM(text []byte, hosts []string, sample *Sample) error {
	g := devices{hosts: hosts, byKey: map[string]*device{}}
	if err := g.read(text); err != nil {
		return fmt.Errorf("decode the metrics of the DCGM exporter: %w", err)
	}
	now := time.Now()
	for _, key := range g.order {
		g.byKey[key].add(sample, d.names, now)
	}
	return nil
}

// devices are GPUs, or slices of them.
type devices struct {
	hosts []string
	byKey map[string]*device
	order []string
}

// device is what is known of one; numbers are -1 if not known.
type device struct {
	index, uuid, model   string
	holders              []entity
	used, free, reserved float64 // MiB
	duty                 float64 // percent
}

func (g *devices) read(text []byte) error {
	if !isMetrics(text) {
		return errors.New("it is in no format of Prometheus")
	}
	into := func(number func(*device) *float64) func(p *point) error {
		return func(p *point) error {
			d, err := g.device(p)
			if _, ok := whole(p.value); ok && d != nil {
				*number(d) = p.value
			}
			return err
		}
	}
	return points(text, []family{
		{"DCGM_FI_DEV_FB_USED", into(func(d *device) *float64 { return &d.used })},
		{"DCGM_FI_DEV_FB_FREE", into(func(d *device) *float64 { return &d.free })},
		{"DCGM_FI_DEV_FB_RESERVED", into(func(d *device) *float64 { return &d.reserved })},
		{"DCGM_FI_DEV_GPU_UTIL", into(func(d *device) *float64 { return &d.duty })},
	})
}

// device returns the device that a line is about, nil if it is another host's.
func (g *devices) device(p *point) (*device, error) {
	labels := map[string]string{}
	for {
		name, value, err := p.next()
		if err != nil {
			return nil, err
		}
		if name == nil {
			break
		}
		labels[string(name)] = string(value)
	}
	if g.hosts != nil && !slices.Contains(g.hosts, labels["Hostname"]) {
		return nil, nil
	}
	uuid, model := labels["UUID"], labels["modelName"]
	if slice := labels["GPU_I_ID"]; slice != "" { // a part of a device, with memory of its own
		uuid, model = uuid+"/"+slice, model+" MIG "+labels["GPU_I_PROFILE"]
	}
	d, ok := g.byKey[uuid]
	if !ok {
		d = &device{index: labels["gpu"], uuid: uuid, model: model, used: -1, free: -1, reserved: -1, duty: -1}
		g.byKey[uuid] = d
		g.order = append(g.order, uuid)
	}
	holder := entity{
		kind: metrics.Container, namespace: first(labels, "namespace", "pod_namespace"),
		pod: first(labels, "pod", "pod_name"), container: first(labels, "container", "container_name"),
	}
	if holder.pod != "" && holder.container != "" && !slices.Contains(d.holders, holder) {
		d.holders = append(d.holders, holder)
	}
	return d, nil
}

// first returns the first of these labels that is set. Old exporters have other names.
func first(labels map[string]string, names ...string) string {
	for _, name := range names {
		if value := labels[name]; value != "" {
			return value
		}
	}
	return ""
}

// add makes a set with the device's rows.
func (d *device) add(sample *Sample, names *interner, now time.Time) {
	set := Set{Kind: metrics.Node}
	if len(d.holders) == 1 {
		e := d.holders[0]
		set.Kind, set.Namespace, set.Pod, set.Container = e.kind, names.get([]byte(e.namespace), now), names.get([]byte(e.pod), now), names.get([]byte(e.container), now)
	}
	name := func(parts ...string) string { return names.get([]byte(strings.Join(parts, "")), now) }
	clean := func(value string) string { return string(appendLabel(nil, []byte(value))) }
	rows := sample.labelled.begin()
	row := func(kind metrics.Kind, name string, values ...Value) {
		values = slices.DeleteFunc(values, func(v Value) bool { return v.Bits < 0 })
		if len(values) > 0 {
			sample.labelled.add(Labelled{kind, name, sample.values.copy(values)})
		}
	}
	row(
		metrics.Accelerator, name("accelerator_id:", clean(d.uuid), ",make:nvidia,model:", clean(d.model)),
		Value{metrics.AcceleratorMemoryTotal, d.total()}, Value{metrics.AcceleratorMemoryUsed, times(d.used, 1<<20)},
		Value{metrics.AcceleratorDutyCycle, times(d.duty, 1)},
	)
	row(
		metrics.GPU, name("gpu_index:", clean(d.index), ",gpu_name:", clean(d.model), ",gpu_uuid:", clean(d.uuid)),
		Value{metrics.GPUUsage, times(d.used, 1)},
	)
	if set.Labelled = sample.labelled.since(rows); len(set.Labelled) > 0 {
		sample.Sets = append(sample.Sets, set)
	}
}

// total is the device's memory in bytes; -1 if not known.
func (d *device) total() int64 {
	if d.used < 0 || d.free < 0 {
		return -1
	}
	return times(d.used+d.free+max(d.reserved, 0), 1<<20)
}

// times is a number that may be unknown in another unit; -1 if unknown.
func times(f, factor float64) int64 {
	if n, ok := whole(f * factor); ok && f >= 0 {
		return n
	}
	return -1
}
