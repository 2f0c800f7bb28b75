package wire

import "hash/crc32"

// CRC-32 is the remainder of the text, read as a polynomial over GF(2), modulo
// the IEEE polynomial, with its bits reversed: the highest bit is x⁰. What stands
// behind a text multiplies the text's remainder by x⁸ per byte, so the sum of two
// texts follows from the sums of both without reading them again:
//
//	crc(a+b) = crc(a)·x^(8·len(b)) + crc(b)

// combineCRC returns the sum of a text whose parts have the sums first and
// second; the second part is length bytes long.
func combineCRC(first, second uint32, length int64) uint32 {
	return multiplyCRC(first, shiftCRC(length)) ^ second
}

// shiftCRC returns x^(8·length), in as many steps as length has bits.
func shiftCRC(length int64) uint32 {
	power, square := uint32(1)<<31, uint32(1)<<23
	for ; length > 0; length >>= 1 {
		if length&1 != 0 {
			power = multiplyCRC(power, square)
		}
		square = multiplyCRC(square, square)
	}
	return power
}

// multiplyCRC multiplies modulo the IEEE polynomial.
func multiplyCRC(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		b = b>>1 ^ crc32.IEEE&-(b&1)
	}
	return product
}
