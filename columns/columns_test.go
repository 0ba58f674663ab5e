package columns

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// stored is what is kept of a text.
type stored struct {
	layout   []byte
	segments []byte
}

func split(s *Splitter, text []byte, delimiter byte) (k stored, ok bool) {
	ok = s.Split(text, delimiter)
	k.layout = s.AppendLayout(nil)
	for i := range s.Segments() {
		k.segments = append(k.segments, s.Segment(i)...)
	}
	return k, ok
}

func (k stored) merge(m *Merger, size int) ([]byte, error) {
	const guard = "########"
	rest, err := m.Layout(k.layout, size)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes behind the layout", len(rest))
	}
	memory := make([]byte, size+Slack, size+Slack+len(guard))
	memory = append(memory, guard...)
	segments := append(bytes.Clone(k.segments), make([]byte, Slack)...)[:len(k.segments)]
	err = m.Merge(memory[:size:size+Slack], segments)
	if string(memory[size+Slack:]) != guard {
		panic("wrote behind the slack")
	}
	return memory[:size], err
}

// describe writes what is kept of a text for people to read.
func describe(s *Splitter) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %v", s.Segment(1), s.Segment(2))
	for i := range s.columns[:s.used] {
		c := &s.columns[i]
		b.WriteString([]string{" | ", " ; "}[c.newlines])
		switch c.kind {
		case fixed:
			fmt.Fprintf(&b, "fixed %d %q", c.fields[0].length(), s.Segment(i+segmentsBefore))
		case varying:
			fmt.Fprintf(&b, "varying %q", s.Segment(i+segmentsBefore))
		case dictionary:
			fmt.Fprintf(&b, "dictionary %v", s.Segment(i+segmentsBefore))
		case same:
			fmt.Fprintf(&b, "same as %d", c.like)
		case number, moment:
			f := &c.form
			fmt.Fprintf(&b, "%s %d%s%s", []string{"number", "time"}[c.kind-number], f.flags()&^differences, f.time.suffix, f.time.summer)
			if f.differences {
				b.WriteString(" differences")
			}
			fmt.Fprintf(&b, " %d %v", f.origin, s.Segment(i+segmentsBefore))
		case hexadecimal:
			fmt.Fprintf(&b, "hexadecimal %q %x", c.hex.template, s.Segment(i+segmentsBefore))
			if c.bits > 0 {
				fmt.Fprintf(&b, " others %x", s.Segment(Bits))
			}
		}
	}
	return b.String()
}

