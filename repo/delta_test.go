package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/storage/mem"
)

// scattered changes one byte in so many, all over.
func scattered(seed uint64, data []byte, every int) []byte {
	rng := rand.New(rand.NewPCG(seed, 5))
	out := bytes.Clone(data)
	for at := rng.IntN(every); at < len(out); at += 1 + rng.IntN(2*every) {
		out[at] = byte('A' + rng.IntN(26))
	}
	return out
}

// TestScatteredChangesCostDeltas: days of changes that leave no chunk as it was take
// little, each day restores, check is clean, and no chain is deeper than it may be.
func TestScatteredChangesCostDeltas(t *testing.T) {
	for _, known := range []string{"previous manifest", "index"} {
		for _, secret := range []Secret{{}, {Password: "x"}} {
			st := mem.New()
			r := newTestRepo(t, st, secret, Options{Limits: testLimits, Delta: DeltaOn})
			r.config.DeltaDepth = 3
			days := [][]byte{randomText(1, 2<<20)}
			first := put(t, r, backupName("20261101000000", "t"), days[0], WriteOptions{})
			for day := 1; day < 9; day++ {
				days = append(days, scattered(uint64(day), days[day-1], 3000))
				o := WriteOptions{}
				if known == "previous manifest" {
					o.Previous = []Name{backupName(fmt.Sprintf("202611%02d000000", day), "t")}
				}
				rep := put(t, r, backupName(fmt.Sprintf("202611%02d000000", day+1), "t"), days[day], o)
				if rep.Stats.NewStored*2 > first.Stats.NewStored || rep.Stats.DeltaChunks*10 < rep.Stats.NewChunks*8 {
					t.Errorf("%s, day %d: %+v, after a first day of %d bytes", known, day+1, rep.Stats, first.Stats.NewStored)
				}
			}
			for day, data := range days {
				name := backupName(fmt.Sprintf("202611%02d000000", day+1), "t")
				if !bytes.Equal(restored(t, r, name), data) {
					t.Errorf("%s: day %d differs", known, day+1)
				}
				m, err := r.Stream(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				for i := range m.Table.Bases {
					if c := &m.Table.Bases[i]; c.Depth >= 3 {
						t.Errorf("%s, day %d: a base of depth %d", known, day+1, c.Depth)
					}
				}
			}
			if report, err := r.Check(ctx, CheckOptions{Level: CheckData}); err != nil || len(report.Damage) != 0 {
				t.Errorf("check: %v, %+v", err, report)
			}
		}
	}
}

// TestDeltaOff stores everything whole.
func TestDeltaOff(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: testLimits, Delta: DeltaOff})
	data := randomText(1, 1<<20)
	one := backupName("20261101000000", "t")
	put(t, r, one, data, WriteOptions{})
	rep := put(t, r, backupName("20261102000000", "t"), scattered(1, data, 3000), WriteOptions{Previous: []Name{one}})
	if rep.Stats.DeltaChunks != 0 || rep.Stats.BaseRead != 0 {
		t.Errorf("%+v", rep.Stats)
	}
}

// TestAutoGivesUp: where nothing is similar, auto asks only now and then.
func TestAutoGivesUp(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: testLimits})
	one := backupName("20261101000000", "t")
	put(t, r, one, randomText(1, 8<<20), WriteOptions{})
	rep := put(t, r, backupName("20261102000000", "t"), randomText(2, 8<<20), WriteOptions{Previous: []Name{one}})
	if rep.Stats.BaseRead > rep.Length/4 {
		t.Errorf("%d bytes of bases were read in vain", rep.Stats.BaseRead)
	}
}

