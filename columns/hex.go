package columns

import (
	"encoding/binary"
	"slices"
)

// Hashes and UUIDs are random, so nothing makes them shorter than four bits for each of their hexadecimal digits. These go side by
// side in bytes, which takes less time than to find codes for letters, and in UUIDs their hyphens take nothing.

const (
	leastHex = 8   // digits
	mostHex  = 128 // bytes of a field
)

// hexRun is a part of each field of a column: letters that are the same in all, and digits behind them.
type hexRun struct{ from, to, digits int } // letters are template[from:to]

// hexForm says which letters of a column's fields are digits.
type hexForm struct {
	template []byte // a field: zeros are digits
	runs     []hexRun
	digits   int // of a field
}

// packed is how many bytes a field takes.
func (f *hexForm) packed() int { return (f.digits + 1) / 2 }

// set takes a template.
func (f *hexForm) set(template []byte) {
	f.template, f.runs, f.digits = append(f.template[:0], template...), f.runs[:0], 0
	for at := 0; at < len(template); {
		r := hexRun{from: at}
		for at < len(template) && template[at] != 0 {
			at++
		}
		r.to = at
		for at < len(template) && template[at] == 0 {
			at++
		}
		r.digits = at - r.to
		f.digits += r.digits
		f.runs = append(f.runs, r)
	}
}

// packHex makes four bytes of eight digits; ok is false if they are none, in lower case.
func packHex(x uint64) (packed uint32, ok bool) {
	nibble := x&nibbles + x>>6&ones*9
	y := (nibble<<4 | nibble>>8) & 0x00FF00FF00FF00FF
	y = (y | y>>8) & 0x0000FFFF0000FFFF
	packed = uint32(y | y>>16)
	return packed, unpackHex(packed) == x
}

// unpackHex is the reverse.
func unpackHex(packed uint32) uint64 {
	y := uint64(packed)
	y = (y | y<<16) & 0x0000FFFF0000FFFF
	y = (y | y<<8) & 0x00FF00FF00FF00FF
	y = y>>4&0x000F000F000F000F | y&0x000F000F000F000F<<8
	letters := (y + ones*6) >> 4 & ones
	return y + digits + letters*('a'-'0'-10)
}

// hexes is what a Splitter needs for columns of hexadecimal digits.
type hexes struct {
	form   hexForm
	packed []byte
	bits   []byte // one for each field: it has another form
	odd    int    // how many have
}

// guess finds out which letters of a column's fields are digits, from the first that has enough of them.
func (h *hexes) guess(c *column) (like int, ok bool) {
	at := 0
	for _, f := range c.fields[:min(len(c.fields), sampleFields)] {
		if h.take(c.data[at : at+f.length()]) {
			return 0, true
		}
		at += f.length()
	}
	return 0, false
}

// take takes the form of a field, and reports whether enough of its letters are digits.
func (h *hexes) take(field []byte) bool {
	if len(field) < leastHex || len(field) > mostHex {
		return false
	}
	var template [mostHex]byte
	digits := 0
	for i, b := range field {
		switch {
		case b-'0' < 10 || b-'a' < 6:
			digits++
		case b == 0:
			return false
		default:
			template[i] = b
		}
	}
	if digits < max(leastHex, len(field)/2) {
		return false
	}
	h.form.set(template[:len(field)])
	return true
}

// read packs the fields of a column that have the form. It reports whether most of them do.
func (h *hexes) read(c *column) bool {
	h.packed = slices.Grow(h.packed[:0], c.n/2+8)
	h.bits = append(h.bits[:0], make([]byte, (len(c.fields)+7)/8)...)
	h.odd = 0
	width, at := len(h.form.template), 0
	for i, f := range c.fields {
		if f.length() != width || f&1 != c.newlines || !h.add(c.data[at:]) {
			h.bits[i/8] |= 1 << (i % 8)
			if h.odd++; h.odd > oddFew+i/oddShare {
				return false
			}
		}
		at += f.length()
	}
	return h.odd < len(c.fields)
}

func (h *hexes) kept() (segment, bits []byte) {
	if h.odd == 0 {
		return h.packed, nil
	}
	return h.packed, h.bits
}

func (h *hexes) others() int { return h.odd }

func (h *hexes) isOther(i int) bool { return h.bits[i/8]>>(i%8)&1 != 0 }

// add packs a field, which is as long as the form's; ok is false if it is of another form. There are readAhead bytes to be read behind it.
func (h *hexes) add(from []byte) (ok bool) {
	f := &h.form
	var b [mostHex + 8]byte
	if len(f.runs) > 1 || f.runs[0].to > 0 {
		n := 0
		for _, r := range f.runs {
			if string(from[r.from:r.to]) != string(f.template[r.from:r.to]) {
				return false
			}
			n += copy(b[n:], from[r.to:r.to+r.digits])
		}
		from = b[:]
	}
	packed, n := h.packed, 0
	for ; n+8 <= f.digits; n += 8 {
		four, ok := packHex(binary.LittleEndian.Uint64(from[n:]))
		if !ok {
			return false
		}
		packed = binary.LittleEndian.AppendUint32(packed, four)
	}
	if left := f.digits - n; left > 0 {
		four, ok := packHex(digits<<(8*left) | binary.LittleEndian.Uint64(from[n:])&(1<<(8*left)-1))
		if !ok {
			return false
		}
		packed = binary.LittleEndian.AppendUint32(packed, four)[:len(packed)+(left+1)/2]
	}
	h.packed = packed
	return true
}

// put writes a field, of which packed is the beginning of what is left. Of both, sixteen bytes more may be used.
func (f *hexForm) put(b, packed []byte) {
	if f.runs[0].digits == f.digits && f.runs[0].to == 0 {
		for n := 0; n < f.digits; n += 8 {
			binary.LittleEndian.PutUint64(b[n:], unpackHex(binary.LittleEndian.Uint32(packed[n/2:])))
		}
		copy(b[f.digits:], f.template[f.digits:])
		return
	}
	var all [mostHex + 16]byte
	for n := 0; n < f.digits; n += 8 {
		binary.LittleEndian.PutUint64(all[n:], unpackHex(binary.LittleEndian.Uint32(packed[n/2:])))
	}
	n := 0
	for _, r := range f.runs {
		copy(b[r.from:], f.template[r.from:r.to])
		if r.digits <= 16 {
			*(*[16]byte)(b[r.to:]) = *(*[16]byte)(all[n:])
		} else {
			copy(b[r.to:], all[n:n+r.digits])
		}
		n += r.digits
	}
}
