// Command metrics proves that KRM's metrics are right: it lets the whole pipeline
// collect from recorded and from simulated kubelets, asks for everything that is
// served, and breaks everything that may break. README.md of the module says what is
// asked.
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

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// config is what the command line says.
type config struct {
	krm, kubelets, kubectl string
	clusterDir             string
	fixtures               string
	redis                  string
	keep                   string
	parts                  []string
	timeout, hold          time.Duration
}

// The parts of the suite, in the order in which they run.
const (
	partVectors   = "vectors"
	partEndpoints = "endpoints"
	partPlanted   = "planted"
	partFaults    = "faults"
)

func allParts() []string { return []string{partVectors, partEndpoints, partPlanted, partFaults} }

func parseFlags() (config, error) {
	var c config
	var parts string
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.kubelets, "kubelets", "bin/kubelets", "the binary of test/kubelets")
	flag.StringVar(&c.kubectl, "kubectl", "", "the kubectl binary; hack/kubectl.sh prints where it is (required)")
	flag.StringVar(&c.clusterDir, "cluster-dir", "", "folder of the cluster (required)")
	flag.StringVar(&c.fixtures, "fixtures", "collector/source/testdata/heapster", "folder of the recorded nodes")
	flag.StringVar(&c.redis, "redis", "redis-server", "the redis-server binary")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs; else they are kept only if the suite fails")
	flag.StringVar(&parts, "parts", strings.Join(allParts(), ","), "parts of the suite to run")
	flag.DurationVar(&c.timeout, "timeout", 6*time.Minute, "give up after this time")
	flag.DurationVar(&c.hold, "hold", 0, "leave everything running for so long at the end, for a look")
	flag.Parse()
	c.parts = strings.Split(parts, ",")
	for _, part := range c.parts {
		if !slices.Contains(allParts(), part) {
			return c, fmt.Errorf("--parts=%s: there are %s", part, strings.Join(allParts(), ", "))
		}
	}
	if c.clusterDir == "" || c.kubectl == "" {
		return c, fmt.Errorf("give --cluster-dir and --kubectl, as hack/test-metrics.sh does")
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
	fmt.Fprintf(p.out, "metrics: %6.1fs "+format+"\n", append([]any{time.Since(p.began).Seconds()}, args...)...)
}

func main() {
	cfg, err := parseFlags()
	if err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
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
	p := &progress{began: time.Now(), out: os.Stderr}

	r := &result{}
	h, err := openHouse(ctx, cfg, p)
	if err == nil {
		err = runParts(ctx, h, r)
	}
	if err != nil {
		r.fault("%v", err)
	}
	if h != nil && cfg.hold > 0 {
		h.say("holding for %v", cfg.hold)
		_ = process.Pause(ctx, cfg.hold) // or until a signal
	}
	if h != nil {
		for _, exit := range h.unaskedExits() {
			r.fault("%s", exit)
		}
		h.close(len(r.faults) > 0)
	}
	for _, fault := range r.faults {
		fmt.Fprintln(os.Stderr, "metrics: FAULT:", fault)
	}
	p.say("done")
	fmt.Println(r)
	return r.exitCode()
}

func runParts(ctx context.Context, h *house, r *result) error {
	parts := map[string]func(context.Context, *house, *result) error{
		partVectors: vectorsPart, partEndpoints: endpointsPart, partPlanted: plantedPart, partFaults: faultsPart,
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
