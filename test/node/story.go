package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/test/node/figures"
)

// settle is how long a kubelet takes, after pods have started, until it measures each
// of them in its own time, and not whenever it is asked.
const settle = 15 * time.Second

// tell runs the whole story and notes in result what it showed. It returns what kept
// it from going on.
func (h *house) tell(ctx context.Context, result *result) error {
	if err := h.start(ctx); err != nil {
		return err
	}
	var recording sync.WaitGroup
	defer recording.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	recording.Go(func() { h.record.Run(ctx) })
	if err := h.startKRM(ctx); err != nil {
		return err
	}
	if err := h.createPods(ctx); err != nil {
		return err
	}
	h.say("KRM and all pods run")

	before, err := h.waitWindows(ctx, time.Now().Add(settle), h.cfg.windows+1)
	if err != nil {
		return err
	}
	if err := h.compare(ctx, result, before, "in peace"); err != nil {
		return err
	}
	if err := h.checkTruth(ctx, result, before); err != nil {
		return err
	}

	if err := h.restartKubelet(ctx); err != nil {
		return err
	}
	result.restarts++
	h.say("the kubelet was restarted")
	if err := h.restartContainer(ctx); err != nil {
		return err
	}
	result.restarts++
	h.say("a container was restarted")
	last := before[len(before)-1]
	after, err := h.waitWindows(ctx, last, h.cfg.windows)
	if err != nil {
		return err
	}
	if err := h.compare(ctx, result, append([]time.Time{last}, after...), "after the restarts"); err != nil {
		return err
	}
	return h.checkSanity(ctx, result, before[0])
}

// offset is how long after the end of a window KRM begins to read the kubelet.
func (h *house) offset() time.Duration { return min(5*time.Second, h.cfg.resolution/3) }

// window is when KRM has read the kubelet, on a busy machine too.
func (h *house) window() figures.Window {
	return figures.Window{From: h.offset() - 500*time.Millisecond, To: h.offset() + 5*time.Second}
}

// detail writes a line for those who asked for all of them.
func (h *house) detail(format string, args ...any) {
	if h.cfg.verbose {
		h.say(format, args...)
	}
}

// waitWindows returns the ends of the first windows that ended after a time, once KRM
// has their points.
func (h *house) waitWindows(ctx context.Context, after time.Time, count int) (ends []time.Time, err error) {
	uptime := figures.Key{Kind: figures.Node, Metric: "uptime"}
	within := h.cfg.resolution*time.Duration(count+1) + time.Minute
	err = poll(ctx, within, fmt.Sprintf("%d windows of KRM's", count), func(ctx context.Context) error {
		if err := h.alive(); err != nil {
			return err
		}
		points, err := series(ctx, uptime)
		if err != nil {
			return err
		}
		ends = nil
		for _, p := range points {
			if p.At.After(after) && len(ends) < count {
				ends = append(ends, p.At)
			}
		}
		if len(ends) < count {
			_, lastErr := h.record.Reads()
			return errors.Join(fmt.Errorf("KRM has %d of %d windows after %s", len(ends), count, after.UTC().Format("15:04:05")), lastErr)
		}
		return nil
	})
	return ends, err
}

// compare compares KRM with the kubelet at the ends of windows.
func (h *house) compare(ctx context.Context, result *result, ends []time.Time, when string) error {
	if err := h.recordMore(ctx); err != nil { // what KRM has read we may not have read yet
		return err
	}
	kubelet := h.record.History()
	if result.restarts > 0 {
		// The container that was killed has new counters: of it only sanity is asked.
		maps.DeleteFunc(kubelet, func(k figures.Key, _ figures.History) bool {
			return k.Pod == "again"
		})
	}
	krm, err := compared(ctx, kubelet)
	if err != nil {
		return err
	}
	checks := figures.Compare(kubelet, krm, ends, h.window())
	worst := result.add(checks, when)
	h.say("%s: %d figures compared over %d windows, the worst: %s", when, len(checks), len(ends)-1, worst)
	h.detail("the kubelet was read every second, once only after %v", h.record.Longest())
	for _, c := range checks {
		h.detail("%s", c)
	}
	if err := checkComplete(checks); err != nil {
		result.fault("%s: %v", when, err)
	}
	if result.planted == 0 {
		result.planted, result.plantable = plant(kubelet, krm, ends, h.window())
	}
	return nil
}

// checkComplete is an error unless every metric was compared that shows that something
// was measured at all.
func checkComplete(checks []figures.Check) error {
	var faults []error
	has := func(k figures.Key) {
		found := slices.ContainsFunc(checks, func(c figures.Check) bool {
			k.Resource = c.Key.Resource
			return c.Key == k && c.Points > 0
		})
		if !found {
			faults = append(faults, fmt.Errorf("%s was not compared", k))
		}
	}
	for _, t := range truths() {
		has(t.key)
	}
	// How much of its file is in the page cache is the kernel's choice.
	has(figures.Key{Kind: figures.Container, Namespace: namespace, Pod: "disk", Container: "main", Metric: "memory/cache"})
	for _, metric := range []string{"cpu/usage", "cpu/usage_rate", "memory/usage", "memory/working_set", "memory/rss"} {
		has(figures.Key{Kind: figures.Node, Metric: metric})
		has(figures.Key{Kind: figures.Pod, Namespace: namespace, Pod: "cpu", Metric: metric})
		has(figures.Key{Kind: figures.Container, Namespace: namespace, Pod: "cpu", Container: "side", Metric: metric})
		has(figures.Key{Kind: figures.System, Container: "pods", Metric: metric})
	}
	return errors.Join(faults...)
}

