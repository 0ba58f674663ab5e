package columns

import (
	"bytes"
	"encoding/binary"
)

// Splitter splits texts. It is not safe for concurrent use. Its memory is used again and again, and a text that is like
// the one before takes less time.
type Splitter struct {
	columns    []column
	used       int
	delimiter  byte
	head, tail int
	front      []byte // head, tail, dictionaries, fields that are not like most of their column
	lengths    []byte
	bits       []byte // of numbers, and of which fields are others
	trial      *words
	codes      []byte
	numbers    numbers
	hexes      hexes

	// Measure, which is asked now and then, returns how many bytes a segment takes at last: numbers and digits are kept as
	// fields if that takes less. Without it they are always kept as such.
	Measure func(segment []byte) int
}

// field is the length of a field, doubled, and one more if a newline ends it. There may be as many fields as a chunk has bytes.
type field uint32

func fieldOf(length int, ending byte) field {
	if ending == newline {
		return field(length)<<1 | 1
	}
	return field(length) << 1
}

func (f field) length() int { return int(f >> 1) }

// column is a column of the text.
type column struct {
	data   []byte // as long as its memory
	n      int    // bytes of it that are used: fields, or codes
	fields []field
	coded  bool // data has the fields' codes, and fields is empty

	kind     kind
	newlines field // 1 if that is what ends its fields, or most
	words    *words
	lengths  int // bytes of its lengths
	texts    int // bytes that it has in the front
	bits     int // bytes of its bits
	form     numberForm
	hex      hexForm
	like     int // number of the column that has the same codes

	asNumbers, asHex verdict
}

// columnRoom is the memory that a column begins with, in bytes.
const columnRoom = 4 << 10

// Split splits text, whose fields end with delimiter or a newline. What it makes is valid until the next call. ok is false, and nothing
// is valid, if it would be longer than the text, or the text is longer than Longest.
func (s *Splitter) Split(text []byte, delimiter byte) (ok bool) {
	for i := range s.columns[:s.used] {
		c := &s.columns[i]
		// What had few different fields will have them again.
		*c = column{data: c.data, fields: c.fields[:0], words: c.words, coded: c.kind == dictionary || c.kind == same, hex: c.hex, asNumbers: c.asNumbers, asHex: c.asHex}
		if c.coded {
			c.words.reset()
		}
	}
	s.used, s.delimiter = 0, delimiter
	if len(text) > Longest {
		return false
	}
	s.head = bytes.IndexByte(text, newline) + 1
	rows := text[s.head : bytes.LastIndexByte(text, newline)+1]
	s.tail = len(text) - s.head - len(rows)
	s.front = append(append(s.front[:0], text[:s.head]...), text[len(text)-s.tail:]...)
	s.lengths, s.bits = s.lengths[:0], s.bits[:0]
	s.split(rows)
	total := 0
	for i := range s.columns[:s.used] {
		s.keep(i)
		total += len(s.Segment(i + segmentsBefore))
	}
	return len(s.front)+len(s.lengths)+len(s.bits)+total <= len(text)
}

// split gives the fields to their columns. rows is empty or ends with a newline.
func (s *Splitter) split(rows []byte) {
	x, y := ones*uint64(s.delimiter), uint64(ones*newline)
	for at, j := 0, 0; at < len(rows); {
		if j == s.used {
			if s.used++; s.used > len(s.columns) {
				s.columns = append(s.columns, column{data: make([]byte, columnRoom)})
			}
		}
		c := &s.columns[j]
		if c.coded {
			at = s.code(c, rows, at)
		} else {
			from, ended := at, false
			if rows[at] == quote {
				at, ended = quoted(rows, at)
				c.append(rows[from:at])
			}
			// Most fields are shorter than sixteen bytes. To copy so many takes less than to ask how many there are.
			for !ended && at+16 <= len(rows) {
				if c.n+16 > len(c.data) {
					c.grow(16)
				}
				source, to := (*[16]byte)(rows[at:]), (*[16]byte)(c.data[c.n:])
				low, high := binary.LittleEndian.Uint64(source[:]), binary.LittleEndian.Uint64(source[8:])
				binary.LittleEndian.PutUint64(to[:], low)
				binary.LittleEndian.PutUint64(to[8:], high)
				n := ends(low, high, x, y)
				if n < 16 {
					n, ended = n+1, true
				}
				c.n += n
				at += n
			}
			if !ended {
				begin := at
				at, _ = after(rows, at, s.delimiter, newline)
				c.append(rows[begin:at])
			}
			c.n-- // the next field begins where this one ended
			c.fields = append(c.fields, fieldOf(at-from-1, rows[at-1]))
		}
		if rows[at-1] == newline {
			j = 0
		} else if j < Max-1 {
			j++
		}
	}
}

// code appends the code of the field that begins at at to a column, and returns where the field ends. If it can have none,
// the column is one of fields from now on.
func (s *Splitter) code(c *column, rows []byte, at int) int {
	end := fieldEnd(rows, at, s.delimiter)
	text, f := rows[at:end-1:len(rows)], fieldOf(end-1-at, rows[end-1])
	code, ok := c.words.code(text, f, c.n)
	if !ok {
		s.spell(c)
		c.appendField(text, f)
		return end
	}
	if c.n == len(c.data) {
		c.grow(1)
	}
	c.data[c.n] = code
	c.n++
	return end
}

// spell makes a column of codes one of fields.
func (s *Splitter) spell(c *column) {
	s.codes = append(s.codes[:0], c.data[:c.n]...)
	c.n, c.coded = 0, false
	for _, code := range s.codes {
		c.appendField(c.words.text(code))
	}
}

func (c *column) appendField(text []byte, f field) {
	c.append(text)
	c.fields = append(c.fields, f)
}

func (c *column) append(b []byte) {
	if c.n+len(b) > len(c.data) {
		c.grow(len(b))
	}
	c.n += copy(c.data[c.n:], b)
}

func (c *column) grow(n int) {
	data := make([]byte, max(2*len(c.data), c.n+n))
	copy(data, c.data[:c.n])
	c.data = data
}
