package compress

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/index"
)

var levels = []Level{Off, Fastest, Default, Better, Best}

func testDecoder(t testing.TB) *Decoder {
	t.Helper()
	d, err := NewDecoder(2)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func testEncoder(t testing.TB, level Level) *Encoder {
	t.Helper()
	e, err := NewEncoder(level, 2)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLevels(t *testing.T) {
	for _, l := range levels {
		if got, err := ParseLevel(string(l)); err != nil || got != l {
			t.Errorf("%q: %q, %v", l, got, err)
		}
	}
	if got, err := ParseLevel(""); err != nil || got != Fastest {
		t.Errorf("no level: %q, %v", got, err)
	}
	if _, err := ParseLevel("zlib"); err == nil {
		t.Error("an unknown level was accepted")
	}
}

// TestRoundTrip: at every level what is encoded decodes, is never longer than what
// went in, and both append.
func TestRoundTrip(t *testing.T) {
	d := testDecoder(t)
	for _, level := range levels {
		e := testEncoder(t, level)
		rapid.Check(t, func(t *rapid.T) {
			raw := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "piece"), rapid.IntRange(0, 1000).Draw(t, "times"))
			payload, enc := e.Encode([]byte("front"), raw)
			if string(payload[:5]) != "front" || len(payload)-5 > len(raw) {
				t.Fatalf("%d bytes became %d", len(raw), len(payload)-5)
			}
			if level == Off && enc != index.Raw {
				t.Fatalf("off encodes as %s", enc)
			}
			out, err := d.Decode([]byte("kept"), payload[5:], enc, len(raw))
			if err != nil || string(out) != "kept"+string(raw) {
				t.Fatalf("%s: %v", enc, err)
			}
			for _, wrong := range []int{len(raw) - 1, len(raw) + 1, -1, index.MaxChunk + 1} {
				if _, err := d.Decode(nil, payload[5:], enc, wrong); !errors.Is(err, ErrDecode) {
					t.Fatalf("decoded to %d bytes of %d: %v", wrong, len(raw), err)
				}
			}
		})
	}
}

// TestLongestChunk: the limit of the decoder admits the longest chunk there is.
func TestLongestChunk(t *testing.T) {
	d := testDecoder(t)
	raw := bytes.Repeat([]byte("0123456789abcdef"), index.MaxChunk/16)
	payload, enc := testEncoder(t, Fastest).Encode(nil, raw)
	if enc != index.Zstd {
		t.Fatalf("encoded as %s", enc)
	}
	if out, err := d.Decode(nil, payload, enc, len(raw)); err != nil || !bytes.Equal(out, raw) {
		t.Fatal("the longest chunk does not come back:", err)
	}
}

func TestUnknownEncodings(t *testing.T) {
	d := testDecoder(t)
	for _, enc := range []index.Encoding{index.Delta, 4, 255} {
		if _, err := d.Decode(nil, []byte("x"), enc, 1); !errors.Is(err, ErrDecode) {
			t.Errorf("%s: %v", enc, err)
		}
	}
}

// FuzzDecode: a payload decodes to exactly the length that is asked for, or not
// at all, and never takes more memory than that.
func FuzzDecode(f *testing.F) {
	for _, level := range levels {
		raw := bytes.Repeat([]byte("a row of a table\n"), 20)
		payload, enc := testEncoder(f, level).Encode(nil, raw)
		f.Add(payload, byte(enc), len(raw))
		f.Add(payload, byte(enc), len(raw)-1)
	}
	table := tableText(f, tablegen.Heap, 1)[0][:leastTable]
	payload, enc := testEncoder(f, Fastest).EncodeChunk(nil, table)
	f.Add(payload, byte(enc), len(table))
	f.Add([]byte{}, byte(index.Zstd), 0)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd}, byte(index.Zstd), 1<<20)
	d := testDecoder(f)
	f.Fuzz(func(t *testing.T, payload []byte, enc byte, raw int) {
		raw = min(raw, 1<<20)
		out, err := d.Decode([]byte("kept"), payload, index.Encoding(enc), raw)
		if err != nil {
			if !errors.Is(err, ErrDecode) {
				t.Errorf("error does not wrap ErrDecode: %v", err)
			}
			return
		}
		if len(out) != 4+raw || string(out[:4]) != "kept" {
			t.Errorf("%d bytes, want %d", len(out)-4, raw)
		}
		if cap(out) > 2*(4+raw)+64 {
			t.Errorf("%d bytes take %d of memory", raw, cap(out))
		}
	})
}
