package rollup

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
)

// manyRuns is a database whose samples are those of 1000 pods, without work.
type manyRuns struct {
	*dbtest.Memory
	runs []metricdb.Run
}

func (m *manyRuns) Runs(context.Context, metricdb.Query, ...string) iter.Seq2[metricdb.Run, error] {
	for i := len(m.runs); i < 1000; i++ {
		run := metricdb.Run{Tags: podTags("one", "ns", fmt.Sprint("pod-", i), fmt.Sprint("uid-", i), "app:web,tier:front")}
		for k := range 120 {
			run.Times = append(run.Times, t0.Add(time.Duration(k)*30*time.Second).UnixNano())
			run.Values = append(run.Values, int64(i*k))
		}
		m.runs = append(m.runs, run)
	}
	return func(yield func(metricdb.Run, error) bool) {
		for _, run := range m.runs {
			if !yield(run, nil) {
				return
			}
		}
	}
}
