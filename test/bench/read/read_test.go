package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
)

const millisecond = time.Millisecond

func TestQuantiles(t *testing.T) {
	var s samples
	for i := range 100 {
		s = append(s, time.Duration(100-i))
	}
	for q, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	if s[0] != 100 {
		t.Error("the samples were sorted in place")
	}
	if samples(nil).median() != 0 || !math.IsNaN(median(nil)) || !math.IsNaN(over(1.0, 0)) || median([]float64{3, 1, 2}) != 2 {
		t.Error("medians of nothing and of three")
	}
}

// finished is a result in which KRM is ten times faster at everything.
func finished() *result {
	r := &result{pods: 100, checks: []checked{{"list_json", 1, 100, 0}, {"/pod", 1, 1, 0}}}
	for _, ph := range []*phase{&r.idle, &r.busy} {
		*ph = phase{rate: 20, churned: 20, played: 3, base: [2]float64{0.5, 0.1}, rows: map[string]*[2]measured{}}
		for _, key := range []string{"list_json", "list_gzip", "list_proto", "selector", "namespace", getRPS, "client", client304, clientSame, "client_go"} {
			r.jobs = append(r.jobs, job{key: key, clients: 1})
			ph.rows[key] = &[2]measured{
				{samples: samples{90 * millisecond, 100 * millisecond, 300 * millisecond}, perSecond: []float64{100, 110}, cpu: 4, elapsed: 2},
				{samples: samples{9 * millisecond, 10 * millisecond, 60 * millisecond}, perSecond: []float64{1000, 990}, cpu: 0.5, elapsed: 2},
			}
		}
	}
	r.idle.rate, r.idle.churned = 0, 0
	r.fans[krm] = []fanned{{watchers: 10, delays: samples{millisecond}}, {watchers: 100, delays: samples{2 * millisecond}}}
	r.fans[kube] = []fanned{{watchers: 10, delays: samples{3 * millisecond}}}
	return r
}

func TestResultLine(t *testing.T) {
	r := finished()
	line := r.String()
	const want = "RESULT list_json=10.0 list_gzip=10.0 list_proto=10.0 selector=10.0 namespace=10.0 get_rps=9.9 cpu=10.0 client=10.0 client_304=10 watchers1000_p99_ms=2.0 different=0 idle_list_json=10.0 "
	if !strings.HasPrefix(line, want) {
		t.Errorf("got  %s\nwant %s", line, want)
	}
	for _, want := range []string{" p99_list_json=5.0 ", " p99_get=5.0 ", " client_same=1.00 ", " kube_watchers100_p99_ms=3.0 kube_watchers1000_p99_ms=NaN ", " answers=2 "} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is not in %s", want, line)
		}
	}
	// A 304 is compared with client-go's list, as client-go has none.
	r.idle.rows[client304][krm].samples = samples{millisecond}
	r.idle.rows[client304][kube].samples = nil
	if got := r.idle.ratio(client304); got != 100 {
		t.Errorf("client_304 is %v, want 100", got)
	}
	var table strings.Builder
	if err := r.table(&table); err != nil || !strings.Contains(table.String(), "LIST") && len(table.String()) < 500 {
		t.Errorf("%v, table: %s", err, table.String())
	}
}

func TestVerdict(t *testing.T) {
	f := func(want string, cfg config, spoil func(*result)) {
		t.Helper()
		r := finished()
		if spoil != nil {
			spoil(r)
		}
		cfg.rate = 20
		err := r.verdict(cfg)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("verdict %v, want %q", err, want)
		}
	}
	f("", config{}, nil)
	f("list_json: 1 of 100 objects differ, want 0", config{}, func(r *result) { r.checks[0].different = 1 })
	f("/pod: 0 of 1 objects differ, want 1", config{plant: true}, func(r *result) { r.checks[0].different = 1 })
	f("", config{plant: true}, func(r *result) { r.checks[0].different, r.checks[1].different = 1, 1 })
	f("list_json: 2 of 100", config{plant: true}, func(r *result) { r.checks[0].different, r.checks[1].different = 2, 1 })
	f("nothing was checked", config{}, func(r *result) { r.checks = nil })
	f("0 of 0 objects", config{}, func(r *result) { r.checks[0].objects = 0 })
	f("1 events lost", config{}, func(r *result) { r.fans[krm][1].lost = 1 })
	f("1 out of order", config{}, func(r *result) { r.fans[krm][0].disorder = 1 })
	f("1 watchers ended", config{}, func(r *result) { r.fans[krm][0].ended = 1 })
	f("0 arrivals", config{}, func(r *result) { r.fans[krm][0].delays = nil })
	f("", config{}, func(r *result) { r.fans[kube][0].lost = 1 }) // that is kube-apiserver's affair
	f("15.0 changes a second, want 20", config{}, func(r *result) { r.busy.churned = 15 })
}

