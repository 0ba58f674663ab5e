package columns

import "encoding/binary"

// The layout says what columns there are. It is
//
//	delimiter u8 ‖ head ‖ tail ‖ number of columns ‖ for each: kind u8, and endsLines ‖ …
//	fixed:      number of fields ‖ length of each
//	varying:    size of the lengths ‖ size of the fields
//	dictionary: size of the lengths ‖ size of the words ‖ number of fields
//
// with uvarints for all numbers, sizes in bytes. What it describes is called segments: the front, which is head, tail and all words; all
// lengths, of words and fields; and then what there is of each column: fields, or codes.

// segmentsBefore is the number of segments before those of the columns.
const segmentsBefore = 2

// AppendLayout appends the layout of what was split last to dst.
func (s *Splitter) AppendLayout(dst []byte) []byte {
	dst = append(dst, s.delimiter)
	dst = appendNumbers(dst, s.head, s.tail, s.used)
	for i := range s.columns[:s.used] {
		c := &s.columns[i]
		dst = append(dst, byte(c.kind)|byte(c.newlines)*endsLines)
		switch c.kind {
		case fixed:
			dst = appendNumbers(dst, len(c.fields), c.fields[0].length())
		case varying:
			dst = appendNumbers(dst, c.lengths, c.n)
		case dictionary:
			dst = appendNumbers(dst, c.lengths, len(c.words.texts), c.n)
		}
	}
	return dst
}

func appendNumbers(dst []byte, numbers ...int) []byte {
	for _, n := range numbers {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// Segments is how many segments there are.
func (s *Splitter) Segments() int { return segmentsBefore + s.used }

// Segment returns a segment of what was split last. It is valid until the next is.
func (s *Splitter) Segment(i int) []byte {
	switch i {
	case 0:
		return s.front
	case 1:
		return s.lengths
	}
	c := &s.columns[i-segmentsBefore]
	return c.data[:c.n]
}

// Layout reads the layout of a text of size bytes from the beginning of b and returns what follows it.
func (m *Merger) Layout(b []byte, size int) (rest []byte, err error) {
	r := reader{b: b, limit: size}
	m.delimiter = r.byte()
	m.head, m.tail = r.number(), r.number()
	n := r.number()
	if r.bad || n > Max {
		return nil, ErrDamaged
	}
	for len(m.columns) < n {
		m.columns = append(m.columns, source{})
	}
	m.used = n
	m.front, m.lengths = m.head+m.tail, 0
	total := 0
	for i := range m.columns[:n] {
		c := &m.columns[i]
		flags := r.byte()
		*c = source{kind: kind(flags &^ endsLines), ending: m.delimiter, other: newline, words: c.words[:0]}
		if flags&endsLines != 0 {
			c.ending, c.other = newline, m.delimiter
		}
		switch c.kind {
		case fixed:
			fields := r.number()
			c.width = r.number()
			if c.width > 0 && fields > size/c.width {
				return nil, ErrDamaged
			}
			c.size = fields * c.width
		case varying:
			c.lengths, c.size = r.number(), r.number()
		case dictionary:
			c.lengths, c.texts, c.size = r.number(), r.number(), r.number()
		default:
			return nil, ErrDamaged
		}
		m.front += c.texts
		m.lengths += c.lengths
		if total += c.size; r.bad || m.front+m.lengths+total > size {
			return nil, ErrDamaged
		}
	}
	if m.front > size {
		return nil, ErrDamaged
	}
	return r.b, nil
}

// Segments is how many segments the layout has.
func (m *Merger) Segments() int { return segmentsBefore + m.used }

// SegmentLength is the length of a segment, in bytes.
func (m *Merger) SegmentLength(i int) int {
	switch i {
	case 0:
		return m.front
	case 1:
		return m.lengths
	}
	return m.columns[i-segmentsBefore].size
}

// reader reads a layout.
type reader struct {
	b     []byte
	limit int // of a number
	bad   bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) number() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(r.limit) {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}
