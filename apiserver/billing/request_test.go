package billing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

func TestRequests(t *testing.T) {
	h := handler(small(), Options{})
	f := func(body string, code int, says ...string) {
		t.Helper()
		w := send(h, post("/api/cpu/usage_rate", body))
		if w.Code != code {
			t.Errorf("%s: code %d, want %d: %s", body, w.Code, code, w.Body)
		}
		for _, text := range says {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s: want %s in %s", body, text, w.Body)
			}
		}
		if code != http.StatusOK {
			var fault struct {
				Code    int
				Message string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &fault); err != nil || fault.Code != code || fault.Message == "" {
				t.Errorf("%s: the error is %s: %v", body, w.Body, err)
			}
		}
	}
	const ok, bad = http.StatusOK, http.StatusBadRequest
	f(``, ok)
	f(" \n", ok)
	f(`{}`, ok, `[]`)
	f(`[]`, bad, `body`, `JSON object`)
	f(`null`, bad, `JSON object`)
	f(`{"a"`, bad, `JSON object`)
	f(`{} {}`, bad, `JSON object`)
	f(`7`, bad)
	f(`{"Namespace":"a"}`, bad, `Namespace`, `namespace, limit`)
	f(`{"namespace":7}`, bad, `namespace: 7`)
	f(`{"namespace":null}`, ok)
	f(`{"namespace":"ns-none",`+hourBody+`}`, ok, `[]`)
	f(`{"limit":"5"}`, ok)
	f(`{"limit":0}`, ok)
	f(`{"limit":"0"}`, ok)
	f(`{"limit":-1}`, bad, `limit: -1`, `whole number`)
	f(`{"limit":"-1"}`, bad, `limit`)
	f(`{"limit":"+1"}`, bad, `limit`)
	f(`{"limit":1.5}`, bad, `limit: 1.5`)
	f(`{"limit":""}`, bad, `limit`)
	f(`{"limit":"ten"}`, bad, `limit`)
	f(`{"limit":true}`, bad, `limit: true`)
	f(`{"limit":[1]}`, bad, `limit: [1]`)
	f(`{"limit":99999999999999999999}`, bad, `limit`)
	f(`{"limit":1e400}`, bad, `limit`)
	f(`{"limit":5.0}`, ok)
	f(`{"limit":1e2}`, ok)
	f(`{"limit":1e10}`, bad, `limit: 1e10`)
	f(`{"limit":"1e2"}`, bad, `limit`)
	f(`{"limit":2147483648}`, bad, `2147483647`)
	f(`{"limit":{"limit":1}}`, bad, `limit`)
	f(`{"agg":"sum"}`, ok)
	f(`{"agg":""}`, ok)
	f(`{"agg":3}`, bad, `agg: 3`, `pod-by-namespace`)
	f(`{"excludeNamespaces":["a"]}`, ok)
	f(`{"excludeNamespaces":"a"}`, bad, `excludeNamespaces`, `list`)
	f(`{"excludeNamespaces":[1]}`, bad, `excludeNamespaces`)
	f(`{"excludeNamespaces":[null]}`, bad, `excludeNamespaces`)
	f(`{"cluster":1}`, bad, `cluster: 1`)
	f(`{"level":"pod"}`, ok)
	f(`{"level":"pods"}`, bad, `level`, `pods`, `container, pod, namespace, node, cluster`)
	f(`{"level":"node","agg":"all-pod"}`, bad, `level`, `container, pod`)
	f(`{"level":"namespace","agg":"all-pod"}`, bad, `level`)
	f(`{"level":"namespace","agg":"all-namespace"}`, ok)
	f(`{"timeBeginInterval":5}`, bad, `timeBeginInterval: 5`, `2006-01-02`)
	for _, text := range []string{
		`2024-02-30`, `2024-13-01`, `2024-2-1`, `20240201`, `yesterday`, ``, `2024-02-01 1:00:00`, `2024-02-01 01:00`, `2024-02-01 01:00:00,5`,
		`2024-02-01T01:00:00`, `2024-02-01 01:00:00Z`, `2024-02-01 25:00:00`, `2024-02-01 01:00:60`, `1969-12-31`, `2200-01-01`, `9999-12-31`, `0000-00-00`,
		`2024-02-01T01:00:00+25:00`, `2024-02-01 01:00:00.`, ` 2024-02-01`, `2024-02-01 `, `1706745600`,
	} {
		f(fmt.Sprintf(`{"timeBeginInterval":%q}`, text), bad, `timeBeginInterval`, text, `RFC 3339`)
	}
	f(`{"timeEndInterval":"x"}`, bad, `timeEndInterval`)
	f(`{"timeBeginInterval":"2024-02-01","timeEndInterval":"2024-02-01"}`, bad, `timeBeginInterval`, `before`)
	f(`{"timeBeginInterval":"2024-02-02","timeEndInterval":"2024-02-01"}`, bad)
	f(`{"timeEndInterval":"2024-02-01"}`, bad, `timeBeginInterval`) // the begin keeps its default, an hour before now
	f(`{"timeBeginInterval":"2024-02-01"}`, ok)
	f(`{"namespace":"`+strings.Repeat("x", 70<<10)+`"}`, http.StatusRequestEntityTooLarge, `64 KiB`)
	f(`{"namespace":"`+strings.Repeat("x", 10<<10)+`"}`, ok, `[]`)
}

