package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// fill puts segments of a timeline into the archive, by number.
func (w *world) fill(system SystemID, timeline uint32, numbers ...uint64) {
	w.Helper()
	for _, n := range numbers {
		name := SegmentName(timeline, n, MinSegmentSize)
		w.must(w.put(system, name.String(), segment(system, name, MinSegmentSize, 1)))
	}
}

func (w *world) text(system SystemID, file, content string) {
	w.Helper()
	w.must(w.put(system, file, []byte(content)))
}

func label(first, last uint64) string {
	return fmt.Sprintf("START WAL LOCATION: 0/%X (file %s)\nSTOP WAL LOCATION: 0/%X (file %s)\nLABEL: b\n",
		first<<20+0x28, SegmentName(1, first, MinSegmentSize), last<<20, SegmentName(1, last, MinSegmentSize))
}

// forked makes an archive of three timelines: 1 was left in segment 6, but went on; 2,
// which branched off there, has a gap; 3 branched off from 2 in segment 10, and its
// history is there, that of 2 is not.
func forked(t *testing.T) *world {
	w := newWorld(t, true)
	w.fill(testSystem, 1, 2, 3, 4, 5, 6, 7, 8)
	w.fill(testSystem, 2, 6, 7, 9, 10)
	w.fill(testSystem, 3, 10, 11)
	w.text(testSystem, "00000003.history", "1\t0/680000\tx\n2\t0/A80000\tx\n")
	w.text(testSystem, "000000010000000000000003.00000028.backup", label(3, 4))
	name := mustName(t, "000000020000000000000010.partial")
	w.must(w.put(testSystem, name.String(), segment(testSystem, name, MinSegmentSize, 1)))
	return w
}

