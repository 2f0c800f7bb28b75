package process

import (
	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// share is how one resource of nodes is told.
type share struct {
	resource                                        string
	request, use                                    metrics.ID
	capacity, allocatable, reservation, utilization metrics.ID
}

func shares() []share {
	return []share{
		{
			"cpu", metrics.CPURequest, metrics.CPUUsageRate,
			metrics.CPUNodeCapacity, metrics.CPUNodeAllocatable, metrics.CPUNodeReservation, metrics.CPUNodeUtilization,
		},
		{
			"memory", metrics.MemoryRequest, metrics.MemoryUsage,
			metrics.MemoryNodeCapacity, metrics.MemoryNodeAllocatable, metrics.MemoryNodeReservation, metrics.MemoryNodeUtilization,
		},
		{
			"ephemeral-storage", metrics.EphemeralStorageRequest, metrics.EphemeralStorageUsage,
			metrics.EphemeralStorageNodeCapacity, metrics.EphemeralStorageNodeAllocatable, metrics.EphemeralStorageNodeReservation, metrics.EphemeralStorageNodeUtilization,
		},
	}
}

// Shares gives nodes their capacity, what pods may have of it, and which shares of
// that are requested and used: 0 as long as neither is known, and no shares of
// nothing. A resource counts only if the node names it in both its capacity and what
// is allocatable.
func Shares(b *metrics.Batch, look *objects.View) {
	table := b.Tables[metrics.Node]
	for row := range table.Rows {
		node := look.Node(table.Entities[row].Name)
		if node == nil {
			continue
		}
		for _, s := range shares() {
			capacity, ok := quantity(node.Capacity, s.resource)
			allocatable, also := quantity(node.Allocatable, s.resource)
			if !ok || !also {
				continue
			}
			table.Set(s.capacity, row, metrics.FloatBits(float64(capacity)))
			table.Set(s.allocatable, row, metrics.FloatBits(float64(allocatable)))
			if allocatable <= 0 {
				continue
			}
			request, _ := table.Get(s.request, row)
			use, _ := table.Get(s.use, row)
			table.Set(s.reservation, row, metrics.FloatBits(float64(request)/float64(allocatable)))
			table.Set(s.utilization, row, metrics.FloatBits(float64(use)/float64(allocatable)))
		}
	}
}

func quantity(list []objects.Quantity, resource string) (int64, bool) {
	for _, q := range list {
		if q.Resource == resource {
			return q.Value, true
		}
	}
	return 0, false
}