func TestSplit(t *testing.T) {
	words, codes := "", strings.TrimSpace(strings.Repeat("0 ", 40))
	grows := ""
	for i := range 20 {
		grows += fmt.Sprintf("%d,%s\n", 1000+i, time.Date(2026, 12, 31, 20, 17*i, 0, 0, time.UTC).Format(time.DateTime))
	}
	for i := range 40 {
		words += fmt.Sprintf("w%d,v%d,x\n", i, 10+i)
	}
	for _, c := range []struct{ text, want string }{
		{"", `"" []`},
		{"a", `"a" []`},
		{"1,x\n", `"1,x\n" []`},
		{"1,x\n2", `"1,x\n2" []`},
		{"z,x\nb,yy\n", `"z,x\n" [] | fixed 1 "b" ; fixed 2 "yy"`},
		{"z,x\nb,y\n3,", `"z,x\n3," [] | fixed 1 "b" ; fixed 1 "y"`},
		{"\n,,\n,\n\n", `"\n" [0 0 255 1 0 255 1] | varying "" | varying "" ; fixed 0 ""`},
		{"\n\"a,b\",c\nd,e\n", `"\n" [5 1] | varying "\"a,b\"d" ; fixed 1 "ce"`},
		{"\n\"a\"\"b,c\",d\n", `"\n" [] | fixed 8 "\"a\"\"b,c\"" ; fixed 1 "d"`},
		{"\na\"b,c\",d\n", `"\n" [] | fixed 3 "a\"b" | fixed 2 "c\"" ; fixed 1 "d"`},
		{"\n\"open,a\nb,c\n", `"\n" [7 255 3] ; varying "\"open,ab" ; fixed 1 "c"`},
		{"\n\"a\"b,c\n", `"\n" [] | fixed 4 "\"a\"b" ; fixed 1 "c"`},
		{"\n" + strings.Repeat("x", 300) + ",y\nz,y\n", `"\n" [255 216 4 1] | varying "` + strings.Repeat("x", 300) + `z" ; fixed 1 "yy"`},
		{"\n" + strings.Repeat("one,1\ntwo,2\n", 5), `"\nonetwo12" [3 3 1 1] | dictionary [0 1 0 1 0 1 0 1 0 1] ; same as 0`},
		{"\n" + words, `"\nx" [` + strings.Repeat("2 ", 10) + strings.Repeat("3 ", 30) + `1] | varying "w0w1w2w3w4w5w6w7w8w9w10w11w12w13w14w15w16w17w18w19w20w21w22w23w24w25w26w27w28w29w30w31w32w33w34w35w36w37w38w39"` +
			` | fixed 3 "v10v11v12v13v14v15v16v17v18v19v20v21v22v23v24v25v26v27v28v29v30v31v32v33v34v35v36v37v38v39v40v41v42v43v44v45v46v47v48v49"` +
			` ; dictionary [` + codes + `]`},
		{"\n5,-3\n7,200\n9,-0\n", `"\n-0" [2] | number 0 5 [0 2 4] ; number 0 -3 [0 70 255]`},
		{
			"\n0123456789abcdef0,\\x12345678\nfedcba98765432101,\\xdeadbeef\n",
			`"\n" [] | hexadecimal "` + strings.Repeat(`\x00`, 17) + `" 0123456789abcdef00fedcba987654321010 ; hexadecimal "\\x` + strings.Repeat(`\x00`, 8) + `" 12345678deadbeef`,
		},
		{
			"\n12345678-9abc-4def-8123-456789abcdef,012345678A\nffffffff-0000-4def-8123-000000000000,abcdefab0A\n",
			`"\n" [] | hexadecimal "` + strings.Repeat(`\x00`, 8) + strings.Repeat(`-`+strings.Repeat(`\x00`, 4), 3) + `-` + strings.Repeat(`\x00`, 12) +
				`" 123456789abc4def8123456789abcdefffffffff00004def8123000000000000 ; hexadecimal "` + strings.Repeat(`\x00`, 9) + `A" 0123456780abcdefab00`,
		},
		{
			"\n,x\n0123456789abcdef,x\nfedcba9876543210,x\n0123456789ABCDEF,x\n\\N,x\n",
			`"\n0123456789ABCDEF\\Nx" [0 16 2 1] | hexadecimal "` + strings.Repeat(`\x00`, 16) + `" 0123456789abcdeffedcba9876543210 others 19 ; dictionary [0 0 0 0 0]`,
		},
		{
			"\nabcdef01,abcdef01,abcde,abcdeghijk\nABCDEF01,abcdef0g,fffff,fbcdeghijk\n",
			`"\nABCDEF01abcdef0g" [8 8] | hexadecimal "` + strings.Repeat(`\x00`, 8) + `" abcdef01 others 0202 | hexadecimal "` + strings.Repeat(`\x00`, 8) + `" abcdef01 others 0202 | fixed 5 "abcdefffff" ; fixed 10 "abcdeghijkfbcdeghijk"`,
		},
		{"\n" + grows, `"\n" [] | number 0 differences 1000 [0` + strings.Repeat(" 2", 19) + `] ; time 0 differences 1798747200 [0` + strings.Repeat(" 83", 19) + `]`},
		{"\n0.50,x\n17.25,x\n-2.00,y\n", `"\n" [] | number 2 -200 [71 83 0] ; fixed 1 "xxy"`},
		{
			"\n2026-01-31,2026-02-28 23:59:59.5+00\n2026-02-01,2026-03-01 00:00:00+00\n",
			`"\n" [] | time 31 20484 [0 1] ; time 3+00 1772323199500 [0 75]`,
		},
		{
			"\n2026-10-24 23:59:59+02,x\n2026-10-25 23:59:59.5+01,x\n2026-10-25 23:59:59.5+0,x\n2026-10-25 23:59:59+03,x\n2026-10-25 23:59:59+02,x\n",
			`"\n2026-10-25 23:59:59.5+02026-10-25 23:59:59+03x" [23 22 1] | time 35+02+01 differences 3585772798000 [0 153 255 255 83] ; dictionary [0 0 0 0 0]`,
		},
		{
			"\n2024-02-29 10:00:00,2024-02-29 10:00:00.10\n2023-02-29 10:00:00,2024-02-29 10:00:00.25\n2024-02-29 10:00:01,2024-02-29 24:00:00.25\n",
			`"\n2023-02-29 10:00:002024-02-29 24:00:00.25" [19 22] | time 0 1709200800 [0 255 1] ; time 66 170920080010 [0 15 255]`,
		},
	} {
		var s Splitter
		var m Merger
		k, ok := split(&s, []byte(c.text), ',')
		if small := len(k.segments) <= len(c.text); ok != small {
			t.Errorf("%q: %v, %d bytes became %d", c.text, ok, len(c.text), len(k.segments))
		}
		if got := describe(&s); got != c.want {
			t.Errorf("%q:\n%s, want\n%s", c.text, got, c.want)
		}
		if out, err := k.merge(&m, len(c.text)); ok && (err != nil || string(out) != c.text) {
			t.Errorf("%q comes back as %q: %v", c.text, out, err)
		}
	}
}

