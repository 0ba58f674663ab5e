package columns

import "encoding/binary"

// The layout says what columns there are. It is
//
//	delimiter u8 ‖ head ‖ tail ‖ number of columns ‖ for each: kind u8 ‖ …
//	text:       length
//	fixed:      number of fields ‖ width ‖ ending u8
//	dictionary: number of fields ‖ length of the dictionary
//
// with uvarints for all numbers. What it describes is called segments: the front, which is head, tail and the dictionaries
// one behind the other; and then what there is of each column: fields, or codes.

// AppendLayout appends the layout of what was split last to dst.
func (s *Splitter) AppendLayout(dst []byte) []byte {
	dst = append(dst, s.delimiter)
	dst = binary.AppendUvarint(dst, uint64(s.head))
	dst = binary.AppendUvarint(dst, uint64(s.tail))
	dst = binary.AppendUvarint(dst, uint64(s.used))
	for i := range s.columns[:s.used] {
		c := &s.columns[i]
		dst = append(dst, byte(c.kind))
		switch c.kind {
		case Text:
			dst = binary.AppendUvarint(dst, uint64(c.n))
		case Fixed:
			dst = binary.AppendUvarint(dst, uint64(c.fields))
			dst = binary.AppendUvarint(dst, uint64(c.width))
			dst = append(dst, c.ending)
		case Dictionary:
			dst = binary.AppendUvarint(dst, uint64(c.fields))
			dst = binary.AppendUvarint(dst, uint64(len(c.dictionary.text)))
		}
	}
	return dst
}

// Segments is how many segments there are.
func (s *Splitter) Segments() int { return 1 + s.used }

// Segment returns a segment of what was split last. It is valid until the next is.
func (s *Splitter) Segment(i int) []byte {
	if i == 0 {
		return s.front
	}
	c := &s.columns[i-1]
	return c.data[:c.n]
}

// Layout reads the layout of a text of size bytes from the beginning of b and returns what follows it.
func (m *Merger) Layout(b []byte, size int) (rest []byte, err error) {
	r := reader{b: b, limit: size}
	m.delimiter = r.byte()
	m.head, m.tail = r.number(), r.number()
	n := r.number()
	front := m.head + m.tail
	if n > Max {
		return nil, ErrDamaged
	}
	for len(m.columns) < n {
		m.columns = append(m.columns, source{})
	}
	m.used = n
	total := 0
	for i := range m.columns[:n] {
		c := &m.columns[i]
		*c = source{kind: Kind(r.byte()), words: c.words[:0]}
		switch c.kind {
		case Text:
			c.length = r.number()
		case Fixed:
			fields := r.number()
			c.width, c.ending = r.number(), r.byte()
			c.length = fields * c.width // both are at most size, which is a chunk's
		case Dictionary:
			c.length, c.dictionary = r.number(), r.number()
			front += c.dictionary
		default:
			return nil, ErrDamaged
		}
		if total += c.length; r.bad || total > size || front > size {
			return nil, ErrDamaged
		}
	}
	m.front = front
	if r.bad || front+total > size {
		return nil, ErrDamaged
	}
	return r.b, nil
}

// Segments is how many segments the layout has.
func (m *Merger) Segments() int { return 1 + m.used }

// SegmentLength is the length of a segment, in bytes.
func (m *Merger) SegmentLength(i int) int {
	if i == 0 {
		return m.front
	}
	return m.columns[i-1].length
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
