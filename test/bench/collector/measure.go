package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// measure runs the first fleet until the model is full, and then reads from it.
func measure(ctx context.Context, cfg config, dir string, say func(string, ...any), r *result) (err error) {
	l, err := openLab(ctx, cfg, dir+"/fleet", cfg.nodes, say)
	defer func() { err = errors.Join(err, l.close()) }()
	if err != nil {
		return err
	}
	facts, err := openTruth(l, cfg.checked)
	if err != nil {
		return err
	}
	if err := l.startAPIServer(ctx); err != nil {
		return err
	}
	if err := l.startCollector(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	following, stop := context.WithCancel(ctx)
	g.Go(func() error { return facts.follow(following) })
	g.Go(func() error {
		defer stop()
		if err := l.collect(ctx, say, r); err != nil {
			return err
		}
		if err := l.read(ctx, say, r); err != nil {
			return err
		}
		stop()
		if cfg.plant {
			facts.spoil()
		}
		// A window is scraped after its end, so the last one may have readings of its own.
		now := time.Now()
		r.compared, r.wrong, err = facts.compare(ctx, l, now.Add(-time.Duration(cfg.windows-1)*cfg.resolution), now.Add(-cfg.resolution))
		say("%d points compared with what kubelets said, %d wrong", r.compared, r.wrong)
		return err
	})
	return g.Wait()
}

// spoil changes every reading a little.
func (t *truth) spoil() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for who, readings := range t.read {
		spoiled := map[reading]bool{}
		for r := range readings {
			r.cpu++
			spoiled[r] = true
		}
		t.read[who] = spoiled
	}
}

// collect waits until the model is full, and measures the last windows of that.
func (l *lab) collect(ctx context.Context, say func(string, ...any), r *result) error {
	var before, after usage
	var others float64
	seen := time.Time{}
	for window := 1; window <= l.cfg.windows; window++ {
		if err := l.await(ctx, &seen); err != nil {
			return err
		}
		now, err := l.usage()
		if err != nil {
			return err
		}
		if window == l.cfg.windows-l.cfg.measured {
			before = now
		}
		after = now
		others = now.machine - before.machine - (now.kubelets - before.kubelets) - (now.redis - before.redis) - (now.collector.CPUSeconds - before.collector.CPUSeconds) - (now.apiserver.CPUSeconds - before.apiserver.CPUSeconds)
		say("window %d of %d: resident collector %d MB, apiserver %d MB", window, l.cfg.windows, now.collector.RSS>>20, now.apiserver.RSS>>20)
	}
	n := float64(l.cfg.measured)
	r.collectorCPU = (after.collector.CPUSeconds - before.collector.CPUSeconds) / n
	r.apiserverCPU = (after.apiserver.CPUSeconds - before.apiserver.CPUSeconds) / n
	r.redisCPU, r.kubeletsCPU = (after.redis-before.redis)/n, (after.kubelets-before.kubelets)/n
	r.others = others / (n * l.cfg.resolution.Seconds())
	r.collectorRSS, r.apiserverRSS = after.collector.RSS, after.apiserver.RSS
	var err error
	r.metrics, err = process.Scrape(ctx, l.base)
	return err
}

// await waits for a newer batch in the model than seen.
func (l *lab) await(ctx context.Context, seen *time.Time) error {
	return process.Poll(ctx, 3*l.cfg.resolution, "the next batch", func(ctx context.Context) error {
		if err := l.alive(); err != nil {
			return process.Final(err)
		}
		s, err := l.cluster(ctx)
		if err != nil {
			return err
		}
		if !s.LatestTimestamp.After(*seen) {
			return fmt.Errorf("the newest is of %v", s.LatestTimestamp)
		}
		*seen = s.LatestTimestamp
		return process.Pause(ctx, l.cfg.resolution/10) // what is done after it belongs to it
	})
}

func (l *lab) cluster(ctx context.Context) (s series, err error) {
	_, err = l.get(ctx, "/api/v1/model/metrics/memory/usage", decodeJSON(&s))
	return s, err
}

// usage is what everything has taken so far.
type usage struct {
	collector, apiserver     process.Usage
	redis, kubelets, machine float64 // CPU seconds
}

