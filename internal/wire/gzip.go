package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Chunk is compressed text that may stand anywhere in a gzip stream: it refers to
// nothing before it and ends at a byte boundary without ending the stream. A
// Chunk is never changed; share it freely.
type Chunk struct {
	Data   []byte // deflate blocks and a sync marker, no final block (RFC 1951)
	CRC    uint32 // of the text, IEEE
	Length int64  // of the text in bytes
	shift  uint32 // shiftCRC(Length); 0 if not computed
}

// compressionLevel is klauspost's; see BenchmarkCompressLevels.
const compressionLevel = 5

// Compressor makes chunks. Any number of goroutines may use it; it keeps the
// encoders that are idle, about 1 MB each. NewCompressor makes it.
type Compressor struct {
	idle sync.Pool
}

// encoder is a flate.Writer and what it has written.
type encoder struct {
	*flate.Writer
	out []byte
}

type output struct{ to *encoder }

func (o output) Write(p []byte) (int, error) {
	o.to.out = append(o.to.out, p...)
	return len(p), nil
}

// NewCompressor returns a Compressor.
func NewCompressor() *Compressor {
	return &Compressor{idle: sync.Pool{New: func() any {
		e := &encoder{}
		var err error
		if e.Writer, err = flate.NewWriter(output{e}, compressionLevel); err != nil {
			panic("BUG: " + err.Error())
		}
		return e
	}}}
}

// Compress returns text as a Chunk. Chunks of 64 to 100 objects compress well;
// smaller ones lose much of the ratio.
func (c *Compressor) Compress(text []byte) Chunk {
	e := c.idle.Get().(*encoder)
	defer c.idle.Put(e)
	e.out = e.out[:0]
	e.Reset(output{e}) // so that nothing refers to the chunk before
	_, err := e.Write(text)
	if err == nil {
		err = e.Flush()
	}
	if err != nil {
		panic("BUG: compress into memory: " + err.Error())
	}
	length := int64(len(text))
	return Chunk{Data: bytes.Clone(e.out), CRC: crc32.ChecksumIEEE(text), Length: length, shift: shiftCRC(length)}
}

// gzipHeader is a member's head of RFC 1952: deflate, no name, no time, an
// unknown system.
const gzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

// maxStored is how much text a stored block holds.
const maxStored = 1<<16 - 1

// Gzip assembles one gzip member out of chunks and literal text. The zero value
// is an empty member. It copies no chunk.
type Gzip struct {
	parts  [][]byte
	stored []byte // the stored blocks behind the last chunk; the last one may grow
	last   int    // where the last stored block's text begins
	size   int64  // of parts
	crc    uint32
	length int64
}

// Literal adds text as it is, for the short pieces between chunks. It costs 5
// bytes unless it follows another literal.
func (g *Gzip) Literal(text []byte) {
	g.crc = crc32.Update(g.crc, crc32.IEEETable, text)
	g.length += int64(len(text))
	for len(text) > 0 {
		if len(g.stored) == 0 || len(g.stored)-g.last == maxStored {
			g.stored = append(g.stored, 0, 0, 0, 0xff, 0xff)
			g.last = len(g.stored)
		}
		n := min(len(text), maxStored-(len(g.stored)-g.last))
		g.stored = append(g.stored, text[:n]...)
		text = text[n:]
		length := uint16(len(g.stored) - g.last)
		binary.LittleEndian.PutUint16(g.stored[g.last-4:], length)
		binary.LittleEndian.PutUint16(g.stored[g.last-2:], ^length)
	}
}

// Chunk adds a chunk.
func (g *Gzip) Chunk(c Chunk) {
	if c.shift == 0 {
		c.shift = shiftCRC(c.Length)
	}
	g.crc = multiplyCRC(g.crc, c.shift) ^ c.CRC
	g.length += c.Length
	g.closeStored()
	g.add(c.Data)
}

func (g *Gzip) closeStored() {
	if len(g.stored) > 0 {
		g.add(g.stored)
		g.stored = nil
	}
}

func (g *Gzip) add(part []byte) {
	if len(g.parts) == 0 {
		g.parts = append(g.parts, []byte(gzipHeader))
		g.size = int64(len(gzipHeader))
	}
	g.parts = append(g.parts, part)
	g.size += int64(len(part))
}

// Finish returns the member. The Gzip must not be used afterwards.
func (g *Gzip) Finish() Member {
	g.closeStored()
	trailer := []byte{0x03, 0x00} // a final block of nothing, with the fixed codes
	trailer = binary.LittleEndian.AppendUint32(trailer, g.crc)
	trailer = binary.LittleEndian.AppendUint32(trailer, uint32(g.length))
	g.add(trailer)
	return Member{Parts: g.parts, Length: g.size}
}

// Member is a whole gzip stream.
type Member struct {
	Parts  [][]byte // in order; shared with the chunks: do not write to them
	Length int64    // of all parts: the Content-Length
}

// WriteTo writes the member piece by piece; buffer w if that is costly.
func (m Member) WriteTo(w io.Writer) (written int64, err error) {
	for _, part := range m.Parts {
		n, err := w.Write(part)
		written += int64(n)
		if err != nil {
			return written, fmt.Errorf("write gzip: %w", err)
		}
	}
	return written, nil
}
