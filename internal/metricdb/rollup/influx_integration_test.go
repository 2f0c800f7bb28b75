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
			onDatabase(t, newInflux(t, url, flux), dbtest.T0.Add(4*time.Hour))
			daysOnDatabase(t, newInflux(t, url, flux), floorDay(dbtest.T0).Add(3*day))
		})
	}
}

// newInflux is a database of its own on that server.
func newInflux(t testing.TB, url string, flux bool) *influx.Store {
	t.Helper()
	db, err := influx.Open(influx.Options{
		URL: url, User: os.Getenv("KRM_TEST_INFLUX_USER"), Password: os.Getenv("KRM_TEST_INFLUX_PASSWORD"),
		Database: "t_" + rand.Text(), Concurrency: 2, Flux: flux,
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// BenchmarkMonthOnInflux is BenchmarkMonth on that server.
func BenchmarkMonthOnInflux(b *testing.B) {
	month(b, newInflux(b, os.Getenv("KRM_TEST_INFLUX_URL"), false))
}
