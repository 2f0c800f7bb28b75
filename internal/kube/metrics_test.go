package kube

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	text := podEvent("ADDED", "x", "11") + podEvent("DELETED", "x", "12") + mark("13", "")
	c, _ := serve(t, Options{Metrics: NewMetrics(reg)}, say(text))
	if _, err := told(c.Watch(t.Context(), pods, "10", time.Second)); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, family := range families {
		for _, m := range family.Metric {
			labels := ""
			for _, label := range m.Label {
				labels += " " + label.GetValue()
			}
			if n := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()); n > 0 {
				got = append(got, fmt.Sprint(family.GetName(), labels, " ", n))
			}
		}
	}
	want := []string{
		"krm_kube_received_bytes_total pods " + fmt.Sprint(len(text)),
		"krm_kube_request_seconds pods watch 1",
		"krm_kube_requests_total 200 pods watch 1",
		"krm_kube_watch_events_total pods ADDED 1",
		"krm_kube_watch_events_total pods BOOKMARK 1",
		"krm_kube_watch_events_total pods DELETED 1",
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
