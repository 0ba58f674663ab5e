package repo

import (
	"fmt"
	"io"
	"testing"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// similarWorld is a repository with days of a table in each of some namespaces, a byte of
// which changes here and there.
type similarWorld struct {
	*testing.T
	st   *mem.Store
	r    *Repo
	text map[string][]byte // by namespace, of the last day
	days int
}

func newSimilarWorld(t *testing.T, namespaces ...string) *similarWorld {
	w := &similarWorld{T: t, st: mem.New(), text: make(map[string][]byte)}
	p := &pruneWorld{T: t, ctx: ctx}
	p.init(w.st) // the same cuts and features in every run
	w.reopen()
	for i, namespace := range namespaces {
		w.text[namespace] = randomText(uint64(i), 1<<20)
	}
	return w
}

func (w *similarWorld) reopen() {
	w.Helper()
	limits := testLimits
	limits.SmallPack = 1
	r, err := Open(ctx, w.st, "write", Options{Limits: limits, Delta: DeltaOn})
	if err != nil {
		w.Fatal(err)
	}
	w.r = r
}

func similarName(namespace string, day int) Name {
	return Name{Class: Backup, Namespace: namespace, Group: fmt.Sprintf("202611%02d000000", day), Item: "t"}
}

// nextDay changes one byte in so many, and stores that with the day before as the previous one.
func (w *similarWorld) nextDay(every int) (sum manifest.Stats) {
	w.Helper()
	w.days++
	for namespace, text := range w.text {
		o := WriteOptions{}
		if w.days > 1 {
			w.text[namespace] = scattered(uint64(w.days), text, every)
			o.Previous = []Name{similarName(namespace, w.days-1)}
		}
		s := put(w, w.r, similarName(namespace, w.days), w.text[namespace], o).Stats
		sum.NewChunks += s.NewChunks
		sum.DeltaChunks += s.DeltaChunks
	}
	return sum
}

// prune deletes all days but the last so many.
func (w *similarWorld) prune(keep int) *PruneReport {
	w.Helper()
	for day := 1; day <= w.days-keep; day++ {
		for namespace := range w.text {
			if _, err := w.r.st.Stat(ctx, similarName(namespace, day).Key()); err == nil {
				if err := w.r.Delete(ctx, similarName(namespace, day)); err != nil {
					w.Fatal(err)
				}
			}
		}
	}
	report, err := w.r.Prune(ctx, PruneOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return report
}

// entries returns what the packs say of the chunks, leaf lists left out.
func (w *similarWorld) entries() map[digest.ID]index.Entry {
	w.Helper()
	entries := make(map[digest.ID]index.Entry)
	for _, id := range packs(w.st) {
		info, err := w.st.Stat(ctx, packKey(id))
		if err != nil {
			w.Fatal(err)
		}
		dir, err := w.r.readFooter(ctx, id, info.Size)
		if isDamage(err) {
			continue
		}
		if err != nil {
			w.Fatal(err)
		}
		for _, e := range dir.Entries {
			if e.Flags&index.FlagLeaf == 0 {
				entries[e.ID] = e
			}
		}
	}
	return entries
}

// fresh returns the features of the chunks of a day, computed from their content.
func (w *similarWorld) fresh(namespace string, day int) map[digest.ID][3]uint64 {
	w.Helper()
	text := restored(w, w.r, similarName(namespace, day))
	m, err := w.r.Stream(ctx, similarName(namespace, day))
	if err != nil {
		w.Fatal(err)
	}
	f := w.r.newFetcher()
	defer f.close()
	featurer := chunking.NewFeaturer(w.r.keys.FeatureKey(), namespace)
	features := make(map[digest.ID][3]uint64)
	err = f.eachRows(ctx, m, func(t *manifest.Table) error {
		for i := range t.Rows {
			c := &t.Rows[i]
			if sf, ok := featurer.Features(text[:c.Raw]); ok {
				features[c.ID] = sf
			}
			text = text[c.Raw:]
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return features
}

// findable counts the chunks of a day that share a feature with what is noted beside them,
// or beside the next base that has some; and the deltas among them, and which of these have
// features themselves, and those that are noted right.
func (w *similarWorld) findable(namespace string, day int) (n struct{ all, found, deltas, own, right int }) {
	w.Helper()
	entries := w.entries()
	for id, sf := range w.fresh(namespace, day) {
		e := entries[id]
		if e.Encoding == index.Delta {
			n.deltas++
			if e.Flags&index.FlagFeatures != 0 {
				n.own++
			}
		}
		if e.Flags&index.FlagFeatures == 0 || e.Features == sf {
			n.right++
		}
		for e.Flags&index.FlagFeatures == 0 && e.Encoding == index.Delta {
			e = entries[e.Base]
		}
		if e.Flags&index.FlagFeatures == 0 {
			w.Errorf("%s, day %d: a chunk and all of its bases have no features", namespace, day)
		}
		if e.Features[0] == sf[0] || e.Features[1] == sf[1] || e.Features[2] == sf[2] {
			n.found++
		}
		n.all++
	}
	return n
}

// TestSmallDeltasHaveNoFeatures: those of a base do as long as the chunk is like it.
func TestSmallDeltasHaveNoFeatures(t *testing.T) {
	for _, c := range []struct {
		every       int
		least, most float64 // part of the deltas of days 2 to 9 with features of their own
	}{
		{30_000, 0, 0.1},
		{3000, 0.1, 0.4}, // of 98 windows 97 stay each day
		{400, 0.95, 1},
	} {
		w := newSimilarWorld(t, "a")
		w.nextDay(0)
		own, deltas := 0, 0
		for range 8 {
			w.nextDay(c.every)
			n := w.findable("a", w.days)
			if n.found*100 < n.all*95 || n.right < n.all {
				t.Errorf("one byte in %d, day %d: %+v", c.every, w.days, n)
			}
			own, deltas = own+n.own, deltas+n.deltas
		}
		if part := float64(own) / float64(deltas); part < c.least || part > c.most {
			t.Errorf("one byte in %d: %d of %d deltas have features of their own", c.every, own, deltas)
		}
		// The table under another name, after another day: nothing says where it was.
		w.text["a"] = scattered(99, w.text["a"], c.every)
		name := similarName("a", 99)
		if s := put(t, w.r, name, w.text["a"], WriteOptions{}).Stats; s.DeltaChunks*100 < s.NewChunks*80 {
			t.Errorf("one byte in %d, moved: %d deltas of %d chunks", c.every, s.DeltaChunks, s.NewChunks)
		}
	}
}

// TestRecodedChunksHaveFeatures: what loses the base whose features were as good has some
// of its own then, of its namespace and its content, however many prunes there are.
func TestRecodedChunksHaveFeatures(t *testing.T) {
	w := newSimilarWorld(t, "a", "b", "c")
	w.nextDay(0)
	recoded := 0
	for range 6 {
		w.nextDay(3000)
		w.nextDay(3000)
		recoded += w.prune(1).RecodedChunks
		for namespace := range w.text {
			if n := w.findable(namespace, w.days); n.right*100 < n.all*98 || n.found*100 < n.all*98 {
				t.Errorf("%s, day %d: %+v", namespace, w.days, n)
			}
		}
	}
	if recoded < 500 {
		t.Fatalf("%d chunks were encoded anew", recoded)
	}
	for namespace := range w.text {
		text := scattered(99, w.text[namespace], 3000)
		if s := put(t, w.r, similarName(namespace, 99), text, WriteOptions{}).Stats; s.DeltaChunks*100 < s.NewChunks*90 {
			t.Errorf("%s, moved: %d deltas of %d chunks", namespace, s.DeltaChunks, s.NewChunks)
		}
	}
}

// TestMovedPreviousIsFound: that a prune has moved what the previous backup had at the same place
// does not matter, even where the change is too large for features.
func TestMovedPreviousIsFound(t *testing.T) {
	w := newSimilarWorld(t, "a")
	for range 3 {
		w.nextDay(3000)
	}
	w.prune(1)
	m, err := w.r.Stream(ctx, similarName("a", 3))
	if err != nil {
		t.Fatal(err)
	}
	f, err := w.r.newFinder(ctx, nil, newPackSet())
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	usable := 0
	for i := range m.Table.Rows {
		if f.usableRow(&m.Table, &m.Table.Rows[i]) {
			usable++
		}
	}
	if len(m.Table.Rows) == 0 || usable > len(m.Table.Rows)/10 {
		t.Fatalf("%d of %d chunks are where they were", usable, len(m.Table.Rows))
	}
	if s := w.nextDay(300); s.DeltaChunks*100 < s.NewChunks*80 {
		t.Errorf("%d deltas of %d chunks", s.DeltaChunks, s.NewChunks)
	}
}

// TestCopiedOutWithFeatures: a writer that copies a chunk out of a condemned pack takes its
// features along.
func TestCopiedOutWithFeatures(t *testing.T) {
	w := newSimilarWorld(t, "a")
	w.nextDay(0)
	old := packs(w.st)
	two := similarName("a", 2)
	w.st.SetHook(func(op, key string) mem.Fault {
		if op == "put" && key == two.Key() {
			condemn(t, w.r, "1", gcList{ids: old})
		}
		return mem.Fault{}
	})
	w.nextDay(3000)
	w.st.SetHook(nil)
	sweep(t, w.st, old)
	if n := w.findable("a", 2); n.found*100 < n.all*98 || n.right < n.all || n.own*4 > n.deltas {
		t.Errorf("%+v", n)
	}
	if err := w.r.Restore(ctx, two, io.Discard, RestoreOptions{}); err != nil {
		t.Error(err)
	}
}

// TestSalvagedHaveNoFeatures: features that went with a footer are not claimed to be there,
// so the next deltas against what was saved have some of their own.
func TestSalvagedHaveNoFeatures(t *testing.T) {
	w := newSimilarWorld(t, "a")
	l := &w.r.opts.Limits
	// One pack that no fragment names.
	l.PackMin, l.PackMax, l.SmallPack, l.DirectRows, l.FragmentEntries = 4<<20, 4<<20, 4<<20, 1024, 1<<20
	w.nextDay(0)
	ids := packs(w.st)
	if len(ids) != 1 {
		t.Fatalf("%d packs", len(ids))
	}
	info, err := w.st.Stat(ctx, packKey(ids[0]))
	if err != nil {
		t.Fatal(err)
	}
	w.st.Corrupt(packKey(ids[0]), mem.FlipBit(8*int(info.Size-100))) // in the footer
	if report, err := w.r.Repair(ctx, RepairOptions{ReadData: true}); err != nil || report.SalvagedChunks == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	l.SmallPack = 1
	w.nextDay(3000)
	if n := w.findable("a", 2); n.right < n.all || n.found < n.all || n.deltas*10 < n.all*9 || n.own < n.deltas {
		t.Errorf("%+v", n)
	}
}
