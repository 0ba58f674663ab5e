package index

import (
	"context"
	"os"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
)

// TestViewMatchesModel drives a cache through random refreshes with random listings
// and compares Views with a map.
//
// The same for Similar: what it finds shares a super-feature, and one that only a
// single chunk ever had is found, unless another chunk has the front of its id.
//
// Sound, always: a location that is found is one of a listed fragment, and its pack
// is usable. Complete: a chunk is found when a listed fragment has it. The exception
// is a chunk in several fragments of which one that was refreshed is not listed any
// more: a generation keeps one location, and that may have been it.
func TestViewMatchesModel(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(base, "cache-")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		open := func(maxGens int) *Cache {
			c, err := OpenCache(dir, CacheOptions{FirstOffset: testFirst, MaxGenerations: maxGens})
			if err != nil {
				t.Fatal(err)
			}
			c.batch = rapid.IntRange(1, 4096).Draw(t, "batch")
			return c
		}
		m := &model{t: t, world: newWorld(), refreshed: map[digest.ID]bool{}}
		c := open(4)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if len(m.world.order) == recentFragments {
					t.Skip("a view shall see everything")
				}
				m.listed = append(m.listed, m.add(t))
			},
			"unlist": func(t *rapid.T) {
				if len(m.listed) == 0 {
					t.Skip("nothing is listed")
				}
				i := rapid.IntRange(0, len(m.listed)-1).Draw(t, "which")
				m.listed = slices.Delete(m.listed, i, i+1)
			},
			"refresh": func(t *rapid.T) {
				report, err := c.Refresh(context.Background(), m.world.list(m.listed...), m.world.load)
				if err != nil || report.Busy || report.Damaged != nil || report.Skipped != nil {
					t.Fatalf("refresh: %+v, %v", report, err)
				}
				for _, id := range m.listed {
					m.refreshed[id] = true
				}
				files, err := c.list()
				if err != nil || len(files.generations) > c.opts.MaxGenerations || files.temps != nil {
					t.Fatalf("files after refresh: %+v, %v", files, err)
				}
			},
			"reopen": func(t *rapid.T) { c = open(rapid.IntRange(1, 5).Draw(t, "generations")) },
			"":       func(t *rapid.T) { m.check(t, c) },
		})
	})
}

type model struct {
	t         *rapid.T
	world     *world
	listed    []digest.ID
	refreshed map[digest.ID]bool
	packs     int
}

// universe is how many chunks there are; some are in many packs, some in none.
const universe = 60

func (m *model) add(t *rapid.T) digest.ID {
	var packs []Pack
	for range rapid.IntRange(0, 3).Draw(t, "packs") {
		m.packs++
		chunks := rapid.SliceOfNDistinct(rapid.IntRange(0, universe-1), 0, 20, rapid.ID[int]).Draw(t, "chunks")
		packs = append(packs, testPack(m.packs, chunks...))
	}
	return m.world.add(packs...)
}

