package main

import (
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	good := func() result {
		return result{events: 1, samples: 1, compared: 1, lists: 1, eventsPerSecond: 100}
	}
	f := func(want string, cfg config, spoil func(*result)) {
		t.Helper()
		r := good()
		if spoil != nil {
			spoil(&r)
		}
		err := r.verdict(cfg)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("verdict %v, want %q", err, want)
		}
	}
	f("", config{}, nil)
	f("1 objects differ, want 0", config{}, func(r *result) { r.different = 1 })
	f("0 objects differ, want 1", config{planted: true}, nil)
	f("", config{planted: true}, func(r *result) { r.different = 1 })
	f("nothing was checked", config{}, func(r *result) { r.compared = 0 })
	f("nothing was checked", config{}, func(r *result) { r.samples = 0 })
	f("listed everything 2 times", config{}, func(r *result) { r.lists = 2 })
	f("want at least 200", config{atLeast: 200}, nil)
}

func TestQuantile(t *testing.T) {
	var delays []time.Duration
	for i := range 100 {
		delays = append(delays, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(delays, q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("quantile of nothing")
	}
}

func TestStalls(t *testing.T) {
	began := time.Now()
	at := func(after, took int) sample {
		return sample{began.Add(time.Duration(after) * time.Millisecond), time.Duration(took) * time.Millisecond}
	}
	// Two stalls: 300 ms from 100 on, 150 ms from 900 on.
	taken := []sample{at(900, 150), at(0, 3), at(100, 300), at(200, 200), at(300, 101), at(500, 4), at(1000, 50)}
	got := stalls(taken)
	if len(got) != 2 || got[0] != at(100, 300) || got[1] != at(900, 150) {
		t.Errorf("stalls: %v", got)
	}
	if delays := delaysOf(taken); len(delays) != 7 || delays[0] != 3*time.Millisecond || delays[6] != 300*time.Millisecond {
		t.Errorf("delays: %v", delays)
	}
}
