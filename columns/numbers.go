package columns

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A column of numbers or times is kept as integers: each is the difference to the one before, or to the least of them. An integer is a
// token, which says it all if it is small, or else how long it is and its upper bits; the others follow in a stream of bits.
// That is the hybrid integer coding of JPEG XL (ISO/IEC 18181-1), with 64 direct tokens and two bits in the others.

const (
	direct    = 64  // tokens that say all
	tokens    = 252 // there are
	exception = 255 // in place of a token: the field is something else
)

// longestNumber is how many bits an integer may have.
const longestNumber = 53

func tokenOf(v uint64) (token byte, rest uint64, n int) {
	if v < direct {
		return byte(v), 0, 0
	}
	n = bits.Len64(v) - 3
	return byte(direct + (n-4)*4 + int(v>>n&3)), v & (1<<n - 1), n
}

// restOf is how many bits belong to a token that is not direct.
func restOf(token int) (n int) { return 4 + (token-direct)>>2 }

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// numberForm is how the numbers of a column are written, and what they are kept as.
type numberForm struct {
	isTime      bool
	time        timeForm
	scale       int   // of what is no time: digits behind the point
	differences bool  // each is kept as the difference to the one before it, the first to origin
	origin      int64 // else as the difference to this
}

// least and most are what numbers lie between, so that no sum of two overflows.
const (
	least = -1_000_000_000_000_000_000
	most  = -least
)

// none is in place of the number of a field that is something else.
const none = math.MinInt64

// numbers is what a Splitter needs for columns of numbers.
type numbers struct {
	form     numberForm
	calendar calendar
	values   []int64
	odd      int // of them are none
	tokens   []byte
	bits     []byte
}

func (x *numbers) kept() (segment, bits []byte) { return x.tokens, x.bits }

func (x *numbers) others() int { return x.odd }

func (x *numbers) isOther(i int) bool { return x.values[i] == none }

// Fields that are not like most of their column: so many may there be, and one of so many others.
const (
	oddFew   = 8
	oddShare = 2
)

// read makes tokens of a column's fields.
func (x *numbers) read(c *column) bool { return x.parse(c) && x.code() }

// parse makes numbers of a column's fields, as guess found them to be written. It reports whether most of them are some.
func (x *numbers) parse(c *column) bool {
	x.values = slices.Grow(x.values[:0], len(c.fields))
	x.calendar = calendar{}
	x.odd = 0
	at := 0
	for i, f := range c.fields {
		n := f.length()
		v, ok := int64(0), f&1 == c.newlines
		if ok && x.form.isTime {
			var summer bool
			if v, summer, ok = x.form.time.parse(&x.calendar, c.data, at, n); !x.form.time.date {
				if v <<= 1; summer {
					v++
				}
			}
		} else if ok {
			v, ok = parseDecimal(c.data, at, n, x.form.scale)
		}
		if !ok {
			v = none
			if x.odd++; x.odd > oddFew+i/oddShare {
				return false
			}
		}
		x.values = append(x.values, v)
		at += n
	}
	return x.odd < len(x.values)
}

// sampleFields is how many fields are looked at to find out how they are written.
const sampleFields = 32

// guess finds out how a column's numbers are written, if it has any.
func (x *numbers) guess(c *column) (like int, ok bool) {
	at, found := 0, false
	for i := range min(len(c.fields), sampleFields) {
		field := c.data[at : at+c.fields[i].length()]
		at += len(field)
		form, ok := formOf(field)
		switch {
		case !ok:
		case !found:
			x.form, found = form, true
			x.form.time.suffix = bytes.Clone(form.time.suffix)
			switch {
			case form.time.date:
				return -2, true
			case !form.isTime:
				return form.scale, true
			}
		case form.isTime:
			// One that ends with a zero says that none are left out.
			x.form.time.trimmed = x.form.time.trimmed && form.time.trimmed
			x.form.time.scale = max(x.form.time.scale, form.time.scale)
		}
	}
	return -1, found
}

// formOf says how a number is written.
func formOf(field []byte) (form numberForm, ok bool) {
	if len(field) >= dateLetters && field[4] == '-' && field[7] == '-' {
		form.isTime = true
		if len(field) == dateLetters {
			form.time.date = true
			return form, true
		}
		rest := field[min(len(field), dateLetters+timeLetters):]
		if len(rest) > 0 && rest[0] == '.' {
			for form.time.scale < len(rest)-1 && rest[1+form.time.scale]-'0' < 10 {
				form.time.scale++
			}
			rest = rest[1+form.time.scale:]
		}
		form.time.trimmed = form.time.scale == 0 || field[len(field)-len(rest)-1] != '0'
		if len(rest) > mostSuffix || form.time.scale > mostBehind {
			return form, false
		}
		form.time.suffix = rest
		return form, true
	}
	digits, point := 0, -1
	for i, b := range field {
		switch {
		case b-'0' < 10:
			digits++
		case b == '.' && point < 0:
			point = i
		case b != '-' || i > 0:
			return form, false
		}
	}
	if point >= 0 {
		form.scale = len(field) - point - 1
	}
	return form, digits > form.scale && digits <= mostDigits
}

// code makes tokens of the numbers. ok is false if they are too far from one another.
func (x *numbers) code() (ok bool) {
	if x.form.isTime && !x.form.time.date {
		x.round()
	}
	lowest, highest, previous, first := int64(most), int64(least), int64(none), int64(0)
	apart, away := 0, 0 // bits that it takes
	for _, v := range x.values {
		if v == none {
			continue
		}
		if previous == none {
			first, previous = v, v
		}
		apart += bits.Len64(zigzag(v - previous))
		previous = v
		lowest, highest = min(lowest, v), max(highest, v)
	}
	span := bits.Len64(uint64(highest - lowest))
	for _, v := range x.values {
		if v != none {
			away += bits.Len64(uint64(v - lowest))
		}
	}
	x.form.differences, x.form.origin = apart < away, lowest
	if x.form.differences {
		x.form.origin = first
		span++
	}
	if span > longestNumber {
		return false
	}
	x.tokens, x.bits = x.tokens[:0], x.bits[:0]
	buffer, filled := uint64(0), 0
	previous = x.form.origin
	for _, v := range x.values {
		if v == none {
			x.tokens = append(x.tokens, exception)
			continue
		}
		var u uint64
		if x.form.differences {
			u = zigzag(v - previous)
			previous = v
		} else {
			u = uint64(v - x.form.origin)
		}
		token, rest, n := tokenOf(u)
		x.tokens = append(x.tokens, token)
		buffer |= rest << filled
		if filled += n; filled >= 64 {
			x.bits = binary.LittleEndian.AppendUint64(x.bits, buffer)
			filled -= 64
			buffer = rest >> (n - filled)
		}
	}
	for ; filled > 0; filled -= 8 {
		x.bits = append(x.bits, byte(buffer))
		buffer >>= 8
	}
	return true
}

// round takes away the digits that all times lack, and, if there is one suffix only, the bit that says which.
func (x *numbers) round() {
	t := &x.form.time
	if t.trimmed {
		finer := func(v int64) bool { return v != none && (v>>1)%tenTo[mostBehind-t.scale] != 0 }
		for t.scale = 0; t.scale < mostBehind && slices.ContainsFunc(x.values, finer); {
			t.scale += 3
		}
	}
	unit := tenTo[mostBehind-t.scale]
	for i, v := range x.values {
		if v == none {
			continue
		}
		x.values[i] = (v >> 1) / unit
		if len(t.summer) > 0 {
			x.values[i] = x.values[i]<<1 | v&1
		}
	}
}