// reference splits rows as the documentation says, byte by byte.
func reference(rows []byte, delimiter byte) [][]byte {
	var split [][]byte
	for j, at := 0, 0; at < len(rows); {
		if j == len(split) {
			split = append(split, nil)
		}
		begin := at
		over := false
		for !over && at < len(rows) && rows[at] == '"' {
			at++
			for rows[at] != '"' && rows[at] != '\n' {
				at++
			}
			over = rows[at] == '\n'
			at++
		}
		for ; !over; at++ {
			over = rows[at] == delimiter || rows[at] == '\n'
		}
		split[j] = append(split[j], rows[begin:at]...)
		if rows[at-1] == '\n' {
			j = 0
		} else {
			j = min(j+1, Max-1)
		}
	}
	return split
}

var anyPieces = rapid.SliceOf(rapid.SampledFrom([]string{
	",", "\n", "\"", "a", "\x00", "\x01", "\x80", "\xff", "seven77", "eight888", "sixteen bytes ..", "a field that is longer than others",
	strings.Repeat(",", 100), strings.Repeat(",", Max+3), "+", "-", "\x0b", strings.Repeat("a,bc,\"d\"\n", 20), strings.Repeat("longer words of a table\n", 20),
	"0", "17", "-5", ".25", "-0.07", "123456789.5", "999999999999999999", "2026-01-31", "1999-12-31 23:59:59", "0001-01-01 00:00:00.000001+00", "9999-12-31", ".120",
	"0123456789abcdef0123", "01234567-89ab-cdef", "0123456789abcdeF,01234567-89ab-cdef-0123-456789abcdef\n", "fedcba9876543210,f0f0f0f0-0101-4444-abab-777777777777\n",
	"1,2.5,2026-11-22 10:00:00.25+00\n", "3,-2.5,2026-11-22 10:00:01+00\n", "-9007199254740993\n", "2,,\\N\n",
}))

