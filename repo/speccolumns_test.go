package repo_test

import (
	"bytes"
	"encoding/binary"
)

// specColumn is a column of a chunk that is stored by columns.
type specColumn struct {
	kind, ending    byte
	width, words    int
	segment         []byte
	dictionary      [][]byte
	length, nFields int
}

// columns puts a chunk together that is stored by columns.
func (r *specReader) columns(payload []byte) []byte {
	r.t.Helper()
	number := func() int {
		v, n := binary.Uvarint(payload)
		r.assert(n > 0, "number")
		payload = payload[n:]
		return int(v)
	}
	next := func() byte {
		c := payload[0]
		payload = payload[1:]
		return c
	}
	delimiter := next()
	head, tail := number(), number()
	columns := make([]specColumn, number())
	lengths := []int{head + tail}
	size := head + tail // of the chunk
	for i := range columns {
		c := &columns[i]
		switch c.kind = next(); c.kind {
		case 0:
			c.length = number()
		case 1:
			c.nFields, c.width, c.ending = number(), number(), next()
			c.length = c.nFields * c.width
		case 2:
			c.length, c.words = number(), number()
			lengths[0] += c.words
		default:
			r.assert(false, "kind")
		}
		lengths = append(lengths, c.length)
	}
	var segments [][]byte
	for i := 0; i < len(lengths); {
		total := 0
		from := i
		for range number() {
			total += lengths[i]
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
		for _, n := range lengths[from:i] {
			segments = append(segments, part[:n])
			part = part[n:]
		}
	}
	r.assert(len(payload) == 0, "end")
	front := segments[0][head+tail:]
	for i := range columns {
		c := &columns[i]
		c.segment = segments[i+1]
		words := front[:c.words]
		front = front[c.words:]
		for len(words) > 0 {
			n := specField(words, delimiter)
			c.dictionary = append(c.dictionary, words[:n])
			words = words[n:]
		}
		switch c.kind {
		case 0:
			size += c.length
		case 1:
			size += c.length + c.nFields
		case 2:
			for _, code := range c.segment {
				size += len(c.dictionary[code])
			}
		}
	}
	out := bytes.Clone(segments[0][:head])
	for i := 0; len(out) < size-tail; {
		c := &columns[i]
		switch c.kind {
		case 0:
			n := specField(c.segment, delimiter)
			out = append(out, c.segment[:n]...)
			c.segment = c.segment[n:]
		case 1:
			out = append(append(out, c.segment[:c.width]...), c.ending)
			c.segment = c.segment[c.width:]
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
		r.assert(len(columns[i].segment) == 0, "a column's end")
	}
	return append(out, segments[0][head:head+tail]...)
}

// specField returns the length of the field that text begins with.
func specField(text []byte, delimiter byte) int {
	i := 0
	for i < len(text) && text[i] == '"' {
		for i++; text[i] != '"'; i++ {
			if text[i] == '\n' {
				return i + 1
			}
		}
		i++
	}
	for ; i < len(text); i++ {
		if text[i] == delimiter || text[i] == '\n' {
			return i + 1
		}
	}
	return i
}
