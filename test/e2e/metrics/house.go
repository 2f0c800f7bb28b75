package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// resolution is the shortest that the collector takes.
const resolution = 5 * time.Second

// house is everything that runs for this suite.
type house struct {
	*progress
	cfg config
	dir string

	truth *kubernetes.Clientset // the control plane
	world *world
	redis *process.Redis
	krm   map[string]*process.Keeper // by name
	order []string                   // in which they were started

	simulated, recorded *kubelets // test/kubelets for the control plane's nodes, and for the recordings
	model               *asker    // KRM's API server
	collector           *asker
	tokens, token       string  // the files with the tokens that kubelets take, and with ours
	before              []error // what was wrong with the answers before there were metrics
}

// kubelets is a running test/kubelets.
type kubelets struct {
	keeper  *process.Keeper
	control *asker
	about   map[string]string // of its ready line
}

// openHouse fills the cluster and starts kubelets and KRM beside it. On an error the
// house may be partly there: close it all the same.
func openHouse(ctx context.Context, cfg config, p *progress) (*house, error) {
	h := &house{progress: p, cfg: cfg, krm: map[string]*process.Keeper{}}
	var err error
	if h.dir, err = makeDir(cfg.keep); err != nil {
		return nil, err
	}
	h.say("logs are in %s", h.dir)
	config, err := clientcmd.BuildConfigFromFlags("", h.clusterKubeconfig())
	if err != nil {
		return h, fmt.Errorf("read the cluster's kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 100, 200
	if h.truth, err = kubernetes.NewForConfig(config); err != nil {
		return h, err
	}
	h.world = &world{client: h.truth}
	if err := h.world.furnish(ctx); err != nil {
		return h, err
	}
	if err := h.startKubelets(ctx, config.Host); err != nil {
		return h, err
	}
	if err := h.startKRM(ctx, config.Host); err != nil {
		return h, err
	}
	return h, nil
}

func makeDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "krm-metrics-*")
	}
	return keep, os.MkdirAll(keep, 0o755)
}

func (h *house) path(name string) string   { return filepath.Join(h.dir, name) }
func (h *house) clusterKubeconfig() string { return filepath.Join(h.cfg.clusterDir, "kubeconfig") }

// startKubelets plays the recorded nodes, which take anyone, and the cluster's
// simulated ones, which ask for a token.
func (h *house) startKubelets(ctx context.Context, server string) (err error) {
	h.tokens, h.token = h.path("tokens"), h.path("token")
	if err := h.writeToken("first-token"); err != nil {
		return err
	}
	// The collector must have a kubeconfig with a token of its own: it sends it to kubelets.
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {tokenFile: %q}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, server, h.token)
	if err := os.WriteFile(h.path("collector.kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		return err
	}
	if h.simulated, err = h.play(ctx, "kubelets-simulated", "--kubeconfig="+h.clusterKubeconfig(), "--housekeeping=1s", "--token-file="+h.tokens); err != nil {
		return err
	}
	h.recorded, err = h.play(ctx, "kubelets-recorded", "--fixtures="+h.cfg.fixtures)
	return err
}

// writeToken is a rotation: kubelets take this token alone from now on, and it is ours.
func (h *house) writeToken(token string) error {
	for _, file := range []string{h.token, h.tokens} {
		if err := os.WriteFile(file+".new", []byte(token+"\n"), 0o600); err != nil {
			return err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return err
		}
	}
	return nil
}

var readyLine = regexp.MustCompile(`(?m)^ready .*$`)

func (h *house) play(ctx context.Context, name string, args ...string) (*kubelets, error) {
	spec := process.Spec{Name: name, Path: h.cfg.kubelets, Log: h.path(name + ".log"), Args: append(args, "--dir="+h.path(name))}
	keeper, err := process.Keep(spec)
	if err != nil {
		return nil, err
	}
	h.keep(name, keeper)
	k := &kubelets{keeper: keeper, about: map[string]string{}}
	err = process.Poll(ctx, 30*time.Second, name, func(context.Context) error {
		text, err := os.ReadFile(spec.Log)
		if err != nil {
			return err
		}
		line := readyLine.FindString(string(text))
		if line == "" {
			return fmt.Errorf("no ready line")
		}
		for _, field := range strings.Fields(line) {
			key, value, _ := strings.Cut(field, "=")
			k.about[key] = value
		}
		return nil
	})
	k.control = newAsker(k.about["control"], http.DefaultTransport)
	return k, err
}

func (h *house) keep(name string, keeper *process.Keeper) {
	h.krm[name] = keeper
	h.order = append(h.order, name)
}

