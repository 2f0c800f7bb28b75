package metrics

import (
	"testing"
	"time"
)

func TestLedgerKeepsRows(t *testing.T) {
	l := NewLedger(time.Minute)
	b := l.Begin("c", at(0), testWindow)
	ns := Ref{Namespace, b.Row(Namespace, Ref{}, "a")}
	x, y := b.Row(Pod, ns, "x"), b.Row(Pod, ns, "y")
	equal(t, "the same row again", b.Row(Pod, ns, "x"), x)
	b.Describe(Ref{Pod, x}, "", &Meta{UID: "u"})
	b.Tables[Pod].Set(CPUUsage, x, 5)

	b = l.Begin("c", at(30), testWindow)
	_, ok := b.Find(Pod, ns, "x")
	equal(t, "not in this batch yet", ok, false)
	_, ok = b.Tables[Pod].Get(CPUUsage, x)
	equal(t, "no value from before", ok, false)
	b.Row(Namespace, Ref{}, "a")
	equal(t, "its row", b.Row(Pod, ns, "x"), x)
	equal(t, "its meta", b.Tables[Pod].Entities[x].Meta.UID, "u")
	equal(t, "live", b.Tables[Pod].Live.Count(), 1)

	b = l.Begin("c", at(61), testWindow) // y was last seen 61 s ago
	b.Row(Namespace, Ref{}, "a")
	equal(t, "a forgotten entity", b.Tables[Pod].Entities[y], Entity{})
	equal(t, "its row is given away", b.Row(Pod, ns, "z"), y)
	equal(t, "x keeps its own", b.Row(Pod, ns, "x"), x)
	equal(t, "another parent's", b.Row(Container, Ref{Pod, x}, "z") == b.Row(Container, Ref{Pod, y}, "z"), false)
}

func TestColumn(t *testing.T) {
	table := &Table{Kind: Pod}
	table.Set(MemoryUsage, 70, 7)
	gpu := ResourceRequest("nvidia.com/gpu")
	table.Make(gpu).Set(1, 2)
	equal(t, "made once", table.Make(ResourceRequest("nvidia.com/gpu")), table.find(gpu))
	value, ok := table.Get(MemoryUsage, 70)
	equal(t, "value", []any{value, ok}, []any{int64(7), true})
	_, ok = table.Get(MemoryUsage, 69)
	equal(t, "no value", ok, false)
	_, ok = table.Get(MemoryRSS, 70)
	equal(t, "no column", ok, false)
	equal(t, "columns", len(table.Columns()), 2)
	share := &Column{Metric: Describe(CPUNodeUtilization)}
	share.Set(0, FloatBits(0.25))
	number, _ := share.Number(0)
	equal(t, "float", number, 0.25)
}

func TestRateBetween(t *testing.T) {
	const second = int64(1e9)
	f := func(what string, id ID, before, now Sample, want float64, wantOK bool) {
		t.Helper()
		bits, ok := Describe(id).RateBetween(before, now)
		if got := Describe(id).Number(bits); ok != wantOK || ok && got != want {
			t.Errorf("%s: %v, %v; want %v, %v", what, got, ok, want, wantOK)
		}
	}
	f("cpu", CPUUsageRate, Sample{947130377781, 0, 1}, Sample{948071062732, 60 * second, 1}, 15, true)
	f("errors", NetworkTxErrorsRate, Sample{0, 0, 0}, Sample{120, 60 * second, 0}, 2, true)
	f("cpu is cut off", CPUUsageRate, Sample{0, 0, 0}, Sample{1999999, second, 0}, 1, true)
	f("nothing used", CPUUsageRate, Sample{5, 0, 0}, Sample{5, second, 0}, 0, true)
	f("the counter fell", CPUUsageRate, Sample{5, 0, 0}, Sample{4, second, 0}, 0, false)
	f("no time passed", NetworkRxRate, Sample{5, second, 0}, Sample{6, second, 0}, 0, false)
	f("time ran backwards", NetworkRxRate, Sample{5, second, 0}, Sample{6, 0, 0}, 0, false)
	f("started anew", NetworkRxRate, Sample{5, 0, 1}, Sample{6, second, 2}, 0, false)
	f("negative", NetworkRxRate, Sample{-5, 0, 0}, Sample{6, second, 0}, 0, false)
	f("more than can be", CPUUsageRate, Sample{0, 0, 0}, Sample{1<<63 - 1, second, 0}, 0, false)
}

func TestCatalog(t *testing.T) {
	names := map[string]bool{}
	for id := range NumIDs {
		d := Describe(id)
		if d.ID != id || d.Name == "" || d.Description == "" || names[d.Name] {
			t.Errorf("metric %d is %+v", id, d)
		}
		names[d.Name] = true
		found, ok := Lookup(d.Name)
		if !ok || found != d {
			t.Errorf("%s is not found", d.Name)
		}
		if kind, labelled := Family(id); labelled != d.Labelled || labelled && kind < Levels {
			t.Errorf("%s: family %v, %v", d.Name, kind, labelled)
		}
		if d.Rate() && (Describe(d.RateOf).Type != Cumulative || !Describe(d.RateTime).Hidden()) {
			t.Errorf("%s is a rate of %s over %s", d.Name, Describe(d.RateOf).Name, Describe(d.RateTime).Name)
		}
		if descriptorOf(d.Name, flagsOf(d)) != d || descriptorOf(d.Name, flagsOf(d)^metricFloat) != nil {
			t.Errorf("%s does not travel", d.Name)
		}
	}
	for alias, name := range aliases {
		if _, ok := Lookup(name); !ok || Canonical(alias) != name {
			t.Errorf("alias %s is %s", alias, Canonical(alias))
		}
	}
	equal(t, "a slash at the end", Canonical("cpu/usage/"), "cpu/usage")
	equal(t, "it travels", descriptorOf("nvidia.com/gpu/request", 0), ResourceRequest("nvidia.com/gpu"))
	_, ok := Lookup("nvidia.com/gpu/request")
	equal(t, "an extended resource", ok, false)
}
