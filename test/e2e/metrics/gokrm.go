package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// ownChecks read metrics with KRM's own Go client and its own commands.
func ownChecks() []clientCheck {
	with := func(name string, check func(ctx context.Context, m client.Model) error) clientCheck {
		return clientCheck{"krm's client: " + name, func(ctx context.Context, h *house) error {
			c, err := client.New(h.model.base, client.Options{})
			if err != nil {
				return err
			}
			return check(ctx, c.Model())
		}}
	}
	return []clientCheck{
		with("lists", clientLists),
		with("series", clientSeries),
		with("pod list", clientPodList),
		with("labels", clientLabels),
		with("export", clientExport),
		with("collections", clientCollections),
		{"krm collector --check", collectorCheck},
	}
}

func clientLists(ctx context.Context, m client.Model) error {
	f := m.Of("fixtures")
	var faults []error
	want := func(names []string, fresh client.MetricsFreshness, err error) func(...string) {
		return func(want ...string) {
			if err != nil || !slices.Equal(names, want) || fresh.At.IsZero() {
				faults = append(faults, fmt.Errorf("%q of %v, want %q: %w", names, fresh.At, want, err))
			}
		}
	}
	want(f.Nodes(ctx))("node-a", "node-b")
	want(f.Namespaces(ctx))("default", "kube-system")
	want(f.Namespace("default").Pods(ctx))("web-0", "web-1")
	want(f.Namespace("default").Pod("web-0").Containers(ctx))("app", "side")
	want(f.Node("node-a").SystemContainers(ctx))("docker-daemon", "kubelet", "pods", "system")
	clusters, err := m.Clusters(ctx)
	if !slices.Equal(clusters, []string{"default", "fixtures"}) {
		faults = append(faults, fmt.Errorf("clusters %q: %w", clusters, err))
	}
	metrics, _, err := f.Namespace("default").Metrics(ctx)
	if len(metrics) != 7 {
		faults = append(faults, fmt.Errorf("metrics %q: %w", metrics, err))
	}
	return errors.Join(faults...)
}

func clientSeries(ctx context.Context, m client.Model) error {
	start := time.Now().Add(-time.Hour)
	node := m.Of("fixtures").Node("node-a")
	s, _, err := node.Metric(ctx, "cpu/node_utilization", start, time.Now().Add(time.Minute))
	if err != nil || len(s.Points) < 2 {
		return fmt.Errorf("cpu/node_utilization: %+v: %w", s, err)
	}
	if last := s.Points[len(s.Points)-1]; last.Number() != 0.39473684210526316 || !last.Time.Equal(s.Latest) {
		return fmt.Errorf("cpu/node_utilization: %+v", last)
	}
	s, _, err = m.Namespace(space).Pod("web-0").Container("main").Metric(ctx, "memory/working_set", start, time.Time{})
	if err != nil || len(s.Points) < 2 {
		return fmt.Errorf("memory/working_set: %+v: %w", s, err)
	}
	s, _, err = m.Namespace(space).Pod("web-0").Metric(ctx, "memory/working_set", time.Now().Add(time.Hour), time.Time{})
	if err != nil || len(s.Points) != 0 {
		return fmt.Errorf("what is still to come: %+v: %w", s, err)
	}
	return nil
}

func clientPodList(ctx context.Context, m client.Model) error {
	all, _, err := m.Of("fixtures").Namespace("default").PodList(ctx, []string{"web-1", "nosuch", "web-0"}, "cpu/usage_rate", time.Time{}, time.Time{})
	if err != nil || len(all) != 3 {
		return fmt.Errorf("%d series: %w", len(all), err)
	}
	var got []float64
	for _, s := range all {
		if len(s.Points) > 0 {
			got = append(got, s.Points[len(s.Points)-1].Number())
		} else {
			got = append(got, -1)
		}
	}
	if !slices.Equal(got, []float64{103, -1, 255}) {
		return fmt.Errorf("%v", got)
	}
	return nil
}

func clientLabels(ctx context.Context, m client.Model) error {
	pod := m.Of("fixtures").Namespace("default").Pod("web-0").Container("app")
	sets, _, err := pod.LabelSets(ctx, "filesystem/usage")
	if err != nil || len(sets) != 2 {
		return fmt.Errorf("label sets %v: %w", sets, err)
	}
	for _, set := range sets {
		s, _, err := pod.Metric(ctx, "filesystem/usage", time.Time{}, time.Time{}, set...)
		if err != nil || len(s.Points) == 0 {
			return fmt.Errorf("filesystem/usage of %v: %w", set, err)
		}
	}
	return nil
}

func clientExport(ctx context.Context, m client.Model) error {
	found := 0
	for set, err := range m.Of("fixtures").Export(ctx) {
		if err != nil {
			return err
		}
		if set.Labels["pod_id"] == "uid-web-0" && len(set.Metrics["memory/usage"]) == 1 {
			found++
		}
	}
	if found != 3 {
		return fmt.Errorf("%d sets of pod web-0, want it and its two containers", found)
	}
	return nil
}

func clientCollections(ctx context.Context, m client.Model) error {
	got, _, err := m.Of("fixtures").Collections(ctx)
	if err != nil {
		return err
	}
	reasons := map[string]string{}
	for _, n := range got.Nodes {
		reasons[n.Name] = n.Reason
	}
	if reason, told := reasons["node-a"]; !told || reason != "" || reasons["node-c"] != "not ready" {
		return fmt.Errorf("reasons %q", reasons)
	}
	return nil
}

// collectorCheck runs the collector's --check beside the one that works.
func collectorCheck(ctx context.Context, h *house) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	spec := h.krm["collector"].Spec()
	out, err := exec.CommandContext(ctx, spec.Path, append(slices.Clone(spec.Args), "--check", "--listen=127.0.0.1:0")...).CombinedOutput()
	for _, word := range []string{good, "node-a", "node-c", "not ready"} {
		if !strings.Contains(string(out), word) {
			return fmt.Errorf("it does not tell of %q (%w):\n%s", word, err, out)
		}
	}
	return nil
}
