package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/client/clientset/versioned"
)

// clientCheck reads metrics as a stock client does.
type clientCheck struct {
	name string
	run  func(ctx context.Context, h *house) error
}

// clientChecks are kubectl top, and what a HorizontalPodAutoscaler asks.
func clientChecks() []clientCheck {
	top := func(want []string, args ...string) clientCheck {
		return clientCheck{"kubectl top " + strings.Join(args, " "), func(ctx context.Context, h *house) error {
			return h.top(ctx, want, args...)
		}}
	}
	web := []string{"web-0", "web-1", "web-2", "web-3"}
	return []clientCheck{
		top([]string{good, otherGood}, "nodes"),
		top([]string{good}, "node", good),
		top([]string{good, otherGood}, "nodes", "--sort-by=cpu"),
		top(web, "pods", "-n", space),
		top(web, "pods", "-n", space, "-l", "app=web", "--sort-by=memory"),
		top(web, "pods", "-A"),
		top([]string{"web-1"}, "pod", "web-1", "-n", space),
		top([]string{"main", "side"}, "pod", "web-1", "-n", space, "--containers"),
		{"discovery", discover},
		{"autoscaler v1beta1", autoscaleBeta},
		{"autoscaler v1", autoscale},
	}
}

// top runs kubectl top against KRM: every name must stand in a line that says what it
// uses. With a selector or a name there may be no other lines.
func (h *house) top(ctx context.Context, names []string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	kubeconfig := h.path("krm.kubeconfig")
	content := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", h.model.base)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, h.cfg.kubectl, append([]string{"top", "--kubeconfig=" + kubeconfig, "--cache-dir=" + h.path("kubectl-cache")}, args...)...)
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	cmd.Env = []string{"HOME=" + h.dir, "PATH=" + os.Getenv("PATH"), "KUBERC=off"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s%s", err, out.String(), faults.String())
	}
	return topped(out.String(), names)
}

// topped looks for names in what kubectl top has printed.
func topped(out string, names []string) error {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, name := range names {
		i := slices.IndexFunc(lines, func(line string) bool { return slices.Contains(strings.Fields(line), name) })
		if i < 1 {
			return fmt.Errorf("%s is in no line of\n%s", name, out)
		}
		amounts := 0
		for _, field := range strings.Fields(lines[i]) {
			if number, ok := strings.CutSuffix(field, "m"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
				amounts++
			}
			if number, ok := strings.CutSuffix(field, "Mi"); ok && strings.Trim(number, "0") != "" {
				amounts++
			}
		}
		if amounts != 2 {
			return fmt.Errorf("%q says no CPU and memory", lines[i])
		}
	}
	return nil
}

// discover wants the group to be found as client-go finds groups.
func discover(_ context.Context, h *house) error {
	client, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: h.model.base})
	if err != nil {
		return err
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	for _, version := range []string{"metrics.k8s.io/v1", "metrics.k8s.io/v1beta1"} {
		i := slices.IndexFunc(lists, func(l *metav1.APIResourceList) bool { return l.GroupVersion == version })
		if i < 0 || len(lists[i].APIResources) != 2 {
			return fmt.Errorf("%s is not there, or not whole", version)
		}
	}
	return nil
}

// podUse is what an autoscaler knows of a pod.
type podUse struct {
	name   string
	at     time.Time
	window time.Duration
	total  corev1.ResourceList
}

// autoscaleBeta does what the HorizontalPodAutoscaler's client does: it lists the
// metrics of the pods of a selector and adds their containers up.
func autoscaleBeta(ctx context.Context, h *house) error {
	client, err := versioned.NewForConfig(&rest.Config{Host: h.model.base})
	if err != nil {
		return err
	}
	list, err := client.MetricsV1beta1().PodMetricses(space).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{"app": "web"}.String()})
	if err != nil {
		return err
	}
	var pods []podUse
	for _, m := range list.Items {
		use := podUse{m.Name, m.Timestamp.Time, m.Window.Duration, corev1.ResourceList{}}
		for _, c := range m.Containers {
			sum(use.total, c.Usage)
		}
		pods = append(pods, use)
	}
	_, err = client.MetricsV1beta1().NodeMetricses().Get(ctx, good, metav1.GetOptions{})
	return errors.Join(err, scaled(pods))
}

// autoscale is the same with the version that is stable.
func autoscale(ctx context.Context, h *house) error {
	client, err := versioned.NewForConfig(&rest.Config{Host: h.model.base})
	if err != nil {
		return err
	}
	list, err := client.MetricsV1().PodMetricses(space).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{"app": "web"}.String()})
	if err != nil {
		return err
	}
	var pods []podUse
	for _, m := range list.Items {
		use := podUse{m.Name, m.Timestamp.Time, m.Window.Duration, corev1.ResourceList{}}
		for _, c := range m.Containers {
			sum(use.total, c.Usage)
		}
		pods = append(pods, use)
	}
	_, err = client.MetricsV1().NodeMetricses().Get(ctx, good, metav1.GetOptions{})
	return errors.Join(err, scaled(pods))
}

func sum(total, more corev1.ResourceList) {
	for name, quantity := range more {
		was := total[name]
		was.Add(quantity)
		total[name] = was
	}
}

// scaled wants four pods of 250m requested, each with a CPU use and a time that an
// autoscaler can reckon with.
func scaled(pods []podUse) error {
	if len(pods) != 4 {
		return fmt.Errorf("%d pods, want 4", len(pods))
	}
	for _, pod := range pods {
		cpu, memory := pod.total[corev1.ResourceCPU], pod.total[corev1.ResourceMemory]
		if cpu.MilliValue() < 5 || cpu.MilliValue() > 1000 || memory.Cmp(resource.MustParse("10Mi")) < 0 {
			return fmt.Errorf("pod %s uses %s and %s", pod.name, cpu.String(), memory.String())
		}
		if time.Since(pod.at) > 6*resolution || pod.window < time.Second || pod.window > 4*resolution {
			return fmt.Errorf("pod %s: %v over %v", pod.name, pod.at, pod.window)
		}
	}
	return nil
}
