package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// cluster is the control plane: one of our own, or one that was there before.
type cluster struct {
	binary string
	dir    string
	own    *process.Process // nil if it was there before
}

// openCluster starts a control plane in dir/cluster, unless cfg names one that runs.
func openCluster(ctx context.Context, cfg config, dir string) (*cluster, error) {
	if cfg.cluster == "" {
		return nil, errors.New("say where the cluster's binary is with --cluster; hack/cluster.sh prints it")
	}
	c := &cluster{binary: cfg.cluster, dir: cfg.clusterDir}
	if c.dir != "" {
		if _, err := os.Stat(c.kubeconfig()); err != nil {
			return nil, fmt.Errorf("no cluster runs in --cluster-dir=%s: %w", c.dir, err)
		}
		return c, nil
	}
	c.dir = filepath.Join(dir, "cluster")
	log := filepath.Join(dir, "cluster.log")
	own, err := process.Start(process.Spec{
		Name: "cluster", Path: c.binary, Args: []string{"up", "--dir=" + c.dir, "--nodes=0"}, Log: log,
	})
	if err != nil {
		return nil, err
	}
	c.own = own
	err = process.Poll(ctx, 3*time.Minute, "the control plane", func(context.Context) error {
		select {
		case <-own.Done():
			return process.Final(fmt.Errorf("it ended: %w", own.Err()))
		default:
		}
		if !strings.Contains(process.Tail(log, 100), "ready KUBECONFIG=") {
			return errors.New("it is not ready")
		}
		return nil
	})
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%w\n%s", err, process.Tail(log, 20))
	}
	return c, nil
}

func (c *cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// order runs a command of the cluster's binary, such as compact.
func (c *cluster) order(ctx context.Context, command string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, c.binary, append([]string{command, "--dir=" + c.dir}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cluster %s: %w\n%s", command, err, out)
	}
	return nil
}

func (c *cluster) close() {
	if c.own != nil {
		c.own.Stop(15 * time.Second)
	}
}
