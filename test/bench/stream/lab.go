package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
	"github.com/kubernetes-resource-monitor/krm/test/bench/source"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// roles are the processes that are measured, in the order of their start. The
// streamer comes last: with it the data come.
func roles() []string { return []string{"aggregator", "apiserver", "streamer"} }

// lab is everything that runs.
type lab struct {
	cfg     config
	say     func(format string, args ...any)
	dir     string
	world   *frames.World
	source  *source.Server
	redis   *process.Redis
	krm     map[string]*process.Process
	ports   map[string]int
	http    *http.Client
	running sync.WaitGroup
	stop    context.CancelFunc
}

// openLab makes the pods and starts all but the streamer. On an error it may be
// partly there: close it all the same.
func openLab(ctx context.Context, cfg config, say func(string, ...any)) (*lab, error) {
	l := &lab{cfg: cfg, say: say, krm: map[string]*process.Process{}, ports: map[string]int{}, http: &http.Client{}}
	ctx, l.stop = context.WithCancel(ctx)
	var err error
	if l.dir, err = makeDir(cfg.keep); err != nil {
		return l, err
	}
	set := frames.New(cfg.objects, cfg.managedFields, cfg.seed)
	sizes := set.Sizes()
	say("%d pods of %d bytes on average, %d without managedFields; a frame has %d bytes", cfg.objects, sizes.Pod, sizes.Kept, sizes.Frame)
	l.world = frames.NewWorld(set, cfg.seed)
	if l.source, err = source.New(l.world); err != nil {
		return l, err
	}
	l.running.Go(func() {
		if err := l.source.Run(ctx); err != nil {
			say("%v", err)
		}
	})
	if err := l.source.WriteKubeconfig(l.path("kubeconfig")); err != nil {
		return l, err
	}
	if l.redis, err = process.StartRedis(ctx, cfg.redis, l.path("redis"), l.path("redis.log")); err != nil {
		return l, err
	}
	for _, role := range roles() {
		if role != "streamer" {
			if err := l.start(role); err != nil {
				return l, err
			}
		}
	}
	return l, process.Poll(ctx, 30*time.Second, "KRM's API server", func(ctx context.Context) error {
		_, err := process.Scrape(ctx, l.api())
		return err
	})
}

func makeDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "krm-bench-*")
	}
	return keep, os.MkdirAll(keep, 0o755)
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// api is where KRM's API server is.
func (l *lab) api() string { return fmt.Sprintf("http://127.0.0.1:%d", l.ports["apiserver"]) }

func (l *lab) start(role string) error {
	args := map[string][]string{
		"streamer":   {"--kubeconfig=" + l.path("kubeconfig"), "--resource=pods"},
		"aggregator": {"--resource=pods"},
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	l.ports[role] = port
	krm := process.Krm{Binary: l.cfg.krm, Redis: l.redis.Addr(), Logs: l.dir}
	l.krm[role], err = process.Start(krm.Spec(role, port, args[role]...))
	return err
}

// alive fails if one of KRM's processes has ended.
func (l *lab) alive() error {
	for role, p := range l.krm {
		select {
		case <-p.Done():
			return process.Final(fmt.Errorf("%s ended: %w\n%s", role, p.Err(), process.Tail(l.path(role+".log"), 15)))
		default:
		}
	}
	return nil
}

// usage reads what every process has taken so far; "source" is this one.
func (l *lab) usage() (map[string]process.Usage, error) {
	pids := map[string]int{"redis": l.redis.PID(), "source": os.Getpid()}
	for role, p := range l.krm {
		pids[role] = p.PID()
	}
	all := map[string]process.Usage{}
	for name, pid := range pids {
		used, err := process.ReadUsage(pid)
		if err != nil {
			return nil, err
		}
		all[name] = used
	}
	return all, nil
}

// close ends everything, in the reverse order of the start.
func (l *lab) close(failed bool) {
	if failed {
		for _, role := range roles() {
			fmt.Fprintf(os.Stderr, "--- the end of %s.log\n%s\n", role, process.Tail(l.path(role+".log"), 12))
		}
	}
	for _, role := range []string{"streamer", "apiserver", "aggregator"} {
		if p := l.krm[role]; p != nil {
			p.Stop(10 * time.Second)
		}
	}
	l.stop()
	if l.redis != nil {
		l.redis.Stop()
	}
	l.running.Wait()
	if failed || l.cfg.keep != "" {
		l.say("logs are kept in %s", l.dir)
		return
	}
	if err := os.RemoveAll(l.dir); err != nil {
		l.say("remove the logs: %v", err)
	}
}
