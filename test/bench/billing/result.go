package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// The aims, in the unit of the figures.
const (
	aimMonth          = 1000 // ms
	aimHour           = 150  // ms
	aimWrite          = 3    // s
	aimBytesPerSample = 2
	aimDeviation      = 1e-9
)

// result is what was measured and checked.
type result struct {
	cfg          config
	world        *world
	sides        []*side
	peers        []peered
	otherSeconds float64
	wall         time.Duration
}

// worst is a figure on the database that is slower, in ms.
func (r *result) worst(figures ...string) (most float64) {
	for _, s := range r.sides {
		for _, figure := range figures {
			most = max(most, ms(s.worst(figure)))
		}
	}
	return most
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// print writes what was measured for people, and last the line for programs.
func (r *result) print(w io.Writer) {
	f := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	f("")
	f("%d pods in %d namespaces, %d days of roll-ups from %s, samples every %v from %s to %s; medians of %d; load %s",
		len(r.world.pods), r.cfg.namespaces, r.cfg.days, r.world.month.Format(time.DateOnly), resolution,
		r.world.raw.Format(time.DateTime), r.world.now.Format(time.DateTime), r.cfg.runs, loadAverage())
	header := fmt.Sprintf("  %-22s", "")
	for _, s := range r.sides {
		header += fmt.Sprintf("%14s", s.name)
	}
	f("%s%10s", header, "aim")
	r.printTimes(f)
	line := func(name, aim string, of func(*side) string) {
		text := fmt.Sprintf("  %-22s", name)
		for _, s := range r.sides {
			text += fmt.Sprintf("%14s", of(s))
		}
		f("%s%10s", text, aim)
	}
	line("100,000 points, s", fmt.Sprint(aimWrite), func(s *side) string { return fmt.Sprintf("%.2f", s.write.median().Seconds()) })
	line("bytes a sample", fmt.Sprint(aimBytesPerSample), func(s *side) string { return orNone(s.bytesPerSample, "%.2f") })
	line("the whole file, MB", "", func(s *side) string { return orNone(float64(s.bytes)/1e6, "%.1f") })
	line("roll-up deviation", fmt.Sprint(aimDeviation), func(s *side) string { return fmt.Sprintf("%.1g", s.deviation) })
	line("figures compared", "", func(s *side) string { return fmt.Sprint(s.compared) })
	line("of them wrong", "0", func(s *side) string { return fmt.Sprint(s.wrong) })
	line("refused as too slow", "", func(s *side) string { return fmt.Sprint(s.refused) })
	line("planted fault found", "true", func(s *side) string { return fmt.Sprint(s.planted) })
	line("filled in, s", "", func(s *side) string { return fmt.Sprintf("%.0f", s.took.Seconds()) })
	r.printPeers(f)
	t := r.total()
	f("aims: month_ns_ms≤%d month_pod_ms≤%d hour_ms≤%d write_s≤%d bytes_per_sample≤%d rollup_deviation≤%g", aimMonth, aimMonth, aimHour, aimWrite, aimBytesPerSample, aimDeviation)
	f("RESULT month_ns_ms=%.0f month_pod_ms=%.0f hour_ms=%.0f report_ms=%.0f write_s=%.2f bytes_per_sample=%.2f rollup_deviation=%.1g wrong=%d planted=%s others_cpus=%.2f",
		r.worst(monthNamespace), r.worst(monthPod), r.worst(hourNamespace, hourPod), r.worst(monthReport),
		t.write, t.bytesPerSample, t.deviation, t.wrong, t.planted, r.otherSeconds/r.wall.Seconds())
}

func orNone(value float64, format string) string {
	if value == 0 {
		return "–"
	}
	return fmt.Sprintf(format, value)
}

// printTimes prints each figure for each metric.
func (r *result) printTimes(f func(string, ...any)) {
	aims := map[string]string{monthNamespace: fmt.Sprint(aimMonth), monthPod: fmt.Sprint(aimMonth), hourNamespace: fmt.Sprint(aimHour), hourPod: fmt.Sprint(aimHour), monthReport: "–"}
	names := map[string]string{"cpu/usage_rate": "cpu", "memory/usage": "memory", "": ""}
	for _, figure := range figureNames() {
		for _, metric := range []string{"", "cpu/usage_rate", "memory/usage"} {
			text := fmt.Sprintf("  %-22s", figure+" "+names[metric]+", ms")
			found := false
			for _, s := range r.sides {
				times, ok := s.times[figure][metric]
				found = found || ok
				text += fmt.Sprintf("%14.1f", ms(times.median()))
			}
			if found {
				f("%s%10s", text, aims[figure])
			}
		}
	}
}

// printPeers prints the peer beside the same question to krm.
func (r *result) printPeers(f func(string, ...any)) {
	at := slices.IndexFunc(r.sides, func(s *side) bool { return s.name == onInflux })
	if at < 0 || len(r.peers) == 0 {
		return
	}
	krm := r.sides[at]
	f("  one sum of cpu/usage_rate straight from the samples on influxd, as the original did, and krm's whole answer on influxd")
	for i, figure := range []string{hourNamespace, hourPod, hourNamespace, hourPod, monthNamespace, monthPod} {
		peer, mine := ms(r.peers[i].took.median()), ms(krm.times[figure]["cpu/usage_rate"].median())
		if figure == monthNamespace || figure == monthPod {
			days := float64(r.cfg.days)
			f("  %-30s %9.1f ms; %d days at that rate %7.0f ms; krm %7.1f ms: %5.1f times as fast", r.peers[i].what, peer, r.cfg.days, days*peer, mine, days*peer/mine)
			continue
		}
		f("  %-30s %9.1f ms; krm %7.1f ms: %5.2f times as fast", r.peers[i].what, peer, mine, peer/mine)
	}
}

// totals are the worse of both databases.
type totals struct {
	write, bytesPerSample, deviation float64
	wrong                            int
	planted                          string
}

func (r *result) total() totals {
	t := totals{planted: "found"}
	for _, s := range r.sides {
		t.write = max(t.write, s.write.median().Seconds())
		t.bytesPerSample = max(t.bytesPerSample, s.bytesPerSample)
		t.deviation = max(t.deviation, s.deviation)
		t.wrong += s.wrong
		if !s.planted {
			t.planted = "missed"
		}
	}
	return t
}

// verdict fails if what was answered is not what was written. Slowness is no fault.
func (r *result) verdict() error {
	t := r.total()
	var faults []error
	if t.wrong > 0 {
		faults = append(faults, fmt.Errorf("%d figures are not what was written", t.wrong))
	}
	if t.deviation > aimDeviation {
		faults = append(faults, fmt.Errorf("roll-ups deviate from samples by %g", t.deviation))
	}
	if t.planted != "found" {
		faults = append(faults, errors.New("the planted fault was not found"))
	}
	return errors.Join(faults...)
}
