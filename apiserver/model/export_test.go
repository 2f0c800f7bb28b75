package model

import (
	"encoding/json"
	"log/slog"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

type exportedSet struct {
	Metrics map[string][]map[string]any
	Labels  map[string]string
}

func TestExport(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		body := s.get(exportPath).Body.Bytes()
		if last := body[len(body)-1]; last != '\n' || slices.Contains(body[:len(body)-1], '\n') {
			t.Errorf("not compact: %s", body)
		}
		var sets []exportedSet
		if err := json.Unmarshal(body, &sets); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if len(sets) != 3+4+2+4 {
			t.Errorf("%d sets, want 3 pods, 4 containers, 2 nodes, 4 system containers", len(sets))
		}
		find := func(key, value, container string) exportedSet {
			t.Helper()
			for _, set := range sets {
				if set.Labels[key] == value && set.Labels["container_name"] == container {
					return set
				}
			}
			t.Fatalf("no %s of %s", container, value)
			return exportedSet{}
		}
		app := find("pod_name", "web-0", "app")
		if diff := cmp.Diff(map[string]string{
			"nodename": "node-a", "hostname": "host-a", "host_id": "", "container_name": "app", "container_base_image": "nginx:1",
			"pod_name": "web-0", "pod_id": "uid-web-0", "namespace_id": "nsuid-default", "labels": "app:web,tier:front",
		}, app.Labels); diff != "" {
			t.Error(diff)
		}
		const end = "2000-01-01T01:01:00Z"
		value := func(v float64, start string) map[string]any {
			return map[string]any{"start": start, "end": end, "value": v}
		}
		labelled := func(name string, v float64) map[string]any {
			return map[string]any{"start": end, "end": end, "value": v, "labels": map[string]any{"resource_id": name}}
		}
		const begun = "2000-01-01T00:00:00Z"
		if diff := cmp.Diff(map[string][]map[string]any{
			"uptime": {value(3665000, begun)}, "cpu/usage": {value(733000000000, begun)},
			"memory/usage": {value(50000000, end)}, "memory/working_set": {value(25000000, end)}, "ephemeral_storage/usage": {value(111, end)},
			"filesystem/usage": {labelled("/", 100), labelled("logs", 100)}, "filesystem/limit": {labelled("/", 1000), labelled("logs", 1000)},
		}, app.Metrics); diff != "" {
			t.Error(diff)
		}
		if got := find("nodename", "node-a", "machine").Labels; got["labels"] != "zone:a" || got["pod_name"] != "" {
			t.Errorf("%v", got)
		}
		if got := find("pod_name", "dns", "/pod"); len(got.Metrics["cpu/usage"]) != 0 || len(got.Metrics["memory/usage"]) != 1 {
			t.Errorf("%v", got)
		}
		if got := find("nodename", "node-a", "docker-daemon").Labels; len(got) != 4 {
			t.Errorf("%v", got)
		}
		for _, set := range sets {
			if len(set.Metrics["cpu/usage_rate"])+len(set.Metrics["restart_count"])+len(set.Metrics["cpu/request"]) > 0 {
				t.Errorf("%v has what is computed of others", set.Labels)
			}
		}
		s.json("/clusters/default"+exportPath+"/", string(body))
		s.options.DisableExport = true
		s.json(exportPath, `[]`)
	})
}

// Sums of GPUs have no labels, and stand before the rows that they are of.
func TestExportOfGPUs(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		s.shelf.put(t, s.cluster, gpus)
		var sets []exportedSet
		if err := json.Unmarshal(s.get(exportPath).Body.Bytes(), &sets); err != nil {
			t.Fatal(err)
		}
		got := map[string][]any{}
		for _, set := range sets {
			for _, v := range set.Metrics["gpu/usage"] {
				labels, _ := v["labels"].(map[string]any)
				name := set.Labels["nodename"] + " " + set.Labels["pod_name"] + " " + set.Labels["container_name"]
				got[name] = append(got[name], v["value"], labels["gpu_uuid"])
			}
		}
		want := map[string][]any{
			"node-a web-0 side": {2048., "GPU-0"}, "node-a web-0 /pod": {2048., nil}, "node-a  machine": {2051., nil, 3., "GPU-1"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// Names that JSON has to escape do not break the export.
func TestExportEscapes(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		s.shelf.put(t, s.cluster, func(b *metrics.Batch) {
			node := add(b, metrics.Node, metrics.Ref{}, "odd", values{metrics.MemoryUsage: -1})
			b.Describe(node, "", &metrics.Meta{Hostname: "a\"b\\c\n\xffé<", Node: "odd"})
		})
		var sets []exportedSet
		if err := json.Unmarshal(s.get(exportPath).Body.Bytes(), &sets); err != nil {
			t.Fatal(err)
		}
		for _, set := range sets {
			if set.Labels["nodename"] == "odd" {
				if set.Labels["hostname"] != "a\"b\\c\n\ufffdé<" || set.Metrics["memory/usage"][0]["value"] != -1.0 {
					t.Errorf("%q", set)
				}
				return
			}
		}
		t.Error("the odd node is not there")
	})
}

func TestSchema(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		var got schemaAnswer
		if err := json.Unmarshal(s.get(schemaPath).Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		find := func(name string) metricSchema {
			for _, m := range got.Metrics {
				if m.Name == name {
					return m
				}
			}
			t.Errorf("no %s", name)
			return metricSchema{}
		}
		usage := find("cpu/usage")
		if usage.Type != "cumulative" || usage.ValueType != "int64" || usage.Units != "ns" || usage.Labels != nil {
			t.Errorf("%+v", usage)
		}
		if m := find("disk/io_read_bytes_rate"); m.Type != "gauge" || m.ValueType != "double" || m.Labels[0].Key != "resource_id" {
			t.Errorf("%+v", m)
		}
		if m := find("filesystem/inodes"); m.Units != "" {
			t.Errorf("%+v", m)
		}
		if len(got.CommonLabels) != 5 || len(got.PodLabels) != 4 {
			t.Errorf("%v %v", got.CommonLabels, got.PodLabels)
		}
	})
}

// Who asks for everything while others do is told to come back.
func TestTooManyExports(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		api := New(s.shelf, Options{Exports: 1}, slog.New(slog.DiscardHandler))
		release, err := api.inTurn()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.inTurn(); !apierrors.IsTooManyRequests(err) {
			t.Errorf("the second: %v", err)
		}
		release()
		if _, err := api.inTurn(); err != nil {
			t.Error(err)
		}
	})
}
