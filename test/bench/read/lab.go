package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

const apiServer = "kube-apiserver"

// roles are KRM's processes, in the order of their start. The data come with the
// streamer, so that the apiserver can be weighed before.
func roles() []string { return []string{"apiserver", "aggregator", "verifier", "streamer"} }

// lab is everything that runs.
type lab struct {
	cfg     config
	say     func(format string, args ...any)
	dir     string
	cluster *cluster
	redis   *process.Redis
	krm     map[string]*process.Process
	sides   [2]*side
	churner *churner
	memory  memory
	running sync.WaitGroup
	stop    context.CancelFunc
}

// memory is what a pod takes in KRM's apiserver, in bytes.
type memory struct {
	empty  int64   // resident, of the whole process, before there was a pod
	mirror float64 // by the mirror's own account
	heap   float64 // of the heap in use
	rss    float64 // by which resident memory grew until all pods were there
	forms  float64 // of the cache of other forms, at the end, by its own account
	end    float64 // by which resident memory grew until the end, other forms included
}

// openLab starts everything and returns once both sides serve all pods. On an error
// it may be partly there: close it all the same.
func openLab(ctx context.Context, cfg config, say func(string, ...any)) (*lab, error) {
	l := &lab{cfg: cfg, say: say, krm: map[string]*process.Process{}}
	ctx, l.stop = context.WithCancel(ctx)
	var err error
	if l.dir, err = makeDir(cfg.keep); err != nil {
		return l, err
	}
	if l.cluster, err = openCluster(ctx, cfg.cluster, l.path("cluster"), l.path("cluster.log")); err != nil {
		return l, err
	}
	say("the control plane is ready")
	began := time.Now()
	if err := furnishNodes(ctx, l.cluster.admin, cfg.pods); err != nil {
		return l, err
	}
	l.running.Go(func() { keepNodes(ctx, l.cluster.admin, cfg.pods, say) })
	if err := furnish(ctx, l.cluster.admin, cfg.pods, cfg.seed); err != nil {
		return l, err
	}
	say("%d pods in %d namespaces made in %.1f s", cfg.pods, shares(cfg.pods, perNamespace), time.Since(began).Seconds())
	if err := l.openKube(ctx); err != nil {
		return l, err
	}
	if err := l.findPods(ctx); err != nil {
		return l, err
	}
	if cfg.same {
		again := *l.sides[kube]
		again.name += ", again"
		l.sides[krm] = &again
		return l, nil
	}
	if err := l.openKRM(ctx); err != nil {
		return l, err
	}
	return l, l.fill(ctx)
}

func makeDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "krm-bench-*")
	}
	return keep, os.MkdirAll(keep, 0o755)
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// openKube makes the reader's account and its way to kube-apiserver.
func (l *lab) openKube(ctx context.Context) error {
	token, err := newToken(ctx, l.cluster.admin)
	if err != nil {
		return err
	}
	pids, err := l.cluster.pids()
	if err != nil {
		return err
	}
	s := &side{
		name: apiServer, base: l.cluster.config.Host, token: token, ca: l.cluster.config.CAData,
		version: l.cfg.http, pid: pids[apiServer],
	}
	l.sides[kube] = s
	if err := s.connect(); err != nil {
		return err
	}
	return process.Poll(ctx, 30*time.Second, "the reader's rights", func(ctx context.Context) error {
		_, err := s.get(ctx, "/api/v1/namespaces/"+namespaceOf(0)+"/pods?limit=1")
		return err
	})
}

// findPods remembers the names of all pods.
func (l *lab) findPods(ctx context.Context) error {
	pods, err := l.cluster.admin.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods: %w", err)
	}
	if len(pods.Items) != l.cfg.pods {
		return fmt.Errorf("the cluster has %d pods, want %d: somebody removes or adds some", len(pods.Items), l.cfg.pods)
	}
	l.churner = &churner{admin: l.cluster.admin}
	for i := range pods.Items {
		l.churner.pods = append(l.churner.pods, types.NamespacedName{Namespace: pods.Items[i].Namespace, Name: pods.Items[i].Name})
	}
	return nil
}

