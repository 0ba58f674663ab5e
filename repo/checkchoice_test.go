package repo

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/retention"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// checkWorld is a repository of some packs, in which reads of whole packs are noted.
type checkWorld struct {
	*testing.T
	st   *mem.Store
	r    *Repo
	mu   sync.Mutex
	read map[string]int
	n    uint64
}

func newCheckWorld(t *testing.T) *checkWorld {
	w := &checkWorld{T: t, st: mem.New(), read: make(map[string]int)}
	limits := testLimits
	limits.PackMin, limits.PackMax, limits.SmallPack, limits.Inline = 8<<10, 8<<10, 1<<10, 1<<10
	w.r = newTestRepo(t, w.st, Secret{}, Options{Limits: limits})
	w.st.SetHook(func(op, key string) mem.Fault {
		if op == "get" && strings.HasPrefix(key, packPrefix) {
			w.mu.Lock()
			w.read[key]++
			w.mu.Unlock()
		}
		return mem.Fault{}
	})
	w.add(600 << 10)
	if n := len(packs(w.st)); n < 8 {
		t.Fatalf("%d packs are too few", n)
	}
	return w
}

func (w *checkWorld) add(n int) {
	w.Helper()
	w.n++
	put(w.T, w.r, backupName("20261121000000", fmt.Sprint(w.n)), randomText(w.n, n), WriteOptions{})
}

// check returns the keys of the packs that a check read whole.
func (w *checkWorld) check(choose PackChoice) ([]string, *CheckReport) {
	w.Helper()
	clear(w.read)
	report, err := w.r.Check(ctx, CheckOptions{Level: CheckData, Choose: choose, Record: true})
	if err != nil || len(report.Damage) > 0 || len(report.Warnings) > 0 {
		w.Fatalf("check: %v: %+v", err, report)
	}
	keys := slices.Sorted(maps.Keys(w.read))
	if report.ReadPacks != len(keys) {
		w.Errorf("%d packs were read, the report says %d", len(keys), report.ReadPacks)
	}
	return keys, report
}

