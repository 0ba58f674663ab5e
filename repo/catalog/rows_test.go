package catalog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Rows that come in any order, and are settled at any time, find their places, keep what
// was said about them, and know their bases.
func TestRowsFindTheirPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few buckets, so that rows share them, and names that differ in little.
		names := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Key {
			return Key{uint32(rapid.IntRange(0, 3).Draw(t, "bucket")) << 20, uint32(rapid.IntRange(0, 99).Draw(t, "name"))}
		}), 1, 60, rapid.ID[Key]).Draw(t, "names")
		var c rows
		bases := make(map[int32]Key) // by pack
		roots := make(map[Key]bool)
		check := func() {
			c.Sort()
			n := 0
			var before *row
			for number, r := range c.all() {
				n++
				if before != nil && compareRows(*before, *r) > 0 {
					t.Fatalf("%v before %v", *before, *r)
				}
				before = r
				if c.row(number) != r {
					t.Fatalf("number %d", number)
				}
				if r.flags&isDelta == 0 {
					continue
				}
				want := bases[r.pack]
				if c.baseOf(r) != want {
					t.Fatalf("base %v, want %v", c.baseOf(r), want)
				}
				if run := c.run(r); len(run) != len(c.find(want)) || len(run) > 0 && &run[0] != &c.find(want)[0] {
					t.Fatalf("copies of base %v: %v", want, run)
				}
			}
			if n != c.Chunks() {
				t.Fatalf("%d of %d rows", n, c.Chunks())
			}
			for id := range roots {
				for _, r := range c.find(id) {
					if r.flags&rooted == 0 {
						t.Fatalf("%v is not rooted", r)
					}
				}
			}
		}
		for pack := range int32(rapid.IntRange(1, 120).Draw(t, "rows")) {
			r := row{id: rapid.SampledFrom(names).Draw(t, "id"), pack: pack, depth: uint8(rapid.IntRange(0, 2).Draw(t, "depth"))}
			base := rapid.SampledFrom(names).Draw(t, "base")
			if rapid.Bool().Draw(t, "delta") {
				r.flags, bases[pack] = isDelta, base
			}
			c.add(r, base)
			switch rapid.IntRange(0, 9).Draw(t, "then") {
			case 0:
				check()
			case 1:
				check()
				for i := range c.find(r.id) {
					c.find(r.id)[i].flags |= rooted
				}
				roots[r.id] = true
			}
		}
		check()
		packs := []int32{}
		for _, r := range c.all() {
			packs = append(packs, r.pack)
		}
		slices.Sort(packs)
		if len(slices.Compact(packs)) != c.Chunks() {
			t.Fatal("a row is there twice")
		}
	})
}
