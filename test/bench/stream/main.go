// Command stream, built as bench-stream, measures the way of a pod from a watch
// frame to KRM's mirror: how many events a second get through, how long one takes,
// and what it costs. README.md of the module says how.
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
	redis         string
	keep          string
	objects       int
	seed          uint64
	managedFields bool
	flood         time.Duration
	rate          int
	pace          time.Duration
	planted       bool
	atLeast       float64
	timeout       time.Duration
}

func parseFlags() config {
	var c config
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.redis, "redis", "redis-server", "the redis-server binary")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs and Redis' data; else they are kept only after a failure")
	flag.IntVar(&c.objects, "objects", 50_000, "pods")
	flag.Uint64Var(&c.seed, "seed", 1, "seed of the pods and of what happens to them")
	flag.BoolVar(&c.managedFields, "managed-fields", true, "send metadata.managedFields, which KRM cuts, as real API servers do")
	flag.DurationVar(&c.flood, "flood", time.Minute, "how long events come as fast as they are read")
	flag.IntVar(&c.rate, "rate", 1000, "events a second of the second part")
	flag.DurationVar(&c.pace, "pace", 30*time.Second, "how long the second part takes")
	flag.BoolVar(&c.planted, "planted", false, "expect another body of one pod: the run succeeds if exactly that is found")
	flag.Float64Var(&c.atLeast, "min-events-per-s", 0, "fail below this many events a second")
	flag.DurationVar(&c.timeout, "timeout", 8*time.Minute, "give up after this time")
	flag.Parse()
	return c
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "bench-stream:", err)
		os.Exit(1)
	}
}

// run measures, prints the RESULT, and says what of it is wrong.
func run(ctx context.Context, cfg config) (err error) {
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
	var r result
	for _, step := range []func(context.Context, *lab, *result) error{fill, weigh, flood, pace, check} {
		if err := step(ctx, l, &r); err != nil {
			return err
		}
	}
	fmt.Println(r)
	return r.verdict(cfg)
}

// verdict says what is wrong with a result that is complete.
func (r result) verdict(cfg config) error {
	var faults []error
	want := 0
	if cfg.planted {
		want = 1
	}
	if r.different != want {
		faults = append(faults, fmt.Errorf("%d objects differ, want %d", r.different, want))
	}
	if r.compared == 0 || r.events == 0 || r.samples == 0 {
		faults = append(faults, errors.New("nothing was checked"))
	}
	if r.lists != 1 {
		faults = append(faults, fmt.Errorf("the streamer listed everything %d times, want once: something was overtaken or broke", r.lists))
	}
	if r.eventsPerSecond < cfg.atLeast {
		faults = append(faults, fmt.Errorf("%.0f events a second, want at least %.0f", r.eventsPerSecond, cfg.atLeast))
	}
	return errors.Join(faults...)
}
