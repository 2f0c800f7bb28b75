package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// How long a component may take to end by itself before it is killed. Both
// together stay below the five seconds in which a cluster stops.
const (
	clientGrace    = 1500 * time.Millisecond
	apiServerGrace = 2500 * time.Millisecond
)

// readyWithin is how long the control plane may take to answer /readyz, on a
// machine that is busy compiling too.
const readyWithin = 2 * time.Minute

// errStopped is the cause of a stop that "cluster stop" asked for.
var errStopped = errors.New("stop was asked for")

// supervisor starts, watches and stops the parts of one cluster.
type supervisor struct {
	dir       Dir
	ports     Ports
	extraArgs []string // of kube-apiserver
	say       func(format string, args ...any)
	fail      context.CancelCauseFunc // ends the cluster, with the reason

	mu        sync.Mutex // one operation on the parts at a time
	etcd      *embed.Etcd
	processes map[string]*process
	watchers  sync.WaitGroup
}

// start runs all parts and returns once the control plane is ready for use.
func (s *supervisor) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	if err := s.startEtcd(ctx); err != nil {
		return err
	}
	return s.startControlPlane(ctx, began)
}

func (s *supervisor) startEtcd(ctx context.Context) (err error) {
	s.etcd, err = startEtcd(ctx, s.dir, s.ports)
	if err == nil {
		s.say("etcd serves on %s", localURL("http", s.ports.EtcdClient))
	}
	return err
}

func (s *supervisor) startControlPlane(ctx context.Context, began time.Time) error {
	if err := s.startComponent(kubeAPIServer); err != nil {
		return err
	}
	client, err := connect(s.dir)
	if err != nil {
		return err
	}
	if err := waitReady(ctx, client); err != nil {
		return err
	}
	s.say("kube-apiserver ready on %s after %.1f s", s.ports.server(), time.Since(began).Seconds())
	// The others give up if they find no API server, so they come after it.
	for _, name := range components()[1:] {
		if err := s.startComponent(name); err != nil {
			return err
		}
	}
	if err := waitServiceAccount(ctx, client); err != nil {
		return err
	}
	s.say("all parts run after %.1f s", time.Since(began).Seconds())
	return nil
}

// startComponent starts one process and ends the cluster if it dies unasked.
func (s *supervisor) startComponent(name string) error {
	args := componentArgs(name, s.dir, s.ports, s.extraArgs)
	p, err := startProcess(name, args, s.dir.log(name), string(s.dir))
	if err != nil {
		return err
	}
	s.processes[name] = p
	s.watchers.Go(func() {
		<-p.done
		if !p.stopping.Load() {
			s.fail(s.death(p))
		}
	})
	return s.dir.writePID(name, p.cmd.Process.Pid)
}

func (s *supervisor) stopComponent(p *process, grace time.Duration) {
	p.stop(grace)
	_ = os.Remove(s.dir.pid(p.name))
}

// death says how p ended and shows the last lines of its log.
func (s *supervisor) death(p *process) error {
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	path := s.dir.log(p.name)
	last, err := tail(path, 15)
	if err != nil {
		last = err.Error()
	}
	return fmt.Errorf("%s ended by itself (%s); the end of %s:\n%s", p.name, how, path, last)
}

// stop ends all parts, clients before servers, and waits for them.
func (s *supervisor) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopProcesses()
	s.stopEtcd()
	s.watchers.Wait()
}

func (s *supervisor) stopProcesses() {
	var wg sync.WaitGroup
	for name, p := range s.processes {
		if name != kubeAPIServer {
			wg.Go(func() { s.stopComponent(p, clientGrace) })
		}
	}
	wg.Wait()
	if p := s.processes[kubeAPIServer]; p != nil {
		s.stopComponent(p, apiServerGrace)
	}
	clear(s.processes)
}

func (s *supervisor) stopEtcd() {
	if s.etcd != nil {
		s.etcd.Close()
		s.etcd = nil
	}
}

// restart stops component name, waits for down, starts it again and returns once
// the API server is ready. With grace zero it is killed.
func (s *supervisor) restart(ctx context.Context, name string, grace, down time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.processes[name]
	if p == nil {
		return fmt.Errorf("no component %q: the components are %v", name, components())
	}
	s.say("restarting %s, down for %v", name, down)
	s.stopComponent(p, grace)
	select {
	case <-time.After(down):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.startComponent(name); err != nil {
		s.fail(err)
		return err
	}
	client, err := connect(s.dir)
	if err != nil {
		return err
	}
	if err := waitReady(ctx, client); err != nil {
		return err
	}
	s.say("%s is back", name)
	return nil
}

// restore stops everything, puts the snapshot in file in place of etcd's data,
// and starts everything again.
func (s *supervisor) restore(ctx context.Context, file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("open the snapshot: %w", err)
	}
	s.say("restoring etcd from %s", file)
	began := time.Now()
	s.stopProcesses()
	s.stopEtcd()
	restored := restoreEtcd(s.dir, s.ports, file)
	// The old data is still there if the snapshot could not be read.
	err := s.startEtcd(ctx)
	if err == nil {
		err = s.startControlPlane(ctx, began)
	}
	if err != nil {
		s.fail(err)
	}
	return errors.Join(restored, err)
}

// waitReady returns once the API server says that it is ready.
func waitReady(ctx context.Context, client kubernetes.Interface) error {
	return poll(ctx, readyWithin, "kube-apiserver to be ready", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// waitServiceAccount returns once pods may be created in namespace default,
// which is when the controllers have made its service account.
func waitServiceAccount(ctx context.Context, client kubernetes.Interface) error {
	return poll(ctx, readyWithin, "the default service account", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return errors.New("kube-controller-manager has not made it yet")
		}
		return err
	})
}

// poll asks every 100 ms until try returns nil, for at most within. The error
// then tells what was awaited and what the last try said.
func poll(ctx context.Context, within time.Duration, what string, try func(context.Context) error) error {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout.C:
			return fmt.Errorf("wait for %s, for %v: %w", what, within, err)
		case <-tick.C:
		}
	}
}
