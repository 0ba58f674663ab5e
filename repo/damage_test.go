package repo

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gpdedup/gpdedup/storage/mem"
)

// smallRepo is a repository with every kind of object that a writer makes, and the
// streams in it.
func smallRepo(t *testing.T, secret Secret) (*mem.Store, map[Name][]byte, Options) {
	t.Helper()
	st := mem.New()
	o := Options{Limits: testLimits, Secret: secret}
	r := newTestRepo(t, st, secret, o)
	streams := map[Name][]byte{
		backupName("20261121000000", "empty"):  {},
		backupName("20261121000000", "inline"): randomText(1, 700),
		backupName("20261121000000", "small"):  randomText(2, 60<<10),
		backupName("20261121000000", "long"):   randomText(3, 600<<10),
	}
	for name, data := range streams {
		put(t, r, name, data, WriteOptions{})
	}
	if err := r.Delete(ctx, backupName("20261120000000", "")); err != nil {
		t.Fatal(err)
	}
	return st, streams, o
}

// TestBitFlips flips single bits all over a repository, in every object: a restore
// gives the right bytes or an error, and never other bytes; and whatever a restore
// notices, check names.
func TestBitFlips(t *testing.T) {
	for _, secret := range []Secret{{}, {KeyFile: testKeyFile(t)}} {
		st, streams, o := smallRepo(t, secret)
		for _, key := range st.Keys() {
			object, err := st.Get(ctx, key, -1)
			if err != nil {
				t.Fatal(err)
			}
			bits := 8 * len(object)
			for n := range 16 {
				bit := n * bits / 16
				if n%2 == 1 {
					bit = bits - 1 - n*9 // footers and trailers deserve more
				}
				if bit < 0 {
					continue
				}
				broken := st.Clone()
				broken.Corrupt(key, mem.FlipBit(bit))
				checkBroken(t, broken, key, streams, o)
			}
			for _, n := range []int{1, len(object) / 2, len(object)} {
				broken := st.Clone()
				broken.Corrupt(key, mem.Truncate(n))
				checkBroken(t, broken, key, streams, o)
			}
			gone := st.Clone()
			if err := gone.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			checkBroken(t, gone, key, streams, o)
		}
	}
}

func checkBroken(t *testing.T, st *mem.Store, key string, streams map[Name][]byte, o Options) {
	t.Helper()
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		if !strings.HasPrefix(key, slotPrefix) && key != configKey {
			t.Errorf("damage in %s: the repository does not open: %v", key, err)
		}
		return
	}
	failed := false
	for name, data := range streams {
		var out bytes.Buffer
		err := r.Restore(ctx, name, &out, RestoreOptions{})
		switch {
		case err == nil && !bytes.Equal(out.Bytes(), data):
			t.Fatalf("damage in %s: %s came back with other bytes", key, name)
		case err != nil:
			failed = true
			if !bytes.HasPrefix(data, out.Bytes()) {
				t.Fatalf("damage in %s: %s put out wrong bytes before it failed", key, name)
			}
			if len(data) > 0 && out.Len() == len(data) {
				t.Fatalf("damage in %s: %s failed after its last byte", key, name)
			}
		}
	}
	report, err := r.Check(ctx, CheckOptions{Level: CheckData})
	if err != nil {
		t.Fatalf("damage in %s: check: %v", key, err)
	}
	if _, err := st.Stat(ctx, key); err != nil {
		return // that a manifest is gone nobody can know
	}
	if len(report.Damage) == 0 {
		t.Errorf("damage in %s: check found nothing", key)
	}
	named := false
	for _, d := range report.Damage {
		named = named || len(d.Streams) > 0
	}
	if failed && !named {
		t.Errorf("damage in %s: a restore failed, and check names no stream: %+v", key, report.Damage)
	}
}

// TestDamageNamesTheObject: the error of a restore says which object is damaged.
func TestDamageNamesTheObject(t *testing.T) {
	st, streams, o := smallRepo(t, Secret{})
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range packs(st) {
		st.Corrupt(packKey(id), mem.FlipBit(8*60))
	}
	for name, data := range streams {
		if len(data) < 10<<10 {
			continue
		}
		err := r.Restore(ctx, name, io.Discard, RestoreOptions{})
		var d *DamagedError
		if !errors.As(err, &d) || !strings.HasPrefix(d.Object, packPrefix) || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStaleHints: when a chunk is not where the manifest says, another copy is
// found through the index, and through the footer of a pack that no fragment names.
func TestStaleHints(t *testing.T) {
	for _, size := range []int{60 << 10, 2 << 20} {
		st := mem.New()
		limits := testLimits
		limits.DirectRows = 1024 // leaf lists say where their rows are, so each backup has its own
		r := newTestRepo(t, st, Secret{Password: "x"}, Options{Limits: limits})
		data := randomText(1, size)
		one, two := backupName("20261121000000", "t"), backupName("20261122000000", "t")
		put(t, r, one, data, WriteOptions{})
		old := packs(st)
		condemn(t, r, "1", gcList{ids: old}) // makes the next backup store all again
		put(t, r, two, data, WriteOptions{})
		sweep(t, st, old)
		if !bytes.Equal(restored(t, r, one), data) {
			t.Errorf("%d bytes: the first backup was not found in the second's packs", size)
		}
	}
}

// TestTransientReadErrors: a read that fails once is an error, not damage, and
// never ends a stream early as a success.
func TestTransientReadErrors(t *testing.T) {
	st, streams, o := smallRepo(t, Secret{})
	r, err := Open(ctx, st, "read", o)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("connection reset")
	for name, data := range streams {
		for n := range 12 {
			var count atomic.Int64
			st.SetHook(func(op, _ string) mem.Fault {
				if op != "read" && op != "get" {
					return mem.Fault{}
				}
				if count.Add(1) == int64(n) {
					return mem.Fault{Before: cause}
				}
				return mem.Fault{}
			})
			var out bytes.Buffer
			err := r.Restore(ctx, name, &out, RestoreOptions{})
			if err == nil && !slices.Equal(out.Bytes(), data) {
				t.Fatalf("%s, error at read %d: wrong bytes", name, n)
			}
			if err != nil && (!errors.Is(err, cause) || errors.Is(err, ErrDamaged)) {
				t.Errorf("%s, error at read %d: %v", name, n, err)
			}
		}
	}
}

func testKeyFile(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/key"
	if err := CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}