// openKRM starts Redis and KRM's processes.
func (l *lab) openKRM(ctx context.Context) error {
	var err error
	if l.redis, err = process.StartRedis(ctx, l.cfg.redis, l.path("redis"), l.path("redis.log")); err != nil {
		return err
	}
	port, err := l.start("apiserver", "--auth=kubernetes", "--kubeconfig="+l.cluster.path("kubeconfig"),
		"--tls-cert-file="+l.cluster.path("pki", "apiserver.crt"), "--tls-private-key-file="+l.cluster.path("pki", "apiserver.key"))
	if err != nil {
		return err
	}
	s := *l.sides[kube]
	s.name, s.base, s.pid = "KRM", fmt.Sprintf("https://127.0.0.1:%d", port), l.krm["apiserver"].PID()
	if err := s.connect(); err != nil {
		return err
	}
	l.sides[krm] = &s
	err = process.Poll(ctx, 30*time.Second, "KRM's apiserver", func(ctx context.Context) error {
		if err := l.alive(); err != nil {
			return err
		}
		answer, err := s.http.Get(s.base + "/livez")
		if err == nil {
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				err = fmt.Errorf("/livez: %s", answer.Status)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	empty, err := process.ReadUsage(s.pid)
	l.memory.empty = empty.RSS
	return err
}

// start starts one of KRM's processes and returns the port of its HTTP server.
func (l *lab) start(role string, args ...string) (int, error) {
	port, err := process.FreePort()
	if err != nil {
		return 0, err
	}
	krm := process.Krm{Binary: l.cfg.krm, Redis: l.redis.Addr(), Logs: l.dir}
	l.krm[role], err = process.Start(krm.Spec(role, port, args...))
	return port, err
}

// fill starts the rest of KRM and returns once its apiserver has all pods.
func (l *lab) fill(ctx context.Context) error {
	began := time.Now()
	watched := []string{"--resource=pods", "--resource=namespaces", "--resource=nodes"}
	reading := append([]string{"--kubeconfig=" + l.cluster.path("kubeconfig")}, watched...)
	if l.cfg.managedFields {
		reading = append(reading, "--keep-managed-fields")
	}
	for role, args := range map[string][]string{"aggregator": watched, "verifier": reading, "streamer": reading} {
		if _, err := l.start(role, args...); err != nil {
			return err
		}
	}
	var body bytes.Buffer
	err := process.Poll(ctx, 2*time.Minute, "all pods in KRM's mirror", func(ctx context.Context) error {
		if err := l.alive(); err != nil {
			return err
		}
		if _, err := l.sides[krm].fetch(ctx, read{"/api/v1/pods", mediaJSON, "identity"}, &body); err != nil {
			return err
		}
		if n := bytes.Count(body.Bytes(), []byte(`"phase":"Running"`)); n != l.cfg.pods {
			return fmt.Errorf("%d of %d pods are there", n, l.cfg.pods)
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.say("KRM serves all pods after %.1f s", time.Since(began).Seconds())
	return l.weigh(ctx)
}

// weigh measures what a pod takes, at rest.
func (l *lab) weigh(ctx context.Context) error {
	if err := process.Pause(ctx, 3*time.Second); err != nil { // collect garbage
		return err
	}
	text, err := l.sides[krm].metrics(ctx)
	if err != nil {
		return err
	}
	used, err := process.ReadUsage(l.sides[krm].pid)
	if err != nil {
		return err
	}
	const ofPods = `resource="pods"`
	pods := series(text, "krm_mirror_objects", ofPods)
	if int(pods) != l.cfg.pods {
		return fmt.Errorf("weigh the mirror: it says that it has %.0f pods, want %d", pods, l.cfg.pods)
	}
	l.memory.mirror = series(text, "krm_mirror_bytes", ofPods) / pods
	l.memory.heap = series(text, "go_memstats_heap_alloc_bytes", "") / pods
	l.memory.rss = float64(used.RSS-l.memory.empty) / pods
	l.say("per pod: mirror %.0f bytes by its own account; heap in use %.0f, growth of resident memory %.0f", l.memory.mirror, l.memory.heap, l.memory.rss)
	return nil
}

// weighAgain measures what a pod takes after it was read in every form.
func (l *lab) weighAgain(ctx context.Context) (memory, error) {
	if l.cfg.same {
		return l.memory, nil
	}
	text, err := l.sides[krm].metrics(ctx)
	if err != nil {
		return l.memory, err
	}
	used, err := process.ReadUsage(l.sides[krm].pid)
	m := l.memory
	m.forms = series(text, "krm_form_cache_bytes", "") / float64(l.cfg.pods)
	m.end = float64(used.RSS-m.empty) / float64(l.cfg.pods)
	return m, err
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

// usage is the CPU time that this machine has taken so far, and the part of it that
// was for what is measured here.
func (l *lab) usage() (machine, ours float64, err error) {
	if machine, err = process.MachineSeconds(); err != nil {
		return 0, 0, err
	}
	pids, err := l.cluster.pids()
	if err != nil {
		return 0, 0, err
	}
	pids["bench"] = os.Getpid()
	if l.redis != nil {
		pids["redis"] = l.redis.PID()
	}
	for role, p := range l.krm {
		pids[role] = p.PID()
	}
	for _, pid := range pids {
		used, err := process.ReadUsage(pid)
		if err != nil {
			return 0, 0, err
		}
		ours += used.CPUSeconds
	}
	return machine, ours, nil
}

// close ends everything, in the reverse order of the start.
func (l *lab) close(failed bool) {
	if failed {
		for role := range l.krm {
			fmt.Fprintf(os.Stderr, "--- the end of %s.log\n%s\n", role, process.Tail(l.path(role+".log"), 12))
		}
	}
	l.stop()
	l.running.Wait()
	for _, role := range []string{"streamer", "verifier", "aggregator", "apiserver"} {
		if p := l.krm[role]; p != nil {
			p.Stop(10 * time.Second)
		}
	}
	if l.redis != nil {
		l.redis.Stop()
	}
	if l.cluster != nil {
		l.cluster.close()
	}
	if failed || l.cfg.keep != "" {
		l.say("logs are kept in %s", l.dir)
		return
	}
	if err := os.RemoveAll(l.dir); err != nil {
		l.say("remove the logs: %v", err)
	}
}
