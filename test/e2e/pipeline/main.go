// Command pipeline proves, end to end and under faults, that KRM says what the API
// server says. README.md of the module tells the stories.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// config is what the command line says.
type config struct {
	krm        string
	cluster    string
	clusterDir string
	redis      string
	keep       string
	seed       uint64
	pods       int
	rate       int
	kills      int
	lineage    bool
	timeout    time.Duration
}

func parseFlags() config {
	var c config
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.cluster, "cluster", "", "the binary of test/cluster; hack/cluster.sh prints where it is (required)")
	flag.StringVar(&c.clusterDir, "cluster-dir", "", "folder of a cluster that runs already; else one is started")
	flag.StringVar(&c.redis, "redis", "redis-server", "the redis-server binary")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs and Redis' data; else they are kept only if the suite fails")
	flag.Uint64Var(&c.seed, "seed", 0, "seed of all random choices; 0: another one each time")
	flag.IntVar(&c.pods, "pods", 500, "pods that churn")
	flag.IntVar(&c.rate, "rate", 50, "changes a second while the objects churn")
	flag.IntVar(&c.kills, "kills", 20, "how many times a process is killed")
	flag.BoolVar(&c.lineage, "lineage", true, "restore etcd to an older snapshot, too")
	flag.DurationVar(&c.timeout, "timeout", 8*time.Minute, "give up after this time")
	flag.Parse()
	if c.seed == 0 {
		c.seed = rand.Uint64N(1_000_000)
	}
	return c
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
	fmt.Fprintf(p.out, "e2e: %6.1fs "+format+"\n", append([]any{time.Since(p.began).Seconds()}, args...)...)
}

func main() {
	os.Exit(run(parseFlags()))
}

// run tells all stories and returns the exit code.
func run(cfg config) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.timeout, fmt.Errorf("not done after %v", cfg.timeout))
	defer cancel()
	ctx, end := context.WithCancel(ctx) // of what runs in the background as well
	defer end()
	p := &progress{began: time.Now(), out: os.Stderr}
	p.say("seed %d", cfg.seed)

	result := &result{kills: cfg.kills}
	house, err := openHouse(ctx, cfg, p)
	if err == nil {
		err = tell(ctx, house, result)
	}
	if err != nil {
		result.fault("%v", err)
	}
	if house != nil {
		result.exits = house.unaskedExits()
		for _, exit := range result.exits {
			result.fault("%s", exit)
		}
		end()
		house.close(len(result.faults) > 0)
	}
	result.seconds = time.Since(p.began).Seconds()
	for _, fault := range result.faults {
		fmt.Fprintln(os.Stderr, "e2e: FAULT:", fault)
	}
	fmt.Println(result)
	return result.exitCode(cfg.lineage)
}

// tell runs the stories one after the other. An error means that none makes sense.
func tell(ctx context.Context, h *house, r *result) error {
	stories := []struct {
		name string
		tell func(context.Context, *house, *result) error
	}{
		{"the stream alone", streamStory},
		{"the verifier", verifierStory},
		{"the comparison itself", plantedStory},
		{"its readers", readersStory},
		{"an unreadable object", brokenStory}, // which readers see vanish and come back
		{"another lineage", lineageStory},
	}
	if !h.cfg.lineage {
		stories = stories[:len(stories)-1]
	}
	if err := h.furnish(ctx); err != nil {
		return err
	}
	for _, story := range stories {
		h.say("--- %s", story.name)
		if err := story.tell(ctx, h, r); err != nil {
			r.fault("%s: %v", story.name, err) // the others may still find something
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