func (m *model) check(t *rapid.T, c *Cache) {
	listed := m.world.list(m.listed...)
	if len(m.listed) == 0 {
		listed = nil
	}
	v, err := c.View(context.Background(), listed, m.world.load)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if d := v.Damaged(); d != nil {
			t.Fatalf("damaged: %v", d)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	known := m.world.locations(m.listed...)
	ever := m.world.locations(m.world.order...)
	gone := map[digest.ID]bool{} // chunks of refreshed fragments that are not listed
	for id := range m.refreshed {
		if !slices.Contains(m.listed, id) {
			for chunk := range m.world.locations(id) {
				gone[chunk] = true
			}
		}
	}
	bad := rapid.IntRange(0, 3).Draw(t, "bad")
	usable := func(pack digest.ID) bool { return int(pack[0])%4 != bad }
	m.checkSimilar(t, v, known, nil)
	m.checkSimilar(t, v, known, usable)
	for n := range universe {
		id := chunkID(n)
		got, ok := v.Find(id, nil)
		if ok != (len(known[id]) > 0) && (ok || !gone[id]) || ok && !slices.Contains(known[id], got) {
			t.Fatalf("chunk %d: %+v, %v; it is at %+v", n, got, ok, known[id])
		}
		got, ok = v.Find(id, usable)
		if ok && (!usable(got.Pack) || !slices.Contains(known[id], got)) {
			t.Fatalf("chunk %d: unusable %+v", n, got)
		}
		if len(ever[id]) == 1 && len(known[id]) == 1 && ok != usable(known[id][0].Pack) {
			t.Fatalf("chunk %d: found %v where it is only at %+v", n, ok, known[id])
		}
	}
}

// checkSimilar asks for the super-features of random chunks, some exchanged.
func (m *model) checkSimilar(t *rapid.T, v *View, known map[digest.ID][]Location, usable func(digest.ID) bool) {
	type place struct {
		position int
		super    uint64
	}
	owners := map[place]map[digest.ID]bool{} // chunks that ever had it
	var listed []Entry
	homes := map[digest.ID]int{} // packs that ever had the chunk
	packOf := map[digest.ID]digest.ID{}
	short := map[[keySize]byte]bool{} // shared by two chunks
	for n := 0; n < universe; n += 7 {
		id := chunkID(n)
		short[[keySize]byte(id[:])] = true
	}
	for _, fragment := range m.world.order {
		for _, p := range m.world.fragments[fragment] {
			for _, e := range p.Entries {
				homes[e.ID]++
				packOf[e.ID] = p.ID
				if e.Flags&FlagFeatures == 0 {
					continue
				}
				for i, super := range e.Features {
					at := place{i, super}
					if owners[at] == nil {
						owners[at] = map[digest.ID]bool{}
					}
					owners[at][e.ID] = true
				}
				if slices.Contains(m.listed, fragment) {
					listed = append(listed, e)
				}
			}
		}
	}
	for i := range min(len(listed), 10) {
		e := listed[rapid.IntRange(0, len(listed)-1).Draw(t, "entry")]
		sf := e.Features
		if i%2 == 1 {
			sf[rapid.IntRange(0, 2).Draw(t, "exchanged")] = ^uint64(0)
		}
		id, loc, ok := v.Similar(sf, usable)
		if ok {
			shares := slices.ContainsFunc(listed, func(l Entry) bool {
				return l.ID == id && (l.Features[0] == sf[0] || l.Features[1] == sf[1] || l.Features[2] == sf[2])
			})
			if !shares || !slices.Contains(known[id], loc) || usable != nil && !usable(loc.Pack) {
				t.Fatalf("similar to %v: %s at %+v, which is at %+v, shares %v", sf, id.Short(), loc, known[id], shares)
			}
			continue
		}
		for k, super := range sf {
			only := len(owners[place{k, super}]) == 1 && homes[e.ID] == 1 && !short[[keySize]byte(e.ID[:])]
			if super == e.Features[k] && only && (usable == nil || usable(packOf[e.ID])) {
				t.Fatalf("similar to %v: missed %s, which nothing hides", sf, e.ID.Short())
			}
		}
	}
}

// TestManyBatchesAndTransactions: more than one run, bbolt transaction and level of
// branch pages, then merged with a second generation.
func TestManyBatchesAndTransactions(t *testing.T) {
	w := newRandomWorld(50_000)
	c := testCache(t, CacheOptions{MaxGenerations: 1})
	c.batch = 300 << 10
	half := w.listed[:len(w.listed)/2]
	mustRefresh(t, c, half, w.load)
	if r := mustRefresh(t, c, w.listed, w.load); r.Entries != uint64(len(w.listed)*benchFragment) {
		t.Errorf("report %+v", r)
	}
	db := must(bbolt.Open(generationFiles(t, c)[0], 0, &bbolt.Options{ReadOnly: true, Timeout: 1}))
	defer func() { _ = db.Close() }()
	if err := db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("bbolt check: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	v := mustView(t, c, w.listed, noLoad(t))
	for _, info := range w.listed {
		packs := must(w.load(context.Background(), info.ID))
		for i := range packs {
			packs[i].Locations(testFirst, func(id digest.ID, want Location) {
				if got, ok := v.Find(id, nil); !ok || got != want {
					t.Fatalf("%s: %+v, %v; want %+v", id.Short(), got, ok, want)
				}
			})
		}
	}
}

// Unless it is told, the cache takes a part of what its file system has: as much as a large
// repository needs where there is room, and never all of it.
func TestDefaultSizeLimit(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct{ free, own, want int64 }{
		{0, 0, 4 * gib},
		{10 * gib, 0, 4 * gib},
		{40 * gib, 0, 10 * gib},
		{31 * gib, 9 * gib, 10 * gib}, // what it takes itself makes no difference
		{10_000 * gib, 0, 64 * gib},
	} {
		if got := defaultSizeLimit(c.free, c.own); got != c.want {
			t.Errorf("%d GiB free, %d GiB of its own: %d bytes", c.free/gib, c.own/gib, got)
		}
	}
}

func TestSizeLimit(t *testing.T) {
	const limit = 1 << 20
	w := newWorld()
	c := testCache(t, CacheOptions{SizeLimit: limit})
	rebuilt := 0
	for i := range 60 {
		w.add(randomPack(newRand(i), 700))
		r := mustRefresh(t, c, w.list(), w.load)
		if r.Loaded != 1 {
			t.Fatalf("refresh %d read %d fragments: what is left out is read again", i, r.Loaded)
		}
		if len(r.Merged) > 0 && r.Entries > 8000 {
			rebuilt++
		}
		var size int64
		for _, name := range generationFiles(t, c) {
			size += must(os.Stat(name)).Size()
		}
		if size > limit+limit/8 { // the size of what is new is an estimate
			t.Fatalf("refresh %d: %d bytes: %+v", i, size, r)
		}
		if i == 59 && (r.LeftOut < 30 || r.LeftOut > 50) {
			t.Errorf("%d fragments of 60 left out", r.LeftOut)
		}
	}
	if rebuilt > 20 {
		t.Errorf("%d of 60 refreshes rewrote most of the index", rebuilt)
	}
	v := mustView(t, c, w.list(), noLoad(t))
	for i, id := range w.order {
		_, ok := v.Find(w.fragments[id][0].Entries[0].ID, nil)
		if i >= 50 && !ok || i < 30 && ok {
			t.Errorf("chunk of fragment %d found: %v", i, ok)
		}
	}
	// Room again: what was left out comes back.
	few := w.list(w.order[:8]...)
	for range 2 {
		mustRefresh(t, c, few, w.load)
	}
	if r := mustRefresh(t, c, few, w.load); r.LeftOut != 0 {
		t.Errorf("still left out: %+v", r)
	}
	v = mustView(t, c, few, noLoad(t))
	for i, id := range w.order[:8] {
		if _, ok := v.Find(w.fragments[id][0].Entries[0].ID, nil); !ok {
			t.Errorf("chunk of fragment %d did not come back", i)
		}
	}
}
