package billing

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

const testPrices = `
currency: CHF
prices:
  cpu_billed_core_hours: 0.1
  memory_billed_gib_hours: "0.01"
  network_in_gib: 0.5
rules:
  - namespaces: [b]
    prices: {cpu_billed_core_hours: 0.25}
  - labels: {app: db}
    prices: {cpu_billed_core_hours: 1}
`

func pricesOf(t interface{ Fatal(...any) }, text string) *Prices {
	p, err := ParsePrices([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reportOf asks for a report as CSV and returns its lines by what they are about.
func reportOf(t *testing.T, h http.Handler, body string) (lines map[string]map[string]string) {
	t.Helper()
	w := send(h, post("/api/report", body, "Accept", "text/csv"))
	if w.Code != 200 {
		t.Fatalf("%s: %d %s", body, w.Code, w.Body)
	}
	rows, err := csv.NewReader(bytes.NewReader(w.Body.Bytes())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	lines = map[string]map[string]string{}
	for _, row := range rows[1:] {
		line, key := map[string]string{}, ""
		for i, name := range rows[0] {
			line[name] = row[i]
			if slices.Contains([]string{"kind", "namespace_name", "pod_name", "pod_uid", "container_name", "label"}, name) && row[i] != "" {
				key += " " + row[i]
			}
		}
		lines[key[1:]] = line
	}
	return lines
}

func TestReport(t *testing.T) {
	h := handler(small(), Options{Prices: pricesOf(t, testPrices)})
	f := func(by string, want map[string]string) {
		t.Helper()
		got := map[string]string{}
		for key, line := range reportOf(t, h, `{"by":"`+by+`",`+hourBody+`}`) {
			var cells []string
			for _, name := range []string{
				"cpu_used_core_hours", "cpu_requested_core_hours", "cpu_billed_core_hours", "memory_requested_gib_hours", "network_in_gib", "pod_hours", "samples", "expected", "cost",
			} {
				cells = append(cells, short(line[name]))
			}
			got[key] = strings.Join(cells, " ")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s: -want +got\n%s", by, diff)
		}
	}
	// a: 202 mc and 402 mc for half an hour each, and 52 mc for one, which requests 100.
	f("namespace", map[string]string{
		"pods a":   "0.354 0.2 0.402 2 0 2 240 240 0.18",
		"pods b":   "1.002 0.1 1.002 1 2.000977 1 120 120 1.26",
		"system":   "0.398 0.2 0.398 1 0 0 0 0 0",
		"idle":     "2.246 3.5 2.198 12 0 0 0 0 0",
		"subtotal": "1.356 0.3 1.404 3 2.000977 3 360 360 1.44",
		"total":    "4 4 4 16 2.000977 3 360 360 1.44",
	})
	f("pod", map[string]string{
		"pods a db u3":  "0.052 0.1 0.1 1 0 1 120 120 0.13",
		"pods a web u1": "0.101 0.05 0.101 0.5 0 0.5 60 60 0.02",
		"pods a web u2": "0.201 0.05 0.201 0.5 0 0.5 60 60 0.03",
		"pods b web u4": "1.002 0.1 1.002 1 2.000977 1 120 120 1.26",
		"system":        "0.398 0.2 0.398 1 0 0 0 0 0",
		"idle":          "2.246 3.5 2.198 12 0 0 0 0 0",
		"subtotal":      "1.356 0.3 1.404 3 2.000977 3 360 360 1.44",
		"total":         "4 4 4 16 2.000977 3 360 360 1.44",
	})
	f("label:app", map[string]string{
		"pods db":  "0.052 0.1 0.1 1 0 1 120 120 0.13",
		"pods web": "1.304 0.2 1.304 2 2.000977 2 240 240 1.31",
		"system":   "0.398 0.2 0.398 1 0 0 0 0 0",
		"idle":     "2.246 3.5 2.198 12 0 0 0 0 0",
		"subtotal": "1.356 0.3 1.404 3 2.000977 3 360 360 1.44",
		"total":    "4 4 4 16 2.000977 3 360 360 1.44",
	})
	containers := reportOf(t, h, `{"by":"container",`+hourBody+`}`)
	for key, want := range map[string]string{"pods b web u4 a": "0.500000 0.050000 0.500000 0.000000 0.000000", "pods b web u4": "0.000000 0.000000 0.000000 2.000977 1.000000"} {
		line := containers[key]
		got := strings.Join([]string{line["cpu_used_core_hours"], line["cpu_requested_core_hours"], line["cpu_billed_core_hours"], line["network_in_gib"], line["pod_hours"]}, " ")
		if got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

// short is a number without zeros at its end.
func short(number string) string {
	if strings.Contains(number, ".") {
		return strings.TrimSuffix(strings.TrimRight(number, "0"), ".")
	}
	return number
}

func TestReportJSON(t *testing.T) {
	w := send(handler(small(), Options{}), post("/api/report", `{"month":"2024-02","timezone":"Europe/Zurich"}`))
	var got struct {
		Begin, End, Month, Timezone, By, Resolution string
		Complete                                    bool
		Lines                                       []map[string]any
		Subtotal, Total                             map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatal(err, w.Code, w.Body)
	}
	about := []any{got.Begin, got.End, got.Month, got.Timezone, got.By, got.Resolution, got.Complete, len(got.Lines), got.Total["kind"]}
	if diff := cmp.Diff([]any{"2024-01-31T23:00:00Z", "2024-02-29T23:00:00Z", "2024-02", "Europe/Zurich", "namespace", "1m0s", false, 4, "total"}, about); diff != "" {
		t.Error(diff, w.Body)
	}
	if _, priced := got.Total["cost"]; priced {
		t.Error("there is a cost without prices")
	}
	w = send(handler(&fakeDB{}, Options{}), post("/api/report", `{"month":"2024-02"}`))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"lines":[`) || !json.Valid(w.Body.Bytes()) || w.Header().Get("Krm-Complete") != "true" {
		t.Errorf("nothing in the database: %d %s", w.Code, w.Body)
	}
}

func TestReportRequests(t *testing.T) {
	h := handler(small(), Options{})
	f := func(body string, code int, says ...string) {
		t.Helper()
		w := send(h, post("/api/report", body))
		for _, text := range append(says, "") {
			if w.Code != code || !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s: %d, want %d and %q: %s", body, w.Code, code, text, w.Body)
			}
		}
	}
	f(``, 200)
	f(`{"by":"pod"}`, 200)
	f(`{"by":"pods"}`, 400, "by", "pods", "label:KEY")
	f(`{"by":"label:"}`, 400, "by")
	f(`{"by":7}`, 400, "by: 7")
	f(`{"by":"label:example.com/team"}`, 200, "label:example.com/team")
	f(`{"format":"xml"}`, 400, "format", "xml")
	f(`{"format":"csv"}`, 200, "kind,cluster_name")
	for _, month := range []string{"2024-2", "2024-13", "2024-00", "24-01", "2024-01-01", "", "1960-01", "9999-01"} {
		f(`{"month":"`+month+`"}`, 400, "month", month)
	}
	f(`{"month":2024}`, 400, "month: 2024")
	for _, zone := range []string{"Local", "Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "Europe/../UTC", "", "+01:00", "CET "} {
		f(`{"timezone":"`+zone+`"}`, 400, "timezone", zone)
	}
	f(`{"timezone":"Europe/Zurich"}`, 200)
	f(`{"month":"2024-02",`+hourBody+`}`, 400, "month")
	f(`{"timeBeginInterval":"2024-02-01"}`, 400, "want both")
	f(`{"timeBeginInterval":"2024-02-01","timeEndInterval":"2024-01-01"}`, 400)
	f(`{"timezone":"Asia/Tokyo","timeBeginInterval":"2024-02-01","timeEndInterval":"2024-02-02"}`, 200, "2024-01-31T15:00:00Z")
	f(`{"limit":5}`, 400, "limit", "month")
	f(`{"cluster":["a"]}`, 400, "cluster")
}

func TestMonths(t *testing.T) {
	f := func(zone string, year int, month time.Month, begin, end string) {
		t.Helper()
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		got := rfc3339(monthBegin(year, month, location)) + " " + rfc3339(monthBegin(year, month+1, location))
		if want := begin + " " + end; got != want {
			t.Errorf("%s %d-%d: %s, want %s", zone, year, month, got, want)
		}
	}
	f("UTC", 2024, 2, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")                 // 29 days
	f("UTC", 2023, 2, "2023-02-01T00:00:00Z", "2023-03-01T00:00:00Z")                 // 28 days
	f("UTC", 2000, 2, "2000-02-01T00:00:00Z", "2000-03-01T00:00:00Z")                 // a leap year, too
	f("UTC", 2026, 12, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")                // over the year's end
	f("Europe/Zurich", 2026, 3, "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")       // 743 hours
	f("Europe/Zurich", 2026, 10, "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z")      // 745 hours
	f("Asia/Beirut", 2022, 3, "2022-02-28T22:00:00Z", "2022-03-31T21:00:00Z")         // the clock skips a midnight
	f("Africa/Cairo", 2010, 10, "2010-09-30T22:00:00Z", "2010-10-31T22:00:00Z")       // changed on the eve of a month
	f("America/Asuncion", 2017, 10, "2017-10-01T04:00:00Z", "2017-11-01T03:00:00Z")   // the month's first midnight is left out
	f("Pacific/Apia", 2011, 12, "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z")       // without the 30th
	f("Australia/Lord_Howe", 2026, 4, "2026-03-31T13:00:00Z", "2026-04-30T13:30:00Z") // half an hour
	f("America/Havana", 2026, 11, "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z")     // the month's first midnight comes twice
}

func TestDSTMonthHasItsHours(t *testing.T) {
	db := &fakeDB{}
	from, to := time.Date(2026, 2, 28, 23, 0, 0, 0, time.UTC), time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC)
	db.spans(from.Add(-48*time.Hour), to.Add(48*time.Hour), time.Hour)
	n := int(to.Sub(from)/time.Hour) + 96
	tags := labels("namespace_name", "a", "pod_name", "p", "pod_id", "u")
	for _, metric := range []string{"cpu/usage_rate", "cpu/request", "memory/request", "memory/usage"} {
		db.add(metric, metrics.Pod, tags, from.Add(-48*time.Hour), time.Hour, repeat(1000, n)...)
	}
	h := handler(db, Options{})
	line := reportOf(t, h, `{"month":"2026-03","timezone":"Europe/Zurich"}`)["pods a"]
	if line["cpu_used_core_hours"] != "743.000000" || line["pod_hours"] != "743.000000" || line["coverage"] != "1" {
		t.Error(line)
	}
	if line = reportOf(t, h, `{"month":"2026-03"}`)["pods a"]; line["cpu_used_core_hours"] != "744.000000" {
		t.Error(line)
	}
}

// life writes what the event log knows of a pod.
func (f *fakeDB) life(namespace, pod, uid string, begin, end time.Time, cpu, memory int64) {
	l := lifetime.Life{
		Tags:    lifetime.Tags("default", namespace, pod, uid, "n1", "app:"+pod),
		Created: begin, Scheduled: begin, Deleted: end, CPU: cpu, Memory: memory,
	}
	f.records = append(f.records, l.Records()...)
}

func TestPodsThatNoScrapeSaw(t *testing.T) {
	db := small()
	t0 := begun()
	db.life("c", "job", "j1", t0.Add(61*time.Second), t0.Add(97*time.Second), 1000, 2<<30)               // 36 s
	db.life("c", "job", "j2", t0.Add(-10*time.Second), t0.Add(18*time.Second), 1000, 1<<30)              // 18 s in the interval
	db.life("c", "job", "j3", t0.Add(-time.Hour), t0.Add(-time.Second), 1000, 1<<30)                     // before it
	db.life("b", "web", "u4", t0.Add(-90*time.Second), t0.Add(time.Hour+time.Minute), 100, 1<<30)        // sampled
	db.life("a", "web", "u1", t0.Add(10*time.Second), t0.Add(29*time.Minute+40*time.Second), 100, 1<<30) // sampled: 1770 s
	db.life("a", "web", "u2", t0.Add(29*time.Minute+50*time.Second), t0.Add(2*time.Hour), 77, 1<<30)     // the event log knows requests better than samples
	lines := reportOf(t, handler(db, Options{Prices: pricesOf(t, testPrices)}), `{"by":"pod",`+hourBody+`}`)
	f := func(key string, want ...string) {
		t.Helper()
		line := lines[key]
		got := []string{line["cpu_used_core_hours"], line["cpu_requested_core_hours"], line["cpu_billed_core_hours"], line["memory_billed_gib_hours"], line["pod_hours"], line["estimated_pods"], line["samples"]}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	f("pods c job j1", "0.010000", "0.010000", "0.010000", "0.020000", "0.010000", "1", "0")
	f("pods c job j2", "0.005000", "0.005000", "0.005000", "0.005000", "0.005000", "1", "0")
	f("pods b web u4", "1.002000", "0.100000", "1.002000", "1.000000", "1.000000", "0", "120")
	f("pods a web u1", "0.101000", "0.049167", "0.101000", "1.000000", "0.491666", "0", "60") // never billed less than used; rounded so that lines add up
	f("pods a web u2", "0.201000", "0.038714", "0.201000", "1.002778", "0.502778", "0", "60")
	if _, ok := lines["pods c job j3"]; ok {
		t.Error("a pod is billed that did not live in the interval")
	}
	if got := lines["subtotal"]["estimated_pods"]; got != "2" {
		t.Errorf("%s pods are estimated", got)
	}
}

func TestClosedMonthsAreTheSameBytes(t *testing.T) {
	db := small()
	db.life("c", "job", "j1", begun(), begun().Add(time.Minute), 10, 1<<20)
	for _, body := range []string{`{"month":"2024-02"}`, `{"month":"2024-02","by":"pod","format":"csv"}`, `{"month":"2024-02","by":"container"}`, `{"month":"2024-02","by":"label:team"}`} {
		var first []byte
		for i := range 20 {
			w := send(handler(db, Options{Prices: pricesOf(t, testPrices)}), post("/api/report", body))
			if i == 0 {
				first = w.Body.Bytes()
			} else if !bytes.Equal(first, w.Body.Bytes()) {
				t.Fatalf("%s: %s", body, cmp.Diff(string(first), w.Body.String()))
			}
			slices.Reverse(db.sets) // nor does the order matter in which the database tells
			slices.Reverse(db.records)
		}
	}
}

// Lines add up to the last digit, and what a report is by changes no total.
func TestLinesAddUp(t *testing.T) {
	prices := pricesOf(t, testPrices+"  - labels: {team: red}\n    prices: {memory_billed_gib_hours: 0.0377, pod_hours: 0.0001}\n")
	rapid.Check(t, func(t *rapid.T) {
		db := &fakeDB{}
		t0 := begun()
		db.spans(t0, t0.Add(time.Hour), 7*time.Second)
		for i := range rapid.IntRange(0, 12).Draw(t, "pods") {
			namespace := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "namespace")
			tags := labels("namespace_name", namespace, "pod_name", "p", "pod_id", fmt.Sprint("u", i), "labels", "team:"+rapid.SampledFrom([]string{"red", "blue"}).Draw(t, "team"))
			for _, metric := range []string{"cpu/usage_rate", "cpu/request", "memory/usage", "memory/request", "network/rx"} {
				values := rapid.SliceOfN(rapid.Int64Range(0, 1<<rapid.IntRange(1, 45).Draw(t, "bits")), 0, 9).Draw(t, metric)
				db.add(metric, metrics.Pod, tags, t0, 7*time.Second, values...)
				db.add(metric, metrics.Container, tags.With("container_name", "c"), t0, 7*time.Second, values...)
			}
		}
		if rapid.Bool().Draw(t, "nodes") {
			for metric, value := range map[string]int64{"cpu/usage_rate": 1234567, "cpu/node_capacity": 7654321, "cpu/node_allocatable": 7000000} {
				db.add(metric, metrics.Node, labels("nodename", "n"), t0, 7*time.Second, repeat(value, 500)...)
			}
		}
		h := handler(db, Options{Prices: prices})
		totals := map[string]string{}
		for _, by := range []string{"namespace", "pod", "label:team", "container"} {
			w := send(h, post("/api/report", `{"format":"csv","by":"`+by+`",`+hourBody+`}`))
			rows, err := csv.NewReader(w.Body).ReadAll()
			if err != nil || w.Code != 200 {
				t.Fatal(err, w.Code)
			}
			addUp(t, by, rows, totals)
		}
	})
}

func addUp(t *rapid.T, by string, rows [][]string, totals map[string]string) {
	for column, name := range rows[0] {
		if !slices.Contains(append(amountNames(), "cost", "samples", "expected", "estimated_pods"), name) {
			continue
		}
		subtotal, total := decimal.Zero, decimal.Zero
		for _, row := range rows[1:] {
			value := decimal.RequireFromString(row[column])
			if value.IsNegative() {
				t.Fatalf("by %s: %s is %v", by, name, value)
			}
			switch row[0] {
			case "total":
				if !total.Equal(value) {
					t.Fatalf("by %s: the lines' %s add up to %v, the total says %v", by, name, total, value)
				}
			case "subtotal":
				if !subtotal.Equal(value) {
					t.Fatalf("by %s: the pods' %s add up to %v, the subtotal says %v", by, name, subtotal, value)
				}
				if had, ok := totals[name]; by != "container" && ok && had != value.String() {
					t.Fatalf("%s is %s, but %v by %s", name, had, value, by)
				}
				totals[name] = value.String()
			case kindPods, kindClaims:
				subtotal, total = subtotal.Add(value), total.Add(value)
			default:
				total = total.Add(value)
			}
		}
	}
}
