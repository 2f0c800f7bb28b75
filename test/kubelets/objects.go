package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// nodeMemory is what a made-up node has.
const nodeMemory = 64 << 30

// nodeObjects, namespaceObjects and podObjects are the API server's view of a fleet.
// ports are the nodes' kubelets'.
func (f fleet) nodeObjects(ports []int) iter.Seq[any] {
	return func(yield func(any) bool) {
		for i := range f.nodes {
			if !yield(f.nodeObject(i, ports[i])) {
				return
			}
		}
	}
}

func (f fleet) nodeObject(i, port int) *corev1.Node {
	name := f.nodeName(i)
	room := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("32"),
		corev1.ResourceMemory:           *resource.NewQuantity(nodeMemory, resource.BinarySI),
		corev1.ResourceEphemeralStorage: resource.MustParse("200Gi"),
		corev1.ResourcePods:             resource.MustParse("110"),
	}
	left := room.DeepCopy()
	left[corev1.ResourceCPU], left[corev1.ResourceMemory] = resource.MustParse("31500m"), resource.MustParse("62Gi")
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, LastHeartbeatTime: metav1.NewTime(f.booted), LastTransitionTime: metav1.NewTime(f.booted)}
	}
	return &corev1.Node{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1)), ResourceVersion: strconv.Itoa(1 + i), CreationTimestamp: metav1.NewTime(f.booted),
			Labels: map[string]string{
				corev1.LabelHostname: name, corev1.LabelArchStable: "amd64", corev1.LabelOSStable: "linux",
				corev1.LabelInstanceTypeStable: "simulated", corev1.LabelTopologyZone: "local-" + string(rune('a'+i%3)),
			},
		},
		Spec: corev1.NodeSpec{ProviderID: "fake://local/" + name},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: left,
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: name}},
			Conditions:      []corev1.NodeCondition{condition("MemoryPressure", "False"), condition("DiskPressure", "False"), condition("PIDPressure", "False"), condition(corev1.NodeReady, "True")},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
			NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "containerd://2.1.0"},
		},
	}
}

func (f fleet) namespaceObjects() iter.Seq[any] {
	return func(yield func(any) bool) {
		for i := 0; i*10 < f.apps(); i++ {
			name := f.app(i * 10).namespace
			if !yield(&corev1.Namespace{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
				ObjectMeta: metav1.ObjectMeta{
					Name: name, UID: types.UID(fmt.Sprintf("00000000-0000-4000-9000-%012x", i+1)), ResourceVersion: strconv.Itoa(1 + i),
					CreationTimestamp: metav1.NewTime(f.booted), Labels: map[string]string{corev1.LabelMetadataName: name, "team": name},
				},
				Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
			}) {
				return
			}
		}
	}
}

func (f fleet) podObjects() iter.Seq[any] {
	return func(yield func(any) bool) {
		for i := range f.nodes {
			for j := range f.pods {
				if !yield(f.podObject(i, j)) {
					return
				}
			}
		}
	}
}

func (f fleet) podObject(i, j int) *corev1.Pod {
	p, a := f.pod(i, j)
	started := metav1.NewTime(p.Started)
	object := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID), ResourceVersion: strconv.Itoa(1 + i*f.pods + j), CreationTimestamp: started,
			GenerateName: a.name + "-",
			Labels: map[string]string{
				"app.kubernetes.io/name": a.name, "app.kubernetes.io/instance": a.namespace + "-" + a.name, "app.kubernetes.io/part-of": a.namespace,
				"app.kubernetes.io/version": fmt.Sprintf("1.%d.0", a.number%7), "team": a.namespace,
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: a.name, UID: types.UID(fmt.Sprintf("00000000-0000-4000-a000-%012x", a.number)), Controller: new(true)}},
		},
		Spec: corev1.PodSpec{
			NodeName: f.nodeName(i), ServiceAccountName: "default", RestartPolicy: corev1.RestartPolicyAlways,
			Volumes: []corev1.Volume{{Name: p.Volumes[0], VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: "127.0.0.1", PodIP: fmt.Sprintf("10.%d.%d.%d", i/256%256, i%256, j+2), StartTime: &started, QOSClass: corev1.PodQOSBurstable,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: "True", LastTransitionTime: started}, {Type: corev1.ContainersReady, Status: "True", LastTransitionTime: started}},
		},
	}
	for k, c := range p.Containers {
		object.Spec.Containers = append(object.Spec.Containers, containerObject(a, k, c))
		object.Status.ContainerStatuses = append(object.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: "sha256:0", ContainerID: fmt.Sprintf("containerd://%016x%016x", c.source.hash(90), c.source.hash(91)),
			Ready: true, Started: new(true), RestartCount: int32(c.source.hash(92) % 3), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.Started)}},
		})
	}
	return object
}

func containerObject(a app, k int, c *Container) corev1.Container {
	requests := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(int64(10*(1+int(a.cpu/5))), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity((a.memory+63<<20)>>24<<24, resource.BinarySI),
	}
	if k > 0 {
		requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
	}
	limits := corev1.ResourceList{corev1.ResourceMemory: *resource.NewQuantity(4*requests.Memory().Value(), resource.BinarySI)}
	return corev1.Container{
		Name: c.Name, Image: c.Image, ImagePullPolicy: corev1.PullIfNotPresent,
		Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits},
		Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: int32(8080 + k)}},
		Env:       []corev1.EnvVar{{Name: "LOG_LEVEL", Value: "info"}, {Name: "NODE_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}},
	}
}

// writeObjects writes nodes.ndjson, namespaces.ndjson and pods.ndjson into dir: one
// object a line, by namespace and name within nodes and namespaces, pods by node.
func (f fleet) writeObjects(dir string, ports []int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder for objects: %w", err)
	}
	for _, kind := range []struct {
		name    string
		objects iter.Seq[any]
	}{{"nodes", f.nodeObjects(ports)}, {"namespaces", f.namespaceObjects()}, {"pods", f.podObjects()}} {
		if err := writeLines(filepath.Join(dir, kind.name+".ndjson"), kind.objects); err != nil {
			return fmt.Errorf("write %s: %w", kind.name, err)
		}
	}
	return nil
}

func writeLines(path string, objects iter.Seq[any]) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // again, if all went well
	out := bufio.NewWriterSize(file, 1<<20)
	encoder := json.NewEncoder(out)
	for object := range objects {
		if err := encoder.Encode(object); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}

// bootedBefore is how long made-up nodes had run when this program started.
const bootedBefore = 3 * time.Hour
