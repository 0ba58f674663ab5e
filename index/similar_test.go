package index

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
)

// featuredPack is a pack whose chunk n has the super-features features[i].
func featuredPack(salt int, features map[int][3]uint64) Pack {
	var chunks []int
	for n := range features {
		chunks = append(chunks, n)
	}
	slices.Sort(chunks)
	p := testPack(salt, chunks...)
	for i, n := range chunks {
		p.Entries[i].Flags = FlagFeatures
		p.Entries[i].Features = features[n]
	}
	return p
}

// withFeatures gives each chunk of p super-features that no other has.
func withFeatures(r *rand.Rand, p Pack) Pack {
	for i := range p.Entries {
		e := &p.Entries[i]
		e.Flags |= FlagFeatures
		e.Features = [3]uint64{r.Uint64(), r.Uint64(), r.Uint64()}
	}
	return p
}

// everywhere runs the test with the fragments in memory, in one generation, in one
// that was sorted in many runs, and in several generations.
func everywhere(t *testing.T, w *world, check func(t *testing.T, v *View)) {
	t.Run("recent", func(t *testing.T) {
		check(t, mustView(t, testCache(t, CacheOptions{}), w.list(), w.load))
	})
	for name, batch := range map[string]int{"generation": batchBytes, "runs": 1} {
		t.Run(name, func(t *testing.T) {
			c := testCache(t, CacheOptions{})
			c.batch = batch
			mustRefresh(t, c, w.list(), w.load)
			check(t, mustView(t, c, w.list(), noLoad(t)))
		})
	}
	t.Run("one by one", func(t *testing.T) {
		c := testCache(t, CacheOptions{})
		for i := range w.order {
			mustRefresh(t, c, w.list(w.order[:i+1]...), w.load)
		}
		check(t, mustView(t, c, w.list(), noLoad(t)))
	})
	t.Run("half and half", func(t *testing.T) {
		c := testCache(t, CacheOptions{})
		mustRefresh(t, c, w.list(w.order[:len(w.order)/2]...), w.load)
		check(t, mustView(t, c, w.list(), w.load))
	})
}

func TestSimilar(t *testing.T) {
	w := newWorld()
	// In the order of age. Chunks 7 and 8 have one short key.
	w.add(featuredPack(1, map[int][3]uint64{1: {10, 20, 30}, 7: {70, 71, 72}, 8: {80, 81, 82}}))
	w.add(featuredPack(2, map[int][3]uint64{2: {10, 21, 31}}))
	w.add(featuredPack(3, map[int][3]uint64{3: {11, 10, 32}, 4: {40, 41, 42}}), testPack(4, 9))
	w.add(featuredPack(5, map[int][3]uint64{4: {40, 41, 42}}))
	truth := w.locations(w.order...)
	everywhere(t, w, func(t *testing.T, v *View) {
		for _, c := range []struct {
			why  string
			sf   [3]uint64
			want int // the chunk; 0: none
		}{
			{"all three", [3]uint64{11, 10, 32}, 3},
			{"one is enough", [3]uint64{0, 0, 30}, 1},
			{"the newest of two that share one", [3]uint64{10, 0, 0}, 2},
			{"the one that shares most", [3]uint64{10, 20, 30}, 1},
			{"places count", [3]uint64{20, 10, 0}, 3},
			{"nothing is shared", [3]uint64{1, 2, 3}, 0},
			{"not even in other places", [3]uint64{42, 40, 41}, 0},
			{"short key", [3]uint64{80, 81, 82}, 8},
		} {
			id, loc, ok := v.Similar(c.sf, nil)
			if ok != (c.want != 0) || ok && (id != chunkID(c.want) || !slices.Contains(truth[id], loc)) {
				t.Errorf("%s: %s at %+v, %v; want chunk %d", c.why, id.Short(), loc, ok, c.want)
			}
		}
		if _, loc, ok := v.Similar([3]uint64{40, 41, 42}, nil); !ok || loc.Pack != testPack(5).ID {
			t.Errorf("of two packs that hold it: %+v, %v", loc, ok)
		}
		// The other chunk of that short key has a long one, which features do not name.
		if id, _, ok := v.Similar([3]uint64{70, 71, 72}, nil); ok && id != chunkID(7) {
			t.Errorf("long key: %s", id.Short())
		}
		if d := v.Damaged(); d != nil {
			t.Error(d)
		}
	})
}

func TestSimilarInUsablePacks(t *testing.T) {
	w := newWorld()
	w.add(featuredPack(1, map[int][3]uint64{1: {10, 20, 30}}))
	w.add(featuredPack(2, map[int][3]uint64{2: {10, 21, 31}}))
	sf := [3]uint64{10, 20, 31}
	everywhere(t, w, func(t *testing.T, v *View) {
		for n := 1; n <= 2; n++ {
			only := testPack(n).ID
			id, loc, ok := v.Similar(sf, func(pack digest.ID) bool { return pack == only })
			if !ok || id != chunkID(n) || loc.Pack != only {
				t.Errorf("only pack %d is usable: %+v, %v", n, loc, ok)
			}
		}
		if _, _, ok := v.Similar(sf, func(digest.ID) bool { return false }); ok {
			t.Error("found in an unusable pack")
		}
	})
}

