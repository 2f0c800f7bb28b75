// Command compat proves that a stock Kubernetes client cannot tell KRM from the API
// server: it asks both the same and compares the answers. README.md of the module
// says what is asked.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// config is what the command line says.
type config struct {
	krm        string
	kubectl    string
	informers  []string // the program's builds, NAME=PATH
	cluster    string
	clusterDir string
	redis      string
	keep       string
	second     string
	parts      []string
	only       string
	churn      time.Duration
	timeout    time.Duration
}

// The parts of the suite, in the order in which they run.
const (
	partKubectl   = "kubectl"
	partRequests  = "requests"
	partReplicas  = "replicas"
	partPlanted   = "planted"
	partInformers = "informers"
)

func allParts() []string {
	return []string{partKubectl, partRequests, partReplicas, partPlanted, partInformers}
}

func parseFlags() (config, error) {
	var c config
	var parts, informers string
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.kubectl, "kubectl", "", "the kubectl binary; hack/kubectl.sh prints where it is (required)")
	flag.StringVar(&informers, "informers", "", "builds of the informers program, as NAME=PATH,… (required for that part)")
	flag.StringVar(&c.cluster, "cluster", "", "the binary of test/cluster; hack/cluster.sh prints where it is. Without it no old version expires")
	flag.StringVar(&c.clusterDir, "cluster-dir", "", "folder of the cluster (required)")
	flag.StringVar(&c.redis, "redis", "redis-server", "the redis-server binary")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs and journals; else they are kept only if the suite fails")
	flag.StringVar(&c.second, "second", "krm", "what is compared with the API server: krm, or apiserver to compare it with itself")
	flag.StringVar(&parts, "parts", strings.Join(allParts(), ","), "parts of the suite to run")
	flag.StringVar(&c.only, "only", "", "run only commands and requests whose text contains this")
	flag.DurationVar(&c.churn, "churn", 2*time.Minute, "how long the informers follow changes")
	flag.DurationVar(&c.timeout, "timeout", 10*time.Minute, "give up after this time")
	flag.Parse()
	c.parts = strings.Split(parts, ",")
	if informers != "" {
		c.informers = strings.Split(informers, ",")
	}
	for _, part := range c.parts {
		if !slices.Contains(allParts(), part) {
			return c, fmt.Errorf("--parts=%s: there are %s", part, strings.Join(allParts(), ", "))
		}
	}
	if c.clusterDir == "" || c.kubectl == "" {
		return c, fmt.Errorf("give --cluster-dir and --kubectl, as hack/test-compat.sh does")
	}
	if c.second != "krm" && c.second != "apiserver" {
		return c, fmt.Errorf("--second=%s: give krm or apiserver", c.second)
	}
	return c, nil
}

// progress writes one line for each step, with the time since the start.
type progress struct {
	began time.Time
	mu    sync.Mutex
	out   io.Writer
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "compat: %6.1fs "+format+"\n", append([]any{time.Since(p.began).Seconds()}, args...)...)
}

func main() {
	cfg, err := parseFlags()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(2)
	}
	os.Exit(run(cfg))
}

// run runs the parts and returns the exit code.
func run(cfg config) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.timeout, fmt.Errorf("not done after %v", cfg.timeout))
	defer cancel()
	ctx, end := context.WithCancel(ctx) // of what runs in the background as well
	defer end()
	p := &progress{began: time.Now(), out: os.Stderr}

	r := &result{}
	house, err := openHouse(ctx, cfg, p)
	if err == nil {
		err = runParts(ctx, house, r)
	}
	if err != nil {
		r.fault("%v", err)
	}
	if house != nil {
		for _, exit := range house.unaskedExits() {
			r.fault("%s", exit)
		}
		end()
		house.close(len(r.faults) > 0)
	}
	for _, fault := range r.faults {
		fmt.Fprintln(os.Stderr, "compat: FAULT:", fault)
	}
	p.say("done")
	fmt.Println(r)
	return r.exitCode()
}

func runParts(ctx context.Context, h *house, r *result) error {
	parts := map[string]func(context.Context, *house, *result) error{
		partKubectl: kubectlPart, partRequests: requestsPart, partReplicas: replicasPart,
		partPlanted: plantedPart, partInformers: informersPart,
	}
	for _, name := range allParts() {
		if !slices.Contains(h.cfg.parts, name) {
			continue
		}
		h.say("--- %s", name)
		if err := parts[name](ctx, h, r); err != nil {
			r.fault("%s: %v", name, err) // the others may still find something
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
