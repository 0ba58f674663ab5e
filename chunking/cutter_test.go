package chunking

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/restic/chunker"
	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
)

const testPol = chunker.Pol(0x3DA3358B4DC173)

var key = [32]byte{7}

func random(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

// shape is what must not matter for where a stream is cut.
type shape struct {
	blocks, fill int
	helpers      int // of a cutter that always has processors to spare
}

var plain = shape{blocks: 3, fill: shortestFill}

func drawShape(t *rapid.T) shape {
	return shape{
		blocks: rapid.IntRange(2, 5).Draw(t, "blocks"), helpers: rapid.IntRange(0, 3).Draw(t, "helpers"),
		fill: rapid.SampledFrom([]int{1, 5000, 40_000, shortestFill}).Draw(t, "fill"),
	}
}

// drawSource returns a reader of data, in pieces of some lengths or other.
func drawSource(t *rapid.T, data []byte) io.Reader {
	var src io.Reader = bytes.NewReader(data)
	switch rapid.IntRange(0, 3).Draw(t, "source") {
	case 0:
		return iotest.HalfReader(src)
	case 1:
		return iotest.DataErrReader(src)
	case 2:
		if len(data) < 20_000 {
			return iotest.OneByteReader(src)
		}
	}
	return src
}

func (s shape) cutter(src io.Reader, p Params, predict Predictor) *Cutter {
	c := NewCutter(src, p, newPool(context.Background(), s.blocks, int(p.Max), s.fill), predict, digest.NewHasher(key))
	c.Help(s.helpers, func() bool { return true })
	return c
}

// lengths cuts data with the cutter.
func lengths(t interface{ Fatal(...any) }, data []byte, src io.Reader, p Params, s shape, predict Predictor) (cuts []int, ids []digest.ID) {
	c := s.cutter(src, p, predict)
	defer c.Close()
	h := digest.NewHasher(key)
	at := 0
	for {
		chunk, err := c.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Position != len(cuts) {
			t.Fatal("wrong position", chunk.Position)
		}
		if !bytes.Equal(chunk.Data, data[at:at+len(chunk.Data)]) {
			t.Fatal("chunk is not the next piece of the stream")
		}
		id := h.Sum(chunk.Data)
		if chunk.Named && chunk.ID != id {
			t.Fatal("predicted chunk has a wrong name")
		}
		at += len(chunk.Data)
		cuts, ids = append(cuts, len(chunk.Data)), append(ids, id)
		chunk.Release()
	}
	if at != len(data) {
		t.Fatal("chunks end at", at, "of", len(data))
	}
	return cuts, ids
}

// reference cuts data with the library's own streaming chunker.
func reference(t interface{ Fatal(...any) }, data []byte, p Params) (cuts []int) {
	c := chunker.New(bytes.NewReader(data), p.Polynomial, chunker.WithAverageBits(p.Bits), chunker.WithBoundaries(p.Min, p.Max))
	for {
		chunk, err := c.Next(nil)
		if errors.Is(err, io.EOF) {
			return cuts
		}
		if err != nil {
			t.Fatal(err)
		}
		cuts = append(cuts, int(chunk.Length))
	}
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func params(t *rapid.T) Params {
	lo := uint(rapid.IntRange(64, 4096).Draw(t, "min"))
	return Params{
		Polynomial: testPol, Min: lo, Max: lo * uint(rapid.IntRange(1, 32).Draw(t, "max")),
		Bits: rapid.IntRange(6, 14).Draw(t, "bits"),
	}
}

// TestCutsAreTheLibrarys: whatever the parameters, the length, and the pieces in
// which the stream arrives.
func TestCutsAreTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := params(t)
		data := drawData(t, 300_000)
		if n := rapid.SampledFrom([]int{0, int(p.Min) - 1, int(p.Min), int(p.Min) + 1, int(p.Max), int(p.Max) + 1}).Draw(t, "n"); n > 0 {
			data = data[:min(n, len(data))]
		}
		got, _ := lengths(t, data, drawSource(t, data), p, drawShape(t), nil)
		want := reference(t, data, p)
		if !equal(got, want) {
			t.Fatalf("cuts %v, want %v", got, want)
		}
		got = got[:0]
		for chunk := range p.Split(data) {
			got = append(got, len(chunk))
		}
		if !equal(got, want) {
			t.Fatalf("split at %v, want %v", got, want)
		}
	})
}

