package sink

import (
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// family is a metric of one level as Prometheus wants it: base units, the unit in the
// name.
type family struct {
	name    string // krm_container_cpu_usage_seconds, without _total
	unit    string // seconds, bytes, cores, ratio; "" of counts
	counter bool
	divisor float64 // from KRM's unit to Prometheus'
	label   string  // `resource="nvidia.com/gpu"`, of metrics that share a family
}

// familyOf names the metric d of a level: krm_LEVEL_METRIC_UNIT, with _total of
// counters. Slashes become underscores, and what is said twice goes:
//
//	cpu/usage             krm_pod_cpu_usage_seconds_total
//	cpu/usage_rate        krm_pod_cpu_usage_cores
//	memory/working_set    krm_pod_memory_working_set_bytes
//	network/rx_rate       krm_pod_network_rx_bytes_per_second
//	cpu/node_utilization  krm_node_cpu_utilization_ratio
//	nvidia.com/gpu/request krm_pod_resource_request{resource="nvidia.com/gpu"}
func familyOf(d *metrics.Descriptor, level metrics.Kind) family {
	f := family{counter: d.Type == metrics.Cumulative && d.ID != metrics.Uptime}
	f.unit, f.divisor = baseUnit(d)
	name := strings.ReplaceAll(strings.Replace(d.Name, "/node_", "/", 1), "/", "_")
	switch {
	case d.ID == metrics.NumIDs:
		resource := strings.TrimSuffix(d.Name, "/request")
		name, f.unit, f.label = "resource_request", "", `resource="`+escape(resource)+`"`
	case d.ID == metrics.RestartCount:
		name = "restarts"
	case d.ID == metrics.PodsMissing:
		name = "pods_missing"
	case d.ID == metrics.CPUUsageRate:
		name = "cpu_usage"
	case d.Rate():
		name = strings.TrimSuffix(name, "_rate")
		if metrics.Describe(d.RateOf).Unit == "bytes" {
			name = strings.TrimSuffix(name, "_bytes") + "_bytes"
		}
		f.unit = ""
		name += "_per_second"
	}
	if f.unit != "" {
		name = strings.TrimSuffix(name, "_"+f.unit) + "_" + f.unit
	}
	f.name = "krm_" + levelWord(level) + "_" + name
	return f
}

// baseUnit is a metric's unit in Prometheus' manner.
func baseUnit(d *metrics.Descriptor) (unit string, divisor float64) {
	switch {
	case d.ID == metrics.AcceleratorDutyCycle:
		return "ratio", 100
	case d.Unit == "ns":
		return "seconds", 1e9
	case d.Unit == "ms":
		return "seconds", 1e3
	case d.Unit == "millicores":
		return "cores", 1e3
	case d.Unit == "MiB":
		return "bytes", 1.0 / (1 << 20)
	case d.Unit == "" && d.Float && !d.Rate():
		return "ratio", 1
	}
	return d.Unit, 1
}

func levelWord(level metrics.Kind) string {
	switch level {
	case metrics.Namespace:
		return "namespace"
	case metrics.Container:
		return "container"
	case metrics.SystemContainer:
		return "system_container"
	}
	return level.String()
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func escape(value string) string {
	if !strings.ContainsAny(value, "\\\"\n") {
		return value
	}
	return escaper.Replace(value)
}
