package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// house is everything that runs for this suite.
type house struct {
	*progress
	cfg     config
	dir     string
	running sync.WaitGroup // what runs in the background

	truth    *side    // the API server
	second   *side    // KRM, both replicas in turn, or the API server once more
	replicas []string // where KRM's API servers are
	world    *world
	redis    *process.Redis
	krm      []*process.Keeper // in the order of their start
}

// openHouse fills the cluster and starts KRM beside it. On an error the house may
// be partly there: close it all the same.
func openHouse(ctx context.Context, cfg config, p *progress) (*house, error) {
	h := &house{progress: p, cfg: cfg}
	var err error
	if h.dir, err = makeDir(cfg.keep); err != nil {
		return nil, err
	}
	h.say("logs are in %s", h.dir)
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(cfg.clusterDir, "kubeconfig"))
	if err != nil {
		return h, fmt.Errorf("read the cluster's kubeconfig: %w", err)
	}
	if h.truth, err = newSide("apiserver", config, h.dir); err != nil {
		return h, err
	}
	if h.world, err = newWorld(h.truth.config); err != nil {
		return h, err
	}
	if err := h.world.furnish(ctx); err != nil {
		return h, err
	}
	h.say("the world is furnished")
	if err := h.expire(ctx); err != nil {
		return h, err
	}
	if cfg.second == "apiserver" {
		h.second, err = newSide("again", config, h.dir)
		return h, err
	}
	return h, h.startKRM(ctx)
}

// expire makes the API server forget every version so far, as it does by itself after
// a few minutes.
func (h *house) expire(ctx context.Context) error {
	if h.cfg.cluster == "" {
		return nil
	}
	for _, order := range [][]string{{"compact"}, {"restart", "kube-apiserver"}} {
		args := append(order, "--dir="+h.cfg.clusterDir)
		if out, err := exec.CommandContext(ctx, h.cfg.cluster, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("cluster %s: %w\n%s", order[0], err, out)
		}
	}
	return process.Poll(ctx, time.Minute, "the API server to be back", func(ctx context.Context) error {
		got, err := h.truth.ask(ctx, http.MethodGet, "/readyz", nil)
		if err == nil && got.status != http.StatusOK {
			err = fmt.Errorf("/readyz: %d", got.status)
		}
		return err
	})
}

func makeDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "krm-compat-*")
	}
	return keep, os.MkdirAll(keep, 0o755)
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// startKRM starts all of KRM, with two API servers, and returns once both serve
// everything.
func (h *house) startKRM(ctx context.Context) (err error) {
	if err := os.RemoveAll(h.path("redis")); err != nil { // of an earlier run with --keep
		return err
	}
	if h.redis, err = process.StartRedis(ctx, h.cfg.redis, h.path("redis"), h.path("redis.log")); err != nil {
		return err
	}
	krm := process.Krm{Binary: h.cfg.krm, Redis: h.redis.Addr(), Logs: h.dir}
	pki := filepath.Join(h.cfg.clusterDir, "pki") // its certificate is for all of 127.0.0.1
	serving := []string{
		"--auth=kubernetes", "--kubeconfig=" + h.truth.kubeconfig,
		"--tls-cert-file=" + filepath.Join(pki, "apiserver.crt"), "--tls-private-key-file=" + filepath.Join(pki, "apiserver.key"),
	}
	resources := "--resource=" + strings.Join(watched(), ",")
	kubeconfig := "--kubeconfig=" + h.truth.kubeconfig
	for _, start := range []struct {
		role string
		args []string
	}{
		{"streamer", []string{kubeconfig, resources}},
		{"verifier", []string{kubeconfig, resources}},
		{"aggregator", []string{resources}},
		{"apiserver", serving},
		{"apiserver", serving},
	} {
		port, err := process.FreePort()
		if err != nil {
			return err
		}
		spec := krm.Spec(start.role, port, start.args...)
		if start.role == "apiserver" {
			h.replicas = append(h.replicas, fmt.Sprintf("https://127.0.0.1:%d", port))
			spec.Name = fmt.Sprintf("apiserver-%d", len(h.replicas))
			spec.Log = h.path(spec.Name + ".log")
		}
		keeper, err := process.Keep(spec)
		if err != nil {
			return err
		}
		h.krm = append(h.krm, keeper)
	}
	for _, replica := range h.replicas {
		if err := process.Poll(ctx, time.Minute, "KRM to serve everything", func(ctx context.Context) error { return h.ready(ctx, replica) }); err != nil {
			return err
		}
	}
	h.say("KRM serves %d resources at %s", len(watched()), strings.Join(h.replicas, " and "))
	config := rest.CopyConfig(h.truth.config) // with the same credentials
	config.Host = h.replicas[0]
	h.second, err = newSide("krm", config, h.dir)
	return err
}

// ready returns nil once the replica's /readyz says so.
func (h *house) ready(ctx context.Context, replica string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, replica+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := h.truth.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s/readyz: %s", replica, response.Status)
	}
	return nil
}

// unaskedExits are the ends of KRM's processes that were not our doing.
func (h *house) unaskedExits() (exits []process.Exit) {
	for _, keeper := range h.krm {
		exits = append(exits, keeper.Exits()...)
	}
	return exits
}

// close ends everything, in the reverse order of the start; the context of openHouse
// must have ended. If the suite failed it shows the ends of the logs, and keeps them.
func (h *house) close(failed bool) {
	if failed {
		for _, keeper := range h.krm {
			spec := keeper.Spec()
			fmt.Fprintf(os.Stderr, "--- the end of the log of %s\n%s\n", spec.Name, process.Tail(spec.Log, 5))
		}
	}
	for i := len(h.krm) - 1; i >= 0; i-- {
		h.krm[i].Stop(10 * time.Second)
	}
	if h.redis != nil {
		h.redis.Stop()
	}
	h.running.Wait()
	if failed || h.cfg.keep != "" {
		h.say("logs are kept in %s", h.dir)
		return
	}
	if err := os.RemoveAll(h.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		h.say("remove the logs: %v", err)
	}
}
