package repo

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// repairWorld is a repository of a few days of a table, with deltas and leaf lists, and
// streams of all sizes beside it.
type repairWorld struct {
	*testing.T
	st      *mem.Store
	o       Options
	streams map[Name][]byte
}

func newRepairWorld(t *testing.T) *repairWorld {
	t.Helper()
	p := newPruneWorld(t)
	p.data = p.data[:600<<10]
	limits := pruneLimits
	limits.PackMin, limits.PackMax, limits.SmallPack, limits.DirectRows, limits.LeafMean = 32<<10, 64<<10, 16<<10, 8, 8
	w := &repairWorld{T: t, st: p.st, o: Options{Limits: limits}, streams: make(map[Name][]byte)}
	p.r = w.open()
	for range 3 {
		p.nextDay()
	}
	for d, data := range p.days {
		w.streams[dayName(d)] = data
	}
	r := w.open()
	for name, data := range map[Name][]byte{
		backupName("20260101000000", "empty"): {}, backupName("20260101000000", "inline"): randomText(1, 700),
		backupName("20260101000000", "small"): randomText(2, 30<<10),
	} {
		put(t, r, name, data, WriteOptions{})
		w.streams[name] = data
	}
	if err := r.Delete(ctx, backupName("20251231000000", "")); err != nil {
		t.Fatal(err)
	}
	condemn(t, r, "0123456789abcdef0123456789abcdef", gcList{})
	if _, err := r.putGCList(ctx, lostPrefix, &gcList{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(ctx, CheckOptions{Level: CheckData, Record: true}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *repairWorld) open() *Repo {
	w.Helper()
	r, err := Open(ctx, w.st, "gc", w.o)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// broken returns the streams that do not restore. What comes out is right in any case.
func (w *repairWorld) broken(r *Repo) map[Name]bool {
	w.Helper()
	out := make(map[Name]bool)
	for name, data := range w.streams {
		var b bytes.Buffer
		err := r.Restore(ctx, name, &b, RestoreOptions{})
		switch {
		case err == nil && !bytes.Equal(b.Bytes(), data), err != nil && !bytes.HasPrefix(data, b.Bytes()),
			err != nil && len(data) > 0 && b.Len() == len(data):
			w.Fatalf("%s came back with wrong bytes: %v", name, err)
		case err != nil:
			out[name] = true
		}
	}
	return out
}

// allNamed checks that every pack is named by a fragment.
func (w *repairWorld) allNamed(r *Repo) {
	w.Helper()
	named := make(map[digest.ID]bool)
	listed, err := r.listFragments(ctx)
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range listed {
		list, err := r.loadFragment(ctx, f.ID)
		if err != nil {
			w.Fatal(err)
		}
		for i := range list {
			named[list[i].ID] = true
		}
	}
	for _, id := range packs(w.st) {
		if !named[id] {
			w.Errorf("no fragment names %s", packKey(id))
		}
	}
}

// leafy reports whether a stream's list is cut into leaf lists.
func (w *repairWorld) leafy(name Name) bool { return name.Item == "table" }

// again returns the name under which the data of a stream is stored once more.
func again(name Name) Name {
	name.Group = "2027" + name.Group[4:]
	return name
}

// TestRepair damages every object in turn, in several ways. Check names it, if it is
// still there; no restore gives a wrong byte; and after a repair and one more backup of
// the same data all that is not beyond repair restores, check finds nothing, and garbage
// is collected as ever.
func TestRepair(t *testing.T) {
	whole := newRepairWorld(t)
	for _, readData := range []bool{true, false} {
		for i, key := range whole.st.Keys() {
			if key == configKey || strings.HasPrefix(key, slotPrefix) {
				continue
			}
			object, err := whole.st.Get(ctx, key, -1)
			if err != nil {
				t.Fatal(err)
			}
			for k, damage := range []struct {
				how  string
				edit func([]byte) []byte
			}{
				{"a bit in the middle", mem.FlipBit(8*len(object)/2 + i%8)},
				{"a bit of the header", mem.FlipBit(8*20 + i%8)},
				{"a bit near the end", mem.FlipBit(8*len(object) - 8*20 + i%8)},
				{"half of it", mem.Truncate(len(object) / 2)},
				{"gone", nil},
			} {
				how, edit, pack := damage.how, damage.edit, strings.HasPrefix(key, packPrefix)
				if pack && i%5 != k && (i+2)%5 != k {
					continue // there are many of them
				}
				if !pack && !readData && i%5 != k {
					continue // much the same
				}
				if pack && !readData && k < 2 {
					continue // only reading finds it
				}
				w := &repairWorld{T: t, st: whole.st.Clone(), o: whole.o, streams: whole.streams}
				if edit == nil {
					if err := w.st.Delete(ctx, key); err != nil {
						t.Fatal(err)
					}
				} else {
					w.st.Corrupt(key, edit)
				}
				w.repair(key, how, readData)
				if t.Failed() {
					t.Fatalf("%s of %s", how, key)
				}
			}
		}
	}
}

func (w *repairWorld) repair(key, how string, readData bool) {
	w.Helper()
	r := w.open()
	bad := w.broken(r)
	level := CheckFooters
	if readData {
		level = CheckData
	}
	report, err := r.Check(ctx, CheckOptions{Level: level})
	if err != nil {
		w.Fatal(err)
	}
	named := false
	told := make(map[Name]bool)
	for _, d := range report.Damage {
		named = named || d.Object == key
		for _, name := range d.Names {
			told[name] = true
		}
	}
	needed := strings.HasPrefix(key, packPrefix)
	if how != "gone" && !named || needed && !named {
		w.Errorf("check names %+v", report.Damage)
	}
	for name := range bad {
		if _, gone := w.st.Stat(ctx, name.Key()); !told[name] && gone == nil {
			w.Errorf("check does not say that %s is damaged: %+v", name, report.Damage)
		}
	}
	before := w.st.Keys()
	if dry, err := r.Repair(ctx, RepairOptions{ReadData: readData, Confirm: true, Exclusive: true, DryRun: true}); err != nil || len(before) != len(w.st.Keys()) {
		w.Fatalf("dry run: %v: %+v: %d objects were %d", err, dry, len(w.st.Keys()), len(before))
	}
	// Without being asked to, a repair removes no root and no pack.
	first, err := r.Repair(ctx, RepairOptions{ReadData: readData})
	if err != nil {
		w.Fatal(err)
	}
	for _, k := range before {
		if _, gone := w.st.Stat(ctx, k); gone != nil && (strings.HasPrefix(k, manifestPrefix) || strings.HasPrefix(k, packPrefix)) {
			w.Errorf("%s was removed", k)
		}
	}
	if needed && named && how != "gone" && how != "a bit of the header" {
		// What is good was saved: without the damaged pack nothing else is lost. (But for what
		// only manifests can open, because they repeat the pack's header. That pack stays
		// until the next backup has healed it.)
		without := &repairWorld{T: w.T, st: w.st.Clone(), o: w.o, streams: w.streams}
		if err := without.st.Delete(ctx, key); err != nil {
			w.Fatal(err)
		}
		for name := range without.broken(without.open()) {
			if !bad[name] {
				w.Errorf("%s needs the damaged pack", name)
			}
		}
	}
	if len(report.Damage) == 0 && len(first.Steps) != 0 && how != "gone" {
		w.Errorf("nothing is damaged, and the repair does %+v", first.Steps)
	}
	if strings.HasPrefix(key, lostPrefix) && !readData || strings.HasPrefix(key, tombstonePrefix) && how != "gone" {
		return // it says that --read-data is needed, or to delete again
	}
	all := RepairOptions{ReadData: readData, Confirm: true, Exclusive: true}
	if strings.HasPrefix(key, condemnedPrefix) {
		if _, err := r.Repair(ctx, all); err != nil { // before that no backup succeeds
			w.Fatal(err)
		}
	}
	if strings.HasPrefix(key, indexPrefix) {
		w.allNamed(r)
	}
	for name := range w.broken(r) {
		if !bad[name] {
			w.Errorf("%s was whole before the repair", name)
		}
	}
	r = w.open()
	for name, data := range w.streams {
		put(w.T, r, again(name), data, WriteOptions{Previous: []Name{name}})
	}
	still := w.broken(r)
	w.Logf("%s of %.20s: %d streams damaged, %d after another backup", how, key, len(bad), len(still))
	for name := range still {
		// Leaf lists say where chunks were, so new ones are other chunks: what a damaged one
		// says is beyond repair.
		if lost := needed && w.leafy(name); name.Key() != key && !lost {
			w.Errorf("%s is still broken: %+v", name, first)
		}
	}
	second, err := r.Repair(ctx, all)
	if err != nil {
		w.Fatal(err)
	}
	for name := range w.broken(r) {
		if !still[name] {
			w.Errorf("%s was whole before the second repair", name)
		}
	}
	for name, data := range w.streams {
		var b bytes.Buffer
		if err := r.Restore(ctx, again(name), &b, RestoreOptions{}); err != nil || !bytes.Equal(b.Bytes(), data) {
			w.Errorf("the new backup of %s does not restore: %v", name, err)
		}
	}
	// Nothing is in the way of a collector, the damaged pack goes, and then all is well.
	if _, err := r.Prune(ctx, PruneOptions{MaxUnused: DefaultMaxUnused}); err != nil {
		w.Errorf("prune: %v: %+v, %+v", err, first.Steps, second.Steps)
	}
	if len(still) > 0 {
		return
	}
	if _, err := r.Prune(ctx, PruneOptions{MaxUnused: DefaultMaxUnused}); err != nil {
		w.Errorf("second prune: %v", err)
	}
	if after, err := w.open().Check(ctx, CheckOptions{Level: CheckData}); err != nil || len(after.Damage) > 0 {
		w.Errorf("after all this: %v: %+v; %+v, %+v", err, after, first, second)
	}
	for _, k := range w.st.Keys() {
		if strings.HasPrefix(k, lostPrefix) {
			w.Errorf("%s is still there, and all is healed", k)
		}
	}
	if _, damaged := w.st.Stat(ctx, key); damaged == nil && needed && how != "gone" {
		w.Errorf("the damaged pack is still there")
	}
	for name, data := range w.streams {
		if name.Key() == key {
			continue
		}
		var b bytes.Buffer
		if err := w.open().Restore(ctx, name, &b, RestoreOptions{}); err != nil || !bytes.Equal(b.Bytes(), data) {
			w.Errorf("%s does not restore: %v", name, err)
		}
	}
}

// TestRepairBesideOthers: while backups, prunes and checks run, repairs lose nothing: every
// backup that was acknowledged restores, and all of it is whole in the end.
func TestRepairBesideOthers(t *testing.T) {
	whole := newRepairWorld(t)
	all := packs(whole.st)
	for n := range 4 {
		w := &repairWorld{T: t, st: whole.st.Clone(), o: whole.o, streams: maps.Clone(whole.streams)}
		for _, id := range []digest.ID{all[n], all[(5*n+7)%len(all)]} {
			object, err := w.st.Get(ctx, packKey(id), -1)
			if err != nil {
				t.Fatal(err)
			}
			w.st.Corrupt(packKey(id), mem.FlipBit(4*len(object)))
		}
		bad := w.broken(w.open())
		var wg sync.WaitGroup
		var mu sync.Mutex
		stored := make(map[Name][]byte)
		for k, name := range []Name{dayName(0), dayName(1), dayName(2), backupName("20260101000000", "small")} {
			wg.Go(func() {
				r, err := Open(ctx, w.st, "write", w.o)
				if err != nil {
					t.Error(err)
					return
				}
				for round := range 3 {
					as := again(name)
					as.Item = fmt.Sprintf("%s-%d-%d", name.Item, k, round)
					_, err := r.Write(ctx, as, bytes.NewReader(w.streams[name]), WriteOptions{Previous: []Name{name}})
					if err != nil {
						if !strings.Contains(err.Error(), "removed meanwhile") {
							t.Errorf("backup: %v", err)
						}
						continue // it counted on what was condemned as damaged: it was not acknowledged
					}
					mu.Lock()
					stored[as] = w.streams[name]
					mu.Unlock()
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range 2 {
					if _, err := w.open().Repair(ctx, RepairOptions{ReadData: true}); err != nil && !errors.Is(err, errAgain) {
						t.Errorf("repair: %v", err)
					}
				}
			})
		}
		wg.Go(func() {
			for range 3 {
				// It refuses while a leaf list cannot be read, and that is all it may do.
				if _, err := w.open().Prune(ctx, PruneOptions{MaxUnused: DefaultMaxUnused}); err != nil && !isDamage(err) && !errors.Is(err, errAgain) {
					t.Errorf("prune: %v", err)
				}
			}
		})
		wg.Wait()
		if _, err := w.open().Repair(ctx, RepairOptions{ReadData: true}); err != nil {
			t.Fatal(err)
		}
		r := w.open()
		for name, data := range w.streams {
			put(t, r, again(name), data, WriteOptions{Previous: []Name{name}})
		}
		maps.Copy(w.streams, stored)
		for name := range w.broken(r) {
			if _, new := stored[name]; new {
				// What it referred to before anybody knew of the damage has healed like the rest.
				t.Errorf("%s was acknowledged and does not restore", name)
			} else if !bad[name] {
				t.Errorf("%s was whole before", name)
			}
		}
	}
}
