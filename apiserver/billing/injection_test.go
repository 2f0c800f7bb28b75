package billing

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// injections are what should never become part of a query.
func injections() []string {
	fixed := []string{
		`'`, `"`, `\`, `\\`, `\'`, `\"`, "`", `;`, `--`, `/*`, `*/`, `#`, `' --`, `" --`, `'; --`, `default'`, `default"`, `default\`,
		`' OR '1'='1`, `" OR "1"="1`, `' OR 1=1 --`, `a' OR namespace_name != '`, `') OR ('1'='1`, `" =~ /.*/`, `/.*/`, `=~ /.*/`, `!~ /x/`,
		`'; DROP DATABASE k8s`, `'; DROP DATABASE "k8s"; --`, `"; DROP MEASUREMENT "cpu/usage_rate"`, `'; DELETE FROM "uptime"`, `'; SHOW USERS`,
		`'; CREATE USER evil WITH PASSWORD 'x' WITH ALL PRIVILEGES`, `' UNION SELECT * FROM users`, `'; SELECT * INTO a FROM b`, `$1`, `$namespace`, `$0`, `${namespace}`, `%27`, `%22%3B`,
		`") |> drop(columns: ["_value"])`, `" |> yield(name: "x")`, `"}) |> to(bucket: "evil")`, `import "influxdata/influxdb/secrets"`, `secrets.get(key: "token")`,
		`r._measurement == "x"`, `or true`, `" or true or r.x == "`, `|> limit(n:1)`, `from(bucket:"krm")`, `buckets()`, `${r._value}`, `\${1+1}`, `" + "x`, `\x22`, `\u0022`,
		"\n", "\r\n", "a\nb", "a\tb", "\x00", "a\x00b", "\x1b[31m", "\x7f", "\u2028", "\u202e", "\ufeff", "\u00a0", "ünïcödé", "日本語", "👩‍👩‍👧", "é", "e\u0301",
		`<script>alert(1)</script>`, `../../etc/passwd`, `..`, `.`, `*`, `%`, `_`, `?`, `[]`, `{}`, `{"$gt":""}`, `null`, `true`, `0`, `NaN`, `Infinity`, `now()`, `time > now() - 1h`,
		`cpu,host=a value=1 1`, `a=b,c=d e=1i`, `a b=1`, `type=pod`, ` `, `  x  `, `,`, `=`,
	}
	return append(fixed, strings.Repeat("a", 10<<10), strings.Repeat("'", 10<<10), strings.Repeat("é", 5<<10), strings.Repeat(`\`, 5<<10))
}

// What clients say is a value of a condition on a tag, or refused.
func TestInjections(t *testing.T) {
	all := injections()
	if len(all) < 80 {
		t.Fatalf("%d strings", len(all))
	}
	tags := []string{metricdb.TagNamespace, metricdb.TagCluster}
	for _, evil := range all {
		text, err := json.Marshal(evil)
		if err != nil {
			t.Fatal(err)
		}
		db := small()
		h := handler(db, Options{})
		try := func(path, body string) {
			w := send(h, post(path, body))
			if w.Code != 200 && w.Code != 400 {
				t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %s: no JSON: %s", path, body, w.Body)
			}
		}
		value := string(text)
		try("/api/cpu/usage_rate", `{`+value+`:1}`)
		try("/api/report", `{`+value+`:1}`)
		try("/api/cpu/usage_rate", `{"agg":"all-pod","excludeNamespaces":[`+value+`]}`)
		for _, field := range []string{"namespace", "cluster", "agg", "level", "limit", "timeBeginInterval", "timeEndInterval"} {
			try("/api/cpu/usage_rate", `{"`+field+`":`+value+`}`)
		}
		for _, field := range []string{"month", "timezone", "by", "format", "cluster", "timeBeginInterval"} {
			try("/api/report", `{"`+field+`":`+value+`}`)
		}
		try("/api/report", `{"by":"label:`+value[1:]+`}`)
		for _, q := range db.asked {
			checkQuery(t, q, evil, tags)
		}
		w := send(handler(small(), Options{}), post("/api/"+url.PathEscape(evil), "{}"))
		if w.Code != 404 && w.Code != 418 { // the latter is Kubernetes'
			t.Errorf("metric %q: %d %s", evil, w.Code, w.Body)
		}
	}
}

func checkQuery(t *testing.T, q metricdb.Query, evil string, tags []string) {
	t.Helper()
	if strings.Contains(q.Metric, evil) && len(evil) > 1 {
		t.Errorf("%q is in the metric's name", evil)
	}
	for _, m := range q.Where {
		if !slices.Contains(tags, m.Tag) {
			t.Errorf("%q: a condition on %q", evil, m.Tag)
		}
		for _, v := range m.Values {
			if v != evil && v != metricdb.Clean(evil) && v != "default" {
				t.Errorf("%.50q became %.50q", evil, v)
			}
		}
	}
}

func TestInjectedValuesComeBackAsData(t *testing.T) {
	for _, evil := range injections() {
		stored := metricdb.Clean(evil)
		db := &fakeDB{}
		db.spans(begun(), begun().Add(60*every), every)
		db.pod(evil, "p", "u", begun(), 3, 1, 1)
		text, err := json.Marshal(evil)
		if err != nil {
			t.Fatal(err)
		}
		h := handler(db, Options{})
		for _, agg := range []string{"none", podByNamespace, allPod} {
			rows := rowsOf(t, send(h, post("/api/cpu/usage_rate", `{"namespace":`+string(text)+`,"agg":"`+agg+`",`+hourBody+`}`)))
			if len(rows) == 0 || rows[0]["namespace_name"] != stored {
				t.Errorf("%s: %.50q: %v", agg, evil, rows)
			}
		}
	}
}
