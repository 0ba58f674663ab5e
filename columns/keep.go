package columns

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// keep finds out how a column is kept best, and changes it into that.
func (s *Splitter) keep(i int) {
	c := &s.columns[i]
	front, lengths, bits := len(s.front), len(s.lengths), len(s.bits)
	if (c.coded || s.lookUp(c)) && c.words.saves(c.data[:c.n]) {
		c.newlines = c.words.list[0].field & 1
		for i := range c.words.list {
			w := &c.words.list[i]
			s.front = append(s.front, c.words.texts[w.at:][:w.field.length()]...)
			s.appendLength(w.field, c.newlines)
		}
		c.kind = dictionary
		for c.like = range i {
			other := &s.columns[c.like]
			if other.kind == dictionary && bytes.Equal(other.data[:other.n], c.data[:c.n]) {
				c.kind = same
				break
			}
		}
	} else {
		if c.coded {
			s.spell(c)
		}
		c.newlines = c.fields[0] & 1
		if len(c.data) < c.n+readAhead {
			c.grow(readAhead)
		}
		switch {
		case s.takesLess(c, &s.numbers, &c.asNumbers):
			c.kind, c.form = number, s.numbers.form
			if c.form.isTime {
				c.kind = moment
			}
			s.keepAs(c, &s.numbers)
		case s.takesLess(c, &s.hexes, &c.asHex):
			c.kind = hexadecimal
			c.hex.set(s.hexes.form.template)
			s.keepAs(c, &s.hexes)
		default:
			s.keepFields(c)
		}
	}
	c.texts, c.lengths, c.bits = len(s.front)-front, len(s.lengths)-lengths, len(s.bits)-bits
}

// keepFields keeps a column as its fields.
func (s *Splitter) keepFields(c *column) {
	c.kind = fixed
	if first := c.fields[0]; slices.ContainsFunc(c.fields, func(f field) bool { return f != first }) {
		c.kind = varying
		for _, f := range c.fields {
			s.appendLength(f, c.newlines)
		}
	}
}

// way is another way to keep a column than as its fields.
type way interface {
	// guess finds out how the fields are written, from some of them. Columns that are alike in that have the same like.
	guess(c *column) (like int, ok bool)
	// read reads all fields, as guess found them to be written, and reports whether most of them are.
	read(c *column) bool
	// kept returns what there is of the column then, and its bits.
	kept() (segment, bits []byte)
	// others is how many fields are not written so, and isOther whether one is.
	others() int
	isOther(i int) bool
}

// keepAs keeps a column as what was read.
func (s *Splitter) keepAs(c *column, w way) {
	s.keepOthers(c, w)
	segment, bits := w.kept()
	s.bits = append(s.bits, bits...)
	c.n = 0
	c.append(segment)
}

// keepOthers keeps the fields of a column that are not like most.
func (s *Splitter) keepOthers(c *column, w way) {
	if w.others() == 0 {
		return
	}
	at := 0
	for i, f := range c.fields {
		if w.isOther(i) {
			s.front = append(s.front, c.data[at:at+f.length()]...)
			s.appendLength(f, c.newlines)
		}
		at += f.length()
	}
}

// verdict is whether a column is better kept as what its fields seem to be.
type verdict struct {
	like int // what they seemed to be when it was asked
	yes  bool
	left int // texts until it is asked again
}

// askEvery is how many texts a verdict is good for.
const askEvery = 32

// known reports whether there is a verdict about such a column. If not, it is no until somebody says otherwise.
func (v *verdict) known(like int) bool {
	if v.left == 0 || v.like != like {
		*v = verdict{like: like, left: askEvery - 1}
		return false
	}
	v.left--
	return true
}

// takesLess reads a column in another way, and reports whether that is how it is kept best.
func (s *Splitter) takesLess(c *column, w way, v *verdict) bool {
	like, ok := w.guess(c)
	if !ok {
		return false
	}
	known := v.known(like)
	if known && !v.yes || !w.read(c) {
		return false
	}
	if !known {
		v.yes = s.Measure == nil || s.measure(c, w) <= s.measureFields(c)
	}
	return v.yes
}

// measureFields is how many bytes a column takes at last as its fields.
func (s *Splitter) measureFields(c *column) int {
	lengths := len(s.lengths)
	s.keepFields(c)
	size := s.Measure(c.data[:c.n]) + s.Measure(s.lengths[lengths:])
	s.lengths = s.lengths[:lengths]
	return size
}

// measure is how many bytes a column takes at last as what was read.
func (s *Splitter) measure(c *column, w way) int {
	front, lengths := len(s.front), len(s.lengths)
	s.keepOthers(c, w)
	segment, bits := w.kept()
	size := s.Measure(segment) + len(bits) + s.Measure(s.front[front:]) + s.Measure(s.lengths[lengths:])
	s.front, s.lengths = s.front[:front], s.lengths[:lengths]
	return size
}

func (s *Splitter) appendLength(f, newlines field) {
	if f&1 == newlines && f < escape<<1 {
		s.lengths = append(s.lengths, byte(f>>1))
		return
	}
	s.lengths = append(s.lengths, escape)
	s.lengths = binary.AppendUvarint(s.lengths, uint64(f^newlines))
}

// lookUp makes a column of few different fields one of codes. It reports whether there are few.
func (s *Splitter) lookUp(c *column) bool {
	if s.trial == nil {
		s.trial = new(words)
	}
	s.trial.reset()
	s.codes = s.codes[:0]
	at := 0
	for i, f := range c.fields {
		code, ok := s.trial.code(c.data[at:at+f.length()], f, i)
		if !ok {
			return false
		}
		s.codes = append(s.codes, code)
		at += f.length()
	}
	c.n, c.coded = 0, true
	c.append(s.codes)
	c.fields = c.fields[:0]
	c.words, s.trial = s.trial, c.words
	return true
}
