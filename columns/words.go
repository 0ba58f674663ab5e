package columns

import (
	"bytes"
	"encoding/binary"
)

// words gives numbers to different fields.
type words struct {
	list  []word
	table [slots]uint16 // 1 + the word's number, by its hash
	texts []byte        // all words
}

// word is a field in a dictionary.
type word struct {
	low, high uint64 // its first sixteen bytes
	field     field
	at        int // in texts
}

const (
	slotBits    = 10
	slots       = 1 << slotBits
	longestWord = 64 // bytes
)

func (d *words) reset() {
	d.list, d.texts = d.list[:0], d.texts[:0]
	clear(d.table[:])
}

// code returns the number of a field, the i-th of its column. ok is false if it has none: it is too long, or there are too many
// different ones for so few fields.
func (d *words) code(text []byte, f field, i int) (code byte, ok bool) {
	const few, share = 16, 8 // so many different fields may there be, and one of so many others
	if len(text) > longestWord {
		return 0, false
	}
	low, high := start(text)
	// Any odd numbers with many bits will do.
	hash := ((low^uint64(f))*0x9E3779B97F4A7C15 ^ high) * 0xD6E8FEB86659FD93
	slot := hash >> (64 - slotBits)
	for ; d.table[slot] != 0; slot = (slot + 1) % slots {
		code := int(d.table[slot]) - 1
		if w := &d.list[code]; w.low == low && w.high == high && w.field == f &&
			(len(text) <= 16 || bytes.Equal(d.texts[w.at:w.at+len(text)], text)) {
			return byte(code), true
		}
	}
	n := len(d.list)
	if n > few+i/share || n == mostWords {
		return 0, false
	}
	d.list = append(d.list, word{low, high, f, len(d.texts)})
	d.texts = append(d.texts, text...)
	d.table[slot] = uint16(n + 1)
	return byte(n), true
}

// start returns the first sixteen bytes of a text, with zeros behind it if it is shorter. It reads behind the text where there is memory, which
// takes less time than to copy it.
func start(text []byte) (low, high uint64) {
	n := len(text)
	if cap(text) >= 16 {
		b := text[:16]
		low, high = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		return low & (1<<(8*min(n, 8)) - 1), high & (1<<(8*min(max(n-8, 0), 8)) - 1)
	}
	var b [16]byte
	copy(b[:], text)
	return binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
}

// text returns the field that has a code.
func (d *words) text(code byte) (text []byte, f field) {
	w := &d.list[code]
	return d.texts[w.at : w.at+w.field.length()], w.field
}

// saves reports whether words, their lengths and codes take no more room than the fields.
func (d *words) saves(codes []byte) bool {
	room := len(codes) + len(d.texts) + 2*len(d.list)
	for _, code := range codes {
		room -= d.list[code].field.length() + 1
	}
	return room <= 0
}
