package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// story is one thing that goes wrong, and how it ends well.
type story struct {
	name string
	tell func(ctx context.Context, h *house) error
}

// stories are those that follow each other; those in one line go on together.
func stories() [][]story {
	return [][]story{
		{{"the token is replaced", tokenReplaced}, {"a node is removed while it is asked, and pods' names are used again, on the same node and on another", removedAndReused}},
		{{"the API server is started anew", serverAnew}},
		{{"the collector stands still over two windows, and another takes over", standsStill}},
		{{"Redis is away", redisAway}},
	}
}

// tokenReplaced has kubelets refuse the token that they took until now. The new one is
// in the collector's file: no node may be refused in any batch.
func tokenReplaced(ctx context.Context, h *house) error {
	began := time.Now()
	if err := h.writeToken("second-token"); err != nil {
		return err
	}
	at, err := h.batches(ctx, 3)
	if err != nil {
		return err
	}
	var got nodesAnswer
	if _, err := h.model.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
		return err
	}
	for _, n := range got.Nodes {
		if n.Reason == "unauthorized" {
			return fmt.Errorf("node %s: %s", n.Name, n.Message)
		}
	}
	return h.undisturbed(ctx, began, at)
}

// removedAndReused removes a node that hangs, and meanwhile deletes two pods and makes
// others of their names: one on the same node, and one on another.
func removedAndReused(ctx context.Context, h *house) error {
	hanging := kubeletFault{name: "removed", kind: "hang"}
	if err := hanging.set(ctx, h, http.MethodPut); err != nil {
		return err
	}
	uid, err := podID(ctx, h, reusedPod)
	if err != nil {
		return err
	}
	for _, pod := range []struct{ name, node string }{{reusedPod, nodeOf("reused")}, {"web-3", nodeOf("moved")}} {
		if err := h.world.removePod(ctx, pod.name); err != nil {
			return err
		}
		if err := h.world.addPod(ctx, pod.name, pod.node, "web"); err != nil {
			return err
		}
	}
	// In the middle of a scrape: it begins after a window's end, and the node hangs until
	// its deadline.
	window := time.Now().Truncate(resolution).Add(resolution)
	if err := process.Pause(ctx, time.Until(window.Add(1500*time.Millisecond))); err != nil {
		return err
	}
	if err := h.truth.CoreV1().Nodes().Delete(ctx, nodeOf("removed"), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		return err
	}
	if _, err := h.batches(ctx, 3); err != nil {
		return err
	}
	return process.Poll(ctx, 4*resolution, "the new order of things", func(ctx context.Context) error {
		return errors.Join(h.removed(ctx), h.reused(ctx, uid), h.moved(ctx), h.sane(ctx))
	})
}

// removed wants the node that is gone in no list; what was known of it stays readable.
func (h *house) removed(ctx context.Context) error {
	var names []string
	if _, err := h.model.get(ctx, "/api/v1/model/nodes/", &names); err != nil {
		return err
	}
	var got nodesAnswer
	if _, err := h.model.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
		return err
	}
	if _, there := got.node(nodeOf("removed")); there || slices.Contains(names, nodeOf("removed")) {
		return errors.New("the removed node is still told of")
	}
	var s series
	if _, err := h.model.get(ctx, "/api/v1/model/nodes/"+nodeOf("removed")+"/metrics/memory/usage", &s); err != nil {
		return err
	}
	if len(s.Metrics) == 0 {
		return errors.New("the removed node's past is gone")
	}
	return nil
}

// reused wants the second pod of a name to be told of, and its CPU time to begin anew
// in the same series.
func (h *house) reused(ctx context.Context, before string) error {
	uid, err := podID(ctx, h, reusedPod)
	if err != nil {
		return err
	}
	if uid == before {
		return errors.New("the pod that was replaced is still told of")
	}
	var s series
	if _, err := h.model.get(ctx, "/api/v1/model/namespaces/"+space+"/pods/"+reusedPod+"/metrics/cpu/usage_rate", &s); err != nil {
		return err
	}
	if err := enough(s, 3); err != nil {
		return err
	}
	return saneCPU(s)
}

// moved wants the pod that is now on another node to be told of once, there.
func (h *house) moved(ctx context.Context) error {
	var sets []exported
	if _, err := h.model.get(ctx, "/api/v1/metric-export", &sets); err != nil {
		return err
	}
	var nodes []string
	for _, set := range sets {
		if set.Labels["pod_name"] == "web-3" && set.Labels["container_name"] == "/pod" {
			nodes = append(nodes, set.Labels["nodename"])
		}
	}
	if !slices.Equal(nodes, []string{nodeOf("moved")}) {
		return fmt.Errorf("pod web-3 is on %q", nodes)
	}
	return nil
}

// podID is the pod's UID as the export tells it.
func podID(ctx context.Context, h *house, name string) (string, error) {
	var sets []exported
	if _, err := h.model.get(ctx, "/api/v1/metric-export", &sets); err != nil {
		return "", err
	}
	for _, set := range sets {
		if set.Labels["pod_name"] == name && set.Labels["container_name"] == "/pod" {
			return set.Labels["pod_id"], nil
		}
	}
	return "", fmt.Errorf("pod %s is not exported", name)
}

