package index

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gpdedup/gpdedup/digest"
)

// benchChunks is how many chunks BenchmarkFind has: GPDEDUP_BENCH_CHUNKS or 1 M.
func benchChunks() int {
	if n, err := strconv.Atoi(os.Getenv("GPDEDUP_BENCH_CHUNKS")); err == nil {
		return n
	}
	return 1 << 20
}

// randomWorld is a repository of n random chunks, 128 to a pack, 16 packs to a
// fragment, that is made as it is read.
type randomWorld struct {
	n      int
	listed []FragmentInfo
}

const benchFragment = 16 * 128

func newRandomWorld(n int) *randomWorld {
	w := &randomWorld{n: n}
	for i := range (n + benchFragment - 1) / benchFragment {
		info := FragmentInfo{ID: w.fragmentID(i), Size: benchFragment * entrySize}
		info.ModTime = info.ModTime.AddDate(0, 0, i%4000)
		w.listed = append(w.listed, info)
	}
	return w
}

func (w *randomWorld) fragmentID(i int) (id digest.ID) {
	id[0], id[1], id[2] = byte(i>>16), byte(i>>8), byte(i)
	return id
}

func (w *randomWorld) load(_ context.Context, id digest.ID) ([]Pack, error) {
	i := uint64(id[0])<<16 | uint64(id[1])<<8 | uint64(id[2])
	r := rand.New(rand.NewPCG(i, 1))
	var packs []Pack
	for range 16 {
		packs = append(packs, randomPack(r, 128))
	}
	return packs, nil
}

// sample returns ids of known chunks in random order.
func (w *randomWorld) sample(n int) []digest.ID {
	r := rand.New(rand.NewPCG(7, 7))
	var ids []digest.ID
	for len(ids) < n {
		packs, _ := w.load(context.Background(), w.fragmentID(r.IntN(len(w.listed))))
		for range 256 {
			p := packs[r.IntN(len(packs))]
			ids = append(ids, p.Entries[r.IntN(len(p.Entries))].ID)
		}
	}
	r.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:n]
}

func BenchmarkFind(b *testing.B) {
	w := newRandomWorld(benchChunks())
	c := testCache(b, CacheOptions{})
	mustRefresh(b, c, w.listed, w.load)
	v := mustView(b, c, w.listed, w.load)
	ids := w.sample(1 << 16)
	absent := make([]digest.ID, 1<<16)
	r := rand.New(rand.NewPCG(9, 9))
	for i := range absent {
		fillRandom(r, absent[i][:])
	}
	db := must(bbolt.Open(generationFiles(b, c)[0], 0, &bbolt.Options{ReadOnly: true, Timeout: 1}))
	defer func() { _ = db.Close() }()
	tx := must(db.Begin(false))
	defer func() { _ = tx.Rollback() }()
	bucket := tx.Bucket([]byte(chunksBucket))

	for _, set := range []struct {
		name string
		ids  []digest.ID
	}{{"hit", ids}, {"miss", absent}} {
		b.Run(set.name+"/bbolt", func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if (bucket.Get(set.ids[i&0xffff][:keySize]) != nil) != (set.name == "hit") {
					b.Fatal("wrong answer")
				}
			}
		})
		b.Run(set.name+"/find", func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if _, ok := v.Find(set.ids[i&0xffff], nil); ok != (set.name == "hit") {
					b.Fatal("wrong answer")
				}
			}
		})
	}
}

func BenchmarkOpenView(b *testing.B) {
	w := newRandomWorld(benchChunks())
	c := testCache(b, CacheOptions{})
	mustRefresh(b, c, w.listed, w.load)
	b.ResetTimer()
	for range b.N {
		v := must(c.View(context.Background(), w.listed, w.load))
		_ = v.Close()
	}
}

// BenchmarkRefresh adds 2048 chunks to an index of growing size.
func BenchmarkRefresh(b *testing.B) {
	b.Run("from nothing", func(b *testing.B) {
		w := newRandomWorld(benchChunks())
		for range b.N {
			mustRefresh(b, testCache(b, CacheOptions{}), w.listed, w.load)
		}
		b.ReportMetric(float64(b.N*w.n)/b.Elapsed().Seconds(), "chunks/s")
	})
	b.Run("one more fragment", func(b *testing.B) {
		w := newRandomWorld(benchChunks())
		extra := newRandomWorld(benchChunks() + 4096*benchFragment)
		c := testCache(b, CacheOptions{})
		mustRefresh(b, c, w.listed, w.load)
		b.ResetTimer()
		written := uint64(0)
		for i := range b.N {
			written += mustRefresh(b, c, extra.listed[:len(w.listed)+i%4096+1], extra.load).Entries
		}
		b.ReportMetric(float64(written)/float64(b.N*benchFragment), "written/new")
	})
}

