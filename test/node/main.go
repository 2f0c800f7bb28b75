// Command node proves that what KRM says of pods on a real kubelet is what the
// kubelet itself says. README.md tells how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/node/sandbox"
)

// config is what the command line says.
type config struct {
	krm        string
	cluster    string
	burn       string
	resolution time.Duration
	windows    int
	keep       bool
	verbose    bool
	timeout    time.Duration
}

func parseFlags() config {
	var c config
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.cluster, "cluster", "", "the binary of test/cluster; hack/cluster.sh prints where it is (required)")
	flag.StringVar(&c.burn, "burn", "bin/burn", "the burn binary, linked statically")
	flag.DurationVar(&c.resolution, "resolution", 30*time.Second, "KRM's resolution")
	flag.IntVar(&c.windows, "windows", 2, "windows to compare before the restarts, and after them")
	flag.BoolVar(&c.keep, "keep", false, "keep the logs even if all is well")
	flag.BoolVar(&c.verbose, "verbose", false, "print every comparison")
	flag.DurationVar(&c.timeout, "timeout", 8*time.Minute, "give up after this time")
	flag.Parse()
	for _, path := range []*string{&c.krm, &c.cluster, &c.burn} {
		if abs, err := filepath.Abs(*path); err == nil {
			*path = abs
		}
	}
	return c
}

// Addresses of the sandbox: kube-apiserver's and the kubelet's.
const (
	serverAddress  = "10.98.0.1"
	kubeletAddress = "10.98.0.2"
)

// resultFile is where the part inside leaves the RESULT line for the part outside.
const resultFile = "result"

func main() {
	box, inside := sandbox.Inside()
	cfg := parseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if inside {
		os.Exit(work(ctx, cfg, box))
	}
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		stop()
		os.Exit(1)
	}
}

// run is the part outside: it makes the sandbox, and cleans up after it.
func run(ctx context.Context, cfg config) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.timeout, fmt.Errorf("not done after %v", cfg.timeout))
	defer cancel()
	dir, err := os.MkdirTemp("", "krm-node.") // short: containerd's sockets lie in it
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	err = sandbox.Run(ctx, sandbox.Config{
		Dir:       dir,
		Cgroup:    filepath.Base(dir),
		Addresses: []string{serverAddress, kubeletAddress},
	})
	line, readErr := os.ReadFile(filepath.Join(dir, resultFile))
	if err == nil && readErr != nil {
		err = errors.New("it ended without a result")
	}
	err = errors.Join(err, cleanUp(dir, cfg.keep || err != nil && ctx.Err() == nil))
	fmt.Print(string(line))
	return err
}

// cleanUp removes the sandbox's folder, or what is big in it.
func cleanUp(dir string, keepLogs bool) error {
	if !keepLogs {
		return os.RemoveAll(dir)
	}
	fmt.Fprintln(os.Stderr, "node: logs are kept in", dir)
	var faults []error
	for _, folder := range []string{"containerd", "cluster/etcd", "cluster/nodes", "burn.tar"} {
		faults = append(faults, os.RemoveAll(filepath.Join(dir, folder)))
	}
	return errors.Join(faults...)
}

// work is the part inside. It returns the exit code.
func work(ctx context.Context, cfg config, box sandbox.Config) int {
	p := &progress{began: time.Now()}
	result := &result{}
	h := newHouse(cfg, box, p)
	if err := h.tell(ctx, result); err != nil {
		result.fault("%v", err)
	}
	result.seconds = time.Since(p.began).Seconds()
	for _, fault := range result.faults {
		fmt.Fprintln(os.Stderr, "node: FAULT:", fault)
	}
	if err := os.WriteFile(filepath.Join(box.Dir, resultFile), []byte(result.String()+"\n"), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return result.exitCode()
}

// progress writes one line for each step, with the time since the start.
type progress struct {
	began time.Time
	mu    sync.Mutex
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(os.Stderr, "node: %5.1fs "+format+"\n", append([]any{time.Since(p.began).Seconds()}, args...)...)
}

// poll asks every 200 ms until try returns nil, for at most within, or until a program
// has ended that should run.
func poll(ctx context.Context, within time.Duration, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, sandbox.ErrEnded) {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s, for %v: %w", what, within, errors.Join(last, context.Cause(ctx)))
		case <-tick.C:
		}
	}
}