// startKRM starts what the metrics need of KRM, and returns once both clusters'
// metrics are served.
func (h *house) startKRM(ctx context.Context, server string) (err error) {
	if err := os.RemoveAll(h.path("redis")); err != nil { // of an earlier run with --keep
		return err
	}
	if h.redis, err = process.StartRedis(ctx, h.cfg.redis, h.path("redis"), h.path("redis.log")); err != nil {
		return err
	}
	krm := process.Krm{Binary: h.cfg.krm, Redis: h.redis.Addr(), Logs: h.dir}
	resources, kubeconfig := "--resource=pods,nodes,namespaces", "--kubeconfig="+h.clusterKubeconfig()
	fixtures := "?inClusterConfig=false&cluster_name=fixtures"
	for _, start := range []struct {
		role string
		at   **asker
		args []string
	}{
		{"streamer", nil, []string{kubeconfig, resources}},
		{"aggregator", nil, []string{resources}},
		{"apiserver", &h.model, []string{"--auth=none"}},
		{"collector", &h.collector, []string{
			"--metric-resolution=" + resolution.String(),
			"--source=kubernetes.summary_api:" + server + "?inClusterConfig=false&auth=" + h.path("collector.kubeconfig") + "&kubeletCAFile=" + h.simulated.about["ca"],
			"--source=kubernetes:" + h.recorded.about["api"] + fixtures + "&kubeletCAFile=" + h.recorded.about["ca"],
			"--source=dcgm:" + h.recorded.about["dcgm"] + fixtures + "&nodeSelector=kubernetes.io/hostname=host-a",
			"--sink=redis", "--sink=log", "--sink=prometheus",
		}},
	} {
		if start.role == "collector" {
			if err := h.beforeMetrics(ctx); err != nil {
				return err
			}
		}
		port, err := process.FreePort()
		if err != nil {
			return err
		}
		keeper, err := process.Keep(krm.Spec(start.role, port, start.args...))
		if err != nil {
			return err
		}
		h.keep(start.role, keeper)
		if start.at != nil {
			*start.at = newAsker(fmt.Sprintf("http://127.0.0.1:%d", port), &http.Transport{MaxIdleConnsPerHost: 8})
		}
	}
	err = process.Poll(ctx, time.Minute, "metrics of both clusters", func(ctx context.Context) error {
		if exits := h.unaskedExits(); len(exits) > 0 {
			return process.Final(errors.New(exits[0]))
		}
		for _, root := range []string{"/api/v1/model", fixturesRoot} {
			var nodes []string
			if _, err := h.model.get(ctx, root+"/nodes/", &nodes); err != nil {
				return err
			}
			if len(nodes) == 0 {
				return fmt.Errorf("%s has no nodes", root)
			}
		}
		return nil
	})
	h.say("KRM serves metrics at %s, the collector is at %s", h.model.base, h.collector.base)
	return err
}

// beforeMetrics asks the API server before anything was collected.
func (h *house) beforeMetrics(ctx context.Context) error {
	err := process.Poll(ctx, 30*time.Second, "the API server", func(ctx context.Context) error {
		var nodes []string
		_, err := h.model.get(ctx, "/api/v1/model/nodes/", &nodes)
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range emptyEndpoints() {
		h.before = append(h.before, e.run(ctx, h.model))
	}
	return nil
}

// unaskedExits are the ends of processes that were not our doing: of each process the
// first, and how many there were.
func (h *house) unaskedExits() (exits []string) {
	for _, name := range h.order {
		if all := h.krm[name].Exits(); len(all) > 0 {
			exits = append(exits, fmt.Sprintf("%v (%d times)", all[0], len(all)))
		}
	}
	return exits
}

// close ends everything, in the reverse order of the start, and takes our nodes away.
// If the suite failed it shows the ends of the logs, and keeps them.
func (h *house) close(failed bool) {
	if failed {
		for _, name := range h.order {
			fmt.Fprintf(os.Stderr, "--- the end of the log of %s\n%s\n", name, process.Tail(h.krm[name].Spec().Log, 6))
		}
	}
	for i := len(h.order) - 1; i >= 0; i-- {
		h.krm[h.order[i]].Stop(10 * time.Second)
	}
	if h.redis != nil {
		h.redis.Stop()
	}
	if h.world != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := h.world.clear(ctx); err != nil {
			h.say("take our nodes away: %v", err)
		}
	}
	if failed || h.cfg.keep != "" {
		h.say("logs are kept in %s", h.dir)
		return
	}
	if err := os.RemoveAll(h.dir); err != nil {
		h.say("remove the logs: %v", err)
	}
}
