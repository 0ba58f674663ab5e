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
	front      int // length of the front, in bytes
}

// source is where the fields of a column come from.
type source struct {
	kind       Kind
	ending     byte
	width      int
	length     int // in bytes
	dictionary int // the same of its dictionary
	next, end  int // what is left, in all segments
	words      []place
}

// place is where a word of a dictionary is.
type place struct{ at, length int }

// Merge makes the text of the layout: as many bytes as text is long. segments is all of the segments, one behind the other. Both
// slices need Slack bytes of capacity behind what they hold.
func (m *Merger) Merge(text, segments []byte) error {
	size := len(text)
	if cap(text) < size+Slack || cap(segments) < len(segments)+Slack || !m.lay(segments, size) {
		return ErrDamaged
	}
	copy(text, segments[:m.head])
	rows := size - m.tail
	if !m.merge(text[:size+Slack], segments[:len(segments)+Slack], rows) {
		return ErrDamaged
	}
	copy(text[rows:], segments[m.head:][:m.tail]) // last, because the slack of the rows lies there
	return nil
}

// lay finds what belongs to which column.
func (m *Merger) lay(segments []byte, size int) bool {
	if m.head+m.tail > size || m.front > len(segments) {
		return false
	}
	words, at := m.head+m.tail, m.front
	for i := range m.columns[:m.used] {
		c := &m.columns[i]
		if c.length > len(segments)-at {
			return false
		}
		c.next, c.end = at, at+c.length
		at = c.end
		for limit := words + c.dictionary; words < limit; {
			end := fieldEnd(segments[:limit], words, m.delimiter)
			if len(c.words) == dictionaryMax {
				return false
			}
			c.words = append(c.words, place{words, end - words})
			words = end
		}
	}
	return at == len(segments)
}

// merge makes the rows, which end before the byte that is given.
func (m *Merger) merge(text, segments []byte, rows int) bool {
	columns := m.columns[:m.used]
	x, y := ones*uint64(m.delimiter), uint64(ones*newline)
	at := m.head
	for j := 0; at < rows; {
		if j >= len(columns) {
			return false
		}
		c := &columns[j]
		from := c.next
		var last byte
		switch c.kind {
		case Fixed:
			c.next = from + c.width
			if at+c.width >= rows || c.next > c.end {
				return false
			}
			put(text, at, segments, from, c.width)
			at += c.width
			last = c.ending
			text[at] = last
			at++
		case Dictionary:
			if from >= c.end || int(segments[from]) >= len(c.words) {
				return false
			}
			c.next = from + 1
			w := &c.words[segments[from]]
			if at+w.length > rows {
				return false
			}
			put(text, at, segments, w.at, w.length)
			at += w.length
			last = segments[w.at+w.length-1]
		default:
			if from >= c.end {
				return false
			}
			ended := false
			if segments[from] == quote {
				begin := from
				if from, ended = quoted(segments[:c.end], from); at+from-begin > rows {
					return false
				}
				at += copy(text[at:], segments[begin:from])
			}
			for !ended && from < c.end && at < rows {
				source, to := (*[16]byte)(segments[from:]), (*[16]byte)(text[at:])
				low, high := binary.LittleEndian.Uint64(source[:]), binary.LittleEndian.Uint64(source[8:])
				binary.LittleEndian.PutUint64(to[:], low)
				binary.LittleEndian.PutUint64(to[8:], high)
				n := ends(low, high, x, y)
				if n < 16 {
					n, ended = n+1, true
				}
				from += n
				at += n
			}
			if from > c.end {
				return false
			}
			c.next = from
			last = segments[from-1]
		}
		if last == newline {
			j = 0
		} else if j < Max-1 {
			j++
		}
	}
	for i := range columns {
		if columns[i].next != columns[i].end {
			return false
		}
	}
	return at == rows
}

// put copies n bytes, and perhaps some more that do not matter.
func put(text []byte, at int, from []byte, i, n int) {
	if n > 32 {
		copy(text[at:], from[i:i+n])
		return
	}
	*(*[16]byte)(text[at:]) = *(*[16]byte)(from[i:])
	if n > 16 {
		*(*[16]byte)(text[at+16:]) = *(*[16]byte)(from[i+16:])
	}
}
