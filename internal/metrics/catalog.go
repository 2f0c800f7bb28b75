package metrics

import "strings"

// ID is the number of a metric of the catalog. It is stable within one build only:
// names are what travels.
type ID uint8

// The metrics of the catalog. Those after hiddenFirst are for our own use and in no
// listing.
const (
	Uptime ID = iota
	RestartCount

	CPUUsage
	CPUUsageRate
	CPURequest
	CPULimit
	CPUNodeCapacity
	CPUNodeAllocatable
	CPUNodeReservation
	CPUNodeUtilization

	MemoryUsage
	MemoryWorkingSet
	MemoryRSS
	MemoryCache
	MemoryPageFaults
	MemoryPageFaultsRate
	MemoryMajorPageFaults
	MemoryMajorPageFaultsRate
	MemoryRequest
	MemoryLimit
	MemoryNodeCapacity
	MemoryNodeAllocatable
	MemoryNodeReservation
	MemoryNodeUtilization

	NetworkRx
	NetworkRxRate
	NetworkRxErrors
	NetworkRxErrorsRate
	NetworkTx
	NetworkTxRate
	NetworkTxErrors
	NetworkTxErrorsRate

	EphemeralStorageUsage
	EphemeralStorageRequest
	EphemeralStorageLimit
	EphemeralStorageNodeCapacity
	EphemeralStorageNodeAllocatable
	EphemeralStorageNodeReservation
	EphemeralStorageNodeUtilization

	// Of a Filesystem row.
	FilesystemUsage
	FilesystemLimit
	FilesystemAvailable
	FilesystemInodes
	FilesystemInodesFree

	// Of a Disk row.
	DiskReadBytes
	DiskReadBytesRate
	DiskWriteBytes
	DiskWriteBytesRate

	// Of an Accelerator row.
	AcceleratorMemoryTotal
	AcceleratorMemoryUsed
	AcceleratorDutyCycle

	// Of a GPU row.
	GPUUsage

	// StartTime, CPUTime, MemoryTime, NetworkTime and DiskTime are Unix times in
	// nanoseconds: when collection of a set started (its counters' zero), and when each
	// of its sections was read. A rate needs the start and its section's time.
	StartTime
	CPUTime
	MemoryTime
	NetworkTime
	DiskTime
	// CPUNanoCores is the kubelet's own rate of CPU use over its last ten seconds or so,
	// in nanocores: used for a set's very first sample only, and kept in no frame.
	CPUNanoCores
	// PodsMissing, of namespaces and the cluster, is how many of their pods could not be
	// measured because their node did not answer. Sums are partial where it is above 0.
	PodsMissing

	// NumIDs is how many there are.
	NumIDs

	hiddenFirst = StartTime
)

// Type says how a metric's values relate in time.
type Type uint8

// The types of metrics.
const (
	Gauge Type = iota
	Cumulative
)

// String is the type's name in the export's schema.
func (t Type) String() string {
	if t == Cumulative {
		return "cumulative"
	}
	return "gauge"
}

// Descriptor tells what a metric is. Descriptors are shared and never changed.
type Descriptor struct {
	ID          ID // NumIDs of one that is not in the catalog, such as nvidia.com/gpu/request
	Name        string
	Description string
	Type        Type
	Float       bool   // its values are floats; integers otherwise
	Unit        string // "bytes", "ms", "ns", "millicores"; "" of counts and shares
	Labelled    bool   // its rows carry labels of their own: Filesystem, Disk, Accelerator, GPU
	Sums        bool   // Labelled, but sets above containers have the sum of what is below them, without labels

	// A rate is the change of the counter RateOf over the change of RateTime.
	RateOf, RateTime ID // NumIDs of what is no rate
}

// Hidden says that a metric is for our own use, and in no listing.
func (d *Descriptor) Hidden() bool { return d.ID >= hiddenFirst && d.ID < NumIDs }

// Rate says that d is the rate of a counter.
func (d *Descriptor) Rate() bool { return d.RateOf != NumIDs }

// Describe returns the descriptor of a metric of the catalog.
func Describe(id ID) *Descriptor { return &catalog[id] }

// Lookup returns the descriptor of the metric of the catalog with that name; hidden
// ones are found too.
func Lookup(name string) (*Descriptor, bool) {
	id, ok := byName[name]
	if !ok {
		return nil, false
	}
	return &catalog[id], true
}