func TestCPUPerRead(t *testing.T) {
	ph := phase{base: [2]float64{0.5, 0.1}, rows: map[string]*[2]measured{"x": {
		{samples: samples{1, 1}, cpu: 4, elapsed: 2}, {samples: samples{1, 1}, cpu: 0.1, elapsed: 2},
	}}}
	if got := ph.cpuPerRead("x", kube); got != 1.5 { // (4 - 0.5 × 2) / 2
		t.Errorf("kube: %v, want 1.5", got)
	}
	if got := ph.cpuPerRead("x", krm); got != 0.005 { // a tick at least
		t.Errorf("KRM: %v, want 0.005", got)
	}
}

func TestEventVersion(t *testing.T) {
	f := func(line string, want uint64, wantErr string) {
		t.Helper()
		got, err := eventVersion([]byte(line))
		if got != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%s: %d, %v, want %d, %q", line, got, err, want, wantErr)
		}
	}
	f(`{"type":"MODIFIED","object":{"metadata":{"name":"x","resourceVersion":"42"},"spec":{"resourceVersion":"7"}}}`, 42, "")
	f(`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"43"}}}`, 0, "")
	f(`{"type":"ADDED","object":{"metadata":{"resourceVersion":"44"}}}`, 0, "nobody caused")
	f(`{"type":"ERROR","object":{"kind":"Status","code":410}}`, 0, "410")
	f(`{"type":"MODIFIED","object":{"metadata":{}}}`, 0, "without a resourceVersion")
	f(`{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"4x"}}}`, 0, "invalid")
}

func TestFanCounts(t *testing.T) {
	now := time.Now()
	at := func(n int) time.Time { return now.Add(time.Duration(n) * millisecond) }
	acks := []ack{{version: 11, at: at(0)}, {version: 10, at: at(10)}, {version: 12, at: at(20)}}
	f := func(lost, disorder, ended int, delays samples, seen ...arrival) {
		t.Helper()
		w := &watcher{seen: seen}
		if ended > 0 {
			w.err = io.EOF
		}
		var got fanned
		got.count([]*watcher{w}, acks)
		if got.lost != lost || got.disorder != disorder || got.ended != ended || fmt.Sprint(got.delays) != fmt.Sprint(delays) {
			t.Errorf("%v: %d lost, %d out of order, %d ended, delays %v", seen, got.lost, got.disorder, got.ended, got.delays)
		}
	}
	f(0, 0, 0, samples{3 * millisecond, 0, 5 * millisecond}, arrival{10, at(13)}, arrival{11, at(-4)}, arrival{12, at(25)})
	f(1, 0, 0, samples{0, 0}, arrival{10, at(0)}, arrival{12, at(0)})
	f(1, 1, 0, samples{0, 0}, arrival{10, at(0)}, arrival{12, at(0)}, arrival{11, at(0)})
	f(0, 1, 0, samples{0, 0, 0}, arrival{10, at(0)}, arrival{11, at(0)}, arrival{11, at(0)}, arrival{12, at(0)})
	f(0, 1, 0, samples{0, 0, 0}, arrival{9, at(0)}, arrival{10, at(0)}, arrival{11, at(0)}, arrival{12, at(0)})
	f(3, 0, 1, nil)
}

