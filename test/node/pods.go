package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/test/node/figures"
)

const namespace = "burn"

// What the pods use.
const (
	cpuMillicores  = 200
	sideMillicores = 60
	hostMillicores = 40
	sideMemory     = 48 // MiB
	sideFaults     = 500
	heldFile       = 32 // MiB
	diskBytes      = 1 << 20
	networkBytes   = 400_000
)

// truth is what a metric must be because the pod was told so.
type truth struct {
	key  figures.Key
	want float64
}

func truths() []truth {
	container := func(pod, name, metric string, want float64) truth {
		return truth{figures.Key{Kind: figures.Container, Namespace: namespace, Pod: pod, Container: name, Metric: metric}, want}
	}
	pod := func(name, metric string, want float64) truth {
		return truth{figures.Key{Kind: figures.Pod, Namespace: namespace, Pod: name, Metric: metric}, want}
	}
	return []truth{
		container("cpu", "main", "cpu/usage_rate", cpuMillicores),
		container("cpu", "side", "cpu/usage_rate", sideMillicores),
		pod("cpu", "cpu/usage_rate", cpuMillicores+sideMillicores),
		container("host", "main", "cpu/usage_rate", hostMillicores),
		container("cpu", "side", "memory/rss", sideMemory<<20),
		container("cpu", "side", "memory/page_faults_rate", sideFaults),
		container("disk", "main", "disk/io_write_bytes_rate", diskBytes),
		pod("sink", "network/rx_rate", networkBytes),
		pod("source", "network/tx_rate", networkBytes),
	}
}

// burner is a container that uses what args say.
func burner(name string, millicores int64, args ...string) corev1.Container {
	return corev1.Container{
		Name: name, Image: burnImage, ImagePullPolicy: corev1.PullNever, Args: args,
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: *resource.NewMilliQuantity(millicores, resource.DecimalSI),
		}},
	}
}

func newPod(name string, containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName:                      nodeName, // there is but one
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			TerminationGracePeriodSeconds: new(int64(0)),
			DNSPolicy:                     corev1.DNSDefault,
			Containers:                    containers,
		},
	}
}

// firstPods are all but the one that must know another's address.
func firstPods() []*corev1.Pod {
	disk := newPod("disk", burner("main", 20, fmt.Sprintf("-hold-mb=%d", heldFile), fmt.Sprintf("-write=%d", diskBytes)))
	disk.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	disk.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
	host := newPod("host", burner("main", hostMillicores, fmt.Sprintf("-millicores=%d", hostMillicores)))
	host.Spec.HostNetwork = true
	return []*corev1.Pod{
		newPod("cpu",
			burner("main", cpuMillicores, fmt.Sprintf("-millicores=%d", cpuMillicores)),
			burner("side", sideMillicores, fmt.Sprintf("-millicores=%d", sideMillicores), fmt.Sprintf("-memory-mb=%d", sideMemory), fmt.Sprintf("-faults=%d", sideFaults))),
		disk, host,
		newPod("again", burner("main", hostMillicores, fmt.Sprintf("-millicores=%d", hostMillicores))),
		newPod("sink", burner("main", 20, "-listen=:9000")),
	}
}

// createPods creates all pods and returns when they run.
func (h *house) createPods(ctx context.Context) error {
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := h.client.CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %s: %w", namespace, err)
	}
	for _, pod := range firstPods() {
		if err := h.create(ctx, pod); err != nil {
			return err
		}
	}
	sink, err := h.waitPod(ctx, "sink")
	if err != nil {
		return err
	}
	err = h.create(ctx, newPod("source", burner("main", 20,
		fmt.Sprintf("-send=%s:9000", sink.Status.PodIP), fmt.Sprintf("-rate=%d", networkBytes))))
	if err != nil {
		return err
	}
	for _, name := range []string{"cpu", "disk", "host", "again", "source"} {
		if _, err := h.waitPod(ctx, name); err != nil {
			return err
		}
	}
	return h.countDisk()
}

