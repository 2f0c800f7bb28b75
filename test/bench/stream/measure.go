package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
	"github.com/kubernetes-resource-monitor/krm/test/bench/source"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

const ofPods = `resource="pods"`

// fill starts the streamer and waits until the mirror has all pods.
func fill(ctx context.Context, l *lab, r *result) error {
	empty, err := process.ReadUsage(l.krm["apiserver"].PID())
	if err != nil {
		return err
	}
	r.emptyRSS = empty.RSS
	began := time.Now()
	if err := l.start("streamer"); err != nil {
		return err
	}
	if err := l.await(ctx, l.world.Head(), 4*time.Minute); err != nil {
		return err
	}
	took := time.Since(began)
	l.say("the first %d pods took %.1f s from the streamer's start to the mirror, %.0f/s", l.cfg.objects, took.Seconds(), float64(l.cfg.objects)/took.Seconds())
	return nil
}

// await returns once the mirror has version.
func (l *lab) await(ctx context.Context, version uint64, within time.Duration) error {
	path := l.anyPod()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		reached, err := l.reached(ctx, path)
		if err == nil && reached >= version {
			return nil
		}
		if dead := l.alive(); dead != nil {
			return dead
		}
		if pause := process.Pause(ctx, 20*time.Millisecond); pause != nil {
			return fmt.Errorf("wait %v for the mirror to have version %d, it has %d: %w", within, version, reached, err)
		}
	}
}

func (l *lab) anyPod() string {
	events, _ := l.world.Now()
	return l.pathOf(events[0])
}

func (l *lab) pathOf(e frames.Event) string {
	namespace, name := l.world.Set().Key(e)
	return "/api/v1/namespaces/" + namespace + "/pods/" + name
}

// reached is the version up to which the mirror is complete.
func (l *lab) reached(ctx context.Context, path string) (uint64, error) {
	answer, err := l.get(ctx, path+"?resourceVersion=0")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	return strconv.ParseUint(answer.Header.Get("Krm-Resource-Version"), 10, 64)
}

func (l *lab) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.api()+path, nil)
	if err != nil {
		return nil, err
	}
	return l.http.Do(request)
}

// weigh measures what one object takes in Redis and in the mirror, at rest.
func weigh(ctx context.Context, l *lab, r *result) error {
	if err := process.Pause(ctx, 3*time.Second); err != nil { // collect garbage
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: l.redis.Addr()})
	defer client.Close()
	const snapshot = "krm:{pods}:snapshot"
	count, err := client.HLen(ctx, snapshot).Result()
	if err != nil || count == 0 {
		return fmt.Errorf("count the snapshot's objects: %d, %w", count, err)
	}
	bytes, err := client.MemoryUsage(ctx, snapshot, 0).Result()
	if err != nil {
		return fmt.Errorf("weigh the snapshot: %w", err)
	}
	r.redisBytes = float64(bytes) / float64(count)
	metrics, err := process.Scrape(ctx, l.api())
	if err != nil {
		return err
	}
	used, err := process.ReadUsage(l.krm["apiserver"].PID())
	if err != nil {
		return err
	}
	objects := metrics.Sum("krm_mirror_objects", ofPods)
	if objects == 0 {
		return fmt.Errorf("weigh the mirror: it says that it has no objects")
	}
	r.mirrorBytes = metrics.Sum("krm_mirror_bytes", ofPods) / objects
	r.heapBytes = metrics.Sum("go_memstats_heap_alloc_bytes") / objects
	r.rssBytes = float64(used.RSS-r.emptyRSS) / objects
	l.say("per object: Redis %.0f bytes, mirror %.0f by its own account; heap in use %.0f, growth of resident memory %.0f",
		r.redisBytes, r.mirrorBytes, r.heapBytes, r.rssBytes)
	return nil
}