func TestWatcherReads(t *testing.T) {
	event := func(version int) string {
		return fmt.Sprintf(`{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"%d","x":%q}}}`, version, strings.Repeat("x", 9000)) + "\n"
	}
	body := event(5) + `{"type":"BOOKMARK","object":{}}` + "\n" + event(7)
	w := &watcher{}
	w.read(t.Context(), &http.Response{Body: io.NopCloser(strings.NewReader(body))})
	if len(w.seen) != 2 || w.last.Load() != 7 || w.err == nil || !strings.Contains(w.err.Error(), "EOF") {
		t.Errorf("saw %v, last %d, %v", w.seen, w.last.Load(), w.err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	w = &watcher{}
	if w.read(ended, &http.Response{Body: io.NopCloser(strings.NewReader(""))}); w.err != nil {
		t.Errorf("ended by us: %v", w.err)
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second+500*time.Microsecond)
		defer cancel()
		var got []int
		pace(ctx, 20, func(n int) { got = append(got, n) })
		if len(got) != 40 || got[0] != 0 || got[39] != 39 {
			t.Errorf("%d calls in 2 s at 20/s: %v", len(got), got)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*millisecond)
	defer cancel()
	pace(ctx, 0, func(int) { t.Error("a change at 0 changes a second") })
}

func TestDraftsAreWhatTheAPIServerAccepts(t *testing.T) {
	const count = 300
	f := &furnisher{set: frames.New(count, false, 1), count: count, owners: []types.UID{"a", "b", "c"}}
	names, perNamespaces, canaries, size := map[string]bool{}, map[string]int{}, map[string]int{}, 0
	for number := range count {
		pod, err := f.draft(number)
		if err != nil {
			t.Fatal(err)
		}
		names[pod.Namespace+"/"+pod.Name] = true
		perNamespaces[pod.Namespace]++
		if pod.Labels[canaryLabel] != "" {
			canaries[pod.Namespace]++
		}
		for _, c := range pod.Spec.Containers {
			if limit := c.Resources.Limits[corev1.ResourceMemory]; limit.Cmp(c.Resources.Requests[corev1.ResourceMemory]) < 0 {
				t.Errorf("pod %d: the request is above the limit", number)
			}
		}
		if pod.UID != "" || pod.ResourceVersion != "" || pod.Status.Phase != corev1.PodRunning || pod.Status.HostIPs[0].IP != pod.Status.HostIP {
			t.Errorf("pod %d: %v", number, pod)
		}
		text, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		size += len(text)
	}
	if len(names) != count || len(perNamespaces) != 3 || perNamespaces["team-001"] != 100 || canaries["team-001"] != 1 || len(canaries) != 3 {
		t.Errorf("%d names, namespaces %v, canaries %v", len(names), perNamespaces, canaries)
	}
	if average := size / count; average < 4800 || average > 5600 {
		t.Errorf("a pod has %d bytes on average, want about 5.2 KB", average)
	}
}

func TestPlantedIsFound(t *testing.T) {
	const body = `{"metadata":{"resourceVersion":"9"},"items":[` +
		`{"metadata":{"name":"a","uid":"1","resourceVersion":"5"},"status":{"phase":"Running"}},` +
		`{"metadata":{"name":"b","uid":"2","resourceVersion":"6"},"status":{"phase":"Running"}}]}`
	f := func(plant bool, want int) {
		t.Helper()
		c := &checker{lab: &lab{cfg: config{plant: plant}, say: t.Logf}}
		truth, err := compare.ReadList(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := compare.ReadList(bytes.NewReader(c.planted([]byte(body))))
		if err != nil {
			t.Fatal(err)
		}
		c.note("x", truth, got)
		if c.done[0].different != want || c.done[0].objects != 2 {
			t.Errorf("plant %v: %+v", plant, c.done[0])
		}
	}
	f(false, 0)
	f(true, 1)
}

func TestTypedList(t *testing.T) {
	pod := func(phase corev1.PodPhase) (p corev1.Pod) {
		p.Name, p.Namespace, p.UID, p.ResourceVersion, p.Status.Phase = "a", "n", "1", "5", phase
		return p
	}
	truth, err := typedList([]corev1.Pod{pod("Running")})
	if err != nil {
		t.Fatal(err)
	}
	changed, _ := typedList([]corev1.Pod{pod("Planted")})
	twice, _ := typedList([]corev1.Pod{pod("Running"), pod("Running")})
	if d := compare.Diff(truth.Objects, changed.Objects); d.Total() != 1 || len(twice.Twice) != 1 {
		t.Errorf("difference %v, twice %v", d, twice.Twice)
	}
}

// dial is a side of a server that answers with handler.
func dial(t *testing.T, version string, handler http.HandlerFunc) *side {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	s := &side{
		name: "server", base: server.URL, token: "t", version: version,
		ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	if err := s.connect(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFetch(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(w, "hello")
	_ = w.Close()
	f := func(version string, r read, media, encoding, body, wantErr string) {
		t.Helper()
		s := dial(t, version, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer t" || fmt.Sprint(r.ProtoMajor) != version {
				w.WriteHeader(http.StatusTeapot)
			}
			w.Header().Set("Content-Type", media)
			if encoding != "" {
				w.Header().Set("Content-Encoding", encoding)
			}
			_, _ = io.WriteString(w, body)
		})
		var got bytes.Buffer
		got.WriteString("from before")
		took, err := s.fetch(t.Context(), r, &got)
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Fatalf("%v: %v, want %q", r, err, wantErr)
		}
		if err == nil && (got.String() != body || took <= 0) {
			t.Errorf("%v: %q after %v, want %q", r, got.String(), took, body)
		}
	}
	f("1", read{"/", mediaJSON, "identity"}, mediaJSON, "", "{}", "")
	f("2", read{"/", mediaJSON, "identity"}, mediaJSON, "", "{}", "")
	f("2", read{"/", mediaJSON, "gzip"}, mediaJSON, "gzip", zipped.String(), "") // as it came
	f("2", read{"/", mediaJSON, "gzip"}, mediaJSON, "", "{}", `encoding ""`)
	f("2", read{"/", mediaJSON, "identity"}, mediaJSON, "gzip", zipped.String(), `encoding "gzip"`)
	f("2", read{"/", mediaProtobuf, "identity"}, mediaJSON, "", "{}", "want application/vnd.kubernetes.protobuf")
	f("2", read{"/", mediaJSON, "identity"}, mediaJSON, "", "", "0 bytes")
	s := dial(t, "2", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if _, err := s.get(t.Context(), "/"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a refusal: %v", err)
	}
}

func TestSeries(t *testing.T) {
	const text = "# HELP a b\na{resource=\"pods\"} 3\na{resource=\"nodes\"} 4\nab 5\nc 1.5e+3\n"
	f := func(name, label string, want float64) {
		t.Helper()
		if got := series(text, name, label); got != want {
			t.Errorf("%s %s: %v, want %v", name, label, got, want)
		}
	}
	f("a", `resource="pods"`, 3)
	f("a", "", 7)
	f("ab", "", 5)
	f("c", "", 1500)
	f("d", "", 0)
}
