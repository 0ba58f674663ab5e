package compress

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/index"
)

// tableText is the text of a table, in chunks.
func tableText(t testing.TB, kind tablegen.Kind, chunks int) [][]byte {
	t.Helper()
	const size = 256 << 10
	var b bytes.Buffer
	if _, err := tablegen.New(kind, 1, chunks*size/50).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for i := range chunks {
		list = append(list, b.Bytes()[i*size:][:size])
	}
	return list
}

// TestColumns: tables are stored by columns where that takes less room, come back, and nothing that is not exactly so
// long does.
func TestColumns(t *testing.T) {
	d := testDecoder(t)
	heap, grows := tableText(t, tablegen.Heap, 4), tableText(t, tablegen.AppendOnly, 4)
	var bars [][]byte
	for _, text := range heap {
		bars = append(bars, bytes.ReplaceAll(text, []byte(","), []byte("|")))
	}
	prose := bytes.Repeat([]byte("It was, as they say,\nlate.\nOr early, who knows, or\nneither.\n"), 2000)
	rows := bytes.Repeat(heap[0][:4000], 40) // again and again
	for _, c := range []struct {
		name   string
		chunks [][]byte
		want   index.Encoding
	}{
		{"a table", heap, index.Columns},
		{"one that grows", grows, index.Columns},
		{"with other delimiters", bars, index.Columns},
		{"prose", [][]byte{prose}, index.Zstd},
		{"the same rows", [][]byte{rows, rows}, index.Zstd},
		{"a short one", [][]byte{heap[0][:leastTable-1]}, index.Zstd},
		{"nothing", [][]byte{nil}, index.Raw},
	} {
		for _, level := range []Level{Off, Fastest, Default} {
			e, want := testEncoder(t, level), c.want
			if level == Off {
				want = index.Raw
			}
			for i, raw := range c.chunks {
				payload, enc := e.EncodeChunk([]byte("front"), raw)
				if enc != want || string(payload[:5]) != "front" || len(payload)-5 > len(raw) {
					t.Errorf("%s: chunk %d, %s: %s, %d bytes of %d", c.name, i, level, enc, len(payload)-5, len(raw))
				}
				if out, err := d.Decode([]byte("kept"), payload[5:], enc, len(raw)); err != nil || string(out) != "kept"+string(raw) {
					t.Errorf("%s: chunk %d, %s: %v", c.name, i, level, err)
				}
				for _, wrong := range []int{len(raw) - 1, len(raw) + 1} {
					if _, err := d.Decode(nil, payload[5:], enc, wrong); !errors.Is(err, ErrDecode) {
						t.Errorf("%s: decoded to %d bytes of %d: %v", c.name, wrong, len(raw), err)
					}
				}
			}
		}
	}
	whole, _ := testEncoder(t, Fastest).Encode(nil, heap[0])
	if payload, _ := testEncoder(t, Fastest).EncodeChunk(nil, heap[0]); len(payload) > len(whole)*9/10 {
		t.Errorf("%d bytes by columns, %d whole", len(payload), len(whole))
	}
}

// TestTrials: what is like the chunk before is stored like it, and looked at anew now and then, and whenever it ends its fields
// otherwise.
func TestTrials(t *testing.T) {
	var c choice
	try := func(delimiter byte) bool {
		try, byColumns := c.next(delimiter)
		if try {
			c.tried(delimiter, delimiter == ',')
		} else if byColumns != (delimiter == ',') {
			t.Errorf("%q: %v", delimiter, byColumns)
		}
		return try
	}
	trials := 0
	for range 3 * trialEvery {
		if try(',') {
			trials++
		}
	}
	if trials != 3 || !try('|') || try('|') || !try(',') {
		t.Errorf("%d trials", trials)
	}
}

// TestDamagedColumns: whatever was changed is refused or gives a chunk of that length.
func TestDamagedColumns(t *testing.T) {
	d := testDecoder(t)
	raw := tableText(t, tablegen.Heap, 1)[0][:64<<10]
	good, enc := testEncoder(t, Fastest).EncodeChunk(nil, raw)
	if enc != index.Columns {
		t.Fatal(enc)
	}
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		payload := bytes.Clone(good)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			// Most of what is not text is at the beginning.
			at := min(rapid.IntRange(0, 100).Draw(t, "near"), rapid.IntRange(0, len(payload)-1).Draw(t, "anywhere"))
			payload[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		out, err := d.Decode(nil, payload[:rapid.IntRange(0, len(payload)).Draw(t, "cut")], enc, len(raw))
		if err == nil && len(out) != len(raw) || err != nil && !errors.Is(err, ErrDecode) {
			t.Fatalf("%d bytes, %v", len(out), err)
		}
		if err != nil {
			refused++
		}
	})
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, kind := range []struct {
		name string
		kind tablegen.Kind
	}{{"heap", tablegen.Heap}, {"append-only", tablegen.AppendOnly}} {
		list := tableText(b, kind.kind, 8)
		d := testDecoder(b)
		for _, way := range []struct {
			name   string
			encode func(e *Encoder, dst, raw []byte) ([]byte, index.Encoding)
		}{{"whole", (*Encoder).Encode}, {"columns", (*Encoder).EncodeChunk}} {
			e := testEncoder(b, Fastest)
			out, text := make([]byte, 0, 1<<20), make([]byte, 0, 1<<20)
			b.Run(kind.name+"/"+way.name, func(b *testing.B) {
				b.SetBytes(256 << 10)
				total, n := 0, 0
				for b.Loop() {
					out, _ = way.encode(e, out[:0], list[n%len(list)])
					total += len(out)
					n++
				}
				b.ReportMetric(float64(total)/float64(n)/(256<<10), "ratio")
			})
			b.Run(kind.name+"/"+way.name+"/decode", func(b *testing.B) {
				b.SetBytes(256 << 10)
				out, encoding := way.encode(e, out[:0], list[1])
				for b.Loop() {
					if _, err := d.Decode(text, out, encoding, 256<<10); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestShortParts: a part is taken for a zstd frame by its length, so that must differ from what the frame makes, however short both are.
func TestShortParts(t *testing.T) {
	d := testDecoder(t)
	w := testEncoder(t, Fastest).zstd.take()
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 600 {
		// The last column is a part of its own, for the one before it is long enough for one.
		raw, last := []byte("\n"), byte('a')
		for i := range 10 + n%22 {
			if random.IntN(4) == 0 {
				last++
			}
			raw = fmt.Appendf(raw, "%s%d,%c\n", strings.Repeat("wide ", 40), i*i*i, last)
		}
		payload, ok := w.encodeColumns(nil, raw, ',')
		out, err := d.Decode(nil, payload, index.Columns, len(raw))
		if !ok || err != nil || !bytes.Equal(out, raw) {
			t.Errorf("text %d: split: %v, decoded: %v", n, ok, err)
		}
	}
}
