package streamer

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func entryOf(rv int, size int) entry {
	v := version(rv)
	record := object.Record{Head: object.Head{Version: v}, Body: make([]byte, size)}
	return entry{item: object.LogItem{Kind: object.ItemRecord, Record: record}, claim: v}
}

// brief writes a batch as "record 5, position 5".
func brief(b batch) []string {
	var lines []string
	for _, item := range b.items {
		switch item.Kind {
		case object.ItemRecord:
			lines = append(lines, "record "+string(item.Record.Version))
		case object.ItemPosition:
			lines = append(lines, "position "+string(item.Version))
		case object.ItemResyncBegin:
			lines = append(lines, "begin")
		case object.ItemResyncEnd:
			lines = append(lines, "end "+string(item.Version))
		case object.ItemColumns:
			lines = append(lines, "columns")
		}
	}
	return lines
}

func TestBufferBatches(t *testing.T) {
	f := func(name string, position object.Version, entries []entry, want ...[]string) {
		t.Helper()
		options := Options{BufferRecords: 100, BufferBytes: 1000, BatchRecords: 3, BatchBytes: 100}
		b := newBuffer(options, position)
		for _, e := range entries {
			if err := b.push(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		b.close()
		var got [][]string
		for {
			next, ok, err := b.take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, brief(next))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	bookmark := func(rv int) entry { return entry{claim: version(rv)} }
	listed := func(rv int) entry { e := entryOf(rv, 1); e.claim = ""; return e }
	end := func(rv int) entry {
		return entry{item: object.LogItem{Kind: object.ItemResyncEnd, Version: version(rv)}}
	}

	f("nothing", "1", nil)
	f("a lone event", "1", []entry{entryOf(2, 10)}, []string{"record 2", "position 2"})
	f("the newest position only", "1", []entry{entryOf(2, 10), entryOf(3, 10), bookmark(7)},
		[]string{"record 2", "record 3", "position 7"})
	f("by count", "1", []entry{entryOf(2, 1), entryOf(3, 1), entryOf(4, 1), entryOf(5, 1)},
		[]string{"record 2", "record 3", "record 4", "position 4"}, []string{"record 5", "position 5"})
	f("by bytes", "1", []entry{entryOf(2, 60), entryOf(3, 60), entryOf(4, 400)},
		[]string{"record 2", "position 2"}, []string{"record 3", "position 3"}, []string{"record 4", "position 4"})
	f("a bookmark alone", "1", []entry{bookmark(5)}, []string{"position 5"})
	f("the same position again is news", "5", []entry{bookmark(5)}, []string{"position 5"})
	f("a repetition moves nothing back", "5", []entry{entryOf(3, 1)}, []string{"record 3"})
	f("an old bookmark is dropped", "5", []entry{bookmark(3)})
	f("repetition between", "5", []entry{entryOf(9, 1), entryOf(7, 1), bookmark(8)},
		[]string{"record 9", "record 7", "position 9"})
	f("a list claims nothing before its end", "", []entry{listed(9), listed(4), end(12), entryOf(13, 1)},
		[]string{"record 9", "record 4", "end 12"}, []string{"record 13", "position 13"})
	f("a list's end bounds what follows", "5", []entry{end(12), bookmark(11)}, []string{"end 12"})
}

func TestBufferBlocksWhenFull(t *testing.T) {
	f := func(name string, options Options, size, fits int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			options.BatchRecords, options.BatchBytes = 1, 1
			b := newBuffer(options, "")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			pushed := 0
			ended := make(chan error, 1)
			go func() {
				for {
					if err := b.push(ctx, entryOf(pushed+1, size)); err != nil {
						ended <- err
						return
					}
					pushed++
				}
			}()
			synctest.Wait()
			if pushed != fits || b.depth() != fits || b.stalled() != 1 {
				t.Fatalf("%s: %d fit, depth %d, stalled %d; want %d", name, pushed, b.depth(), b.stalled(), fits)
			}
			next, _, _ := b.take(ctx)
			if diff := cmp.Diff([]string{"record 1", "position 1"}, brief(next)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			synctest.Wait()
			if pushed != fits+1 {
				t.Errorf("%s: %d pushed after one was taken, want %d", name, pushed, fits+1)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	f("records", Options{BufferRecords: 4, BufferBytes: 1 << 20}, 10, 4)
	f("bytes", Options{BufferRecords: 100, BufferBytes: 100}, 30, 3)
	f("one too large", Options{BufferRecords: 100, BufferBytes: 100}, 300, 1)
}

// What is pushed comes out once and in order, whatever the batches are.
func TestBufferKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuffer(Options{BufferRecords: 7, BufferBytes: 1 << 20, BatchRecords: 3, BatchBytes: 1 << 20}, "")
		go func() {
			for rv := range 1000 {
				_ = b.push(t.Context(), entryOf(rv+1, rv%5))
				if rv%11 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			b.close()
		}()
		want := 1
		for {
			next, ok, err := b.take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for _, line := range brief(next)[:next.records] {
				if line != "record "+strconv.Itoa(want) {
					t.Fatalf("got %s, want record %d", line, want)
				}
				want++
			}
			if want%17 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if want != 1001 || len(b.queue) != 0 || b.held != 0 {
			t.Errorf("%d came out, %d entries and %d bytes stay", want-1, len(b.queue), b.held)
		}
	})
}
