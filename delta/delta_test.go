package delta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func text(seed uint64, rows int) []byte {
	rng := rand.New(rand.NewPCG(seed, 3))
	var b bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&b, "%d,%d,customer-%x,%d.%02d,2026-11-%02d,%x\n", i, rng.IntN(1e6), rng.Uint32(), rng.IntN(1e4), rng.IntN(100), 1+rng.IntN(28), rng.Uint64())
	}
	return b.Bytes()
}

// edit changes, inserts and removes some stretches.
func edit(rng *rand.Rand, data []byte, n int) []byte {
	out := bytes.Clone(data)
	for range n {
		if len(out) < 2 {
			return out
		}
		at := rng.IntN(len(out))
		end := min(len(out), at+rng.IntN(30))
		with := make([]byte, rng.IntN(30))
		for i := range with {
			with[i] = byte('0' + rng.IntN(10))
		}
		out = append(out[:at:at], append(with, out[end:]...)...)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 300),
			rapid.Custom(func(t *rapid.T) []byte {
				return text(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 200).Draw(t, "rows"))
			}),
			rapid.Custom(func(t *rapid.T) []byte { return bytes.Repeat([]byte{'x'}, rapid.IntRange(0, 5000).Draw(t, "run")) }),
		).Draw(t, "base")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "edits"), 0))
		target := edit(rng, base, rapid.IntRange(0, 20).Draw(t, "n"))
		if rapid.Bool().Draw(t, "unrelated") {
			target = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "target")
		}
		var e Encoder
		for range 2 { // an encoder is used again
			d, ok := e.Encode([]byte("dst"), base, target, 1<<30)
			if !ok {
				t.Fatal("gave up below the limit")
			}
			count, n := binary.Uvarint(d[4:])
			length, m := binary.Uvarint(d[4+n:])
			literals := len(d) - 4 - n - m - int(length)
			if copied, copies := e.Copied(); copied != len(target)-literals || copies > int(count) || copies < int(count)-1 {
				t.Fatalf("%d bytes in %d copies; %d instructions and %d literals of %d bytes", copied, copies, count, literals, len(target))
			}
			out, err := Decode([]byte("out"), base, d[3:], len(target))
			if err != nil || !bytes.Equal(out[3:], target) {
				t.Fatalf("decode: %v, %q, want %q", err, out, target)
			}
		}
	})
}

// TestScatteredUpdatesAreSmall: what the package is for.
func TestScatteredUpdatesAreSmall(t *testing.T) {
	base := text(1, 3000)
	target := edit(rand.New(rand.NewPCG(1, 1)), base, 30)
	var e Encoder
	d, ok := e.Encode(nil, base, target, len(target))
	if !ok || len(d) > 30*(30+2*minCopy) {
		t.Errorf("30 edits in %d bytes gave a delta of %d bytes", len(base), len(d))
	}
	// Rows in another order are found as well.
	half := len(base) / 2
	moved := append(bytes.Clone(base[half:]), base[:half]...)
	if d, ok = e.Encode(nil, base, moved, len(moved)); !ok || len(d) > 100 {
		t.Errorf("two halves exchanged gave a delta of %d bytes", len(d))
	}
}

func TestGivesUp(t *testing.T) {
	var e Encoder
	if d, ok := e.Encode([]byte("x"), text(1, 500), text(2, 500), 1000); ok || string(d) != "x" {
		t.Errorf("an unrelated chunk gave a delta of %d bytes", len(d))
	}
}

func TestDecodeRefuses(t *testing.T) {
	base := []byte("0123456789abcdef")
	for name, d := range map[string][]byte{
		"empty":             {},
		"newer version":     {2, 0, 0},
		"no count":          {1},
		"no length":         {1, 1},
		"endless count":     {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 0},
		"too many":          {1, 4, 3, 0, 16, 0},
		"cut short":         {1, 1, 2, 0, 16},
		"longer than it is": {1, 1, 9, 0, 16, 0},
		"beyond the base":   {1, 1, 3, 0, 17, 0},
		"before the base":   {1, 1, 3, 0, 16, 1},
		"too long":          {1, 2, 6, 0, 16, 0, 0, 16, 31},
		"too short":         {1, 1, 3, 0, 15, 0},
		"literals left":     {1, 1, 3, 0, 16, 0, 'x'},
		"literals missing":  {1, 1, 2, 16, 0, 'x'},
		"bytes left":        {1, 1, 4, 0, 16, 0, 0},
		"empty copy first":  {1, 2, 5, 0, 0, 0, 16, 0},
	} {
		_, err := Decode(nil, base, d, len(base))
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte(nil), []byte(nil))
	f.Add(text(1, 5), edit(rand.New(rand.NewPCG(1, 1)), text(1, 5), 3))
	var e Encoder
	f.Fuzz(func(t *testing.T, base, target []byte) {
		d, ok := e.Encode(nil, base, target, 1<<30)
		if !ok {
			t.Fatal("gave up below the limit")
		}
		out, err := Decode(nil, base, d, len(target))
		if err != nil || !bytes.Equal(out, target) {
			t.Fatalf("%v: %q became %q", err, target, out)
		}
	})
}

