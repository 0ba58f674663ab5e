package repo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// staleRepo has a stream whose hints are all stale, and whose chunks a second
// stream's packs hold.
func staleRepo(t *testing.T) (*mem.Store, *Repo, Name, []byte) {
	t.Helper()
	st := mem.New()
	limits := testLimits
	limits.DirectRows = 1024
	r := newTestRepo(t, st, Secret{}, Options{Limits: limits})
	data := randomText(1, 1<<20)
	one, two := backupName("20261121000000", "t"), backupName("20261122000000", "t")
	put(t, r, one, data, WriteOptions{})
	old := packs(st)
	condemn(t, r, "1", gcList{ids: old})
	put(t, r, two, data, WriteOptions{})
	sweep(t, st, old)
	return st, r, one, data
}

// TestStaleHintAndTransientError: where the other copy could be cannot be read this
// time, which does not make the chunk damaged.
func TestStaleHintAndTransientError(t *testing.T) {
	st, r, name, _ := staleRepo(t)
	cause := errors.New("connection reset")
	there := packs(st)
	st.SetHook(func(op, key string) mem.Fault {
		for _, id := range there {
			if op == "read" && key == packKey(id) {
				return mem.Fault{Before: cause}
			}
		}
		if op == "get" && strings.HasPrefix(key, indexPrefix) {
			return mem.Fault{Before: cause}
		}
		return mem.Fault{}
	})
	if err := r.Restore(ctx, name, io.Discard, RestoreOptions{}); errors.Is(err, ErrDamaged) || !errors.Is(err, cause) {
		t.Errorf("restore: %v", err)
	}
}

// TestStaleHintAndMergedFragments: fragments that are merged into another between
// the listing and their reading are looked for again.
func TestStaleHintAndMergedFragments(t *testing.T) {
	st, r, name, data := staleRepo(t)
	var done atomic.Bool
	st.SetHook(func(op, key string) mem.Fault {
		if op != "get" || !strings.HasPrefix(key, indexPrefix) || done.Swap(true) {
			return mem.Fault{}
		}
		var all []index.Pack
		listed, err := r.listFragments(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, f := range listed {
			p, err := r.loadFragment(ctx, f.ID)
			if err != nil {
				t.Error(err)
			}
			all = append(all, p...)
		}
		if _, err := r.putFragment(ctx, all); err != nil {
			t.Error(err)
		}
		for _, f := range listed {
			if err := st.Delete(ctx, fragmentKey(f.ID)); err != nil {
				t.Error(err)
			}
		}
		return mem.Fault{}
	})
	var out bytes.Buffer
	if err := r.Restore(ctx, name, &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("restore: %v", err)
	}
}

// TestStaleHintsAskOnce: a stream whose packs are gone does not read the whole
// index for every chunk.
func TestStaleHintsAskOnce(t *testing.T) {
	st, r, name, data := staleRepo(t)
	fragments := 0
	for _, key := range st.Keys() {
		if strings.HasPrefix(key, indexPrefix) {
			fragments++
		}
	}
	before := st.Counts()["get"]
	if !bytes.Equal(restored(t, r, name), data) {
		t.Fatal("restored stream differs")
	}
	if n := st.Counts()["get"] - before; n > 4*fragments+4 {
		t.Errorf("%d objects were read to find the chunks; there are %d fragments", n, fragments)
	}
}

// TestUndeleteWithCheckpoint: what an attempt that broke off left behind is no
// missing manifest.
func TestUndeleteWithCheckpoint(t *testing.T) {
	limits := testLimits
	limits.CheckpointBytes = 256 << 10
	r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: limits})
	one := backupName("20261121000000", "t")
	put(t, r, one, randomText(1, 1000), WriteOptions{})
	src := io.MultiReader(bytes.NewReader(randomText(2, 2<<20)), errorReader{errors.New("cut off")})
	if _, err := r.Write(ctx, backupName(one.Group, "broken"), src, WriteOptions{}); err == nil {
		t.Fatal("a broken stream was stored")
	}
	if err := r.Delete(ctx, one); err != nil {
		t.Fatal(err)
	}
	if err := r.Undelete(ctx, one); err != nil {
		t.Error(err)
	}
}

