package columns

import "encoding/binary"

// The layout says what columns there are. It is
//
//	delimiter u8 ‖ head ‖ tail ‖ number of columns ‖ for each: kind u8, and endsLines ‖ …
//	fixed:      number of fields ‖ length of each
//	varying:    size of the lengths ‖ size of the fields
//	dictionary: size of the lengths ‖ size of the words ‖ number of fields
//	same:       size of the lengths ‖ size of the words ‖ number of the column
//	number:     size of the lengths ‖ size of other fields ‖ number of fields ‖ size of the bits ‖ form u8 ‖ origin
//	moment:     the same ‖ size of the suffix ‖ suffix ‖ the other suffix, if the form says so
//	hexadecimal: size of the lengths ‖ size of other fields ‖ number of fields but these ‖ size of the bits ‖ size of the template ‖ template
//
// with uvarints for all numbers, sizes in bytes, but for the origin, a varint. What it describes is called segments: all bits; the
// front, which is head, tail, and of each column all words or other fields; all lengths, of these and of fields; and then what there is of
// each column: fields, or codes, or tokens.

// segmentsBefore is the number of segments before those of the columns.
const segmentsBefore = 3

// The form of a number is its scale, in its five lower bits, that of a time, too, or dates; and
const (
	dates       = 31
	twoSuffixes = 32  // in a time: a second suffix follows the first; the lowest bit says which one it is
	keepsZeros  = 64  // in a time: the fraction of a second has all digits of the scale
	differences = 128 // each is kept as the difference to the one before
)

func (f *numberForm) flags() byte {
	flags := byte(f.scale)
	if f.isTime {
		flags = byte(f.time.scale)
		if f.time.date {
			flags = dates
		}
		if !f.time.date && !f.time.trimmed {
			flags |= keepsZeros
		}
		if len(f.time.summer) > 0 {
			flags |= twoSuffixes
		}
	}
	if f.differences {
		flags |= differences
	}
	return flags
}

// read takes the form of a column's numbers, and reports whether there may be one.
func (f *numberForm) read(flags byte, isTime bool, origin int64) bool {
	f.isTime, f.differences, f.origin = isTime, flags&differences != 0, origin
	if origin < least || origin > most {
		return false
	}
	scale, others := int(flags&dates), flags&(keepsZeros|twoSuffixes)
	if !f.isTime {
		f.scale = scale
		return scale < mostDigits && others == 0
	}
	f.time.trimmed = flags&keepsZeros == 0
	if f.time.date = scale == dates; f.time.date {
		return others == 0
	}
	f.time.scale = scale
	return scale <= mostBehind
}

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
			dst = appendNumbers(dst, c.lengths, c.texts, c.n)
		case same:
			dst = appendNumbers(dst, c.lengths, c.texts, c.like)
		case number, moment:
			dst = appendNumbers(dst, c.lengths, c.texts, c.n, c.bits)
			dst = append(dst, c.form.flags())
			dst = binary.AppendVarint(dst, c.form.origin)
			if c.kind == moment {
				dst = appendNumbers(dst, len(c.form.time.suffix))
				dst = append(append(dst, c.form.time.suffix...), c.form.time.summer...)
			}
		case hexadecimal:
			dst = appendNumbers(dst, c.lengths, c.texts, c.n/c.hex.packed(), c.bits, len(c.hex.template))
			dst = append(dst, c.hex.template...)
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

// Bits is the number of a segment that compressing does not make shorter.
const Bits = 0

// Segment returns a segment of what was split last. It is valid until the next is.
func (s *Splitter) Segment(i int) []byte {
	switch i {
	case Bits:
		return s.bits
	case 1:
		return s.front
	case 2:
		return s.lengths
	}
	c := &s.columns[i-segmentsBefore]
	if c.kind == same {
		return nil
	}
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
	m.front, m.lengths, m.bits = m.head+m.tail, 0, 0
	total := 0
	for i := range m.columns[:n] {
		c := &m.columns[i]
		flags := r.byte()
		*c = source{kind: kind(flags &^ endsLines), ending: m.delimiter, other: newline, words: c.words[:0], form: numberForm{time: timeForm{suffix: c.form.time.suffix, summer: c.form.time.summer}}, hex: c.hex}
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
		case same:
			c.lengths, c.texts, c.like = r.number(), r.number(), r.number()
			if c.like >= i || m.columns[c.like].kind != dictionary {
				return nil, ErrDamaged
			}
		case number, moment:
			c.lengths, c.texts, c.size, c.bits = r.number(), r.number(), r.number(), r.number()
			form := r.byte()
			if !c.form.read(form, c.kind == moment, r.varint()) {
				return nil, ErrDamaged
			}
			if c.kind == moment {
				t := &c.form.time
				t.suffix, t.summer = append(t.suffix[:0], r.bytes(mostSuffix)...), t.summer[:0]
				if form&twoSuffixes != 0 {
					if t.summer = append(t.summer, r.next(len(t.suffix))...); len(t.summer) == 0 {
						return nil, ErrDamaged
					}
				}
			}
		case hexadecimal:
			c.lengths, c.texts = r.number(), r.number()
			fields := r.number()
			c.bits = r.number()
			c.hex.set(r.bytes(mostHex))
			if c.width = len(c.hex.template); c.hex.digits == 0 || fields > size/c.hex.packed() {
				return nil, ErrDamaged
			}
			c.size = fields * c.hex.packed()
		default:
			return nil, ErrDamaged
		}
		m.front += c.texts
		m.lengths += c.lengths
		m.bits += c.bits
		if total += c.size; r.bad || m.front+m.lengths+m.bits+total > size {
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
	case Bits:
		return m.bits
	case 1:
		return m.front
	case 2:
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

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes reads a number and so many bytes, unless they are more than most.
func (r *reader) bytes(most int) []byte {
	n := r.number()
	if n > most {
		r.bad = true
		return nil
	}
	return r.next(n)
}

// next reads so many bytes.
func (r *reader) next(n int) []byte {
	if n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
