package columns

import (
	"bytes"
	"encoding/binary"
)

// dictionary gives numbers to different fields.
type dictionary struct {
	words []word
	table [slots]uint16 // 1 + the word's number, by its hash
	text  []byte        // all words
}

// word is a field in a dictionary.
type word struct {
	low, high  uint64 // its first sixteen bytes
	at, length int    // in the dictionary's text
}

const (
	slotBits    = 10
	slots       = 1 << slotBits
	wordLongest = 64 // bytes of a field
)

func (d *dictionary) reset() {
	d.words, d.text = d.words[:0], d.text[:0]
	clear(d.table[:])
}

// next returns the number of the field of text that begins at at, the i-th of its column, and where it ends. ok is false if it
// has none: it is too long, or there are too many different ones for so few fields.
func (d *dictionary) next(text []byte, at int, delimiter byte, i int) (code byte, end int, ok bool) {
	var short [16]byte
	start := &short
	if at+16 <= len(text) {
		start = (*[16]byte)(text[at:])
	} else {
		copy(short[:], text[at:])
	}
	low, high := binary.LittleEndian.Uint64(start[:]), binary.LittleEndian.Uint64(start[8:])
	end = at + 1 + ends(low, high, ones*uint64(delimiter), ones*newline)
	if end > at+16 || start[0] == quote {
		end = fieldEnd(text, at, delimiter)
	}
	code, ok = d.code(low, high, text[at:end], i)
	return code, end, ok
}

// code is next for a field whose first bytes are low and high, with whatever follows if it is shorter.
func (d *dictionary) code(low, high uint64, field []byte, i int) (code byte, ok bool) {
	const few, share = 16, 8 // so many different fields may there be, and one of so many others
	length := len(field)
	if length > wordLongest {
		return 0, false
	}
	low &= 1<<(8*min(length, 8)) - 1
	high &= 1<<(8*min(max(length-8, 0), 8)) - 1
	// Any odd numbers with many bits will do.
	hash := ((low^uint64(length))*0x9E3779B97F4A7C15 ^ high) * 0xD6E8FEB86659FD93
	slot := hash >> (64 - slotBits)
	for ; d.table[slot] != 0; slot = (slot + 1) % slots {
		code := int(d.table[slot]) - 1
		if w := &d.words[code]; w.low == low && w.high == high && w.length == length &&
			(length <= 16 || bytes.Equal(d.text[w.at:w.at+length], field)) {
			return byte(code), true
		}
	}
	n := len(d.words)
	if n > few+i/share || n == dictionaryMax {
		return 0, false
	}
	d.words = append(d.words, word{low, high, len(d.text), length})
	d.text = append(d.text, field...)
	d.table[slot] = uint16(n + 1)
	return byte(n), true
}

// word returns the field that has a code.
func (d *dictionary) word(code byte) []byte {
	w := &d.words[code]
	return d.text[w.at : w.at+w.length]
}

// saves reports whether words and codes take no more room than the fields.
func (d *dictionary) saves(codes []byte) bool {
	fields := 0
	for _, code := range codes {
		fields += d.words[code].length
	}
	return len(d.text)+len(codes) <= fields
}
