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
	front      []byte // head, tail, dictionaries
	trial      *dictionary
	codes      []byte
}

// column is a column of the text.
type column struct {
	data   []byte // as long as its memory
	n      int    // bytes of it that are used: fields, with what ends them, or codes
	fields int
	quoted bool // some are
	coded  bool // data has the fields' codes; the dictionary has at most as many words as there are

	kind       Kind
	width      int  // of a field
	ending     byte // what follows each
	dictionary *dictionary
}

// columnRoom is the memory that a column begins with, in bytes.
const columnRoom = 4 << 10

// Split splits text, whose fields end with delimiter or a newline. What it makes is valid until the next call.
func (s *Splitter) Split(text []byte, delimiter byte) {
	for i := range s.columns[:s.used] {
		c := &s.columns[i]
		// What had few different fields will have them again.
		*c = column{data: c.data, dictionary: c.dictionary, coded: c.kind == Dictionary}
		if c.coded {
			c.dictionary.reset()
		}
	}
	s.used, s.delimiter = 0, delimiter
	s.head = bytes.IndexByte(text, newline) + 1
	rows := text[s.head : bytes.LastIndexByte(text, newline)+1]
	s.tail = len(text) - s.head - len(rows)
	s.front = append(append(s.front[:0], text[:s.head]...), text[len(text)-s.tail:]...)
	s.split(rows)
	for i := range s.columns[:s.used] {
		s.keep(&s.columns[i])
	}
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
			ended := false
			if rows[at] == quote {
				from := at
				c.quoted = true
				at, ended = quoted(rows, at)
				c.append(rows[from:at])
			}
			// Most fields are shorter than sixteen bytes. To copy so many takes less than to ask how many there are.
			for !ended && at+16 <= len(rows) {
				if c.n+16 > len(c.data) {
					c.grow(16)
				}
				from, to := (*[16]byte)(rows[at:]), (*[16]byte)(c.data[c.n:])
				low, high := binary.LittleEndian.Uint64(from[:]), binary.LittleEndian.Uint64(from[8:])
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
				from := at
				at, _ = after(rows, at, s.delimiter, newline)
				c.append(rows[from:at])
			}
		}
		c.fields++
		if rows[at-1] == newline {
			j = 0
		} else if j < Max-1 {
			j++
		}
	}
}

// code appends the code of the field that begins at at to a column, and returns where the field ends. If it has none, the column
// becomes one of text.
func (s *Splitter) code(c *column, rows []byte, at int) int {
	c.quoted = c.quoted || rows[at] == quote
	code, end, ok := c.dictionary.next(rows, at, s.delimiter, c.fields)
	if !ok {
		s.spell(c)
		c.append(rows[at:end])
		return end
	}
	if c.n == len(c.data) {
		c.grow(1)
	}
	c.data[c.n] = code
	c.n++
	return end
}

// spell makes a column of codes one of text.
func (s *Splitter) spell(c *column) {
	s.codes = append(s.codes[:0], c.data[:c.n]...)
	c.n, c.coded = 0, false
	for _, code := range s.codes {
		c.append(c.dictionary.word(code))
	}
}

// keep finds out how a column is kept best, and changes it into that.
func (s *Splitter) keep(c *column) {
	if c.coded || s.lookUp(c) {
		if c.dictionary.saves(c.data[:c.n]) {
			c.kind = Dictionary
			s.front = append(s.front, c.dictionary.text...)
			return
		}
		s.spell(c)
	}
	if c.isFixed() {
		c.kind, c.width = Fixed, c.n/c.fields-1
		c.ending = c.data[c.width]
		c.n = 0
		for from := 0; c.n < c.fields*c.width; from += c.width + 1 {
			c.n += copy(c.data[c.n:], c.data[from:from+c.width])
		}
	}
}

// isFixed reports whether all fields are as long as the first and end as it does. There are as many ends as fields, so
// if there is one wherever one should be, there is none elsewhere; unless quotes hide some.
func (c *column) isFixed() bool {
	length := c.n / c.fields
	if c.quoted || length*c.fields != c.n {
		return false
	}
	ending := c.data[length-1]
	for at := length - 1; at < c.n; at += length {
		if c.data[at] != ending {
			return false
		}
	}
	return true
}

// lookUp makes a column of few different fields one of codes. It reports whether there are few.
func (s *Splitter) lookUp(c *column) bool {
	if s.trial == nil {
		s.trial = new(dictionary)
	}
	s.trial.reset()
	s.codes = s.codes[:0]
	for at, i := 0, 0; at < c.n; i++ {
		code, end, ok := s.trial.next(c.data[:c.n], at, s.delimiter, i)
		if !ok {
			return false
		}
		s.codes = append(s.codes, code)
		at = end
	}
	c.n, c.coded = copy(c.data, s.codes), true
	c.dictionary, s.trial = s.trial, c.dictionary
	return true
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
