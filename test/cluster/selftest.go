package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func newSelftestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "selftest",
		Short: "Start a small cluster in a temporary folder, check it, and leave nothing behind",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return selftest(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// selftest takes a cluster through its life and prints a RESULT line of what it
// counted.
func selftest(ctx context.Context, out, progress io.Writer) (err error) {
	want := SeedConfig{Nodes: 3, Pods: 50}
	temp, err := os.MkdirTemp("", "krm-cluster-selftest-")
	if err != nil {
		return fmt.Errorf("make a folder for the test: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	d := Dir(filepath.Join(temp, "cluster"))
	began := time.Now()
	child, err := launch(ctx, d, want, progress)
	if err != nil {
		return err
	}
	defer child.kill() // does nothing after a proper stop
	ready := time.Since(began)
	say := func(format string, args ...any) { fmt.Fprintf(progress, "selftest: "+format+"\n", args...) }
	if err := seed(ctx, d, want, say); err != nil { // waits for what "up" creates too
		return err
	}
	running := time.Since(began)
	client, err := connect(d)
	if err != nil {
		return err
	}
	kinds, err := countKinds(ctx, client)
	if err != nil {
		return err
	}
	if err := exercise(ctx, d, filepath.Join(temp, "snapshot"), say); err != nil {
		return err
	}
	nodes, pods, err := countRunning(ctx, client)
	if err != nil {
		return err
	}
	began = time.Now()
	if err := errors.Join(stopCluster(ctx, d), child.wait()); err != nil {
		return err
	}
	stopped := time.Since(began)
	left, err := processesNaming(temp)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "RESULT nodes=%d pods=%d kinds=%d left_processes=%d ready_s=%.1f running_s=%.1f stop_s=%.1f\n",
		nodes, pods, kinds, len(left), ready.Seconds(), running.Seconds(), stopped.Seconds())
	if nodes != want.Nodes || pods != want.Pods || kinds != 7 || len(left) > 0 || stopped > 6*time.Second {
		return fmt.Errorf("want %d nodes, %d pods, 7 kinds, a stop within 6 s and nothing left, but these are left: %v", want.Nodes, want.Pods, left)
	}
	return nil
}

// exercise compacts, takes and restores a snapshot, and restarts the API server.
func exercise(ctx context.Context, d Dir, file string, say func(string, ...any)) error {
	before, err := compact(ctx, d)
	if err != nil {
		return err
	}
	say("compacted at revision %d", before)
	if err := takeSnapshot(ctx, d, file); err != nil {
		return err
	}
	if err := restartComponent(ctx, d, kubeAPIServer, false, 0); err != nil {
		return err
	}
	say("kube-apiserver restarted")
	if err := order(ctx, d, "/restore", map[string][]string{"file": {file}}); err != nil {
		return err
	}
	after, err := compact(ctx, d)
	if err != nil {
		return err
	}
	say("restored; etcd is at revision %d", after)
	return nil
}

// countKinds returns of how many of the seven kinds that KRM watches by default
// there is an object.
func countKinds(ctx context.Context, client kubernetes.Interface) (kinds int, err error) {
	one := metav1.ListOptions{Limit: 1}
	core := client.CoreV1()
	for resource, list := range map[string]func() (int, error){
		"pods": func() (int, error) { l, err := core.Pods("").List(ctx, one); return len(l.Items), err },
		"deployments": func() (int, error) {
			l, err := client.AppsV1().Deployments("").List(ctx, one)
			return len(l.Items), err
		},
		"persistentvolumeclaims": func() (int, error) {
			l, err := core.PersistentVolumeClaims("").List(ctx, one)
			return len(l.Items), err
		},
		"services": func() (int, error) { l, err := core.Services("").List(ctx, one); return len(l.Items), err },
		"ingresses": func() (int, error) {
			l, err := client.NetworkingV1().Ingresses("").List(ctx, one)
			return len(l.Items), err
		},
		"nodes":      func() (int, error) { l, err := core.Nodes().List(ctx, one); return len(l.Items), err },
		"namespaces": func() (int, error) { l, err := core.Namespaces().List(ctx, one); return len(l.Items), err },
	} {
		count, err := list()
		if err != nil {
			return kinds, fmt.Errorf("list %s: %w", resource, err)
		}
		kinds += min(1, count)
	}
	return kinds, nil
}

// launched is a "cluster up" that this process started.
type launched struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done
}

// launch runs "cluster up" and returns once it has said that it is ready.
func launch(ctx context.Context, d Dir, cfg SeedConfig, progress io.Writer) (*launched, error) {
	self, err := thisProgram()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "up", "--dir="+string(d), fmt.Sprintf("--nodes=%d", cfg.Nodes), fmt.Sprintf("--pods=%d", cfg.Pods))
	cmd.Stderr = progress
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C ends the test first, and that ends it
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	l := &launched{cmd: cmd, done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(stdout)
		if lines.Scan() && lines.Text() == "ready KUBECONFIG="+d.kubeconfig() {
			close(ready)
		}
		for lines.Scan() {
			l.err = fmt.Errorf("a second line on stdout: %q", lines.Text())
		}
		l.err = errors.Join(l.err, cmd.Wait())
		close(l.done)
	}()
	select {
	case <-ready:
		return l, nil
	case <-l.done:
		return nil, fmt.Errorf("the cluster ended before it was ready: %w", l.err)
	case <-ctx.Done():
		l.kill()
		return nil, context.Cause(ctx)
	}
}

func (l *launched) wait() error {
	<-l.done
	return l.err
}

// kill ends the cluster if it still runs.
func (l *launched) kill() {
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.done:
	case <-time.After(15 * time.Second):
		_ = l.cmd.Process.Kill()
		<-l.done
	}
}

// processesNaming returns the command lines of all processes that contain text,
// other than this one.
func processesNaming(text string) ([]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || file == fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
			continue // it has ended meanwhile, or it is us
		}
		if command := strings.ReplaceAll(string(line), "\x00", " "); strings.Contains(command, text) {
			found = append(found, command)
		}
	}
	return found, nil
}
