package metrics

import (
	"encoding/binary"
	"math/bits"
)

// A block is how 64 rows of a column changed in a frame. Its parts, in this order:
//
//	flags                     1 byte
//	flip                      8 bytes, if flagMask: the rows whose presence changed
//	extra                     8 bytes, if flagExtra: absent rows that have a change, too
//	unit, width, base         2 bytes and a varint, if flagPacked
//	exceptions                1 byte and 9 bytes each, if flagExceptions: row, change
//	residuals                 width bits for each present (or extra) row, if flagPacked
//
// The change of a row is base + residual·unit, unless it is an exception; without
// flagPacked it is 0. Of rates it is the value itself, and without flagPacked that is
// what RateBetween says. What is not in a frame at all did not change.
const (
	flagMask = 1 << iota
	flagExtra
	flagPacked
	flagExceptions
)

const (
	blockRows     = 64
	exceptionSize = 9
	maxTrim       = 8 // exceptions at either end of a block's values
)

// Units up to 63 are shifts; these are decimal.
const (
	unitMicro = 64 + iota
	unitMilli
	unitSecond
	units
)

func unitOf(code byte) uint64 {
	switch code {
	case unitMicro:
		return 1e3
	case unitMilli:
		return 1e6
	case unitSecond:
		return 1e9
	default:
		return 1 << (code & 63)
	}
}

// block is a block's parts, as slices of the frame.
type block struct {
	flags       byte
	flip, extra uint64
	width       uint
	unit        uint64
	base        int64
	exceptions  []byte
	residuals   []byte
}

// readBlock takes a block apart; ok is false if it is none.
func readBlock(data []byte) (b block, ok bool) {
	if len(data) == 0 {
		return b, false
	}
	b.flags, data = data[0], data[1:]
	if b.flags&flagMask != 0 {
		if len(data) < 8 {
			return b, false
		}
		b.flip, data = binary.LittleEndian.Uint64(data), data[8:]
	}
	if b.flags&flagExtra != 0 {
		if len(data) < 8 {
			return b, false
		}
		b.extra, data = binary.LittleEndian.Uint64(data), data[8:]
	}
	if b.flags&flagPacked != 0 {
		if len(data) < 3 || data[0] >= units || data[1] > 64 {
			return b, false
		}
		b.unit, b.width = unitOf(data[0]), uint(data[1])
		base, n := binary.Varint(data[2:])
		if n <= 0 {
			return b, false
		}
		b.base, data = base, data[2+n:]
	}
	if b.flags&flagExceptions != 0 {
		if len(data) < 1 || len(data)-1 < int(data[0])*exceptionSize {
			return b, false
		}
		n := int(data[0]) * exceptionSize
		b.exceptions, data = data[1:1+n], data[1+n:]
	}
	b.residuals = data
	return b, true
}

// holds says whether all residuals are there, for rows that are present afterwards.
func (b *block) holds(present uint64) bool {
	if b.flags&flagPacked == 0 {
		return len(b.residuals) == 0
	}
	return (uint(bits.OnesCount64(present|b.extra))*b.width+7)/8 == uint(len(b.residuals))
}

// exception returns the change of a row that is an exception.
func (b *block) exception(bit uint) (int64, bool) {
	for e := b.exceptions; len(e) >= exceptionSize; e = e[exceptionSize:] {
		if uint(e[0]) == bit {
			return int64(binary.LittleEndian.Uint64(e[1:])), true
		}
	}
	return 0, false
}

// change returns how one row changed; present are the rows that are there afterwards.
// It is false for what is not in the block.
func (b *block) change(present uint64, bit uint) (int64, bool) {
	if v, ok := b.exception(bit); ok {
		return v, true
	}
	rows := present | b.extra
	if b.flags&flagPacked == 0 || rows&(1<<bit) == 0 {
		return 0, false
	}
	index := uint(bits.OnesCount64(rows & (1<<bit - 1)))
	return b.base + int64(unpack(b.residuals, index, b.width)*b.unit), true
}

// changes writes the changes of all rows in the block into to, by row, and returns
// which rows these are.
func (b *block) changes(present uint64, to *[blockRows]int64) (rows uint64) {
	if b.flags&flagPacked != 0 {
		rows = present | b.extra
		index := uint(0)
		for left := rows; left != 0; left &= left - 1 {
			to[bits.TrailingZeros64(left)] = b.base + int64(unpack(b.residuals, index, b.width)*b.unit)
			index++
		}
	}
	for e := b.exceptions; len(e) >= exceptionSize; e = e[exceptionSize:] {
		bit := e[0] & (blockRows - 1)
		to[bit] = int64(binary.LittleEndian.Uint64(e[1:]))
		rows |= 1 << bit
	}
	return rows
}

// unpack returns the index-th number of width bits; 0 beyond the end.
func unpack(data []byte, index, width uint) uint64 {
	if width == 0 {
		return 0
	}
	at := index * width
	byteAt, shift := at>>3, at&7
	if int(byteAt) >= len(data) {
		return 0
	}
	data = data[byteAt:]
	var word uint64
	if len(data) >= 8 {
		word = binary.LittleEndian.Uint64(data) >> shift
		if shift+width > 64 && len(data) > 8 {
			word |= uint64(data[8]) << (64 - shift)
		}
	} else {
		for i := len(data) - 1; i >= 0; i-- {
			word = word<<8 | uint64(data[i])
		}
		word >>= shift
	}
	return word & (^uint64(0) >> (64 - width))
}