func (l *lab) usage() (u usage, err error) {
	var errs [5]error
	var redis, kubelets process.Usage
	u.collector, errs[0] = process.ReadUsage(l.collector.PID())
	u.apiserver, errs[1] = process.ReadUsage(l.apiserver.PID())
	redis, errs[2] = process.ReadUsage(l.redis.PID())
	kubelets, errs[3] = process.ReadUsage(l.kubelets.PID())
	u.machine, errs[4] = process.MachineSeconds()
	u.redis, u.kubelets = redis.CPUSeconds, kubelets.CPUSeconds
	return u, errors.Join(errs[:]...)
}

// read times lists, series and the export.
func (l *lab) read(ctx context.Context, say func(string, ...any), r *result) error {
	namespaces, _, err := l.list(ctx, "/api/v1/model/namespaces/")
	if err != nil {
		return err
	}
	if len(namespaces) == 0 {
		return errors.New("the model has no namespaces")
	}
	for i := range l.cfg.reads {
		namespace := namespaces[i%len(namespaces)]
		pods, took, err := l.list(ctx, "/api/v1/model/namespaces/"+namespace+"/pods/")
		if err != nil {
			return err
		}
		if len(pods) == 0 {
			return fmt.Errorf("namespace %s has no pods", namespace)
		}
		r.lists = append(r.lists, took)
		nodes, took, err := l.list(ctx, "/api/v1/model/nodes/")
		if err != nil {
			return err
		}
		r.lists, r.nodes = append(r.lists, took), len(nodes)
		var s series
		took, err = l.get(ctx, "/api/v1/model/namespaces/"+namespace+"/pods/"+pods[i%len(pods)]+"/metrics/network/rx_rate", decodeJSON(&s))
		if err != nil {
			return err
		}
		r.series, r.points = append(r.series, took), max(r.points, len(s.Metrics))
	}
	for _, timed := range []struct {
		path  string
		into  *samples
		bytes *int64
	}{
		{"/api/v1/model/debug/allkeys", &r.keys, &r.keysBytes},
		{"/api/v1/metric-export", &r.exports, &r.exportBytes},
		{"/apis/metrics.k8s.io/v1beta1/pods", &r.tops, &r.topsBytes},
	} {
		for range 5 {
			took, err := l.get(ctx, timed.path, count(timed.bytes))
			if err != nil {
				return err
			}
			*timed.into = append(*timed.into, took)
		}
	}
	now, err := l.usage()
	if err != nil {
		return err
	}
	r.readRSS = now.collector.RSS + now.apiserver.RSS
	say("%d lists, %d series and %d exports read", len(r.lists), len(r.series), len(r.exports))
	return nil
}

// measureLarge times the windows of the second fleet: from the moment that scraping
// begins until the batch is in Redis.
func measureLarge(ctx context.Context, cfg config, dir string, say func(string, ...any), r *result) (err error) {
	l, err := openLab(ctx, cfg, dir+"/large", cfg.large, say)
	defer func() { err = errors.Join(err, l.close()) }()
	if err != nil {
		return err
	}
	if err := l.startCollector(ctx); err != nil {
		return err
	}
	stream := object.FrameStream{Cluster: "default", Shards: 1}
	frames := l.store.Frames()
	after := time.Now().Add(-time.Hour)
	for len(r.large) < 3 {
		if err := l.alive(); err != nil {
			return err
		}
		got, err := frames.Read(ctx, stream, after, 3*cfg.resolution)
		if err != nil {
			return err
		}
		if len(got) == 0 {
			return fmt.Errorf("no batch came within %v", 3*cfg.resolution)
		}
		after = got[len(got)-1].At
		took := time.Since(after.Add(offset(cfg.resolution)))
		scrape, err := process.Scrape(ctx, l.collects)
		if err != nil {
			return err
		}
		answered := scrape.Sum("krm_node_scrape_success")
		say("%d nodes: a batch of %.0f nodes was in Redis %.1f s after its scrape began", cfg.large, answered, took.Seconds())
		r.large, r.largeAnswered = append(r.large, took), int(answered)
	}
	used, err := process.ReadUsage(l.collector.PID())
	r.largeRSS = used.RSS
	return err
}

// offset is how long after a window's end it is scraped, as the collector does unless
// told otherwise.
func offset(resolution time.Duration) time.Duration {
	return min(5*time.Second, resolution/6)
}