// flood lets events come as fast as they are read.
func flood(ctx context.Context, l *lab, r *result) error {
	before, err := l.usage()
	if err != nil {
		return err
	}
	machine, err := process.MachineSeconds()
	if err != nil {
		return err
	}
	head, began := l.world.Head(), time.Now()
	l.source.Flood(l.cfg.flood)
	for time.Since(began) < l.cfg.flood {
		if err := process.Pause(ctx, min(10*time.Second, l.cfg.flood)); err != nil {
			return err
		}
		if err := l.alive(); err != nil {
			return err
		}
		l.say("%d events read, %.0f/s so far", l.world.Head()-head, float64(l.world.Head()-head)/time.Since(began).Seconds())
	}
	sending := time.Since(began)
	if err := process.Pause(ctx, 100*time.Millisecond); err != nil { // the last batch may be happening
		return err
	}
	last := l.world.Head()
	if err := l.await(ctx, last, 3*time.Minute); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := l.usage()
	if err != nil {
		return err
	}
	others, err := process.MachineSeconds()
	if err != nil {
		return err
	}
	r.events, r.seconds = int(last-head), took.Seconds()
	r.eventsPerSecond = float64(r.events) / r.seconds
	r.lag = took - sending
	r.cpu = map[string]float64{}
	r.others = (others - machine) / r.seconds
	for name := range after {
		r.others -= (after[name].CPUSeconds - before[name].CPUSeconds) / r.seconds
		r.cpu[name] = (after[name].CPUSeconds - before[name].CPUSeconds) / float64(r.events)
		l.say("%-10s %5.1f µs of CPU per event, %.2f CPUs, %d MB resident", name, r.cpu[name]*1e6, r.cpu[name]*r.eventsPerSecond, after[name].RSS>>20)
	}
	l.say("%d events in %.1f s, %.0f/s; the mirror had the last one %.1f s after it was read; others on this machine took %.2f of its %d CPUs",
		r.events, r.seconds, r.eventsPerSecond, r.lag.Seconds(), r.others, runtime.NumCPU())
	return nil
}

// pace lets events come at a fixed rate, and measures how long some of them take
// from the moment before they are sent until the mirror shows them.
func pace(ctx context.Context, l *lab, r *result) error {
	if err := process.Pause(ctx, 3*time.Second); err != nil {
		return err
	}
	before, err := process.Scrape(ctx, l.api())
	if err != nil {
		return err
	}
	sampling, stop := context.WithCancel(ctx)
	samples := make(chan []sample, 1)
	go func() { samples <- l.sample(sampling) }()
	head, began := l.world.Head(), time.Now()
	l.source.Pace(ctx, l.cfg.rate, l.cfg.pace)
	r.pacedRate = float64(l.world.Head()-head) / l.cfg.pace.Seconds()
	stop()
	taken := <-samples
	if err := l.await(ctx, l.world.Head(), time.Minute); err != nil {
		return err
	}
	after, err := process.Scrape(ctx, l.api())
	if err != nil {
		return err
	}
	delays := delaysOf(taken)
	r.samples = len(delays)
	r.p50, r.p99 = quantile(delays, 0.5), quantile(delays, 0.99)
	inner := func(q float64) float64 { return 1000 * after.Quantile(q, before, "krm_mirror_delay_seconds", ofPods) }
	r.innerP50, r.innerP99 = inner(0.5), inner(0.99)
	l.say("at %.0f events/s: p50 %.1f ms, p99 %.1f ms, worst %.1f ms of %d samples; from the streamer on, by KRM's own account: p50 %.1f ms, p99 %.1f ms",
		r.pacedRate, ms(r.p50), ms(r.p99), ms(quantile(delays, 1)), r.samples, r.innerP50, r.innerP99)
	for _, stall := range stalls(taken) {
		l.say("stall of %.0f ms, %.1f s after the beginning", ms(stall.took), stall.sent.Sub(began).Seconds())
	}
	return nil
}

// visible returns how long it took until the mirror showed the event, or a later one
// of its pod. It asks more seldom the longer it takes.
func (l *lab) visible(ctx context.Context, sent source.Sent) (time.Duration, bool) {
	path := l.pathOf(sent.Event) + "?resourceVersion=0"
	for {
		version := l.version(ctx, path)
		took := time.Since(sent.At)
		if version >= sent.Event.Version {
			return took, true
		}
		if took > time.Minute || process.Pause(ctx, max(300*time.Microsecond, took/20)) != nil {
			return 0, false
		}
	}
}

// version is the resourceVersion of the object at path. If it is gone, it is the
// version up to which the mirror is complete.
func (l *lab) version(ctx context.Context, path string) uint64 {
	answer, err := l.get(ctx, path)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0
	}
	text := answer.Header.Get("Krm-Resource-Version")
	if answer.StatusCode == http.StatusOK {
		_, rest, _ := strings.Cut(string(body), `"resourceVersion":"`)
		text, _, _ = strings.Cut(rest, `"`)
	}
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return version
}
