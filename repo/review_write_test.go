package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// TestTruncatedContainerIsNotCommitted: a source that ends with the error of a
// gzip or zstd reader whose input was cut short is no stream.
func TestTruncatedContainerIsNotCommitted(t *testing.T) {
	for _, n := range []int{1000, 3 << 20} {
		for _, cause := range []error{io.ErrUnexpectedEOF, fmt.Errorf("gunzip: %w", io.EOF)} {
			st := mem.New()
			r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
			src := io.MultiReader(bytes.NewReader(randomText(2, n)), errorReader{cause})
			_, err := r.Write(ctx, backupName("20261121000000", "t"), src, WriteOptions{})
			if err == nil {
				t.Errorf("%d bytes and then %q were stored as a whole stream", n, cause)
			}
		}
	}
}

// TestShortTailAfterKnownLeaves: the front of the stream is known and lies in leaf
// lists, and what follows the last of them is one short new chunk.
func TestShortTailAfterKnownLeaves(t *testing.T) {
	limits := testLimits
	limits.DirectRows, limits.LeafMean = 2, 4
	found := false
	for seed := range uint64(40) {
		r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: limits})
		data := randomText(seed, 600<<10)
		one, two := backupName("20261121000000", "t"), backupName("20261122000000", "t")
		put(t, r, one, data, WriteOptions{})
		m, err := r.Stream(ctx, one)
		if err != nil {
			t.Fatal(err)
		}
		var front uint64
		for i := range m.Leaves {
			front += m.Leaves[i].Bytes
		}
		if front == 0 {
			continue
		}
		found = true
		next := slices.Concat(data[:front], randomText(99, 300))
		if len(next) <= inlineTrial {
			continue
		}
		if _, err := r.Write(ctx, two, bytes.NewReader(next), WriteOptions{Previous: []Name{one}}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(restored(t, r, two), next) {
			t.Fatal("restored stream differs")
		}
	}
	if !found {
		t.Fatal("no stream had leaf lists")
	}
}

// TestListIsBoundedWhilePackFills: one new chunk at the front and then known ones
// only; the pack is never full, and the list in memory must not grow with the
// stream.
func TestListIsBoundedWhilePackFills(t *testing.T) {
	limits := testLimits
	limits.DirectRows, limits.LeafMean = 4, 4
	limits.PackMin, limits.PackMax = 1<<20, 1<<20
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: limits})
	w := &writer{r: r, ctx: ctx, packs: newPackSet()}
	f, err := r.newFinder(ctx, nil, w.packs)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	p := newPacker(ctx, func(error) {}, w, f)
	add := func(n int) place {
		raw := []byte(fmt.Sprint(n))
		entry := index.Entry{ID: r.keys.Namer().Sum(raw), Raw: uint32(len(raw))}
		at, err := p.addChunk(entry, raw, pack.Sum(raw))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if err := p.addRow(add(0)); err != nil {
		t.Fatal(err)
	}
	slot := w.packs.slot(r.keys.Namer().Sum([]byte("pack")), seal.Header{1})
	most := 0
	for n := range 20000 {
		at := place{id: r.keys.Namer().Sum([]byte(fmt.Sprint("known", n))), slot: slot, offset: 48, stored: 100, raw: 90}
		if err := p.addRow(at); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(p.list.rows))
	}
	if most > 100*limits.LeafMean {
		t.Errorf("%d rows were held in memory at once", most)
	}
	if err := p.checkpoint(); err == nil || !errors.Is(err, ErrDamaged) && !strings.Contains(err.Error(), "another location") {
		t.Logf("checkpoint: %v", err) // the pack is made up
	}
	if n := len(p.list.rows); n > 8*limits.LeafMean {
		t.Errorf("a checkpoint held %d rows itself", n)
	}
}

// TestDocumentFitsItsReaders: what is sealed can be read again with the limit that
// every reader asks for.
func TestDocumentFitsItsReaders(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{Password: "x"}, Options{})
	object, err := r.keys.SealDocument(seal.Manifest, "k", make([]byte, seal.MaxDocument), nil)
	if err == nil && len(object) > seal.MaxDocument {
		t.Errorf("a document of %d bytes was sealed; readers take at most %d", len(object), seal.MaxDocument)
	}
}

