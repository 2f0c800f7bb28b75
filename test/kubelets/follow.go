package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// simulated is the annotation of nodes that have no kubelet of their own, as kwok
// knows them.
const (
	simulated      = "kwok.x-k8s.io/node"
	simulatedValue = "fake"
)

// follower plays the kubelets of a cluster's simulated nodes, for the pods that are
// really there.
type follower struct {
	client  kubernetes.Interface
	options options
	log     *slog.Logger
	ports   ports

	mu       sync.Mutex
	kubelets map[string]*kubelet
	nodes    map[string]*Node
	dirty    map[string]bool // nodes whose pods have changed
	wake     chan struct{}
}

// ports are given out to nodes; a node that comes again gets its own again.
type ports struct {
	next  int // 0: any
	given map[string]int
}

func (p *ports) of(node string) int {
	port, known := p.given[node]
	if !known && p.next > 0 {
		port = p.next
		p.next++
		p.given[node] = port
	}
	return port
}

func newFollower(kubeconfig string, first int, o options, log *slog.Logger) (*follower, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.ContentConfig = rest.ContentConfig{AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json", ContentType: "application/vnd.kubernetes.protobuf"}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client: %w", err)
	}
	return &follower{
		client: client, options: o, log: log, ports: ports{first, map[string]int{}},
		kubelets: map[string]*kubelet{}, nodes: map[string]*Node{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1),
	}, nil
}

// all are the kubelets now, by name.
func (f *follower) all() []*kubelet {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*kubelet
	for _, name := range slices.Sorted(maps.Keys(f.kubelets)) {
		all = append(all, f.kubelets[name])
	}
	return all
}

