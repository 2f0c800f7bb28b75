package process

import (
	"math"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The resources that have metrics of their own in the catalog. All others have one
// of requests only, named after them.
const (
	cpu = iota
	memory
	ephemeralStorage
	standard // how many there are
)

func standardResource(name string) (int, bool) {
	switch name {
	case "cpu":
		return cpu, true
	case "memory":
		return memory, true
	case "ephemeral-storage":
		return ephemeralStorage, true
	}
	return 0, false
}

// amounts are requests or limits, of the standard resources.
type amounts [standard]int64

// resourceColumns are the columns of requests and limits of one table.
type resourceColumns struct {
	table            *metrics.Table
	requests, limits [standard]*metrics.Column
	extended         map[string]*metrics.Column // requests, by resource
}

func newResourceColumns(t *metrics.Table) resourceColumns {
	c := func(id metrics.ID) *metrics.Column { return t.Make(metrics.Describe(id)) }
	return resourceColumns{
		table:    t,
		requests: [standard]*metrics.Column{c(metrics.CPURequest), c(metrics.MemoryRequest), c(metrics.EphemeralStorageRequest)},
		limits:   [standard]*metrics.Column{c(metrics.CPULimit), c(metrics.MemoryLimit), c(metrics.EphemeralStorageLimit)},
		extended: map[string]*metrics.Column{},
	}
}

// set sets row's requests and limits; what is not set is 0.
func (c *resourceColumns) set(row metrics.Row, r objects.Resources) {
	var requests, limits amounts
	for _, q := range r.Requests {
		if i, ok := standardResource(q.Resource); ok {
			requests[i] = q.Value
		} else {
			c.setExtended(row, q)
		}
	}
	for _, q := range r.Limits {
		if i, ok := standardResource(q.Resource); ok {
			limits[i] = q.Value
		}
	}
	c.setStandard(row, requests, limits)
}

func (c *resourceColumns) setStandard(row metrics.Row, requests, limits amounts) {
	for i := range standard {
		c.requests[i].Set(row, requests[i])
		c.limits[i].Set(row, limits[i])
	}
}

func (c *resourceColumns) setExtended(row metrics.Row, q objects.Quantity) {
	column := c.extended[q.Resource]
	if column == nil {
		column = c.table.Make(metrics.ResourceRequest(q.Resource))
		c.extended[q.Resource] = column
	}
	column.Set(row, q.Value)
}

// podColumns are the columns that enrichment fills of pods and containers.
type podColumns struct {
	pods, containers resourceColumns
	restarts         *metrics.Column
	total            objects.Resources // a pod's, in the making
}

func newPodColumns(b *metrics.Batch) *podColumns {
	containers := b.Tables[metrics.Container]
	return &podColumns{
		pods:       newResourceColumns(b.Tables[metrics.Pod]),
		containers: newResourceColumns(containers),
		restarts:   containers.Make(metrics.Describe(metrics.RestartCount)),
	}
}

// setPod sets what a pod as a whole requests and may use.
func (p *podColumns) setPod(row metrics.Row, pod *objects.Pod) {
	if len(pod.Containers) == 1 && len(pod.Resources.Requests)+len(pod.Resources.Limits)+len(pod.Overhead) == 0 {
		p.pods.set(row, pod.Containers[0].Resources)
		return
	}
	p.total.Requests, p.total.Limits = p.total.Requests[:0], p.total.Limits[:0]
	total(pod, &p.total)
	p.pods.set(row, p.total)
}

// total puts into r, which is empty, what a pod requests as the scheduler counts it:
// the sum of its containers and sidecars, or the pod's own request (KEP-2837) where
// that is more, and the runtime class's overhead (KEP-688) on top. Init containers
// that end do not count: they hold nothing any more.
//
// The pod's own limit replaces the containers' sum, since it is what binds them
// together; overhead is added to limits that there are.
func total(pod *objects.Pod, r *objects.Resources) {
	for i := range pod.Containers {
		for _, q := range pod.Containers[i].Resources.Requests {
			to := amount(&r.Requests, q.Resource)
			*to = add(*to, q.Value)
		}
		for _, q := range pod.Containers[i].Resources.Limits {
			to := amount(&r.Limits, q.Resource)
			*to = add(*to, q.Value)
		}
	}
	for _, q := range pod.Resources.Requests {
		to := amount(&r.Requests, q.Resource)
		*to = max(*to, q.Value)
	}
	for _, q := range pod.Resources.Limits {
		*amount(&r.Limits, q.Resource) = q.Value
	}
	for _, q := range pod.Overhead {
		to := amount(&r.Requests, q.Resource)
		*to = add(*to, q.Value)
		if limit := amount(&r.Limits, q.Resource); *limit != 0 {
			*limit = add(*limit, q.Value)
		}
	}
}

// amount is where list has the resource; it is put in if it was not there.
func amount(list *[]objects.Quantity, resource string) *int64 {
	for i := range *list {
		if (*list)[i].Resource == resource {
			return &(*list)[i].Value
		}
	}
	*list = append(*list, objects.Quantity{Resource: resource})
	return &(*list)[len(*list)-1].Value
}

// add adds, and stays at the end of the range where the sum would leave it.
func add(a, b int64) int64 {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}
