package store

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var (
	genTime = rapid.Custom(func(t *rapid.T) time.Time {
		nanos := rapid.Int64().Draw(t, "nanos")
		if nanos == 0 {
			return time.Time{}
		}
		return time.Unix(0, nanos).UTC()
	})
	genVersion = rapid.Custom(func(t *rapid.T) object.Version {
		n := rapid.Uint64().Draw(t, "version")
		if n == 0 {
			return ""
		}
		return object.Version(strconv.FormatUint(n, 10))
	})
	genID = rapid.Custom(func(t *rapid.T) object.LogID {
		return place{rapid.Uint64().Draw(t, "tenure"), rapid.Uint64().Draw(t, "n")}.id()
	})
	genKey = rapid.Custom(func(t *rapid.T) object.Key {
		return object.Key{Namespace: rapid.StringMatching(`[a-z0-9-]{0,10}`).Draw(t, "namespace"), Name: rapid.StringMatching(`[a-z0-9.:-]{1,20}`).Draw(t, "name")}
	})
	genHead = rapid.Custom(func(t *rapid.T) object.Head {
		return object.Head{
			Key: genKey.Draw(t, "key"), UID: rapid.String().Draw(t, "uid"), Version: genVersion.Draw(t, "version"),
			Deleted: rapid.Bool().Draw(t, "deleted"), SeenAt: genTime.Draw(t, "seen"),
		}
	})
	genData   = rapid.SliceOfN(rapid.Byte(), 1, 50)
	genColumn = rapid.Custom(func(t *rapid.T) object.Column {
		return object.Column{Name: rapid.String().Draw(t, "name"), Type: rapid.String().Draw(t, "type"), Priority: rapid.Int32().Draw(t, "priority")}
	})
)

// drawItem draws an item as it looks to a reader.
func drawItem(t *rapid.T) object.LogItem {
	item := object.LogItem{Kind: object.ItemKind(rapid.IntRange(1, 5).Draw(t, "kind")), At: genTime.Draw(t, "at")}
	switch item.Kind {
	case object.ItemRecord:
		item.Packed = object.Packed{Head: genHead.Draw(t, "head"), Data: genData.Draw(t, "data")}
	case object.ItemPosition, object.ItemResyncEnd:
		item.Version = genVersion.Draw(t, "version")
	case object.ItemResyncBegin:
		item.Resync = object.Resync{
			Lineage: rapid.String().Draw(t, "lineage"), ClusterUID: rapid.String().Draw(t, "uid"), Schema: rapid.String().Draw(t, "schema"),
			Rewrite: rapid.Bool().Draw(t, "rewrite"), Expect: rapid.Int64().Draw(t, "expect"),
		}
	case object.ItemColumns:
		item.Columns = rapid.SliceOfN(genColumn, 1, 3).Draw(t, "columns")
	}
	return item
}

func encodeLog(prev object.LogID, items []object.LogItem) ([]byte, error) {
	blob := appendLogHead(nil, time.Now(), prev, len(items))
	for _, item := range items {
		item.Record.Head = item.Packed.Head // as on the way in
		var err error
		if blob, err = appendItem(blob, item, item.Packed.Data); err != nil {
			return nil, err
		}
	}
	return blob, nil
}

func TestLogEntryComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := object.LogEntry{ID: "5-1", Prev: genID.Draw(t, "prev"), Items: []object.LogItem{}}
		for range rapid.IntRange(0, 6).Draw(t, "items") {
			want.Items = append(want.Items, drawItem(t))
		}
		blob, err := encodeLog(want.Prev, want.Items)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeLog("5-1", blob)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
		for cut := range blob {
			if _, err := decodeLog("5-1", blob[:cut]); err == nil {
				t.Fatalf("decoded the first %d of %d bytes", cut, len(blob))
			}
		}
	})
}

func TestFeedEntryComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := object.FeedEntry{
			ID: "5-1", Prev: genID.Draw(t, "prev"), Hold: rapid.Bool().Draw(t, "hold"), Barrier: genVersion.Draw(t, "barrier"),
			Lineage:   rapid.String().Draw(t, "lineage"),
			Freshness: object.Freshness{Streamed: genVersion.Draw(t, "streamed"), StreamedAt: genTime.Draw(t, "at"), Verified: genVersion.Draw(t, "verified"), VerifiedAt: genTime.Draw(t, "at")},
			Objects:   rapid.Int64Range(0, 1<<50).Draw(t, "objects"), Changes: []object.Change{},
		}
		if rapid.Bool().Draw(t, "with columns") {
			want.Columns = rapid.SliceOfN(genColumn, 1, 3).Draw(t, "columns")
		}
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			p := object.Packed{Head: genHead.Draw(t, "head")}
			if rapid.Bool().Draw(t, "with data") {
				p.Data = genData.Draw(t, "data")
			}
			want.Changes = append(want.Changes, object.Change{Type: object.EventType(rapid.IntRange(1, 3).Draw(t, "type")), Object: p})
		}
		got, err := decodeFeed("5-1", encodeFeed(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	})
}

// encodeFeed puts an entry together as lua/publish.lua does.
func encodeFeed(t interface{ Fatal(...any) }, e object.FeedEntry) []byte {
	blob, err := appendFeedHead(nil, time.Now(), e)
	if err != nil {
		t.Fatal(err)
	}
	args, _ := encodeChanges(e.Changes)
	for ; len(args) > 0; args = args[4:] {
		blob = append(blob, args[2].([]byte)...)
		blob = append(blob, args[3].([]byte)...)
	}
	return blob
}

func TestListedComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []object.ListedItem
		for range rapid.IntRange(0, 10).Draw(t, "items") {
			want = append(want, object.ListedItem{Key: genKey.Draw(t, "key"), UID: rapid.String().Draw(t, "uid"), Version: genVersion.Draw(t, "version"), Hash: rapid.Uint64().Draw(t, "hash")})
		}
		got, err := decodeListedItems(nil, appendListedItems(nil, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatal(err, cmp.Diff(want, got))
		}
	})
}

