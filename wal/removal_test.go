package wal

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage/mem"
)

// TestRemovalMeetsBackup: of a backup that becomes visible and a cleanup that has decided to
// remove what it needs, one sees the other, whenever that is.
func TestRemovalMeetsBackup(t *testing.T) {
	t.Parallel()
	const manifest = "manifests/base/main/0/late"
	number := func(n uint64) Name { return SegmentName(1, n, MinSegmentSize) }
	now := time.Unix(1_000_000, 0)
	// at runs f once, before the first operation on a key that has the part.
	at := func(w *world, op, part string, f func()) {
		var once sync.Once
		w.st.SetHook(func(o, key string) mem.Fault {
			if o == op && strings.Contains(key, part) {
				once.Do(func() { w.st.SetHook(nil); f() })
			}
			return mem.Fault{}
		})
	}
	for name, test := range map[string]struct{ op, part string }{
		"before the cleanup begins":   {"list", "/standbys/"},
		"before it announces":         {"put", "/standbys/"},
		"when it has announced":       {"children", "manifests/base/"},
		"when it has begun to remove": {"delete", "/0000000100000000/"},
	} {
		w := newWorld(t, false)
		w.fill(testSystem, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		happened, seen := false, false
		at(w, test.op, test.part, func() {
			happened = true
			w.must(w.st.Put(t.Context(), manifest, []byte("x")))
			m, err := w.a.Removing(t.Context(), testSystem, number(4), now)
			w.must(err)
			seen = m != nil
		})
		report, err := w.a.Cleanup(t.Context(), testSystem, CleanupOptions{From: number(8)}, now)
		if !happened {
			t.Fatalf("%s: that did not come to be", name)
		}
		if refused := err != nil; refused == seen {
			t.Errorf("%s: the cleanup says %v, %+v; the backup saw it: %t", name, err, report, seen)
		}
		if m, err := w.a.Removing(t.Context(), testSystem, number(1), now); err != nil || m != nil {
			t.Errorf("%s: afterwards: %+v, %v", name, m, err)
		}
	}
}

// TestRemovalForgotten: what a cleanup announced that was killed holds nobody up for
// ever, and keeps nothing.
func TestRemovalForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.fill(testSystem, 1, 2, 3, 4, 5, 6)
	number := func(n uint64) Name { return SegmentName(1, n, MinSegmentSize) }
	began := time.Unix(1_000_000, 0)
	_, err := w.a.announceRemoval(t.Context(), testSystem, number(3), began)
	w.must(err)
	for _, c := range []struct {
		first uint64
		after time.Duration
		want  bool
	}{{2, time.Hour, true}, {3, time.Hour, false}, {2, 25 * time.Hour, false}} {
		if m, err := w.a.Removing(t.Context(), testSystem, number(c.first), began.Add(c.after)); err != nil || (m != nil) != c.want {
			t.Errorf("%+v: %+v, %v", c, m, err)
		}
	}
	for _, age := range []time.Duration{time.Hour, 25 * time.Hour} {
		report, err := w.a.Cleanup(t.Context(), testSystem, CleanupOptions{From: number(5)}, began.Add(age))
		if err != nil || report.From != number(5).String() {
			t.Errorf("after %s: %+v, %v", age, report, err)
		}
		marks, err := w.a.Marks(t.Context(), testSystem)
		if err != nil || (len(marks) == 0) != (age > removalForgotten) {
			t.Errorf("after %s: %+v, %v", age, marks, err)
		}
	}
}
