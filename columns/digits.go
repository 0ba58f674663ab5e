package columns

import (
	"encoding/binary"
	"math/bits"
)

// The eight bytes of a word, the lowest first, are eight letters. Numbers and letters are made of each other in three steps, of neighbours
// two, four and eight digits wide; see D. Lemire, "Quickly parsing eight digits", 2018, and P. Khuong, "How to print integers really
// fast", 2017.

const (
	digits      = ones * '0'
	nibbles     = ones * 0x0F
	tenMillions = 100_000_000 // what eight digits are less than
)

// readAhead is how many bytes there must be behind the last field of a column whose digits are read, eight at a time.
const readAhead = 8

// areDigits reports whether all eight letters are.
func areDigits(x uint64) bool {
	return x&^nibbles == digits && (x+ones*6)&^nibbles == digits
}

// eightDigits is the number that eight digits write.
func eightDigits(x uint64) uint64 {
	x = (x & nibbles) * (10<<8 + 1) >> 8
	x = (x & 0x00FF00FF00FF00FF) * (100<<16 + 1) >> 16
	return (x & 0x0000FFFF0000FFFF) * (10000<<32 + 1) >> 32
}

// spread is the reverse: the digits of a number below a hundred million, each a byte from 0 to 9.
func spread(v uint64) uint64 {
	x := v/10000 | v%10000<<32
	hundreds := x * 10486 >> 20 & 0x0000007F0000007F
	x = hundreds | (x-100*hundreds)<<16
	tens := x * 103 >> 10 & 0x000F000F000F000F
	return tens | (x-10*tens)<<8
}

// mostDigits is how many digits a number may have, so that it fits an int64 whatever they are.
const mostDigits = 18

// tenTo are powers of ten.
var tenTo = [mostDigits + 1]int64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
}

// parseDigits reads a number of up to mostDigits digits, one behind the other, of which there are eight bytes at least to be read
// from at on.
func parseDigits(b []byte, at, n int) (v int64, ok bool) {
	for n > 8 {
		x := binary.LittleEndian.Uint64(b[at:])
		if !areDigits(x) {
			return 0, false
		}
		v = v*tenMillions + int64(eightDigits(x))
		at += 8
		n -= 8
	}
	missing := uint(8-n) * 8
	x := binary.LittleEndian.Uint64(b[at:])<<missing | digits&(1<<missing-1)
	return v*tenTo[n] + int64(eightDigits(x)), areDigits(x)
}

// parseDecimal reads b[at:at+n]: an integer, or, if scale is not 0, one with so many digits behind a point. ok is false if it is not
// written as putDecimal writes it. Behind it there are eight bytes to be read at least.
func parseDecimal(b []byte, at, n, scale int) (v int64, ok bool) {
	if n == 0 {
		return 0, false
	}
	negative := b[at] == '-'
	if negative {
		at++
		n--
	}
	whole := n
	if scale > 0 {
		whole = n - scale - 1
	}
	if whole < 1 || whole+scale > mostDigits || b[at] == '0' && whole > 1 {
		return 0, false
	}
	if v, ok = parseDigits(b, at, whole); !ok {
		return 0, false
	}
	if scale > 0 {
		behind, ok := parseDigits(b, at+whole+1, scale)
		if !ok || b[at+whole] != '.' {
			return 0, false
		}
		v = v*tenTo[scale] + behind
	}
	if negative {
		return -v, v != 0
	}
	return v, true
}

// mostLetters is how many bytes behind where it begins putDecimal may change: as many as there are of a sign, mostDigits digits
// and a point, and what eight letters are more than the last of them.
const mostLetters = 1 + mostDigits + 1 + 8

// putDecimal writes a number, which has at most mostDigits digits, and returns how long it is. scale digits are behind a point, and one
// at least before it.
func putDecimal(b *[mostLetters]byte, v int64, scale int) (n int) {
	sign := 0
	if v < 0 {
		b[0] = '-'
		v, sign = -v, 1
	}
	if v >= tenMillions || scale >= 8 {
		return sign + putLong(b[sign:], uint64(v), scale)
	}
	x := spread(uint64(v))
	leading := min(bits.TrailingZeros64(x)>>3, 7-scale)
	x = (x + digits) >> (8 * leading)
	binary.LittleEndian.PutUint64(b[sign:], x)
	n = sign + 8 - leading
	if scale > 0 {
		whole := 8 - leading - scale
		binary.LittleEndian.PutUint64(b[sign+whole+1:], x>>(8*whole))
		b[sign+whole] = '.'
		n++
	}
	return n
}

// putLong is putDecimal for any digits.
func putLong(b []byte, u uint64, scale int) (n int) {
	n = scale + 1
	for n < mostDigits && u >= uint64(tenTo[n]) {
		n++
	}
	for i := n - 1; i >= 0; i-- {
		b[i] = byte('0' + u%10)
		u /= 10
	}
	if scale > 0 {
		copy(b[n-scale+1:n+1], b[n-scale:n])
		b[n-scale] = '.'
		n++
	}
	return n
}
