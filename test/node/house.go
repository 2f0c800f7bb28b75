package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubernetes-resource-monitor/krm/test/node/figures"
	"github.com/kubernetes-resource-monitor/krm/test/node/image"
	"github.com/kubernetes-resource-monitor/krm/test/node/sandbox"
)

const (
	nodeName   = "real-0"
	kubeletURL = "https://" + kubeletAddress + ":10250"
	burnImage  = "krm.test/burn:1"
	socket     = "/run/containerd/containerd.sock"
)

// house is everything that runs in the sandbox.
type house struct {
	cfg     config
	box     sandbox.Config
	say     func(format string, args ...any)
	admin   *rest.Config
	client  *kubernetes.Clientset
	kubelet *sandbox.Process
	krm     *sandbox.Process
	others  []*sandbox.Process
	record  *figures.Kubelet
}

func newHouse(cfg config, box sandbox.Config, p *progress) *house {
	return &house{cfg: cfg, box: box, say: p.say}
}

func (h *house) path(parts ...string) string {
	return filepath.Join(append([]string{h.box.Dir}, parts...)...)
}

func (h *house) kubeconfig() string { return h.path("cluster", "kubeconfig") }

// start brings up the control plane and one real node.
func (h *house) start(ctx context.Context) error {
	g, starting := errgroup.WithContext(ctx)
	g.Go(func() error { return h.startContainerd(starting) })
	g.Go(func() error { return h.startCluster(starting) })
	if err := g.Wait(); err != nil {
		return err
	}
	h.say("the control plane and containerd run")
	if err := h.startKubelet(); err != nil {
		return err
	}
	if err := poll(ctx, time.Minute, "the node to be ready", h.nodeReady); err != nil {
		return err
	}
	h.say("node %s is ready", nodeName)
	client, err := rest.HTTPClientFor(h.admin)
	if err != nil {
		return fmt.Errorf("connect to the kubelet: %w", err)
	}
	h.record = figures.NewKubelet(kubeletURL, client, "/"+h.box.Cgroup)
	return nil
}

// keep starts a process that must run until the end.
func (h *house) keep(name, path string, args ...string) (*sandbox.Process, error) {
	return sandbox.Start(name, h.path(name+".log"), path, args...)
}

// alive is the first process that has ended, or nil.
func (h *house) alive() error {
	for _, p := range append([]*sandbox.Process{h.kubelet, h.krm}, h.others...) {
		if p == nil {
			continue
		}
		if err := p.Alive(); err != nil {
			return err
		}
	}
	return nil
}

func (h *house) startCluster(ctx context.Context) error {
	dir := h.path("cluster")
	p, err := h.keep("control-plane", h.cfg.cluster, "up", "--dir="+dir, "--nodes=0", "--address="+serverAddress)
	if err != nil {
		return err
	}
	err = poll(ctx, 2*time.Minute, "the control plane", func(context.Context) error {
		if err := p.Alive(); err != nil {
			return err
		}
		_, err := os.Stat(filepath.Join(dir, "env")) // comes when it is ready
		return err
	})
	if err != nil {
		return err
	}
	h.others = append(h.others, p)
	if h.admin, err = clientcmd.BuildConfigFromFlags("", h.kubeconfig()); err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	h.admin.QPS = -1
	if h.client, err = kubernetes.NewForConfig(h.admin); err != nil {
		return fmt.Errorf("connect to the control plane: %w", err)
	}
	return nil
}

// startKubelet starts the kubelet, for the first time or again.
func (h *house) startKubelet() (err error) {
	h.kubelet, err = h.keep("kubelet", h.cfg.cluster, "node", "--dir="+h.path("cluster"),
		"--name="+nodeName, "--address="+kubeletAddress, "--runtime="+socket, "--cgroup-root=/"+h.box.Cgroup)
	return err
}

func (h *house) nodeReady(ctx context.Context) error {
	if err := h.alive(); err != nil {
		return err
	}
	node, err := h.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("it is not ready yet")
}

// startContainerd starts a container runtime of our own, with the one image that
// there is.
func (h *house) startContainerd(ctx context.Context) error {
	if err := os.MkdirAll(h.path("cni"), 0o755); err != nil {
		return fmt.Errorf("configure containerd: %w", err)
	}
	for path, text := range map[string]string{
		h.path("containerd.toml"):           h.containerdConfig(),
		h.path("cni", "10-bridge.conflist"): cniConfig,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("configure containerd: %w", err)
		}
	}
	archive := h.path("burn.tar")
	if err := image.Write(archive, burnImage, h.cfg.burn); err != nil {
		return err
	}
	p, err := h.keep("containerd", "containerd", "--config="+h.path("containerd.toml"))
	if err != nil {
		return err
	}
	err = poll(ctx, 30*time.Second, "containerd", func(ctx context.Context) error {
		if err := p.Alive(); err != nil {
			return err
		}
		return h.ctr(ctx, "images", "import", archive)
	})
	if err != nil {
		return err
	}
	h.others = append(h.others, p)
	return nil
}

// ctr runs containerd's own client.
func (h *house) ctr(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"--address=" + socket, "--namespace=k8s.io"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (h *house) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # In a container root may not lower the scores, and runc fails with a misleading error.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
`, h.path("containerd"), socket, burnImage, h.path("cni"))
}

const cniConfig = `{
  "cniVersion": "0.4.0", "name": "pods",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.97.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`
