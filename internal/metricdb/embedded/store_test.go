package embedded

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func open(t testing.TB, options Options) *Store {
	t.Helper()
	if options.Dir == "" {
		options.Dir = t.TempDir()
	}
	s, err := Open(options, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.db.NoSync = true // power cuts are not tested here, and many tests share the disk
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	dbtest.Suite(t, func(t *testing.T) metricdb.DB { return open(t, Options{}) })
}

// folding folds after every few writes, so that everything is read from blocks, from
// heads, and from both.
type folding struct {
	*Store
	t      *testing.T
	writes int
}

func (f *folding) fold() {
	f.t.Helper()
	if f.writes++; f.writes%7 == 0 {
		if err := f.Maintain(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
}

func TestContractFolded(t *testing.T) {
	dbtest.Suite(t, func(t *testing.T) metricdb.DB {
		far := func() time.Time { return dbtest.T0.Add(24 * 365 * time.Hour) }
		return &foldingDB{folding{Store: open(t, Options{Now: far}), t: t}}
	})
}

type foldingDB struct{ folding }

func (f *foldingDB) Write(ctx context.Context, b *metrics.Batch) error {
	defer f.fold()
	return f.Store.Write(ctx, b)
}

func (f *foldingDB) WriteRecords(ctx context.Context, records []metricdb.Record) error {
	defer f.fold()
	return f.Store.WriteRecords(ctx, records)
}