func TestTimesAreOneInstant(t *testing.T) {
	for _, text := range []string{
		"2024-02-01", "2024-02-01 00:00:00", "2024-02-01 00:00:00.000", "2024-02-01T00:00:00Z", "2024-02-01T01:00:00+01:00", "2024-01-31T14:30:00.000-09:30",
	} {
		if got, ok := parseTime(text, time.UTC); !ok || !got.Equal(begun()) {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
}

func TestPaths(t *testing.T) {
	h := handler(small(), Options{})
	f := func(method, path string, code int, says string) {
		t.Helper()
		r := post(path, `{}`)
		r.Method = method
		w := send(h, r)
		if w.Code != code || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s %s: %d, want %d and %q: %s", method, path, w.Code, code, says, w.Body)
		}
		if code == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "POST" {
			t.Errorf("%s %s: Allow is %q", method, path, w.Header().Get("Allow"))
		}
	}
	const teapot = http.StatusTeapot
	for _, path := range []string{"/api", "/api/v1", "/api/v1/", "/api/v1/namespaces/cpu/usage", "/api/v1/cpu/usage", "/apis"} {
		f("GET", path, teapot, "")
		f("POST", path, teapot, "")
	}
	f("GET", "/api/v2", teapot, "")
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		f(method, "/api/cpu/usage_rate", http.StatusMethodNotAllowed, "")
		f(method, "/api/report", http.StatusMethodNotAllowed, "")
	}
	f("POST", "/api/cpu/usage_rate", 200, "[]")
	f("POST", "/api/cpu/usage_rate/", 200, "[]")
	f("POST", "/api/cpu%2Fusage_rate", 200, "[]")
	f("POST", "/api/cpu/usage_rate/default", 200, "[]")
	f("POST", "/api/cpu/usage/x", 200, "[]")
	f("POST", "/api/uptime", 200, "[]")
	f("POST", "/api/memory-usage", 200, "[]")
	f("POST", "/api/cpu/usage_rates", 404, "cpu/usage_rate")
	f("POST", "/api/memroy/usage", 404, "memory/usage")
	f("POST", "/api/", 404, "nearest")
	f("POST", "/api/krm/start_time", 404, "nearest")
	f("POST", "/api/nvidia.com/gpu/request", 404, "nearest")
	f("POST", "/api/cpu", 404, "cpu/")
	f("POST", "/api/v1beta1", 404, "nearest")
}

func TestCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := func(options Options, username, password string) *httptest.ResponseRecorder {
			r := post("/api/uptime", "{}", "X-USERNAME", username, "X-PASSWORD", password)
			if username == "-" {
				r.Header.Del("X-USERNAME")
			}
			begun := time.Now()
			options.RefusalDelay = time.Second
			w := send(handler(small(), options), r)
			if took := time.Since(begun); w.Code == 401 && took != time.Second {
				t.Errorf("refused after %v", took)
			}
			return w
		}
		right := Options{Credentials: Credentials{Username: user, Password: password}}
		if w := f(right, user, password); w.Code != 200 {
			t.Errorf("right credentials: %d %s", w.Code, w.Body)
		}
		want := f(right, user, "wrong").Body.String()
		for _, pair := range [][2]string{{"wrong", password}, {"-", password}, {"-", "wrong"}, {"", ""}, {user, ""}, {user, password + "x"}} {
			if w := f(right, pair[0], pair[1]); w.Code != 401 || w.Body.String() != want {
				t.Errorf("%q: %d %s", pair, w.Code, w.Body)
			}
		}
		for _, none := range []Credentials{{Username: "x"}, {Password: "x"}, {Username: "x", PasswordFile: "/nonexistent"}} {
			if w := f(Options{Credentials: none}, none.Username, none.Password); w.Code != 401 || w.Body.String() != want {
				t.Errorf("%v: %d %s", none, w.Code, w.Body)
			}
		}
	})
}

func TestUnsetCredentialsRefuseEverybody(t *testing.T) {
	api := New(small(), Options{RefusalDelay: 1}, nil)
	r := post("/api/uptime", "", "X-USERNAME", "", "X-PASSWORD", "")
	if same(r.Header.Get("X-USERNAME"), "") != 1 {
		t.Fatal("the test does not test")
	}
	h := handler(small(), Options{Credentials: Credentials{UsernameFile: "/nonexistent", PasswordFile: "/nonexistent"}})
	if w := send(h, r); w.Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if api.options.Credentials != (Credentials{}) {
		t.Error("there are credentials by default")
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(small(), Options{Attempts: 3, AttemptEvery: 10 * time.Second})
		ask := func(from, secret string) int {
			r := post("/api/uptime", "", "X-PASSWORD", secret)
			r.RemoteAddr = from
			w := send(h, r)
			if w.Code == 429 && w.Header().Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			return w.Code
		}
		f := func(want int, from, secret string) {
			t.Helper()
			if got := ask(from, secret); got != want {
				t.Errorf("from %s: %d, want %d", from, got, want)
			}
		}
		for range 3 {
			f(401, "192.0.2.1:1", "wrong")
		}
		f(429, "192.0.2.1:2", "wrong")
		f(429, "192.0.2.1:3", password) // else guessing would go on
		f(200, "192.0.2.2:1", password)
		for range 3 {
			f(401, "[2001:db8:1:2::1]:1", "wrong")
		}
		f(429, "[2001:db8:1:2:ffff::9]:1", "wrong")
		f(401, "[2001:db8:1:3::1]:1", "wrong")
		time.Sleep(11 * time.Second)
		f(200, "192.0.2.1:4", password)
		f(401, "192.0.2.1:4", "wrong")
		f(429, "192.0.2.1:4", "wrong")
	})
}

func TestAttemptsAreBounded(t *testing.T) {
	a := newAttempts(2, time.Minute)
	now := begun()
	for i := range 3 * maxAddresses {
		a.refused(addressOf(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)), now)
	}
	if len(a.until) > maxAddresses+1 {
		t.Errorf("%d addresses are remembered", len(a.until))
	}
	if a.wait(addressOf("192.0.2.9:1"), now) <= 0 {
		t.Error("those that do not fit are not limited")
	}
	a.refused(addressOf("192.0.2.9:1"), now.Add(time.Hour*24*365))
	if len(a.until) > 2 {
		t.Errorf("%d addresses are remembered after a year", len(a.until))
	}
}

