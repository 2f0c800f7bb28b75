//go:build integration

package influx

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"testing"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
)

// server returns the options of a database of its own on the server of
// hack/influxd.sh.
func server(t testing.TB) Options {
	t.Helper()
	url := os.Getenv("KRM_TEST_INFLUX_URL")
	if url == "" {
		t.Fatal("KRM_TEST_INFLUX_URL is not set: run this by hack/influxd.sh go test -tags integration …")
	}
	return Options{
		URL: url, User: os.Getenv("KRM_TEST_INFLUX_USER"), Password: os.Getenv("KRM_TEST_INFLUX_PASSWORD"),
		Database: "t_" + rand.Text(), Concurrency: 2,
	}
}

func open(t testing.TB, options Options) *Store {
	t.Helper()
	s, err := Open(options, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.command(context.Background(), "DROP DATABASE "+quoteIdent(options.Database))
		_ = s.Close()
	})
	return s
}

func TestContract(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"InfluxQL":    func(*Options) {},
		"Flux":        func(o *Options) { o.Flux = true },
		"with pod_id": func(o *Options) { o.Tags = []string{"pod_id"} },
		"with fields": func(o *Options) { o.WithFields = true },
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Suite(t, func(t *testing.T) metricdb.DB {
				options := server(t)
				change(&options)
				return open(t, options)
			})
		})
	}
}
