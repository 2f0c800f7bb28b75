//go:build integration

package model

import (
	"crypto/rand"
	"log/slog"
	"os"
	"testing"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/influx"
)

// TestPastOnInflux is TestPastOnTheEmbeddedDatabase on the server of hack/influxd.sh.
func TestPastOnInflux(t *testing.T) {
	url := os.Getenv("KRM_TEST_INFLUX_URL")
	if url == "" {
		t.Fatal("KRM_TEST_INFLUX_URL is not set: run this by hack/influxd.sh go test -tags integration …")
	}
	for name, flux := range map[string]bool{"InfluxQL": false, "Flux": true} {
		t.Run(name, func(t *testing.T) {
			db, err := influx.Open(influx.Options{
				URL: url, User: os.Getenv("KRM_TEST_INFLUX_USER"), Password: os.Getenv("KRM_TEST_INFLUX_PASSWORD"),
				Database: "t_" + rand.Text(), Concurrency: 2, Flux: flux,
			}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			pastOnDatabase(t, db)
		})
	}
}
