package main

import "strings"

// condition is one that a request may fulfil, and what is answered then.
type condition struct {
	name    string
	method  string // POST if ""
	path    string // /api/cpu/usage_rate if ""
	body    string
	headers []string // names and values in turn, beside the right credentials
	anyone  bool     // without credentials but those in headers
	code    int      // 200 if 0
	says    []string // in the body
	has     []string // headers of the answer: names and values in turn; "*" is any
	empty   bool     // the body is []
}

// requestsWanted is how many conditions there are, with those that take several requests.
const requestsWanted = 127

const hour = `"cluster":"` + monthCluster + `","timeBeginInterval":"BEGIN 13:00:00","timeEndInterval":"BEGIN 14:00:00"`

// conditions are the table of requests: the metric's first, then the report's.
func conditions() (all []condition) {
	ok := func(name, body string, says ...string) {
		all = append(all, condition{name: name, body: body, says: says})
	}
	bad := func(body string, says ...string) {
		all = append(all, condition{name: "bad body " + body, body: body, code: 400, says: says})
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} {
		all = append(all, condition{name: method, method: method, code: 405, has: []string{"Allow", "POST"}})
	}
	all = append(all,
		condition{name: "GET report", method: "GET", path: "/api/report", code: 405, has: []string{"Allow", "POST"}},
		condition{name: "unknown metric", path: "/api/cpu/usagerate", code: 404, says: []string{"cpu/usagerate", "cpu/usage_rate"}},
		condition{name: "no metric's beginning", path: "/api/cpu", code: 404, says: []string{"cpu"}},
		condition{name: "a metric's name that goes on", path: "/api/cpu/usage_rates", code: 404, says: []string{"cpu/usage_rate"}},
		condition{name: "far from all metrics", path: "/api/zzz/zzz", code: 404},
		condition{name: "an extended resource that nobody requests", path: "/api/example.com/foo/request", body: `{` + hour + `}`, code: 404},
		condition{name: "the longest name", path: "/api/cpu/usage_rate/and/more", body: `{` + hour + `,"agg":"all-pod"}`, says: []string{`"unit":"millicores"`}},
		condition{name: "the shorter name", path: "/api/cpu/usage/and/more", body: `{` + hour + `,"agg":"all-pod"}`, says: []string{`"unit":"ns"`}},
		condition{name: "a path of Kubernetes", method: "GET", path: "/api/v1/pods", anyone: true, says: []string{"PodList"}},
		condition{name: "the root of Kubernetes", method: "GET", path: "/api", anyone: true, says: []string{"APIVersions"}},
		condition{name: "an empty body", body: "", has: []string{"Krm-Interval", "*", "Krm-Resolution", "*", "Krm-Complete", "false", "Content-Type", "application/json"}},
		condition{name: "nothing found", body: `{"namespace":"nowhere",` + hour + `}`, empty: true, has: []string{"Krm-Complete", "true"}},
		condition{name: "nothing found, with agg", body: `{"cluster":"nowhere","agg":"all-pod"}`, empty: true},
		condition{name: "CSV", body: `{` + hour + `,"agg":"all-pod"}`, headers: []string{"Accept", "text/csv"}, says: []string{"time,sum,", "month-alpha"}, has: []string{"Content-Type", "text/csv; charset=utf-8; header=present"}},
		condition{name: "CSV of points", body: `{` + hour + `,"namespace":"month-alpha"}`, headers: []string{"Accept", "text/csv;q=0.9, application/json;q=0.1"}, says: []string{"time,value,", "month-alpha"}},
		condition{name: "JSON by choice", body: `{` + hour + `,"agg":"all-pod"}`, headers: []string{"Accept", "application/json, text/csv;q=0.5"}, says: []string{`"sum":`}, has: []string{"Content-Type", "application/json"}},
		condition{name: "any form", body: `{` + hour + `,"agg":"all-pod"}`, headers: []string{"Accept", "*/*"}, says: []string{`"sum":`}},
		condition{name: "interval", body: `{` + hour + `}`, has: []string{"Krm-Interval", "[BEGINT13:00:00Z, BEGINT14:00:00Z)", "Krm-Resolution", "5m0s", "Krm-Complete", "true"}},
		condition{name: "64 KiB", body: `{` + hour + `,"agg":"all-pod"}` + strings.Repeat(" ", 60<<10), says: []string{"month-alpha"}},
		condition{name: "over 64 KiB", body: `{"namespace":"` + strings.Repeat("a", 64<<10) + `"}`, code: 413, says: []string{"64 KiB"}},
		condition{name: "far over 64 KiB", body: strings.Repeat(" ", 1<<20), code: 413},
		condition{name: "agg of nodes", path: "/api/cpu/node_capacity", body: `{"agg":"all-pod"}`, code: 400, says: []string{"agg", "all-pod"}},
		condition{name: "namespace is ignored of nodes", path: "/api/cpu/node_capacity", body: `{"namespace":"nowhere",` + hour + `}`, says: []string{`"level":"node"`, "8000"}},
		condition{name: "a level that network lacks", path: "/api/network/rx", body: `{"level":"container"}`, code: 400, says: []string{"level", "container", "pod", "node"}},
		condition{name: "a level that filesystems lack", path: "/api/filesystem/usage", body: `{"level":"cluster"}`, code: 400, says: []string{"level", "cluster"}},
	)
	for _, body := range []string{`[]`, `7`, `null`, `"text"`, `{"limit":1`, `{} {}`, `{"limit":1}x`, `'a'`, `namespace=a`} {
		bad(body, "JSON object")
	}
	bad(`{"nosuch":1}`, "nosuch", "namespace")
	bad(`{"namespace":7}`, "namespace", "7")
	bad(`{"namespace":["a"]}`, "namespace")
	bad(`{"limit":-1}`, "limit", "-1")
	bad(`{"limit":"-1"}`, "limit", "-1")
	bad(`{"limit":1.5}`, "limit", "1.5")
	bad(`{"limit":"ten"}`, "limit", "ten")
	bad(`{"limit":""}`, "limit")
	bad(`{"limit":true}`, "limit", "true")
	bad(`{"limit":{}}`, "limit")
	bad(`{"agg":3}`, "agg", "3", "pod-by-namespace")
	bad(`{"level":"nosuch"}`, "level", "nosuch", "container", "cluster")
	bad(`{"level":1}`, "level", "1")
	bad(`{"level":"node","agg":"all-pod"}`, "level", "node")
	bad(`{"level":"namespace","agg":"pod-by-namespace"}`, "level", "namespace")
	bad(`{"excludeNamespaces":"a"}`, "excludeNamespaces", "a")
	bad(`{"excludeNamespaces":[1]}`, "excludeNamespaces")
	bad(`{"cluster":1}`, "cluster", "1")
	for _, text := range []string{"2026-02-30", "2026-13-01", "2026-1-1", "20260101", "yesterday", "", "2026-01-01 1:00:00", "2026-01-01 25:00:00", "2026-01-01T00:00:00", "2026-01-01 00:00", "1e9"} {
		bad(`{"timeBeginInterval":"`+text+`"}`, "timeBeginInterval", text)
	}
	bad(`{"timeEndInterval":5}`, "timeEndInterval", "5")
	bad(`{"timeBeginInterval":"2026-01-02","timeEndInterval":"2026-01-02"}`, "timeBeginInterval", "2026-01-02")
	bad(`{"timeBeginInterval":"2026-01-03","timeEndInterval":"2026-01-02"}`, "timeBeginInterval", "timeEndInterval")
	bad(`{"timeBeginInterval":"2190-01-01"}`, "timeBeginInterval")
	bad(`{"timeEndInterval":"2000-01-01"}`, "timeBeginInterval", "2000-01-01")

	ok("all defaults", `{}`)
	ok("null is absent", `{"namespace":null,"limit":null,"agg":null}`)
	ok("a limit as a number", `{"limit":3,"namespace":"month-alpha",`+hour+`}`, "month-alpha")
	ok("a limit as a string", `{"limit":"3","namespace":"month-alpha",`+hour+`}`, "month-alpha")
	ok("no limit", `{"limit":"0","namespace":"month-alpha",`+hour+`}`, "month-alpha")
	ok("agg ignores the limit", `{"limit":1,"agg":"all-namespace",`+hour+`}`, "month-alpha", "month-beta")
	ok("all-pod ignores the namespace", `{"namespace":"nowhere","agg":"all-pod",`+hour+`}`, "month-alpha", "month-beta")
	ok("any other agg is none", `{"namespace":"month-alpha","agg":"sum",`+hour+`}`, `"value":`)
	ok("an empty agg is none", `{"namespace":"month-alpha","agg":"",`+hour+`}`, `"value":`)
	ok("one pod's namespace", `{"namespace":"month-alpha","agg":"pod-by-namespace",`+hour+`}`, "m-alpha")
	ok("a day", `{"agg":"all-pod","cluster":"`+monthCluster+`","timeBeginInterval":"BEGIN","timeEndInterval":"NEXT"}`, `"expected":288`)
	ok("milliseconds", `{"agg":"all-pod","cluster":"`+monthCluster+`","timeBeginInterval":"BEGIN 13:00:00.001","timeEndInterval":"BEGIN 14:00:00.001"}`, `"samples":12,`, `T13:00:00.001Z`)
	ok("a zone", `{"agg":"all-pod","cluster":"`+monthCluster+`","timeBeginInterval":"BEGINT13:00:00+02:00","timeEndInterval":"BEGINT14:00:00+02:00"}`, "T11:00:00Z")
	ok("Z", `{"agg":"all-pod","cluster":"`+monthCluster+`","timeBeginInterval":"BEGINT07:00:00Z","timeEndInterval":"BEGINT07:05:00Z"}`, `"samples":1,`)
	ok("the begin alone", `{"agg":"all-pod","cluster":"`+monthCluster+`","timeBeginInterval":"BEGIN"}`, "month-alpha")
	ok("the end alone", `{"agg":"all-pod","cluster":"`+monthCluster+`","timeEndInterval":"2199-01-01"}`)
	return append(all, reportConditions()...)
}