// TestFaultsDuringWrite: whatever fails or is cancelled, and when, Write does not
// say success for a stream that cannot be restored, and nothing visible is broken.
func TestFaultsDuringWrite(t *testing.T) {
	limits := testLimits
	limits.CheckpointBytes = 300 << 10
	data := randomText(1, 1<<20)
	next := slices.Concat(data[:400<<10], randomText(5, 300<<10), data[600<<10:])
	base := mem.New()
	o := Options{Limits: limits}
	{
		r := newTestRepo(t, base, Secret{}, o)
		put(t, r, backupName("20261121000000", "t"), data, WriteOptions{})
	}
	cause := errors.New("storage broke")
	rapid.Check(t, func(t *rapid.T) {
		st := base.Clone()
		r, err := Open(ctx, st, "write", o)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.Int64Range(1, 80).Draw(t, "at")
		kind := rapid.SampledFrom([]string{"before", "after", "cancel"}).Draw(t, "kind")
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var count atomic.Int64
		st.SetHook(func(op, key string) mem.Fault {
			if count.Add(1) != at {
				return mem.Fault{}
			}
			switch kind {
			case "before":
				return mem.Fault{Before: cause}
			case "after":
				return mem.Fault{After: cause}
			}
			cancel()
			return mem.Fault{}
		})
		name := backupName("20261122000000", "t")
		var wo WriteOptions
		if rapid.Bool().Draw(t, "previous") {
			wo.Previous = []Name{backupName("20261121000000", "t")}
		}
		_, err = r.Write(ctx, name, bytes.NewReader(next), wo)
		st.SetHook(nil)
		var out bytes.Buffer
		rerr := r.Restore(context.Background(), name, &out, RestoreOptions{})
		if err == nil && (rerr != nil || !bytes.Equal(out.Bytes(), next)) {
			t.Fatalf("acknowledged, but restore: %v", rerr)
		}
		if rerr != nil && !errors.Is(rerr, ErrNoStream) {
			t.Fatalf("write: %v; restore: %v", err, rerr)
		}
		report, cerr := r.Check(context.Background(), CheckOptions{Level: CheckData})
		if cerr != nil || len(report.Damage) > 0 {
			t.Fatalf("check: %v %+v", cerr, report)
		}
	})
}

// TestCollectorDuringWrite condemns random packs at a random operation of a write
// and sweeps them when it is through: an acknowledged stream restores.
func TestCollectorDuringWrite(t *testing.T) {
	limits := testLimits
	limits.CheckpointBytes = 300 << 10
	data := randomText(1, 1<<20)
	next := slices.Concat(data[:400<<10], randomText(5, 300<<10), data[600<<10:])
	base := mem.New()
	o := Options{Limits: limits}
	{
		r := newTestRepo(t, base, Secret{}, o)
		put(t, r, backupName("20261121000000", "t"), data, WriteOptions{})
	}
	rapid.Check(t, func(rt *rapid.T) {
		st := base.Clone()
		r, err := Open(ctx, st, "write", o)
		if err != nil {
			rt.Fatal(err)
		}
		at := rapid.Int64Range(1, 80).Draw(rt, "at")
		pick := rapid.Uint64().Draw(rt, "pick")
		var count atomic.Int64
		var put, done atomic.Bool // the manifest, before the condemnation; the condemnation
		name := backupName("20261122000000", "t")
		var gone []string
		st.SetHook(func(op, key string) mem.Fault {
			if op == "put" && key == name.Key() {
				put.Store(!done.Load())
			}
			if count.Add(1) != at || put.Load() {
				return mem.Fault{}
			}
			done.Store(true)
			var l gcList
			for i, id := range packs(st) {
				if pick>>(i%64)&1 == 1 {
					l.ids = append(l.ids, id)
					gone = append(gone, packKey(id))
				}
			}
			condemn(t, r, "1", l)
			return mem.Fault{}
		})
		var wo WriteOptions
		if rapid.Bool().Draw(rt, "previous") {
			wo.Previous = []Name{backupName("20261121000000", "t")}
		}
		_, err = r.Write(ctx, name, bytes.NewReader(next), wo)
		st.SetHook(nil)
		if err != nil {
			rt.Fatal(err)
		}
		if put.Load() || gone == nil {
			return // after the manifest the condemnation is the collector's to decide
		}
		for _, key := range gone {
			if err := st.Delete(ctx, key); err != nil {
				rt.Fatal(err)
			}
		}
		var out bytes.Buffer
		if err := r.Restore(ctx, name, &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), next) {
			rt.Fatalf("acknowledged, but restore: %v", err)
		}
	})
}

