package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// endpoint is a request with what must come of it.
type endpoint struct {
	method  string
	path    string
	headers []string
	check   check
	of      *asker // nil is the API server
}

func (e endpoint) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.method, e.path, strings.Join(e.headers, " ")))
}

func (e endpoint) run(ctx context.Context, model *asker) error {
	from := model
	if e.of != nil {
		from = e.of
	}
	got, err := from.ask(ctx, e.method, e.path, e.headers...)
	if err == nil {
		err = e.check(got)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", e, err)
	}
	return nil
}

func get(path string, c check) endpoint {
	return endpoint{method: http.MethodGet, path: path, check: c}
}

// endpoints are all of section 1 of the specification.
func endpoints(h *house) (all []endpoint) {
	all = append(all, modelEndpoints()...)
	all = append(all, recordedEndpoints()...)
	all = append(all, ruleEndpoints()...)
	all = append(all, exportEndpoints()...)
	all = append(all, resourceEndpoints()...)
	return append(all, operationEndpoints(h)...)
}

// emptyEndpoints are some of the model's paths before the first batch: nothing is there,
// and that is no error.
func emptyEndpoints() []endpoint {
	const root = "/api/v1/model"
	return []endpoint{
		get(root+"/nodes/", exactly()),
		get(root+"/namespaces/", exactly()),
		get(root+"/metrics/", exactly()),
		get(root+"/debug/allkeys", exactly()),
		get(root+"/metrics/cpu/usage_rate", points(0)),
		get(root+"/namespaces/default/pod-list/a,b/metrics/cpu/usage_rate", eachSeries(0, 0)),
		get("/api/v1/metric-export", says(200, "null")),
		get("/clusters", exactly()),
	}
}

// modelEndpoints are the model's paths, of the simulated nodes.
func modelEndpoints() []endpoint {
	const (
		root      = "/api/v1/model"
		node      = root + "/nodes/" + good
		namespace = root + "/namespaces/" + space
		pod       = namespace + "/pods/web-0"
		container = pod + "/containers/main"
		free      = node + "/freecontainers/kubelet"
		keyOfPod  = "namespace:" + space + "/pod:web-0"
	)
	return []endpoint{
		get(root+"/metrics/", has("cpu/limit", "cpu/request", "cpu/usage_rate", "memory/limit", "memory/request", "memory/usage")),
		get(root+"/metrics/cpu/usage_rate", points(1)),
		get(root+"/nodes/", has(good, otherGood)),
		get(node+"/metrics/", has("cpu/usage_rate", "cpu/node_utilization", "filesystem/usage", "memory/working_set", "network/rx_rate", "uptime")),
		get(node+"/metrics/cpu/usage_rate", points(1)),
		get(root+"/namespaces/", has(space)),
		get(namespace+"/metrics/", has("cpu/limit", "cpu/request", "cpu/usage_rate", "memory/limit", "memory/request", "memory/usage")),
		get(namespace+"/metrics/memory/usage", points(2)),
		get(namespace+"/pods/", has("web-0", "web-1", "web-2", "web-3")),
		get(pod+"/metrics/", has("cpu/usage", "cpu/usage_rate", "ephemeral_storage/usage", "memory/working_set", "network/tx", "network/tx_rate", "restart_count")),
		get(pod+"/metrics/memory/working_set", points(2)),
		get(pod+"/containers/", exactly("main", "side")),
		get(container+"/metrics/", has("cpu/request", "cpu/usage_rate", "filesystem/usage", "memory/limit", "memory/rss")),
		get(container+"/metrics/cpu/usage_rate", points(1)),
		get(node+"/freecontainers/", exactly("docker-daemon", "kubelet", "pods")),
		get(free+"/metrics/", has("cpu/usage", "cpu/usage_rate", "memory/usage")),
		get(free+"/metrics/cpu/usage_rate", points(1)),
		get(namespace+"/pod-list/web-0,web-3,nosuch,web-0/metrics/memory/usage", eachSeries(2, 2, 0, 2)),
		get(root+"/debug/allkeys", has("cluster", "node:"+good, "node:"+good+"/container:kubelet", "namespace:"+space, keyOfPod, keyOfPod+"/container:main")),
		get("/clusters/default/api/v1/model/namespaces/"+space+"/pods/web-0/metrics/memory/usage", points(2)),
		get("/clusters", exactly("default", "fixtures")),
	}
}

