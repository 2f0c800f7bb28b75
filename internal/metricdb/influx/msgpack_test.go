package influx

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

func bigText(prefix byte, size int, text string) string {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(text)))
	return string([]byte{prefix}) + string(n[8-size:]) + text
}

func float64Of(f float64) string {
	return "\xcb" + string(binary.BigEndian.AppendUint64(nil, math.Float64bits(f)))
}

const head, tail = "\x81\xa7results\x91\x82\xacstatement_id\x00\xa6series\x91\x84\xa4name\xa1m\xa4tags\x82\xa1b\xa1y\xa1a\xa0\xa7columns\x92\xa4time\xa1v\xa6values", "\x81\xa7results\x91\x82\xacstatement_id\x00\xa7partial\xc3"

// TestUnpack reads every form of value, in chunks and byte by byte.
func TestUnpack(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	text := head + "\x9b" + "\x92\x01\x7f" + "\x92\xff\xe0" + "\x92\xcc\xff\xd0\x80" + "\x92\xcd\x01\x00\xd1\xff\x00" + "\x92\xce\x00\x01\x00\x00\xd2\xff\xff\x00\x00" +
		"\x92\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xd3\x80\x00\x00\x00\x00\x00\x00\x00" + "\x92\xc0\xc3" + "\x92" + float64Of(-2.5) + "\xca\x3f\x80\x00\x00" +
		"\x92" + bigText(0xd9, 1, "é\"]") + bigText(0xda, 2, strings.Repeat("y", 300)) + "\x92\xa0" + bigText(0xdb, 4, long) + "\x90" + tail
	for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
		var got []row
		var one series
		err := readAnswer(r, func(s *series, r row) bool {
			one = *s
			got = append(got, append(row(nil), r...))
			return true
		})
		if err != nil || len(got) != 11 || one.name != "m" || len(one.tags) != 1 || one.tags.Get("b") != "y" || !cmp.Equal(one.columns, []string{"time", "v"}) {
			t.Fatalf("%d rows of %+v: %v", len(got), one, err)
		}
		ints := [][2]int64{{1, 127}, {-1, -32}, {255, -128}, {256, -256}, {65536, -65536}, {1 << 32, math.MinInt64}}
		for i, want := range ints {
			if have := [2]int64{got[i].int(0), got[i].int(1)}; have != want {
				t.Errorf("row %d: %v, want %v", i, have, want)
			}
		}
		if !got[6].null(0) || got[6].null(1) || !got[10].null(0) || got[7].number(0) != metricdb.Float(-2.5) || got[7].number(1) != metricdb.Float(1) {
			t.Errorf("%+v, %+v", got[6], got[7])
		}
		if got[8].text(0) != "é\"]" || len(got[8].text(1)) != 300 || got[9].text(0) != "" || got[9].text(1) != long {
			t.Error("texts differ")
		}
		if got[0].value(1, true) != metricdb.Float(127) || got[7].value(0, false) != metricdb.Int(-2) || got[0].total(1) != (metricdb.Total{Int: 127, Exact: true}) {
			t.Error("numbers are not converted")
		}
	}
}

// TestUnpackBroken reads answers that end early, or are none.
func TestUnpackBroken(t *testing.T) {
	whole := head + "\x92\x92\x01\x02\x92\x03\xa3abc"
	for end := 1; end < len(whole); end++ {
		if err := readAnswer(strings.NewReader(whole[:end]), func(*series, row) bool { return true }); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, metricdb.ErrUnavailable) {
			t.Fatalf("cut after %d bytes: %v", end, err)
		}
	}
	f := func(text, want string) {
		t.Helper()
		if err := readAnswer(strings.NewReader(text), func(*series, row) bool { return true }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", text, err, want)
		}
	}
	f(`{"results":[]}`, "no MessagePack")
	f("\x81\xa7results\x05", "kind")
	f("\x81\xa7results\x91\x81\xa6series\xc1", "0xc1")
	f("\x81\xa5error\xa4oops", "InfluxDB answers: oops")
	f("\x81\xa7results\x91\x81\xa5error\xa4oops", "InfluxDB answers: oops")
	f(head+"\x91\x92\x01\x90", "no value")
	f("\x81\xa7results\x91\x81\xa6series\x91\x81\xa4name"+"\xdb\x7f\xff\xff\xff", "limit")
	f("\x81\xa7results\xdd\xff\xff\xff\xff", "unexpected EOF")
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte(head + "\x92\x92\x01\x02\x92\x03\xa3abc" + tail))
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = readAnswer(strings.NewReader(string(text)), func(*series, row) bool { return true })
	})
}