// draft is a block that is being made.
type draft struct {
	flip, extra uint64
	n           int // changes
	change      [blockRows]int64
	row         [blockRows]uint8
	exceptions  int // without packing: the first of change and row are exceptions
}

// add puts a row's change into the draft.
func (d *draft) add(row uint8, change int64) {
	d.change[d.n&(blockRows-1)], d.row[d.n&(blockRows-1)] = change, row
	d.n++
}

// appendSparse writes a block whose changes are all exceptions.
func (d *draft) appendSparse(dst []byte) []byte {
	at := len(dst)
	dst = d.appendMasks(append(dst, 0))
	if d.n > 0 {
		dst[at] |= flagExceptions
		dst = append(dst, byte(d.n))
		for i := range d.n {
			dst = append(dst, d.row[i])
			dst = binary.LittleEndian.AppendUint64(dst, uint64(d.change[i]))
		}
	}
	return dst
}

func (d *draft) appendMasks(dst []byte) []byte {
	at := len(dst) - 1
	if d.flip != 0 {
		dst[at] |= flagMask
		dst = binary.LittleEndian.AppendUint64(dst, d.flip)
	}
	if d.extra != 0 {
		dst[at] |= flagExtra
		dst = binary.LittleEndian.AppendUint64(dst, d.extra)
	}
	return dst
}

// appendPacked writes a block with the changes of all rows that are there.
func (d *draft) appendPacked(dst []byte) []byte {
	at := len(dst)
	dst = d.appendMasks(append(dst, flagPacked))
	low, high := window(d.change[:d.n])
	outside := 0
	var all uint64
	for _, v := range d.change[:d.n] {
		if v < low || v > high {
			outside++
			continue
		}
		all |= uint64(v) - uint64(low)
	}
	code := unitFor(d.change[:d.n], low, high, all)
	unit := unitOf(code)
	width := uint(bits.Len64((uint64(high) - uint64(low)) / unit))
	dst = append(dst, code, byte(width))
	dst = binary.AppendVarint(dst, low)
	if outside > 0 {
		dst[at] |= flagExceptions
		dst = append(dst, byte(outside))
		for i, v := range d.change[:d.n] {
			if v < low || v > high {
				dst = append(dst, d.row[i])
				dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
			}
		}
	}
	if width == 0 {
		return dst
	}
	return d.appendResiduals(dst, low, high, code, width)
}

func (d *draft) appendResiduals(dst []byte, low, high int64, code byte, width uint) []byte {
	unit := unitOf(code)
	var word uint64
	var used uint
	for _, v := range d.change[:d.n] {
		var residual uint64
		if v >= low && v <= high {
			residual = uint64(v) - uint64(low)
			if code < unitMicro {
				residual >>= code
			} else {
				residual /= unit
			}
		}
		word |= residual << used
		used += width
		if used >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, word)
			used -= 64
			word = residual >> (width - used) // 0 if the shift is 64
		}
	}
	for ; used > 0; used -= min(used, 8) {
		dst = append(dst, byte(word))
		word >>= 8
	}
	return dst
}

// unitFor returns the largest unit that divides all residuals within the window.
func unitFor(values []int64, low, high int64, all uint64) byte {
	if all == 0 {
		return 0
	}
	shift := bits.TrailingZeros64(all)
	if all>>shift < 1e3 {
		return byte(shift)
	}
	best := byte(shift)
	for code := byte(unitMicro); code <= unitSecond; code++ {
		unit := unitOf(code)
		if unit < 1<<shift {
			continue
		}
		for _, v := range values {
			if v >= low && v <= high && (uint64(v)-uint64(low))%unit != 0 {
				return best
			}
		}
		best = code
	}
	return best
}

// window returns the range of values that are worth packing; those outside are
// cheaper as exceptions.
func window(values []int64) (low, high int64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	full := bits.Len64(uint64(high) - uint64(low))
	if full <= 2 || len(values) < 8 {
		return low, high
	}
	var lows, highs [maxTrim + 1]int64
	ends(values, &lows, &highs)
	best, trim := full*len(values), min(maxTrim, len(values)/3)
	for a := range trim + 1 {
		for b := range trim + 1 {
			if lows[a] > highs[b] {
				break
			}
			cost := bits.Len64(uint64(highs[b])-uint64(lows[a]))*len(values) + (a+b)*exceptionSize*8
			if cost < best {
				best, low, high = cost, lows[a], highs[b]
			}
		}
	}
	return low, high
}

// ends finds the least and the greatest values, in order.
func ends(values []int64, lows, highs *[maxTrim + 1]int64) {
	for i := range lows {
		lows[i], highs[i] = 1<<63-1, -1<<63
	}
	for _, v := range values {
		if v < lows[maxTrim] {
			i := maxTrim
			for ; i > 0 && lows[i-1] > v; i-- {
				lows[i] = lows[i-1]
			}
			lows[i] = v
		}
		if v > highs[maxTrim] {
			i := maxTrim
			for ; i > 0 && highs[i-1] < v; i-- {
				highs[i] = highs[i-1]
			}
			highs[i] = v
		}
	}
}