// Whatever stands in Redis, reading it ends in a value or an error.
func FuzzDecode(f *testing.F) {
	p := newPods(1).records(1)[0]
	items := []object.LogItem{
		{Kind: object.ItemRecord, Packed: object.Packed{Head: p.Head, Data: []byte{1, 0, 0, 0, 0, 5}}, At: p.SeenAt},
		{Kind: object.ItemResyncBegin, Resync: object.Resync{Lineage: "a"}},
		{Kind: object.ItemColumns, Columns: []object.Column{{Name: "Name"}}},
		{Kind: object.ItemResyncEnd, Version: "5"},
	}
	blob, err := encodeLog("4-1", items)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Add(encodeFeed(f, object.FeedEntry{Prev: "4-1", Changes: []object.Change{{Type: object.Added, Object: items[0].Packed}}}))
	f.Add(appendListedItems(nil, []object.ListedItem{{Key: p.Key, UID: p.UID, Version: "7", Hash: 8}}))
	f.Add(appendObject(nil, items[0].Packed))
	_, chunks, err := encodeListed(object.Listed{ID: "a", Items: []object.ListedItem{{Key: p.Key}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(chunks[0])
	codec := newCodec(&Store{options: Options{}.withDefaults()}, podsResource)
	decoder, err := newDecoder(nil)
	if err != nil {
		f.Fatal(err)
	}
	codec.decoders[0] = decoder
	f.Fuzz(func(t *testing.T, blob []byte) {
		checkDecoded(t, blob, codec)
		_, _ = decodeChunk(nil, decoder, "a", blob)
		_, _ = decodeListedItems(nil, blob)
		_, _ = newDictionary(blob)
		_, _ = parsePlace(object.LogID(blob))
		_, _ = parseSize([]any{string(blob), int64(1), string(blob)})
	})
}

// checkDecoded compares every version: one that is none would panic.
func checkDecoded(t *testing.T, blob []byte, c *codec) {
	if entry, err := decodeLog("5-1", blob); err == nil {
		for _, item := range entry.Items {
			item.Version.Compare("1")
			item.Packed.Version.Compare("1")
		}
	}
	if entry, err := decodeFeed("5-1", blob); err == nil {
		entry.Barrier.Compare("1")
		entry.Freshness.Streamed.Compare("1")
		for _, change := range entry.Changes {
			change.Object.Version.Compare("1")
		}
	}
	if p, err := decodeObject(object.Key{Name: "a"}, blob); err == nil && len(p.Data) > 4 {
		p.Version.Compare("1")
		clear(p.Data[1:5]) // no dictionary: there is no Redis
		_, _ = c.unpack(t.Context(), p)
	}
}

func TestPlace(t *testing.T) {
	f := func(id object.LogID, want place, ok bool) {
		t.Helper()
		got, err := parsePlace(id)
		if (err == nil) != ok || got != want {
			t.Errorf("%q: %v, %v", id, got, err)
		}
		if ok && got.id() != id {
			t.Errorf("%q: back as %q", id, got.id())
		}
	}
	f("", place{}, true)
	f("1795000000000-3", place{1795000000000, 3}, true)
	f("5", place{}, false)
	f("5-x", place{}, false)
	f("-5", place{}, false)
	f("5-6-7", place{}, false)

	for i, order := range []object.LogID{"", "1-1", "1-2", "1-10", "2-1", "10-1"} {
		for k, other := range []object.LogID{"", "1-1", "1-2", "1-10", "2-1", "10-1"} {
			got, err := above(order, other)
			if err != nil || got != (i > k) {
				t.Errorf("%q above %q: %v, %v", order, other, got, err)
			}
		}
	}
}

func TestNextTenure(t *testing.T) {
	f := func(own, last place, tail object.LogID) {
		t.Helper()
		got, err := nextTenure(own, last, tail)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePlace(tail)
		if err != nil {
			t.Fatal(err)
		}
		if got.n != 1 || got.tenure <= own.tenure || got.tenure <= last.tenure || got.tenure <= p.tenure {
			t.Errorf("%v", got)
		}
		if now := uint64(time.Now().UnixMilli()); got.tenure < now {
			t.Errorf("%v is before %d", got, now)
		}
	}
	const future = 1 << 45 // a clock that went back leaves such behind
	f(place{}, place{}, "")
	f(place{future, 7}, place{1, 1}, "2-2")
	f(place{1, 1}, place{future, 7}, "2-2")
	f(place{1, 1}, place{2, 2}, object.LogID(fmt.Sprintf("%d-1", future)))
}

func TestRing(t *testing.T) {
	r := newRing(0, 100, time.Minute)
	now := at(0)
	f := func(incoming int64, after time.Duration, want object.LogID) {
		t.Helper()
		if got := r.overflow(now.Add(after), incoming); got != want {
			t.Errorf("overflow: %q, want %q", got, want)
		}
	}
	f(1000, 0, "") // empty
	for n := range uint64(5) {
		r.add(ringEntry{place{1, n + 1}, 20, now.Add(time.Duration(n) * time.Second)})
	}
	f(0, 0, "")
	f(1, 0, "1-2")
	f(41, 0, "1-4")
	f(1000, 0, "1-5") // the last one stays
	f(0, time.Minute, "")
	f(0, time.Minute+time.Second+1, "1-3")
	f(0, time.Hour, "1-5")
	r.maxEntries = 4
	f(0, 0, "1-2")
	r.forget(place{1, 3})
	if n, bytes := r.size(); n != 3 || bytes != 60 || r.last() != "1-5" {
		t.Errorf("%d entries, %d bytes, last %s", n, bytes, r.last())
	}
	for n := range uint64(10_000) { // it does not grow without end
		r.add(ringEntry{place{2, n + 1}, 1, now})
		r.forget(place{2, n})
	}
	if n, _ := r.size(); n != 2 || cap(r.entries) > 5000 {
		t.Errorf("%d entries in room for %d", n, cap(r.entries))
	}
}

// A reader that got the head of one statement and a chunk of the next must see it.
func TestChunkBelongsToItsListed(t *testing.T) {
	_, chunks, err := encodeListed(object.Listed{ID: "two", Items: make([]object.ListedItem, 3)})
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := newDecoder(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(id string, want error) {
		t.Helper()
		if _, err := decodeChunk(nil, decoder, id, chunks[0]); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", id, err, want)
		}
	}
	f("two", nil)
	f("one", errReplaced)
}
