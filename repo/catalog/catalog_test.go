package catalog

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
)

func chunkID(n int) digest.ID {
	return digest.Sum(binary.LittleEndian.AppendUint64([]byte("chunk"), uint64(n)))
}

func packID(n int) digest.ID {
	return digest.Sum(binary.LittleEndian.AppendUint64([]byte("pack"), uint64(n)))
}

// world is a catalog and the same things written down so that rules can be applied to
// them word by word.
type world struct {
	c      *Catalog
	copies []worldCopy
	rooted map[int]bool
	chunks int
}

type worldCopy struct {
	chunk, pack, base int // base: -1 if whole
	depth             uint8
}

func drawWorld(t *rapid.T) *world {
	w := &world{c: &Catalog{}, rooted: map[int]bool{}, chunks: rapid.IntRange(1, 12).Draw(t, "chunks")}
	packs := rapid.IntRange(1, 6).Draw(t, "packs")
	depth := make([][]uint8, w.chunks) // of the copies of each chunk
	for p := range packs {
		dir := index.Pack{ID: packID(p)}
		for range rapid.IntRange(1, 5).Draw(t, "entries") {
			k := worldCopy{chunk: rapid.IntRange(0, w.chunks-1).Draw(t, "chunk"), pack: p, base: -1}
			e := index.Entry{ID: chunkID(k.chunk), Stored: uint32(rapid.IntRange(17, 2000).Draw(t, "stored")), Raw: 2000, Encoding: index.Zstd}
			if base := rapid.IntRange(-1, w.chunks-1).Draw(t, "base"); base >= 0 && base != k.chunk && len(depth[base]) > 0 {
				k.base = base
				k.depth = depth[base][rapid.IntRange(0, len(depth[base])-1).Draw(t, "of")] + 1
				e.Encoding, e.Base, e.Depth = index.Delta, chunkID(base), k.depth
			}
			depth[k.chunk] = append(depth[k.chunk], k.depth)
			w.copies = append(w.copies, k)
			dir.Entries = append(dir.Entries, e)
		}
		n := w.c.AddDirectory(&dir)
		if rapid.Bool().Draw(t, "sort") {
			w.c.Sort()
		}
		pack := &w.c.Packs[n]
		pack.First = rapid.IntRange(0, 9).Draw(t, "first") > 0
		pack.Last = pack.First && rapid.IntRange(0, 9).Draw(t, "last") > 0
		pack.Named = rapid.IntRange(0, 4).Draw(t, "named")
		pack.Condemned = rapid.IntRange(0, 2).Draw(t, "condemned") == 0
		pack.Sweep = pack.Condemned && pack.First && pack.Last && rapid.Bool().Draw(t, "sweep")
	}
	w.c.Sort()
	for n := range w.chunks {
		if rapid.IntRange(0, 2).Draw(t, "root") == 0 && w.c.Root(KeyOf(chunkID(n))) {
			w.rooted[n] = true
		}
	}
	w.c.Decide()
	return w
}

// placed is rule 5, word by word.
func (w *world) placed(chunk, below int) bool { return w.placedWith(nil, chunk, below) }

// placedWith also counts copies that were just made.
func (w *world) placedWith(made []worldCopy, chunk, below int) bool {
	for _, k := range made {
		if k.chunk == chunk && int(k.depth) < below && (k.base < 0 || w.placedWith(made, k.base, int(k.depth))) {
			return true
		}
	}
	for _, k := range w.copies {
		p := &w.c.Packs[k.pack]
		if k.chunk == chunk && int(k.depth) < below && p.First && p.Last && !p.Condemned && p.Known && p.Named > 0 &&
			(k.base < 0 || w.placedWith(made, k.base, int(k.depth))) {
			return true
		}
	}
	return false
}

// readable is the same in packs of any kind that are there.
func (w *world) readable(chunk, below int) bool {
	for _, k := range w.copies {
		if p := &w.c.Packs[k.pack]; k.chunk == chunk && int(k.depth) < below && p.First && p.Last && (k.base < 0 || w.readable(k.base, int(k.depth))) {
			return true
		}
	}
	return false
}

