package index

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
)

func FuzzDecodeEntries(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add(AppendEntries(nil, testPack(1, 1, 2, 3, 4, 5, 6, 7, 8).Entries))
	f.Add(append(AppendEntries(nil, testPack(2, 2).Entries), "rest"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, rest, err := DecodeEntries(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if again := append(AppendEntries(nil, entries), rest...); !bytes.Equal(again, data) {
			t.Errorf("encodes as %x", again)
		}
	})
}

func FuzzDecodeFragment(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add(AppendFragment(nil, []Pack{testPack(1, 1, 2, 3, 4), testPack(2), testPack(3, 8, 9)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		packs, err := DecodeFragment(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if again := AppendFragment(nil, packs); !bytes.Equal(again, data) {
			t.Errorf("encodes as %x", again)
		}
	})
}

// FuzzGeneration opens any file as a generation: it may only miss.
func FuzzGeneration(f *testing.F) {
	w := newWorld()
	fragment := w.add(testPack(1, 1, 2, 3, 7, 8), testPack(2, 4))
	c := testCache(f, CacheOptions{})
	mustRefresh(f, c, w.list(), w.load)
	f.Add(must(os.ReadFile(generationFiles(f, c)[0])))
	truth := w.locations(fragment)
	packs := w.fragments[fragment]
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "index-1.db")
		mustWrite(t, name, data)
		g, err := openGeneration(name, 1)
		if err != nil {
			return
		}
		defer g.close()
		if g.markLive(w.list(), make([]bool, 1)) != nil {
			return
		}
		for id, locs := range truth {
			rec, pack, ok, err := g.find(&id, new(scratch))
			if err == nil && ok && rec.location(pack) != locs[0] {
				t.Errorf("%s at %+v", id.Short(), rec.location(pack))
			}
		}
		for i := range packs[0].Entries {
			e := &packs[0].Entries[i]
			s := new(scratch)
			n, err := g.similar(&e.Features, s, superFeatures+1)
			for _, l := range s.found[:n] {
				if err == nil && l.loc != truth[l.id][0] {
					t.Errorf("similar to %s: %s at %+v", e.ID.Short(), l.id.Short(), l.loc)
				}
			}
		}
		next, rank := uint32(0), []uint32{}
		numbers, err := g.renumber(&next, func(uint32) (uint32, bool) { return 0, true },
			func(uint32, []byte, uint32) error { rank = append(rank, 0); return nil })
		if err != nil {
			return
		}
		src := &generationSource{g: g, walk: g.tree.walk(g.chunks), renumber: numbers}
		_ = merge([]source{src}, rank, func(rec record) error {
			if _, ok := truth[digest.ID(rec.id())]; !ok {
				t.Errorf("chunk %x came out of nothing", rec.id())
			}
			return nil
		})
	})
}
