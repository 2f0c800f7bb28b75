package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// fixturesRoot is where the recorded cluster's model stands.
const fixturesRoot = "/clusters/fixtures/api/v1/model"

// vector is a value that the recorded nodes must give, whenever they are asked.
type vector struct {
	path  string // below fixturesRoot
	value int64
	float float64 // if it is not 0, floatValue must be this, and value its whole part
	none  bool    // there must be no point at all
}

// vectors are the values that the original gave for these nodes, and what follows
// from the recordings where the original was wrong or had nothing.
func vectors() []vector {
	v := func(path string, value int64) vector { return vector{path: path, value: value} }
	float := func(path string, value float64) vector { return vector{path: path, value: int64(value), float: value} }
	none := func(path string) vector { return vector{path: path, none: true} }
	const (
		a, web0, web1, dns = "/nodes/node-a", "/namespaces/default/pods/web-0", "/namespaces/default/pods/web-1", "/namespaces/kube-system/pods/dns"
		root, logs         = "?labels=resource_id:/", "?labels=resource_id:logs"
	)
	return []vector{
		v("/metrics/cpu/usage_rate", 368),
		v("/metrics/memory/usage", 119000000),
		v("/metrics/cpu/request", 250), v("/metrics/cpu/limit", 500),
		v("/metrics/memory/request", 207618048), v("/metrics/memory/limit", 312475648),
		v("/namespaces/default/metrics/memory/usage", 99000000), v("/namespaces/kube-system/metrics/memory/usage", 20000000),
		v("/namespaces/default/metrics/cpu/usage_rate", 358), v("/namespaces/kube-system/metrics/cpu/usage_rate", 10),
		none("/namespaces/other/metrics/cpu/request"), // its only pod is pending, and no kubelet reports it

		v(a+"/metrics/cpu/usage_rate", 1500), v(a+"/metrics/cpu/request", 150), v(a+"/metrics/memory/request", 140509184),
		float(a+"/metrics/cpu/node_reservation", 0.039473684210526314), float(a+"/metrics/cpu/node_utilization", 0.39473684210526316),
		float(a+"/metrics/cpu/node_capacity", 4000), float(a+"/metrics/cpu/node_allocatable", 3800),
		float(a+"/metrics/memory/node_reservation", 0.018694196428571428), float(a+"/metrics/memory/node_utilization", 0.39913824626377653),
		float(a+"/metrics/memory/node_capacity", 8<<30), float(a+"/metrics/memory/node_allocatable", 7<<30),
		float(a+"/metrics/network/rx_rate", 1000), float(a+"/metrics/network/tx_rate", 2000),
		float(a+"/metrics/memory/page_faults_rate", 100), float(a+"/metrics/memory/major_page_faults_rate", 1),
		v(a+"/metrics/network/rx_errors", 3),
		v(a+"/metrics/filesystem/usage"+root, 4000), none(a + "/metrics/filesystem/usage"), none(a + "/metrics/filesystem/usage?labels=resource_id:/,more:1"),
		v(a+"/metrics/filesystem/inodes_free"+root, 70), v(a+"/metrics/ephemeral_storage/usage", 4000),
		v("/nodes/host-a/metrics/cpu/usage_rate", 1500), // a hostname is as good
		none("/nodes/node-c/metrics/cpu/usage_rate"),    // it is not ready

		v(web0+"/metrics/cpu/usage_rate", 255), v(web0+"/metrics/memory/usage", 58000000), v(web0+"/metrics/restart_count", 3),
		v(web0+"/metrics/nvidia.com/gpu/request", 1), v(web0+"/metrics/cpu/request", 150), v(web0+"/metrics/ephemeral_storage/usage", 222),
		float(web0+"/metrics/network/rx_rate", 100), v(web0+"/metrics/filesystem/usage?labels=resource_id:Volume:data", 2),
		v(web1+"/metrics/cpu/usage_rate", 103), v(web1+"/metrics/cpu/limit", 0),
		v(dns+"/metrics/cpu/usage_rate", 10), v(dns+"/metrics/memory/usage", 20000000), none(dns + "/metrics/cpu/usage"),

		v(web0+"/containers/app/metrics/cpu/usage_rate", 200), v(web0+"/containers/app/metrics/ephemeral_storage/usage", 111),
		v(web0+"/containers/side/metrics/cpu/usage_rate", 50), v(web0+"/containers/side/metrics/nvidia.com/gpu/request", 1),
		v(web0+"/containers/app/metrics/filesystem/usage"+root, 100), v(web0+"/containers/app/metrics/filesystem/usage"+logs, 11),
		v(web0+"/containers/app/metrics/memory/cache", 5000000), // a tenth: test/kubelets says so in /metrics/cadvisor
		float(web0+"/containers/app/metrics/disk/io_write_bytes_rate?labels=resource_id:/dev/vda", 4096),
		float(web0+"/containers/app/metrics/disk/io_read_bytes_rate?labels=resource_id:/dev/vda", 8192),
		v(a+"/freecontainers/docker-daemon/metrics/memory/usage", 4000), v(a+"/freecontainers/runtime/metrics/memory/usage", 4000),
		v(a+"/freecontainers/docker-daemon/metrics/cpu/usage_rate", 40), v(a+"/freecontainers/system/metrics/cpu/usage_rate", 5),
		v(a+"/freecontainers/misc/metrics/cpu/usage_rate", 5), v(a+"/freecontainers/kubelet/metrics/ephemeral_storage/usage", 111),

		v(web0+"/containers/side/metrics/gpu/usage?labels=gpu_index:0,gpu_name:Tesla%20T4,gpu_uuid:GPU-0001", 2048),
		v(web0+"/containers/side/metrics/accelerator/duty_cycle?labels=accelerator_id:GPU-0001,make:nvidia,model:Tesla%20T4", 42),
		v(web0+"/containers/side/metrics/accelerator/memory_used?labels=accelerator_id:GPU-0001,make:nvidia,model:Tesla%20T4", 2048<<20),
		v(web0+"/containers/side/metrics/accelerator/memory_total?labels=accelerator_id:GPU-0001,make:nvidia,model:Tesla%20T4", 15048<<20),
		v(a+"/metrics/gpu/usage?labels=gpu_index:1,gpu_name:Tesla%20T4,gpu_uuid:GPU-0002", 3), // nobody holds it
		v("/metrics/gpu/usage", 2048), v("/namespaces/default/metrics/gpu/usage", 2048), v(web0+"/metrics/gpu/usage", 2048),
		v(a+"/metrics/gpu/usage", 2051), // with what nobody holds
		none(web0 + "/containers/side/metrics/gpu/usage"), none(web1 + "/metrics/gpu/usage"),
		none("/namespaces/kube-system/metrics/gpu/usage"), none("/nodes/node-b/metrics/gpu/usage"),
	}
}

