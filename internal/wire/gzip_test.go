package wire

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCombineCRC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOf(rapid.Byte()).Draw(t, "a"), rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		got := combineCRC(crc32.ChecksumIEEE(a), crc32.ChecksumIEEE(b), int64(len(b)))
		if want := crc32.ChecksumIEEE(append(a, b...)); got != want {
			t.Fatalf("got %08x, want %08x", got, want)
		}
	})
	// Lengths beyond what is worth drawing: zeros behind a text.
	sum := crc32.ChecksumIEEE([]byte("text"))
	for range 25 {
		zeros := make([]byte, rand.IntN(3_000_000))
		if got, want := combineCRC(sum, crc32.ChecksumIEEE(zeros), int64(len(zeros))), crc32.Update(sum, crc32.IEEETable, zeros); got != want {
			t.Fatalf("%d zeros: got %08x, want %08x", len(zeros), got, want)
		}
	}
}

// TestGzip assembles members of literals and chunks in any order; Go's reader
// must find the same text, its sum and nothing behind it.
func TestGzip(t *testing.T) {
	c := NewCompressor()
	rapid.Check(t, func(t *rapid.T) {
		var g Gzip
		var want bytes.Buffer
		for range rapid.IntRange(0, 8).Draw(t, "parts") {
			text := rapid.SliceOf(rapid.Byte()).Draw(t, "text")
			if rapid.IntRange(0, 4).Draw(t, "long") == 0 { // around what a stored block holds
				text = bytes.Repeat(append(text, 'x'), maxStored/(len(text)+1)+rapid.IntRange(0, 2).Draw(t, "more"))
			}
			want.Write(text)
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				g.Chunk(c.Compress(text))
			case 1:
				chunk := c.Compress(text)
				g.Chunk(Chunk{Data: chunk.Data, CRC: chunk.CRC, Length: chunk.Length})
			default:
				g.Literal(text)
			}
		}
		member := g.Finish()
		var out bytes.Buffer
		if n, err := member.WriteTo(&out); err != nil || n != member.Length || int64(out.Len()) != n {
			t.Fatalf("wrote %d of %d, %v", n, member.Length, err)
		}
		r, err := gzip.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		r.Multistream(false)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("read %d bytes of %d, %v", len(got), want.Len(), err)
		}
		if out.Len() != 0 {
			t.Fatalf("%d bytes behind the member", out.Len())
		}
	})
}

func TestGzipLiterals(t *testing.T) {
	for _, size := range []int{0, 1, maxStored - 1, maxStored, maxStored + 1, 3*maxStored + 7} {
		var g Gzip
		text := strings.Repeat("a", size)
		for part := range strings.SplitSeq(text, strings.Repeat("a", 1+size/3)) {
			g.Literal([]byte(part)) // empty ones too
		}
		g.Literal([]byte(text))
		r, err := gzip.NewReader(bytes.NewReader(bytes.Join(g.Finish().Parts, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(got), text) {
			t.Errorf("%d: read %d, %v", size, len(got), err)
		}
	}
}

// TestCompressorShares uses one compressor from several goroutines; run with -race.
func TestCompressorShares(t *testing.T) {
	c := NewCompressor()
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			text := bytes.Repeat(fmt.Append(nil, "text ", i), 1000+i)
			var g Gzip
			for range 20 {
				g.Chunk(c.Compress(text))
			}
			r, err := gzip.NewReader(bytes.NewReader(bytes.Join(g.Finish().Parts, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, bytes.Repeat(text, 20)) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
}