// TestThereAndBack: fields come to the columns that the documentation says, and any text comes back.
func TestThereAndBack(t *testing.T) {
	var s Splitter
	var m Merger
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(strings.Join(anyPieces.Draw(t, "pieces"), ""))
		delimiter := rapid.SampledFrom([]byte{',', '\t', 0, 0xff, '\n', '"'}).Draw(t, "delimiter")
		k, ok := split(&s, text, delimiter)
		if ok != (len(k.segments) <= len(text)) {
			t.Fatalf("%d bytes became %d: %v", len(text), len(k.segments), ok)
		}
		rows := text[bytes.IndexByte(text, '\n')+1 : bytes.LastIndexByte(text, '\n')+1]
		want := reference(rows, delimiter)
		if len(want) != s.used {
			t.Fatalf("%d columns, want %d", s.used, len(want))
		}
		for i, w := range want {
			c := &s.columns[i]
			if c.kind == dictionary || c.kind == same {
				s.spell(c)
			} else if c.kind >= number {
				continue // its fields are gone
			}
			var got []byte
			at := 0
			for _, f := range c.fields {
				got = append(append(got, c.data[at:at+f.length()]...), []byte{delimiter, '\n'}[f&1])
				at += f.length()
			}
			if !bytes.Equal(got, w) || at != c.n {
				t.Fatalf("column %d is %q, want %q", i, got, w)
			}
		}
		if !ok {
			return
		}
		taken++
		if out, err := k.merge(&m, len(text)); err != nil || !bytes.Equal(out, text) {
			t.Fatalf("%q comes back as %q: %v", text, out, err)
		}
	})
	if taken == 0 {
		t.Error("no text was split")
	}
}

// TestDamage: whatever was changed is refused or gives a text of that length, and nothing is written elsewhere.
func TestDamage(t *testing.T) {
	var s Splitter
	var m Merger
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(strings.Join(anyPieces.Draw(t, "pieces"), ""))
		k, _ := split(&s, text, ',')
		size := len(text) + rapid.SampledFrom([]int{0, 0, 0, 1, -1, 40}).Draw(t, "longer")
		for _, b := range [][]byte{k.layout, k.segments} {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				if len(b) > 0 {
					b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
			}
		}
		if rapid.Bool().Draw(t, "cut") {
			k.segments = k.segments[:rapid.IntRange(0, len(k.segments)).Draw(t, "to")]
		}
		if _, err := k.merge(&m, max(size, 0)); err != nil {
			refused++
		}
	})
	if refused == 0 {
		t.Error("nothing was refused")
	}
	if err := m.Merge(nil, nil); err == nil {
		t.Error("no memory is enough")
	}
}

func TestDelimiter(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       byte // 0: no table
	}{
		{"nothing", "", 0},
		{"no line", strings.Repeat("a,b,c", 1000), 0},
		{"CSV", strings.Repeat("1,\"a, b\",c\n2,a,c\n", 50), ','},
		{"text", strings.Repeat("1\ta, b\t3\n22\ta\t\\N\n", 50), '\t'},
		{"bars", strings.Repeat("1|a, b|3\n22|a|x\n", 50), '|'},
		{"three lines", "a,b\na,b\na,b\n", 0},
		{"one column", strings.Repeat("abc\n", 100), 0},
		{"little but delimiters", strings.Repeat("1,,,2,,,,,3\n", 100), ','},
		{"prose", strings.Repeat("It was, as they say,\nlate.\nOr early, who knows, or\nneither.\n", 30), 0},
		{"lines that differ now and then", strings.Repeat("1,2,3\n1,2,3\n1,2,3\n1,2,3\n1,2,3\n1,2,3,4\n", 30), ','},
	} {
		got, ok := Delimiter([]byte(c.text))
		if ok != (c.want != 0) || ok && got != c.want {
			t.Errorf("%s: %q, %v", c.name, got, ok)
		}
	}
}

// tableText is the text of a table.
func tableText(t testing.TB, kind tablegen.Kind, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := tablegen.New(kind, 1, size/100).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[:size]
}

// TestMemory: the second text takes no memory.
func TestMemory(t *testing.T) {
	text := tableText(t, tablegen.Heap, 256<<10)
	var s Splitter
	s.Split(text, ',')
	if n := testing.AllocsPerRun(10, func() { s.Split(text, ',') }); n > 0 {
		t.Errorf("split: %v allocations", n)
	}
	k, _ := split(&s, text, ',')
	out := make([]byte, len(text), len(text)+Slack)
	k.segments = append(k.segments, make([]byte, Slack)...)[:len(k.segments)]
	var m Merger
	merge := func() {
		if _, err := m.Layout(k.layout, len(text)); err != nil {
			t.Error(err)
		}
		if err := m.Merge(out, k.segments); err != nil || !bytes.Equal(out, text) {
			t.Error(err)
		}
	}
	merge()
	if n := testing.AllocsPerRun(10, merge); n > 0 {
		t.Errorf("merge: %v allocations", n)
	}
}

