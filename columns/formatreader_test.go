package columns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// formatReader reads columns as docs/format.md says, one byte and one bit at a time. Whatever it refuses it panics at.
type formatReader struct {
	b, segments []byte
	size        int
}

func refuse(when bool) {
	if when {
		panic(ErrDamaged)
	}
}

func (r *formatReader) number() int {
	v, n := binary.Uvarint(r.b)
	refuse(n <= 0 || v > uint64(r.size))
	r.b = r.b[n:]
	return int(v)
}

func (r *formatReader) take(n int) (b []byte) {
	b, r.b = r.b[:n:n], r.b[n:]
	return b
}

func (r *formatReader) segment(n int) (b []byte) {
	b, r.segments = r.segments[:n:n], r.segments[n:]
	return b
}

// formatColumn is a column, and what of it is not read yet.
type formatColumn struct {
	kind, ending, other    byte
	sizes                  [3]int // of lengths, words or others, bits
	lengths, words, bits   []byte
	segment                []byte
	size, width, like, bit int
	dictionary             [][]byte
	form                   byte
	number                 int64
	constant               []byte // suffix or template
}

// word takes a field of those with lengths.
func (c *formatColumn) word(from *[]byte) []byte {
	n, ending := uint64(c.lengths[0]), c.ending
	c.lengths = c.lengths[1:]
	if n == 255 {
		v, read := binary.Uvarint(c.lengths)
		refuse(read <= 0)
		c.lengths = c.lengths[read:]
		if n = v / 2; v%2 == 1 {
			ending = c.other
		}
	}
	field := append(bytes.Clone((*from)[:n]), ending)
	*from = (*from)[n:]
	return field
}

// integer writes the integer that a token says.
func (c *formatColumn) integer(token int) string {
	refuse(token > 251)
	u := int64(token)
	if token >= 64 {
		k := 4 + (token-64)/4
		r := int64(0)
		for i := range k {
			r |= int64(c.bits[c.bit/8]>>(c.bit%8)&1) << i
			c.bit++
		}
		u = int64(4+token%4)<<k + r
	}
	v := c.number + u
	if c.form&128 != 0 {
		v = c.number + (u>>1 ^ -(u & 1))
		c.number = v
	}
	refuse(v <= -1e18 || v >= 1e18)
	scale, suffix := int(c.form&31), c.constant
	if c.kind == 5 && c.form&32 != 0 {
		if suffix = c.constant[:len(c.constant)/2]; v&1 != 0 {
			suffix = c.constant[len(c.constant)/2:]
		}
		v >>= 1
	}
	unit, sign := int64(1), ""
	if c.kind == 5 && scale == 31 {
		refuse(v < -1e6 || v > 1e7) // more than the library can say
		t := time.Unix(v*86400, 0).UTC()
		refuse(t.Year() < 1 || t.Year() > 9999)
		return t.Format("2006-01-02")
	}
	for range scale {
		unit *= 10
	}
	if c.kind == 4 {
		if v < 0 {
			v, sign = -v, "-"
		}
		if scale == 0 {
			return fmt.Sprintf("%s%d", sign, v)
		}
		return fmt.Sprintf("%s%d.%0*d", sign, v/unit, scale, v%unit)
	}
	seconds, behind := v/unit, v%unit
	if behind < 0 {
		seconds, behind = seconds-1, behind+unit
	}
	refuse(seconds < -1e11 || seconds > 1e12)
	t := time.Unix(seconds, 0).UTC()
	refuse(t.Year() < 1 || t.Year() > 9999)
	text := t.Format("2006-01-02 15:04:05")
	if scale > 0 {
		text += fmt.Sprintf(".%0*d", scale, behind)
		if c.form&64 == 0 {
			text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
			if behind == 0 {
				text = t.Format("2006-01-02 15:04:05")
			}
		}
	}
	return text + string(suffix)
}

// next takes the column's next field, with its ending.
func (c *formatColumn) next() []byte {
	switch c.kind {
	case 0:
		field := append(bytes.Clone(c.segment[:c.width]), c.ending)
		c.segment = c.segment[c.width:]
		return field
	case 1:
		return c.word(&c.segment)
	case 2, 3:
		code := c.segment[0]
		c.segment = c.segment[1:]
		return c.dictionary[code]
	case 4, 5:
		token := c.segment[0]
		c.segment = c.segment[1:]
		if token == 255 {
			return c.word(&c.words)
		}
		return append([]byte(c.integer(int(token))), c.ending)
	default:
		if len(c.bits) > 0 {
			other := c.bits[c.bit/8] >> (c.bit % 8) & 1
			if c.bit++; other == 1 {
				return c.word(&c.words)
			}
		}
		field := bytes.Clone(c.constant)
		half := 0
		for i, b := range field {
			if b == 0 {
				field[i] = "0123456789abcdef"[c.segment[half/2]>>(4-half%2*4)&15]
				half++
			}
		}
		c.segment = c.segment[(half+1)/2:]
		return append(field, c.ending)
	}
}

