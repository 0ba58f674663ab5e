package columns

import (
	"bytes"
	"fmt"
	"math/bits"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// room puts a text where parsers may read behind it.
func room(text string) []byte { return append([]byte(text), "########"...) }

// TestDecimal: what is written is what the standard library writes, it is read again, and nothing else is a number.
func TestDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scale := rapid.IntRange(0, mostDigits-1).Draw(t, "scale")
		v := rapid.Int64Range(least+1, most-1).Draw(t, "number") >> rapid.IntRange(0, 63).Draw(t, "shorter")
		unit, sign := tenTo[scale], ""
		u := uint64(v)
		if v < 0 {
			u, sign = -u, "-"
		}
		want := fmt.Sprintf("%s%d", sign, u/uint64(unit))
		if scale > 0 {
			want += fmt.Sprintf(".%0*d", scale, u%uint64(unit))
		}
		var b [mostLetters]byte
		if n := putDecimal(&b, v, scale); string(b[:n]) != want {
			t.Fatalf("%d is written %q, want %q", v, b[:n], want)
		}
		if got, ok := parseDecimal(room(want), 0, len(want), scale); !ok || got != v {
			t.Fatalf("%q is read as %d, %v", want, got, ok)
		}
	})
	for _, c := range []struct {
		text  string
		scale int
	}{
		{"", 0},
		{"-", 0},
		{"-0", 0},
		{"00", 0},
		{"01", 0},
		{"+1", 0},
		{"1 ", 0},
		{"1.", 0},
		{"1.0", 0},
		{"-0.0", 1},
		{".5", 1},
		{"1.5", 2},
		{"1.50", 1},
		{"1234567a", 0},
		{"a2345678", 0},
		{"123456789a", 0},
		{"1:", 0},
		{"1/", 0},
		{"1000000000000000000", 0},
		{"1234567890123456.789", 3},
		{"12,5", 1},
		{"0x1f", 0},
		{"--1", 0},
		{"1-1", 0},
		{"01.5", 1},
		{"NaN", 0},
		{"1e5", 0},
	} {
		if v, ok := parseDecimal(room(c.text), 0, len(c.text), c.scale); ok {
			t.Errorf("%q is the number %d", c.text, v)
		}
	}
}

// TestTimes: what is written is what the standard library writes, and it is read again.
func TestTimes(t *testing.T) {
	epoch := time.Unix(0, 0).UTC()
	written := clock{form: &timeForm{date: true}}
	var parsed calendar
	var b [mostTime]byte
	for day := firstDay; day <= lastDay; day += 13 {
		want := epoch.AddDate(0, 0, day).Format(time.DateOnly)
		if n, ok := written.put(&b, int64(day)); !ok || string(b[:n]) != want {
			t.Fatalf("day %d is written %q, want %q", day, b[:n], want)
		}
		if got, ok := parsed.parse(room(want)); !ok || got != day {
			t.Fatalf("%q is read as %d, %v", want, got, ok)
		}
	}
	if year, month, day := dateOf(lastDay); year != 9999 || month != 12 || day != 31 {
		t.Errorf("the last day is %d-%d-%d", year, month, day)
	}
	for _, day := range []int64{firstDay - 1, lastDay + 1, 1 << 32, -1 << 62, 1 << 62} {
		if _, ok := written.put(&b, day); ok {
			t.Errorf("day %d is written", day)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		f := timeForm{
			scale:   rapid.IntRange(0, mostBehind).Draw(t, "scale"),
			trimmed: rapid.Bool().Draw(t, "trimmed"),
			suffix:  []byte(rapid.SampledFrom([]string{"", "+00", "-03:30", "Z", " BC 4567890."}).Draw(t, "suffix")),
		}
		at := time.Unix(rapid.Int64Range(firstDay*daySeconds, lastDay*daySeconds+daySeconds-1).Draw(t, "seconds"), 0).UTC()
		behind := rapid.Int64Range(0, tenTo[f.scale]-1).Draw(t, "behind")
		if rapid.Bool().Draw(t, "round") {
			behind -= behind % tenTo[f.scale/2]
		}
		want := at.Format(time.DateTime)
		if f.scale > 0 {
			want += fmt.Sprintf(".%0*d", f.scale, behind)
		}
		if f.trimmed && f.scale > 0 {
			want = strings.TrimRight(strings.TrimRight(want, "0"), ".")
			if behind == 0 {
				want = at.Format(time.DateTime)
			}
		}
		want += string(f.suffix)
		c := clock{form: &f}
		var b [mostTime]byte
		v := at.Unix()*tenTo[f.scale] + behind
		n, ok := c.put(&b, v)
		if !ok || string(b[:n]) != want {
			t.Fatalf("%d is written %q, want %q", v, b[:n], want)
		}
		if got, summer, ok := f.parse(&parsed, room(want), 0, len(want)); !ok || summer || got != v*tenTo[mostBehind-f.scale] {
			t.Fatalf("%q is read as %d, %v", want, got, ok)
		}
	})
	plain := timeForm{trimmed: true}
	for _, text := range []string{
		"", "2026-11-22", "2026-11-22 10:00", "2026-11-22T10:00:00", "2026-11-22 10:00:00.", "2026-11-22 10:00:00.10", "2026-11-22 10:00:00.1234567", "2026-11-22 24:00:00",
		"2026-11-22 10:60:00", "2026-11-22 10:00:60", "2026-11-31 10:00:00", "2026-13-01 10:00:00", "2026-00-01 10:00:00", "2026-01-00 10:00:00", "0000-01-01 10:00:00", "2025-02-29 10:00:00",
		"2026/11/22 10:00:00", "2026-11-22 10.00.00", "2026-11-22 10:00:00+0", "2026-11-22 1a:00:00", "-026-11-22 10:00:00", "2026-11-22 10:00:00,5", "infinity", "10000-01-01 10:00:00",
	} {
		if v, _, ok := plain.parse(&calendar{}, room(text), 0, len(text)); ok {
			t.Errorf("%q is the time %d", text, v)
		}
	}
}

