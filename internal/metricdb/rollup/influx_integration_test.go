//go:build integration

package rollup

import (
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/influx"
)

// TestOnInflux is TestOnTheEmbeddedDatabase on the server of hack/influxd.sh.
func TestOnInflux(t *testing.T) {
	url := os.Getenv("KRM_TEST_INFLUX_URL")
	if url == "" {
		t.Fatal("KRM_TEST_INFLUX_URL is not set: run this by hack/influxd.sh go test -tags integration …")
	}
	for name, flux := range map[string]bool{"InfluxQL": false, "Flux": true} {
		t.Run(name, func(t *testing.T) {
			db, err := influx.Open(influx.Options{
				URL: url, User: os.Getenv("KRM_TEST_INFLUX_USER"), Password: os.Getenv("KRM_TEST_INFLUX_PASSWORD"),
				Database: "t_" + rand.Text(), Concurrency: 2, Flux: flux,
			}, quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			onDatabase(t, db, dbtest.T0.Add(4*time.Hour))
		})
	}
}

// BenchmarkMonthOnInflux is BenchmarkMonth on that server.
func BenchmarkMonthOnInflux(b *testing.B) {
	db, err := influx.Open(influx.Options{
		URL: os.Getenv("KRM_TEST_INFLUX_URL"), User: os.Getenv("KRM_TEST_INFLUX_USER"), Password: os.Getenv("KRM_TEST_INFLUX_PASSWORD"),
		Database: "b_" + rand.Text(), Concurrency: 2,
	}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	month(b, db)
}
