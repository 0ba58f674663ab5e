package chunking

import (
	"bytes"
	"testing"

	"github.com/restic/chunker"
	"pgregory.net/rapid"
)

// TestFindProperty: the first place in a range at which the library's fingerprint has its low
// bits 0, wherever the range begins and ends.
func TestFindProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 3*side)
		bits := rapid.IntRange(1, 16).Draw(t, "bits")
		if len(data) < fingerprinted {
			return
		}
		from := rapid.IntRange(fingerprinted, len(data)).Draw(t, "from")
		to := rapid.IntRange(from-1, len(data)).Draw(t, "to")
		// Before 64 bytes the library has no cut, and at the end of what it is given none
		// that it does not find there.
		want := 0
		if from <= to {
			b := chunker.NewBase(testPol, chunker.WithBaseAverageBits(bits), chunker.WithBaseBoundaries(fingerprinted, 1<<30))
			if n := b.NextSplitPoint(data[from-fingerprinted : to]); n >= 0 {
				want = from - fingerprinted + n
			}
		}
		if got := newFingerprint(testPol, bits).find(data, from, to); got != want {
			t.Fatalf("found %d, want %d, of %d to %d", got, want, from, to)
		}
	})
}

// drawData draws a stream: of random bytes, with places that repeat what a chunk may end
// with, with runs of one byte, or all of these.
func drawData(t *rapid.T, most int) []byte {
	n := rapid.IntRange(0, most).Draw(t, "length")
	data := random(rapid.Uint64().Draw(t, "seed"), n)
	for range rapid.IntRange(0, 4).Draw(t, "runs") {
		from := rapid.IntRange(0, n).Draw(t, "runFrom")
		to := rapid.IntRange(from, n).Draw(t, "runTo")
		switch rapid.IntRange(0, 2).Draw(t, "run") {
		case 0: // all of whose fingerprints are 0
			clear(data[from:to])
		case 1:
			for i := range data[from:to] {
				data[from+i] = 0x5a
			}
		case 2:
			period := rapid.IntRange(2, 200).Draw(t, "period")
			copy(data[from:to], bytes.Repeat(random(9, period), (to-from)/period+1))
		}
	}
	return data
}

func BenchmarkFind(b *testing.B) {
	data := random(1, 16<<20)
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			base := chunker.NewBase(testPol, chunker.WithBaseAverageBits(17), chunker.WithBaseBoundaries(fingerprinted, 1<<30))
			for rest := data; len(rest) > 0; {
				n := base.NextSplitPoint(rest)
				if n < 0 {
					break
				}
				rest = rest[n:]
			}
		}
	})
	b.Run("four", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		f := newFingerprint(testPol, 17)
		for b.Loop() {
			for rest := data; len(rest) > fingerprinted; {
				n := f.find(rest, fingerprinted, len(rest))
				if n == 0 {
					break
				}
				rest = rest[n:]
			}
		}
	})
}
