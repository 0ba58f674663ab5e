package chunking

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/restic/chunker"

	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/digest"
)

// tableText is the beginning of a table as COPY writes it.
func tableText(tb testing.TB, seed uint64, rows int) []byte {
	tb.Helper()
	var text bytes.Buffer
	if _, err := tablegen.New(tablegen.Heap, seed, rows).WriteTo(&text); err != nil {
		tb.Fatal(err)
	}
	return text.Bytes()
}

// BenchmarkFeatures sets the features beside what every new chunk goes through.
func BenchmarkFeatures(b *testing.B) {
	const chunk = 256 << 10
	text := tableText(b, 1, 100_000)
	text = text[:len(text)/chunk*chunk]
	each := func(b *testing.B, fn func([]byte)) {
		b.SetBytes(chunk)
		b.ReportAllocs()
		// The fastest chunk shows what the code can do on a machine that others use.
		best, at := time.Duration(math.MaxInt64), 0
		for range b.N {
			begin := time.Now()
			fn(text[at : at+chunk])
			best = min(best, time.Since(begin))
			at = (at + chunk) % len(text)
		}
		b.ReportMetric(chunk/1e6/best.Seconds(), "best-MB/s")
	}
	b.Run("features", func(b *testing.B) {
		f := NewFeaturer(key, "bench")
		each(b, func(data []byte) { f.Features(data) })
	})
	b.Run("features/zeros", func(b *testing.B) {
		f, zeros := NewFeaturer(key, "bench"), make([]byte, chunk)
		each(b, func([]byte) { f.Features(zeros) })
	})
	b.Run("blake3", func(b *testing.B) {
		h := digest.NewHasher(key)
		each(b, func(data []byte) { h.Sum(data) })
	})
	b.Run("rabin", func(b *testing.B) {
		// No minimum that could be jumped over: every byte is looked at.
		c := chunker.NewBase(testPol, chunker.WithBaseAverageBits(18), chunker.WithBaseBoundaries(64, 8<<20))
		each(b, func(data []byte) {
			for len(data) > 0 {
				i := c.NextSplitPoint(data)
				if i < 0 {
					break
				}
				data = data[i:]
			}
		})
	})
}