// live is rule 6, word by word.
func (w *world) live() map[int]bool {
	live := map[int]bool{}
	for n := range w.rooted {
		live[n] = true
	}
	for _, k := range w.copies {
		if p := &w.c.Packs[k.pack]; k.base >= 0 && p.First && p.Last && !p.Sweep {
			live[k.base] = true
		}
	}
	for again := true; again; {
		again = false
		for _, k := range w.copies {
			p := &w.c.Packs[k.pack]
			if k.base >= 0 && live[k.chunk] && !live[k.base] && (p.First || p.Last || p.Named > 0) {
				live[k.base], again = true, true
			}
		}
	}
	return live
}

func TestRulesWordByWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		if rapid.Bool().Draw(t, "postpone") {
			w.c.Postpone()
		}
		want := w.live()
		unresolved := map[Key]bool{}
		for _, id := range w.c.Unresolved() {
			unresolved[id] = true
		}
		for n := range w.chunks {
			id := KeyOf(chunkID(n))
			run := w.c.find(id)
			if len(run) == 0 {
				continue
			}
			if got := run[0].flags&live != 0; got != want[n] {
				t.Fatalf("chunk %d: live %v, want %v", n, got, want[n])
			}
			if got := w.c.Placed(id); got != w.placed(n, anyDepth) {
				t.Fatalf("chunk %d: placed %v", n, got)
			}
			if lost := w.rooted[n] && !w.readable(n, anyDepth); lost != unresolved[id] {
				t.Fatalf("chunk %d: unresolved %v, want %v", n, unresolved[id], lost)
			}
		}
		for n, ok := range w.c.Sweepable() {
			for _, k := range w.copies {
				if ok && k.pack == n && want[k.chunk] && !w.placed(k.chunk, anyDepth) {
					t.Fatalf("pack %d may go, and with it the last location of live chunk %d", n, k.chunk)
				}
			}
		}
	})
}

// carryOut does what a plan says: it puts the copies into a new pack, in order.
func (w *world) carryOut(t *rapid.T, p *Plan) {
	dir := index.Pack{ID: packID(1000)}
	var made []worldCopy
	number := map[Key]int{}
	for n := range w.chunks {
		number[KeyOf(chunkID(n))] = n
	}
	for _, k := range p.Copies {
		e := index.Entry{ID: chunkID(number[k.ID]), Stored: uint32(k.Stored), Raw: 2000, Encoding: index.Zstd}
		copied := worldCopy{chunk: number[k.ID], pack: len(w.c.Packs), base: -1}
		if k.Recode {
			copied.base = -1
			if k.Delta {
				d := p.DepthOf(k.Base)
				if d >= int(k.Depth) {
					t.Fatalf("chunk %d is to be encoded anew against a base as deep as itself", copied.chunk)
				}
				copied.base, copied.depth = number[k.Base], uint8(d+1)
			}
		} else if k.Delta {
			copied.base, copied.depth = number[k.Base], k.Depth
		}
		if copied.base >= 0 {
			e.Encoding, e.Base, e.Depth = index.Delta, chunkID(copied.base), copied.depth
			if !w.placedWith(made, copied.base, int(copied.depth)) {
				t.Fatalf("chunk %d is copied before its base %d has a location", copied.chunk, copied.base)
			}
		}
		made = append(made, copied)
		dir.Entries = append(dir.Entries, e)
	}
	n := w.c.AddDirectory(&dir)
	pack := &w.c.Packs[n]
	pack.First, pack.Last, pack.Named = true, true, 1
	w.copies = append(w.copies, made...)
	w.c.Sort()
	w.c.Decide()
}

func TestRescueGivesWhatIsLiveAnotherLocation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.c.Postpone()
		plan := w.c.NewPlan()
		plan.PlaceSwept()
		w.carryOut(t, plan)
		want := w.live()
		for n, ok := range w.c.Sweepable() {
			for _, k := range w.copies {
				if k.pack == n && want[k.chunk] && !ok && w.readable(k.chunk, anyDepth) && w.placed(k.chunk, anyDepth) {
					continue // another chunk keeps the pack
				}
			}
			if ok {
				continue
			}
			kept := false
			for _, k := range w.copies {
				kept = kept || k.pack == n && want[k.chunk] && !w.readable(k.chunk, anyDepth)
			}
			if !kept {
				t.Fatalf("pack %d stays, though everything in it that is live can be read", n)
			}
		}
	})
}

