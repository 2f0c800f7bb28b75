package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// NodeConfig says which real node "cluster node" runs.
type NodeConfig struct {
	Name       string   // of the node object
	Address    string   // where the kubelet listens, and the node's InternalIP
	Port       int      // of the kubelet
	Runtime    string   // socket of containerd
	CgroupRoot string   // cgroup under which pods live; it must exist
	Args       []string // more of the kubelet's own arguments
}

// RegisterFlags adds c's flags to fs, with the defaults.
func (c *NodeConfig) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Name, "name", "real-0", "the node's name")
	fs.StringVar(&c.Address, "address", "", "address that the kubelet listens on; it refuses loopback (required)")
	fs.IntVar(&c.Port, "port", 10250, "the kubelet's port")
	fs.StringVar(&c.Runtime, "runtime", "/run/containerd/containerd.sock", "containerd's socket")
	fs.StringVar(&c.CgroupRoot, "cgroup-root", "/", "cgroup under which pods live; it must exist")
	fs.StringArrayVar(&c.Args, "kubelet-arg", nil, "one more argument for the kubelet, such as --kubelet-arg=--v=4 (may be repeated)")
}

// Validate joins all faults of c.
func (c *NodeConfig) Validate() error {
	var faults []error
	if c.Name == "" {
		faults = append(faults, errors.New("name the node with --name=NAME"))
	}
	if ip := net.ParseIP(c.Address); ip == nil || ip.IsLoopback() {
		faults = append(faults, fmt.Errorf("--address=%s: give an IP address of this machine that is not loopback", c.Address))
	}
	if c.Port < 1 || c.Port > 65535 {
		faults = append(faults, fmt.Errorf("--port=%d: give a port between 1 and 65535", c.Port))
	}
	if !filepath.IsAbs(c.Runtime) || !filepath.IsAbs(c.CgroupRoot) {
		faults = append(faults, errors.New("--runtime and --cgroup-root must begin with /"))
	}
	return errors.Join(faults...)
}

func newNodeCommand() *cobra.Command {
	var cfg NodeConfig
	cmd := newDirCommand("node --dir=DIR --address=IP", "Run a real kubelet for the cluster in the foreground: root, with containerd, in namespaces of your own", cobra.NoArgs,
		func(_ *cobra.Command, d Dir, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return err
			}
			return becomeKubelet(d, cfg)
		})
	cfg.RegisterFlags(cmd.Flags())
	return cmd
}

// becomeKubelet turns this process into the kubelet of a node of the cluster in d.
// It returns only an error.
func becomeKubelet(d Dir, cfg NodeConfig) error {
	env, err := d.readEnv()
	if err != nil {
		return err
	}
	file := "kubelet-" + cfg.Name
	if err := prepareNode(d, cfg, file, env["APISERVER"]); err != nil {
		return err
	}
	self, err := thisProgram()
	if err != nil {
		return err
	}
	args := append([]string{
		self, kubeletComponent,
		"--config=" + d.conf(file+".yaml"),
		"--kubeconfig=" + d.conf(file+".kubeconfig"),
		"--root-dir=" + d.nodeDir(cfg.Name),
		"--cert-dir=" + d.join("pki"),
		"--hostname-override=" + cfg.Name,
		"--node-ip=" + cfg.Address,
		"--containerd=" + cfg.Runtime, // without it cAdvisor knows no container's name, and pods have no network figures
	}, cfg.Args...)
	return fmt.Errorf("start the kubelet: %w", syscall.Exec(self, args, os.Environ()))
}

// nodeDir is where the kubelet of a node keeps its pods' volumes.
func (d Dir) nodeDir(name string) string { return d.join("nodes", name) }

// prepareNode writes the node's certificate, credentials and configuration.
func prepareNode(d Dir, cfg NodeConfig, file, server string) error {
	ca, err := openAuthority(d, "ca", "krm-test-cluster")
	if err != nil {
		return err
	}
	id := identity{
		file: file, name: "system:node:" + cfg.Name, groups: []string{"system:nodes"},
		hosts: []string{cfg.Name, cfg.Address},
	}
	if err := ca.issue(d, id); err != nil {
		return err
	}
	if err := writeKubeconfig(d, d.conf(file+".kubeconfig"), server, file); err != nil {
		return err
	}
	folder := d.nodeDir(cfg.Name)
	if err := os.MkdirAll(filepath.Join(folder, "logs"), 0o755); err != nil {
		return fmt.Errorf("make the node's folder: %w", err)
	}
	text, err := yaml.Marshal(kubeletConfig(d, cfg, file))
	if err != nil {
		return fmt.Errorf("write the kubelet's configuration: %w", err)
	}
	for path, text := range map[string][]byte{
		d.conf(file + ".yaml"): text,
		d.conf("resolv.conf"):  nil, // pods need no names, and the host's resolver is not theirs
	} {
		if err := writeFile(path, text, 0o600); err != nil {
			return fmt.Errorf("write the kubelet's configuration: %w", err)
		}
	}
	return nil
}

// kubeletConfig keeps everything that the kubelet writes within the cluster's folder
// and its own cgroup, and lets a busy machine with a full disk be a good node.
func kubeletConfig(d Dir, cfg NodeConfig, file string) map[string]any {
	folder := d.nodeDir(cfg.Name)
	root := strings.TrimSuffix(cfg.CgroupRoot, "/")
	return map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"address":                  cfg.Address,
		"port":                     cfg.Port,
		"healthzBindAddress":       cfg.Address,
		"tlsCertFile":              d.pki(file + ".crt"),
		"tlsPrivateKeyFile":        d.pki(file + ".key"),
		"authentication":           map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": true}, "x509": map[string]any{"clientCAFile": d.pki("ca.crt")}},
		"authorization":            map[string]any{"mode": "Webhook"},
		"containerRuntimeEndpoint": "unix://" + cfg.Runtime,
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               cfg.CgroupRoot,
		"kubeletCgroups":           root + "/kubelet",
		"makeIPTablesUtilChains":   false,
		"resolvConf":               d.conf("resolv.conf"),
		"podLogsDir":               filepath.Join(folder, "logs"),
		"volumePluginDir":          filepath.Join(folder, "volume-plugins"),
		"oomScoreAdj":              0, // a container's root may not lower it
		"evictionHard":             map[string]string{"memory.available": "64Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
		// Never clean up images: the disk may be nearly full for other reasons.
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"syncFrequency":               "10s",
		"fileCheckFrequency":          "0s",
		"httpCheckFrequency":          "0s",
		"enableServer":                true,
		"serializeImagePulls":         false,
		"shutdownGracePeriod":         "0s",
		"logging":                     map[string]any{"format": "text"},
	}
}
