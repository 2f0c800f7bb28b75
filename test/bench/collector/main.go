// Command collector, built as bench-collector, measures what metrics cost: a real
// krm collector and a real krm apiserver, beside kubelets that test/kubelets plays.
// README.md beside it says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// config is what the command line says.
type config struct {
	krm        string
	kubelets   string
	redis      string
	keep       string
	nodes      int
	pods       int
	containers int
	resolution time.Duration
	windows    int
	measured   int
	large      int
	reads      int
	checked    int
	plant      bool
	timeout    time.Duration
}

func parseFlags() config {
	var c config
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.kubelets, "kubelets", "bin/kubelets", "the binary of test/kubelets")
	flag.StringVar(&c.redis, "redis", "redis-server", "the redis-server binary")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs and data; else they are kept only after a failure")
	flag.IntVar(&c.nodes, "nodes", 1000, "nodes")
	flag.IntVar(&c.pods, "pods", 30, "pods of each node")
	flag.IntVar(&c.containers, "containers", 2, "containers of each pod")
	flag.DurationVar(&c.resolution, "resolution", 30*time.Second, "length of a window")
	flag.IntVar(&c.windows, "windows", 31, "windows until the model is taken as full: 31 of 30s are the 15 minutes that it keeps")
	flag.IntVar(&c.measured, "measured", 6, "windows, the last of these, over which CPU time is measured; before that no reader reads")
	flag.IntVar(&c.large, "large", 5000, "nodes of the second fleet, whose windows are timed; 0: none")
	flag.IntVar(&c.reads, "reads", 200, "reads of each kind")
	flag.IntVar(&c.checked, "checked", 8, "nodes whose every reading is compared with what KRM says")
	flag.BoolVar(&c.plant, "plant", false, "change what the kubelets are taken to have said: the run succeeds if that is found")
	flag.DurationVar(&c.timeout, "timeout", 40*time.Minute, "give up after this time")
	flag.Parse()
	return c
}

func (c config) validate() error {
	switch {
	case c.nodes < 1 || c.pods < 1 || c.containers < 1:
		return errors.New("give at least one of --nodes, --pods and --containers")
	case c.resolution < 5*time.Second || c.resolution%time.Second != 0:
		return fmt.Errorf("--resolution=%v: want whole seconds, at least 5s", c.resolution)
	case c.measured < 1 || c.windows < c.measured+2:
		return fmt.Errorf("--windows=%d: want at least two more than --measured=%d", c.windows, c.measured)
	case c.checked < 1 || c.checked > c.nodes:
		return fmt.Errorf("--checked=%d: want 1 to --nodes=%d", c.checked, c.nodes)
	case c.reads < 1:
		return fmt.Errorf("--reads=%d: want at least 1", c.reads)
	}
	return nil
}

func main() {
	cfg := parseFlags()
	if err := cfg.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "bench-collector:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
	defer cancel()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "bench-collector:", err)
		os.Exit(1)
	}
}

// run measures the first fleet, then times the second one.
func run(ctx context.Context, cfg config) (err error) {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	dir := cfg.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "krm-bench-*"); err != nil {
			return err
		}
	}
	defer func() {
		if err == nil && cfg.keep == "" {
			err = os.RemoveAll(dir)
		} else if err != nil {
			say("logs and data are kept: %s", dir)
		}
	}()
	r := &result{cfg: cfg}
	if err := measure(ctx, cfg, dir, say, r); err != nil {
		return err
	}
	if cfg.large > 0 {
		if err := measureLarge(ctx, cfg, dir, say, r); err != nil {
			return err
		}
	}
	r.print(os.Stdout)
	return r.verdict()
}
