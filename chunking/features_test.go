package chunking

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// shared counts the super-features that two chunks have in common.
func shared(a, b [superFeatures]uint64) (n int) {
	for i := range a {
		if a[i] == b[i] {
			n++
		}
	}
	return n
}

// TestFeaturesAreTheSameForEver: repositories hold features, so no release may
// compute others from the same key, namespace and bytes.
func TestFeaturesAreTheSameForEver(t *testing.T) {
	data := random(5, 100_000)
	for _, c := range []struct {
		namespace string
		want      [superFeatures]uint64
	}{
		{"", [superFeatures]uint64{0xa537b08ae849201b, 0xa430f4cf9bffbf2c, 0x8482dc885a936129}},
		{"prod", [superFeatures]uint64{0x6edb40ea9f672077, 0x8135ac9755387da7, 0x865e0302a081afd2}},
	} {
		got, ok := NewFeaturer(key, c.namespace).Features(data)
		if !ok || got != c.want {
			t.Errorf("namespace %q: %#x, %v; want %#x", c.namespace, got, ok, c.want)
		}
	}
}

// simple computes features as the text books say, one position after the other.
func simple(f *Featurer, data []byte) (sf [superFeatures]uint64, ok bool) {
	var maxima [transforms]uint64
	var h, last uint64
	samples := 0
	for i, b := range data {
		h = h<<gearShift + f.gear[b]
		if i < window-1 || h>>(64-sampleBits) != 0 || h == last {
			continue
		}
		last = h
		samples++
		for k := range maxima {
			maxima[k] = max(maxima[k], h*f.mul[k]+f.add[k])
		}
	}
	for i := range sf {
		v := uint64(i)
		for k := i * groupSize; k < (i+1)*groupSize; k++ {
			v = (v ^ maxima[k]) * f.mixer[k]
			v ^= v >> 32
		}
		sf[i] = v
	}
	if samples < minSamples {
		return [superFeatures]uint64{}, false
	}
	return sf, true
}

// TestFeaturesAreTheSimpleOnes: whatever the length, and for bytes that repeat.
func TestFeaturesAreTheSimpleOnes(t *testing.T) {
	f := NewFeaturer(key, "x")
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 60_000)).Draw(t, "n")
		data := random(rapid.Uint64().Draw(t, "seed"), n)
		period := rapid.IntRange(0, 300).Draw(t, "period")
		if period > 0 {
			for i := period; i < len(data); i++ {
				data[i] = data[i-period]
			}
		}
		got, ok := f.Features(data)
		want, wantOK := simple(f, data)
		// Of samples that alternate, the two windows may see fewer than one does.
		if got != want && (ok && wantOK || period == 0) || ok != wantOK && period == 0 {
			t.Fatalf("%x, %v; want %x, %v", got, ok, want, wantOK)
		}
	})
}

func TestTooLittleHasNoFeatures(t *testing.T) {
	f := NewFeaturer(key, "x")
	for name, data := range map[string][]byte{
		"nothing": nil, "a window": random(1, window), "a KiB": random(1, 1<<10),
		"zeros": make([]byte, 1<<20), "one byte": bytes.Repeat([]byte{'x'}, 1<<20),
	} {
		if sf, ok := f.Features(data); ok || sf != [superFeatures]uint64{} {
			t.Errorf("%s has features %x", name, sf)
		}
	}
	if _, ok := f.Features(random(1, 16<<10)); !ok {
		t.Error("16 KiB are not enough")
	}
}

// TestSamplesOfEveryByteValue: no byte that repeats, nor a pair, overflows anything
// where it is sampled all the time.
func TestSamplesOfEveryByteValue(t *testing.T) {
	f := NewFeaturer(key, "x")
	data := make([]byte, 5000)
	for pair := range 1 << 16 {
		if pair%7 != 0 {
			continue
		}
		for i := 0; i < len(data); i += 2 {
			binary.BigEndian.PutUint16(data[i:], uint16(pair))
		}
		got, ok := f.Features(data)
		if want, wantOK := simple(f, data); got != want || ok != wantOK {
			t.Fatalf("bytes %04x: %x, %v; want %x, %v", pair, got, ok, want, wantOK)
		}
	}
}