// formatMerge puts a text together as docs/format.md says. ok is false if that refuses it.
func formatMerge(k stored, size int) (text []byte, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	r := formatReader{b: k.layout, segments: k.segments, size: size}
	delimiter := r.take(1)[0]
	head, tail := r.number(), r.number()
	columns := make([]formatColumn, r.number())
	refuse(len(columns) > 512)
	var sizes [3]int
	for i := range columns {
		c := &columns[i]
		c.kind, c.ending, c.other = r.take(1)[0], delimiter, '\n'
		if c.kind >= 128 {
			c.kind, c.ending, c.other = c.kind-128, '\n', delimiter
		}
		switch c.kind {
		case 0:
			c.size = r.number()
			c.width = r.number()
			c.size *= c.width
		case 1:
			c.sizes[0], c.size = r.number(), r.number()
		case 2:
			c.sizes[0], c.sizes[1], c.size = r.number(), r.number(), r.number()
		case 3:
			c.sizes[0], c.sizes[1], c.like = r.number(), r.number(), r.number()
			refuse(c.like >= i || columns[c.like].kind != 2)
		case 4, 5:
			c.sizes[0], c.sizes[1], c.size, c.sizes[2] = r.number(), r.number(), r.number(), r.number()
			c.form = r.take(1)[0]
			v, n := binary.Varint(r.b)
			refuse(n <= 0 || v < -1e18 || v > 1e18)
			c.number, r.b = v, r.b[n:]
			scale, others := c.form&31, c.form&96 != 0
			refuse(c.kind == 4 && (scale > 17 || others) || c.kind == 5 && scale > 6 && (scale != 31 || others))
			if c.kind == 5 {
				c.constant = r.take(r.number())
				refuse(len(c.constant) > 12)
				if c.form&32 != 0 {
					refuse(len(c.constant) == 0)
					c.constant = append(c.constant, r.take(len(c.constant))...)
				}
			}
		case 6:
			c.sizes[0], c.sizes[1] = r.number(), r.number()
			n := r.number()
			c.sizes[2] = r.number()
			c.constant = r.take(r.number())
			digits := bytes.Count(c.constant, []byte{0})
			refuse(len(c.constant) > 128 || digits == 0)
			c.size = n * ((digits + 1) / 2)
		default:
			refuse(true)
		}
		for j, n := range c.sizes {
			sizes[j] += n
		}
	}
	refuse(len(r.b) > 0 || len(k.segments) > size || head+tail > size)
	bits := r.segment(sizes[2])
	front := r.segment(head + tail + sizes[1])
	lengths := r.segment(sizes[0])
	text, end := bytes.Clone(front[:head]), front[head:head+tail]
	words := front[head+tail:]
	for i := range columns {
		c := &columns[i]
		c.segment = r.segment(c.size)
		if c.kind == 3 {
			c.segment = columns[c.like].segment
		}
		c.lengths, lengths = lengths[:c.sizes[0]], lengths[c.sizes[0]:]
		c.words, words = words[:c.sizes[1]], words[c.sizes[1]:]
		c.bits, bits = bits[:c.sizes[2]], bits[c.sizes[2]:]
		if c.kind == 2 || c.kind == 3 {
			for len(c.lengths) > 0 {
				c.dictionary = append(c.dictionary, c.word(&c.words))
			}
			refuse(len(c.dictionary) > 256)
		}
	}
	for j := 0; len(text) < size-tail; {
		field := columns[j].next()
		text = append(text, field...)
		if j = min(j+1, 511); field[len(field)-1] == '\n' {
			j = 0
		}
	}
	refuse(len(text) != size-tail || len(r.segments) > 0)
	for i := range columns {
		c := &columns[i]
		refuse(len(c.segment) > 0 || len(c.lengths) > 0 || len(c.words) > 0 || len(c.bits)-c.bit/8 > 1 || len(c.bits)-c.bit/8 == 1 && c.bit%8 == 0)
	}
	return append(text, end...), true
}
