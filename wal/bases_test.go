package wal

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCleanupSparesBaseBackups: of base backups in the repository, each keeps what makes
// it consistent, and one with a window all WAL after it; nothing goes while there is one
// of which nobody knows what it needs; and the label of one that is gone keeps nothing.
func TestCleanupSparesBaseBackups(t *testing.T) {
	t.Parallel()
	number := func(n uint64) Name { return SegmentName(1, n, MinSegmentSize) }
	base := func(label string, from, to uint64, window bool) BaseBackup {
		return BaseBackup{Label: label, System: testSystem, From: number(from), To: number(to), Window: window}
	}
	file := func(n uint64) Name { b := number(n); b.Kind, b.Offset = Backup, 0x28; return b }
	foreign := base("other", 2, 2, true)
	foreign.System++
	for _, test := range []struct {
		name   string
		o      CleanupOptions
		mark   uint64
		stored []string
		left   []uint64 // segments; nil if it is refused
		labels int      // .backup files that are left
	}{
		{"windows", CleanupOptions{From: number(9), Bases: []BaseBackup{base("a", 3, 4, true), base("b", 6, 6, true)}}, 0, []string{"a", "b"}, []uint64{3, 4, 5, 6, 7, 8, 9}, 2},
		{"one consistent only", CleanupOptions{Bases: []BaseBackup{base("a", 3, 4, false), base("b", 6, 6, true)}}, 0, []string{"a", "b"}, []uint64{3, 4, 6, 7, 8, 9}, 2},
		{"a mark before", CleanupOptions{Bases: []BaseBackup{base("a", 3, 4, false), base("b", 6, 6, true)}}, 5, []string{"a", "b"}, []uint64{3, 4, 5, 6, 7, 8, 9}, 2},
		{"one deleted", CleanupOptions{Bases: []BaseBackup{base("b", 6, 6, true)}, Deleted: []string{"a"}}, 0, []string{"a", "b"}, []uint64{6, 7, 8, 9}, 1},
		{"another cluster's", CleanupOptions{From: number(8), Bases: []BaseBackup{foreign}}, 0, []string{"other"}, []uint64{8, 9}, 0},
		{"one unknown", CleanupOptions{From: number(9), Bases: []BaseBackup{base("b", 6, 6, true)}}, 0, []string{"b", "new"}, nil, 0},
		{"one that is still stored", CleanupOptions{Bases: []BaseBackup{base("b", 6, 6, true)}}, 0, []string{"b", "c.part-0123456789abcdef-0"}, []uint64{6, 7, 8, 9}, 1},
		{"nothing says what is needed", CleanupOptions{}, 0, nil, nil, 0},
		{"only consistent ones", CleanupOptions{Bases: []BaseBackup{base("b", 6, 6, false)}}, 0, []string{"b"}, nil, 0},
	} {
		w := newWorld(t, false)
		w.fill(testSystem, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		for _, n := range []uint64{3, 6} {
			w.text(testSystem, file(n).String(), strings.Replace(label(n, n), "LABEL: b", "LABEL: "+BaseLabelPrefix+"x", 1))
		}
		for _, s := range test.stored {
			w.must(w.st.Put(t.Context(), "manifests/base/main/0/"+s, []byte("x")))
		}
		if test.mark > 0 {
			w.must(w.a.SetMark(t.Context(), testSystem, "base push c", number(test.mark), time.Unix(1, 0)))
		}
		_, err := w.a.Cleanup(t.Context(), testSystem, test.o, time.Unix(1, 0))
		if (err != nil) != (test.left == nil) {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.left == nil {
			test.left, test.labels = []uint64{2, 3, 4, 5, 6, 7, 8, 9}, 2
		}
		var left []uint64
		labels := 0
		w.must(w.a.List(t.Context(), testSystem, func(e Entry) error {
			if n, ok := e.Name.Number(MinSegmentSize); ok && e.Name.Kind == Segment {
				left = append(left, n)
			} else {
				labels++
			}
			return nil
		}, nil))
		slices.Sort(left)
		if !slices.Equal(left, test.left) || labels != test.labels {
			t.Errorf("%s: left are %v and %d labels, want %v and %d", test.name, left, labels, test.left, test.labels)
		}
	}
}
