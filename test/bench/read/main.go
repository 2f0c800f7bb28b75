// Command read, built as bench-read, measures reads of KRM beside the same reads of
// kube-apiserver: the same pods, token, TLS, version of HTTP and reader, in turn.
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
	krm           string
	cluster       string
	redis         string
	keep          string
	pods          int
	seed          uint64
	http          string
	rate          int
	idleRounds    int
	rounds        int
	limit         time.Duration
	watch         time.Duration
	watchers      int
	managedFields bool
	plant         bool
	same          bool
	timeout       time.Duration
}

func parseFlags() config {
	var c config
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.cluster, "cluster", "", "the control plane's binary, which hack/cluster.sh prints")
	flag.StringVar(&c.redis, "redis", "redis-server", "the redis-server binary")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs and data; else they are kept only after a failure")
	flag.IntVar(&c.pods, "pods", 10_000, "pods, 100 of them in each namespace")
	flag.Uint64Var(&c.seed, "seed", 1, "seed of the pods")
	flag.StringVar(&c.http, "http", "2", "version of HTTP of both sides: 1 or 2")
	flag.IntVar(&c.rate, "rate", 20, "changes a second of the second phase")
	flag.IntVar(&c.idleRounds, "idle-rounds", 4, "rounds without changes")
	flag.IntVar(&c.rounds, "rounds", 10, "rounds with changes")
	flag.DurationVar(&c.limit, "limit", 2*time.Minute, "begin no further round after this time in a phase")
	flag.DurationVar(&c.watch, "watch", 10*time.Second, "how long each measurement of watchers takes")
	flag.IntVar(&c.watchers, "watchers", 1000, "the most watchers; a tenth of them get ten times as many changes")
	flag.BoolVar(&c.managedFields, "keep-managed-fields", false, "let KRM keep managedFields, so that answers are as long as kube-apiserver's")
	flag.BoolVar(&c.plant, "plant", false, "change one pod in every answer of KRM that is compared: the run succeeds if each is found")
	flag.BoolVar(&c.same, "same", false, "compare kube-apiserver with itself, which shows how far the figures scatter")
	flag.DurationVar(&c.timeout, "timeout", 10*time.Minute, "give up after this time")
	flag.Parse()
	return c
}

func (c config) validate() error {
	switch {
	case c.pods < perNamespace || c.pods%perNamespace != 0:
		return fmt.Errorf("--pods=%d: want a multiple of %d", c.pods, perNamespace)
	case c.http != "1" && c.http != "2":
		return fmt.Errorf("--http=%s: want 1 or 2", c.http)
	case c.rate < 1 || c.rounds < 1 || c.idleRounds < 1 || c.watchers < 10:
		return errors.New("--rate, --rounds and --idle-rounds: want at least 1; --watchers: at least 10")
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "bench-read:", err)
		os.Exit(1)
	}
}

// run measures, prints the table and the RESULT, and says what of it is wrong.
func run(ctx context.Context, cfg config) (err error) {
	if err := cfg.validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.timeout, fmt.Errorf("not done after %v", cfg.timeout))
	defer cancel()
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "bench: %6.1fs "+format+"\n", append([]any{time.Since(began).Seconds()}, args...)...)
	}
	l, err := openLab(ctx, cfg, say)
	defer func() { l.close(err != nil) }()
	if err != nil {
		return err
	}
	r, err := measure(ctx, l)
	if err != nil {
		return err
	}
	if err := r.table(os.Stdout); err != nil {
		return err
	}
	fmt.Println(r)
	return r.verdict(cfg)
}