// recordedEndpoints are the same of the recorded nodes, where it is known what there is.
func recordedEndpoints() []endpoint {
	const root = fixturesRoot
	return []endpoint{
		get(root+"/nodes/", exactly("node-a", "node-b")),
		get(root+"/namespaces/", exactly("default", "kube-system")),
		get(root+"/namespaces/default/pods/", exactly("web-0", "web-1")),
		get(root+"/namespaces/other/pods/", exactly()),
		get(root+"/namespaces/default/pods/web-0/containers/", exactly("app", "side")),
		get(root+"/nodes/node-a/freecontainers/", exactly("docker-daemon", "kubelet", "pods", "system")),
		get(root+"/nodes/host-a/freecontainers/", exactly("docker-daemon", "kubelet", "pods", "system")),
		get(root+"/metrics/", exactly("cpu/limit", "cpu/request", "cpu/usage_rate", "gpu/usage", "memory/limit", "memory/request", "memory/usage")),
		get(root+"/namespaces/default/pods/web-0/containers/app/metrics/", has("disk/io_write_bytes", "filesystem/available", "memory/cache")),
		get(root+"/namespaces/default/pod-list/web-0,web-1,nosuch/metrics/cpu/usage_rate", eachSeries(1, 1, 0)),
		get(root+"/debug/allkeys", has("cluster", "namespace:kube-system/pod:dns/container:dns", "node:node-b/container:system")),
		get("/clusters/nosuch/api/v1/model/nodes/", says(404, "nosuch")),
	}
}

