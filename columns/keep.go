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
		case s.count(c):
			s.keepNumbers(c)
		case s.pack(c):
			s.keepHex(c)
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

// keepNumbers keeps a column as the numbers that were found in it.
func (s *Splitter) keepNumbers(c *column) {
	c.kind, c.form = number, s.numbers.form
	if c.form.isTime {
		c.kind = moment
	}
	s.keepOthers(c, s.numbers.odd, s.numbers.isOther)
	s.bits = append(s.bits, s.numbers.bits...)
	c.n = 0
	c.append(s.numbers.tokens)
}

// keepHex keeps a column as the digits that were found in it.
func (s *Splitter) keepHex(c *column) {
	c.kind = hexadecimal
	c.hex.set(s.hexes.form.template)
	s.keepOthers(c, s.hexes.odd, s.hexes.isOther)
	if s.hexes.odd > 0 {
		s.bits = append(s.bits, s.hexes.others...)
	}
	c.n = 0
	c.append(s.hexes.packed)
}

// keepOthers keeps the fields of a column that are not like most, of which there are so many.
func (s *Splitter) keepOthers(c *column, odd int, isOther func(i int) bool) {
	if odd == 0 {
		return
	}
	at := 0
	for i, f := range c.fields {
		if isOther(i) {
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

// known reports whether there is a verdict about such a column.
func (v *verdict) known(like int) bool {
	if v.left == 0 || v.like != like {
		*v = verdict{like: like, left: askEvery - 1}
		return false
	}
	v.left--
	return true
}

// better finds out whether a column takes less in another way than as its fields.
func (s *Splitter) better(c *column, other func() int) bool {
	if s.Measure == nil {
		return true
	}
	lengths := len(s.lengths)
	s.keepFields(c)
	fields := s.Measure(c.data[:c.n]) + s.Measure(s.lengths[lengths:])
	s.lengths = s.lengths[:lengths]
	return other() <= fields
}

// measureOthers is how many bytes the fields take at last that are not like most.
func (s *Splitter) measureOthers(c *column, odd int, isOther func(i int) bool) int {
	front, lengths := len(s.front), len(s.lengths)
	s.keepOthers(c, odd, isOther)
	size := s.Measure(s.front[front:]) + s.Measure(s.lengths[lengths:])
	s.front, s.lengths = s.front[:front], s.lengths[:lengths]
	return size
}

// count finds numbers in a column, and reports whether that is how it is kept best.
func (s *Splitter) count(c *column) bool {
	x := &s.numbers
	if !x.guess(c) {
		return false
	}
	like := x.form.scale
	if x.form.isTime {
		like = -1
	}
	if x.form.time.date {
		like = -2
	}
	known := c.asNumbers.known(like)
	if known && !c.asNumbers.yes || !x.read(c) || !x.code() {
		return false
	}
	if !known {
		c.asNumbers.yes = s.better(c, func() int {
			return s.Measure(x.tokens) + len(x.bits) + s.measureOthers(c, x.odd, x.isOther)
		})
	}
	return c.asNumbers.yes
}

// pack finds hexadecimal digits in a column, and reports whether that is how it is kept best.
func (s *Splitter) pack(c *column) bool {
	h := &s.hexes
	if !h.guess(c) {
		return false
	}
	known := c.asHex.known(0)
	if known && !c.asHex.yes || !h.pack(c) {
		return false
	}
	if !known {
		c.asHex.yes = s.better(c, func() int {
			return s.Measure(h.packed) + min(h.odd, len(h.others)) + s.measureOthers(c, h.odd, h.isOther)
		})
	}
	return c.asHex.yes
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
