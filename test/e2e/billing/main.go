// Command billing proves that billing is right: it writes clusters' stories of which
// every figure is known into a real InfluxDB and into the embedded database, starts real
// krm processes on them, and asks for everything that is billed. README.md of the module
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

// config is what the command line and the environment say.
type config struct {
	krm, kubelets, influxd, redis         string
	fixtures, keep                        string
	influxURL, influxUser, influxPassword string
	databases, parts                      []string
	timeout                               time.Duration
}

// The parts of the suite.
const (
	partFigures    = "figures"    // every figure of every answer, late data, restarts
	partReports    = "reports"    // with krm bill and the client
	partRequests   = "requests"   // the table of conditions and answers
	partInjections = "injections" // hostile strings everywhere
	partStarts     = "starts"     // environment and logs of processes
	partFaults     = "faults"     // an InfluxDB that is away
	partPlanted    = "planted"    // double counts that must be found
)

func allParts() []string {
	return []string{partFigures, partReports, partRequests, partInjections, partStarts, partFaults, partPlanted}
}

func parseFlags() (config, error) {
	var c config
	var parts, databases string
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.kubelets, "kubelets", "bin/kubelets", "the binary of test/kubelets")
	flag.StringVar(&c.influxd, "influxd", "", "the influxd binary; hack/influxd.sh prints where it is (required)")
	flag.StringVar(&c.redis, "redis", "redis-server", "the redis-server binary")
	flag.StringVar(&c.fixtures, "fixtures", "collector/source/testdata/heapster", "folder of the recorded nodes")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs; else they are kept only if the suite fails")
	flag.StringVar(&databases, "databases", embedded+","+influx, "databases to test")
	flag.StringVar(&parts, "parts", strings.Join(allParts(), ","), "parts of the suite to run")
	flag.DurationVar(&c.timeout, "timeout", 8*time.Minute, "give up after this time")
	flag.Parse()
	c.parts, c.databases = strings.Split(parts, ","), strings.Split(databases, ",")
	c.influxURL, c.influxUser, c.influxPassword = os.Getenv("KRM_TEST_INFLUX_URL"), os.Getenv("KRM_TEST_INFLUX_USER"), os.Getenv("KRM_TEST_INFLUX_PASSWORD")
	for _, part := range c.parts {
		if !slices.Contains(allParts(), part) {
			return c, fmt.Errorf("--parts=%s: there are %s", part, strings.Join(allParts(), ", "))
		}
	}
	for _, name := range c.databases {
		if name != embedded && name != influx {
			return c, fmt.Errorf("--databases=%s: there are %s and %s", name, embedded, influx)
		}
	}
	if c.influxURL == "" || c.influxd == "" {
		return c, fmt.Errorf("give --influxd, and KRM_TEST_INFLUX_URL, …_USER and …_PASSWORD, as hack/influxd.sh hack/test-billing.sh does")
	}
	return c, nil
}

func (c *config) has(part string) bool { return slices.Contains(c.parts, part) }

// progress writes one line for each step, with the time since the start.
type progress struct {
	began time.Time
	mu    sync.Mutex
	out   io.Writer
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "billing: %6.1fs "+format+"\n", append([]any{time.Since(p.began).Seconds()}, args...)...)
}

func main() {
	cfg, err := parseFlags()
	if err != nil {
		fmt.Fprintln(os.Stderr, "billing:", err)
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

	r := &result{whole: len(cfg.parts) == len(allParts()) && len(cfg.databases) == 2}
	st, err := openStage(ctx, cfg, p)
	if err == nil {
		err = tell(ctx, st, r)
	}
	if err != nil {
		r.fault("%v", err)
	}
	r.judge()
	failed := r.exitCode() != 0
	if st != nil && len(r.wrong) > 0 {
		if err := os.WriteFile(st.path("wrong.txt"), []byte(strings.Join(r.wrong, "\n")+"\n"), 0o644); err != nil {
			r.fault("%v", err)
		}
	}
	if st != nil {
		st.close(failed)
	}
	const shown = 40
	for i, wrong := range r.wrong {
		if i == shown {
			fmt.Fprintf(os.Stderr, "billing: and %d more\n", len(r.wrong)-shown)
			break
		}
		fmt.Fprintln(os.Stderr, "billing: WRONG:", wrong)
	}
	for _, fault := range r.faults {
		fmt.Fprintln(os.Stderr, "billing: FAULT:", fault)
	}
	p.say("done")
	fmt.Println(r.line(p.began))
	return r.exitCode()
}