// ResourceRequest describes the metric of requests for an extended resource, such
// as nvidia.com/gpu or hugepages-2Mi: an integer gauge "RESOURCE/request".
func ResourceRequest(resource string) *Descriptor {
	return &Descriptor{
		ID: NumIDs, Name: resource + "/request", Description: "Requests for " + resource,
		RateOf: NumIDs, RateTime: NumIDs,
	}
}

// aliases are names that old clients use.
var aliases = map[string]string{
	"cpu-usage":      "cpu/usage_rate",
	"cpu-limit":      "cpu/limit",
	"memory-limit":   "memory/limit",
	"memory-usage":   "memory/usage",
	"memory-working": "memory/working_set",
}

// Canonical returns the metric's name that name, which may be an old alias, means.
func Canonical(name string) string {
	if real, ok := aliases[name]; ok {
		return real
	}
	return strings.TrimSuffix(name, "/")
}

var catalog = makeCatalog()

var byName = func() map[string]ID {
	names := make(map[string]ID, NumIDs)
	for id := range NumIDs {
		names[catalog[id].Name] = id
	}
	return names
}()

// makeCatalog writes the catalog down: (spec: the units are the true ones, where the
// original's descriptors were sloppy).
func makeCatalog() (all [NumIDs]Descriptor) {
	add := func(id ID, d Descriptor) {
		d.ID = id
		if d.RateTime == 0 { // no metric has the time Uptime
			d.RateOf, d.RateTime = NumIDs, NumIDs
		}
		all[id] = d
	}
	gauge := func(id ID, name, unit, description string) {
		add(id, Descriptor{Name: name, Unit: unit, Description: description})
	}
	counter := func(id ID, name, unit, description string) {
		add(id, Descriptor{Name: name, Unit: unit, Description: description, Type: Cumulative})
	}
	share := func(id ID, name, unit, description string) {
		add(id, Descriptor{Name: name, Unit: unit, Description: description, Float: true})
	}
	rate := func(id, of, at ID, name, description string) {
		add(id, Descriptor{Name: name, Description: description, Float: true, RateOf: of, RateTime: at})
	}
	counter(Uptime, "uptime", "ms", "Milliseconds since the start")
	gauge(RestartCount, "restart_count", "", "Restarts of containers")

	counter(CPUUsage, "cpu/usage", "ns", "CPU time used on all cores")
	add(CPUUsageRate, Descriptor{Name: "cpu/usage_rate", Unit: "millicores", Description: "CPU use on all cores", RateOf: CPUUsage, RateTime: CPUTime})
	gauge(CPURequest, "cpu/request", "millicores", "CPU requested")
	gauge(CPULimit, "cpu/limit", "millicores", "CPU limit")
	share(CPUNodeCapacity, "cpu/node_capacity", "millicores", "CPU of the node")
	share(CPUNodeAllocatable, "cpu/node_allocatable", "millicores", "CPU of the node that pods may have")
	share(CPUNodeReservation, "cpu/node_reservation", "", "Share of the allocatable CPU that is requested")
	share(CPUNodeUtilization, "cpu/node_utilization", "", "Share of the allocatable CPU that is used")

	gauge(MemoryUsage, "memory/usage", "bytes", "Memory used, page cache included")
	gauge(MemoryWorkingSet, "memory/working_set", "bytes", "Memory used that cannot be reclaimed easily")
	gauge(MemoryRSS, "memory/rss", "bytes", "Anonymous memory")
	gauge(MemoryCache, "memory/cache", "bytes", "Page cache")
	counter(MemoryPageFaults, "memory/page_faults", "", "Page faults")
	rate(MemoryPageFaultsRate, MemoryPageFaults, MemoryTime, "memory/page_faults_rate", "Page faults per second")
	counter(MemoryMajorPageFaults, "memory/major_page_faults", "", "Major page faults")
	rate(MemoryMajorPageFaultsRate, MemoryMajorPageFaults, MemoryTime, "memory/major_page_faults_rate", "Major page faults per second")
	gauge(MemoryRequest, "memory/request", "bytes", "Memory requested")
	gauge(MemoryLimit, "memory/limit", "bytes", "Memory limit")
	share(MemoryNodeCapacity, "memory/node_capacity", "bytes", "Memory of the node")
	share(MemoryNodeAllocatable, "memory/node_allocatable", "bytes", "Memory of the node that pods may have")
	share(MemoryNodeReservation, "memory/node_reservation", "", "Share of the allocatable memory that is requested")
	share(MemoryNodeUtilization, "memory/node_utilization", "", "Share of the allocatable memory that is used")

	counter(NetworkRx, "network/rx", "bytes", "Bytes received")
	rate(NetworkRxRate, NetworkRx, NetworkTime, "network/rx_rate", "Bytes received per second")
	counter(NetworkRxErrors, "network/rx_errors", "", "Errors while receiving")
	rate(NetworkRxErrorsRate, NetworkRxErrors, NetworkTime, "network/rx_errors_rate", "Errors per second while receiving")
	counter(NetworkTx, "network/tx", "bytes", "Bytes sent")
	rate(NetworkTxRate, NetworkTx, NetworkTime, "network/tx_rate", "Bytes sent per second")
	counter(NetworkTxErrors, "network/tx_errors", "", "Errors while sending")
	rate(NetworkTxErrorsRate, NetworkTxErrors, NetworkTime, "network/tx_errors_rate", "Errors per second while sending")

	gauge(EphemeralStorageUsage, "ephemeral_storage/usage", "bytes", "Local ephemeral storage used")
	gauge(EphemeralStorageRequest, "ephemeral_storage/request", "bytes", "Local ephemeral storage requested")
	gauge(EphemeralStorageLimit, "ephemeral_storage/limit", "bytes", "Local ephemeral storage limit")
	share(EphemeralStorageNodeCapacity, "ephemeral_storage/node_capacity", "bytes", "Local ephemeral storage of the node")
	share(EphemeralStorageNodeAllocatable, "ephemeral_storage/node_allocatable", "bytes", "Local ephemeral storage of the node that pods may have")
	share(EphemeralStorageNodeReservation, "ephemeral_storage/node_reservation", "", "Share of the allocatable ephemeral storage that is requested")
	share(EphemeralStorageNodeUtilization, "ephemeral_storage/node_utilization", "", "Share of the allocatable ephemeral storage that is used")

	gauge(FilesystemUsage, "filesystem/usage", "bytes", "Bytes used of a filesystem")
	gauge(FilesystemLimit, "filesystem/limit", "bytes", "Size of a filesystem")
	gauge(FilesystemAvailable, "filesystem/available", "bytes", "Bytes left on a filesystem")
	gauge(FilesystemInodes, "filesystem/inodes", "", "Inodes of a filesystem")
	gauge(FilesystemInodesFree, "filesystem/inodes_free", "", "Inodes left on a filesystem")
	counter(DiskReadBytes, "disk/io_read_bytes", "bytes", "Bytes read from a device")
	rate(DiskReadBytesRate, DiskReadBytes, DiskTime, "disk/io_read_bytes_rate", "Bytes read from a device per second")
	counter(DiskWriteBytes, "disk/io_write_bytes", "bytes", "Bytes written to a device")
	rate(DiskWriteBytesRate, DiskWriteBytes, DiskTime, "disk/io_write_bytes_rate", "Bytes written to a device per second")
	gauge(AcceleratorMemoryTotal, "accelerator/memory_total", "bytes", "Memory of an accelerator")
	gauge(AcceleratorMemoryUsed, "accelerator/memory_used", "bytes", "Memory of an accelerator that is used")
	gauge(AcceleratorDutyCycle, "accelerator/duty_cycle", "", "Percent of the time that an accelerator is at work")
	gauge(GPUUsage, "gpu/usage", "MiB", "Memory of a GPU that is used")
	for id := FilesystemUsage; id <= GPUUsage; id++ {
		all[id].Labelled = true
	}
	all[GPUUsage].Sums = true

	gauge(StartTime, "krm/start_time", "ns", "When collection started")
	gauge(CPUTime, "krm/cpu_time", "ns", "When CPU was read")
	gauge(MemoryTime, "krm/memory_time", "ns", "When memory was read")
	gauge(NetworkTime, "krm/network_time", "ns", "When the network was read")
	gauge(DiskTime, "krm/disk_time", "ns", "When disk I/O was read")
	gauge(CPUNanoCores, "krm/cpu_nanocores", "nanocores", "The kubelet's own rate of CPU use")
	gauge(PodsMissing, "krm/pods_missing", "", "Pods whose node did not answer")
	return all
}
