package embedded

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// A block is the samples of some series in one window of one metric:
//
//	header   times (their union, ascending), series ids (ascending)
//	payload  per series, compressed as a whole: which of the times it has, its first value,
//	         the greatest common divisor of its residuals; then the residuals of all
//	         series as planes: all lowest bytes, all second bytes, …
//
// Residuals are value - least value, or value - value before, whichever is smaller. Dividing
// them takes out what page-sized memory and microsecond counters have in common.
// Planes leave entropy coding to zstd, which does it better than packing bits: rare spikes
// cost little. Integers and floats' bits are the same to it: every bit comes back.

var errBlock = errors.New("a block of the metric database cannot be read")

// column is one series' samples in a window: times ascending, each once.
type column struct {
	id     uint64
	times  []int64
	values []int64
}

// codec encodes and decodes. It is safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, err
	}
	return &codec{enc: enc, dec: dec}, nil
}

// encode makes a block of columns, which are sorted by id and not empty.
func (c *codec) encode(columns []column) []byte {
	times := union(columns)
	header := binary.AppendUvarint(nil, uint64(len(times)))
	var before int64
	for _, at := range times {
		header = binary.AppendVarint(header, at-before)
		before = at
	}
	header = binary.AppendUvarint(header, uint64(len(columns)))
	var last uint64
	for _, column := range columns {
		header = binary.AppendUvarint(header, column.id-last)
		last = column.id
	}
	block := binary.AppendUvarint(nil, uint64(len(header)))
	block = append(block, header...)
	return c.enc.EncodeAll(payload(columns, times), block)
}

func union(columns []column) []int64 {
	times := slices.Clone(columns[0].times)
	for _, column := range columns[1:] {
		if !slices.Equal(column.times, times) {
			times = append(times, column.times...)
			slices.Sort(times)
			times = slices.Compact(times)
		}
	}
	return times
}

func payload(columns []column, times []int64) []byte {
	var head, residuals []byte
	var all []uint64
	for i := range columns {
		head = presence(head, columns[i].times, times)
		head, all = residualsOf(head, all, columns[i].values)
	}
	var widest uint64
	for _, r := range all {
		widest |= r
	}
	planes := (bits.Len64(widest) + 7) / 8
	residuals = make([]byte, 0, planes*len(all))
	for plane := range planes {
		for _, r := range all {
			residuals = append(residuals, byte(r>>(8*plane)))
		}
	}
	out := binary.AppendUvarint(nil, uint64(len(head)))
	out = append(out, head...)
	out = append(out, byte(planes))
	return append(out, residuals...)
}

// presence writes 0 for a series that has all times, else 1 and a bitmap.
func presence(head []byte, has, times []int64) []byte {
	if len(has) == len(times) {
		return append(head, 0)
	}
	bitmap := make([]byte, (len(times)+7)/8)
	i := 0
	for k, at := range times {
		if i < len(has) && has[i] == at {
			bitmap[k/8] |= 1 << (k % 8)
			i++
		}
	}
	return append(append(head, 1), bitmap...)
}

// residualsOf appends a series' parameters to head and its residuals to all. A
// divisor of 0 says that all values are the first; an odd mode that residuals are
// steps.
func residualsOf(head []byte, all []uint64, values []int64) ([]byte, []uint64) {
	if len(values) == 1 {
		return binary.AppendVarint(head, values[0]), all
	}
	least := slices.Min(values)
	var levelDivisor, stepDivisor uint64
	levelBits, stepBits := 0, 0
	for i, v := range values {
		level := uint64(v) - uint64(least)
		levelDivisor = gcd(levelDivisor, level)
		levelBits += bits.Len64(level)
		if i > 0 {
			step := v - values[i-1]
			stepDivisor = gcd(stepDivisor, magnitude(step))
			stepBits += bits.Len64(zigzag(step))
		}
	}
	if levelDivisor == 0 { // constant
		head = binary.AppendVarint(append(head, 0), values[0])
		return append(head, 0), all
	}
	if levelBits-len(values)*bits.Len64(levelDivisor) <= stepBits-len(values)*bits.Len64(stepDivisor) {
		head = binary.AppendVarint(append(head, 0), least)
		for _, v := range values {
			all = append(all, (uint64(v)-uint64(least))/levelDivisor)
		}
		return binary.AppendUvarint(head, levelDivisor), all
	}
	head = binary.AppendVarint(append(head, 1), values[0])
	for i := 1; i < len(values); i++ {
		step := values[i] - values[i-1]
		quotient := int64(magnitude(step) / stepDivisor)
		if step < 0 {
			quotient = -quotient
		}
		all = append(all, zigzag(quotient))
	}
	return binary.AppendUvarint(head, stepDivisor), all
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
