package columns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// damage changes some bytes of what is kept.
func damage(t *rapid.T, k *stored) {
	for _, b := range []*[]byte{&k.layout, &k.segments} {
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			if len(*b) == 0 {
				continue
			}
			at := rapid.IntRange(0, len(*b)-1).Draw(t, "at")
			(*b)[at] = rapid.OneOf(
				rapid.Map(rapid.IntRange(0, 7), func(bit int) byte { return (*b)[at] ^ 1<<bit }),
				rapid.SampledFrom([]byte{0, 1, 2, 5, 31, 64, 127, 128, 251, 252, 255, (*b)[at] + 1, (*b)[at] - 1}),
			).Draw(t, "value")
		}
	}
}

// TestFormat: what a text is kept as is what the documentation of the format says; so is the text that anything malformed gives, if it is not refused.
func TestFormat(t *testing.T) {
	var s Splitter
	var m Merger
	taken, refused := 0, 0
	kinds := make(map[kind]int)
	check := func(t *rapid.T) {
		text := anyTable.Draw(t, "table")
		k, ok := split(&s, text, ',')
		if got, read := formatMerge(k, len(text)); ok && (!read || !bytes.Equal(got, text)) {
			t.Fatalf("%q comes back as %q, %v", text, got, read)
		}
		for i := range s.columns[:s.used] {
			kinds[s.columns[i].kind]++
		}
		damage(t, &k)
		size := max(0, len(text)+rapid.SampledFrom([]int{0, 0, 0, 1, -1, 40}).Draw(t, "longer"))
		got, err := k.merge(&m, size)
		want, ok := formatMerge(k, size)
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Fatalf("%q %q is %q, %v, want %q, %v", k.layout, k.segments, got, err, want, ok)
		}
		if ok {
			taken++
		} else {
			refused++
		}
	}
	for range 20 { // few changes tell what is subtle
		rapid.Check(t, check)
	}
	if taken == 0 || refused == 0 {
		t.Errorf("%d taken, %d refused", taken, refused)
	}
	if len(kinds) != int(hexadecimal)+1 {
		t.Errorf("kinds: %v", kinds)
	}
}

// anyTable is the text of a table with columns that are kept in all ways, and fields among them that are not like the others.
var anyTable = rapid.Custom(func(t *rapid.T) []byte {
	rows := rapid.IntRange(1, 70).Draw(t, "rows")
	table := make([][]string, rows)
	odd := rapid.SampledFrom([]string{"", `\N`, "-0", "007", "infinity", "2026-01-31 24:00:00", "0044-03-15 BC", "+1", "1e5", "NaN", "1234567890123456789", strings.Repeat("long ", 60)})
	for n := rapid.IntRange(1, 5).Draw(t, "columns"); n > 0; n-- {
		if again := rapid.IntRange(0, 4).Draw(t, "again"); again < len(table[0]) {
			for i := range table {
				table[i] = append(table[i], table[i][again])
			}
			continue
		}
		kind, few := rapid.IntRange(0, 6).Draw(t, "kind"), rapid.IntRange(0, 3).Draw(t, "few")
		scale, shift := rapid.IntRange(0, mostDigits-1).Draw(t, "scale"), rapid.IntRange(0, 60).Draw(t, "shift")
		from := rapid.Int64Range(least+1, most-1).Draw(t, "from") >> shift
		suffix := rapid.SampledFrom([]string{"", "+00", "-03:30", "Z"}).Draw(t, "suffix")
		step := rapid.Int64Range(0, 1<<rapid.IntRange(0, 50).Draw(t, "far"))
		for i := range table {
			v, field := step.Draw(t, "value"), ""
			switch kind {
			case 0:
				v += from
				field = fmt.Sprint(v)
				if n := len(field) - scale; n > 0 && field[n-1] != '-' && scale > 0 {
					field = field[:n] + "." + field[n:]
				}
			case 1:
				field = time.UnixMicro(from%2e15 + v).UTC().Format("2006-01-02 15:04:05.999999"[:max(19, 26-scale)] + suffix)
				if v%3 == 0 && few == 1 {
					field = strings.Replace(field, suffix, strings.ReplaceAll(suffix, "0", "1"), 1)
				}
			case 2:
				field = time.UnixMicro(from%2e17 + v*1e6).UTC().Format("2006-01-02")
			case 3:
				field = fmt.Sprintf("%0*x", 8+scale, v)
			case 4:
				field = fmt.Sprintf("%08x-%04x-f%0*xZ", v%(1<<31), v%65521, scale, v)
			case 5:
				field = fmt.Sprint("word", v%7)
			default:
				field = fmt.Sprint(v, from, "x")
			}
			if few > 1 && rapid.IntRange(0, 9).Draw(t, "odd") < few {
				field = odd.Draw(t, "other")
			}
			table[i] = append(table[i], field)
		}
	}
	text := []byte(rapid.SampledFrom([]string{"\n", "head\n"}).Draw(t, "head"))
	for _, row := range table {
		text = append(append(text, strings.Join(row, ",")...), '\n')
	}
	return append(text, rapid.SampledFrom([]string{"", "tail"}).Draw(t, "tail")...)
})

