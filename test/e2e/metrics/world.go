package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// The suite's own nodes and namespace. On good nodes nothing is ever wrong.
const (
	space     = "metrics-suite"
	good      = "metrics-good-0"
	otherGood = "metrics-good-1"
	ours      = "metrics-suite.krm.test" // the label of our nodes
	reusedPod = "on-reused"              // the pod whose name is used again
)

// nodeOf is the node that has a fault.
func nodeOf(fault string) string { return "metrics-" + fault }

// world is what this suite keeps in the cluster.
type world struct{ client *kubernetes.Clientset }

// furnish makes the nodes and pods, and waits until kwok has them run.
func (w *world) furnish(ctx context.Context) error {
	if err := w.clear(ctx); err != nil { // of an earlier run
		return err
	}
	_, err := w.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make our namespace: %w", err)
	}
	nodes := []string{good, otherGood, nodeOf("removed"), nodeOf("reused"), nodeOf("moved")}
	for _, f := range kubeletFaults() {
		nodes = append(nodes, nodeOf(f.name))
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, node := range nodes {
		g.Go(func() error { return w.addNode(inner, node) })
	}
	g.Go(func() error { return w.addLostNode(inner) })
	if err := g.Wait(); err != nil {
		return err
	}
	g, inner = errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, node := range []string{good, good, otherGood, otherGood} {
		g.Go(func() error { return w.addPod(inner, fmt.Sprintf("web-%d", i), node, "web") })
	}
	for _, node := range nodes[2:] {
		if node != nodeOf("moved") {
			g.Go(func() error { return w.addPod(inner, "on-"+node[len("metrics-"):], node, "victim") })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return w.running(ctx, len(nodes)+1) // two more on good nodes, none on one
}

// running waits until so many of our pods run.
func (w *world) running(ctx context.Context, want int) error {
	return process.Poll(ctx, 40*time.Second, "our pods to run", func(ctx context.Context) error {
		pods, err := w.client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		running := 0
		for _, pod := range pods.Items {
			if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
				running++
			}
		}
		if running < want {
			return fmt.Errorf("%d of %d run", running, want)
		}
		return nil
	})
}

func (w *world) addNode(ctx context.Context, name string) error {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("16Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	_, err := w.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{ours: "yes", corev1.LabelHostname: name},
			Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
		},
		// Nobody else's pods may come here.
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: ours, Value: "yes", Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: name}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make node %s: %w", name, err)
	}
	return nil
}

// addLostNode makes a node that nobody plays, and that has no address.
func (w *world) addLostNode(ctx context.Context) error {
	_, err := w.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeOf("lost"), Labels: map[string]string{ours: "yes"}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: ours, Value: "yes", Effect: corev1.TaintEffectNoSchedule}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make the node without an address: %w", err)
	}
	return nil
}

func (w *world) addPod(ctx context.Context, name, node, app string) error {
	container := func(name, cpu, memory string) corev1.Container {
		return corev1.Container{
			Name: name, Image: "images.invalid/" + name + ":1",
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
			},
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			NodeName: node, Containers: []corev1.Container{container("main", "200m", "128Mi"), container("side", "50m", "32Mi")},
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, AutomountServiceAccountToken: new(false),
		},
	}
	// A new namespace has no service account for a moment.
	return process.Poll(ctx, 20*time.Second, "pod "+name+" to be made", func(ctx context.Context) error {
		_, err := w.client.CoreV1().Pods(space).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
}

// removePod deletes a pod at once, and waits until it is gone.
func (w *world) removePod(ctx context.Context, name string) error {
	err := w.client.CoreV1().Pods(space).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete pod %s: %w", name, err)
	}
	return process.Poll(ctx, 20*time.Second, "the end of pod "+name, func(ctx context.Context) error {
		_, err := w.client.CoreV1().Pods(space).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is still there"))
	})
}

// clear takes away what is ours. The namespace itself stays: to end one takes long.
func (w *world) clear(ctx context.Context) error {
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
	pods := w.client.CoreV1().Pods(space)
	if err := pods.DeleteCollection(ctx, now, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("delete our pods: %w", err)
	}
	if err := w.client.CoreV1().Nodes().DeleteCollection(ctx, now, metav1.ListOptions{LabelSelector: ours}); err != nil {
		return fmt.Errorf("delete our nodes: %w", err)
	}
	return process.Poll(ctx, 30*time.Second, "our pods and nodes to be gone", func(ctx context.Context) error {
		left, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		nodes, err := w.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: ours})
		if err != nil {
			return err
		}
		if n := len(left.Items) + len(nodes.Items); n > 0 {
			return fmt.Errorf("%d are left", n)
		}
		return nil
	})
}