// ruleEndpoints are what section 1.1 says of all paths.
func ruleEndpoints() []endpoint {
	const (
		root   = fixturesRoot
		series = root + "/nodes/node-a/metrics/memory/usage"
		badEnd = ` as "2006-01-02T15:04:05Z07:00": cannot parse "bad" as "2006"`
	)
	at := func(d time.Duration) string { return url.QueryEscape(time.Now().Add(d).UTC().Format(time.RFC3339Nano)) }
	all := []endpoint{
		get(root+"/nodes", exactly("node-a", "node-b")),
		get(series+"/", points(2)),
		get(root+"/nodes/node-a/metrics/memory%2Fusage", points(2)),
		get("//api/v1/model/nodes/", status(http.StatusMovedPermanently)),
		get("/api/v1/model", text(404, "404: Page Not Found")),
		get("/api/v1/model/", text(404, "404: Page Not Found")),
		get("/api/v1/model/nothing", text(404, "404: Page Not Found")),
		get(root+"/namespaces/default/pod-list/web-0/metrics/", text(404, "404: Page Not Found")),
		get(root+"/nodes/node-a/freecontainers/a/b/metrics/", text(404, "404: Page Not Found")),
		// What is not known is no error.
		get(root+"/nodes/nosuch/metrics/", exactly()),
		get(root+"/nodes/nosuch/metrics/cpu/usage_rate", points(0)),
		get(root+"/nodes/node-a/metrics/no/such", points(0)),
		get(root+"/namespaces/nosuch/pods/", exactly()),
		get(root+"/namespaces/default/pods/nosuch/metrics/cpu/usage_rate", points(0)),
		get(root+"/namespaces/default/pods/web-0/containers/nosuch/metrics/", exactly()),
		get(root+"/nodes/nosuch/freecontainers/", exactly()),
		// Spans.
		get(series+"?start="+at(-time.Hour)+"&end="+at(time.Minute), points(2)),
		get(series+"?start="+url.QueryEscape(time.Now().Add(-time.Hour).In(time.FixedZone("", 7200)).Format(time.RFC3339)), points(2)),
		get(series+"?end="+at(-time.Hour), points(0)),
		get(series+"?start="+at(time.Minute)+"&end="+at(-time.Minute), points(0)),
		get(series+"?start=bad", text(400, `timestamp argument cannot be parsed: parsing time "bad"`+badEnd)),
		get(series+"?end=bad", text(400, `timestamp argument cannot be parsed: parsing time "bad"`+badEnd)),
		get(series+"?start=2026-11-21T16:00:00+02:00", says(400, "timestamp argument cannot be parsed")), // the plus is a space
		get(root+"/namespaces/default/pod-list/web-0/metrics/cpu/usage_rate?start=bad", says(400, "timestamp argument cannot be parsed")),
		// Labels.
		get(series+"?labels=resource_id", text(400, `invalid label pair "resource_id"`)),
		get(series+"?labels=:v", text(400, `invalid label pair ":v"`)),
		get(series+"?labels=k:", text(400, `invalid label pair "k:"`)),
		get(series+"?labels=a:b", points(0)),
		get(root+"/nodes/node-a/metrics/filesystem/usage?labels=resource_id:nosuch", points(0)),
		get(root+"/nodes/node-a/metrics/filesystem/usage?list=labels", says(200, "resource_id", "/")),
		get(root+"/namespaces/default/pod-list/web-0,web-1/metrics/filesystem/usage?labels=resource_id:Volume:data", eachSeries(2, 0)),
	}
	for alias, name := range map[string]string{
		"cpu-usage": "cpu/usage_rate", "cpu-limit": "cpu/limit", "memory-limit": "memory/limit", "memory-usage": "memory/usage", "memory-working": "memory/working_set",
	} {
		all = append(all, get(root+"/namespaces/default/pods/web-0/metrics/"+alias, points(1)), get(root+"/namespaces/default/pods/web-0/metrics/"+name, points(1)))
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		all = append(all, endpoint{method: method, path: "/api/v1/model/nodes/", check: text(405, "405: Method Not Allowed")})
	}
	for accept, c := range map[string]check{
		"application/json": points(2), "*/*": points(2), "text/html, application/*;q=0.5": points(2),
		"application/xml": text(406, "406: Not Acceptable"),
	} {
		all = append(all, endpoint{method: http.MethodGet, path: series, headers: []string{"Accept", accept}, check: c})
	}
	for _, encoding := range []string{"gzip", "deflate"} {
		all = append(all, endpoint{
			method: http.MethodGet, path: root + "/debug/allkeys", headers: []string{"Accept-Encoding", encoding}, check: packed(encoding, has("cluster")),
		})
	}
	return all
}

func exportEndpoints() []endpoint {
	schema := reads(func(s struct {
		Metrics []struct {
			Name, Description, Type, Units string
			ValueType                      string `json:"value_type"`
		}
		CommonLabels []struct{ Key string } `json:"common_labels"`
		PodLabels    []struct{ Key string } `json:"pod_labels"`
	},
	) error {
		names := map[string]string{}
		for _, m := range s.Metrics {
			names[m.Name] = m.Type + " " + m.ValueType + " " + m.Units
		}
		for name, want := range map[string]string{
			"uptime": "cumulative int64 ms", "cpu/usage": "cumulative int64 ns", "memory/usage": "gauge int64 bytes",
			"cpu/limit": "gauge int64 millicores", "filesystem/usage": "gauge int64 bytes", "network/rx_errors": "cumulative int64 ",
		} {
			if names[name] != want {
				return fmt.Errorf("%s is %q, want %q", name, names[name], want)
			}
		}
		if len(s.CommonLabels) == 0 || len(s.PodLabels) == 0 {
			return errors.New("no labels")
		}
		return nil
	})
	return []endpoint{
		get("/api/v1/metric-export", reads(export)),
		get("/clusters/fixtures/api/v1/metric-export", reads(exportOfWeb0)),
		{method: http.MethodGet, path: "/clusters/fixtures/api/v1/metric-export", headers: []string{"Accept-Encoding", "gzip"}, check: packed("gzip", reads(exportOfWeb0))},
		get("/api/v1/metric-export-schema", schema),
		{method: http.MethodPost, path: "/api/v1/metric-export", check: text(405, "405: Method Not Allowed")},
	}
}

