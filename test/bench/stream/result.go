package main

import (
	"fmt"
	"time"
)

// result is what was measured and checked. Bytes are per object.
type result struct {
	events          int
	seconds         float64
	eventsPerSecond float64
	lag             time.Duration      // from the last frame read until the mirror had it
	cpu             map[string]float64 // seconds per event, by process
	others          float64            // CPUs that everything else on the machine took meanwhile

	samples   int
	pacedRate float64
	p50, p99  time.Duration // from the frame to the mirror
	innerP50  float64       // milliseconds from the streamer to the mirror, by KRM's own account
	innerP99  float64

	emptyRSS    int64
	redisBytes  float64
	mirrorBytes float64 // by the mirror's own account
	heapBytes   float64
	rssBytes    float64

	compared, different     int
	lists, watches, expired int
}

func (r result) String() string {
	return fmt.Sprintf("RESULT events_per_s=%.0f seconds=%.1f lag_s=%.1f p50_ms=%.1f p99_ms=%.1f samples=%d paced_per_s=%.0f "+
		"redis_bytes_per_object=%.0f mirror_bytes_per_object=%.0f heap_bytes_per_object=%.0f rss_bytes_per_object=%.0f "+
		"streamer_us=%.1f aggregator_us=%.1f apiserver_us=%.1f redis_us=%.1f source_us=%.1f others_cpus=%.2f objects=%d different=%d",
		r.eventsPerSecond, r.seconds, r.lag.Seconds(), ms(r.p50), ms(r.p99), r.samples, r.pacedRate,
		r.redisBytes, r.mirrorBytes, r.heapBytes, r.rssBytes,
		r.cpu["streamer"]*1e6, r.cpu["aggregator"]*1e6, r.cpu["apiserver"]*1e6, r.cpu["redis"]*1e6, r.cpu["source"]*1e6, r.others, r.compared, r.different)
}
