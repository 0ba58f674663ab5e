package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
)

// realSegment is a segment that a server wrote.
func realSegment(t testing.TB) (Name, []byte) {
	t.Helper()
	name := mustName(t, "000000010000000000000007")
	_, a := openGolden(t, goldenDirs[0], "read")
	_, data, err := a.Get(t.Context(), 7710803972629606051, name)
	if err != nil {
		t.Fatal(err)
	}
	return name, data
}

func newPieceEncoder(t testing.TB, level compress.Level) *pieceEncoder {
	t.Helper()
	p, err := NewPacker(level, 1, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &pieceEncoder{zstd: p.zstd, quick: p.quick, decoder: pieceDecoder{zstd: p.dec}}
}

// TestPieceEncodings: what a server wrote, and what none did, comes back from every encoding,
// and takes the encoding that is meant for it.
func TestPieceEncodings(t *testing.T) {
	t.Parallel()
	name, data := realSegment(t)
	number, _ := name.Number(uint32(len(data)))
	begin := LSN(number * uint64(len(data)))
	changed := func(f func(b []byte)) []byte { b := bytes.Clone(data); f(b); return b }
	noise := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	pages := place{at: begin, pageSize: 8192}
	for what, test := range map[string]struct {
		data        []byte
		where       place
		quick, zstd index.Encoding
	}{
		"real":                  {data, pages, encodingQuickPredicted, encodingPredicted},
		"real, half written":    {changed(func(b []byte) { clear(b[len(b)/2:]) }), pages, encodingQuickPredicted, encodingPredicted},
		"real, elsewhere":       {data, place{begin + 1<<30, 8192}, encodingQuickPredicted, encodingPredicted},
		"a wrong checksum":      {changed(func(b []byte) { b[len(b)/3]++ }), pages, encodingQuickPredicted, encodingPredicted},
		"no segment":            {data, place{}, encodingQuick, index.Zstd},
		"zeros":                 {make([]byte, 1<<20), pages, encodingQuick, index.Zstd},
		"one byte":              {[]byte("x"), place{}, index.Raw, index.Raw},
		"noise":                 {noise, pages, index.Raw, index.Raw},
		"disorder":              {disorder(1, 64<<10), pages, encodingQuick, index.Zstd},
		"a text":                {bytes.Repeat([]byte("some text "), 30), place{}, encodingQuick, index.Zstd},
		"real, and noise in it": {changed(func(b []byte) { copy(b[300_000:], noise[:400_000]) }), pages, encodingQuickPredicted, encodingPredicted},
	} {
		for _, way := range []struct {
			level compress.Level
			hurry bool
			want  index.Encoding
		}{{compress.Fastest, false, test.quick}, {compress.Fastest, true, test.quick}, {compress.Default, false, test.zstd}} {
			level, want := way.level, way.want
			e := newPieceEncoder(t, level)
			e.hurry = way.hurry
			e.raw = bytes.Clone(test.data)
			piece, err := e.encode(test.where)
			if err != nil {
				t.Fatalf("%s, %s: %v", what, level, err)
			}
			if got := index.Encoding(piece[0]); got != want {
				t.Errorf("%s, %s: encoding %d, want %d", what, level, got, want)
			}
			d := pieceDecoder{zstd: e.decoder.zstd}
			got, err := d.decode(test.where, piece, nil, len(test.data))
			if err != nil || !bytes.Equal(got, test.data) {
				t.Errorf("%s, %s: %d bytes came back, %v", what, level, len(got), err)
			}
			if encoding := index.Encoding(piece[0]); encoding == encodingQuick || encoding == encodingQuickPredicted {
				specified, err := specifiedS2(e, piece)
				plain, perr := d.unpack(encodingQuick, piece[1:], nil, len(test.data))
				if err != nil || perr != nil || !bytes.Equal(specified, plain) {
					t.Errorf("%s: not as docs/format.md says: %v, %v", what, err, perr)
				}
			}
		}
	}
}

// TestExact: what predictExact takes for exact comes back, and what it does not is left
// as it was.
func TestExact(t *testing.T) {
	t.Parallel()
	name, data := realSegment(t)
	number, _ := name.Number(uint32(len(data)))
	begin := LSN(number * uint64(len(data)))
	for len(data) > 8192 && isZero(data[len(data)-8192:]) { // which nobody wrote
		data = data[:len(data)-8192]
	}
	exact := func(b []byte, at LSN) bool {
		var p predictor
		p.reset(b, at, 8192)
		return p.predictExact()
	}
	b := bytes.Clone(data)
	if !exact(b, begin) || bytes.Equal(b, data) {
		t.Error("what a server wrote is not exact")
	}
	var p predictor
	p.reset(b, begin, 8192)
	p.restore()
	if !bytes.Equal(b, data) {
		t.Error("other bytes came back")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		b := bytes.Clone(data)
		at := rng.IntN(len(b))
		b[at] ^= 1 << rng.IntN(8)
		was := bytes.Clone(b)
		if exact(b, begin) {
			// A byte that nothing covers: between records, or in a page's header.
			p.reset(b, begin, 8192)
			p.restore()
		}
		if !bytes.Equal(b, was) {
			t.Fatalf("a bit at %d is changed: other bytes came back, or were left", at)
		}
	}
}

// FuzzPiece: whatever the bytes, they come back from every encoding; and whatever the
// payload, it decodes to the length that is asked for or not at all.
func FuzzPiece(f *testing.F) {
	name, _ := ParseName("000000010000000000000003")
	f.Add(segment(testSystem, name, 1<<20, 1)[:16<<10], uint64(3<<20), uint8(3))
	f.Add(disorder(1, 32<<10), uint64(0), uint8(0))
	quick, zstd := newPieceEncoder(f, compress.Fastest), newPieceEncoder(f, compress.Default)
	f.Fuzz(func(t *testing.T, data []byte, at uint64, size uint8) {
		where := place{at: LSN(at), pageSize: 1 << (10 + size%7)}
		for _, e := range []*pieceEncoder{quick, zstd} {
			e.raw = append(e.raw[:0], data...)
			piece, err := e.encode(where)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.decoder.decode(where, slices.Clone(piece), nil, len(data))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes came back, %v", len(got), err)
			}
		}
		got, err := quick.decoder.decode(where, data, nil, int(size))
		if err != nil && !errors.Is(err, repo.ErrDamaged) && !errors.Is(err, repo.ErrNewer) || err == nil && len(got) != int(size) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

var errSpec = errors.New("it is not as specified")

// specifiedS2 decodes a quick piece as docs/format.md says.
func specifiedS2(e *pieceEncoder, piece []byte) ([]byte, error) {
	size := int(binary.LittleEndian.Uint32(piece[1:]))
	in, err := e.decoder.zstd.Decode(nil, piece[5:], index.Zstd, size)
	if err != nil {
		return nil, err
	}
	length, n := binary.Uvarint(in)
	if n <= 0 {
		return nil, errSpec
	}
	in = in[n:]
	number := func(n int) (v int) {
		for i := range n {
			v |= int(in[i]) << (8 * i)
		}
		in = in[n:]
		return v
	}
	var out []byte
	offset := 0
	for len(in) > 0 {
		b := int(in[0])
		in = in[1:]
		v := b >> 2
		count := v + 1
		switch b & 3 {
		case 0:
			if v >= 60 {
				count = number(v-59) + 1
			}
			out = append(out, in[:count]...)
			in = in[count:]
			continue
		case 1:
			count = 4 + v&7
			if o := b&0xE0<<3 | number(1); o != 0 {
				offset = o
			} else if v&7 > 4 {
				count = []int{8, 260, 65540}[v&7-5] + number(v&7-4)
			}
		case 2:
			offset = number(2)
		case 3:
			offset = number(4)
		}
		if offset < 1 || offset > len(out) {
			return nil, errSpec
		}
		for range count {
			out = append(out, out[len(out)-offset])
		}
	}
	if len(out) != int(length) {
		return nil, errSpec
	}
	return out, nil
}
