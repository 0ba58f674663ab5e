package repo

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// pruneWorld is a repository with days of a table in which rows change here and there.
type pruneWorld struct {
	*testing.T
	ctx  context.Context //nolint:containedctx // a test's
	st   *mem.Store
	r    *Repo
	rng  *rand.Rand
	data []byte
	days [][]byte
}

var pruneLimits = Limits{PackMin: 256 << 10, PackMax: 1 << 20, SmallPack: 64 << 10}

func newPruneWorld(t *testing.T) *pruneWorld {
	t.Helper()
	w := &pruneWorld{T: t, ctx: t.Context(), st: mem.New(), rng: rand.New(rand.NewPCG(1, 2))}
	w.init(w.st)
	w.r = w.open(w.st)
	w.data = make([]byte, 2<<20)
	for i := range w.data {
		w.data[i] = "0123456789abcdef"[w.rng.IntN(16)]
	}
	return w
}

// init makes a repository whose cuts are the same in every run: how well they fit makes
// some percents of difference in so little data.
func (w *pruneWorld) init(st storage.Storage) {
	w.Helper()
	ring, err := seal.NewRing(&[32]byte{1})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := Init(w.ctx, st, InitOptions{ChunkSize: 16 << 10, ring: ring}); err != nil {
		w.Fatal(err)
	}
}

func (w *pruneWorld) open(st storage.Storage) *Repo {
	w.Helper()
	r, err := Open(w.ctx, st, "write", Options{Limits: pruneLimits})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func dayName(d int) Name {
	return Name{Class: Backup, Namespace: "default", Group: fmt.Sprintf("202601%02d000000", d+1), Item: "table"}
}

// backup stores the table as of today, and changes it.
func (w *pruneWorld) backup(r *Repo, d int, data []byte) {
	w.Helper()
	o := WriteOptions{}
	if d > 0 {
		o.Previous = []Name{dayName(d - 1)}
	}
	if _, err := r.Write(w.ctx, dayName(d), bytes.NewReader(data), o); err != nil {
		w.Fatal(err)
	}
}

func (w *pruneWorld) nextDay() {
	w.Helper()
	w.backup(w.r, len(w.days), w.data)
	w.days = append(w.days, bytes.Clone(w.data))
	for range 300 {
		at := w.rng.IntN(len(w.data) - 40)
		copy(w.data[at:], fmt.Sprintf("%040x", w.rng.Uint64()))
	}
}

func (w *pruneWorld) delete(d int) {
	w.Helper()
	if err := w.r.Delete(w.ctx, dayName(d)); err != nil {
		w.Fatal(err)
	}
}

func (w *pruneWorld) prune(o PruneOptions) *PruneReport {
	w.Helper()
	report, err := w.r.Prune(w.ctx, o)
	if err != nil {
		w.Fatal(err)
	}
	return report
}

// whole checks that the days are there, as they were, and that nothing is damaged.
func (w *pruneWorld) whole(days ...int) {
	w.Helper()
	for _, d := range days {
		var out bytes.Buffer
		if err := w.r.Restore(w.ctx, dayName(d), &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), w.days[d]) {
			w.Fatalf("day %d: %d bytes, want %d: %v", d, out.Len(), len(w.days[d]), err)
		}
	}
	report, err := w.r.Check(w.ctx, CheckOptions{Level: CheckData})
	if err != nil || len(report.Damage) > 0 {
		w.Fatalf("check: %v: %+v", err, report)
	}
}

func (w *pruneWorld) bytes(st storage.Storage, prefix string) (n int64) {
	w.Helper()
	if err := st.List(w.ctx, prefix, func(info storage.Info) error { n += info.Size; return nil }); err != nil {
		w.Fatal(err)
	}
	return n
}

func TestPruneLeavesWhatAFreshRepositoryWouldTake(t *testing.T) {
	for _, deleted := range [][]int{{0}, {0, 1}, {1, 2}, {2, 4}, {0, 2, 4}, {1, 2, 3, 4}} {
		t.Run(fmt.Sprint(deleted), func(t *testing.T) {
			w := newPruneWorld(t)
			gone := make(map[int]bool)
			for range 5 {
				w.nextDay()
			}
			for _, d := range deleted {
				w.delete(d)
				gone[d] = true
			}
			report := w.prune(PruneOptions{})
			if report.RemovedManifests != len(deleted) || report.RemovedPacks == 0 {
				t.Errorf("removed too little: %+v", report)
			}
			fresh := mem.New()
			w.init(fresh)
			f := w.open(fresh)
			var stay []int
			for d := range 5 {
				if !gone[d] {
					o := WriteOptions{}
					if len(stay) > 0 {
						o.Previous = []Name{dayName(stay[len(stay)-1])}
					}
					if _, err := f.Write(w.ctx, dayName(d), bytes.NewReader(w.days[d]), o); err != nil {
						t.Fatal(err)
					}
					stay = append(stay, d)
				}
			}
			w.whole(stay...)
			have, want := w.bytes(w.st, packPrefix), w.bytes(fresh, packPrefix)
			t.Logf("%d bytes of packs, a fresh repository has %d: %.3f; %+v", have, want, float64(have)/float64(want), report)
			if float64(have) > 1.05*float64(want) {
				t.Errorf("%d bytes of packs are left; a fresh repository has %d", have, want)
			}
		})
	}
}

