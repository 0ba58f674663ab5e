package columns

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// A time is written as PostgreSQL does by default, which is ISO 8601 with a space: 2026-01-31, or 2026-01-31 23:59:59.25+00. What
// follows the seconds and their fraction is one of two in all of a column.

const (
	dateLetters = len("2026-01-31")
	timeLetters = len(" 23:59:59")
	daySeconds  = 24 * 60 * 60
	mostBehind  = 6  // digits of a fraction of a second
	mostSuffix  = 12 // bytes
	firstDay    = -719162
	lastDay     = 2932896 // of the year 9999
)

// timeForm is how the times of a column are written.
type timeForm struct {
	date    bool // without a time of day; the number is one of days
	scale   int  // the number is one of 10^-scale seconds
	trimmed bool // a fraction of a second has no zeros at its end; else it has scale digits
	suffix  []byte
	summer  []byte // another suffix, as long, as where there is daylight saving time; then the number is doubled, and one more for this
}

// dayOf is the number of days from 1970-01-01 to a date of the Gregorian calendar, and dateOf the reverse. The method is Howard
// Hinnant's, "chrono-Compatible Low-Level Date Algorithms", for years from 1 on.
func dayOf(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468
}

func dateOf(days int) (year, month, day int) {
	days += 719468
	era := days / 146097
	of := days % 146097
	year = (of - of/1460 + of/36524 - of/146096) / 365
	of -= 365*year + year/4 - year/100
	month = (5*of + 2) / 153
	day = of - (153*month+2)/5 + 1
	month += 3
	if month > 12 {
		month -= 12
		year++
	}
	return year + 400*era, month, day
}

// calendar knows the day that was asked for last: times that follow each other are often of one.
type calendar struct {
	known bool
	day   int
	front uint64 // YYYY-MM-
	back  uint16 // DD
}

// parse reads a date, which has ten letters.
func (c *calendar) parse(b []byte) (day int, ok bool) {
	front, back := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[8:])
	if c.known && front == c.front && back == c.back {
		return c.day, true
	}
	var day2 [8]byte
	binary.LittleEndian.PutUint16(day2[:], back)
	year, ok1 := parseDigits(b, 0, 4)
	month, ok2 := parseDigits(b, 5, 2)
	date, ok3 := parseDigits(day2[:], 0, 2)
	if !ok1 || !ok2 || !ok3 || b[4] != '-' || b[7] != '-' || year < 1 || month < 1 || month > 12 || date < 1 {
		return 0, false
	}
	day = dayOf(int(year), int(month), int(date))
	if y, m, d := dateOf(day); y != int(year) || m != int(month) || d != int(date) {
		return 0, false // the month is not as long
	}
	*c = calendar{true, day, front, back}
	return day, true
}

// write makes the letters of a date. ok is false if its year does not have four digits.
func (c *calendar) write(number int64) (ok bool) {
	if number < firstDay || number > lastDay {
		return false
	}
	day := int(number)
	if c.known && day == c.day {
		return true
	}
	year, month, date := dateOf(day)
	x := spread(uint64(year*10000+month*10)) + digits
	x &^= 0xFF<<32 | 0xFF<<56
	*c = calendar{known: true, day: day, front: x | '-'<<32 | '-'<<56, back: uint16(twoDigits(date))}
	return true
}

// twoDigits are the letters of a number below a hundred.
func twoDigits(v int) uint64 { return uint64('0'+v/10) | uint64('0'+v%10)<<8 }

// colons are what tells hh0mm0ss from hh:mm:ss.
const colons = (':' - '0') << 16 * (1 + 1<<24)