// TestUndeleteOfGoneVersion: another version of the stream does not stand for the
// one whose manifest is gone.
func TestUndeleteOfGoneVersion(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	one, two := Name{Named, "default", "s", "1"}, Name{Named, "default", "s", "2"}
	put(t, r, one, randomText(1, 1000), WriteOptions{})
	put(t, r, two, randomText(2, 1000), WriteOptions{})
	if err := r.Delete(ctx, two); err != nil {
		t.Fatal(err)
	}
	if err := st.Delete(ctx, two.Key()); err != nil {
		t.Fatal(err)
	}
	if err := r.Undelete(ctx, two); !errors.Is(err, ErrTooLate) {
		t.Errorf("undelete of what is gone: %v", err)
	}
	if deleted, err := r.Deleted(ctx, two); err != nil || !deleted {
		t.Errorf("the tombstone was not put back: %v", err)
	}
}

// TestUndeleteInterrupted: a failure that may pass is not "too late", and the
// tombstone comes back even when the caller has given up.
func TestUndeleteInterrupted(t *testing.T) {
	cause := errors.New("connection reset")
	for _, cancelled := range []bool{false, true} {
		st := mem.New()
		r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
		one := backupName("20261121000000", "t")
		put(t, r, one, randomText(1, 1000), WriteOptions{})
		if err := r.Delete(ctx, one); err != nil {
			t.Fatal(err)
		}
		c, cancel := context.WithCancel(ctx)
		defer cancel()
		var removed atomic.Bool
		st.SetHook(func(op, key string) mem.Fault {
			if op == "delete" {
				removed.Store(true)
			}
			if op == "get" && removed.Load() && strings.HasPrefix(key, manifestPrefix) {
				if cancelled {
					cancel()
					return mem.Fault{Before: context.Canceled}
				}
				return mem.Fault{Before: cause}
			}
			return mem.Fault{}
		})
		err := r.Undelete(c, one)
		st.SetHook(nil)
		if err == nil || errors.Is(err, ErrTooLate) {
			t.Errorf("cancelled %v: %v", cancelled, err)
		}
		if deleted, err := r.Deleted(ctx, one); err != nil || !deleted {
			t.Errorf("cancelled %v: the tombstone was not put back: %v", cancelled, err)
		}
	}
}

// TestCheckBesidePrune: packs that go while the check runs, and that nothing needs,
// are no damage.
func TestCheckBesidePrune(t *testing.T) {
	for _, level := range []CheckLevel{CheckFooters, CheckData} {
		st, r, _, _ := staleRepo(t)
		extra := backupName("20261123000000", "u")
		before := packs(st)
		put(t, r, extra, randomText(77, 1<<20), WriteOptions{})
		var own []digest.ID
		for _, id := range packs(st) {
			if !slices.Contains(before, id) {
				own = append(own, id)
			}
		}
		if err := st.Delete(ctx, extra.Key()); err != nil {
			t.Fatal(err)
		}
		var done atomic.Bool
		st.SetHook(func(op, key string) mem.Fault {
			if (op == "get" || op == "read") && strings.HasPrefix(key, packPrefix) && !done.Swap(true) {
				sweep(t, st, own)
			}
			return mem.Fault{}
		})
		report, err := r.Check(ctx, CheckOptions{Level: level})
		if err != nil || len(report.Damage) > 0 {
			t.Errorf("level %d: %v %+v", level, err, report)
		}
	}
}

// packsFirst lists packs before all else, as a storage may, and lets something
// happen between.
type packsFirst struct {
	*mem.Store
	between func()
}

func (s *packsFirst) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	if prefix != "" || s.between == nil {
		return s.Store.List(ctx, prefix, fn)
	}
	if err := s.Store.List(ctx, packPrefix, fn); err != nil {
		return err
	}
	s.between()
	return s.Store.List(ctx, "", func(i storage.Info) error {
		if strings.HasPrefix(i.Key, packPrefix) {
			return nil
		}
		return fn(i)
	})
}

// TestCheckBesideWrite: a stream that is stored while the check lists the
// repository is not damaged.
func TestCheckBesideWrite(t *testing.T) {
	st := &packsFirst{Store: mem.New()}
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	put(t, r, backupName("20261121000000", "t"), randomText(1, 1<<20), WriteOptions{})
	st.between = func() {
		st.between = nil
		put(t, r, backupName("20261122000000", "t"), randomText(2, 1<<20), WriteOptions{})
	}
	report, err := r.Check(ctx, CheckOptions{Level: CheckData})
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("check: %v %+v", err, report)
	}
}