func TestSimilarNeedsAListedFragment(t *testing.T) {
	w := newWorld()
	keep := w.add(featuredPack(1, map[int][3]uint64{1: {10, 20, 30}}))
	w.add(featuredPack(2, map[int][3]uint64{2: {10, 21, 31}}))
	c := testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(), w.load)
	v := mustView(t, c, w.list(keep), noLoad(t))
	if id, _, ok := v.Similar([3]uint64{0, 21, 31}, nil); ok {
		t.Errorf("found %s, whose fragment is gone", id.Short())
	}
	if id, _, ok := v.Similar([3]uint64{10, 20, 0}, nil); !ok || id != chunkID(1) {
		t.Errorf("found %s, %v", id.Short(), ok)
	}
	// A merge brings back what the newer one hid.
	c.opts.MaxGenerations = 1
	keep2 := w.add(featuredPack(3, map[int][3]uint64{3: {99, 98, 97}}))
	mustRefresh(t, c, w.list(keep, keep2), w.load)
	v = mustView(t, c, w.list(keep, keep2), noLoad(t))
	if id, _, ok := v.Similar([3]uint64{10, 0, 0}, nil); !ok || id != chunkID(1) {
		t.Errorf("after a merge found %s, %v", id.Short(), ok)
	}
}

// TestFeaturesOfTheNewestOnly: beyond FeatureEntries only the features go. Entries that
// have none, as small deltas, do not count.
func TestFeaturesOfTheNewestOnly(t *testing.T) {
	const fragments, chunks, kept = 8, 50, 3
	w := newWorld()
	var featured []digest.ID
	for i := range fragments {
		featured = append(featured, w.add(withFeatures(newRand(i), randomPack(newRand(i), chunks))))
		for j := range 3 {
			w.add(randomPack(newRand(1000+3*i+j), chunks))
		}
	}
	for name, oneByOne := range map[string]bool{"at once": false, "one by one": true} {
		for limit, want := range map[int]int{kept * chunks: kept, kept*chunks + chunks - 1: kept, -1: 0, 0: fragments} {
			c := testCache(t, CacheOptions{FeatureEntries: limit, MaxGenerations: 1})
			if oneByOne {
				for i := range w.order {
					mustRefresh(t, c, w.list(w.order[:i+1]...), w.load)
				}
			} else {
				mustRefresh(t, c, w.list(), w.load)
			}
			v := mustView(t, c, w.list(), noLoad(t))
			if n := v.gens[0].featureRows; n != uint64(3*chunks*want) {
				t.Errorf("%s: %d rows of %d fragments", name, n, want)
			}
			truth := w.locations(w.order...)
			for i, fragment := range featured {
				for _, e := range w.fragments[fragment][0].Entries {
					id, loc, ok := v.Similar(e.Features, nil)
					if ok != (i >= fragments-want) || ok && (id != e.ID || loc != truth[id][0]) {
						t.Fatalf("%s: fragment %d of %d: similar: %v", name, i, fragments, ok)
					}
					if loc, ok := v.Find(e.ID, nil); !ok || loc != truth[e.ID][0] {
						t.Fatalf("%s: fragment %d: found %+v, %v; it is at %+v", name, i, loc, ok, truth[e.ID])
					}
					if _, ok := v.Features(e.ID); ok != (i >= fragments-want) {
						t.Fatalf("%s: fragment %d: features %v", name, i, ok)
					}
				}
			}
		}
	}
}

// TestManyShareASuperFeature: what a repository cannot make by itself, but somebody
// who writes fragments can. Nothing grows beyond its bounds.
func TestManyShareASuperFeature(t *testing.T) {
	w := newWorld()
	var last Pack
	for i := range 3 {
		last = withFeatures(newRand(i), randomPack(newRand(i), 2000))
		for k := range last.Entries {
			last.Entries[k].Features[1] = 5
		}
		w.add(last)
	}
	everywhere(t, w, func(t *testing.T, v *View) {
		if _, loc, ok := v.Similar([3]uint64{0, 5, 0}, nil); !ok || loc.Pack != last.ID {
			t.Errorf("found %+v, %v; the newest is in %s", loc, ok, last.ID.Short())
		}
		e := &last.Entries[1999]
		if id, _, ok := v.Similar(e.Features, nil); !ok || id != e.ID {
			t.Errorf("found %s, %v; want %s", id.Short(), ok, e.ID.Short())
		}
	})
}

func TestSimilarWithoutCache(t *testing.T) {
	var c *Cache
	w := newWorld()
	w.add(featuredPack(1, map[int][3]uint64{1: {10, 20, 30}}))
	if _, _, ok := mustView(t, c, w.list(), w.load).Similar([3]uint64{10, 20, 30}, nil); ok {
		t.Error("a nil cache cannot know offsets")
	}
	c = testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(), w.load)
	v := must(c.View(context.Background(), w.list(), w.load))
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := v.Similar([3]uint64{10, 20, 30}, nil); ok {
		t.Error("found after Close")
	}
}

// TestFeatureGroups: many groups, each of which finds its own and nothing else.
func TestFeatureGroups(t *testing.T) {
	w := newWorld()
	for i := range 4 {
		w.add(withFeatures(newRand(i), randomPack(newRand(i), 3000)))
	}
	c := testCache(t, CacheOptions{})
	c.batch = 256 << 10
	mustRefresh(t, c, w.list(), w.load)
	v := mustView(t, c, w.list(), noLoad(t))
	if g := v.gens[0]; g.featureBits < 8 || g.featureRows != 3*4*3000 {
		t.Errorf("%d rows in 2^%d groups", g.featureRows, g.featureBits)
	}
	r := newRand(9)
	for _, fragment := range w.order {
		for _, e := range w.fragments[fragment][0].Entries {
			sf := e.Features
			only := r.IntN(3)
			for i := range sf {
				if i != only {
					sf[i] = r.Uint64()
				}
			}
			if id, _, ok := v.Similar(sf, nil); !ok || id != e.ID {
				t.Fatalf("%s not found by number %d", e.ID.Short(), only)
			}
			sf[only]++
			if id, _, ok := v.Similar(sf, nil); ok {
				t.Fatalf("%s found by chance", id.Short())
			}
		}
	}
}
