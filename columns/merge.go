package columns

import (
	"encoding/binary"
	"errors"
)

// ErrDamaged: columns are not those of a text of that length.
var ErrDamaged = errors.New("columns do not make a text")

// Merger makes texts of columns. It is not safe for concurrent use. Its memory is used again and again.
//
// Layout comes first, then Merge with all segments.
type Merger struct {
	columns    []source
	used       int
	delimiter  byte
	head, tail int
	front      int // size of the front, in bytes
	lengths    int // size of the lengths
	bits       int // size of the bits
}

// source is where the fields of a column come from.
type source struct {
	kind           kind
	ending, other  byte
	width          int
	next, end      int // what is left of its segment
	length, toward int // what is left of its lengths
	words          []place
	numbers        numberSource

	size    int // of its segment, in bytes
	lengths int // of its lengths
	texts   int // of its words, or other fields
	bits    int // of the bits of its numbers
	like    int // number of the column that has its codes
	form    numberForm
	hex     hexForm
}

// place is where a word of a dictionary is.
type place struct {
	at, length int
	ending     byte
}

// Merge makes the text of the layout: as many bytes as text is long. segments is all of the segments, one behind the other. Both
// slices need Slack bytes of capacity behind what they hold.
func (m *Merger) Merge(text, segments []byte) error {
	size := len(text)
	if cap(text) < size+Slack || cap(segments) < len(segments)+Slack || !m.lay(segments, size) {
		return ErrDamaged
	}
	copy(text, segments[m.bits:][:m.head])
	rows := size - m.tail
	if !m.merge(text[:size+Slack], segments[:len(segments)+Slack], rows) {
		return ErrDamaged
	}
	copy(text[rows:], segments[m.bits+m.head:][:m.tail]) // last, because the slack of the rows lies there
	return nil
}

// lay finds what belongs to which column.
func (m *Merger) lay(segments []byte, size int) bool {
	if m.head+m.tail > size || m.front+m.lengths+m.bits > len(segments) {
		return false
	}
	bits, text, length := 0, m.bits+m.head+m.tail, m.bits+m.front
	at := length + m.lengths
	for i := range m.columns[:m.used] {
		c := &m.columns[i]
		if c.size > len(segments)-at {
			return false
		}
		c.next, c.end = at, at+c.size
		c.length, c.toward = length, length+c.lengths
		at, length = c.end, c.toward
		switch c.kind {
		case same:
			like := &m.columns[c.like]
			c.next, c.end = like.next, like.end
		case number, moment, hexadecimal:
			c.numbers = numberSource{begin: 8 * bits, bit: 8 * bits, limit: 8 * (bits + c.bits), text: text, texts: text + c.texts, last: c.form.origin, clock: clock{form: &c.form.time}}
			bits += c.bits
			text += c.texts
		}
		if c.kind != dictionary && c.kind != same {
			continue
		}
		for limit := text + c.texts; text < limit || c.length < c.toward; {
			n, ending, ok := c.take(segments)
			if !ok || n > limit-text || len(c.words) == mostWords {
				return false
			}
			c.words = append(c.words, place{text, n, ending})
			text += n
		}
	}
	return at == len(segments)
}

// take takes the next of a column's lengths.
func (c *source) take(segments []byte) (n int, ending byte, ok bool) {
	if c.length >= c.toward {
		return 0, 0, false
	}
	n = int(segments[c.length])
	c.length++
	if n != escape {
		return n, c.ending, true
	}
	v, read := binary.Uvarint(segments[c.length:c.toward])
	if read <= 0 || v > uint64(len(segments))<<1 {
		return 0, 0, false
	}
	c.length += read
	if v&1 != 0 {
		return int(v >> 1), c.other, true
	}
	return int(v >> 1), c.ending, true
}

