package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubernetes-resource-monitor/krm/client"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/faultproxy"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/reader"
)

// impatient makes KRM notice a silent connection within the time of a story.
const impatient = "--silence=10s"

// roles are KRM's processes, in the order of their start.
func roles() []string { return []string{"streamer", "verifier", "aggregator", "apiserver"} }

// house is everything that runs for this suite.
type house struct {
	*progress
	cfg     config
	dir     string
	running sync.WaitGroup // what runs in the background

	cluster *cluster
	truth   *rest.Config // of the API server itself
	direct  *http.Client // to the API server itself
	world   *world
	proxy   *faultproxy.Proxy
	redis   *process.Redis
	krm     map[string]*process.Keeper
	ports   map[string]int
	http    *http.Client // to KRM
	client  *client.Client

	journals map[kind]*reader.Journal
	informer string // watch or poll
}

// openHouse starts the control plane, the proxy in front of it, and Redis. What runs
// in the background ends with ctx. On an error the house may be partly there: close
// it all the same.
func openHouse(ctx context.Context, cfg config, p *progress) (*house, error) {
	dir, err := makeDir(cfg.keep)
	if err != nil {
		return nil, err
	}
	h := &house{progress: p, cfg: cfg, dir: dir, krm: map[string]*process.Keeper{}, ports: map[string]int{}, http: &http.Client{}}
	h.say("logs are in %s", dir)
	if h.cluster, err = openCluster(ctx, cfg, dir); err != nil {
		return h, err
	}
	h.say("the control plane is ready")
	if h.truth, err = clientcmd.BuildConfigFromFlags("", h.cluster.kubeconfig()); err != nil {
		return h, fmt.Errorf("read the cluster's kubeconfig: %w", err)
	}
	if h.direct, err = rest.HTTPClientFor(h.truth); err != nil {
		return h, fmt.Errorf("connect to the API server: %w", err)
	}
	if h.world, err = newWorld(h.truth, cfg.pods); err != nil {
		return h, err
	}
	if err := h.openProxy(ctx); err != nil {
		return h, err
	}
	if h.redis, err = process.StartRedis(ctx, cfg.redis, h.path("redis"), h.path("redis.log")); err != nil {
		return h, err
	}
	return h, nil
}

func makeDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "krm-e2e-*")
	}
	return keep, os.MkdirAll(keep, 0o755)
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) openProxy(ctx context.Context) error {
	log, err := os.Create(h.path("proxy.log"))
	if err != nil {
		return err
	}
	handler := slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})
	if h.proxy, err = faultproxy.New(h.truth, slog.New(handler)); err != nil {
		return err
	}
	h.running.Go(func() {
		defer log.Close()
		if err := h.proxy.Run(ctx); err != nil {
			h.say("%v", err)
		}
	})
	return h.proxy.WriteKubeconfig(h.path("kubeconfig"))
}

// furnish fills the cluster, starts KRM and its readers, and returns once KRM
// serves every kind.
func (h *house) furnish(ctx context.Context) error {
	if err := h.world.furnish(ctx); err != nil {
		return err
	}
	h.say("%d pods run", h.cfg.pods)
	if err := h.startKRM(); err != nil {
		return err
	}
	if err := h.catchUp(ctx, 90*time.Second); err != nil {
		return err
	}
	h.startReaders(ctx)
	h.say("KRM serves all %d kinds; its readers %s", len(kinds()), h.informer)
	return nil
}

func (h *house) startKRM() error {
	krm := process.Krm{Binary: h.cfg.krm, Redis: h.redis.Addr(), Logs: h.dir}
	var watched []string
	for _, k := range kinds() {
		watched = append(watched, "--resource="+k.name())
	}
	kubeconfig := "--kubeconfig=" + h.path("kubeconfig")
	args := map[string][]string{
		"streamer":   append([]string{kubeconfig, impatient}, watched...),
		"verifier":   append([]string{kubeconfig, impatient, "--verify-every=1h"}, watched...),
		"aggregator": watched,
		"apiserver":  nil,
	}
	for _, role := range roles() {
		port, err := process.FreePort()
		if err != nil {
			return err
		}
		h.ports[role] = port
		if h.krm[role], err = process.Keep(krm.Spec(role, port, args[role]...)); err != nil {
			return err
		}
	}
	var err error
	h.client, err = client.New(h.krmURL(), client.Options{})
	return err
}

// calm gives streamer and verifier the silence of production. The short one suits
// objects that change all the time: quiet ones would be watched anew every time.
func (h *house) calm() error {
	for _, role := range []string{"streamer", "verifier"} {
		err := h.krm[role].Restart(10*time.Second, func(spec *process.Spec) {
			spec.Args = slices.DeleteFunc(spec.Args, func(arg string) bool { return arg == impatient })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// krmURL is where KRM's API server is.
func (h *house) krmURL() string { return fmt.Sprintf("http://127.0.0.1:%d", h.ports["apiserver"]) }

// startReaders starts one reader per kind: an informer if KRM answers watches.
func (h *house) startReaders(ctx context.Context) {
	h.journals, h.informer = map[kind]*reader.Journal{}, "poll"
	if reader.Watches(ctx, h.http, h.krmURL()) {
		h.informer = "watch"
	}
	for _, k := range kinds() {
		journal := reader.NewJournal(k.name())
		h.journals[k] = journal
		h.running.Go(func() {
			if h.informer == "poll" {
				reader.Poll(ctx, h.http, h.krmURL(), k.list(), time.Second, journal)
				return
			}
			config := &rest.Config{Host: h.krmURL(), QPS: -1}
			if err := reader.Inform(ctx, config, k.GroupVersionResource, journal); err != nil {
				h.say("informer of %s: %v", k.name(), err)
			}
		})
	}
}

// unaskedExits are the ends of KRM's processes that were not our doing.
func (h *house) unaskedExits() (exits []process.Exit) {
	for _, role := range roles() {
		if keeper := h.krm[role]; keeper != nil {
			exits = append(exits, keeper.Exits()...)
		}
	}
	return exits
}

// close ends everything, in the reverse order of the start; the context of openHouse
// must have ended. If the suite failed it
// shows the ends of the logs, and keeps them.
func (h *house) close(failed bool) {
	if failed {
		for _, role := range roles() {
			fmt.Fprintf(os.Stderr, "--- the end of %s.log\n%s\n", role, process.Tail(h.path(role+".log"), 15))
		}
	}
	for _, role := range []string{"apiserver", "aggregator", "verifier", "streamer"} {
		if keeper := h.krm[role]; keeper != nil {
			keeper.Stop(10 * time.Second)
		}
	}
	if h.redis != nil {
		h.redis.Stop()
	}
	h.running.Wait()
	if h.cluster != nil {
		if h.world != nil && h.cluster.own == nil {
			if err := h.world.clear(context.Background()); err != nil {
				h.say("tidy up: %v", err)
			}
		}
		h.cluster.close()
	}
	if failed || h.cfg.keep != "" {
		h.say("logs are kept in %s", h.dir)
		return
	}
	if err := os.RemoveAll(h.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		h.say("remove the logs: %v", err)
	}
}
