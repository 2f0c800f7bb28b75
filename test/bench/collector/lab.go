package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/store"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// lab is everything that runs for one fleet.
type lab struct {
	cfg       config
	dir       string
	redis     *process.Redis
	store     *store.Store
	kubelets  *process.Process
	collector *process.Process
	apiserver *process.Process
	base      string // the apiserver's address
	collects  string // the collector's address
	http      *http.Client
}

// openLab starts Redis and the kubelets, and puts the fleet's objects into KRM's
// snapshots. On an error it may be partly there: close it all the same.
func openLab(ctx context.Context, cfg config, dir string, nodes int, say func(string, ...any)) (*lab, error) {
	l := &lab{cfg: cfg, dir: dir, http: &http.Client{Timeout: time.Minute}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return l, err
	}
	var err error
	if l.redis, err = process.StartRedis(ctx, cfg.redis, l.path("redis"), l.path("redis.log")); err != nil {
		return l, err
	}
	if err := l.startKubelets(ctx, nodes); err != nil {
		return l, err
	}
	say("%d kubelets answer", nodes)
	if l.store, err = store.Connect(ctx, store.Options{Addrs: []string{l.redis.Addr()}}, slog.New(slog.DiscardHandler)); err != nil {
		return l, err
	}
	for _, resource := range resources() {
		n, err := furnish(ctx, l.store, resource, l.path("kubelets", resource.Name+".ndjson"))
		if err != nil {
			return l, fmt.Errorf("put %v into KRM: %w", resource, err)
		}
		say("%d %v are in KRM", n, resource)
	}
	return l, nil
}

func (l *lab) path(names ...string) string {
	return filepath.Join(append([]string{l.dir}, names...)...)
}

// startKubelets returns once all of them answer.
func (l *lab) startKubelets(ctx context.Context, nodes int) error {
	log := l.path("kubelets.log")
	var err error
	l.kubelets, err = process.Start(process.Spec{
		Name: "kubelets", Path: l.cfg.kubelets, Log: log,
		Args: []string{
			fmt.Sprintf("--nodes=%d", nodes), fmt.Sprintf("--pods=%d", l.cfg.pods), fmt.Sprintf("--containers=%d", l.cfg.containers),
			"--dir=" + l.path("kubelets"), "--log-level=warn",
		},
	})
	if err != nil {
		return err
	}
	return process.Poll(ctx, 2*time.Minute, "the kubelets", func(context.Context) error {
		out, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready ") {
				return nil
			}
		}
		select {
		case <-l.kubelets.Done():
			return process.Final(fmt.Errorf("the kubelets ended: %w\n%s", l.kubelets.Err(), process.Tail(log, 10)))
		default:
			return fmt.Errorf("they do not answer yet: see %s", log)
		}
	})
}

// startCollector and startAPIServer start what is measured.
func (l *lab) startCollector(ctx context.Context) error {
	var err error
	l.collector, l.collects, err = l.start(ctx, "collector",
		"--source=kubernetes.summary_api:http://127.0.0.1?inClusterConfig=false&kubeletCAFile="+l.path("kubelets", "ca.crt"),
		fmt.Sprintf("--metric-resolution=%v", l.cfg.resolution))
	return err
}

func (l *lab) startAPIServer(ctx context.Context) error {
	var err error
	l.apiserver, l.base, err = l.start(ctx, "apiserver")
	return err
}

func (l *lab) start(ctx context.Context, role string, args ...string) (*process.Process, string, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, "", err
	}
	krm := process.Krm{Binary: l.cfg.krm, Redis: l.redis.Addr(), Logs: l.dir}
	p, err := process.Start(krm.Spec(role, port, args...))
	if err != nil {
		return nil, "", err
	}
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	return p, base, process.Poll(ctx, 30*time.Second, role, func(ctx context.Context) error {
		select {
		case <-p.Done():
			return process.Final(fmt.Errorf("%s ended: %w\n%s", role, p.Err(), process.Tail(l.path(role+".log"), 15)))
		default:
		}
		_, err := process.Scrape(ctx, base)
		return err
	})
}

// alive fails if something has ended.
func (l *lab) alive() error {
	for name, p := range map[string]*process.Process{"kubelets": l.kubelets, "collector": l.collector, "apiserver": l.apiserver} {
		if p == nil {
			continue
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s ended: %w\n%s", name, p.Err(), process.Tail(l.path(name+".log"), 15))
		default:
		}
	}
	return nil
}

// close ends everything, in the reverse order of its start.
func (l *lab) close() error {
	for _, p := range []*process.Process{l.apiserver, l.collector} {
		if p != nil {
			p.Stop(20 * time.Second)
		}
	}
	var err error
	if l.store != nil {
		err = l.store.Close()
	}
	if l.kubelets != nil {
		l.kubelets.Stop(10 * time.Second)
	}
	if l.redis != nil {
		l.redis.Stop()
	}
	return err
}
