//go:build integration

package influx

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// cpu returns the milliseconds of processor time that the server and this process have
// had: on a machine that does other things, too, the clock says little.
func cpu(b *testing.B) (server, own float64) {
	b.Helper()
	of := func(pid string) float64 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return 0 // not Linux
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		return float64(user+system) * 10
	}
	return of(os.Getenv("KRM_TEST_INFLUX_PID")), of("self")
}

// measured runs a loop, and reports the processor time of each round.
func measured(b *testing.B, round func()) {
	b.Helper()
	server, own := cpu(b)
	for b.Loop() {
		round()
	}
	serverNow, ownNow := cpu(b)
	b.ReportMetric((serverNow-server)/float64(b.N), "server-cpu-ms/op")
	b.ReportMetric((ownNow-own)/float64(b.N), "own-cpu-ms/op")
}

// BenchmarkWrite writes 100,000 points of 1,000 pods, each batch acknowledged.
func BenchmarkWrite(b *testing.B) {
	options := server(b)
	options.Concurrency = 2
	s := open(b, options)
	load := dbtest.NewLoad(1000, 50)
	load.Everything = true
	at := dbtest.T0
	points := 0
	measured(b, func() {
		for points = 0; points < 100_000; {
			at = at.Add(time.Minute)
			batch := load.Next(at, time.Minute)
			for _, table := range batch.Tables {
				for _, c := range table.Columns() {
					points += c.Has.Count()
				}
			}
			if err := s.Write(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(points), "points/op")
}

var byPod = []string{"cluster_name", "namespace_name", "pod_name", "pod_id"}

// BenchmarkHour asks for the last hours of 1,000 pods in 50 namespaces, of one metric, and
// for the parts that such an answer is made of.
func BenchmarkHour(b *testing.B) {
	s := open(b, server(b))
	load := dbtest.NewLoad(1000, 50)
	last := 4
	for i := range 60 * last {
		if err := s.Write(b.Context(), load.Next(dbtest.T0.Add(time.Duration(i+1)*time.Minute), time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	end := dbtest.T0.Add(time.Duration(60*last)*time.Minute + time.Second)
	for _, hours := range []int{1, 2, 4} {
		q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: end.Add(-time.Duration(hours) * time.Hour), To: end}
		f := func(what string, ask func() (int, error)) {
			b.Run(fmt.Sprintf("%dh/%s", hours, what), func(b *testing.B) {
				measured(b, func() {
					if n, err := ask(); err != nil || n == 0 {
						b.Fatal(n, err)
					}
				})
			})
		}
		resolutions, err := s.Resolutions(b.Context(), "", q.From, q.To)
		if err != nil {
			b.Fatal(err)
		}
		aggregate := func(g metricdb.Grouping) func() (int, error) {
			return func() (int, error) { groups, err := s.Aggregate(b.Context(), q, g); return len(groups), err }
		}
		namespaces := metricdb.Grouping{By: []string{"namespace_name"}, SkipMin: true}
		pods := metricdb.Grouping{By: byPod, SkipMin: true, Span: true}
		f("resolutions", func() (int, error) { r, err := s.Resolutions(b.Context(), "", q.From, q.To); return len(r), err })
		f("directory", func() (int, error) { d, err := s.directory(b.Context(), q); return len(d), err })
		f("namespaces", aggregate(namespaces))
		f("pods", aggregate(pods))
		f("pods-by-server", func() (int, error) {
			groups, _, err := s.serverGroups(b.Context(), q, pods, resolutions)
			return len(groups), err
		})
		f("pods-here", func() (int, error) {
			groups, err := s.reduce(b.Context(), q, pods, resolutions)
			return len(groups), err
		})
		f("answer", func() (int, error) { // what POST /api asks
			groups, _, err := rollup.Answer(b.Context(), s, q, metricdb.Grouping{By: byPod, Span: true})
			return len(groups), err
		})
		if hours == 1 {
			f("increase", aggregate(metricdb.Grouping{By: []string{"namespace_name"}, Increase: true}))
		}
	}
}

// BenchmarkTotals adds up roll-ups of 1,000 pods: 31,000 records, as of the days of a
// month, and 744,000, as of its hours; by the server and here.
func BenchmarkTotals(b *testing.B) {
	for _, records := range []int{31, 744} {
		s := open(b, server(b))
		for i := range records {
			if err := s.WriteRecords(b.Context(), dbtest.RollUps(1000, 50, dbtest.T0.Add(time.Duration(i)*744*time.Hour/time.Duration(records)))); err != nil {
				b.Fatal(err)
			}
		}
		q := metricdb.RecordQuery{Set: "krm/rollup", From: dbtest.T0, To: dbtest.T0.Add(40 * 24 * time.Hour)}
		f := func(what string, want metricdb.Want, fields ...string) {
			for _, by := range [][]string{{"namespace_name"}, byPod} {
				name := fmt.Sprintf("%d/by-%d-tags/%s", records*1000, len(by), what)
				q.Want, q.Fields = want, fields
				b.Run(name+"/by-server", func(b *testing.B) {
					measured(b, func() {
						if got, _, err := s.serverTotals(b.Context(), q, by); err != nil || len(got) < 50 {
							b.Fatal(len(got), err)
						}
					})
				})
				b.Run(name+"/here", func(b *testing.B) {
					measured(b, func() {
						if got, _, err := s.totalsHere(b.Context(), q, by, math.MaxInt); err != nil || len(got) < 50 {
							b.Fatal(len(got), err)
						}
					})
				})
			}
		}
		f("1-figure", metricdb.WantSum, "sum")
		f("3-figures", metricdb.WantSum, "count", "max", "sum")
		f("12-figures", 0, "count", "max", "sum")
	}
}
