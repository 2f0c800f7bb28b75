package billing

import (
	"regexp"
	"slices"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// longestMetric finds the metric with the longest known name that path begins with,
// whole segments only. A name of the kind of nvidia.com/gpu/request is taken for known:
// whether there is such a resource the database tells.
func longestMetric(path string) (*metrics.Descriptor, bool) {
	segments := strings.Split(path, "/")
	for n := min(len(segments), 8); n > 0; n-- {
		name := strings.Join(segments[:n], "/")
		if d, ok := metrics.Lookup(metrics.Canonical(name)); ok && !d.Hidden() {
			return d, true
		}
		if resource, ok := strings.CutSuffix(name, "/request"); ok && isResource(resource) {
			return metrics.ResourceRequest(resource), true
		}
	}
	return nil, false
}

// isResource says whether name can be that of an extended resource or of huge pages.
func isResource(name string) bool {
	ok, _ := regexp.MatchString(`^([a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?|hugepages-[0-9]+[A-Za-z]{1,2})$`, name)
	return ok
}

// metricNames are the names of the catalog, sorted.
func metricNames() (names []string) {
	for id := range metrics.NumIDs {
		if d := metrics.Describe(id); !d.Hidden() {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return names
}

// nearest returns the known names that are most like name, at most three.
func nearest(name string) []string {
	if len(name) > 64 {
		name = name[:64]
	}
	names := metricNames()
	far := make(map[string]int, len(names))
	for _, known := range names {
		far[known] = distance(name, known)
	}
	slices.SortStableFunc(names, func(a, b string) int { return far[a] - far[b] })
	return names[:3]
}

// distance is how many letters differ: Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}

// family is where a metric is stored and by what its rows are told apart.
type family struct {
	levels []metrics.Kind // where it is stored, the default level first
	rows   string         // the tag that tells rows of a set apart; "" if there is one
	gpu    bool           // rows are devices, of containers
}

// familyOf tells where a metric is stored: (spec: billing, section 2; heapster, 2.1).
func familyOf(d *metrics.Descriptor) family {
	const cluster, ns, node, pod, container = metrics.Cluster, metrics.Namespace, metrics.Node, metrics.Pod, metrics.Container
	first, _, _ := strings.Cut(d.Name, "/")
	switch {
	case strings.Contains(d.Name, "/node_"):
		return family{levels: []metrics.Kind{node}}
	case d.Name == "gpu/usage":
		return family{levels: []metrics.Kind{container, pod, ns, node, cluster}, rows: "gpu_uuid", gpu: true}
	case first == "accelerator":
		return family{levels: []metrics.Kind{container, node}, rows: "accelerator_id", gpu: true}
	case d.Labelled:
		return family{levels: []metrics.Kind{container, pod, node}, rows: "resource_id"}
	case first == "network":
		return family{levels: []metrics.Kind{pod, node}}
	}
	switch d.ID {
	case metrics.CPUUsageRate, metrics.MemoryUsage, metrics.CPURequest, metrics.CPULimit, metrics.MemoryRequest, metrics.MemoryLimit:
		return family{levels: []metrics.Kind{container, pod, ns, node, cluster}}
	case metrics.RestartCount, metrics.NumIDs:
		return family{levels: []metrics.Kind{container, pod}}
	}
	return family{levels: []metrics.Kind{container, pod, node}}
}

// levelName is a level as clients name it.
func levelName(level metrics.Kind) string {
	return [...]string{"cluster", "namespace", "node", "pod", "container"}[level]
}

// unitOf is a metric's unit as answers say it.
func unitOf(d *metrics.Descriptor) string {
	switch {
	case d.Rate() && d.Unit == "":
		if of := metrics.Describe(d.RateOf).Unit; of != "" {
			return of + "/s"
		}
		return "1/s"
	case d.ID == metrics.AcceleratorDutyCycle:
		return "percent"
	case d.Unit != "":
		return d.Unit
	case d.Float:
		return "share"
	}
	return "count"
}

// integralUnit is the unit of a metric's integral, and the number that value × seconds
// is divided by to come to it. Counters have their increase, in their own unit. A rate
// by the second comes to what it counts.
func integralUnit(d *metrics.Descriptor) (unit string, seconds int64) {
	switch {
	case d.Type == metrics.Cumulative:
		return unitOf(d), 0
	case d.Unit == "millicores":
		return "core-hours", 1000 * 3600
	case d.Unit == "bytes":
		return "GiB-hours", 3600 << 30
	case d.Unit == "MiB":
		return "GiB-hours", 3600 << 10
	case d.Rate():
		return strings.TrimSuffix(strings.Replace(unitOf(d), "1/s", "count", 1), "/s"), 1
	}
	return unitOf(d) + "-hours", 3600
}
