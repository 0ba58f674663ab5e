package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/storage"
)

const testFirst = 48 // offset of a pack's first chunk in these tests

// world is the fragments of a repository.
type world struct {
	fragments map[digest.ID][]Pack
	infos     map[digest.ID]FragmentInfo
	order     []digest.ID // by age
	broken    map[digest.ID]error
	clock     time.Time
}

func newWorld() *world {
	return &world{
		fragments: map[digest.ID][]Pack{}, infos: map[digest.ID]FragmentInfo{}, broken: map[digest.ID]error{},
		clock: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
	}
}

// add stores a fragment and returns its name.
func (w *world) add(packs ...Pack) digest.ID {
	data := AppendFragment(nil, packs)
	id := digest.Sum(binary.LittleEndian.AppendUint64(data, uint64(len(w.order))))
	w.clock = w.clock.Add(time.Second)
	w.fragments[id] = packs
	w.infos[id] = FragmentInfo{ID: id, Size: int64(len(data)), ModTime: w.clock}
	w.order = append(w.order, id)
	return id
}

func (w *world) list(ids ...digest.ID) []FragmentInfo {
	if ids == nil {
		ids = w.order
	}
	var l []FragmentInfo
	for _, id := range ids {
		l = append(l, w.infos[id])
	}
	return l
}

func (w *world) load(_ context.Context, id digest.ID) ([]Pack, error) {
	if err := w.broken[id]; err != nil {
		return nil, err
	}
	packs, ok := w.fragments[id]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", id.Short(), storage.ErrNotExist)
	}
	return packs, nil
}

// chunkID is the name of chunk n. Chunks 7k and 7k+1 agree in their first 16 bytes.
func chunkID(n int) digest.ID {
	id := digest.Sum(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	if n%7 == 1 {
		first := chunkID(n - 1)
		copy(id[:keySize], first[:])
	}
	return id
}

// testPack makes a pack of the given chunks; its id depends on salt.
func testPack(salt int, chunks ...int) Pack {
	p := Pack{ID: digest.Sum(fmt.Append(nil, "pack", salt)), Size: testFirst}
	for i, n := range chunks {
		e := Entry{ID: chunkID(n), Stored: uint32(100 + (n+salt)%1000), Raw: uint32(n % MaxChunk), Encoding: Encoding((n + salt) % 3)}
		if e.Encoding == Delta {
			e.Base, e.Depth = chunkID(n+1000), uint8(n%8+1)
		}
		if (n+salt)%4 == 0 {
			e.Flags = FlagFeatures
			e.Features = [3]uint64{uint64(n), uint64(salt), uint64(i)}
		}
		p.Entries = append(p.Entries, e)
		p.Size += e.Stored
	}
	return p
}

// randomPack makes a pack of n chunks that nothing else has.
func randomPack(r *rand.Rand, n int) Pack {
	var p Pack
	fillRandom(r, p.ID[:])
	p.Size, p.Entries = testFirst, make([]Entry, n)
	for i := range p.Entries {
		e := &p.Entries[i]
		fillRandom(r, e.ID[:])
		e.Stored, e.Raw, e.Encoding = 1000+r.Uint32N(1000), 3000, Zstd
		p.Size += e.Stored
	}
	return p
}

func fillRandom(r *rand.Rand, b []byte) {
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
}

func testCache(t testing.TB, opts CacheOptions) *Cache {
	t.Helper()
	opts.FirstOffset = testFirst
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustRefresh(t testing.TB, c *Cache, listed []FragmentInfo, load Loader) RefreshReport {
	t.Helper()
	report, err := c.Refresh(context.Background(), listed, load)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func mustView(t testing.TB, c *Cache, listed []FragmentInfo, load Loader) *View {
	t.Helper()
	v, err := c.View(context.Background(), listed, load)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// locations returns every location of every chunk in the given fragments.
func (w *world) locations(ids ...digest.ID) map[digest.ID][]Location {
	all := map[digest.ID][]Location{}
	for _, id := range ids {
		for _, p := range w.fragments[id] {
			p.Locations(testFirst, func(chunk digest.ID, loc Location) { all[chunk] = append(all[chunk], loc) })
		}
	}
	return all
}

// noLoad fails the test when the View reads a fragment.
func noLoad(t testing.TB) Loader {
	return func(_ context.Context, id digest.ID) ([]Pack, error) {
		t.Errorf("fragment %s was read", id.Short())
		return nil, storage.ErrNotExist
	}
}

func generationFiles(t testing.TB, c *Cache) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(c.dir, "index-*.db"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func mustWrite(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newRand(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 5)) }