func BenchmarkSplit(b *testing.B) {
	text := tableText(b, tablegen.Heap, 256<<10)
	var s Splitter
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Split(text, ',')
	}
}

func BenchmarkMerge(b *testing.B) {
	text := tableText(b, tablegen.Heap, 256<<10)
	var s Splitter
	var m Merger
	k, _ := split(&s, text, ',')
	out := make([]byte, len(text), len(text)+Slack)
	k.segments = append(k.segments, make([]byte, Slack)...)[:len(k.segments)]
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := m.Layout(k.layout, len(text)); err != nil {
			b.Fatal(err)
		}
		if err := m.Merge(out, k.segments); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDelimiter(b *testing.B) {
	text := tableText(b, tablegen.Heap, 256<<10)
	for b.Loop() {
		Delimiter(text)
	}
}

// FuzzMerge: whatever layout and segments say is refused, or gives the text that the documentation says, which can be split and merged.
func FuzzMerge(f *testing.F) {
	var s Splitter
	for _, text := range []string{
		"", "a", "1,x\n2,yy\n3,z\n", "h\n" + strings.Repeat("one,1,a\ntwo,2,bbb\n", 30) + "t",
		"\n0123456789abcdef,01234567-89ab-cdef\nfedcba9876543210,00000000-1111-2222\n", "\nab1234567,1.5,0001-01-01\ncd1234567,-2.5,9999-12-31\n", "\n1,2026-11-22 10:00:00.25+00,2026-11-22\n2,2026-11-22 10:00:00+00,\n70000,\\N,2026-11-23\n",
	} {
		k, _ := split(&s, []byte(text), ',')
		f.Add(k.layout, k.segments, len(text))
	}
	f.Fuzz(func(t *testing.T, layout, segments []byte, size int) {
		var s Splitter
		var m Merger
		size = min(max(size, 0), 1<<20)
		out, err := stored{layout, segments}.merge(&m, size)
		want, read := formatMerge(stored{layout, segments}, size)
		if read != (err == nil) || read && !bytes.Equal(out, want) {
			t.Fatalf("merged to %q, %v; want %q, %v", out, err, want, read)
		}
		if err != nil {
			return
		}
		k, ok := split(&s, out, layout[0])
		if !ok {
			return
		}
		if again, err := k.merge(&m, len(out)); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q does not come back: %v", out, err)
		}
	})
}

// FuzzSplit: any text comes back, whatever its fields are said to end with.
func FuzzSplit(f *testing.F) {
	for _, text := range []string{
		"", "a", "1,x\n2,yy\n3,z\n", "h\n" + strings.Repeat("one,1,\"a,b\"\ntwo,2,bbb\n", 30) + "t", "\n\"\"\"\n,\",\n",
		"\n0123456789abcdef,01234567-89ab-cdef\nfedcba9876543210,00000000-1111-2222\n", "\n1,2026-11-22 10:00:00.25+00,2026-11-22\n2,2026-11-22 10:00:00+00,\n70000,\\N,2026-11-23\n", "\n1.50,2026-11-22 10:00:00.250\n-2.25,2026-11-22 10:00:00.100\n",
	} {
		f.Add([]byte(text), []byte(text), byte(','))
	}
	f.Fuzz(func(t *testing.T, before, text []byte, delimiter byte) {
		var s Splitter
		var m Merger
		s.Split(before, delimiter) // which leaves traces
		k, ok := split(&s, text, delimiter)
		if !ok {
			return
		}
		if out, err := k.merge(&m, len(text)); err != nil || !bytes.Equal(out, text) {
			t.Fatalf("%q comes back as %q: %v", text, out, err)
		}
	})
}
