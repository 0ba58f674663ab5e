package repo_test

import (
	"bytes"
	"encoding/binary"
)

// specColumn is a column of a chunk that is stored by columns.
type specColumn struct {
	kind, ending, other    byte
	nFields, width         int
	lengthsSize, wordsSize int
	size                   int
	lengths, segment       []byte
	dictionary             [][]byte
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
	sizes := []int{head + tail, 0}
	for i := range columns {
		c := &columns[i]
		c.kind, c.ending, c.other = payload[0], delimiter, '\n'
		payload = payload[1:]
		if c.kind >= 4 {
			c.kind, c.ending, c.other = c.kind-4, '\n', delimiter
		}
		switch c.kind {
		case 0:
			c.nFields, c.width = number(&payload), number(&payload)
			c.size = c.nFields * c.width
		case 1:
			c.lengthsSize, c.size = number(&payload), number(&payload)
		case 2:
			c.lengthsSize, c.wordsSize, c.size = number(&payload), number(&payload), number(&payload)
		default:
			r.assert(false, "kind")
		}
		sizes[0] += c.wordsSize
		sizes[1] += c.lengthsSize
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
	front, lengths := segments[0][head+tail:], segments[1]
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
		c.segment = segments[i+2]
		c.lengths, lengths = lengths[:c.lengthsSize], lengths[c.lengthsSize:]
		words := front[:c.wordsSize]
		front = front[c.wordsSize:]
		for c.kind == 2 && len(c.lengths) > 0 {
			c.dictionary = append(c.dictionary, field(c, &words))
		}
		r.assert(len(words) == 0, "words")
	}
	out := bytes.Clone(segments[0][:head])
	for i := 0; len(out) < raw-tail; {
		c := &columns[i]
		switch c.kind {
		case 0:
			out = append(append(out, c.segment[:c.width]...), c.ending)
			c.segment = c.segment[c.width:]
		case 1:
			out = append(out, field(c, &c.segment)...)
		case 2:
			out = append(out, c.dictionary[c.segment[0]]...)
			c.segment = c.segment[1:]
		}
		if out[len(out)-1] == '\n' {
			i = 0
		} else {
			i = min(i+1, 511)
		}
	}
	for i := range columns {
		r.assert(len(columns[i].segment) == 0 && len(columns[i].lengths) == 0, "a column's end")
	}
	return append(out, segments[0][head:head+tail]...)
}
