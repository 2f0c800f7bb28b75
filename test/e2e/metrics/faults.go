package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// kubeletFault is what is wrong with one kubelet, and what KRM must make of it.
type kubeletFault struct {
	name    string
	kind    string // of test/kubelets
	span    string // how long or how far, "" for the usual
	reasons []string
	words   []string // of the message: what to do
	// measured says that the node answers: its sections have values.
	measured bool
	// rates says that it has rates all the time.
	rates bool
}

// kubeletFaults are all that a kubelet may do wrong. Each has a node of its own, so
// that they go on at the same time.
func kubeletFaults() []kubeletFault {
	failing := func(name, kind string, words []string, reasons ...string) kubeletFault {
		return kubeletFault{name: name, kind: kind, words: words, reasons: reasons}
	}
	return []kubeletFault{
		failing("unauthorized", "unauthorized", []string{"401", "TokenReview"}, "unauthorized"),
		failing("forbidden", "forbidden", []string{"403", "nodes/stats"}, "forbidden"),
		failing("error", "error", []string{"500"}, "status"),
		failing("hang", "hang", nil, "timeout"),
		{name: "slow", kind: "slow", span: "20s", reasons: []string{"timeout"}},
		failing("half", "half", nil, "unreadable", "refused"),
		failing("truncated", "truncated", nil, "unreadable"),
		failing("garbage", "garbage", nil, "unreadable"),
		failing("endless", "endless", nil, "unreadable", "timeout"),
		failing("gone", "gone", nil, "refused"),
		failing("empty", "empty", nil, "unreadable"),
		{name: "null", kind: "null"},
		{name: "negative", kind: "negative"},
		{name: "falling", kind: "falling", measured: true},
		{name: "restart", kind: "restart", measured: true, rates: true},
		{name: "clock", kind: "clock", span: "1h", measured: true, rates: true},
		{name: "clock-back", kind: "clock", span: "-1h", measured: true, rates: true},
		{name: "big", kind: "big", measured: true, rates: true},
	}
}

// faultsPart breaks what may break. First all kubelets are ill at once, then come
// stories of one thing each.
func faultsPart(ctx context.Context, h *house, r *result) error {
	count := func(name string, err error) {
		if r.faulty.add(err); err != nil {
			r.fault("fault %s: %v", name, err)
		}
	}
	if err := h.fallIll(ctx, count); err != nil {
		return err
	}
	h.say("%v so far: kubelets fall ill and recover", r.faulty)
	for _, together := range stories() {
		faults := make([]error, len(together))
		var group sync.WaitGroup
		for i, story := range together {
			group.Go(func() { faults[i] = story.tell(ctx, h) })
		}
		group.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for i, story := range together {
			count(story.name, faults[i])
			h.say("%v so far: %s", r.faulty, story.name)
		}
	}
	return nil
}

// set gives the fault to its kubelet, or takes it away.
func (f kubeletFault) set(ctx context.Context, h *house, on string) error {
	query := url.Values{"node": {nodeOf(f.name)}, "kind": {f.kind}, "for": {f.span}}
	got, err := h.simulated.control.ask(ctx, on, "/fault?"+query.Encode())
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("set fault %s: %d %s", f.name, got.status, got.body)
	}
	return err
}

// batches waits for n more batches of the default cluster, and returns the time of the
// last.
func (h *house) batches(ctx context.Context, n int) (time.Time, error) {
	var first time.Time
	var last time.Time
	err := process.Poll(ctx, time.Duration(n+8)*resolution, fmt.Sprintf("%d more batches", n), func(ctx context.Context) error {
		var got nodesAnswer
		if _, err := h.model.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
			return err
		}
		if first.IsZero() {
			first = got.At
		}
		last = got.At
		if have := int(last.Sub(first) / resolution); have < n {
			return fmt.Errorf("%d have come", have)
		}
		return nil
	})
	return last, err
}