// TestTokens: every integer has a token of its length, and no other has the same.
func TestTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64Range(0, 1<<longestNumber-1).Draw(t, "integer") >> rapid.IntRange(0, longestNumber).Draw(t, "shorter")
		token, rest, n := tokenOf(v)
		if token >= tokens || v >= direct && n != restOf(int(token)) || n > bits.Len64(v) || rest>>n != 0 {
			t.Fatalf("%d has token %d and %d in %d bits", v, token, rest, n)
		}
		again := uint64(token)
		if v >= direct {
			again = uint64(token&3|4)<<n | rest
		}
		if again != v {
			t.Fatalf("%d comes back as %d", v, again)
		}
	})
	if token, _, _ := tokenOf(1<<longestNumber - 1); token != tokens-1 {
		t.Errorf("the greatest integer has token %d", token)
	}
}

// TestNumbersThatCostMore: numbers are kept as fields if these take less, until they are asked about again.
func TestNumbersThatCostMore(t *testing.T) {
	text := []byte("\n")
	for i := range 300 {
		text = fmt.Appendf(text, "%d,x\n", 1000+i*i%977)
	}
	asked, fields := 0, 1
	s := Splitter{Measure: func(b []byte) int {
		asked++
		switch len(b) {
		case 0:
			return 0
		case 300:
			return 1000 // tokens
		}
		return fields
	}}
	kind := func() kind {
		s.Split(text, ',')
		return s.columns[0].kind
	}
	if got := kind(); got == number || asked == 0 {
		t.Errorf("kept as %d after %d questions", got, asked)
	}
	asked, fields = 0, 1<<20
	for range askEvery - 1 {
		if got := kind(); got == number || asked > 0 {
			t.Fatalf("kept as %d after %d questions", got, asked)
		}
	}
	if got := kind(); got != number || asked == 0 {
		t.Errorf("kept as %d after %d questions", got, asked)
	}
}

// TestDigitsAtTheEndOfMemory: the digits of a last field may end where the memory of its column does. They are read eight at a time.
func TestDigitsAtTheEndOfMemory(t *testing.T) {
	for width := leastHex; width <= mostHex; width++ {
		for _, form := range []string{"x,f%0*x\n", "x,5%0*d\n"} {
			var s Splitter
			var m Merger
			text := []byte("\n")
			for i := range columnRoom / width {
				text = fmt.Appendf(text, form, width-1, int64(i+1)*2654435761%100_000_000)
			}
			k, ok := split(&s, text, ',')
			if out, err := k.merge(&m, len(text)); !ok || err != nil || string(out) != string(text) {
				t.Errorf("%d digits: split %v, merged: %v", width, ok, err)
			}
		}
	}
}

// TestOthersThatCost: what is no number costs as much beside numbers as among fields.
func TestOthersThatCost(t *testing.T) {
	text := []byte("\n")
	for i := range 300 {
		text = fmt.Appendf(text, "%d,x\n%d,x\nword%d,x\n", i%50, i%50, i)
	}
	s := Splitter{Measure: func(b []byte) int {
		if bytes.Contains(b, []byte("word")) {
			return 100
		}
		return 1
	}}
	if s.Split(text, ','); s.columns[0].kind != varying {
		t.Errorf("kept as %d", s.columns[0].kind)
	}
}