// create tries until the namespace has its service account.
func (h *house) create(ctx context.Context, pod *corev1.Pod) error {
	return poll(ctx, 30*time.Second, "pod "+pod.Name+" to be taken", func(ctx context.Context) error {
		_, err := h.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
}

// waitPod returns the pod once all its containers run.
func (h *house) waitPod(ctx context.Context, name string) (pod *corev1.Pod, err error) {
	err = poll(ctx, time.Minute, "pod "+name+" to run", func(ctx context.Context) error {
		if err := h.alive(); err != nil {
			return err
		}
		if pod, err = h.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running == nil {
				return fmt.Errorf("container %s does not run: %+v", c.Name, c.State)
			}
		}
		if len(pod.Status.ContainerStatuses) < len(pod.Spec.Containers) || pod.Status.PodIP == "" {
			return errors.New("its containers are not all started")
		}
		return nil
	})
	return pod, err
}

// countDisk makes the kernel count what pod disk writes: with cgroup v1 it counts only
// where there is a limit, so the container gets one that it never reaches.
func (h *house) countDisk() error {
	files, err := filepath.Glob("/sys/fs/cgroup/blkio/" + h.box.Cgroup + "/kubepods/*/pod*/*/blkio.throttle.write_bps_device")
	if err != nil || len(files) == 0 {
		return err // cgroup v2 counts always
	}
	device, err := h.diskDevice()
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.WriteFile(file, []byte(device+" 1000000000000"), 0o644); err != nil {
			return fmt.Errorf("count disk writes: %w", err)
		}
	}
	return nil
}

// diskDevice is MAJOR:MINOR of the disk under the sandbox's folder.
func (h *house) diskDevice() (string, error) {
	info, err := os.Stat(h.box.Dir)
	if err != nil {
		return "", fmt.Errorf("find the disk: %w", err)
	}
	dev := info.Sys().(*syscall.Stat_t).Dev
	name := fmt.Sprintf("%d:%d", dev>>8&0xfff, dev&0xff|dev>>12&^uint64(0xff))
	sys := filepath.Join("/sys/dev/block", name)
	if _, err := os.Stat(filepath.Join(sys, "partition")); err != nil {
		return name, nil
	}
	whole, err := os.ReadFile(filepath.Join(sys, "..", "dev")) // of a partition only the whole disk has limits
	if err != nil {
		return "", fmt.Errorf("find the disk of %s: %w", name, err)
	}
	return string(whole[:len(whole)-1]), nil
}

// restartContainer kills the process of pod again's container, and returns when the
// kubelet has started another.
func (h *house) restartContainer(ctx context.Context) error {
	pod, err := h.waitPod(ctx, "again")
	if err != nil {
		return err
	}
	before := pod.Status.ContainerStatuses[0]
	id := path.Base(before.ContainerID) // containerd://ID
	if err := h.ctr(ctx, "tasks", "kill", "--signal=SIGKILL", id); err != nil {
		return err
	}
	return poll(ctx, time.Minute, "the container to be started again", func(ctx context.Context) error {
		pod, err := h.waitPod(ctx, "again")
		if err != nil {
			return err
		}
		if now := pod.Status.ContainerStatuses[0]; now.RestartCount <= before.RestartCount {
			return fmt.Errorf("it was restarted %d times", now.RestartCount)
		}
		return nil
	})
}

// restartKubelet ends the kubelet and starts it again.
func (h *house) restartKubelet(ctx context.Context) error {
	h.kubelet.Stop(10 * time.Second)
	if err := h.startKubelet(); err != nil {
		return err
	}
	return h.recordMore(ctx)
}

// recordMore returns when the kubelet was read once more, from the first byte to the last.
func (h *house) recordMore(ctx context.Context) error {
	reads, _ := h.record.Reads()
	return poll(ctx, time.Minute, "the kubelet to answer", func(context.Context) error {
		if err := h.alive(); err != nil {
			return err
		}
		now, err := h.record.Reads()
		if err == nil && now <= reads+1 {
			err = errors.New("it was not read yet")
		}
		return err
	})
}