// TestRelocationMeetsTransientError: a pack that cannot be read this time is not
// damaged.
func TestRelocationMeetsTransientError(t *testing.T) {
	for _, op := range []string{"read", "stat"} {
		st := mem.New()
		limits := testLimits
		limits.DirectRows = 1024 // or reading the leaf lists would fail first
		r := newTestRepo(t, st, Secret{}, Options{Limits: limits})
		data := randomText(1, 1<<20)
		one, two := backupName("20261121000000", "t"), backupName("20261122000000", "t")
		put(t, r, one, data, WriteOptions{})
		old := packs(st)
		cause := errors.New("connection reset")
		var published atomic.Bool
		st.SetHook(func(o, key string) mem.Fault {
			if o == "put" && key == two.Key() {
				condemn(t, r, "1", gcList{ids: old})
				published.Store(true)
			}
			if o == op && published.Load() && strings.HasPrefix(key, packPrefix) {
				return mem.Fault{Before: cause}
			}
			return mem.Fault{}
		})
		_, err := r.Write(ctx, two, bytes.NewReader(data), WriteOptions{Previous: []Name{one}})
		if !errors.Is(err, cause) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// TestSweepDuringWrite: packs that are condemned at one operation of a write, gone
// at another, and whose list is gone at a third make Write fail, or give another
// location to what it needs; success means that the stream restores.
func TestSweepDuringWrite(t *testing.T) {
	limits := testLimits
	limits.CheckpointBytes = 300 << 10
	data := randomText(1, 1<<20)
	next := slices.Concat(data[:400<<10], randomText(5, 300<<10), data[600<<10:])
	base := mem.New()
	o := Options{Limits: limits}
	put(t, newTestRepo(t, base, Secret{}, o), backupName("20261121000000", "t"), data, WriteOptions{})
	rapid.Check(t, func(rt *rapid.T) {
		st := base.Clone()
		r, err := Open(ctx, st, "write", o)
		if err != nil {
			rt.Fatal(err)
		}
		var at [3]int64 // condemn, sweep, remove the list
		at[0] = rapid.Int64Range(1, 60).Draw(rt, "condemn")
		at[1] = at[0] + rapid.Int64Range(1, 20).Draw(rt, "sweep")
		at[2] = at[1] + rapid.Int64Range(1, 20).Draw(rt, "forget")
		pick := rapid.Uint64().Draw(rt, "pick")
		name := backupName("20261122000000", "t")
		var mu sync.Mutex
		var n int64
		published := false
		var ids []digest.ID
		st.SetHook(func(op, key string) mem.Fault {
			if op == "delete" || strings.HasPrefix(key, condemnedPrefix) {
				return mem.Fault{} // the collector's own
			}
			mu.Lock()
			defer mu.Unlock()
			n++
			published = published || op == "put" && strings.HasPrefix(key, manifestPrefix)
			switch {
			case n == at[0] && !published:
				var l gcList
				for i, id := range packs(st) {
					if pick>>(i%64)&1 == 1 {
						l.ids = append(l.ids, id)
					}
				}
				condemn(t, r, "1", l)
				ids = l.ids
			case n == at[1]: // even if a manifest came since: its writer sees the list
				sweep(t, st, ids)
			case n == at[2]:
				_ = st.Delete(ctx, condemnedPrefix+"1")
			}
			return mem.Fault{}
		})
		var wo WriteOptions
		if rapid.Bool().Draw(rt, "previous") {
			wo.Previous = []Name{backupName("20261121000000", "t")}
		}
		_, err = r.Write(ctx, name, bytes.NewReader(next), wo)
		st.SetHook(nil)
		if err != nil {
			return
		}
		sweep(t, st, ids)
		var out bytes.Buffer
		if err := r.Restore(ctx, name, &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), next) {
			rt.Fatalf("acknowledged, but restore: %v", err)
		}
	})
}