// TestCheckOfBrokenFooter: a pack whose footer is damaged is damage, but the
// streams that need it can still be restored, and check must not say otherwise.
func TestCheckOfBrokenFooter(t *testing.T) {
	st, streams, o := smallRepo(t, Secret{})
	for _, id := range packs(st) {
		st.Corrupt(packKey(id), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	}
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range streams {
		if !bytes.Equal(restored(t, r, name), data) {
			t.Fatal("restored stream differs")
		}
	}
	report, err := r.Check(ctx, CheckOptions{Level: CheckData})
	if err != nil || len(report.Damage) != len(packs(st)) {
		t.Fatalf("%v %+v", err, report)
	}
	for _, d := range report.Damage {
		if len(d.Streams) > 0 {
			t.Errorf("%s: %s: %v can be restored", d.Object, d.Problem, d.Streams)
		}
	}
}

// TestCheckOfOverlongObject: an object that is longer than any may be is damage,
// and does not keep check from looking at the rest.
func TestCheckOfOverlongObject(t *testing.T) {
	st, streams, o := smallRepo(t, Secret{})
	var long Name
	for name := range streams {
		long = name
	}
	st.Corrupt(long.Key(), func(b []byte) []byte { return append(b, make([]byte, 33<<20)...) })
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Check(ctx, CheckOptions{})
	if err != nil || len(report.Damage) != 1 || report.Damage[0].Object != long.Key() {
		t.Errorf("check: %v %+v", err, report)
	}
	if err := r.Restore(ctx, long, io.Discard, RestoreOptions{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("restore: %v", err)
	}
}

// TestInlineBaseOutsideTheManifest: a base that claims to lie in the manifest,
// beyond its end, is refused and does not make anything panic.
func TestInlineBaseOutsideTheManifest(t *testing.T) {
	m := &manifest.Manifest{Length: 10, Identity: manifest.NewIdentity().Sum()}
	m.Table.Packs = []manifest.PackRef{{ID: digest.ID{1}}}
	m.Table.Rows = []manifest.Chunk{{ID: digest.ID{2}, Raw: 10, Stored: 20, Encoding: index.Delta, Depth: 1, Base: 1}}
	m.Table.Bases = []manifest.Chunk{{ID: digest.ID{3}, Raw: 10, Stored: 20, Offset: 1000, Pack: manifest.InlinePack}}
	object, err := m.Append(nil)
	if err != nil {
		return // refused already when it is written
	}
	if _, err := manifest.Decode(object); err == nil {
		t.Error("decoded")
	}
}

// TestHostileRows: rows of a manifest that claim absurd places in a pack give an
// error, not a panic.
func TestHostileRows(t *testing.T) {
	st, _, o := smallRepo(t, Secret{})
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		t.Fatal(err)
	}
	m := &manifest.Manifest{}
	id := manifest.NewIdentity()
	m.Table.Packs = []manifest.PackRef{{ID: packs(st)[0]}}
	for n := range uint32(40000) { // a run with gaps right up to 4 GiB
		c := manifest.Chunk{ID: digest.ID{byte(n)}, Raw: 1, Stored: 17, Offset: 48 + n*(100<<10)}
		m.Table.Rows = append(m.Table.Rows, c)
		id.Add(c.ID, 1)
		m.Length++
	}
	m.Identity = id.Sum()
	var widest int64
	wide := &widthStore{Store: st, widest: &widest}
	r.st = wide
	if err := r.RestoreManifest(ctx, m, io.Discard, RestoreOptions{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("restore: %v", err)
	}
	if widest > 4*maxRun {
		t.Errorf("a run of at most %d bytes of content reads %d bytes of a pack", maxRun, widest)
	}
}

// TestStatsBesidePrune: a manifest that goes meanwhile is not a damaged one.
func TestStatsBesidePrune(t *testing.T) {
	st, streams, o := smallRepo(t, Secret{})
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	st.SetHook(func(op, key string) mem.Fault {
		if op == "get" && strings.HasPrefix(key, manifestPrefix) && !done.Swap(true) {
			_ = st.Delete(ctx, key)
		}
		return mem.Fault{}
	})
	report, err := r.Stats(ctx, StatsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range report.Roots {
		if root.Damaged != 0 || root.Streams != len(streams)-1 {
			t.Errorf("%+v", root)
		}
	}
}

// TestShortWriteIsAnError: an output that takes fewer bytes and says nothing is
// not a whole stream.
func TestShortWriteIsAnError(t *testing.T) {
	st, streams, o := smallRepo(t, Secret{})
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range streams {
		if err := r.Restore(ctx, name, shortWriter{}, RestoreOptions{}); len(data) > 0 && err == nil {
			t.Errorf("%s: success", name)
		}
	}
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) / 2, nil }

// widthStore notes the longest read.
type widthStore struct {
	*mem.Store
	mu     sync.Mutex
	widest *int64
}

func (s *widthStore) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	s.mu.Lock()
	*s.widest = max(*s.widest, int64(len(dst)))
	s.mu.Unlock()
	return s.Store.Read(ctx, key, offset, dst)
}