// operationEndpoints are those that tell how the collection goes.
func operationEndpoints(h *house) []endpoint {
	of := func(path string, c check) endpoint {
		return endpoint{method: http.MethodGet, path: path, check: c, of: h.collector}
	}
	nodes := func(names ...string) check {
		return reads(func(n nodesAnswer) error {
			for _, name := range names {
				if one, ok := n.node(name); !ok || !one.Success || time.Since(one.LastAt) > 6*resolution {
					return fmt.Errorf("node %s: %+v", name, one)
				}
			}
			if len(n.Batches) < 2 || n.At.IsZero() {
				return fmt.Errorf("%d batches until %v", len(n.Batches), n.At)
			}
			return nil
		})
	}
	return []endpoint{
		get("/krm/v1/metrics/nodes", nodes(good, otherGood)),
		get("/krm/v1/metrics/nodes?cluster=fixtures", nodes("node-a", "node-b")),
		get("/krm/v1/metrics/nodes?cluster=fixtures", reads(func(n nodesAnswer) error {
			if one, ok := n.node("node-c"); !ok || one.Success || one.Reason != "not ready" {
				return fmt.Errorf("node-c: %+v", one)
			}
			return nil
		})),
		get(fixturesRoot+"/metrics/cpu/usage_rate", header("Krm-Metrics-At", "Z")),
		of("/healthz", status(200)),
		of("/readyz", status(200)),
		of("/metrics", says(200, `krm_node_scrape_success{cluster="default",node="`+good+`"} 1`, `krm_node_scrape_success{cluster="fixtures",node="node-c"} 0`, "krm_node_scrape_age_seconds", "krm_sink_dropped_total")),
		of("/metrics/resource-model", all(
			header("Content-Type", "application/openmetrics-text"),
			says(200, "# TYPE krm_container_cpu_usage_seconds counter", "krm_container_memory_working_set_bytes{", `cluster="fixtures"`, `pod="web-0"`, "# EOF\n"),
		)),
	}
}

// threeBatches waits until all that there will be of the simulated nodes is there.
func (h *house) threeBatches(ctx context.Context) error {
	return process.Poll(ctx, 8*resolution, "three batches, and all nodes in the newest", func(ctx context.Context) error {
		var got nodesAnswer
		if _, err := h.model.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
			return err
		}
		if len(got.Batches) < 3 {
			return fmt.Errorf("%d batches", len(got.Batches))
		}
		return errors.Join(h.allWell(ctx), rateAt(ctx, h.model, good, got.At), rateAt(ctx, h.model, otherGood, got.At))
	})
}

// endpointsPart asks for everything, and then as kubectl and an autoscaler do.
func endpointsPart(ctx context.Context, h *house, r *result) error {
	if err := h.threeBatches(ctx); err != nil {
		r.fault("%v", err) // what is wrong is still worth knowing
	}
	for _, err := range h.before {
		if r.endpoints.add(err); err != nil {
			r.fault("before the first batch: endpoint %v", err)
		}
	}
	for _, e := range endpoints(h) {
		err := e.run(ctx, h.model)
		if r.endpoints.add(err); err != nil {
			r.fault("endpoint %v", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for _, c := range append(clientChecks(), ownChecks()...) {
		err := c.run(ctx, h)
		if r.endpoints.add(err); err != nil {
			r.fault("client %s: %v", c.name, err)
		}
	}
	h.say("%v endpoints answer as they should", r.endpoints)
	return nil
}