// TestPruneSparesTheYoung: what nothing needs may be what a writer is at, until it is old enough, and the report says so.
func TestPruneSparesTheYoung(t *testing.T) {
	w := newPruneWorld(t)
	w.nextDay()
	o := PruneOptions{MinAge: 24 * time.Hour, MaxUnused: DefaultMaxUnused}
	if report := w.prune(o); report.YoungBytes != 0 {
		t.Errorf("a backup needs all: %+v", report)
	}
	if err := w.st.Delete(w.ctx, dayName(0).Key()); err != nil { // as if it was not there yet
		t.Fatal(err)
	}
	report := w.prune(o)
	if report.YoungBytes == 0 || report.YoungBytes != report.KeptBytes || report.UnusedBytes+report.CondemnedBytes != 0 {
		t.Errorf("%+v", report)
	}
	w.st.SetClock(func() time.Time { return time.Now().Add(-25 * time.Hour) })
	w.nextDay()
	w.delete(1)
	o.Grace = 0
	if report := w.prune(o); report.CondemnedBytes == 0 {
		t.Errorf("nothing is old enough: %+v", report)
	}
}

func TestPruneWaitsForTheGrace(t *testing.T) {
	w := newPruneWorld(t)
	now := time.Now()
	w.st.SetClock(func() time.Time { return now })
	for range 3 {
		w.nextDay()
	}
	w.delete(2)
	day := 24 * time.Hour
	o := PruneOptions{Grace: day, MinAge: day, MaxUnused: DefaultMaxUnused}
	before := w.bytes(w.st, "")
	if report := w.prune(o); report.RemovedManifests+report.CondemnedRoots+report.CondemnedPacks+report.RemovedPacks > 0 {
		t.Errorf("a fresh tombstone was acted on: %+v", report)
	}
	if after := w.bytes(w.st, ""); after < before {
		t.Errorf("%d bytes became %d", before, after)
	}
	if err := w.r.Undelete(w.ctx, dayName(2)); err != nil {
		t.Fatal(err)
	}
	w.whole(0, 1, 2)
	w.delete(2)
	now = now.Add(-25 * time.Hour) // of what is put from now on
	w.delete(0)
	report := w.prune(o)
	if report.RemovedManifests != 1 || report.WaitingRoots != 1 {
		t.Errorf("of two deleted days one is old enough: %+v", report)
	}
	if err := w.r.Undelete(w.ctx, dayName(0)); err == nil {
		t.Error("what is removed was undeleted")
	}
	w.whole(1)
}

// TestPruneReadsLeafListsFromAnyCopy: leaf lists whose first copies are damaged are read where
// else they are, whichever of the copies the index happens to name first.
func TestPruneReadsLeafListsFromAnyCopy(t *testing.T) {
	for range 4 {
		w := newPruneWorld(t)
		limits := pruneLimits
		limits.DirectRows, limits.LeafMean = 8, 8
		var err error
		if w.r, err = Open(ctx, w.st, "write", Options{Limits: limits}); err != nil {
			t.Fatal(err)
		}
		w.nextDay()
		old := packs(w.st)
		damage := func(edit func(object []byte) func([]byte) []byte) {
			for _, id := range old {
				object, err := w.st.Get(ctx, packKey(id), -1)
				if err != nil {
					t.Fatal(err)
				}
				w.st.Corrupt(packKey(id), edit(object))
			}
		}
		// Their directories are damaged, so a repair copies what is in them; then that is lost too.
		damage(func(object []byte) func([]byte) []byte { return mem.FlipBit(8 * (len(object) - 20)) })
		report, err := w.r.Repair(ctx, RepairOptions{})
		if err != nil || report.SalvagedChunks == 0 {
			t.Fatalf("%v: %+v", err, report)
		}
		damage(func(object []byte) func([]byte) []byte { return mem.Truncate(len(object) / 8) })
		w.prune(PruneOptions{Grace: time.Hour})
	}
}
