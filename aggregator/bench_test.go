package aggregator

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// nowhere is a Redis that takes everything at once. It has no other answers.
type nowhere struct{ Snapshot }

func (nowhere) Publish(context.Context, object.Publication) (object.LogID, error) { return "1-1", nil }
func (nowhere) Ask(context.Context, object.Ask) error                             { return nil }

const (
	benchRecords = 10_000
	benchEntry   = 250 // records of one log entry
)

// benchEntries are updates of 10,000 objects in a random-looking order, from rev on.
func benchEntries(rev int) []object.LogEntry {
	data := make([]byte, 1400) // about a packed pod
	var entries []object.LogEntry
	for i := range benchRecords {
		if i%benchEntry == 0 {
			entries = append(entries, object.LogEntry{ID: object.LogID("1-" + strconv.Itoa(rev+i))})
		}
		n := i * 7919 % benchRecords
		entry := &entries[len(entries)-1]
		entry.Items = append(entry.Items, object.LogItem{Kind: object.ItemRecord, Packed: object.Packed{
			Head: object.Head{
				Key: object.Key{Namespace: fmt.Sprint("namespace-", n%100), Name: fmt.Sprint("deployment-5b8f9c7d6-", n)},
				UID: fmt.Sprintf("5f0c7a52-8d0e-4c7b-9a51-%012d", n), Version: versionOf(rev + i),
			},
			Data: data,
		}})
		if len(entry.Items) == benchEntry {
			entry.Items = append(entry.Items, object.LogItem{Kind: object.ItemPosition, Version: versionOf(rev + i)})
		}
	}
	return entries
}

// Merging and publishing 10,000 records: the time and the allocations of each. What
// Redis takes comes on top.
func BenchmarkMergeAndPublish(b *testing.B) {
	a := New(object.Resource{Name: "pods"}, nowhere{}, Options{}, slog.New(slog.DiscardHandler))
	t := &tenure{Aggregator: a, writing: b.Context(), state: NewState(), looked: time.Now().Add(time.Hour), trimmable: []mark{{}}}
	step := func(entries []object.LogEntry) {
		if err := t.step(b.Context(), portion{entries: entries}); err != nil {
			b.Fatal(err)
		}
	}
	first := benchEntries(1)
	first[0].Items = append([]object.LogItem{{Kind: object.ItemResyncBegin, Resync: object.Resync{Lineage: "L1"}}}, first[0].Items...)
	last := &first[len(first)-1]
	last.Items = append(last.Items, object.LogItem{Kind: object.ItemResyncEnd, Version: versionOf(benchRecords)})
	step(first)
	rev := benchRecords + 1
	var spent time.Duration
	var mallocs uint64
	for b.Loop() {
		entries := benchEntries(rev)
		rev += benchRecords
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begun := time.Now()
		step(entries)
		spent += time.Since(begun)
		runtime.ReadMemStats(&after)
		mallocs += after.Mallocs - before.Mallocs
	}
	records := float64(b.N * benchRecords)
	b.ReportMetric(0, "ns/op") // the entries' making is in it
	b.ReportMetric(float64(spent.Nanoseconds())/records, "ns/record")
	b.ReportMetric(float64(mallocs)/records, "allocs/record")
	if t.state.live != benchRecords || t.last.Freshness.Streamed != versionOf(rev-1) {
		b.Fatalf("%d objects at %s", t.state.live, t.last.Freshness.Streamed)
	}
}

// Comparing a list of 50,000 objects with the state, with nothing wrong.
func BenchmarkCompare(b *testing.B) {
	const objects = 50_000
	s, listed := NewState(), object.Listed{Version: versionOf(2 * objects)}
	items := []object.LogItem{{Kind: object.ItemResyncBegin, Resync: object.Resync{Lineage: "L1"}}}
	for i := range objects {
		head := object.Head{Key: object.Key{Namespace: "n", Name: fmt.Sprint("pod-", i)}, UID: fmt.Sprint("uid-", i), Version: versionOf(i + 1)}
		items = append(items, object.LogItem{Kind: object.ItemRecord, Packed: object.Packed{Head: head}})
		listed.Items = append(listed.Items, object.ListedItem{Key: head.Key, UID: head.UID, Version: head.Version})
	}
	s.Merge(append(items, object.LogItem{Kind: object.ItemResyncEnd, Version: versionOf(objects)}), &Batch{})
	for b.Loop() {
		if d := s.Compare(&listed, nil); !d.Empty() {
			b.Fatalf("found %v", d.Drift)
		}
	}
}
