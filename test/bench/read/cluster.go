package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// cluster is a real control plane without nodes: this program plays the kubelets.
type cluster struct {
	dir    string
	up     *process.Process // etcd runs in it; the components are its children
	config *rest.Config     // the administrator's
	admin  *kubernetes.Clientset
}

// openCluster starts a control plane in dir. On an error it may be partly there:
// close it all the same.
func openCluster(ctx context.Context, binary, dir, log string) (*cluster, error) {
	c := &cluster{dir: dir}
	if binary == "" {
		return c, errors.New("say where the cluster's binary is with --cluster; hack/cluster.sh prints it")
	}
	var err error
	c.up, err = process.Start(process.Spec{Name: "cluster", Path: binary, Args: []string{"up", "--dir=" + dir, "--nodes=0"}, Log: log})
	if err != nil {
		return c, err
	}
	err = process.Poll(ctx, 3*time.Minute, "the control plane", func(context.Context) error {
		select {
		case <-c.up.Done():
			return process.Final(fmt.Errorf("it ended: %w", c.up.Err()))
		default:
		}
		if !strings.Contains(process.Tail(log, 100), "ready KUBECONFIG=") {
			return errors.New("it is not ready")
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("%w\n%s", err, process.Tail(log, 20))
	}
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.path("kubeconfig")); err != nil {
		return c, fmt.Errorf("read the cluster's kubeconfig: %w", err)
	}
	c.config.QPS = -1
	c.config.WarningHandlerWithContext = rest.NoWarnings{}
	config := rest.CopyConfig(c.config)
	config.ContentType, config.AcceptContentTypes = mediaProtobuf, mediaProtobuf+","+mediaJSON
	if c.admin, err = kubernetes.NewForConfig(config); err != nil {
		return c, fmt.Errorf("connect to the cluster: %w", err)
	}
	return c, nil
}

func (c *cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// pids are the processes of the control plane. kube-apiserver is one of its own,
// etcd is a part of "cluster".
func (c *cluster) pids() (map[string]int, error) {
	pids := map[string]int{}
	for _, name := range []string{"cluster", apiServer, "kube-controller-manager", "kube-scheduler", "kwok"} {
		text, err := os.ReadFile(c.path("run", name+".pid"))
		if err != nil {
			return nil, fmt.Errorf("find the process of %s: %w", name, err)
		}
		if pids[name], err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return nil, fmt.Errorf("find the process of %s: %w", name, err)
		}
	}
	return pids, nil
}

func (c *cluster) close() {
	if c.up != nil {
		c.up.Stop(15 * time.Second)
	}
}
