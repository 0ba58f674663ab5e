package columns

import (
	"encoding/binary"
	"math/bits"
)

const (
	newline = '\n'
	quote   = '"'
)

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// zeros has the top bit of the lowest zero byte of x set, and none below it; those above may be anything. The method is Alan
// Mycroft's.
func zeros(x uint64) uint64 { return (x - ones) &^ x & tops }

// ends returns how many of sixteen bytes come before the first that is one of two, each of which is given eight times; 16 if
// none is. It has no branches, for nobody can foresee how long fields are.
func ends(low, high, first, second uint64) int {
	n := bits.TrailingZeros64(zeros(low^first)|zeros(low^second)) >> 3
	return n + bits.TrailingZeros64(zeros(high^first)|zeros(high^second))>>3&-(n>>3)
}

// after returns where the text goes on behind the first byte, from at on, that is one of two; or its end, and false.
func after(text []byte, at int, first, second byte) (int, bool) {
	x, y := ones*uint64(first), ones*uint64(second)
	for ; at+16 <= len(text); at += 16 {
		low, high := binary.LittleEndian.Uint64(text[at:]), binary.LittleEndian.Uint64(text[at+8:])
		if n := ends(low, high, x, y); n < 16 {
			return at + n + 1, true
		}
	}
	for ; at < len(text); at++ {
		if text[at] == first || text[at] == second {
			return at + 1, true
		}
	}
	return at, false
}

// quoted returns where the quoted parts end that begin at a field's beginning; ended says that the field does, too.
func quoted(text []byte, at int) (end int, ended bool) {
	for at < len(text) && text[at] == quote {
		var found bool
		if at, found = after(text, at+1, quote, newline); !found || text[at-1] == newline {
			return at, true
		}
	}
	return at, at == len(text)
}

// fieldEnd returns where the field ends that begins at at.
func fieldEnd(text []byte, at int, delimiter byte) int {
	at, ended := quoted(text, at)
	if !ended {
		at, _ = after(text, at, delimiter, newline)
	}
	return at
}
