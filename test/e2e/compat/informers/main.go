// Command informers follows one namespace with informers of every kind that client-go
// has, on several servers at once, until it is told to stop with SIGTERM. Then it
// writes down what each of them was told and holds. It is built with this year's and
// with last year's client-go; the suite beside it judges.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

func main() {
	var namespace, selector, out string
	var servers servers
	klog.InitFlags(nil)
	flag.StringVar(&namespace, "namespace", "churn", "the namespace to follow")
	flag.StringVar(&selector, "selector", "side=in", "the label selector of those informers that have one")
	flag.StringVar(&out, "out", "", "the file to write at the end")
	flag.Var(&servers, "server", "a server as NAME=KUBECONFIG; repeat it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, servers, namespace, selector, out); err != nil {
		fmt.Fprintln(os.Stderr, "informers:", err)
		os.Exit(1)
	}
}

type servers []string

func (s *servers) String() string { return strings.Join(*s, ",") }

func (s *servers) Set(text string) error {
	*s = append(*s, text)
	return nil
}

func run(ctx context.Context, servers servers, namespace, selector, out string) error {
	var all []*follower
	for _, server := range servers {
		name, kubeconfig, found := strings.Cut(server, "=")
		if !found {
			return fmt.Errorf("--server=%s: give NAME=KUBECONFIG", server)
		}
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		config.QPS = -1
		followers, err := follow(ctx, config, namespace, selector)
		if err != nil {
			return fmt.Errorf("follow %s: %w", name, err)
		}
		for _, f := range followers {
			f.Server = name
		}
		all = append(all, followers...)
	}
	<-ctx.Done()
	var faults []error
	for _, f := range all {
		faults = append(faults, f.finish())
	}
	text, err := json.Marshal(all)
	if err := errors.Join(append(faults, err)...); err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o600)
}
