package columns

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

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
	fmt.Fprintf(&b, "%q %v", s.Segment(0), s.Segment(1))
	for i := range s.columns[:s.used] {
		c := &s.columns[i]
		b.WriteString([]string{" | ", " ; "}[c.newlines])
		switch c.kind {
		case fixed:
			fmt.Fprintf(&b, "fixed %d %q", c.fields[0].length(), s.Segment(i+2))
		case varying:
			fmt.Fprintf(&b, "varying %q", s.Segment(i+2))
		case dictionary:
			fmt.Fprintf(&b, "dictionary %v", s.Segment(i+2))
		}
	}
	return b.String()
}

func TestSplit(t *testing.T) {
	numbers := ""
	for i := range 40 {
		numbers += fmt.Sprintf("%d,%d,x\n", i, 10+i)
	}
	for _, c := range []struct{ text, want string }{
		{"", `"" []`},
		{"a", `"a" []`},
		{"1,x\n", `"1,x\n" []`},
		{"1,x\n2", `"1,x\n2" []`},
		{"1,x\n2,yy\n", `"1,x\n" [] | fixed 1 "2" ; fixed 2 "yy"`},
		{"1,x\n2,y\n3,", `"1,x\n3," [] | fixed 1 "2" ; fixed 1 "y"`},
		{"\n,,\n,\n\n", `"\n" [0 0 255 1 0 255 1] | varying "" | varying "" ; fixed 0 ""`},
		{"\n\"a,b\",c\nd,e\n", `"\n" [5 1] | varying "\"a,b\"d" ; fixed 1 "ce"`},
		{"\n\"a\"\"b,c\",d\n", `"\n" [] | fixed 8 "\"a\"\"b,c\"" ; fixed 1 "d"`},
		{"\na\"b,c\",d\n", `"\n" [] | fixed 3 "a\"b" | fixed 2 "c\"" ; fixed 1 "d"`},
		{"\n\"open,a\nb,c\n", `"\n" [7 255 3] ; varying "\"open,ab" ; fixed 1 "c"`},
		{"\n\"a\"b,c\n", `"\n" [] | fixed 4 "\"a\"b" ; fixed 1 "c"`},
		{"\n" + strings.Repeat("x", 300) + ",y\nz,y\n", `"\n" [255 216 4 1] | varying "` + strings.Repeat("x", 300) + `z" ; fixed 1 "yy"`},
		{"\n" + strings.Repeat("one,1\ntwo,2\n", 5), `"\nonetwo12" [3 3 1 1] | dictionary [0 1 0 1 0 1 0 1 0 1] ; dictionary [0 1 0 1 0 1 0 1 0 1]`},
		{"\n" + numbers, `"\nx" [` + strings.Repeat("1 ", 10) + strings.Repeat("2 ", 30) + `1] | varying "0123456789101112131415161718192021222324252627282930313233343536373839"` +
			` | fixed 2 "10111213141516171819202122232425262728293031323334353637383940414243444546474849"` +
			` ; dictionary [` + strings.TrimSpace(strings.Repeat("0 ", 40)) + `]`},
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
			if c.kind == dictionary {
				s.spell(c)
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

// FuzzMerge: whatever layout and segments say is refused, or gives a text that can be split and merged.
func FuzzMerge(f *testing.F) {
	var s Splitter
	for _, text := range []string{"", "a", "1,x\n2,yy\n3,z\n", "h\n" + strings.Repeat("one,1,a\ntwo,2,bbb\n", 30) + "t"} {
		k, _ := split(&s, []byte(text), ',')
		f.Add(k.layout, k.segments, len(text))
	}
	f.Fuzz(func(t *testing.T, layout, segments []byte, size int) {
		var s Splitter
		var m Merger
		out, err := stored{layout, segments}.merge(&m, min(max(size, 0), 1<<20))
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
	for _, text := range []string{"", "a", "1,x\n2,yy\n3,z\n", "h\n" + strings.Repeat("one,1,\"a,b\"\ntwo,2,bbb\n", 30) + "t", "\n\"\"\"\n,\",\n"} {
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