// parse reads b[at:at+n], with six digits behind the seconds, whatever the form's scale, and whether it ends with the other suffix, which is
// the first that is not the form's. ok is false if put would write it otherwise.
func (f *timeForm) parse(c *calendar, b []byte, at, n int) (v int64, summer, ok bool) {
	if n < dateLetters {
		return 0, false, false
	}
	day, ok := c.parse(b[at:])
	if f.date || !ok {
		return int64(day), false, ok && n == dateLetters
	}
	n -= dateLetters + timeLetters + len(f.suffix)
	at += dateLetters
	if n < 0 || n == 1 || n > 1+mostBehind || b[at] != ' ' {
		return 0, false, false
	}
	x := binary.LittleEndian.Uint64(b[at+1:])
	if x>>16&0xFF != ':' || x>>40&0xFF != ':' || !areDigits(x-colons) {
		return 0, false, false
	}
	x = eightDigits(x - colons)
	hours, minutes, seconds := x/1000000, x/1000%1000, x%1000
	if hours > 23 || minutes > 59 || seconds > 59 {
		return 0, false, false
	}
	v = (int64(day)*daySeconds + int64(hours*3600+minutes*60+seconds)) * tenTo[mostBehind]
	at += timeLetters
	if n > 0 {
		behind, ok := parseDigits(b, at+1, n-1)
		if !ok || b[at] != '.' || f.trimmed && b[at+n-1] == '0' {
			return 0, false, false
		}
		v += behind * tenTo[mostBehind-n+1]
		at += n
	}
	if !f.trimmed && n != f.letters() {
		return 0, false, false
	}
	suffix := b[at : at+len(f.suffix)]
	if string(suffix) == string(f.suffix) {
		return v, false, true
	}
	if len(f.summer) == 0 {
		f.summer = bytes.Clone(suffix)
	}
	return v, true, string(suffix) == string(f.summer)
}

// letters is how many of them the fraction takes if it is not trimmed.
func (f *timeForm) letters() int {
	if f.scale == 0 {
		return 0
	}
	return 1 + f.scale
}

// mostTime is how many bytes put may change.
const mostTime = dateLetters + timeLetters + 1 + 8 + mostSuffix

// clock writes the times of a column. It knows the hour of the one before, for most are of the same.
type clock struct {
	calendar
	form         *timeForm
	hour         int64  // when it begins, in the form's unit
	length       uint64 // of an hour, in that unit; 0 before the first time
	micros       uint64 // in that unit
	front, minor uint64 // "YYYY-MM-", "DD hh:"
}

// put writes a time and returns how long it is; ok is false if there is no such time.
func (c *clock) put(b *[mostTime]byte, v int64) (n int, ok bool) {
	f := c.form
	suffix := f.suffix
	if len(f.summer) > 0 {
		if v&1 != 0 {
			suffix = f.summer
		}
		v >>= 1
	}
	if uint64(v-c.hour) >= c.length {
		if f.date {
			if !c.write(v) {
				return 0, false
			}
			binary.LittleEndian.PutUint64(b[:], c.calendar.front)
			binary.LittleEndian.PutUint16(b[8:], c.back)
			return dateLetters, true
		}
		if !c.begin(v) {
			return 0, false
		}
	}
	const minute = 60_000_000 // microseconds
	behind := uint64(v-c.hour) * c.micros
	minutes := behind / minute
	x := spread(behind - minutes*minute) // seconds and microseconds
	binary.LittleEndian.PutUint64(b[:], c.front)
	binary.LittleEndian.PutUint64(b[8:], c.minor|twoDigits(int(minutes))<<48)
	b[16] = ':'
	binary.LittleEndian.PutUint16(b[17:], uint16(x+digits))
	b[19] = '.'
	x >>= 16
	binary.LittleEndian.PutUint64(b[20:], x+digits)
	n = dateLetters + timeLetters
	if f.trimmed {
		n += (71 - bits.LeadingZeros64(x<<8)) >> 3
	} else {
		n += f.letters()
	}
	if len(suffix) > 0 {
		n += copy(b[n:], suffix)
	}
	return n, true
}

// begin makes v's hour the one that is known.
func (c *clock) begin(v int64) (ok bool) {
	unit := tenTo[c.form.scale]
	hours, rest := v/(3600*unit), v%(3600*unit)
	if rest < 0 {
		hours--
		rest += 3600 * unit
	}
	day, hour := hours/24, hours%24
	if hour < 0 {
		day--
		hour += 24
	}
	if !c.write(day) {
		return false
	}
	c.hour, c.length, c.micros = v-rest, uint64(3600*unit), uint64(tenTo[mostBehind-c.form.scale])
	c.front = c.calendar.front
	c.minor = uint64(c.back) | ' '<<16 | twoDigits(int(hour))<<24 | ':'<<40
	return true
}