func reportConditions() (all []condition) {
	ok := func(body string, says ...string) {
		all = append(all, condition{name: "report " + body, path: "/api/report", body: body, says: says})
	}
	bad := func(body string, says ...string) {
		all = append(all, condition{name: "bad report " + body, path: "/api/report", body: body, code: 400, says: says})
	}
	const of = `"cluster":"` + monthCluster + `"`
	ok(`{`+of+`}`, `"by":"namespace"`, "month-alpha", `"complete":true`) // the last whole month
	ok(`{`+of+`,"month":"MONTH"}`, "month-alpha")
	ok(`{`+of+`,"month":"MONTH","timezone":"Europe/Zurich"}`, "Europe/Zurich")
	ok(`{`+of+`,"month":"MONTH","by":"label:team"}`, `"label":"alpha"`)
	ok(`{`+of+`,"month":"MONTH","format":"csv"}`, "kind,cluster_name,namespace_name")
	ok(`{`+of+`,"month":"MONTH","by":"label:nosuch"}`, `"lines":[`)
	ok(`{"cluster":"nowhere","month":"MONTH"}`, `"lines":[`)
	ok(`{`+of+`,"timezone":"Asia/Tokyo","timeBeginInterval":"BEGIN","timeEndInterval":"NEXT"}`, "T15:00:00Z")
	all = append(all, condition{
		name: "report as CSV by Accept", path: "/api/report", body: `{` + of + `,"month":"MONTH"}`, headers: []string{"Accept", "text/csv"},
		says: []string{"kind,cluster_name"}, has: []string{"Content-Type", "text/csv; charset=utf-8; header=present", "Krm-Complete", "true"},
	})
	bad(`{"by":"pods"}`, "by", "pods", "label:KEY")
	bad(`{"by":"label:"}`, "by", "label:")
	bad(`{"by":7}`, "by", "7")
	bad(`{"format":"xml"}`, "format", "xml", "csv")
	for _, month := range []string{"2026-13", "2026-1", "26-01", "2026-01-01", ""} {
		bad(`{"month":"`+month+`"}`, "month", month)
	}
	bad(`{"month":202601}`, "month", "202601")
	for _, zone := range []string{"Europe/Nowhere", "../../etc/passwd", "Local", ""} {
		bad(`{"timezone":"`+zone+`"}`, "timezone", zone)
	}
	bad(`{"month":"MONTH","timeBeginInterval":"BEGIN","timeEndInterval":"NEXT"}`, "month")
	bad(`{"timeBeginInterval":"BEGIN"}`, "timeEndInterval")
	bad(`{"timeBeginInterval":"NEXT","timeEndInterval":"BEGIN"}`, "timeBeginInterval")
	bad(`{"namespace":"a"}`, "namespace", "month")
	bad(`[]`, "JSON object")
	return all
}