// TestRefusals: one column of a text that begins with a newline, as it may be and as it may not.
func TestRefusals(t *testing.T) {
	one := func(kind byte, numbers ...int) []byte {
		return appendNumbers([]byte{',', 1, 0, 1, kind | endsLines}, numbers...)
	}
	integers := func(kind byte, lengths, others, fields, bits int, form byte, origin int64, suffix ...byte) []byte {
		b := binary.AppendVarint(append(one(kind, lengths, others, fields, bits), form), origin)
		if kind == 5 {
			b = append(append(b, byte(len(suffix))), suffix...)
		}
		return b
	}
	hex := func(fields int, template string) []byte {
		return append(one(6, 0, 0, fields, 0, len(template)), template...)
	}
	const far, lastSecond = 1_000_000_000_000_000_000, (lastDay+1)*daySeconds - 1
	for _, c := range []struct {
		name     string
		layout   []byte
		segments string
		want     string // "" if it is refused
		size     int    // if it is refused
	}{
		{"fixed", one(0, 2, 1), "\nab", "\na\nb\n", 0},
		{"fixed, one field over", one(0, 2, 1), "\nab", "", 3},
		{"fixed, one field too few", one(0, 1, 1), "\na", "", 5},
		{"varying, a byte over", one(1, 1, 2), "\n\x01ab", "", 3},
		{"varying, a length over", one(1, 2, 1), "\n\x01\x00a", "", 3},
		{"varying, half a length", one(1, 1, 1), "\n\xffa", "", 4},
		{"dictionary", one(2, 1, 1, 2), "\na\x01\x00\x00", "\na\na\n", 0},
		{"dictionary, no such word", one(2, 1, 1, 1), "\na\x01\x01", "", 4},
		{"dictionary, half a word", one(2, 1, 1, 1), "\na\x02\x00", "", 4},
		{"same as itself", one(3, 0, 0, 0), "\n", "", 2},
		{"unknown kind", one(7, 0, 0, 0), "\n", "", 2},
		{"number", integers(4, 0, 0, 1, 0, 2, -3), "\n\x00", "\n-0.03\n", 0},
		{"number with bits", integers(4, 0, 0, 1, 1, 0, 0), "\x0f\n\x40", "\n79\n", 0},
		{"number with some bits over", integers(4, 0, 0, 1, 1, 0, 0), "\xff\n\x40", "\n79\n", 0},
		{"number with a byte of bits over", integers(4, 0, 0, 1, 2, 0, 0), "\x0f\x00\n\x40", "", 4},
		{"number without bits", integers(4, 0, 0, 1, 0, 0, 0), "\n\x40", "", 4},
		{"number without all bits", integers(4, 0, 0, 1, 1, 0, 0), "\x0f\n\x54", "", 5},
		{"number as zeros", integers(4, 0, 0, 1, 0, keepsZeros|2, 0), "\n\x00", "", 6},
		{"number of the greatest scale", integers(4, 0, 0, 1, 0, 17, 1), "\n\x00", "\n0.00000000000000001\n", 0},
		{"number of a greater scale", integers(4, 0, 0, 1, 0, 18, 1), "\n\x00", "", 22},
		{"greatest number", integers(4, 0, 0, 1, 0, differences, far), "\n\x01", "\n999999999999999999\n", 0},
		{"greater number", integers(4, 0, 0, 1, 0, differences, far), "\n\x00", "", 21},
		{"least number", integers(4, 0, 0, 1, 0, 0, -far), "\n\x01", "\n-999999999999999999\n", 0},
		{"lesser number", integers(4, 0, 0, 1, 0, 0, -far), "\n\x00", "", 22},
		{"origin that is too great", integers(4, 0, 0, 1, 0, differences, far+1), "\n\x03", "", 20},
		{"unknown token", integers(4, 0, 0, 1, 6, 0, 0), "\x00\x00\x00\x00\x00\x00\x00\n\xfc", "", 19},
		{"no number", integers(4, 1, 1, 2, 0, 0, 1000), "\na\x01\x00\xff", "\n1000\na\n", 0},
		{"no number, and none of the others", integers(4, 0, 0, 1, 0, 0, 0), "\n\xff", "", 2},
		{"another over", integers(4, 1, 1, 1, 0, 0, 0), "\na\x01\x00", "", 3},
		{"time", integers(5, 0, 0, 1, 0, 1, -1, '+', '0', '0'), "\n\x00", "\n1969-12-31 23:59:59.9+00\n", 0},
		{"time, whole", integers(5, 0, 0, 1, 0, 6, 0), "\n\x00", "\n1970-01-01 00:00:00\n", 0},
		{"time with zeros", integers(5, 0, 0, 1, 0, keepsZeros|2, 10), "\n\x00", "\n1970-01-01 00:00:00.10\n", 0},
		{"last second", integers(5, 0, 0, 1, 0, 0, lastSecond), "\n\x00", "\n9999-12-31 23:59:59\n", 0},
		{"later second", integers(5, 0, 0, 1, 0, 0, lastSecond), "\n\x01", "", 22},
		{"first second", integers(5, 0, 0, 1, 0, 0, firstDay*daySeconds), "\n\x00", "\n0001-01-01 00:00:00\n", 0},
		{"earlier second", integers(5, 0, 0, 1, 0, 0, firstDay*daySeconds-1), "\n\x00", "", 21},
		{"time that no calendar knows", integers(5, 0, 0, 1, 0, 0, far-1), "\n\x00", "", 21},
		{"time of a scale between", integers(5, 0, 0, 1, 0, 7, 0), "\n\x00", "", 21},
		{"long suffix", integers(5, 0, 0, 1, 0, 0, 0, []byte("0123456789ab")...), "\n\x00", "\n1970-01-01 00:00:000123456789ab\n", 0},
		{"longer suffix", integers(5, 0, 0, 1, 0, 0, 0, []byte("0123456789abc")...), "\n\x00", "", 34},
		{"times in winter and summer", append(integers(5, 0, 0, 2, 0, twoSuffixes|differences, 7200, []byte("+01")...), "+02"...), "\n\x00\x06", "\n1970-01-01 01:00:00+01\n1970-01-01 01:00:01+02\n", 0},
		{"times of two suffixes that are none", integers(5, 0, 0, 1, 0, twoSuffixes, 7200), "\n\x00", "", 21},
		{"times with half a suffix", append(integers(5, 0, 0, 1, 0, twoSuffixes, 7200, []byte("+01")...), "+0"...), "\n\x00", "", 24},
		{"number of two suffixes", integers(4, 0, 0, 1, 0, twoSuffixes, 7200), "\n\x00", "", 6},
		{"date of two suffixes", append(integers(5, 0, 0, 1, 0, twoSuffixes|dates, 0, '+'), '-'), "\n\x00", "", 12},
		{"date", integers(5, 0, 0, 1, 0, dates, -1, '+'), "\n\x00", "\n1969-12-31\n", 0},
		{"date with zeros", integers(5, 0, 0, 1, 0, dates|keepsZeros, -1), "\n\x00", "", 12},
		{"date that no calendar knows", integers(5, 0, 0, 1, 0, dates, 1<<32), "\n\x00", "", 12},
		{"day after the last", integers(5, 0, 0, 1, 0, dates, lastDay), "\n\x01", "", 13},
		{"hexadecimal", hex(2, "x\x00\x00\x00"), "\n\xab\xcf\x01\x20", "\nxabc\nx012\n", 0},
		{"hexadecimal, one field over", hex(2, "x\x00"), "\n\x00\x00", "", 4},
		{"hexadecimal, one field too few", hex(1, "x\x00"), "\n\x00", "", 7},
		{"hexadecimal without digits", hex(1, "x"), "\n", "", 3},
		{"hexadecimal, some others", append(one(6, 2, 2, 1, 1, 2), "\x00\x00"...), "\x05\nab\x01\x01\x42", "\na\n42\nb\n", 0},
		{"hexadecimal, no such other", append(one(6, 0, 0, 1, 1, 2), "\x00\x00"...), "\x01\n\x42", "", 4},
		{"hexadecimal, an other over", append(one(6, 1, 1, 1, 1, 2), "\x00\x00"...), "\x00\na\x01\x42", "", 4},
		{"hexadecimal, too few bits", append(one(6, 0, 0, 9, 1, 2), "\x00\x00"...), "\x00\n123456789", "", 28},
		{"hexadecimal, too many bits", append(one(6, 0, 0, 8, 2, 2), "\x00\x00"...), "\x00\x00\n12345678", "", 25},
		{"long template", hex(1, strings.Repeat("x", 127)+"\x00"), "\n\x00", "\n" + strings.Repeat("x", 127) + "0\n", 0},
		{"longer template", hex(1, strings.Repeat("x", 128)+"\x00"), "\n\x00", "", 131},
		{"more than the text", one(1, 1, 4), "\n\x01abcd", "", 3},
	} {
		var m Merger
		k, size := stored{c.layout, []byte(c.segments)}, len(c.want)
		if c.want == "" {
			size = c.size
		}
		got, err := k.merge(&m, size)
		want, ok := formatMerge(k, size)
		if refused := c.want == ""; refused != (err != nil) || refused == ok || !refused && (string(got) != c.want || string(want) != c.want) {
			t.Errorf("%s: %q, %v, by the documentation %q, %v; want %q", c.name, got, err, want, ok, c.want)
		}
	}
}
