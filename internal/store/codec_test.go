package store

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/dict"
	"github.com/klauspost/compress/zstd"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// codecWith returns a codec that knows d and needs no Redis.
func codecWith(t testing.TB, d *dictionary) *codec {
	t.Helper()
	c := newCodec(&Store{options: Options{}.withDefaults()}, object.Resource{Name: "pods"})
	if d == nil {
		return c
	}
	decoder, err := newDecoder(d.content)
	if err != nil {
		t.Fatal(err)
	}
	c.decoders[d.id] = decoder
	return c
}

func TestPackIsSmallAndComesBack(t *testing.T) {
	records := newPods(1).records(300)
	if !json.Valid(records[0].Body) {
		t.Fatalf("not JSON: %s", records[0].Body)
	}
	d, err := train(records[:100])
	if err != nil {
		t.Fatal(err)
	}
	f := func(d *dictionary, most int) {
		t.Helper()
		p, err := newPacker(d)
		if err != nil {
			t.Fatal(err)
		}
		c := codecWith(t, d)
		plain, packed := 0, 0
		for _, r := range records[100:] {
			data := p.pack(nil, r)
			got, err := c.unpack(t.Context(), object.Packed{Head: r.Head, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r, got) {
				t.Fatal(cmp.Diff(r, got))
			}
			plain, packed = plain+len(r.Body)+len(r.Cells), packed+len(data)
		}
		if got := packed / 200; got > most {
			t.Errorf("%d bytes per pod of %d, want at most %d", got, plain/200, most)
		}
	}
	f(nil, 2200)
	f(d, 600)
}

// Whatever a resource's objects are like, training must not fail in a way that
// stops the log.
func TestTrainOnOddRecords(t *testing.T) {
	f := func(name string, body func(i int) string) {
		t.Helper()
		var records []object.Record
		for i := range 100 {
			records = append(records, object.Record{Body: []byte(body(i))})
		}
		d, err := train(records)
		if err != nil {
			t.Logf("%s: %v", name, err)
			d = nil
		}
		p, err := newPacker(d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range records {
			got, err := codecWith(t, d).unpack(t.Context(), object.Packed{Data: p.pack(nil, r)})
			if err != nil || string(got.Body) != string(r.Body) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	random := newPods(2)
	f("identical", func(int) string { return strings.Repeat(`{"a":"b"}`, 50) })
	f("tiny", func(i int) string { return fmt.Sprint(i) })
	f("small", func(i int) string { return fmt.Sprintf(`{"metadata":{"name":"n%d","uid":"%s"}}`, i, random.uid()) })
	f("one byte", func(int) string { return "x" })
	f("random", func(int) string { return random.hex(500) })
	f("huge", func(int) string { return strings.Repeat(random.hex(100), 2000) })
}

func TestUnpackGarbage(t *testing.T) {
	c := codecWith(t, nil)
	p, err := newPacker(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := p.pack(nil, newPods(3).records(1)[0])
	f := func(data []byte) {
		t.Helper()
		if _, err := c.unpack(context.Background(), object.Packed{Data: data}); err == nil {
			t.Errorf("unpacked %x", data)
		}
	}
	f([]byte{9, 0, 0, 0, 0})
	f([]byte{1, 0, 0, 0})
	f([]byte{1, 0, 0, 0, 0})
	f([]byte{1, 0, 0, 0, 0, 1, 2, 3})
	f(good[:len(good)-3])
	f(append(good[:packedHead:packedHead], good[packedHead+4:]...))
}

func BenchmarkPack(b *testing.B) {
	records := newPods(1).records(1256)
	training, records := records[:256], records[256:]
	own, err := train(training)
	if err != nil {
		b.Fatal(err)
	}
	f := func(name string, d *dictionary) {
		b.Run(name, func(b *testing.B) {
			p, err := newPacker(d)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var data []byte
			var packed, plain, n int
			for b.Loop() {
				r := records[n%len(records)]
				data = p.pack(data[:0], r)
				plain, packed, n = plain+len(r.Body)+len(r.Cells), packed+len(data), n+1
			}
			b.ReportMetric(float64(packed)/float64(n), "packed-B")
			b.ReportMetric(float64(plain)/float64(n), "plain-B")
		})
	}
	f("none", nil)
	f("own", own)
	f("peer", peerDictionary(b, training))
}

// peerDictionary is what klauspost/compress/dict makes of the same records.
func peerDictionary(b *testing.B, records []object.Record) *dictionary {
	var samples [][]byte
	for _, r := range records {
		samples = append(samples, appendPlain(nil, r))
	}
	content, err := dict.BuildZstdDict(samples, dict.Options{MaxDictSize: historySize, HashBytes: 6, ZstdDictID: 1 << 15, ZstdLevel: zstd.SpeedFastest})
	if err != nil {
		b.Fatal(err)
	}
	d, err := newDictionary(content)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func BenchmarkUnpack(b *testing.B) {
	records := newPods(1).records(1256)
	d, err := train(records[:256])
	if err != nil {
		b.Fatal(err)
	}
	p, err := newPacker(d)
	if err != nil {
		b.Fatal(err)
	}
	var packed []object.Packed
	for _, r := range records[256:] {
		packed = append(packed, object.Packed{Head: r.Head, Data: p.pack(nil, r)})
	}
	c := codecWith(b, d)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := c.unpack(b.Context(), packed[n%len(packed)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func BenchmarkTrain(b *testing.B) {
	records := newPods(1).records(512)
	for b.Loop() {
		if _, err := train(records); err != nil {
			b.Fatal(err)
		}
	}
}
