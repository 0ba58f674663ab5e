package index

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
)

// filterVictim is a cache of one generation, and the numbers that its chunks have.
func filterVictim(t *testing.T) (w *world, c *Cache, super [][3]uint64) {
	w = newWorld()
	for i := range 4 {
		w.add(withFeatures(newRand(i), randomPack(newRand(i), 3000)))
	}
	c = testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(), w.load)
	for _, fragment := range w.order {
		for _, e := range w.fragments[fragment][0].Entries {
			super = append(super, e.Features)
		}
	}
	return w, c, super
}

func TestFilterKnowsWhatIsThere(t *testing.T) {
	w, c, super := filterVictim(t)
	v := mustView(t, c, w.list(), noLoad(t))
	g := v.gens[0]
	if want := filterBlocks(uint64(3 * len(super))); g.filterBlocks != want {
		t.Fatalf("%d blocks, want %d", g.filterBlocks, want)
	}
	for _, sf := range super {
		for i := range sf {
			if may, err := g.mayHave(featureNumber(g.salt, i, sf[i])); err != nil || !may {
				t.Fatalf("a number that is there: %v, %v", may, err)
			}
		}
	}
	r, passed := newRand(9), 0
	const tries = 20_000
	for range tries {
		if may, err := g.mayHave(r.Uint64()); err != nil {
			t.Fatal(err)
		} else if may {
			passed++
		}
	}
	if passed > tries/50 { // about one in 200 is expected
		t.Errorf("%d of %d numbers that are not there may be", passed, tries)
	}
}

// TestFilterOfSeveralSegments: what a few million chunks have.
func TestFilterOfSeveralSegments(t *testing.T) {
	name := t.TempDir() + "/filter"
	w := must(newWriter(name, 7))
	const n = 2*filterSegment*filterRows + 1000
	w.sum.filterBlocks = filterBlocks(n)
	numbers := make([]uint64, n)
	r := newRand(1)
	for i := range numbers {
		numbers[i] = r.Uint64()
	}
	slices.Sort(numbers)
	f := filterWriter{w: w}
	for _, number := range numbers {
		if err := f.add(number); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.finish(); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	g := must(openGeneration(name, 1))
	defer g.close()
	if len(g.filter) != 3 {
		t.Errorf("%d segments", len(g.filter))
	}
	for _, number := range numbers {
		if may, err := g.mayHave(number); err != nil || !may {
			t.Fatalf("a number that is there: %v, %v", may, err)
		}
	}
}

// TestDamagedFilter: a flipped bit is noticed, and the generation replaced.
func TestDamagedFilter(t *testing.T) {
	w, c, super := filterVictim(t)
	name := generationFiles(t, c)[0]
	g := must(openGeneration(name, 1))
	number := featureNumber(g.salt, 0, super[0][0])
	block := g.filter[0][filterPlace(number, g.filterBlocks)*filterBlock:][:filterBlock]
	data := must(os.ReadFile(name))
	at := bytes.Index(data, block)
	g.close()
	data[at] ^= 4
	mustWrite(t, name, data)
	v := mustView(t, c, w.list(), w.load)
	_, _, _ = v.Similar(super[0], nil)
	if len(v.Damaged()) != 1 {
		t.Errorf("damaged: %v", v.Damaged())
	}
	mustRefresh(t, c, w.list(), w.load)
	if _, _, ok := mustView(t, c, w.list(), noLoad(t)).Similar(super[0], nil); !ok {
		t.Error("not found in the new generation")
	}
}

// TestSimilarPassesOverAnUnusablePack: one that shares all of its features hides no
// other, if its pack is not usable.
func TestSimilarPassesOverAnUnusablePack(t *testing.T) {
	w := newWorld()
	w.add(featuredPack(1, map[int][3]uint64{1: {50, 60, 70}}))
	w.add(featuredPack(2, map[int][3]uint64{2: {11, 12, 70}})) // the newest with 70
	c := testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(), w.load)
	v := mustView(t, c, w.list(), noLoad(t))
	for n := 1; n <= 2; n++ {
		only := testPack(n).ID
		id, _, ok := v.Similar([3]uint64{50, 60, 70}, func(pack digest.ID) bool { return pack == only })
		if !ok || id != chunkID(n) {
			t.Errorf("only pack %d is usable: %s, %v", n, id.Short(), ok)
		}
	}
}
