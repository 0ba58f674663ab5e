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
}

// source is where the fields of a column come from.
type source struct {
	kind           kind
	ending, other  byte
	width          int
	next, end      int // what is left of its segment
	length, toward int // what is left of its lengths
	words          []place

	size    int // of its segment, in bytes
	lengths int // of its lengths
	texts   int // of its words
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
	if m.head+m.tail > size || m.front+m.lengths > len(segments) {
		return false
	}
	text, length, at := m.head+m.tail, m.front, m.front+m.lengths
	for i := range m.columns[:m.used] {
		c := &m.columns[i]
		if c.size > len(segments)-at {
			return false
		}
		c.next, c.end = at, at+c.size
		c.length, c.toward = length, length+c.lengths
		at, length = c.end, c.toward
		if c.kind != dictionary {
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
		if n <= 32 {
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
		if c := &columns[i]; c.next != c.end || c.length != c.toward {
			return false
		}
	}
	return at == rows
}