func TestDatabaseFaults(t *testing.T) {
	f := func(fails error, after, code int, retry bool) {
		t.Helper()
		for _, path := range []string{"/api/cpu/usage_rate", "/api/report"} {
			for _, body := range []string{`{}`, `{"agg":"all-pod"}`} {
				if path == "/api/report" {
					body = `{}`
				}
				db := small()
				db.fails, db.failsAfter = fails, after
				w := send(handler(db, Options{}), post(path, body))
				if w.Code != code || (w.Header().Get("Retry-After") != "") != retry || strings.Contains(w.Body.String(), "secret") {
					t.Errorf("%s %s: %d, Retry-After %q: %s", path, body, w.Code, w.Header().Get("Retry-After"), w.Body)
				}
				if w.Header().Get("Krm-Complete") != "" {
					t.Errorf("%s: an error says that it is complete", path)
				}
			}
		}
	}
	f(fmt.Errorf("dial secret: %w", metricdb.ErrUnavailable), 0, 503, true)
	f(fmt.Errorf("secret"), 0, 500, false)
}

func TestBrokenStreamIsNoWholeAnswer(t *testing.T) {
	db := small()
	db.fails, db.failsAfter = metricdb.ErrUnavailable, 1
	w := send(handler(db, Options{}), post("/api/cpu/usage_rate", `{"namespace":"a",`+hourBody+`}`))
	if w.Code != 503 { // it was all in the first piece
		t.Errorf("%d %s", w.Code, w.Body)
	}
	db = &fakeDB{fails: metricdb.ErrUnavailable, failsAfter: 5000}
	db.pod("a", "x", "u", begun(), 6000, 1, 1)
	server := httptest.NewServer(handler(db, Options{}))
	defer server.Close()
	r := post(server.URL+"/api/cpu/usage_rate", `{"namespace":"a","limit":0,"timeBeginInterval":"2024-02-01"}`)
	r.RequestURI = ""
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return // cut before the headers were read
	}
	defer response.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(response.Body); err == nil {
		t.Errorf("half an answer of %d bytes looks whole", b.Len())
	}
}

func TestTooSlowIs503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(slowDB{small()}, Options{Timeout: time.Second, ReportTimeout: time.Second})
		for _, path := range []string{"/api/cpu/usage_rate", "/api/report"} {
			w := send(h, post(path, `{}`))
			if w.Code != 503 || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	db := small()
	db.closed(begun(), begun().Add(time.Hour), 60)
	h := handler(db, Options{})
	f := func(body, interval, complete string) {
		t.Helper()
		w := send(h, post("/api/cpu/usage_rate", body))
		got := []string{w.Header().Get("Krm-Interval"), w.Header().Get("Krm-Resolution"), w.Header().Get("Krm-Complete")}
		if diff := cmp.Diff([]string{interval, "1m0s", complete}, got); diff != "" {
			t.Errorf("%s: %s %s", body, diff, w.Body)
		}
	}
	const hour = "[2024-02-01T00:00:00Z, 2024-02-01T01:00:00Z)"
	for _, agg := range []string{"", podByNamespace, allNamespace, allPod} {
		f(`{`+hourBody+`,"agg":"`+agg+`"}`, hour, "true")
	}
	f(`{"timeBeginInterval":"2024-02-01","timeEndInterval":"2024-02-01 02:00:00"}`, "[2024-02-01T00:00:00Z, 2024-02-01T02:00:00Z)", "false")
	f(`{"timeBeginInterval":"2024-02-01","timeEndInterval":"2199-01-01"}`, "[2024-02-01T00:00:00Z, 2199-01-01T00:00:00Z)", "false")
	late := small()
	late.closed(begun(), begun().Add(time.Hour), 59) // a batch came after the hour was closed
	h = handler(late, Options{})
	f(`{`+hourBody+`}`, hour, "false")
	f(`{`+hourBody+`,"agg":"all-pod"}`, hour, "false")
}
