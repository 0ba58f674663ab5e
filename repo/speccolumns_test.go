package repo_test

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"strings"
	"time"
)

// specColumn is a column of a chunk that is stored by columns.
type specColumn struct {
	kind, ending, other    byte
	nFields, width         int
	lengthsSize, wordsSize int
	size                   int
	lengths, segment       []byte
	dictionary             [][]byte

	like, bitsSize int
	form           byte
	number         int64 // the origin, or the one before
	suffixes       [2]string
	bits, others   []byte
	template       []byte
	bit            int
}

// integer reads what a token says.
func (c *specColumn) integer(token int) (u int64) {
	if token < 64 {
		return int64(token)
	}
	k := 4 + (token-64)/4
	for i := range k {
		bit := c.bits[c.bit/8] >> (c.bit % 8) & 1
		u |= int64(bit) << i
		c.bit++
	}
	return u + int64(4+token%4)<<k
}

// write writes the column's next number or time.
func (c *specColumn) write(u int64) string {
	v := c.number + u
	if c.form >= 128 {
		v = c.number + u>>1
		if u%2 == 1 {
			v = c.number - u>>1 - 1
		}
		c.number = v
	}
	scale, suffix := int(c.form%32), c.suffixes[0]
	if c.form&32 != 0 {
		suffix = c.suffixes[v&1]
		v >>= 1
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	if c.kind == 4 {
		return new(big.Rat).SetFrac(big.NewInt(v), unit).FloatString(scale)
	}
	if scale == 31 {
		return time.Unix(0, 0).UTC().AddDate(0, 0, int(v)).Format(time.DateOnly)
	}
	seconds, behind := new(big.Int).DivMod(big.NewInt(v), unit, new(big.Int))
	t := time.Unix(seconds.Int64(), 0).UTC().Format(time.DateTime)
	fraction := new(big.Rat).SetFrac(behind, unit).FloatString(scale)[1:]
	if c.form&64 == 0 {
		fraction = strings.TrimRight(strings.TrimRight(fraction, "0"), ".")
	}
	return t + fraction + suffix
}

// columns puts a chunk together that is stored by columns.
func (r *specReader) columns(payload []byte, raw int) []byte {
	r.t.Helper()
	number := func(from *[]byte) int {
		v, n := binary.Uvarint(*from)
		r.assert(n > 0, "number")
		*from = (*from)[n:]
		return int(v)
	}
	delimiter := payload[0]
	payload = payload[1:]
	head, tail := number(&payload), number(&payload)
	columns := make([]specColumn, number(&payload))
	sizes := []int{0, head + tail, 0}
	for i := range columns {
		c := &columns[i]
		c.kind, c.ending, c.other = payload[0], delimiter, '\n'
		payload = payload[1:]
		if c.kind >= 128 {
			c.kind, c.ending, c.other = c.kind-128, '\n', delimiter
		}
		switch c.kind {
		case 0:
			c.nFields, c.width = number(&payload), number(&payload)
			c.size = c.nFields * c.width
		case 1:
			c.lengthsSize, c.size = number(&payload), number(&payload)
		case 2:
			c.lengthsSize, c.wordsSize, c.size = number(&payload), number(&payload), number(&payload)
		case 3:
			c.lengthsSize, c.wordsSize, c.like = number(&payload), number(&payload), number(&payload)
			r.assert(c.like < i && columns[c.like].kind == 2, "same as what")
		case 4, 5:
			c.lengthsSize, c.wordsSize, c.size, c.bitsSize = number(&payload), number(&payload), number(&payload), number(&payload)
			c.form = payload[0]
			origin, n := binary.Varint(payload[1:])
			c.number = origin
			payload = payload[1+n:]
			if c.kind == 5 {
				n := number(&payload)
				c.suffixes[0] = string(payload[:n])
				payload = payload[n:]
				if c.form&32 != 0 {
					c.suffixes[1] = string(payload[:n])
					payload = payload[n:]
				}
			}
		case 6:
			c.lengthsSize, c.wordsSize = number(&payload), number(&payload)
			c.nFields, c.bitsSize = number(&payload), number(&payload)
			n := number(&payload)
			c.template, payload = payload[:n], payload[n:]
			c.size = c.nFields * ((bytes.Count(c.template, []byte{0}) + 1) / 2)
		default:
			r.assert(false, "kind")
		}
		r.kinds[c.kind] = true
		sizes[0] += c.bitsSize
		sizes[1] += c.wordsSize
		sizes[2] += c.lengthsSize
		sizes = append(sizes, c.size)
	}
	var segments [][]byte
	for i := 0; i < len(sizes); {
		total := 0
		from := i
		for range number(&payload) {
			total += sizes[i]
			i++
		}
		stored := int(le32(payload))
		part := payload[4 : 4+stored]
		payload = payload[4+stored:]
		if stored != total {
			var err error
			part, err = r.zstd.DecodeAll(part, nil)
			r.must(err)
		}
		r.assert(i > from && len(part) == total, "part")
		for _, n := range sizes[from:i] {
			segments = append(segments, part[:n])
			part = part[n:]
		}
	}
	r.assert(len(payload) == 0, "end")
	bits, front, lengths := segments[0], segments[1][head+tail:], segments[2]
	field := func(c *specColumn, text *[]byte) []byte {
		n, ending := int(c.lengths[0]), c.ending
		c.lengths = c.lengths[1:]
		if n == 255 {
			n = number(&c.lengths)
			if n%2 == 1 {
				ending = c.other
			}
			n /= 2
		}
		b := append(bytes.Clone((*text)[:n]), ending)
		*text = (*text)[n:]
		return b
	}
	for i := range columns {
		c := &columns[i]
		c.segment = segments[i+3]
		if c.kind == 3 {
			c.segment = segments[c.like+3]
		}
		c.bits, bits = bits[:c.bitsSize], bits[c.bitsSize:]
		c.lengths, lengths = lengths[:c.lengthsSize], lengths[c.lengthsSize:]
		words := front[:c.wordsSize]
		front = front[c.wordsSize:]
		if c.kind >= 4 {
			c.others = words
			continue
		}
		for len(words) > 0 || c.kind >= 2 && len(c.lengths) > 0 {
			c.dictionary = append(c.dictionary, field(c, &words))
		}
	}
	out := bytes.Clone(segments[1][:head])
	for i := 0; len(out) < raw-tail; {
		c := &columns[i]
		switch c.kind {
		case 0:
			out = append(append(out, c.segment[:c.width]...), c.ending)
			c.segment = c.segment[c.width:]
		case 1:
			out = append(out, field(c, &c.segment)...)
		case 2, 3:
			out = append(out, c.dictionary[c.segment[0]]...)
			c.segment = c.segment[1:]
		case 4, 5:
			token := int(c.segment[0])
			c.segment = c.segment[1:]
			if token == 255 {
				out = append(out, field(c, &c.others)...)
			} else {
				out = append(append(out, c.write(c.integer(token))...), c.ending)
			}
		}
		other := false
		if c.kind == 6 && len(c.bits) > 0 {
			other = c.bits[c.bit/8]>>(c.bit%8)&1 != 0
			c.bit++
		}
		if other {
			out = append(out, field(c, &c.others)...)
		} else if c.kind == 6 {
			half := 0
			for _, b := range c.template {
				if b == 0 {
					b = "0123456789abcdef"[c.segment[half/2]>>(4-4*(half%2))&15]
					half++
				}
				out = append(out, b)
			}
			out = append(out, c.ending)
			c.segment = c.segment[(half+1)/2:]
		}
		if out[len(out)-1] == '\n' {
			i = 0
		} else {
			i = min(i+1, 511)
		}
	}
	for i := range columns {
		c := &columns[i]
		r.assert(len(c.segment) == 0 && len(c.lengths) == 0 && len(c.others) == 0 && (c.bit+7)/8 == len(c.bits), "a column's end")
	}
	return append(out, segments[1][head:head+tail]...)
}
