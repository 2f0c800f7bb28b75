// Command billing, built as bench-billing, measures what billing asks for once a month
// and what a person asks for now, on both metric databases: through a real krm, from
// roll-ups that the real engine made. README.md beside it says how.
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
	krm            string
	influx         string
	influxUser     string
	influxPassword string
	keep           string
	only           string
	pods           int
	namespaces     int
	days           int
	runs           int
	breakdown      bool
	timeout        time.Duration
}

func parseFlags() config {
	c := config{influxPassword: os.Getenv("KRM_TEST_INFLUX_PASSWORD")}
	flag.StringVar(&c.krm, "krm", "bin/krm", "the krm binary")
	flag.StringVar(&c.influx, "influx", os.Getenv("KRM_TEST_INFLUX_URL"), "URL of influxd; its password is $KRM_TEST_INFLUX_PASSWORD")
	flag.StringVar(&c.influxUser, "influx-user", os.Getenv("KRM_TEST_INFLUX_USER"), "influxd's administrator")
	flag.StringVar(&c.keep, "keep", "", "folder in which to keep logs and data; else they are kept only after a failure")
	flag.StringVar(&c.only, "only", "", "measure on one database only: embedded or influxdb")
	flag.IntVar(&c.pods, "pods", 1000, "pods")
	flag.IntVar(&c.namespaces, "namespaces", 50, "namespaces that they are in")
	flag.IntVar(&c.days, "days", 31, "days of the month")
	flag.IntVar(&c.runs, "runs", 5, "requests of each kind, after one to warm up; medians are shown")
	flag.BoolVar(&c.breakdown, "breakdown", false, "also print where the time of each request goes")
	flag.DurationVar(&c.timeout, "timeout", 40*time.Minute, "give up after this time")
	flag.Parse()
	return c
}

func (c config) validate() error {
	switch {
	case c.pods < 1 || c.namespaces < 1 || c.namespaces > c.pods:
		return fmt.Errorf("--pods=%d --namespaces=%d: want at least 1, and a pod in each namespace", c.pods, c.namespaces)
	case c.days < 2 || c.days > 40:
		return fmt.Errorf("--days=%d: want 2 to 40", c.days)
	case c.runs < 1:
		return fmt.Errorf("--runs=%d: want at least 1", c.runs)
	case c.only != "" && c.only != onEmbedded && c.only != onInflux:
		return fmt.Errorf("--only=%q: want %s or %s", c.only, onEmbedded, onInflux)
	case c.only != onEmbedded && c.influx == "":
		return errors.New("--influx: give the URL of influxd, or run within hack/influxd.sh, or say --only=embedded")
	}
	return nil
}

func main() {
	cfg := parseFlags()
	if err := cfg.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "bench-billing:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
	defer cancel()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "bench-billing:", err)
		os.Exit(1)
	}
}

// run fills and measures one database after the other.
func run(ctx context.Context, cfg config) (err error) {
	began := time.Now()
	l := &lab{cfg: cfg, dir: cfg.keep, influx: findInfluxd()}
	l.say = func(format string, args ...any) {
		fmt.Printf("%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	if l.dir == "" {
		l.dir, err = os.MkdirTemp("", "krm-bench-*")
	} else {
		err = os.MkdirAll(l.dir, 0o755)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err == nil && cfg.keep == "" {
			err = os.RemoveAll(l.dir)
		} else if err != nil {
			l.say("logs and data are kept: %s", l.dir)
		}
	}()
	if l.world, err = newWorld(timesAt(began, cfg.days), cfg.pods, cfg.namespaces); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := serveCluster(ctx, l.path("kubeconfig")); err != nil {
		return err
	}
	r := &result{cfg: cfg, world: l.world}
	if err := l.all(ctx, r); err != nil {
		return err
	}
	r.print(os.Stdout)
	return r.verdict()
}

// all measures everything. The embedded database is filled in any case: what the engine
// writes there is the template of influxd's roll-ups.
func (l *lab) all(ctx context.Context, r *result) error {
	l.say("filling the embedded database; load %s", loadAverage())
	file, err := l.fillEmbedded(ctx)
	if err != nil {
		return fmt.Errorf("fill the embedded database: %w", err)
	}
	l.say("  filled in %.0f s: %.2f bytes a sample, %.1f MB in all", file.took.Seconds(), file.bytesPerSample, float64(file.bytes)/1e6)
	if l.cfg.only != onInflux {
		if err := l.measure(ctx, file, r); err != nil {
			return fmt.Errorf("%s: %w", onEmbedded, err)
		}
	}
	if l.cfg.only != onEmbedded {
		l.say("filling influxd; load %s", loadAverage())
		d, err := l.fillInflux(ctx, file.template)
		if err != nil {
			return fmt.Errorf("fill influxd: %w", err)
		}
		l.say("  filled in %.0f s", d.took.Seconds())
		if err := l.settle(ctx); err != nil {
			return err
		}
		if err := l.measure(ctx, d, r); err != nil {
			return fmt.Errorf("%s: %w", onInflux, err)
		}
		if err := l.comparePeer(ctx, r); err != nil {
			return fmt.Errorf("the peer: %w", err)
		}
	}
	return l.write(ctx, r)
}