// check asks for the vector.
func (v vector) check(ctx context.Context, from *asker) error {
	var s series
	if _, err := from.get(ctx, fixturesRoot+v.path, &s); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("%s: %w", v.path, err)
	}
	last, ok := s.last()
	switch {
	case v.none && ok:
		return fmt.Errorf("%s: %d points, and there should be none", v.path, len(s.Metrics))
	case v.none:
		return nil
	case !ok:
		return fmt.Errorf("%s: no point", v.path)
	case last.Value.String() != strconv.FormatInt(v.value, 10):
		return fmt.Errorf("%s: %v, want %d", v.path, last.Value, v.value)
	case time.Since(last.Timestamp) > 6*resolution:
		return fmt.Errorf("%s: the last point is of %v", v.path, last.Timestamp)
	case v.float == 0 && last.FloatValue != nil:
		return fmt.Errorf("%s: floatValue %v of an integer", v.path, *last.FloatValue)
	case v.float != 0 && last.FloatValue == nil:
		return fmt.Errorf("%s: no floatValue", v.path)
	case v.float != 0 && math.Abs(*last.FloatValue-v.float) > 1e-12*math.Abs(v.float):
		return fmt.Errorf("%s: floatValue %v, want %v", v.path, *last.FloatValue, v.float)
	}
	return nil
}

// vectorsPart waits until the recorded cluster is complete, and then checks each.
func vectorsPart(ctx context.Context, h *house, r *result) error {
	err := process.Poll(ctx, 40*time.Second, "two batches of the recorded nodes", func(ctx context.Context) error {
		return errors.Join(
			vector{path: "/metrics/cpu/usage_rate", value: 368}.check(ctx, h.model),
			vector{path: "/namespaces/default/pods/web-0/metrics/network/rx_rate", value: 100, float: 100}.check(ctx, h.model),
		)
	})
	if err != nil {
		r.fault("%v", err) // which of them are wrong is still worth knowing
	}
	for _, v := range vectors() {
		err := v.check(ctx, h.model)
		if r.vectors.add(err); err != nil {
			r.fault("vector %v", err)
		}
	}
	h.say("%v values of the recorded nodes are right", r.vectors)
	return nil
}
