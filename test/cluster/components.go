package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	_ "time/tzdata" // time zones of CronJobs

	"github.com/spf13/pflag"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register" // the kubelet asks for it
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	kwoknode "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	kwokheartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	kwokpod "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
	kwoksignals "sigs.k8s.io/kwok/pkg/utils/signals"
)

// The components, by the names under which this program starts itself.
const (
	kubeAPIServer         = "kube-apiserver"
	kubeControllerManager = "kube-controller-manager"
	kubeScheduler         = "kube-scheduler"
	kwokController        = "kwok"
	kubeletComponent      = "kubelet" // "cluster node" becomes it; "cluster up" starts none
)

// components are all processes of "cluster up" besides etcd, in the order of their start.
func components() []string {
	return []string{kubeAPIServer, kubeControllerManager, kubeScheduler, kwokController}
}

// kwokSelector is the annotation of the nodes that kwok may simulate. Others,
// such as those of a real kubelet, it leaves alone.
const kwokSelector = "kwok.x-k8s.io/node=fake"

// Ranges of the cluster's addresses. No packet goes there: they are only names.
const (
	serviceCIDR = "10.96.0.0/16"
	podCIDR     = "10.64.0.0/10"
)

// runComponent becomes the component that args name and returns its exit code.
// If they name none, ok is false.
func runComponent(args []string) (code int, ok bool) {
	if len(args) < 2 {
		return 0, false
	}
	name := args[1]
	run, ok := map[string]func() int{
		kubeAPIServer:         func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
		kubeControllerManager: func() int { return cli.Run(controllers.NewControllerManagerCommand()) },
		kubeScheduler:         func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
		kwokController:        runKwok,
		kubeletComponent:      func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	}[name]
	if !ok {
		return 0, false
	}
	os.Args = args[1:] // the components read it themselves
	return run(), true
}

// forgetGlobalFlags drops the global flags that Kubernetes' packages registered:
// their --version is no bool, which cobra's commands take for a mistake.
func forgetGlobalFlags() {
	pflag.CommandLine = pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)
}

// runKwok does what kwok's own main does.
func runKwok() int {
	forgetGlobalFlags()
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx := kwoksignals.SetupSignalContext()
	ctx, _ = kwoklog.InitFlags(ctx, flags)
	ctx, err := kwokconfig.InitFlags(ctx, flags)
	if err == nil {
		command := kwok.NewCommand(ctx)
		command.PersistentFlags().AddFlagSet(flags)
		err = command.ExecuteContext(ctx)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "kwok:", err)
		return 1
	}
	return 0
}

// componentArgs returns the command line of component name.
func componentArgs(name string, d Dir, ports Ports, extra []string) []string {
	switch name {
	case kubeAPIServer:
		return append(apiServerArgs(d, ports), extra...)
	case kubeControllerManager:
		return controllerManagerArgs(d)
	case kubeScheduler:
		return []string{"--config=" + d.conf("kube-scheduler.yaml"), "--secure-port=0"}
	case kwokController:
		return []string{
			"--config=" + d.conf("kwok.yaml"),
			"--kubeconfig=" + d.conf("kwok.kubeconfig"),
			"--manage-all-nodes=false",
			"--manage-nodes-with-annotation-selector=" + kwokSelector,
			"--node-ip=127.0.0.1",
			"--node-lease-duration-seconds=40", // without leases every node turns NotReady
			"--v=WARN",                         // INFO writes a line for every heartbeat
		}
	default:
		panic("BUG: no component is called " + name)
	}
}

func apiServerArgs(d Dir, ports Ports) []string {
	reconciler := "lease"
	if ports.host() == loopback {
		reconciler = "none" // it refuses to publish a loopback address
	}
	return []string{
		"--bind-address=" + ports.host(),
		"--advertise-address=" + ports.host(),
		fmt.Sprintf("--secure-port=%d", ports.APIServer),
		"--endpoint-reconciler-type=" + reconciler,
		"--etcd-servers=" + localURL("http", ports.EtcdClient),
		"--tls-cert-file=" + d.pki("apiserver.crt"),
		"--tls-private-key-file=" + d.pki("apiserver.key"),
		"--client-ca-file=" + d.pki("ca.crt"),
		"--kubelet-client-certificate=" + d.pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + d.pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--proxy-client-cert-file=" + d.pki("front-proxy-client.crt"),
		"--proxy-client-key-file=" + d.pki("front-proxy-client.key"),
		"--requestheader-client-ca-file=" + d.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + d.pki("sa.pub"),
		"--service-account-signing-key-file=" + d.pki("sa.key"),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
	}
}

func controllerManagerArgs(d Dir) []string {
	return []string{
		"--kubeconfig=" + d.conf("kube-controller-manager.kubeconfig"),
		"--authentication-kubeconfig=" + d.conf("kube-controller-manager.kubeconfig"),
		"--authorization-kubeconfig=" + d.conf("kube-controller-manager.kubeconfig"),
		"--secure-port=0",
		"--leader-elect=false",
		"--root-ca-file=" + d.pki("ca.crt"),
		"--service-account-private-key-file=" + d.pki("sa.key"),
		"--cluster-signing-cert-file=" + d.pki("ca.crt"),
		"--cluster-signing-key-file=" + d.pki("ca.key"),
		"--use-service-account-credentials=true",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--allocate-node-cidrs=true",
		"--cluster-cidr=" + podCIDR,
		"--node-cidr-mask-size=20",
		// The defaults (20 and 30) would take a minute for a thousand pods.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
		"--concurrent-deployment-syncs=10",
		"--concurrent-replicaset-syncs=20",
	}
}

// writeComponentConfigs writes the kubeconfigs and the files that components read.
func writeComponentConfigs(d Dir, ports Ports) error {
	server := ports.server()
	kubeconfigs := map[string]string{
		d.kubeconfig(): "admin",
		d.conf("kube-controller-manager.kubeconfig"): "kube-controller-manager",
		d.conf("kube-scheduler.kubeconfig"):          "kube-scheduler",
		d.conf("kwok.kubeconfig"):                    "kwok",
	}
	for path, user := range kubeconfigs {
		if err := writeKubeconfig(d, path, server, user); err != nil {
			return err
		}
	}
	files := map[string]string{
		d.conf("kube-scheduler.yaml"): fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  kubeconfig: %q
  qps: 1000
  burst: 2000
leaderElection:
  leaderElect: false
`, d.conf("kube-scheduler.kubeconfig")),
		d.conf("kwok.yaml"): kwokStages(),
	}
	for path, text := range files {
		if err := writeFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}

// kwokStages is how kwok plays nodes and pods: at once, with lease heartbeats.
// The texts come from the kwok module itself.
func kwokStages() string {
	return strings.Join([]string{
		kwoknode.DefaultNodeInit,
		kwokheartbeat.DefaultNodeHeartbeatWithLease,
		kwokpod.DefaultPodReady,
		kwokpod.DefaultPodComplete,
		kwokpod.DefaultPodDelete,
	}, "\n---\n")
}