// TestKeyAndNamespaceSeparate: nothing is similar across namespaces or keys.
func TestKeyAndNamespaceSeparate(t *testing.T) {
	data := random(2, 100_000)
	featurers := map[string]*Featurer{
		"a": NewFeaturer(key, "a"), "b": NewFeaturer(key, "b"), "another key": NewFeaturer([32]byte{8}, "a"),
	}
	for x, fx := range featurers {
		for y, fy := range featurers {
			sx, _ := fx.Features(data)
			sy, _ := fy.Features(data)
			if n := shared(sx, sy); x != y && n != 0 || x == y && n != superFeatures {
				t.Errorf("%s and %s share %d", x, y, n)
			}
		}
	}
}

// TestPiecesOfADayFindTheirBase: of a table's pieces nearly all that changed share a
// super-feature with the piece before the change, and none with another.
func TestPiecesOfADayFindTheirBase(t *testing.T) {
	f := NewFeaturer(key, "x")
	table := tablegen.New(tablegen.Heap, 3, 60_000)
	text := func() []byte {
		var b bytes.Buffer
		if _, err := table.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	const piece = 200 << 10
	var before [][superFeatures]uint64
	for data := text(); len(data) >= piece; data = data[piece:] {
		sf, _ := f.Features(data[:piece])
		before = append(before, sf)
	}
	table.NextDay(tablegen.Daily(tablegen.Heap))
	found, pieces := 0, 0
	for data := text(); len(data) >= piece && pieces < len(before); data = data[piece:] {
		sf, ok := f.Features(data[:piece])
		for i := range before {
			// A row or two more or less move the pieces; their neighbours share a little.
			if n := shared(sf, before[i]); n > 0 && (i < pieces-1 || i > pieces+1) {
				t.Errorf("pieces %d and %d share %d", pieces, i, n)
			}
		}
		if ok && shared(sf, before[pieces]) > 0 {
			found++
		}
		pieces++
	}
	if found < pieces*9/10 {
		t.Errorf("%d of %d pieces found their base", found, pieces)
	}
}

func TestFeaturesConcurrentlyWithoutAllocation(t *testing.T) {
	f, data := NewFeaturer(key, "x"), random(9, 300_000)
	want, _ := f.Features(data)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				if got, ok := f.Features(data); !ok || got != want {
					t.Errorf("features %x", got)
				}
			}
		})
	}
	group.Wait()
	if n := testing.AllocsPerRun(10, func() { f.Features(data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestResemblance: what is estimated from lengths is the part of all windows that both have.
func TestResemblance(t *testing.T) {
	windows := func(data []byte) map[string]bool {
		seen := make(map[string]bool)
		for i := range len(data) - window + 1 {
			seen[string(data[i:i+window])] = true
		}
		return seen
	}
	const cut, came, changes = 5000, 3000, 40
	a := random(9, 50_000)
	b := append(bytes.Clone(a[cut:]), random(10, came)...)
	common := len(a) - cut - changes
	for i := range changes {
		b[500+1000*i] ^= 1
	}
	in, both := windows(a), 0
	all := len(in)
	for w := range windows(b) {
		if in[w] {
			both++
		} else {
			all++
		}
	}
	want := float64(both) / float64(all)
	if got := Resemblance(len(a), len(b), common, changes+1); got < want-0.005 || got > want+0.005 {
		t.Errorf("%.4f, and it is %.4f", got, want)
	}
	for _, c := range [][4]int{{0, 0, 0, 0}, {100, 100, 100, 50}, {100, 50, 1000, 1}} {
		if got := Resemblance(c[0], c[1], c[2], c[3]); got < 0 || got > 1 {
			t.Errorf("%v: %f", c, got)
		}
	}
}
