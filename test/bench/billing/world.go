package main

import (
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// resolution is how far apart batches are.
const resolution = time.Minute

const (
	day = 24 * time.Hour
	// dayHours is after how many hours values come again.
	dayHours = 24
)

// metric is one of the metrics that are measured.
type metric struct {
	name    string
	id      metrics.ID
	divisor float64 // of value × seconds, to the integral
}

func measured() []metric {
	return []metric{
		{"cpu/usage_rate", metrics.CPUUsageRate, 1000 * 3600},
		{"memory/usage", metrics.MemoryUsage, (1 << 30) * 3600},
	}
}

// times are the moments of a run, UTC.
type times struct {
	month, monthEnd time.Time // whole days that end with the last midnight
	raw             time.Time // from here on there are samples; a whole hour
	closed          time.Time // up to here hours are rolled up
	now             time.Time // the last sample is resolution before it
}

// timesAt are the times of a run that begins at now. Its last hour never is a whole hour,
// which roll-ups would answer.
func timesAt(now time.Time, days int) times {
	now = now.UTC().Truncate(resolution)
	if now.Minute() == 0 {
		now = now.Add(-resolution)
	}
	midnight, hour := now.Truncate(day), now.Truncate(time.Hour)
	return times{month: midnight.Add(-time.Duration(days) * day), monthEnd: midnight, raw: hour.Add(-day), closed: hour, now: now}
}

// pod is what a pod of the load is called.
type pod struct{ namespace, name, uid, node, labels string }

// figures are what sums come to.
type figures struct {
	samples, sum, max int64
}

func (f *figures) add(g figures) {
	if f.samples == 0 || g.max > f.max {
		f.max = g.max
	}
	f.samples += g.samples
	f.sum += g.sum
}

// world is what was written, and the truth about it: every sample since times.raw, and
// that each hour before is like the same hour of a day later.
type world struct {
	times
	pods   []pod
	values map[string][][]int64   // by metric, window since raw, pod
	hours  map[string][][]figures // by metric, hour since raw, pod
}

// stream makes the batches of the samples, the same every time.
func (t times) stream(pods, namespaces int, yield func(*metrics.Batch) error) error {
	load := dbtest.NewLoad(pods, namespaces)
	nodes := make([]metrics.NodeStatus, 30)
	for i := range nodes {
		nodes[i].Name = fmt.Sprintf("node-%d", i)
	}
	for at := t.raw; at.Before(t.now); at = at.Add(resolution) {
		b := load.Next(at, resolution)
		b.Nodes = nodes
		if err := yield(b); err != nil {
			return err
		}
	}
	return nil
}

// newWorld makes the truth of a load.
func newWorld(t times, pods, namespaces int) (*world, error) {
	w := &world{times: t, values: map[string][][]int64{}, hours: map[string][][]figures{}}
	err := t.stream(pods, namespaces, func(b *metrics.Batch) error {
		table := b.Tables[metrics.Pod]
		if len(w.pods) == 0 {
			for row := range table.Rows {
				entity := table.Entities[row]
				w.pods = append(w.pods, pod{
					namespace: b.Tables[metrics.Namespace].Entities[entity.Parent.Row].Name, name: entity.Name,
					uid: entity.Meta.UID, node: entity.Meta.Node, labels: entity.Meta.Joined,
				})
			}
		}
		hour := int(b.Time.Sub(t.raw) / time.Hour)
		for _, m := range measured() {
			values := make([]int64, pods)
			for len(w.hours[m.name]) <= hour {
				w.hours[m.name] = append(w.hours[m.name], make([]figures, pods))
			}
			for row := range values {
				value, ok := table.Get(m.id, metrics.Row(row))
				if !ok {
					return fmt.Errorf("the load has no %s of its pod %d", m.name, row)
				}
				values[row] = value
				w.hours[m.name][hour][row].add(figures{1, value, value})
			}
			w.values[m.name] = append(w.values[m.name], values)
		}
		return nil
	})
	return w, err
}

// truth returns what a metric came to in [from, to), by the group that key names.
func (w *world) truth(name string, from, to time.Time, key func(pod) string) map[string]figures {
	each := make([]figures, len(w.pods))
	for at := from; at.Before(to); {
		if end := at.Add(time.Hour); at.Equal(at.Truncate(time.Hour)) && !end.After(to) {
			hour := int(at.Sub(w.raw) / time.Hour)
			if at.Before(w.raw) {
				hour = (hour%dayHours + dayHours) % dayHours
			}
			for i := range each {
				each[i].add(w.hours[name][hour][i])
			}
			at = end
			continue
		}
		for i, value := range w.values[name][at.Sub(w.raw)/resolution] {
			each[i].add(figures{1, value, value})
		}
		at = at.Add(resolution)
	}
	all := map[string]figures{}
	for i, p := range w.pods {
		sum := all[key(p)]
		sum.add(each[i])
		all[key(p)] = sum
	}
	return all
}

// batchRecord is what the database knows of the batch of a window.
func batchRecord(at time.Time) metricdb.Record {
	return metricdb.BatchRecord(&metrics.Batch{Cluster: "default", Time: at, Resolution: resolution, Nodes: make([]metrics.NodeStatus, 30)})
}
