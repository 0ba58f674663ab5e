package tablegen

import "strconv"

// appendHex writes the low digits of x.
func appendHex(b []byte, x uint64, digits int) []byte {
	const hex = "0123456789abcdef"
	for i := digits - 1; i >= 0; i-- {
		b = append(b, hex[x>>(4*i)&15])
	}
	return b
}

// appendCents writes an amount with two decimals.
func appendCents(b []byte, cents uint64) []byte {
	b = strconv.AppendUint(b, cents/100, 10)
	b = append(b, '.')
	return appendTwo(b, cents%100)
}

func appendTwo(b []byte, x uint64) []byte {
	return append(b, byte('0'+x/10), byte('0'+x%10))
}

// appendTimestamp writes seconds since 1970 and microseconds, as PostgreSQL does with datestyle ISO: without the zeros
// at the end.
func appendTimestamp(b []byte, seconds int64, micros uint64) []byte {
	b = appendDate(b, seconds/daySecs)
	rest := uint64(seconds % daySecs)
	b = append(b, ' ')
	b = appendTwo(b, rest/3600)
	b = append(b, ':')
	b = appendTwo(b, rest/60%60)
	b = append(b, ':')
	b = appendTwo(b, rest%60)
	if micros == 0 {
		return b
	}
	b = append(b, '.')
	b = appendTwo(b, micros/10_000)
	b = appendTwo(b, micros/100%100)
	b = appendTwo(b, micros%100)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// appendDate writes a day since 1970 (not before) as a date. The calendar's year begins in March, so that the leap day
// is its last.
func appendDate(b []byte, day int64) []byte {
	day += 719_468 // since 0000-03-01
	era, of := day/146_097, day%146_097
	year := (of - of/1_460 + of/36_524 - of/146_096) / 365
	of -= 365*year + year/4 - year/100
	month := (5*of + 2) / 153
	dayOf := of - (153*month+2)/5 + 1
	year += era * 400
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	b = strconv.AppendInt(b, year, 10)
	b = append(b, '-')
	b = appendTwo(b, uint64(month))
	b = append(b, '-')
	return appendTwo(b, uint64(dayOf))
}
