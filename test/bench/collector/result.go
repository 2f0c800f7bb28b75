package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// result is what was measured and checked.
type result struct {
	cfg config

	collectorCPU, apiserverCPU, redisCPU, kubeletsCPU float64 // CPU seconds of a window
	others                                            float64 // CPUs that everything else took meanwhile
	collectorRSS, apiserverRSS, readRSS               int64
	metrics                                           process.Metrics // the apiserver's

	lists, series, keys, exports, tops samples
	keysBytes, exportBytes, topsBytes  int64
	nodes, points                      int
	compared, wrong                    int

	large         samples
	largeAnswered int
	largeRSS      int64
}

func decodeJSON(into any) func(io.Reader) error {
	return func(body io.Reader) error { return json.NewDecoder(body).Decode(into) }
}

// print writes what was measured for people, and last the line for programs.
func (r *result) print(w io.Writer) {
	f := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	f("")
	f("%d nodes × %d pods × %d containers, windows of %v, the model full (%d points a series)", r.cfg.nodes, r.cfg.pods, r.cfg.containers, r.cfg.resolution, r.points)
	f("  CPU seconds a window   collector %.2f, apiserver %.2f, Redis %.2f, the kubelets themselves %.2f", r.collectorCPU, r.apiserverCPU, r.redisCPU, r.kubeletsCPU)
	f("  resident MB            collector %d, apiserver %d (of which mirrors of pods and nodes hold %.0f); after the reads both %d", r.collectorRSS>>20, r.apiserverRSS>>20, r.metrics.Sum("krm_mirror_bytes")/(1<<20), r.readRSS>>20)
	f("  lists                  median %.2f ms, p99 %.2f ms", ms(r.lists.quantile(0.5)), ms(r.lists.quantile(0.99)))
	f("  one series             median %.2f ms, p99 %.2f ms", ms(r.series.quantile(0.5)), ms(r.series.quantile(0.99)))
	f("  debug/allkeys          median %.1f ms, %.1f MB", ms(r.keys.quantile(0.5)), float64(r.keysBytes)/1e6)
	f("  metric-export          median %.2f s, %.1f MB", r.exports.quantile(0.5).Seconds(), float64(r.exportBytes)/1e6)
	f("  metrics.k8s.io pods    median %.1f ms, %.1f MB", ms(r.tops.quantile(0.5)), float64(r.topsBytes)/1e6)
	if len(r.large) > 0 {
		f("%d nodes × %d pods: a window took %.1f s, resident %d MB", r.cfg.large, r.cfg.pods, r.large.quantile(0.5).Seconds(), r.largeRSS>>20)
	}
	f("RESULT cpu_s_per_batch=%.2f rss_mb=%d list_ms=%.2f series_ms=%.2f export_s=%.2f nodes5000_batch_s=%.1f wrong=%d compared=%d points=%d others_cpus=%.2f",
		r.collectorCPU+r.apiserverCPU, (r.collectorRSS+r.apiserverRSS)>>20, ms(r.lists.quantile(0.5)), ms(r.series.quantile(0.5)),
		r.exports.quantile(0.5).Seconds(), r.large.quantile(0.5).Seconds(), r.wrong, r.compared, r.points, r.others)
}

// verdict fails if what was measured was not what should have been there.
func (r *result) verdict() error {
	if r.cfg.plant {
		if r.wrong == 0 {
			return errors.New("the planted fault was not found")
		}
		return nil
	}
	switch {
	case r.compared == 0:
		return errors.New("nothing was compared")
	case r.wrong > 0:
		return fmt.Errorf("%d of %d points are not what kubelets said", r.wrong, r.compared)
	case r.nodes != r.cfg.nodes:
		return fmt.Errorf("the model has %d nodes, want %d", r.nodes, r.cfg.nodes)
	case r.cfg.large > 0 && r.largeAnswered != r.cfg.large:
		return fmt.Errorf("%d of %d nodes answered", r.largeAnswered, r.cfg.large)
	}
	return nil
}
