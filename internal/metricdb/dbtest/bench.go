package dbtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Load makes batches as a cluster would: pods in namespaces, with noisy CPU and memory in
// pages, one container each, and their namespaces' sums.
type Load struct {
	Pods, Namespaces int
	// Everything adds what a kubelet says of a pod besides: counters, rates, working set,
	// network, requests, limits, uptime, a volume.
	Everything bool

	ledger *metrics.Ledger
	random *rand.Rand
	meta   []*metrics.Meta
	cpu    []float64
	memory []int64
	total  [][3]int64
}

// NewLoad returns a load that is the same every time.
func NewLoad(pods, namespaces int) *Load {
	l := &Load{Pods: pods, Namespaces: namespaces, ledger: metrics.NewLedger(time.Hour), random: rand.New(rand.NewPCG(1, 2))}
	for i := range pods {
		l.meta = append(l.meta, &metrics.Meta{
			UID: fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i*7919), Node: fmt.Sprintf("node-%d", i%30),
			Joined: fmt.Sprintf("app:app-%d,pod-template-hash:%08x", i%50, i%50),
		})
		l.cpu = append(l.cpu, float64(50+i%400))
		l.memory = append(l.memory, int64(20000+i*13%60000))
	}
	l.total = make([][3]int64, pods)
	return l
}

// Next makes the batch of a window.
func (l *Load) Next(at time.Time, every time.Duration) *metrics.Batch {
	b := l.ledger.Begin("default", at, every)
	pods := b.Tables[metrics.Pod]
	for i := range l.Pods {
		ns := b.Row(metrics.Namespace, metrics.Ref{}, fmt.Sprintf("namespace-%02d", i%l.Namespaces))
		row := b.Row(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: ns}, fmt.Sprintf("app-%d-%08x-%05x", i%50, i%50, i))
		b.Describe(metrics.Ref{Kind: metrics.Pod, Row: row}, "", l.meta[i])
		cpu := max(0, int64(l.cpu[i]*(1+l.random.NormFloat64()/5)))
		if l.random.IntN(4) == 0 {
			l.memory[i] = max(1000, l.memory[i]+int64(l.random.NormFloat64()*50))
		}
		pods.Set(metrics.CPUUsageRate, row, cpu)
		pods.Set(metrics.MemoryUsage, row, 4096*l.memory[i])
		if l.Everything {
			l.rest(b, row, i, cpu, at, every)
		}
	}
	return b
}

func (l *Load) rest(b *metrics.Batch, row metrics.Row, i int, cpu int64, at time.Time, every time.Duration) {
	pods := b.Tables[metrics.Pod]
	total := &l.total[i]
	rx := 1000 * int64(l.random.IntN(2000))
	total[0] += 1000 * int64(float64(cpu)*every.Seconds()*1000)
	total[1] += rx
	total[2] += rx / 3
	pods.Set(metrics.CPUUsage, row, total[0])
	pods.Set(metrics.CPURequest, row, 100)
	pods.Set(metrics.CPULimit, row, 500)
	pods.Set(metrics.MemoryWorkingSet, row, 4096*(l.memory[i]-500))
	pods.Set(metrics.MemoryRSS, row, 4096*(l.memory[i]/2))
	pods.Set(metrics.MemoryRequest, row, 128<<20)
	pods.Set(metrics.MemoryLimit, row, 512<<20)
	pods.Set(metrics.NetworkRx, row, total[1])
	pods.Set(metrics.NetworkTx, row, total[2])
	pods.Set(metrics.NetworkRxRate, row, metrics.FloatBits(float64(rx)/every.Seconds()))
	pods.Set(metrics.NetworkTxRate, row, metrics.FloatBits(float64(rx/3)/every.Seconds()))
	pods.Set(metrics.NetworkRxErrors, row, 0)
	pods.Set(metrics.NetworkTxErrors, row, 0)
	pods.Set(metrics.Uptime, row, at.Sub(T0).Milliseconds()+int64(i))
	pods.Set(metrics.RestartCount, row, int64(i%3))
	volume := b.Row(metrics.Filesystem, metrics.Ref{Kind: metrics.Pod, Row: row}, "resource_id:Volume:data")
	files := b.Tables[metrics.Filesystem]
	files.Set(metrics.FilesystemUsage, volume, 4096*int64(100+i))
	files.Set(metrics.FilesystemLimit, volume, 100<<30)
	files.Set(metrics.FilesystemInodes, volume, 6553600)
}

// RollUps makes the records of an hour of pods, as billing would.
func RollUps(pods, namespaces int, at time.Time) []metricdb.Record {
	all := make([]metricdb.Record, 0, pods)
	random := rand.New(rand.NewPCG(uint64(at.Unix()), 3))
	for i := range pods {
		all = append(all, metricdb.Record{
			Set: "krm/rollup", Time: at,
			Tags: metricdb.MakeTags(
				metrics.Label{Key: "cluster_name", Value: "default"},
				metrics.Label{Key: "namespace_name", Value: fmt.Sprintf("namespace-%02d", i%namespaces)},
				metrics.Label{Key: "pod_name", Value: fmt.Sprintf("app-%d-%05x", i%50, i)},
				metrics.Label{Key: "pod_id", Value: fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i*7919)},
			),
			Fields: []metricdb.Field{
				{Name: "count", Value: metricdb.Int(60)},
				{Name: "max", Value: metricdb.Int(int64(random.IntN(1000)))},
				{Name: "sum", Value: metricdb.Int(int64(random.IntN(60000)))},
			},
		})
	}
	return all
}