func FuzzDecode(f *testing.F) {
	var e Encoder
	base := text(1, 5)
	d, _ := e.Encode(nil, base, edit(rand.New(rand.NewPCG(1, 1)), base, 3), 1<<30)
	f.Add(base, d, uint16(len(base)))
	f.Add([]byte("0123456789abcdef"), []byte{1, 2, 6, 0, 16, 0, 0, 16, 31}, uint16(32))
	f.Fuzz(func(t *testing.T, base, d []byte, size uint16) {
		out, err := Decode(nil, base, d, int(size))
		if err == nil && len(out) != int(size) {
			t.Fatalf("%d bytes, want %d", len(out), size)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	base := text(1, 2500)
	target := edit(rand.New(rand.NewPCG(1, 1)), base, 25)
	var e Encoder
	var d []byte
	b.SetBytes(int64(len(target)))
	for b.Loop() {
		d, _ = e.Encode(d[:0], base, target, len(target))
	}
	b.ReportMetric(float64(len(target))/float64(len(d)), "ratio")
}

func BenchmarkEncodeUnrelated(b *testing.B) {
	base, target := text(1, 2500), text(2, 2500)
	var e Encoder
	b.SetBytes(int64(len(target)))
	for b.Loop() {
		e.Encode(nil, base, target, len(target)/4)
	}
}

func BenchmarkDecode(b *testing.B) {
	base := text(1, 2500)
	target := edit(rand.New(rand.NewPCG(1, 1)), base, 25)
	var e Encoder
	d, _ := e.Encode(nil, base, target, len(target))
	var out []byte
	b.SetBytes(int64(len(target)))
	for b.Loop() {
		var err error
		if out, err = Decode(out[:0], base, d, len(target)); err != nil {
			b.Fatal(err)
		}
	}
}

// chain returns a content and the deltas of days that follow it, with their targets.
func chain(days, rows, changes int) (base []byte, deltas, targets [][]byte) {
	var e Encoder
	rng := rand.New(rand.NewPCG(1, 1))
	base = text(1, rows)
	for last := base; len(deltas) < days; {
		target := edit(rng, last, changes)
		d, _ := e.Encode(nil, last, target, 1<<30)
		deltas, targets, last = append(deltas, d), append(targets, target), target
	}
	return base, deltas, targets
}

// TestComposer: deltas that are composed make what they make one by one, wherever a
// content is made in between.
func TestComposer(t *testing.T) {
	for _, changes := range []int{0, 1, 30, 500} {
		base, deltas, targets := chain(20, 400, changes)
		for every := 1; every <= len(deltas); every++ {
			var c Composer
			c.Start(base)
			for i, d := range deltas {
				if err := c.Apply(d, len(targets[i])); err != nil {
					t.Fatalf("%d changes, delta %d: %v", changes, i, err)
				}
				if err := c.Apply(d, len(targets[i])+1); err == nil {
					t.Fatal("a wrong length was taken")
				}
				if (i+1)%every != 0 {
					continue
				}
				got := c.AppendTo([]byte("kept"))
				if string(got[:4]) != "kept" || !bytes.Equal(got[4:], targets[i]) {
					t.Fatalf("%d changes: the content of day %d is wrong", changes, i)
				}
				c.Start(got[4:])
			}
		}
	}
}

// FuzzComposer: whatever the deltas are, composed they do what Decode does, one after
// the other.
func FuzzComposer(f *testing.F) {
	base, deltas, targets := chain(2, 5, 3)
	f.Add(base, deltas[0], deltas[1], uint16(len(targets[0])), uint16(len(targets[1])))
	f.Add([]byte("0123456789abcdef"), []byte{1, 2, 6, 0, 16, 0, 0, 16, 31}, []byte{1, 2, 6, 0, 20, 4, 1, 3, 20, 'x'}, uint16(32), uint16(24))
	f.Add([]byte{}, []byte{1, 1, 2, 2, 0, 'a', 'b'}, []byte{1, 3, 9, 0, 1, 0, 0, 1, 3, 0, 2, 3}, uint16(2), uint16(4))
	f.Fuzz(func(t *testing.T, base, d1, d2 []byte, size1, size2 uint16) {
		var c Composer
		c.Start(base)
		for _, x := range []struct {
			delta []byte
			size  int
		}{{d1, int(size1)}, {d2, int(size2)}} {
			want, wrong := Decode(nil, base, x.delta, x.size)
			if err := c.Apply(x.delta, x.size); (err == nil) != (wrong == nil) || err != nil && err.Error() != wrong.Error() {
				t.Fatalf("%v, not %v", err, wrong)
			}
			if wrong == nil {
				base = want
			}
			if got := c.AppendTo(nil); !bytes.Equal(got, base) {
				t.Fatalf("made %q, not %q", got, base)
			}
		}
	})
}

// BenchmarkChain applies the deltas of four weeks: one by one, and composed as long as
// pieces are no shorter than that on average.
func BenchmarkChain(b *testing.B) {
	base, deltas, targets := chain(28, 2500, 32)
	buf := [2][]byte{}
	for _, shortest := range []int{1 << 30, 2048, 1024, 512, 256, 128, 1} {
		b.Run(strconv.Itoa(shortest), func(b *testing.B) {
			var c Composer
			for b.Loop() {
				c.Start(base)
				k := 0
				for i, d := range deltas {
					if err := c.Apply(d, len(targets[i])); err != nil {
						b.Fatal(err)
					}
					if c.Pieces() > len(targets[i])/shortest || i == len(deltas)-1 {
						buf[k] = c.AppendTo(buf[k][:0])
						c.Start(buf[k])
						k = 1 - k
					}
				}
			}
		})
	}
}
