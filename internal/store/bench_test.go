package store

import (
	"log/slog"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const batch = 256

func BenchmarkMiniredis(b *testing.B) {
	benchmarkStore(b, func(b *testing.B) Options {
		mini := miniredis.RunT(b)
		return Options{Addrs: []string{mini.Addr()}}
	})
}

// benchmarkStore measures the way of 256 pods: into the log, out of it, into
// snapshot and feed, and out of the feed, unpacked.
func benchmarkStore(b *testing.B, start func(*testing.B) Options) {
	f := func(name string, run func(b *testing.B, s *Store, items []object.LogItem)) {
		b.Run(name, func(b *testing.B) {
			options := start(b)
			options.LogMaxBytes, options.FeedMaxBytes = 8<<20, 8<<20
			s, err := Connect(b.Context(), options, slog.New(slog.DiscardHandler))
			must(b, err)
			defer func() { must(b, s.Close()) }()
			b.ReportAllocs()
			run(b, s, itemsOf(newPods(1).records(batch)))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/record")
		})
	}
	f("append", benchmarkAppend)
	f("read log", benchmarkReadLog)
	f("publish", benchmarkPublish)
	f("read feed", benchmarkReadFeed)
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func benchmarkAppend(b *testing.B, s *Store, items []object.LogItem) {
	l := s.Log(podsResource)
	_, err := l.Acquire(b.Context())
	must(b, err)
	must(b, l.Append(b.Context(), items)) // trains
	for n := 0; b.Loop(); n++ {
		must(b, l.Append(b.Context(), items))
		if n%20 == 19 {
			_, err := l.Beat(b.Context())
			must(b, err)
		}
	}
	b.ReportMetric(float64(len(l.blob))/batch, "B/record")
}

func benchmarkReadLog(b *testing.B, s *Store, items []object.LogItem) {
	l := s.Log(podsResource)
	_, err := l.Acquire(b.Context())
	must(b, err)
	must(b, l.Append(b.Context(), items))
	a := s.Snapshot(podsResource)
	for b.Loop() {
		entries, err := a.ReadLog(b.Context(), "", 0)
		must(b, err)
		if len(entries) != 1 || len(entries[0].Items) != batch {
			b.Fatal("not what was written")
		}
	}
}

// publication returns what changes items' records.
func publication(b *testing.B, items []object.LogItem) object.Publication {
	records := recordsOf(items)
	d, err := train(records)
	must(b, err)
	p, err := newPacker(d)
	must(b, err)
	var publication object.Publication
	for _, r := range records {
		change := object.Change{Type: object.Modified, Object: object.Packed{Head: r.Head, Data: p.pack(nil, r)}}
		publication.Entry.Changes = append(publication.Entry.Changes, change)
	}
	return publication
}

func benchmarkPublish(b *testing.B, s *Store, items []object.LogItem) {
	a := s.Snapshot(podsResource)
	_, err := a.Acquire(b.Context())
	must(b, err)
	p := publication(b, items)
	for b.Loop() {
		_, err := a.Publish(b.Context(), p)
		must(b, err)
	}
}

func benchmarkReadFeed(b *testing.B, s *Store, items []object.LogItem) {
	a, f := s.Snapshot(podsResource), s.Feed(podsResource)
	_, err := a.Acquire(b.Context())
	must(b, err)
	d, err := train(recordsOf(items))
	must(b, err)
	must(b, f.codec.save(b.Context(), d))
	_, err = a.Publish(b.Context(), publication(b, items))
	must(b, err)
	for b.Loop() {
		entries, err := f.Read(b.Context(), "", 0)
		must(b, err)
		for _, change := range entries[0].Changes {
			_, err := f.Unpack(b.Context(), change.Object)
			must(b, err)
		}
	}
}
