package metricdb

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	f := func(text string, environment map[string]string, want Influx, fault string) {
		t.Helper()
		c := Config{URL: text, Retention: 48 * time.Hour}
		set, err := c.parse(func(name string) string { return environment[name] })
		if fault != "" {
			if err == nil || !strings.Contains(err.Error(), fault) {
				t.Errorf("%q: %v, want %q", text, err, fault)
			}
			return
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, set.Influx); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	plain := Influx{URL: "http://localhost:8086", User: "root", Password: "root", Database: "k8s", Retention: 48 * time.Hour, Concurrency: 1}
	f("influxdb:", nil, plain, "")
	f("", map[string]string{"INFLUXDB_HOST": "localhost"}, plain, "")
	f("", nil, Influx{}, "")
	f("embedded", map[string]string{"INFLUXDB_HOST": "localhost"}, Influx{}, "")

	other := plain
	other.URL, other.User, other.Password, other.Database = "http://db:1234", "u", "p", "d"
	f("", map[string]string{"INFLUXDB_HOST": "db", "INFLUXDB_PORT": "1234", "INFLUXDB_USER": "u", "INFLUXDB_PASS": "p", "INFLUXDB_DB": "d"}, other, "")
	f("influxdb:http://db:1234?user=u&pw=p&db=d", map[string]string{"INFLUXDB_HOST": "x", "INFLUXDB_USER": "x", "INFLUXDB_PASS": "x", "INFLUXDB_DB": "x"}, other, "")
	f("", map[string]string{
		"INFLUXDB_HOST": "db:1234", "INFLUXDB_USER": "x", "KRM_INFLUX_USER": "u", "INFLUXDB_PASS": "x", "KRM_INFLUX_PASSWORD": "p", "INFLUXDB_DB": "d",
	}, other, "")

	second := plain
	second.URL, second.Token, second.Org, second.Bucket = "https://db:8086", "t", "o", "b"
	f("influxdb:https://db:8086?token=t&org=o&bucket=b", nil, second, "")
	f("influxdb:http://db:8086?secure=true", map[string]string{"INFLUXDB_TOKEN": "t", "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b"}, second, "")

	all := plain
	all.InsecureTLS, all.WithFields, all.ClusterName, all.DisableCounters, all.Concurrency = true, true, "c", true, 4
	all.Retention, all.Types, all.Tags, all.Flux = 30*24*time.Hour, []string{"pod", "node"}, []string{"pod_id"}, true
	f("influxdb:http://localhost:8086/?insecuressl=true&withfields=1&retention=30d&cluster_name=c&disable_counter_metrics=t&concurrency=4&types=pod,node&tags=pod_id&flux=true", nil, all, "")
	forever := plain
	forever.Retention = 0
	f("influxdb:?retention=0", nil, forever, "")

	f("influxdb:?retention=5s", nil, Influx{}, "at least 1h")
	f("influxdb:?concurrency=0", nil, Influx{}, "above 0")
	f("influxdb:?withfields=maybe", nil, Influx{}, "true or false")
	f("influxdb:?nothing=1", nil, Influx{}, "want one of bucket, cluster_name")
	f("influxdb:incorrecturl/%gh&%ij", nil, Influx{}, "cannot be read")
	f("mysql:", nil, Influx{}, "want embedded or influxdb")
	f("embedded:?x=1", nil, Influx{}, "no options")
}
