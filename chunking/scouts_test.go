package chunking

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/restic/chunker"
	"pgregory.net/rapid"
)

// TestScoutsFindTheSameProperty: wherever a search in a block begins and ends, and however far a
// scout got, it finds what it finds without.
func TestScoutsFindTheSameProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFingerprint(testPol, rapid.IntRange(1, 14).Draw(t, "bits"))
		longest := rapid.IntRange(fingerprinted, 4096).Draw(t, "longest")
		b, err := newPool(context.Background(), 2, longest, 100_000).get()
		if err != nil {
			t.Fatal(err)
		}
		copy(b.buf, drawData(t, len(b.buf)))
		s := &scouts{print: f, shortest: rapid.IntRange(fingerprinted, longest).Draw(t, "shortest")}
		s.scout(b)
		b.gaps = b.gaps[:rapid.IntRange(0, len(b.gaps)).Draw(t, "gaps")] // it was sent home
		for range 5 {
			from := rapid.IntRange(fingerprinted, len(b.buf)).Draw(t, "from")
			to := rapid.IntRange(from-1, len(b.buf)).Draw(t, "to")
			if got, want := b.find(f, from, to), f.find(b.buf, from, to); got != want {
				t.Fatalf("found %d, want %d, of %d to %d, after a scout found %v", got, want, from, to, b.gaps)
			}
		}
	})
}

// TestScoutsSpareTheCutter: what a scout saw is hardly ever scanned again.
func TestScoutsSpareTheCutter(t *testing.T) {
	const shortest, bits = 4096, 12
	f := newFingerprint(testPol, bits)
	b, err := newPool(context.Background(), 2, 1<<16, 4<<20).get()
	if err != nil {
		t.Fatal(err)
	}
	copy(b.buf, random(5, len(b.buf)))
	s := &scouts{print: f, shortest: shortest}
	s.scout(b)
	scanned := 0
	for at := b.room - 1000; at+shortest < len(b.buf); { // of a chunk that the block before ended with
		from := at + shortest
		at = b.find(f, from, len(b.buf))
		if at == 0 {
			break
		}
		if g, known := b.gap(from); !known || g.from > from {
			scanned += at - from
		}
	}
	if scanned > len(b.buf)/20 {
		t.Errorf("%d of %d bytes were scanned again", scanned, len(b.buf))
	}
}

// TestScoutsGoWhereTheCutterIsNot, and only while chunks are cut and processors are idle.
func TestScoutsGoWhereTheCutterIsNot(t *testing.T) {
	pool := newPool(context.Background(), 2, 1024, 100_000)
	b, err := pool.get()
	if err != nil {
		t.Fatal(err)
	}
	copy(b.buf, random(5, len(b.buf)))
	idle := false
	s := &scouts{print: newFingerprint(testPol, 8), shortest: 256, free: make(chan struct{}, 1), idle: func() bool { return idle }}
	sent := func() bool {
		s.send(b)
		s.free <- struct{}{} // when the scout is back
		<-s.free
		return len(b.gaps) > 0
	}
	s.wanted.Store(true)
	if sent() {
		t.Error("a scout was sent though the processors were busy")
	}
	idle = true
	s.cutter.Store(b)
	if sent() {
		t.Error("a scout was sent to where the cutter is")
	}
	s.cutter.Store(nil)
	s.wanted.Store(false)
	if sent() {
		t.Error("a scout was sent though chunks are predicted")
	}
	s.wanted.Store(true)
	if !sent() {
		t.Error("no scout was sent")
	}
}

// BenchmarkCutter cuts a stream that is in memory: as the library does, and with up to so
// many scouts. Run it with -cpu 1,2.
func BenchmarkCutter(b *testing.B) {
	p := Params{Polynomial: testPol, Min: 128 << 10, Max: 2 << 20, Bits: 17}
	data := random(1, 64<<20)
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			c := chunker.New(bytes.NewReader(data), p.Polynomial, chunker.WithAverageBits(p.Bits), chunker.WithBoundaries(p.Min, p.Max))
			buf := make([]byte, p.Max)
			for {
				if _, err := c.Next(buf); err != nil {
					break
				}
			}
		}
	})
	for name, helpers := range map[string]int{"alone": 0, "scout": 1, "scouts3": 3} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				c := shape{blocks: 6, fill: shortestFill, helpers: helpers}.cutter(bytes.NewReader(data), p, nil)
				for {
					chunk, err := c.Next()
					if err == io.EOF { //nolint:errorlint // as Next promises
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					chunk.Release()
				}
			}
		})
	}
}