// serverAnew restarts the API server: it must know the past that it knew before.
func serverAnew(ctx context.Context, h *house) error {
	path := fixturesRoot + "/namespaces/default/pods/web-0/metrics/memory/usage"
	var before, after series
	if _, err := h.model.get(ctx, path, &before); err != nil {
		return err
	}
	if err := h.krm["apiserver"].Restart(10*time.Second, nil); err != nil {
		return err
	}
	err := process.Poll(ctx, 20*time.Second, "the API server to be back", func(ctx context.Context) error {
		_, err := h.model.get(ctx, path, &after)
		if err == nil && len(after.Metrics) == 0 {
			err = errors.New("it knows nothing yet")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := after.check(); err != nil {
		return err
	}
	if len(before.Metrics) < 3 || len(after.Metrics) < len(before.Metrics) {
		return fmt.Errorf("it knew %d points, and now %d", len(before.Metrics), len(after.Metrics))
	}
	for i, p := range before.Metrics {
		if now := after.Metrics[i]; !now.Timestamp.Equal(p.Timestamp) || now.Value != p.Value {
			return fmt.Errorf("point %d was %v, and is %v", i, p, now)
		}
	}
	return nil
}

// standsStill stops the collector in the middle of a scrape for two windows, while
// another stands by: that one must take over. When the first goes on, its batch comes
// later than the next ones did; it must not get in, and then it stands by itself.
func standsStill(ctx context.Context, h *house) error {
	second, at, err := h.secondCollector(ctx)
	if err != nil {
		return err
	}
	defer second.Stop(10 * time.Second) // after that the first has the work again
	if err := standby(ctx, at, 1); err != nil {
		return err
	}
	began, err := h.batches(ctx, 0)
	if err != nil {
		return err
	}
	window := time.Now().Truncate(resolution).Add(resolution)
	if err := process.Pause(ctx, time.Until(window.Add(900*time.Millisecond))); err != nil { // while it scrapes
		return err
	}
	pid := h.krm["collector"].PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop the collector: %w", err)
	}
	err = process.Pause(ctx, 2*resolution+time.Second)
	if err := errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)); err != nil {
		return err
	}
	if err := errors.Join(standby(ctx, at, 0), standby(ctx, h.collector, 1)); err != nil {
		return err
	}
	if _, err := h.batches(ctx, 2); err != nil {
		return err
	}
	// At most the windows that nobody served may be missing: the lease lives 5 s.
	var got nodesAnswer
	if _, err := h.model.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
		return err
	}
	have := map[int64]bool{}
	for _, b := range got.Batches {
		have[b.At.Unix()] = true
	}
	missing := 0
	for at := began; at.Before(got.At); at = at.Add(resolution) {
		if !have[at.Unix()] {
			missing++
		}
	}
	if missing > 2 {
		return fmt.Errorf("%d windows are missing since %v", missing, began)
	}
	second.Stop(10 * time.Second)
	// Two windows may be served in one second: then counters have not moved on.
	err = process.Poll(ctx, 6*resolution, "all nodes to answer", h.allWell)
	return errors.Join(standby(ctx, h.collector, 0), err, h.sane(ctx))
}

// secondCollector starts one like the first.
func (h *house) secondCollector(ctx context.Context) (*process.Keeper, *asker, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, nil, err
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	spec := h.krm["collector"].Spec()
	spec.Name, spec.Log, spec.Args = "collector-2", h.path("collector-2.log"), append(slices.Clone(spec.Args), "--listen="+listen)
	keeper, err := process.Keep(spec)
	if err != nil {
		return nil, nil, err
	}
	h.keep(spec.Name, keeper)
	return keeper, newAsker("http://"+listen, http.DefaultTransport), ctx.Err()
}

// standby waits until a collector says that another works, or that it works itself.
func standby(ctx context.Context, of *asker, want float64) error {
	return process.Poll(ctx, 4*resolution, fmt.Sprintf("krm_collector_standby to be %v", want), func(ctx context.Context) error {
		got, err := process.Scrape(ctx, of.base)
		if err == nil && got.Sum("krm_collector_standby", `cluster="default"`) != want {
			err = errors.New("it is not")
		}
		return err
	})
}

// redisAway stops Redis for some windows: batches are dropped and counted, the API
// server answers with what it has and says so, and all goes on when Redis is back.
func redisAway(ctx context.Context, h *house) error {
	began, err := h.batches(ctx, 0)
	if err != nil {
		return err
	}
	before, err := process.Scrape(ctx, h.collector.base)
	if err != nil {
		return err
	}
	h.redis.Stop()
	path := "/api/v1/model/nodes/" + good + "/metrics/cpu/usage_rate"
	var faults []error
	note := func(what string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", what, err))
		}
	}
	if err := process.Pause(ctx, 4*resolution+time.Second); err != nil {
		return err
	}
	var s series
	got, err := h.model.get(ctx, path+"?end="+url.QueryEscape(began.Format(time.RFC3339)), &s)
	note("while Redis is away", err)
	if err == nil {
		note("while Redis is away", enough(s, 2))
		if warning := got.header.Get("Warning"); !strings.Contains(warning, "metrics") {
			note("while Redis is away", fmt.Errorf("the header Warning is %q", warning))
		}
	}
	note("start Redis", h.redis.Start(ctx))
	note("after it is back", process.Poll(ctx, 8*resolution, "new batches", func(ctx context.Context) error {
		if _, err := h.model.get(ctx, path, &s); err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		if time.Since(s.LatestTimestamp) > 3*resolution {
			return fmt.Errorf("the last rate is of %v", s.LatestTimestamp)
		}
		return h.allWell(ctx)
	}))
	after, err := process.Scrape(ctx, h.collector.base)
	note("scrape the collector", err)
	dropped := after.Sum("krm_sink_dropped_total", `sink="redis"`, `cluster="default"`) - before.Sum("krm_sink_dropped_total", `sink="redis"`, `cluster="default"`)
	if dropped < 1 {
		note("dropped batches", fmt.Errorf("%v were counted", dropped))
	}
	return errors.Join(append(faults, h.sane(ctx))...)
}