func (w *checkWorld) results() (keys []string) {
	for _, key := range w.st.Keys() {
		if strings.HasPrefix(key, checkedPrefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestCheckParts(t *testing.T) {
	w := newCheckWorld(t)
	seen := make(map[string]bool)
	for n := range 3 {
		first, _ := w.check(PackChoice{Part: n + 1, Parts: 3})
		again, _ := w.check(PackChoice{Part: n + 1, Parts: 3})
		if !slices.Equal(first, again) {
			t.Errorf("part %d was %v and is %v", n+1, first, again)
		}
		for _, key := range first {
			if seen[key] {
				t.Errorf("%s is in two parts", key)
			}
			seen[key] = true
		}
	}
	if len(seen) != len(packs(w.st)) {
		t.Errorf("all parts together have %d packs of %d", len(seen), len(packs(w.st)))
	}
}

// TestCheckGoesRound: checks of a part each read what was not read for longest, until
// everything was.
func TestCheckGoesRound(t *testing.T) {
	var total int64
	for _, choose := range []func() PackChoice{
		func() PackChoice { return PackChoice{Percent: 30} },
		func() PackChoice { return PackChoice{Bytes: total / 3} },
	} {
		w := newCheckWorld(t)
		total = 0
		for _, id := range packs(w.st) {
			info, err := w.st.Stat(ctx, packKey(id))
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size
		}
		seen := make(map[string]bool)
		for range 5 {
			keys, report := w.check(choose())
			for _, key := range keys {
				if seen[key] && report.NeverRead > 0 {
					t.Errorf("%s was read again before all were read", key)
				}
				seen[key] = true
			}
			if len(keys) > len(packs(w.st))/2 {
				t.Errorf("%d packs of %d were read", len(keys), len(packs(w.st)))
			}
		}
		if len(seen) != len(packs(w.st)) {
			t.Errorf("%d packs of %d were read", len(seen), len(packs(w.st)))
		}
	}
}

func TestCheckNewAndOld(t *testing.T) {
	w := newCheckWorld(t)
	all := len(packs(w.st))
	if keys, report := w.check(PackChoice{New: true}); len(keys) != all || report.NeverRead != 0 || report.OldestRead == nil {
		t.Fatalf("%d packs of %d were read: %+v", len(keys), all, report)
	}
	if keys, _ := w.check(PackChoice{New: true}); len(keys) != 0 {
		t.Errorf("%v were read again", keys)
	}
	w.add(50 << 10)
	if keys, _ := w.check(PackChoice{New: true}); len(keys) != len(packs(w.st))-all {
		t.Errorf("of %d new packs, %v were read", len(packs(w.st))-all, keys)
	}
	if keys, _ := w.check(PackChoice{OlderThan: retention.Age{Days: 30}}); len(keys) != 0 {
		t.Errorf("%v were read again", keys)
	}
	// The storage's clock decides: what it put long ago was read long ago.
	w.st.SetClock(func() time.Time { return time.Now().AddDate(0, 0, -40) })
	for _, key := range w.results() {
		if err := w.st.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	w.check(PackChoice{})
	if keys, _ := w.check(PackChoice{OlderThan: retention.Age{Days: 50}}); len(keys) != 0 {
		t.Errorf("%v were read again", keys)
	}
	if keys, _ := w.check(PackChoice{OlderThan: retention.Age{Days: 30}, Deadline: time.Now()}); len(keys) != 1 {
		t.Errorf("without time, %d packs were read", len(keys))
	}
	if _, report := w.check(PackChoice{Deadline: time.Now()}); !report.Unfinished {
		t.Error("the report does not say that time was up")
	}
}

// TestCheckResultsAreMerged: they stay few, and none is lost by that.
func TestCheckResultsAreMerged(t *testing.T) {
	w := newCheckWorld(t)
	for n := range 25 {
		w.check(PackChoice{Part: n%8 + 1, Parts: 8})
		if len(w.results()) > manyResults {
			t.Fatalf("%d results after %d checks", len(w.results()), n+1)
		}
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := w.r.Check(ctx, CheckOptions{Level: CheckData, Record: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if keys, report := w.check(PackChoice{New: true}); len(keys) != 0 || report.NeverRead != 0 {
		t.Errorf("%v were read again", keys)
	}
}

func TestCheckResultsAreNotNeeded(t *testing.T) {
	w := newCheckWorld(t)
	w.check(PackChoice{})
	w.st.Corrupt(w.results()[0], mem.FlipBit(8*70))
	report, err := w.r.Check(ctx, CheckOptions{Level: CheckData, Record: true})
	if err != nil || len(report.Damage) != 1 || !strings.HasPrefix(report.Damage[0].Object, checkedPrefix) || len(report.Damage[0].Streams) != 0 {
		t.Fatalf("%v: %+v", err, report)
	}
	if _, report := w.check(PackChoice{New: true}); report.NeverRead != 0 {
		t.Errorf("%+v", report)
	}
	// Who may not write can check.
	cause := errors.New("not allowed")
	w.st.SetHook(func(op, _ string) mem.Fault {
		if op == "put" || op == "delete" {
			return mem.Fault{Before: cause}
		}
		return mem.Fault{}
	})
	report, err = w.r.Check(ctx, CheckOptions{Level: CheckData, Record: true})
	if err != nil || len(report.Damage) != 0 || len(report.Warnings) != 1 {
		t.Errorf("%v: %+v", err, report)
	}
}

// TestCheckReadsDamageAgain: a pack that was found damaged counts as not read.
func TestCheckReadsDamageAgain(t *testing.T) {
	w := newCheckWorld(t)
	w.check(PackChoice{})
	id := packs(w.st)[3]
	w.st.Corrupt(packKey(id), mem.FlipBit(8*100))
	for _, choose := range []PackChoice{{}, {New: true}} {
		report, err := w.r.Check(ctx, CheckOptions{Level: CheckData, Choose: choose, Record: true})
		if err != nil || len(report.Damage) != 1 || report.Damage[0].Object != packKey(id) || report.NeverRead != 1 {
			t.Fatalf("%v: %+v", err, report)
		}
	}
}

// TestCheckReadsTwice: what is wrong only once is no damage.
func TestCheckReadsTwice(t *testing.T) {
	w := newCheckWorld(t)
	for _, bad := range w.st.Keys() {
		if bad == configKey {
			continue
		}
		var done atomic.Bool
		w.st.SetHook(func(op, key string) mem.Fault {
			if key == bad && (op == "get" || op == "read") && !done.Swap(true) {
				return mem.Fault{Edit: mem.FlipBit(8*40 + 3)}
			}
			return mem.Fault{}
		})
		report, err := w.r.Check(ctx, CheckOptions{Level: CheckData})
		if err != nil || len(report.Damage) != 0 {
			t.Errorf("%s, damaged in one reading: %v: %+v", bad, err, report)
		}
		if !done.Load() {
			t.Errorf("%s was not read", bad)
		}
	}
}

// TestCheckFindsWrongFragment: an index that says what packs do not hold is found before a
// restore finds it.
func TestCheckFindsWrongFragment(t *testing.T) {
	w := newCheckWorld(t)
	info, err := w.st.Stat(ctx, packKey(packs(w.st)[0]))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := w.r.readFooter(ctx, packs(w.st)[0], info.Size)
	if err != nil {
		t.Fatal(err)
	}
	dir.Entries[0].Raw++
	before := w.st.Keys()
	if _, err := w.r.putFragment(ctx, []index.Pack{dir}); err != nil {
		t.Fatal(err)
	}
	wrong := slices.DeleteFunc(w.st.Keys(), func(key string) bool { return slices.Contains(before, key) })
	report, err := w.r.Check(ctx, CheckOptions{Level: CheckFooters})
	if err != nil || len(report.Damage) != 1 || report.Damage[0].Object != wrong[0] {
		t.Errorf("%v: %+v", err, report)
	}
}
