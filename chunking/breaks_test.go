package chunking

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
)

// teller is a source that knows breaks no earlier than it must: when it returns the
// bytes before them.
type teller struct {
	src    io.Reader
	breaks []int64 // ascending
	read   int64
}

func (s *teller) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	s.read += int64(n)
	return n, err
}

func (s *teller) next(after int64) int64 {
	for _, at := range s.breaks {
		if at > after && at <= s.read {
			return at
		}
	}
	return 0
}

// broken cuts data at the breaks too, and returns the lengths of the chunks.
func broken(t interface{ Fatal(...any) }, data []byte, src io.Reader, p Params, breaks []int64, sh shape, predict Predictor) (cuts []int, ids []digest.ID, named int) {
	s := &teller{src: src, breaks: breaks}
	c := sh.cutter(s, p, predict)
	defer c.Close()
	c.BreakAt(s.next)
	h := digest.NewHasher(key)
	at := 0
	for {
		chunk, err := c.Next()
		if err == io.EOF { //nolint:errorlint // as Next promises
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(chunk.Data, data[at:at+len(chunk.Data)]) {
			t.Fatal("chunk is not the next piece of the stream")
		}
		if chunk.Named {
			named++
		}
		at += len(chunk.Data)
		cuts, ids = append(cuts, len(chunk.Data)), append(ids, h.Sum(chunk.Data))
		chunk.Release()
	}
	if at != len(data) {
		t.Fatal("chunks end at", at, "of", len(data))
	}
	return cuts, ids, named
}

func drawBreaks(t *rapid.T, n int, label string) []int64 {
	var breaks []int64
	for range rapid.IntRange(0, 6).Draw(t, label) {
		breaks = append(breaks, int64(rapid.IntRange(0, n).Draw(t, label+"At")))
	}
	slices.Sort(breaks)
	return slices.Compact(breaks)
}

// piecewise is what cuts at breaks mean: what lies between two is cut by itself.
func piecewise(t interface{ Fatal(...any) }, data []byte, p Params, breaks []int64) (cuts []int) {
	from := int64(0)
	for _, at := range append(slices.Clone(breaks), int64(len(data))) {
		if at > from {
			cuts = append(cuts, reference(t, data[from:at], p)...)
			from = at
		}
	}
	return cuts
}

// TestBreaks: what lies between breaks is cut as if it were a stream of its own,
// whatever is predicted; without breaks, nothing is different.
func TestBreaks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := params(t)
		before := random(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 60_000).Draw(t, "n"))
		old := drawBreaks(t, len(before), "old")
		after := bytes.Clone(before)
		if at := rapid.IntRange(0, len(before)).Draw(t, "at"); rapid.Bool().Draw(t, "insert") {
			after = append(after[:at:at], append(random(1, rapid.IntRange(0, 5000).Draw(t, "more")), after[at:]...)...)
		}
		breaks := old
		if rapid.Bool().Draw(t, "other") {
			breaks = drawBreaks(t, len(after), "new")
		}
		cuts, ids, _ := broken(t, before, bytes.NewReader(before), p, old, plain, nil)
		if want := piecewise(t, before, p, old); !equal(cuts, want) {
			t.Fatalf("cuts %v, want %v", cuts, want)
		}
		l := &list{ids: ids, lengths: cuts, offset: rapid.IntRange(-2, 2).Draw(t, "offset")}
		got, _, _ := broken(t, after, drawSource(t, after), p, breaks, drawShape(t), l)
		if want := piecewise(t, after, p, breaks); !equal(got, want) {
			t.Fatalf("cuts %v, want %v, with breaks %v", got, want, breaks)
		}
	})
}

// TestBreaksArePredicted: the same stream with the same breaks is predicted throughout.
func TestBreaksArePredicted(t *testing.T) {
	data := random(3, 4<<20)
	breaks := []int64{100, 612, 1 << 20, 3<<20 + 17}
	p := Params{Polynomial: testPol, Min: 32 << 10, Max: 512 << 10, Bits: 15}
	cuts, ids, _ := broken(t, data, bytes.NewReader(data), p, breaks, plain, nil)
	_, _, named := broken(t, data, bytes.NewReader(data), p, breaks, shape{blocks: 3, fill: shortestFill, helpers: 2}, &list{ids: ids, lengths: cuts})
	if named != len(cuts) {
		t.Errorf("%d of %d chunks were predicted", named, len(cuts))
	}
}

// TestBreaksThatAreGone: a chunk that ended at a break is not predicted where there is none.
func TestBreaksThatAreGone(t *testing.T) {
	data := random(3, 4<<20)
	p := Params{Polynomial: testPol, Min: 32 << 10, Max: 512 << 10, Bits: 15}
	cuts, ids, _ := broken(t, data, bytes.NewReader(data), p, []int64{100_000, 1 << 20, 3<<20 + 17}, plain, nil)
	got, _ := lengths(t, data, bytes.NewReader(data), p, plain, &list{ids: ids, lengths: cuts})
	if want := reference(t, data, p); !equal(got, want) {
		t.Fatalf("cuts %v, want %v", got, want)
	}
}