// checkTruth compares KRM with what the pods were told to use. The first of the windows
// has no rate of its own yet.
func (h *house) checkTruth(ctx context.Context, result *result, ends []time.Time) error {
	for _, t := range append(truths(), truth{
		figures.Key{Kind: figures.Container, Namespace: namespace, Pod: "disk", Container: "main", Metric: "ephemeral_storage/usage"},
		heldFile << 20,
	}) {
		if t.key.Metric == "disk/io_write_bytes_rate" {
			for key := range h.record.History() {
				if key.Pod == t.key.Pod && key.Metric == "disk/io_write_bytes" {
					t.key.Resource = key.Resource
				}
			}
		}
		points, err := series(ctx, t.key)
		if err != nil {
			return err
		}
		sum, count := 0.0, 0
		for _, p := range points {
			if slices.ContainsFunc(ends[1:], p.At.Equal) {
				sum += p.Value
				count++
			}
		}
		if count == 0 {
			result.fault("%s: KRM has no points", t.key)
			continue
		}
		got := sum / float64(count)
		off := math.Abs(got-t.want) / t.want
		result.truth = max(result.truth, off)
		result.truths++
		h.detail("%s: KRM %.4g, told %.4g", t.key, got, t.want)
		if off > mostUntrue {
			result.fault("%s: KRM says %.4g, and the pod was told to use %.4g", t.key, got, t.want)
		}
	}
	h.say("KRM is within %.1f %% of what the pods were told to use, in %d metrics", 100*result.truth, result.truths)
	return nil
}

// checkSanity looks at every value that KRM has of the whole time. Since the given time
// all pods did what they were told.
func (h *house) checkSanity(ctx context.Context, result *result, since time.Time) error {
	node, err := h.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the node's capacity: %w", err)
	}
	capacity := figures.Capacity{
		Millicores: float64(node.Status.Capacity.Cpu().MilliValue()),
		Memory:     node.Status.Capacity.Memory().AsApproximateFloat64(),
		Bytes:      100 * diskBytes,
	}
	all, err := everything(ctx)
	if err != nil {
		return err
	}
	kubelet := h.record.History()
	more, err := compared(ctx, kubelet)
	if err != nil {
		return err
	}
	maps.Copy(all, more)
	for _, points := range all {
		result.values += len(points)
	}
	for _, text := range figures.Absurd(all, capacity) {
		result.absurd++
		result.fault("%s", text)
	}
	checkBurners(result, all, since)
	again := figures.Key{Kind: figures.Container, Namespace: namespace, Pod: "again", Container: "main", Metric: "restart_count"}
	if points := all[again]; len(points) == 0 || points[len(points)-1].Value != 1 {
		result.fault("%s: KRM says %v after one restart", again, points)
	}
	h.say("%d values of %d series are possible", result.values, len(all))
	return h.checkSums(ctx, result, all)
}

// checkBurners looks for rates that are possible, but not of containers that always use
// the same: KRM's values cannot show less than nothing, and a rate over a restart that
// came out negative is 0. It may be missing.
func checkBurners(result *result, all map[figures.Key][]figures.Point, since time.Time) {
	again := figures.Key{Kind: figures.Container, Namespace: namespace, Pod: "again", Container: "main", Metric: "cpu/usage_rate"}
	for _, t := range append(truths(), truth{again, hostMillicores}) {
		if t.key.Metric != "cpu/usage_rate" {
			continue
		}
		for _, p := range all[t.key] {
			if !p.At.Before(since) && (p.Value < t.want/3 || p.Value > t.want*3) {
				result.absurd++
				result.fault("%s was %g at %s, and the pod was told to use %g all the time", t.key, p.Value, p.At.UTC().Format("15:04:05"), t.want)
			}
		}
	}
}

// checkSums compares the namespace's sum with that of its pods.
func (h *house) checkSums(ctx context.Context, result *result, all map[figures.Key][]figures.Point) error {
	pods, err := h.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods: %w", err)
	}
	for _, metric := range []string{"cpu/usage_rate", "memory/usage", "cpu/request"} {
		sums := all[figures.Key{Kind: figures.Namespace, Namespace: namespace, Metric: metric}]
		if len(sums) == 0 {
			result.fault("KRM has no %s of namespace %s", metric, namespace)
			continue
		}
		last := sums[len(sums)-1]
		want := sumAt(all, pods.Items, metric, last.At)
		if math.Abs(last.Value-want) > 1 {
			result.fault("namespace %s %s is %g, and its pods' sum is %g", namespace, metric, last.Value, want)
		}
	}
	return nil
}

func sumAt(all map[figures.Key][]figures.Point, pods []corev1.Pod, metric string, at time.Time) (sum float64) {
	for _, pod := range pods {
		for _, p := range all[figures.Key{Kind: figures.Pod, Namespace: pod.Namespace, Pod: pod.Name, Metric: metric}] {
			if p.At.Equal(at) {
				sum += p.Value
			}
		}
	}
	return sum
}