func TestSurvey(t *testing.T) {
	t.Parallel()
	w := forked(t)
	s, err := w.a.Survey(t.Context())
	w.must(err)
	if len(s.Epochs) != 1 {
		t.Fatalf("%+v", s)
	}
	e := s.Epochs[0]
	var got []string
	for _, l := range e.Timelines {
		for _, r := range l.Ranges {
			got = append(got, fmt.Sprintf("%d: %s-%s", l.Timeline, r.First[20:], r.Last[20:]))
		}
		for _, g := range l.Gaps {
			got = append(got, fmt.Sprintf("%d: gap %s-%s", l.Timeline, g.First[20:], g.Last[20:]))
		}
		for _, o := range l.Orphans {
			got = append(got, fmt.Sprintf("%d: orphans %s-%s", l.Timeline, o.First[20:], o.Last[20:]))
		}
	}
	want := []string{
		"1: 0002-0008", "1: orphans 0007-0008",
		"2: 0006-0007", "2: 0009-000A", "2: gap 0008-0008",
		"3: 000A-000B",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if b := e.Backups[0]; !b.Consistent || b.Until != "000000020000000000000007" {
		t.Errorf("%+v", b)
	}
	// Without the gap, it recovers to the end of the newest timeline.
	w.fill(testSystem, 2, 8)
	if s, err = w.a.Survey(t.Context()); err != nil || s.Epochs[0].Backups[0].Until != "00000003000000000000000B" {
		t.Errorf("%+v, %v", s.Epochs[0].Backups, err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	w := forked(t)
	w.fill(testSystem+1, 1, 2) // another cluster, which is whole
	w.must(w.st.Put(t.Context(), w.a.prefix+testSystem.String()+"/0000000100000000/nonsense", []byte("x")))
	for _, file := range []string{"000000010000000000000005", "00000003000000000000000B"} {
		w.st.Corrupt(w.a.key(testSystem, mustName(t, file)), func(b []byte) []byte { b[5000] ^= 1; return b })
	}
	for _, data := range []bool{false, true} {
		v, err := w.a.Verify(t.Context(), data, nil)
		w.must(err)
		var got []string
		for _, p := range v.Problems {
			got = append(got, p.Severity+" "+p.Kind+" "+p.Object[max(0, len(p.Object)-16):])
		}
		want := []string{
			"lost gap 0000000000000008", "lost history 00000002.history",
			"warning orphan 0000000000000007", "warning foreign 0000000/nonsense", "warning partial 00000010.partial",
		}
		if data {
			want = append(want, "lost damaged 0000000000000005", "lost damaged 000000000000000B")
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("data %v: %q", data, got)
		}
		if v.Files != 17 {
			t.Errorf("%d files", v.Files)
		}
	}
}

// TestContradiction: two histories that tell the same past differently.
func TestContradiction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.text(testSystem, "00000002.history", "1\t0/680000\tx\n")
	w.text(testSystem, "00000003.history", "1\t0/700000\tx\n2\t0/A80000\tx\n")
	v, err := w.a.Verify(t.Context(), false, nil)
	w.must(err)
	if len(v.Problems) != 1 || v.Problems[0].Kind != "conflict" || v.Lost() != 1 {
		t.Errorf("%+v", v.Problems)
	}
}

// TestCleanup: what goes, and for whom the rest is kept.
func TestCleanup(t *testing.T) {
	t.Parallel()
	number := func(n uint64) Name { return SegmentName(1, n, MinSegmentSize) }
	backup := func(n uint64) Name { b := number(n); b.Kind, b.Offset = Backup, 0x28; return b }
	for _, test := range []struct {
		name    string
		options CleanupOptions
		marks   map[string]uint64
		first   uint64 // that is left, by number
		kept    string
	}{
		{"a standby", CleanupOptions{From: number(7), Standby: "s1"}, nil, 4, "base backup"},
		{"a standby behind", CleanupOptions{From: number(7), Standby: "s1"}, map[string]uint64{"s2": 3}, 3, "standby s2"},
		{"its mark moves", CleanupOptions{From: number(7), Standby: "s1"}, map[string]uint64{"s1": 3}, 4, "base backup"},
		{"its mark moves back", CleanupOptions{From: number(3), Standby: "s1"}, map[string]uint64{"s1": 7}, 3, "standby s1"},
		{"a later backup", CleanupOptions{From: backup(6)}, nil, 6, "what was asked for"},
		{"a later backup, but a standby", CleanupOptions{From: backup(6)}, map[string]uint64{"s1": 5}, 5, "standby s1"},
		{"no later than a backup", CleanupOptions{From: number(8)}, nil, 4, "base backup"},
		{"exclusive", CleanupOptions{From: number(8), Exclusive: true}, map[string]uint64{"s1": 5}, 8, "what was asked for"},
		{"dry", CleanupOptions{From: number(8), Exclusive: true, DryRun: true}, nil, 2, "what was asked for"},
	} {
		w := newWorld(t, true)
		w.fill(testSystem, 1, 2, 3, 4, 5, 6, 7, 8)
		w.text(testSystem, "00000001.history", "")
		w.text(testSystem, backup(4).String(), label(4, 5))
		w.text(testSystem, backup(6).String(), label(6, 6))
		now := time.Unix(1e9, 0)
		for standby, n := range test.marks {
			w.must(w.a.SetMark(t.Context(), testSystem, standby, number(n), now))
		}
		report, err := w.a.Cleanup(t.Context(), testSystem, test.options, now)
		w.must(err)
		s, err := w.a.Survey(t.Context())
		w.must(err)
		e := s.Epochs[0]
		if got := e.Timelines[0].Ranges[0].First; got != number(test.first).String() || len(e.Timelines[0].Gaps) > 0 || !e.Timelines[0].History {
			t.Errorf("%s: begins with %s", test.name, got)
		}
		if !strings.HasPrefix(report.KeptFor, test.kept) || report.DryRun != test.options.DryRun {
			t.Errorf("%s: %+v", test.name, report)
		}
		if o := test.options; o.Standby != "" && (len(e.Standbys) != len(test.marks)+1-boolInt(test.marks[o.Standby] > 0) ||
			!slices.ContainsFunc(e.Standbys, func(m MarkSurvey) bool { return m.Standby == o.Standby && m.From == o.From.String() })) {
			t.Errorf("%s: %+v", test.name, e.Standbys)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestForgedMark: a mark that nobody with the key has written makes cleanup stop.
func TestForgedMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	w.fill(testSystem, 1, 2, 3, 4)
	w.must(w.a.SetMark(t.Context(), testSystem, "s1", SegmentName(1, 2, MinSegmentSize), time.Now()))
	marks, err := w.a.Marks(t.Context(), testSystem)
	w.must(err)
	object, err := w.st.Get(t.Context(), marks[0].key, -1)
	w.must(err)
	w.must(w.st.Put(t.Context(), w.a.marksPrefix(testSystem)+"s1/"+SegmentName(1, 4, MinSegmentSize).String(), object))
	if _, err := w.a.Cleanup(t.Context(), testSystem, CleanupOptions{From: SegmentName(1, 4, MinSegmentSize)}, time.Now()); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// TestGapAtFork: what is missing around the point where a timeline branched off.
func TestGapAtFork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.fill(testSystem, 1, 2, 3)
	w.fill(testSystem, 2, 7)
	w.text(testSystem, "00000002.history", "1\t0/680000\tx\n")
	s, err := w.a.Survey(t.Context())
	w.must(err)
	var got []string
	for _, l := range s.Epochs[0].Timelines {
		for _, g := range l.Gaps {
			got = append(got, g.First+"-"+g.Last)
		}
	}
	want := []string{"000000010000000000000004-000000010000000000000005", "000000020000000000000006-000000020000000000000006"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// The last segment of the old timeline may be there as .partial only; what counts
	// is that the new one begins with it.
	w.fill(testSystem, 1, 4, 5)
	w.fill(testSystem, 2, 6)
	v, err := w.a.Verify(t.Context(), true, nil)
	if err != nil || len(v.Problems) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}