// run plays until ctx ends. It calls ready once every simulated node that was there
// at the start has its kubelet.
func (f *follower) run(ctx context.Context, ready func()) error {
	factory := informers.NewSharedInformerFactoryWithOptions(f.client, 0, informers.WithTransform(lean))
	nodes, pods := factory.Core().V1().Nodes(), factory.Core().V1().Pods()
	touch := func(object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		switch object := object.(type) {
		case *corev1.Node:
			f.mark(object.Name)
		case *corev1.Pod:
			f.mark(object.Spec.NodeName)
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: touch, UpdateFunc: func(_, object any) { touch(object) }, DeleteFunc: touch}
	for _, informer := range []cache.SharedIndexInformer{nodes.Informer(), pods.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("follow the cluster: %w", err)
		}
	}
	byNode := cache.Indexers{"node": func(object any) ([]string, error) { return []string{object.(*corev1.Pod).Spec.NodeName}, nil }}
	if err := pods.Informer().AddIndexers(byNode); err != nil {
		return fmt.Errorf("follow the cluster: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer func() { closeAll(f.all()) }()
	factory.WaitForCacheSync(ctx.Done())
	for {
		for _, name := range f.takeDirty() {
			node, err := nodes.Lister().Get(name)
			if err != nil { // only "not found" comes from a cache
				f.drop(name)
				continue
			}
			found, err := pods.Informer().GetIndexer().ByIndex("node", name)
			if err != nil {
				return fmt.Errorf("find the pods of node %s: %w", name, err)
			}
			f.play(ctx, node, found)
		}
		if ready != nil {
			ready()
			ready = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
	}
}

// lean leaves out what nobody here reads.
func lean(object any) (any, error) {
	if meta, ok := object.(metav1.Object); ok {
		meta.SetManagedFields(nil)
	}
	return object, nil
}

func (f *follower) mark(node string) {
	if node == "" {
		return
	}
	f.mu.Lock()
	f.dirty[node] = true
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *follower) takeDirty() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.Sorted(maps.Keys(f.dirty))
	f.dirty = map[string]bool{}
	return names
}

// drop ends the kubelet of a node that is gone, unless it has a fault: then it goes on
// with that, as a machine does that the API server has forgotten.
func (f *follower) drop(node string) {
	f.mu.Lock()
	k := f.kubelets[node]
	if k == nil || k.fault.Load() != nil {
		f.mu.Unlock()
		return
	}
	delete(f.kubelets, node)
	delete(f.nodes, node)
	f.mu.Unlock()
	k.close()
}

// play makes the node's kubelet, if it is a simulated one, say what runs on it, and
// tells the API server the kubelet's port.
func (f *follower) play(ctx context.Context, object *corev1.Node, found []any) {
	if object.Annotations[simulated] != simulatedValue {
		f.drop(object.Name)
		return
	}
	f.mu.Lock()
	node, k := f.nodes[object.Name], f.kubelets[object.Name]
	f.mu.Unlock()
	if k == nil {
		node = NewNode(object.Name, object.CreationTimestamp.Time, object.Status.Capacity.Memory().Value())
		var err error
		if k, err = newKubelet(object.Name, f.ports.of(object.Name), node, f.options, f.log); err != nil {
			f.log.Error("no kubelet for a node", "node", object.Name, "err", err)
			return
		}
		f.mu.Lock()
		f.nodes[object.Name], f.kubelets[object.Name] = node, k
		f.mu.Unlock()
	}
	var pods []*Pod
	for _, one := range found {
		if pod, ok := one.(*corev1.Pod); ok && pod.Status.Phase == corev1.PodRunning {
			pods = append(pods, played(pod))
		}
	}
	node.Put(pods)
	if err := f.announce(ctx, object, k.port); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
		f.log.Warn("cannot tell a node's kubelet port, trying again", "node", object.Name, "err", err)
		time.AfterFunc(time.Second, func() { f.mark(object.Name) })
	}
}

// announce writes the kubelet's address into the node's status, if it is not there.
func (f *follower) announce(ctx context.Context, node *corev1.Node, port int) error {
	here := slices.ContainsFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool {
		return a.Type == corev1.NodeInternalIP && a.Address == f.options.address
	})
	if here && node.Status.DaemonEndpoints.KubeletEndpoint.Port == int32(port) {
		return nil
	}
	patch := map[string]any{"daemonEndpoints": map[string]any{"kubeletEndpoint": map[string]any{"Port": port}}}
	if !here {
		patch["addresses"] = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: f.options.address}, {Type: corev1.NodeHostName, Address: node.Name}}
	}
	text, err := json.Marshal(map[string]any{"status": patch})
	if err != nil {
		return err
	}
	_, err = f.client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: "kubelets"}, "status")
	return err
}

// played is what a kubelet knows of pod. What it uses follows from its name and what
// it asks for.
func played(pod *corev1.Pod) *Pod {
	started := pod.CreationTimestamp.Time
	if pod.Status.StartTime != nil {
		started = pod.Status.StartTime.Time
	}
	p := &Pod{
		Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID),
		Started: started.UTC(), HostNetwork: pod.Spec.HostNetwork, source: seeded(string(pod.UID)),
	}
	for _, volume := range pod.Spec.Volumes {
		p.Volumes = append(p.Volumes, volume.Name)
	}
	running := map[string]time.Time{}
	for _, status := range append(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses...) {
		if status.State.Running != nil {
			running[status.Name] = status.State.Running.StartedAt.Time
		}
	}
	for i, c := range append(pod.Spec.Containers, pod.Spec.InitContainers...) {
		at, ok := running[c.Name]
		if !ok {
			continue
		}
		s := p.source.child(int64(100 + i))
		use := &Container{Name: c.Name, Image: c.Image, Started: at.UTC(), CPU: s.spread(1, 8, 3), Memory: int64(s.spread(2, 40<<20, 1.7)), source: s}
		if request := c.Resources.Requests.Cpu().MilliValue(); request > 0 {
			use.CPU = float64(request) * (0.2 + 0.8*s.unit(3))
		}
		if request := c.Resources.Requests.Memory().Value(); request > 0 {
			use.Memory = int64(float64(request) * (0.4 + 0.5*s.unit(4)))
		}
		p.Containers = append(p.Containers, use)
	}
	return p
}
