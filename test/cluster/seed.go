package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// seedWriters is how many objects are created at the same time.
const seedWriters = 8

// SeedConfig says what to put into a cluster.
type SeedConfig struct {
	Nodes       int // simulated nodes
	Pods        int // pods, spread over Deployments
	KubeletPort int // port that the first node claims its kubelet has; the next node has the next; 0: none
}

// RegisterFlags adds c's flags to fs, with the defaults.
func (c *SeedConfig) RegisterFlags(fs *pflag.FlagSet) {
	fs.IntVar(&c.Nodes, "nodes", 3, "simulated nodes")
	fs.IntVar(&c.Pods, "pods", 0, "pods, in Deployments of several namespaces, with Services, Ingresses and PersistentVolumeClaims")
	fs.IntVar(&c.KubeletPort, "kubelet-port", 0, "port on 127.0.0.1 that the first node names as its kubelet's, the second node the next port, and so on; 0: none")
}

// Validate joins all faults of c.
func (c *SeedConfig) Validate() error {
	var faults []error
	if c.Nodes < 0 || c.Nodes > 1000 {
		faults = append(faults, fmt.Errorf("--nodes=%d: give 0 to 1000", c.Nodes))
	}
	if c.Pods < 0 || c.Pods > 100_000 {
		faults = append(faults, fmt.Errorf("--pods=%d: give 0 to 100000", c.Pods))
	}
	if c.Pods > 0 && c.Nodes == 0 {
		faults = append(faults, fmt.Errorf("--pods=%d: pods need nodes, give --nodes", c.Pods))
	}
	if c.KubeletPort < 0 || c.KubeletPort+c.Nodes > 65536 {
		faults = append(faults, fmt.Errorf("--kubelet-port=%d: give a port with %d more above it", c.KubeletPort, c.Nodes))
	}
	return errors.Join(faults...)
}

func newSeedCommand() *cobra.Command {
	var cfg SeedConfig
	cmd := newDirCommand("seed --dir=DIR", "Put simulated nodes and pods into the cluster and wait until they run", cobra.NoArgs,
		func(cmd *cobra.Command, d Dir, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return err
			}
			if _, err := d.readEnv(); err != nil {
				return err
			}
			say := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), "cluster: "+format+"\n", args...) }
			return seed(cmd.Context(), d, cfg, say)
		})
	cfg.RegisterFlags(cmd.Flags())
	return cmd
}

// seed creates what cfg says and returns once the nodes are Ready and the pods
// Running. What exists already stays; Deployments get the wanted number of pods.
func seed(ctx context.Context, d Dir, cfg SeedConfig, say func(format string, args ...any)) error {
	client, err := connect(d)
	if err != nil {
		return err
	}
	began := time.Now()
	plan := planWorkload(cfg.Pods)
	if err := create(ctx, client, cfg, plan); err != nil {
		return fmt.Errorf("seed the cluster: %w", err)
	}
	say("created %d nodes and %d deployments of %d pods in %.1f s", cfg.Nodes, len(plan.apps), cfg.Pods, time.Since(began).Seconds())
	within := time.Minute + time.Duration(cfg.Pods)*100*time.Millisecond
	var nodes, pods int
	err = poll(ctx, within, "the simulated nodes and pods", func(ctx context.Context) error {
		nodes, pods, err = countRunning(ctx, client)
		if err != nil {
			return err
		}
		if nodes < cfg.Nodes || pods < cfg.Pods {
			return fmt.Errorf("%d of %d nodes are Ready, %d of %d pods Running", nodes, cfg.Nodes, pods, cfg.Pods)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("seed the cluster (see %s and %s): %w", d.log(kwokController), d.log(kubeScheduler), err)
	}
	say("%d nodes Ready, %d pods Running after %.1f s", nodes, pods, time.Since(began).Seconds())
	return nil
}

// create creates nodes, then namespaces and volumes, then what lies in them.
func create(ctx context.Context, client kubernetes.Interface, cfg SeedConfig, plan workload) error {
	var nodes, first, second []func(context.Context) error
	for i := range cfg.Nodes {
		nodes = append(nodes, func(ctx context.Context) error {
			return put(ctx, client.CoreV1().Nodes().Create, newNode(i, cfg))
		})
	}
	for _, name := range plan.namespaces {
		first = append(first, func(ctx context.Context) error {
			return put(ctx, client.CoreV1().Namespaces().Create, newNamespace(name))
		})
	}
	if len(plan.apps) > 0 {
		first = append(first, func(ctx context.Context) error {
			return put(ctx, client.StorageV1().StorageClasses().Create, newStorageClass())
		})
	}
	for _, a := range plan.apps {
		if a.volume {
			first = append(first, func(ctx context.Context) error {
				return put(ctx, client.CoreV1().PersistentVolumes().Create, newVolume(a))
			})
			second = append(second, func(ctx context.Context) error {
				return put(ctx, client.CoreV1().PersistentVolumeClaims(a.namespace).Create, newClaim(a))
			})
		}
		if a.ingress {
			second = append(second, func(ctx context.Context) error {
				return put(ctx, client.NetworkingV1().Ingresses(a.namespace).Create, newIngress(a))
			})
		}
		second = append(second,
			func(ctx context.Context) error {
				return put(ctx, client.CoreV1().Services(a.namespace).Create, newService(a))
			},
			func(ctx context.Context) error { return putDeployment(ctx, client, a) },
		)
	}
	for _, step := range [][]func(context.Context) error{nodes, first, second} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(seedWriters)
		for _, task := range step {
			g.Go(func() error { return task(ctx) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// put creates object, unless it exists.
func put[T metav1.Object](ctx context.Context, create func(context.Context, T, metav1.CreateOptions) (T, error), object T) error {
	_, err := create(ctx, object, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %T %s/%s: %w", object, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

func putDeployment(ctx context.Context, client kubernetes.Interface, a app) error {
	deployments := client.AppsV1().Deployments(a.namespace)
	_, err := deployments.Create(ctx, newDeployment(a), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, a.replicas)
		_, err = deployments.Patch(ctx, a.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	}
	if err != nil {
		return fmt.Errorf("create deployment %s/%s: %w", a.namespace, a.name, err)
	}
	return nil
}

// countRunning returns how many simulated nodes are Ready and how many pods Running.
func countRunning(ctx context.Context, client kubernetes.Interface) (nodes, pods int, err error) {
	cached := metav1.ListOptions{ResourceVersion: "0"} // from the API server's cache: this is asked often
	nodeList, err := client.CoreV1().Nodes().List(ctx, cached)
	if err != nil {
		return 0, 0, fmt.Errorf("count nodes: %w", err)
	}
	for _, node := range nodeList.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				nodes++
			}
		}
	}
	podList, err := client.CoreV1().Pods("").List(ctx, cached)
	if err != nil {
		return 0, 0, fmt.Errorf("count pods: %w", err)
	}
	for _, pod := range podList.Items {
		if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			pods++
		}
	}
	return nodes, pods, nil
}