// fallIll has all kubelets fall ill at once, looks, and has them recover.
func (h *house) fallIll(ctx context.Context, count func(string, error)) error {
	// Before that everything must be well.
	if err := process.Poll(ctx, 8*resolution, "all nodes to answer", h.allWell); err != nil {
		return err
	}
	began := time.Now()
	g, inner := errgroup.WithContext(ctx)
	for _, f := range kubeletFaults() {
		g.Go(func() error { return f.set(inner, h, http.MethodPut) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	at, err := h.batches(ctx, 3)
	if err != nil {
		count("batches go on", err)
		return nil
	}
	for _, f := range kubeletFaults() {
		count(f.name, f.judge(ctx, h.model))
	}
	count("lost", kubeletFault{name: "lost", reasons: []string{"no address", "not ready"}}.judgeStatus(ctx, h.model))
	count("the others are not delayed", h.undisturbed(ctx, began, at))
	count("partial sums are marked", h.marked(ctx, true))
	count("absurd values", h.sane(ctx))

	g, inner = errgroup.WithContext(ctx)
	for _, f := range kubeletFaults() {
		g.Go(func() error { return f.set(inner, h, http.MethodDelete) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	count("all recover", process.Poll(ctx, 6*resolution, "all nodes to answer again", h.allWell))
	count("sums are whole again", process.Poll(ctx, 4*resolution, "sums to be whole", func(ctx context.Context) error { return h.marked(ctx, false) }))
	count("absurd values after recovery", h.sane(ctx))
	return nil
}

// allWell wants each of our nodes but the lost one to answer, and the nodes that will be
// ill to have a rate in the newest batch. Other suites may have left other nodes.
func (h *house) allWell(ctx context.Context) error {
	var got nodesAnswer
	if _, err := h.model.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
		return err
	}
	for _, n := range got.Nodes {
		if !n.Success && n.Name != nodeOf("lost") && strings.HasPrefix(n.Name, nodeOf("")) {
			return fmt.Errorf("node %s: %s %s", n.Name, n.Reason, n.Message)
		}
	}
	for _, f := range kubeletFaults() {
		if _, ok := got.node(nodeOf(f.name)); !ok {
			return fmt.Errorf("there is no node %s", nodeOf(f.name))
		}
		if err := rateAt(ctx, h.model, nodeOf(f.name), got.At); err != nil {
			return err
		}
	}
	return nil
}

// rateAt wants a CPU rate of the node in the batch of at.
func rateAt(ctx context.Context, from *asker, node string, at time.Time) error {
	var s series
	if _, err := from.get(ctx, "/api/v1/model/nodes/"+node+"/metrics/cpu/usage_rate", &s); err != nil {
		return err
	}
	if last, ok := s.last(); !ok || last.Timestamp.Before(at) {
		return fmt.Errorf("the last rate of node %s is of %v, the batch of %v", node, s.LatestTimestamp, at)
	}
	return nil
}

// judge says what is wrong with what KRM makes of the fault.
func (f kubeletFault) judge(ctx context.Context, from *asker) error {
	if err := f.judgeStatus(ctx, from); err != nil {
		return err
	}
	var got nodesAnswer
	if _, err := from.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
		return err
	}
	var memory, rates series
	node := "/api/v1/model/nodes/" + nodeOf(f.name) + "/metrics/"
	if _, err := from.get(ctx, node+"memory/usage", &memory); err != nil {
		return err
	}
	if _, err := from.get(ctx, node+"cpu/usage_rate", &rates); err != nil {
		return err
	}
	late := got.At.Add(-2 * resolution) // there were three batches since the fault
	switch {
	case f.measured && memory.LatestTimestamp.Before(late):
		return fmt.Errorf("memory/usage ends at %v", memory.LatestTimestamp)
	case f.rates && rates.LatestTimestamp.Before(late):
		return fmt.Errorf("cpu/usage_rate ends at %v, the batch is of %v", rates.LatestTimestamp, got.At)
	case !f.rates && rates.LatestTimestamp.After(late):
		return fmt.Errorf("cpu/usage_rate goes on until %v", rates.LatestTimestamp)
	}
	return saneCPU(rates)
}

// judgeStatus wants the node's status to say what is wrong and what to do.
func (f kubeletFault) judgeStatus(ctx context.Context, from *asker) error {
	var got nodesAnswer
	if _, err := from.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
		return err
	}
	node, ok := got.node(nodeOf(f.name))
	switch {
	case !ok:
		return errors.New("the node is not told of")
	case len(f.reasons) == 0 && !node.Success:
		return fmt.Errorf("the node fails with %s: %s", node.Reason, node.Message)
	case len(f.reasons) == 0:
		return nil
	case node.Success || !slices.Contains(f.reasons, node.Reason) || node.Message == "":
		return fmt.Errorf("success %v, reason %q, want %q (%s)", node.Success, node.Reason, f.reasons, node.Message)
	case got.Complete:
		return errors.New("the batch is complete, it says")
	}
	for _, word := range f.words {
		if !strings.Contains(node.Message, word) {
			return fmt.Errorf("the message %q does not say %s", node.Message, word)
		}
	}
	return nil
}

// most is more than any of our nodes can do, in millicores.
const most = 64_000

// saneCPU wants rates that a machine can have.
func saneCPU(s series) error {
	for _, p := range s.Metrics {
		if value, err := strconv.ParseUint(p.Value.String(), 10, 64); err != nil || value > most {
			return fmt.Errorf("%v millicores at %v", p.Value, p.Timestamp)
		}
	}
	return nil
}

// undisturbed wants a rate of each good node in each window between two moments.
func (h *house) undisturbed(ctx context.Context, from, to time.Time) error {
	for _, node := range []string{good, otherGood} {
		var s series
		if _, err := h.model.get(ctx, "/api/v1/model/nodes/"+node+"/metrics/cpu/usage_rate", &s); err != nil {
			return err
		}
		have := map[int64]bool{}
		for _, p := range s.Metrics {
			have[p.Timestamp.Unix()] = true
		}
		windows := 0
		for at := from.Truncate(resolution).Add(resolution); !at.After(to); at = at.Add(resolution) {
			if windows++; !have[at.Unix()] {
				return fmt.Errorf("node %s has no rate at %v", node, at)
			}
		}
		if windows < 2 {
			return fmt.Errorf("%d windows from %v to %v", windows, from, to)
		}
	}
	return nil
}

// marked wants the sums of our namespace, and of the cluster, to be marked as partial; or
// those of our namespace not to be.
func (h *house) marked(ctx context.Context, want bool) error {
	var got nodesAnswer
	if _, err := h.model.get(ctx, "/krm/v1/metrics/nodes", &got); err != nil {
		return err
	}
	since := "?start=" + url.QueryEscape(got.At.Format(time.RFC3339Nano))
	paths := []string{"/api/v1/model/namespaces/" + space + "/metrics/memory/usage", "/api/v1/model/metrics/memory/usage"}
	if !want {
		paths = paths[:1]
	}
	for _, path := range paths {
		var s series
		answer, err := h.model.get(ctx, path+since, &s)
		if err != nil {
			return err
		}
		if is := answer.header.Get("Krm-Partial") != ""; is != want || len(s.Metrics) == 0 {
			return fmt.Errorf("%s, %d points: Krm-Partial is %q", path, len(s.Metrics), answer.header.Get("Krm-Partial"))
		}
	}
	return nil
}

// sane looks at the rates of all nodes, pods and containers of ours, as long as they
// are kept: none may be more than a machine can do.
func (h *house) sane(ctx context.Context) error {
	const root = "/api/v1/model"
	var keys []string
	if _, err := h.model.get(ctx, root+"/debug/allkeys", &keys); err != nil {
		return err
	}
	looked := 0
	for _, key := range keys {
		path := pathOf(key)
		if !strings.Contains(key, space) && !strings.HasPrefix(key, "node:metrics-") && key != "cluster" {
			continue
		}
		for metric, limit := range map[string]uint64{"cpu/usage_rate": most * 40, "network/rx_rate": 1e12, "memory/page_faults_rate": 1e12, "memory/usage": 1 << 50} {
			var s series
			if _, err := h.model.get(ctx, root+path+"/metrics/"+metric, &s); err != nil {
				return err
			}
			for _, p := range s.Metrics {
				looked++
				value, err := strconv.ParseUint(p.Value.String(), 10, 64)
				if err != nil || value > limit || p.FloatValue != nil && (*p.FloatValue < 0 || *p.FloatValue > float64(limit)) {
					return fmt.Errorf("%s %s is %v at %v", key, metric, p.Value, p.Timestamp)
				}
			}
		}
	}
	if looked < 100 {
		return fmt.Errorf("only %d values were looked at", looked)
	}
	return nil
}

// pathOf is where the model has the entity of a key.
func pathOf(key string) string {
	if key == "cluster" {
		return ""
	}
	path := ""
	for part := range strings.SplitSeq(key, "/") {
		kind, name, _ := strings.Cut(part, ":")
		switch {
		case kind == "container" && strings.HasPrefix(key, "node:"):
			kind = "freecontainers"
		default:
			kind += "s"
		}
		path += "/" + kind + "/" + name
	}
	return path
}