// TestLostBase: without its base a delta is damage, and never other bytes; another
// copy of the base heals it.
func TestLostBase(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits, Delta: DeltaOn})
	data := randomText(1, 1<<20)
	one, two, three := backupName("20261101000000", "t"), backupName("20261102000000", "t"), backupName("20261103000000", "t")
	put(t, r, one, data, WriteOptions{})
	old := packs(st)
	next := scattered(1, data, 3000)
	put(t, r, two, next, WriteOptions{Previous: []Name{one}})
	condemn(t, r, "1", gcList{ids: old})
	put(t, r, three, data, WriteOptions{}) // the bases, once more
	sweep(t, st, old)
	if !bytes.Equal(restored(t, r, two), next) {
		t.Error("a delta whose base moved differs")
	}
	sweep(t, st, packs(st))
	var out bytes.Buffer
	if err := r.Restore(ctx, two, &out, RestoreOptions{}); !errors.Is(err, ErrDamaged) || !bytes.HasPrefix(next, out.Bytes()) {
		t.Errorf("without any base: %v, %d bytes", err, out.Len())
	}
}

// TestBaseCondemnedDuringWrite: publish, then look holds for bases too.
func TestBaseCondemnedDuringWrite(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits, Delta: DeltaOn})
	data := randomText(1, 1<<20)
	one, two := backupName("20261101000000", "t"), backupName("20261102000000", "t")
	put(t, r, one, data, WriteOptions{})
	old := packs(st)
	next := scattered(1, data, 3000)
	st.SetHook(func(op, key string) mem.Fault {
		if op == "put" && key == two.Key() {
			condemn(t, r, "1", gcList{ids: old})
		}
		return mem.Fault{}
	})
	rep := put(t, r, two, next, WriteOptions{Previous: []Name{one}})
	st.SetHook(nil)
	if rep.Stats.DeltaChunks == 0 {
		t.Fatal("no deltas")
	}
	sweep(t, st, old)
	if !bytes.Equal(restored(t, r, two), next) {
		t.Error("restored stream differs")
	}
	if err := r.Restore(ctx, one, io.Discard, RestoreOptions{}); err != nil {
		t.Logf("the first day went with its packs: %v", err)
	}
}

// TestShortLastChunk: a delta is never longer than its chunk, however short that is.
func TestShortLastChunk(t *testing.T) {
	for n := range 80 {
		r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: testLimits, Delta: DeltaOn})
		least := int(r.config.Chunks.Min)
		base := bytes.Repeat([]byte{0}, 40*least) // cut at the minimum
		one, two := backupName("20261101000000", "t"), backupName("20261102000000", "t")
		put(t, r, one, append(bytes.Clone(base), randomText(1, 5)...), WriteOptions{})
		next := append(bytes.Clone(base), randomText(2, 1+n)...)
		put(t, r, two, next, WriteOptions{Previous: []Name{one}})
		if !bytes.Equal(restored(t, r, two), next) {
			t.Fatalf("%d bytes at the end: restored stream differs", 1+n)
		}
	}
}

// TestCheckOfDeltas: check names the streams that need a delta, or a base, which is
// damaged.
func TestCheckOfDeltas(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits, Delta: DeltaOn})
	data := randomText(1, 1<<20)
	one, two := backupName("20261101000000", "t"), backupName("20261102000000", "t")
	put(t, r, one, data, WriteOptions{})
	put(t, r, two, scattered(1, data, 3000), WriteOptions{Previous: []Name{one}})
	for _, id := range packs(st) {
		broken := st.Clone()
		broken.Corrupt(packKey(id), mem.FlipBit(8*100))
		b := &Repo{st: broken, config: r.config, keys: r.keys, cache: r.cache, opts: r.opts, log: r.log, enc: r.enc, dec: r.dec, lists: map[string]*gcList{}}
		report, err := b.Check(ctx, CheckOptions{Level: CheckData})
		if err != nil {
			t.Fatal(err)
		}
		named := ""
		for _, d := range report.Damage {
			named += fmt.Sprint(d.Streams)
		}
		for _, name := range []Name{one, two} {
			err := b.Restore(ctx, name, io.Discard, RestoreOptions{})
			if (err != nil) != strings.Contains(named, name.Group) {
				t.Errorf("%s damaged: restore of %s: %v; check: %+v", id.Short(), name, err, report.Damage)
			}
		}
	}
}
