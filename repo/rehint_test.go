package repo

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// A restore after packs were rewritten finds out once, not for every chunk.
func TestRestoreAfterRepackReadsInRuns(t *testing.T) {
	for _, cached := range []bool{false, true} {
		w := newPruneWorld(t)
		if cached {
			w.r = openCached(w)
		}
		for range 3 {
			w.nextDay()
		}
		w.delete(0)
		w.prune(PruneOptions{RepackSmall: true})
		w.prune(PruneOptions{RepackSmall: true, MaxUnused: 0})
		var mu sync.Mutex
		missed := 0
		there := make(map[string]bool)
		if err := w.st.List(w.ctx, packPrefix, func(info storage.Info) error { there[info.Key] = true; return nil }); err != nil {
			t.Fatal(err)
		}
		w.st.SetHook(func(op, key string) mem.Fault {
			if op == "read" && strings.HasPrefix(key, packPrefix) && !there[key] {
				mu.Lock()
				missed++
				mu.Unlock()
			}
			return mem.Fault{}
		})
		var out bytes.Buffer
		if err := w.r.Restore(w.ctx, dayName(2), &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), w.days[2]) {
			t.Fatal(err)
		}
		rows := 0
		if m, err := w.r.Stream(w.ctx, dayName(2)); err == nil {
			rows = len(m.Table.Rows)
		}
		t.Logf("cache %v: %d reads of packs that are gone, %d rows", cached, missed, rows)
		if missed > rows {
			t.Errorf("%d reads of packs that are gone, for %d chunks", missed, rows)
		}
		// Ranges take the same way.
		out.Reset()
		n := uint64(len(w.days[1]))
		if err := w.r.Restore(w.ctx, dayName(1), &out, RestoreOptions{Ranges: []Range{{n / 2, n}, {0, n / 2}}}); err != nil {
			t.Fatal(err)
		}
		if want := append(bytes.Clone(w.days[1][n/2:]), w.days[1][:n/2]...); !bytes.Equal(out.Bytes(), want) {
			t.Error("ranges restore other bytes")
		}
	}
}

func openCached(w *pruneWorld) *Repo {
	w.Helper()
	r, err := Open(w.ctx, w.st, "write", Options{Limits: pruneLimits, CacheDir: w.TempDir()})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// What a host has read of manifests it does not read again; what it remembers wrongly it
// reads again.
func TestRootLog(t *testing.T) {
	w := newPruneWorld(t)
	w.r = openCached(w)
	for range 3 {
		w.nextDay()
	}
	read := func() int {
		var mu sync.Mutex
		n := 0
		w.st.SetHook(func(op, key string) mem.Fault {
			if op == "get" && strings.HasPrefix(key, manifestPrefix) {
				mu.Lock()
				n++
				mu.Unlock()
			}
			return mem.Fault{}
		})
		defer w.st.SetHook(nil)
		w.prune(PruneOptions{MaxUnused: -1})
		return n
	}
	if n := read(); n != 3 {
		t.Errorf("the first run read %d manifests of 3", n)
	}
	if n := read(); n != 0 {
		t.Errorf("the second run read %d manifests", n)
	}
	w.nextDay()
	if n := read(); n != 1 {
		t.Errorf("after one more backup %d manifests were read", n)
	}
	l := w.r.openRootLog()
	info, err := l.file.Stat()
	if err != nil || len(l.records) != 4 {
		t.Fatal(len(l.records), err)
	}
	for at := range info.Size() {
		if at%97 != 0 {
			continue
		}
		var b [1]byte
		if _, err := l.file.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		flipped := [1]byte{b[0] ^ 4}
		if _, err := l.file.WriteAt(flipped[:], at); err != nil {
			t.Fatal(err)
		}
		damaged := &rootLog{file: l.file, namer: l.namer, records: map[digest.ID]rootRecord{}}
		damaged.scan()
		for id := range l.records {
			if got, ok := damaged.get(id); ok {
				if good, _ := l.get(id); len(got.rows) != len(good.rows) {
					t.Fatalf("byte %d flipped: a list of %d chunks instead of %d passed", at, len(got.rows), len(good.rows))
				}
			}
		}
		if _, err := l.file.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
	l.close()
	// Deleted manifests must not count because they are remembered.
	for d := range 3 {
		w.delete(d)
	}
	w.prune(PruneOptions{})
	w.whole(3)
}

// A name that is stored anew, after what was deleted under it is gone, is another manifest.
func TestRootLogTellsVersionsApart(t *testing.T) {
	a := rootKeyOf(storage.Info{Key: "k", Size: 1})
	w := newPruneWorld(t)
	w.r = openCached(w)
	l := w.r.openRootLog()
	defer l.close()
	l.addManifest(a, rootList{})
	if _, ok := l.manifest(a); !ok {
		t.Error("not remembered")
	}
	for _, b := range []rootKey{{"j", 1, a.at}, {"k", 2, a.at}, {"k", 1, a.at + 1}} {
		if _, ok := l.manifest(b); ok {
			t.Errorf("%v passes for %v", a, b)
		}
	}
}