// TestCutsAtTheEdgesOfBlocks: what was read may end right before a cut, at it, or behind.
func TestCutsAtTheEdgesOfBlocks(t *testing.T) {
	data := random(8, 100_000)
	p := Params{Polynomial: testPol, Min: 1024, Max: 8192, Bits: 11}
	want := reference(t, data, p)
	end := 0
	for _, n := range want {
		if end += n; end < int(p.Max)+3 {
			continue // blocks are longer
		}
		for fill := end - 2; fill <= end+2; fill++ {
			got, _ := lengths(t, data, bytes.NewReader(data), p, shape{blocks: 3, fill: fill}, nil)
			if !equal(got, want) {
				t.Fatalf("with blocks of %d bytes: cuts %v, want %v", fill, got, want)
			}
		}
	}
}

// TestLongStream runs over many blocks.
func TestLongStream(t *testing.T) {
	data := random(1, 20<<20)
	p := Params{Polynomial: testPol, Min: 128 << 10, Max: 2 << 20, Bits: 17}
	got, _ := lengths(t, data, bytes.NewReader(data), p, shape{blocks: 6, fill: shortestFill, helpers: 2}, nil)
	if want := reference(t, data, p); !equal(got, want) {
		t.Fatalf("cuts %v, want %v", got, want)
	}
}

// list predicts that a stream repeats another, chunk by chunk, from wherever the
// other had the chunk that the test says it is at.
type list struct {
	ids     []digest.ID
	lengths []int
	offset  int // in chunks
	missed  int
}

func (l *list) Predict(offset int64) (digest.ID, int, bool) {
	row := l.offset
	for i := 0; i < len(l.lengths) && offset > 0; i++ { // the first that begins there or behind
		offset -= int64(l.lengths[i])
		row++
	}
	if row < 0 || row >= len(l.ids) {
		return digest.ID{}, 0, false
	}
	return l.ids[row], l.lengths[row], row == len(l.ids)-1
}

func (l *list) Met(int64)    {}
func (l *list) Missed(int64) { l.missed++ }

// TestPredictionChangesNothing: right or wrong, predictions give the cuts that the
// fingerprint gives.
func TestPredictionChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := params(t)
		before := drawData(t, 100_000)
		after := bytes.Clone(before)
		if at := rapid.IntRange(0, len(before)).Draw(t, "at"); rapid.Bool().Draw(t, "cut") {
			after = after[:at]
		} else {
			after = append(after[:at:at], append(random(1, rapid.IntRange(0, 5000).Draw(t, "more")), after[at:]...)...)
		}
		cuts, ids := lengths(t, before, bytes.NewReader(before), p, plain, nil)
		l := &list{ids: ids, lengths: cuts, offset: rapid.IntRange(-2, 2).Draw(t, "offset")}
		got, _ := lengths(t, after, drawSource(t, after), p, drawShape(t), l)
		if want := reference(t, after, p); !equal(got, want) {
			t.Fatalf("cuts %v, want %v", got, want)
		}
	})
}

// TestUnchangedStreamIsPredictedThroughout: the fingerprint is never asked.
func TestUnchangedStreamIsPredictedThroughout(t *testing.T) {
	data := random(3, 12<<20)
	p := Params{Polynomial: testPol, Min: 32 << 10, Max: 512 << 10, Bits: 15}
	cuts, ids := lengths(t, data, bytes.NewReader(data), p, plain, nil)
	l := &list{ids: ids, lengths: cuts}
	c := shape{blocks: 3, fill: shortestFill, helpers: 2}.cutter(bytes.NewReader(data), p, l)
	defer c.Close()
	for range cuts {
		chunk, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !chunk.Named {
			t.Fatalf("chunk %d was not predicted", chunk.Position)
		}
		chunk.Release()
	}
	if l.missed != 0 {
		t.Errorf("%d predictions missed", l.missed)
	}
}

// TestReadErrorIsNotTheEnd: what a source gave before it failed is no stream.
func TestReadErrorIsNotTheEnd(t *testing.T) {
	cause := errors.New("broken")
	p := Params{Polynomial: testPol, Min: 64, Max: 1 << 20, Bits: 10}
	c := NewCutter(io.MultiReader(bytes.NewReader(random(1, 100)), iotest.ErrReader(cause)), p,
		NewPool(context.Background(), 2, int(p.Max)), nil, nil)
	for {
		_, err := c.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("a broken source ended like a whole one")
		}
		if err != nil {
			if !errors.Is(err, cause) {
				t.Fatal(err)
			}
			return
		}
	}
}

// TestPoolEndsWithItsContext: a cutter that waits for memory is not stuck.
func TestPoolEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := Params{Polynomial: testPol, Min: 1 << 20, Max: 4 << 20, Bits: 20}
	data := random(1, 16<<20)
	c := NewCutter(bytes.NewReader(data), p, NewPool(ctx, 2, int(p.Max)), nil, nil)
	cause := errors.New("enough")
	cancel(cause)
	for range len(data) {
		if _, err := c.Next(); err != nil { // chunks are never released
			if !errors.Is(err, cause) {
				t.Fatal(err)
			}
			return
		}
	}
}
