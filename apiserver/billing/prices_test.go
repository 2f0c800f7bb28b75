package billing

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPricesFaults(t *testing.T) {
	f := func(text string, says ...string) {
		t.Helper()
		_, err := ParsePrices([]byte(text))
		for _, part := range says {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %s", text, err, part)
			}
		}
	}
	f("", "currency", "prices: there are none")
	f("[1]", "line 1: a list: want a mapping")
	f("currency: CHF\nprices: {cpu: 1}", `line 2: prices: "cpu": unknown: want one of cpu_used_core_hours`, "cpu_billed_core_hours")
	f("currency: CHF\nprices: {pod_hours: -1}", `line 2: prices.pod_hours: "-1": want a price from 0 on`)
	f("currency: CHF\nprices: {pod_hours: 1e9}", "1e9")
	f("currency: CHF\nprices: {pod_hours: .inf}", "inf")
	f("currency: CHF\nprices: {pod_hours: 1_000}", "1_000")
	f("currency: CHF\nprices: {pod_hours: 0,5}", "0")
	f("currency: CHF\nprices: {pod_hours: [1]}", "prices.pod_hours: a list: want a price")
	f("currency: CHF\nprices: {pod_hours: }", `prices.pod_hours: "": want a price`)
	f("currency: CHF\nprices: {pod_hours: 1, pod_hours: 2}", "line 2: prices.pod_hours: it is already given")
	f("currency: CHF\ncurrency: EUR\nprices: {pod_hours: 1}", "line 2: currency: it is already given")
	f("currency: CHF\ndecimals: 12\nprices: {pod_hours: 1}", `line 2: decimals: "12": want a whole number from 0 to 9`)
	f("currency: CHF\ndecimals: two\nprices: {pod_hours: 1}", `decimals: "two"`)
	f("currency: null\nprices: {pod_hours: 1}", `currency: "null"`)
	f("currency: CHF\nprice: {pod_hours: 1}", `line 2: "price": unknown: want one of currency, decimals, prices, rules, tariffs`)
	f("currency: CHF\nrules: [{prices: {pod_hours: 1}}]", "line 2: rules[0]: want clusters, namespaces or labels")
	f("currency: CHF\nrules: [{namespaces: [a]}]", "rules[0]: there are no prices in it")
	f("currency: CHF\nrules: [{namespace: [a], prices: {pod_hours: 1}}]", `rules[0]: "namespace": unknown: want one of clusters, labels, namespaces, prices`)
	f("currency: CHF\nrules: [{namespaces: a, prices: {pod_hours: 1}}]", `rules[0].namespaces: "a": want a list`)
	f("currency: CHF\nrules: [{labels: {a: 1, a: 2}, prices: {pod_hours: 1}}]", "rules[0].labels.a: it is already given")
	f("currency: CHF\nrules: []", "there are none")
	f("currency: CHF\nprices: {pod_hours: 1}\n---\na: 1", "second document")
	f("currency: CHF\nprices: {pod_hours: 1}\ntariffs:\n- {prices: {pod_hours: 2}}", "line 4: tariffs[0]: from is missing")
	f("currency: CHF\ntariffs:\n- {from: 2026-11-31, prices: {pod_hours: 2}}", `line 3: tariffs[0].from: "2026-11-31": want a date`)
	f("currency: CHF\ntariffs:\n- {from: 2026-11, prices: {pod_hours: 2}}", `"2026-11"`)
	f("currency: CHF\ntariffs:\n- {from: 2026-11-01}", "tariffs[0]: there are no prices in it")
	f("currency: CHF\ntariffs:\n- {from: 2026-11-01, prices: {pod_hours: 2}}\n- {from: 2026-11-01, prices: {pod_hours: 3}}", "2026-11-01 comes after 2026-11-01")
	f("currency: CHF\nprices: {cpu: 1, pod_hours: -3}\nx: 1", `"cpu"`, `"-3"`, `"x"`) // all at once
	p := pricesOf(t, "currency: EUR\nprices: {pod_hours: 0.123456789012345}")
	if got := p.Tariffs[0].of(podTime, "", "x", nil).String(); got != "0.123456789012345" { // a float would have lost digits
		t.Error(got)
	}
}

// What a tariff changes from its date on leaves everything before as it was.
func TestTariffs(t *testing.T) {
	const before = "currency: CHF\nprices: {cpu_billed_core_hours: 1}\nrules: [{namespaces: [b], prices: {cpu_billed_core_hours: 2}}]\n"
	const later = "tariffs:\n- {from: 2024-02-02, prices: {cpu_billed_core_hours: 100}}\n- {from: 2024-03-01, prices: {pod_hours: 7}}\n"
	cost := func(prices, body string) string {
		t.Helper()
		lines := reportOf(t, handler(small(), Options{Prices: pricesOf(t, prices)}), body)
		return lines["pods a"]["cost"] + " " + lines["pods b"]["cost"]
	}
	f := func(prices, body, want string) {
		t.Helper()
		if got := cost(prices, body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	const day = `{"timeBeginInterval":"2024-02-01","timeEndInterval":"2024-02-02"}`
	f(before, day, "0.40 2.01")
	f(before+later, day, "0.40 2.01")
	f(before+strings.ReplaceAll(later, "2024-02-02", "2024-02-01"), day, "40.20 100.20") // it replaces the rules, too
	f("currency: CHF\n"+later, day, " ")                                                 // there were no prices yet
	// A date is that of the report's time zone.
	f(before+later, `{"timezone":"Asia/Tokyo","timeBeginInterval":"2024-02-01","timeEndInterval":"2024-02-02"}`, "0.40 2.01")
	h := handler(small(), Options{Prices: pricesOf(t, before+later)})
	refused := func(body string, says ...string) {
		t.Helper()
		w := send(h, post("/api/report", body))
		for _, text := range says {
			if w.Code != 400 || !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s: %d, want %s: %s", body, w.Code, text, w.Body)
			}
		}
	}
	refused(`{"month":"2024-02"}`, "change on 2024-02-02", "two reports", "2024-02-02T00:00:00Z")
	refused(`{"timezone":"Europe/Zurich","month":"2024-02"}`, "2024-02-02T00:00:00+01:00")
	refused(`{"timeBeginInterval":"2024-02-01","timeEndInterval":"2024-02-02 00:00:00.001"}`, "2024-02-02")
}

func TestTariffsBeginAtMidnight(t *testing.T) {
	f := func(zone string, day Date, want string) {
		t.Helper()
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		if got := rfc3339(dayBegin(day, location)); got != want {
			t.Errorf("%s %v: %s, want %s", zone, day, got, want)
		}
	}
	f("UTC", Date{2024, 2, 29}, "2024-02-29T00:00:00Z")
	f("Europe/Zurich", Date{2026, 3, 29}, "2026-03-28T23:00:00Z")
	f("Pacific/Apia", Date{2011, 12, 30}, "2011-12-30T10:00:00Z") // there is no such day: the next one begins
	f("America/Havana", Date{2026, 11, 1}, "2026-11-01T04:00:00Z")
	if text := fmt.Sprint(Date{2026, 3, 9}); text != "2026-03-09" {
		t.Error(text)
	}
}