// featuredWorld is a randomWorld whose chunks have features.
type featuredWorld struct{ *randomWorld }

func (w featuredWorld) load(ctx context.Context, id digest.ID) ([]Pack, error) {
	packs, err := w.randomWorld.load(ctx, id)
	for i := range packs {
		for k := range packs[i].Entries {
			e := &packs[i].Entries[k]
			e.Flags = FlagFeatures
			e.Features = featuresOf(e.ID)
		}
	}
	return packs, err
}

func featuresOf(id digest.ID) (f [3]uint64) {
	r := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(id[8:]), 3))
	return [3]uint64{r.Uint64(), r.Uint64(), r.Uint64()}
}

// BenchmarkSimilar asks for chunks that share all super-features, one, and none, in
// one generation and in four, beside bbolt's own look-up of a chunk in the same files:
// in the one that has it, and in one after the other until it is found.
func BenchmarkSimilar(b *testing.B) {
	w := featuredWorld{newRandomWorld(benchChunks())}
	n := len(w.listed)
	for _, c := range []struct {
		name string
		ends []int // of the fragments that there are at each Refresh
	}{
		{"1 generation", []int{n}},
		{"4 generations", []int{n * 335 / 512, n * 442 / 512, n * 493 / 512, n}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkSimilar(b, w, c.ends) })
	}
}

func benchmarkSimilar(b *testing.B, w featuredWorld, ends []int) {
	c := testCache(b, CacheOptions{FeatureEntries: 2 * benchChunks()})
	for _, end := range ends {
		mustRefresh(b, c, w.listed[:end], w.load)
	}
	v := mustView(b, c, w.listed, w.load)
	if len(v.gens) != len(ends) {
		b.Fatalf("%d generations, want %d", len(v.gens), len(ends))
	}
	ids := w.sample(1 << 16)
	random := rand.New(rand.NewPCG(9, 9))
	sets := map[string][][3]uint64{}
	for _, id := range ids {
		all := featuresOf(id)
		one, none := [3]uint64{}, [3]uint64{}
		for i := range all {
			one[i], none[i] = random.Uint64(), random.Uint64()
		}
		i := random.IntN(3)
		one[i] = all[i]
		sets["three"], sets["one"], sets["none"] = append(sets["three"], all), append(sets["one"], one), append(sets["none"], none)
	}
	var buckets []*bbolt.Bucket // newest first
	for _, g := range v.gens {
		db := must(bbolt.Open(g.path, 0, &bbolt.Options{ReadOnly: true, Timeout: 1}))
		b.Cleanup(func() { _ = db.Close() })
		tx := must(db.Begin(false))
		b.Cleanup(func() { _ = tx.Rollback() })
		buckets = append(buckets, tx.Bucket([]byte(chunksBucket)))
	}
	holder := make([]*bbolt.Bucket, len(ids))
	for i, id := range ids {
		for _, bucket := range buckets {
			if bucket.Get(id[:keySize]) != nil {
				holder[i] = bucket
				break
			}
		}
	}
	// On a machine that others use only turns tell them apart: the middle of many.
	const turn = 256
	measure := func(one func(n int)) float64 {
		begin := time.Now()
		for n := range turn {
			one(n)
		}
		return float64(time.Since(begin)) / turn
	}
	for _, name := range []string{"three", "one", "none"} {
		b.Run(name, func(b *testing.B) {
			var similar, bare, all []float64
			for i := 0; i < b.N; i += turn {
				similar = append(similar, measure(func(k int) {
					n := (i + k) & 0xffff
					if id, _, ok := v.Similar(sets[name][n], nil); ok != (name != "none") || ok && id != ids[n] {
						b.Fatal("wrong answer")
					}
				}))
				bare = append(bare, measure(func(k int) {
					n := (i + k + 1<<15) & 0xffff
					if holder[n].Get(ids[n][:keySize]) == nil {
						b.Fatal("wrong answer")
					}
				}))
				all = append(all, measure(func(k int) {
					n := (i + k + 1<<14) & 0xffff
					for _, bucket := range buckets {
						if bucket.Get(ids[n][:keySize]) != nil {
							break
						}
					}
				}))
			}
			for _, times := range [][]float64{similar, bare, all} {
				slices.Sort(times)
			}
			middle := len(similar) / 2
			b.ReportMetric(bare[middle], "get-ns")
			b.ReportMetric(similar[middle], "similar-ns")
			b.ReportMetric(similar[middle]/bare[middle], "times-get")
			b.ReportMetric(similar[middle]/all[middle], "times-gets")
		})
	}
}