// After packs were chosen, and what is needed of them copied, everything that is rooted
// and can be read has a location that counts.
func TestChoiceLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for i := range w.c.Packs {
			w.c.Packs[i].Named = max(w.c.Packs[i].Named, 1) // folded
			w.c.Packs[i].Sweep = false
		}
		w.c.Decide()
		o := Choice{Eligible: func(*Pack) bool { return true }, MaxUnused: rapid.SampledFrom([]float64{0, 0.1, 1}).Draw(t, "unused")}
		if rapid.Bool().Draw(t, "small") {
			o.Small = func(p *Pack) bool { return p.Chunks < 3 }
		}
		chosen := w.c.Choose(o)
		plan := w.c.NewPlan()
		for _, n := range rand.Perm(w.chunks) {
			if id := KeyOf(chunkID(n)); w.rooted[n] {
				plan.Place(id)
			}
		}
		plan.PlaceRooted()
		w.carryOut(t, plan)
		for n := range w.rooted {
			if w.readable(n, anyDepth) && !w.placed(n, anyDepth) {
				t.Fatalf("rooted chunk %d has no location that counts after packs %v were condemned", n, chosen)
			}
		}
	})
}

func TestFind(t *testing.T) {
	c := &Catalog{}
	for _, n := range []int{0, 1, 2, 17, 5000} {
		for p := range 3 {
			dir := index.Pack{ID: packID(n*10 + p)}
			for i := range n {
				dir.Entries = append(dir.Entries, index.Entry{ID: chunkID(i), Stored: 20, Raw: 4, Depth: uint8(2 - p)})
			}
			c.AddDirectory(&dir)
		}
		c.Sort()
		for i := range n + 3 {
			run := c.find(KeyOf(chunkID(i)))
			if i >= n && len(run) != 0 {
				t.Fatalf("chunk %d of %d was found", i, n)
			}
			for j := range run {
				if run[j].id != KeyOf(chunkID(i)) || j > 0 && run[j].depth < run[j-1].depth {
					t.Fatalf("chunk %d: run %v", i, run)
				}
			}
		}
	}
	if got := len(c.find(KeyOf(chunkID(0)))); got != 12 {
		t.Errorf("%d copies of the first chunk, want 12", got)
	}
}

func TestLength(t *testing.T) {
	for _, n := range []uint32{0, 1, 2047, 2048, 4095, 65537, 1 << 20, 32 << 20} {
		if got := lengthOf(n).bytes(); got > n || float64(got) < 0.999*float64(n)-1 {
			t.Errorf("%d became %d", n, got)
		}
	}
}

// A copy that was there when its chunk was marked lost is no location.
func TestLost(t *testing.T) {
	marked := time.Unix(1000, 0)
	for _, test := range []struct {
		packs        []int64 // when each pack that holds the chunk was stored
		placed, heal bool
	}{
		{[]int64{900}, false, false},
		{[]int64{1000}, false, false},
		{[]int64{1001}, true, true},
		{[]int64{900, 1001}, true, false},
		{nil, false, false},
	} {
		c := &Catalog{}
		for i, at := range test.packs {
			n := c.AddDirectory(&index.Pack{ID: packID(i), Entries: []index.Entry{{ID: chunkID(1), Stored: 20, Raw: 4}}})
			p := &c.Packs[n]
			p.First, p.Last, p.Named, p.ModTime = true, true, 1, time.Unix(at, 0)
		}
		c.Sort()
		c.Lost(chunkID(1), marked)
		if got := c.Placed(KeyOf(chunkID(1))); got != test.placed {
			t.Errorf("%v: placed %v", test.packs, got)
		}
		if got := c.Healed(chunkID(1)); got != test.heal {
			t.Errorf("%v: healed %v", test.packs, got)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := &Catalog{}
			dir := index.Pack{Entries: make([]index.Entry, n)}
			for i := range dir.Entries {
				dir.Entries[i] = index.Entry{ID: chunkID(i), Stored: 20, Raw: 4}
			}
			c.AddDirectory(&dir)
			c.Sort()
			for i := range b.N {
				if len(c.find(KeyOf(chunkID(i%n)))) != 1 {
					b.Fatal(i)
				}
			}
		})
	}
}
