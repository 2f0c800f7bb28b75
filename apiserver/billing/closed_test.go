package billing

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
)

// numbers are a record's fields, by name.
func numbers(set string, at time.Time, tags metricdb.Tags, pairs ...any) metricdb.Record {
	r := metricdb.Record{Set: set, Time: at, Tags: tags}
	for i := 0; i < len(pairs); i += 2 {
		r.Fields = append(r.Fields, metricdb.Field{Name: pairs[i].(string), Value: metricdb.Int(pairs[i+1].(int64))})
	}
	r.Sort()
	return r
}

// claim writes the life of a claim to storage, expanded half an hour after it was bound.
func claim(namespace, name, labels string, created, bound time.Time, size, expanded int64) []metricdb.Record {
	tags := metricdb.Tags{}.With("cluster_name", "default").With("namespace_name", namespace).
		With(lifetime.TagClaim, name).With(lifetime.TagClaimID, "uid-"+name).With("labels", labels)
	at := bound.Add(30 * time.Minute)
	return []metricdb.Record{
		numbers("krm/claim", created, tags, "created", created.UnixMilli(), "bound", bound.UnixMilli(), "storage.request", size),
		numbers("krm/claim.change", at, tags, "created", created.UnixMilli(), "bound", bound.UnixMilli(), "storage.request", expanded),
	}
}

// Requests × time are exact to the millisecond: of claims, from when they were bound and
// over their expansion, and of pods that were resized.
func TestRequestsAreExact(t *testing.T) {
	db := small()
	t0 := begun()
	db.records = append(db.records, claim("a", "data", "team:red", t0.Add(-time.Hour), t0.Add(6*time.Minute), 10<<30, 30<<30)...)
	db.records = append(db.records, claim("a", "more", "", t0.Add(-9*time.Hour), t0.Add(-8*time.Hour), 1<<30, 2<<30)...)
	db.records = append(db.records, claim("z", "only", "team:red", t0, t0, 4<<30, 4<<30)...)
	db.life("b", "web", "u4", t0.Add(-time.Hour), t0.Add(2*time.Hour), 100, 1<<30)
	resized := lifetime.Tags("default", "b", "web", "u4", "n1", "app:web")
	db.records = append(db.records, numbers("krm/pod.change", t0.Add(15*time.Minute+7200*time.Millisecond), resized, "cpu.request", int64(2000), "memory.request", int64(3<<30)))
	h := handler(db, Options{Prices: pricesOf(t, "currency: CHF\nprices: {claims_requested_gib_hours: 1}\nrules: [{labels: {team: red}, prices: {claims_requested_gib_hours: 10}}]")})
	f := func(by, key string, want ...string) {
		t.Helper()
		line := reportOf(t, h, `{"by":"`+by+`",`+hourBody+`}`)[key]
		got := []string{line["cpu_requested_core_hours"], line["memory_requested_gib_hours"], line["claims_requested_gib_hours"], line["cost"]}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s: %s: %s", by, key, diff)
		}
	}
	// data: 10 GiB for half an hour and 30 GiB for 24 minutes; more: 2 GiB for an hour.
	f("namespace", "pods a", "0.200000", "2.000000", "19.000000", "172.00")
	f("namespace", "pods z", "0.000000", "0.000000", "4.000000", "40.00")
	f("pod", "claims a", "0.000000", "0.000000", "19.000000", "172.00")
	f("container", "claims z", "0.000000", "0.000000", "4.000000", "40.00")
	f("label:team", "pods red", "0.000000", "0.000000", "21.000000", "210.00")
	f("label:app", "subtotal", "1.721200", "4.496000", "23.000000", "212.00")
	// 100 m for 15 min 7.2 s, 2000 m for 44 min 52.8 s.
	f("pod", "pods b web u4", "1.521200", "2.496000", "0.000000", "0.00")
}

// What is closed gives the same bytes after a restart, too, and more data elsewhere
// changes nothing.
func TestClosedIntervalsStayTheSameBytes(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	open := func() *embedded.Store {
		db, err := embedded.Open(embedded.Options{Dir: dir, Retention: 100 * 365 * 24 * time.Hour}, log)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	from := time.Now().UTC().Truncate(time.Hour).Add(-9 * time.Hour)
	to := from.Add(2 * time.Hour)
	fill(t, db, from, to)
	if err := db.WriteRecords(t.Context(), claim("a", "data", "app:db", from, from.Add(time.Minute), 1<<30, 2<<30)); err != nil {
		t.Fatal(err)
	}
	pass := func() {
		if err := rollup.New(db, rollup.Options{}, log).Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	ask := func() (all string) {
		h := handler(db, Options{Prices: pricesOf(t, testPrices)})
		for _, by := range []string{"namespace", "pod", "container", "label:app"} {
			for _, format := range []string{"csv", "json"} {
				w := send(h, post("/api/report", fmt.Sprintf(`{"by":%q,"format":%q,"timeBeginInterval":%q,"timeEndInterval":%q}`, by, format, rfc3339(from), rfc3339(to))))
				if w.Code != 200 || w.Header().Get("Krm-Complete") != "true" {
					t.Fatalf("%d, complete %s: %s", w.Code, w.Header().Get("Krm-Complete"), w.Body)
				}
				all += w.Body.String()
			}
		}
		return all
	}
	want := ask()
	if !strings.Contains(want, "claims,default,a") || !strings.Contains(want, `"complete":true`) {
		t.Fatal(want)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open()
	defer func() { _ = db.Close() }()
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
	fill(t, db, to, to.Add(time.Hour))
	pass()
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("after more data: %s", diff)
	}
}
