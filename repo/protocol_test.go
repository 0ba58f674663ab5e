package repo

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// condemn puts a condemned list as a collector would.
func condemn(t *testing.T, r *Repo, name string, l gcList) {
	t.Helper()
	key := condemnedPrefix + name
	object, err := r.keys.SealDocument(seal.Condemned, key, l.marshal(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.st.Put(ctx, key, object); err != nil {
		t.Fatal(err)
	}
}

func packs(st *mem.Store) (ids []digest.ID) {
	for _, key := range st.Keys() {
		if rest, ok := strings.CutPrefix(key, packPrefix); ok {
			id, err := digest.Parse(rest[3:])
			if err != nil {
				panic(err)
			}
			ids = append(ids, id)
		}
	}
	return ids
}

// sweep does what a collector may do to condemned packs once they are ripe.
func sweep(t *testing.T, st *mem.Store, ids []digest.ID) {
	t.Helper()
	for _, id := range ids {
		if err := st.Delete(ctx, packKey(id)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHitsInCondemnedPacksAreMisses: a writer that begins after the condemnation
// references nothing condemned, whether it knows the pack from the previous
// manifest or from the index.
func TestHitsInCondemnedPacksAreMisses(t *testing.T) {
	for _, known := range []string{"previous manifest", "index"} {
		st := mem.New()
		r := newTestRepo(t, st, Secret{Password: "x"}, Options{Limits: testLimits})
		data := randomText(1, 2<<20)
		one, two := backupName("20261121000000", "t"), backupName("20261122000000", "t")
		put(t, r, one, data, WriteOptions{})
		old := packs(st)
		condemn(t, r, "1", gcList{ids: old})
		var o WriteOptions
		if known == "previous manifest" {
			o.Previous = []Name{one}
		}
		put(t, r, two, data, o)
		sweep(t, st, old)
		if !bytes.Equal(restored(t, r, two), data) {
			t.Errorf("%s: restored stream differs", known)
		}
	}
}

// TestPublishThenLook: packs that are condemned, or gone, between the writer's
// first look and its last get another location before Write returns.
func TestPublishThenLook(t *testing.T) {
	for name, when := range map[string]string{"after the first look": "index/", "just before the manifest": "manifests/"} {
		t.Run(name, func(t *testing.T) {
			st := mem.New()
			r := newTestRepo(t, st, Secret{Password: "x"}, Options{Limits: testLimits})
			data := randomText(1, 2<<20)
			one, two := backupName("20261121000000", "t"), backupName("20261122000000", "t")
			put(t, r, one, data, WriteOptions{})
			old := packs(st)
			var done atomic.Bool
			st.SetHook(func(op, key string) mem.Fault {
				if (when == "index/" && op == "list" && key == when || op == "put" && strings.HasPrefix(key, when)) && !done.Swap(true) {
					condemn(t, r, "1", gcList{ids: old})
				}
				return mem.Fault{}
			})
			put(t, r, two, data, WriteOptions{Previous: []Name{one}})
			st.SetHook(nil)
			if !done.Load() {
				t.Fatal("nothing was condemned")
			}
			sweep(t, st, old)
			if !bytes.Equal(restored(t, r, two), data) {
				t.Error("restored stream differs")
			}
			if report, err := r.Check(ctx, CheckOptions{Level: CheckData}); err != nil {
				t.Fatal(err)
			} else {
				for _, d := range report.Damage {
					for _, s := range d.Streams {
						if strings.Contains(s, two.Group) {
							t.Errorf("check: %+v", d)
						}
					}
				}
			}
		})
	}
}

// TestGonePackFailsTheWriter: a chunk that cannot be had any more is no success.
func TestGonePackFailsTheWriter(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	data := randomText(1, 2<<20)
	one, two := backupName("20261121000000", "t"), backupName("20261122000000", "t")
	put(t, r, one, data, WriteOptions{})
	old := packs(st)
	st.SetHook(func(op, key string) mem.Fault {
		if op == "put" && strings.HasPrefix(key, manifestPrefix) {
			sweep(t, st, old)
		}
		return mem.Fault{}
	})
	_, err := r.Write(ctx, two, bytes.NewReader(data), WriteOptions{Previous: []Name{one}})
	if err == nil {
		t.Fatal("a stream whose chunks are gone was acknowledged")
	}
}

// TestSameContentAgainLooksToo: "already stored" is a success only after the look,
// because the writer of the existing manifest may have died before its own.
func TestSameContentAgainLooksToo(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	data := randomText(1, 2<<20)
	name := backupName("20261121000000", "t")
	put(t, r, name, data, WriteOptions{})
	old := packs(st)
	condemn(t, r, "1", gcList{ids: old})
	rep := put(t, r, name, data, WriteOptions{})
	if !rep.AlreadyStored {
		t.Fatal("not reported as stored already")
	}
	sweep(t, st, old)
	if !bytes.Equal(restored(t, r, name), data) {
		t.Error("restored stream differs")
	}
}

// TestTombstoneDuringWrite: a delete that comes between the first look and the
// last is a conflict, not a success.
func TestTombstoneDuringWrite(t *testing.T) {
	for _, size := range []int{10, 2 << 20} {
		st := mem.New()
		r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
		name := backupName("20261121000000", "t")
		st.SetHook(func(op, key string) mem.Fault {
			if op == "put" && strings.HasPrefix(key, manifestPrefix) {
				if err := r.Delete(ctx, name); err != nil {
					t.Error(err)
				}
			}
			return mem.Fault{}
		})
		if _, err := r.Write(ctx, name, bytes.NewReader(randomText(1, size)), WriteOptions{}); !errors.Is(err, ErrDeleted) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestUndeleteTooLate: once a collector names the timestamp, undelete puts the
// tombstone back and fails.
func TestUndeleteTooLate(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	name := backupName("20261121000000", "t")
	put(t, r, name, randomText(1, 1000), WriteOptions{})
	if err := r.Delete(ctx, name); err != nil {
		t.Fatal(err)
	}
	condemn(t, r, "1", gcList{roots: []string{name.root()}})
	if err := r.Undelete(ctx, name); !errors.Is(err, ErrTooLate) {
		t.Errorf("undelete: %v", err)
	}
	if err := r.Restore(ctx, name, io.Discard, RestoreOptions{}); !errors.Is(err, ErrDeleted) {
		t.Errorf("after a failed undelete: %v", err)
	}
}

// TestOrderOfObjects: at no moment does a fragment name a pack that is not there,
// nor a manifest a chunk that cannot be read.
func TestOrderOfObjects(t *testing.T) {
	st := mem.New()
	limits := testLimits
	limits.CheckpointBytes = 256 << 10
	r := newTestRepo(t, st, Secret{Password: "x"}, Options{Limits: limits})
	st.SetHook(func(op, key string) mem.Fault {
		if op != "put" {
			return mem.Fault{}
		}
		crashed := &Repo{
			st: st.Clone(), config: r.config, keys: r.keys, cache: r.cache, opts: r.opts, log: r.log,
			enc: r.enc, dec: r.dec, lists: map[string]*gcList{},
		}
		report, err := crashed.Check(ctx, CheckOptions{Level: CheckData})
		if err != nil || len(report.Damage) > 0 || len(report.Warnings) > 0 {
			t.Errorf("before %s: %v %+v", key, err, report)
		}
		return mem.Fault{}
	})
	put(t, r, backupName("20261121000000", "t"), randomText(1, 2<<20), WriteOptions{})
	put(t, r, backupName("20261122000000", "t"), slices.Concat(randomText(1, 1<<20), randomText(2, 1<<20)), WriteOptions{})
}

// TestCheckpointsRootWhatIsStored: a stream that breaks off leaves checkpoints
// whose chunks can all be read, and the same stream again stores little.
func TestCheckpointsRootWhatIsStored(t *testing.T) {
	st := mem.New()
	limits := testLimits
	limits.CheckpointBytes = 256 << 10
	r := newTestRepo(t, st, Secret{}, Options{Limits: limits})
	data := randomText(1, 4<<20)
	name := backupName("20261121000000", "t")
	src := io.MultiReader(bytes.NewReader(data[:3<<20]), errorReader{errors.New("cut off")})
	if _, err := r.Write(ctx, name, src, WriteOptions{}); err == nil {
		t.Fatal("a broken stream was stored")
	}
	items, err := r.Items(ctx, Backup, "default", name.Group)
	if err != nil || len(items) != 1 || items[0].Checkpoints < 2 || items[0].Complete() {
		t.Fatalf("items: %+v, %v", items, err)
	}
	if report, err := r.Check(ctx, CheckOptions{Level: CheckData}); err != nil || len(report.Damage) > 0 {
		t.Errorf("check: %v %+v", err, report)
	}
	rep := put(t, r, name, data, WriteOptions{})
	if rep.Stats.NewRaw > 3<<20 {
		t.Errorf("after a stream that broke off at 3 of 4 MiB, %d bytes were new", rep.Stats.NewRaw)
	}
	if !bytes.Equal(restored(t, r, name), data) {
		t.Error("restored stream differs")
	}
}

// TestLostChunksHeal: a chunk that is marked lost is stored again although the
// index still knows it.
func TestLostChunksHeal(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	data := randomText(1, 2<<20)
	put(t, r, backupName("20261121000000", "t"), data, WriteOptions{})
	m, err := r.Stream(ctx, backupName("20261121000000", "t"))
	if err != nil {
		t.Fatal(err)
	}
	var lost gcList
	err = r.newFetcher().eachTable(ctx, m, func(t *manifest.Table) error {
		for i := range t.Rows {
			lost.ids = append(lost.ids, t.Rows[i].ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	key := lostPrefix + "1"
	object, err := r.keys.SealDocument(seal.Lost, key, lost.marshal(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Put(ctx, key, object); err != nil {
		t.Fatal(err)
	}
	rep := put(t, r, backupName("20261122000000", "t"), data, WriteOptions{})
	if rep.Stats.NewRaw != rep.Length {
		t.Errorf("only %d of %d bytes were stored again", rep.Stats.NewRaw, rep.Length)
	}
}