// merge makes the rows, which end before the byte that is given.
func (m *Merger) merge(text, segments []byte, rows int) bool {
	columns := m.columns[:m.used]
	at := m.head
	for j := 0; at < rows; {
		if j >= len(columns) {
			return false
		}
		c := &columns[j]
		from, n, ending := c.next, c.width, c.ending
		switch c.kind {
		case fixed:
			c.next += n
		case varying:
			if c.length < c.toward && segments[c.length] != escape {
				n = int(segments[c.length])
				c.length++
			} else {
				var ok bool
				if n, ending, ok = c.take(segments); !ok {
					return false
				}
			}
			c.next += n
		case number, moment:
			var ok bool
			if from, n, ending, ok = c.number(text, segments, at); !ok {
				return false
			}
		case hexadecimal:
			other, ok := c.numbers.other(segments)
			if other {
				from, n, ending, ok = c.odd(exception, segments)
			} else if c.next += c.hex.packed(); c.next <= c.end && n < rows-at {
				c.hex.put(text[at:], segments[from:])
				from = -1
			}
			if !ok {
				return false
			}
		default:
			if from >= c.end || int(segments[from]) >= len(c.words) {
				return false
			}
			w := &c.words[segments[from]]
			c.next++
			from, n, ending = w.at, w.length, w.ending
		}
		if c.next > c.end || n >= rows-at {
			return false
		}
		// Most fields are short. To copy sixteen bytes takes less than to copy as many as there are.
		if from < 0 {
			// It is there already.
		} else if n <= 32 {
			*(*[16]byte)(text[at:]) = *(*[16]byte)(segments[from:])
			if n > 16 {
				*(*[16]byte)(text[at+16:]) = *(*[16]byte)(segments[from+16:])
			}
		} else {
			copy(text[at:], segments[from:from+n])
		}
		at += n
		text[at] = ending
		at++
		if ending == newline {
			j = 0
		} else if j < Max-1 {
			j++
		}
	}
	for i := range columns {
		if c := &columns[i]; c.next != c.end || c.length != c.toward || !c.numbers.used() {
			return false
		}
	}
	return at == rows
}

// numberSource is where the numbers of a column come from, and the bits and other fields of one of digits.
type numberSource struct {
	begin       int // of its bits
	bit, limit  int // what is left of them
	text, texts int // what is left of its other fields
	last        int64
	clock       clock
}

// used reports whether nothing is left.
func (x *numberSource) used() bool {
	return x.limit-x.bit < 8 && x.text == x.texts
}

// number writes the next field of a column of numbers to text[at:]. from is negative, unless it is none: then it is where the field is to be copied
// from.
func (c *source) number(text, segments []byte, at int) (from, n int, ending byte, ok bool) {
	if c.next >= c.end {
		return 0, 0, 0, false
	}
	x := &c.numbers
	token := int(segments[c.next])
	c.next++
	u := uint64(token)
	if token >= direct {
		if token >= tokens {
			return c.odd(token, segments)
		}
		rest := restOf(token)
		if rest > x.limit-x.bit {
			return 0, 0, 0, false
		}
		stream := binary.LittleEndian.Uint64(segments[x.bit>>3:]) >> (x.bit & 7)
		u = uint64(token&3|4)<<rest | stream&(1<<rest-1)
		x.bit += rest
	}
	v := int64(u) + x.last
	if c.form.differences {
		v = unzigzag(u) + x.last
		x.last = v
	}
	if v <= least || v >= most {
		return 0, 0, 0, false
	}
	if c.kind == moment {
		n, ok = x.clock.put((*[mostTime]byte)(text[at:]), v)
		return -1, n, c.ending, ok
	}
	return -1, putDecimal((*[mostLetters]byte)(text[at:]), v, c.form.scale), c.ending, true
}

// other takes a bit, if there are any, and reports whether the next field is not like most. ok is false if there were some.
func (x *numberSource) other(segments []byte) (other, ok bool) {
	if x.bit >= x.limit {
		return false, x.limit == x.begin
	}
	other = segments[x.bit>>3]>>(x.bit&7)&1 != 0
	x.bit++
	return other, true
}

// odd finds a field that is not like most.
func (c *source) odd(token int, segments []byte) (from, n int, ending byte, ok bool) {
	n, ending, ok = c.take(segments)
	from = c.numbers.text
	c.numbers.text += n
	return from, n, ending, ok && token == exception && c.numbers.text <= c.numbers.texts
}
