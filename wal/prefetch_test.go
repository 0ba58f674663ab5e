package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal/quick"
)

func (w *world) newSpool(d DataDir) *Spool {
	w.Helper()
	s, err := OpenSpool(w.TempDir(), "repository", "main", "0", testSystem, d)
	w.must(err)
	return s
}

// numbers returns what the spool holds, timeline and number, in order.
func (w *world) held(s *Spool) string {
	w.Helper()
	all, err := s.list()
	w.must(err)
	var names []string
	for _, h := range all {
		names = append(names, fmt.Sprintf("%d/%d", h.name.Timeline, h.name.Seg))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (w *world) await(what string, condition func() bool) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("waited in vain: %s", what)
		}
	}
}

func seg(timeline, number uint32) string {
	return Name{Kind: Segment, Timeline: timeline, Seg: number}.String()
}

// prefetching runs a prefetcher for as long as f lasts.
func (w *world) prefetching(s *Spool, d DataDir, limit int64, f func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	p := &Prefetcher{Archive: w.a, System: testSystem, DataDir: d, Spool: s, Limit: limit, Idle: time.Hour}
	go func() { ended <- p.Run(ctx) }()
	f()
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		w.Error(err)
	}
}

// served does what a fetch does when the server got a segment.
func (w *world) served(s *Spool, file string) {
	w.Helper()
	w.must(s.Served(mustName(w, file), MinSegmentSize))
	s.Ring()
}

// TestPrefetch: what the server will ask for next is in the spool, and no more than
// there is room for; what it has passed is gone.
func TestPrefetch(t *testing.T) {
	w := newWorld(t, true)
	for n := range uint32(20) {
		w.archive(seg(1, n+1))
	}
	d := w.newDataDir(testSystem, 1)
	s := w.newSpool(d)
	w.served(s, seg(1, 1))
	w.prefetching(s, d, 6<<20, func() {
		w.await("the first few", func() bool { return w.held(s) == "1/2 1/3 1/4 1/5" })
		w.served(s, seg(1, 2))
		w.await("more, as the server goes on", func() bool { return w.held(s) == "1/3 1/4 1/5 1/6 1/7 1/8" })
		w.served(s, seg(1, 17))
		w.await("what is left", func() bool { return w.held(s) == "1/18 1/19 1/20" })
		// What comes to be later is not missed.
		w.archive(seg(1, 21))
		w.served(s, seg(1, 18))
		w.await("the new one", func() bool { return w.held(s) == "1/19 1/20 1/21" })

		dest := d.path("pg_wal", "RECOVERYXLOG")
		taken, size, err := s.Take(t.Context(), mustName(t, seg(1, 19)), dest, false)
		if !taken || size != MinSegmentSize || err != nil {
			t.Fatalf("taken %t, %d bytes, %v", taken, size, err)
		}
		if got, err := os.ReadFile(dest); err != nil || !bytes.Equal(got, w.segment(seg(1, 19))) {
			t.Errorf("other bytes came out (%v)", err)
		}
		if taken, _, err := s.Take(t.Context(), mustName(t, seg(1, 5)), dest, false); taken || err != nil {
			t.Errorf("what is not there was taken: %t, %v", taken, err)
		}
	})
	// A second one finds the lock taken, and one that has nothing to do ends.
	w.prefetching(s, d, 6<<20, func() {
		w.await("the lock", func() bool { return quick.Locked(s.dir) })
		p := &Prefetcher{Archive: w.a, System: testSystem, DataDir: d, Spool: s, Limit: 6 << 20}
		w.must(p.Run(t.Context()))
	})
	w.served(s, seg(1, 21))
	p := &Prefetcher{Archive: w.a, System: testSystem, DataDir: d, Spool: s, Limit: 6 << 20, Idle: time.Hour}
	w.must(p.Run(t.Context()))
}

// TestJustTaken: what the server has taken, and has not said so yet, is not fetched again.
func TestJustTaken(t *testing.T) {
	w := newWorld(t, false)
	for n := range uint32(20) {
		w.archive(seg(1, n+1))
	}
	d := w.newDataDir(testSystem, 1)
	s := w.newSpool(d)
	w.served(s, seg(1, 2))
	w.prefetching(s, d, 6<<20, func() {
		w.await("the first few", func() bool { return w.held(s) == "1/3 1/4 1/5 1/6" })
		taken, _, err := s.Take(t.Context(), mustName(t, seg(1, 3)), d.path("pg_wal", "RECOVERYXLOG"), false)
		if !taken || err != nil {
			t.Fatal(taken, err)
		}
		s.Ring()
		w.await("what comes after those", func() bool { return strings.HasSuffix(w.held(s), " 1/7 1/8") })
		if got := w.held(s); got != "1/4 1/5 1/6 1/7 1/8" {
			t.Errorf("the spool holds %s", got)
		}
	})
}

// TestPrefetchTimelines: at a switch the segments of the timeline that the server
// follows are fetched.
func TestPrefetchTimelines(t *testing.T) {
	w := newWorld(t, false)
	for n := range uint32(8) {
		w.archive(seg(1, n+1)) // the old primary went on
	}
	w.archive(seg(2, 4), seg(2, 5), seg(2, 6), seg(3, 6), seg(3, 7))
	d := w.newDataDir(testSystem, 1)
	const two, three = "1\t0/480000\tx\n", "1\t0/480000\tx\n\n2\t0/680000\tx\n"
	for _, test := range []struct {
		target  uint32
		history string
		want    string
	}{
		{0, "", "1/2 1/3 1/4 1/5 1/6 1/7 1/8"},
		{2, two, "1/2 1/3 2/4 2/5 2/6"},
		{3, three, "1/2 1/3 2/4 2/5 3/6 3/7"},
		{9, "8\t0/480000\tanother family\n", "1/2 1/3 1/4 1/5 1/6 1/7 1/8"},
	} {
		s := w.newSpool(d)
		if test.target != 0 {
			w.must(s.Followed(test.target, []byte(test.history)))
			w.must(s.Followed(1, nil)) // that of an ancestor comes later
		}
		w.served(s, seg(1, 1))
		w.prefetching(s, d, 64<<20, func() {
			w.await("the window grows", func() bool { s.Ring(); return w.held(s) == test.want })
		})
	}
}

// TestPrefetchBack: pg_rewind goes back, and later on again.
func TestPrefetchBack(t *testing.T) {
	w := newWorld(t, false)
	for n := range uint32(20) {
		w.archive(seg(1, n+1))
	}
	d := w.newDataDir(testSystem, 1)
	s := w.newSpool(d)
	w.served(s, seg(1, 12))
	w.served(s, seg(1, 11))
	w.prefetching(s, d, 64<<20, func() {
		w.await("what is before", func() bool { return w.held(s) == "1/10 1/7 1/8 1/9" })
		w.served(s, seg(1, 10))
		w.await("and before that", func() bool { return w.held(s) == "1/10 1/6 1/7 1/8 1/9" })
		w.served(s, seg(1, 18))
		w.await("forward again", func() bool { return w.held(s) == "1/19 1/20" })
	})
	for _, test := range []struct {
		from, to uint32
		back     bool
	}{{5, 6, false}, {6, 5, true}, {5, 5, true}, {5, 4, true}, {4, 5, false}, {5, 5, false}, {5, 9, false}, {9, 2, false}} {
		w.served(s, seg(1, test.to))
		if at, ok := s.last(); !ok || at.back != test.back {
			t.Errorf("from %d to %d: %+v", test.from, test.to, at)
		}
	}
}

// TestSpoolLeftovers: what an earlier process, or an earlier version, left in the spool is
// no part of what comes after it.
func TestSpoolLeftovers(t *testing.T) {
	w := newWorld(t, true)
	d := w.newDataDir(testSystem, 1)
	s := w.newSpool(d)
	w.must(os.WriteFile(s.path(quick.LastFile), []byte(seg(1, 7)+" 1048576 back\n"), 0o600))
	if at, ok := s.last(); ok {
		t.Errorf("a file was taken for a link: %+v", at)
	}
	name := mustName(t, seg(1, 8))
	w.must(s.Served(name, MinSegmentSize))
	if at, ok := s.last(); !ok || at != (request{name: name, size: MinSegmentSize}) {
		t.Errorf("asked for last: %+v, %t", at, ok)
	}
	data := w.segment(seg(1, 8))
	w.must(os.WriteFile(s.path(name.String()+quick.PartSuffix), make([]byte, len(data)+1), 0o600))
	_, err := s.add(name, func(f io.Writer) (digest.ID, error) {
		_, err := f.Write(data)
		return digest.Sum(data), err
	})
	w.must(err)
	dest := d.path("pg_wal", "RECOVERYXLOG")
	if taken, _, err := s.Take(t.Context(), name, dest, false); !taken || err != nil {
		t.Fatalf("taken %t, %v", taken, err)
	}
	if got, err := os.ReadFile(dest); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other bytes came out: %d of them, want %d (%v)", len(got), len(data), err)
	}
	if left, _ := filepath.Glob(s.path("*" + quick.PartSuffix)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPrefetchTrouble: what cannot be fetched ahead is left to the server to ask for.
func TestPrefetchTrouble(t *testing.T) {
	w := newWorld(t, true)
	for n := range uint32(6) {
		w.archive(seg(1, n+1))
	}
	key := w.a.key(testSystem, mustName(t, seg(1, 3)))
	object, err := w.st.Get(t.Context(), key, -1)
	w.must(err)
	object[len(object)/2] ^= 1
	w.must(w.st.Delete(t.Context(), key))
	w.must(w.st.Put(t.Context(), key, object))
	d := w.newDataDir(testSystem, 1)
	s := w.newSpool(d)
	w.served(s, seg(1, 1))
	w.prefetching(s, d, 64<<20, func() {
		w.await("the others", func() bool { return strings.Contains(w.held(s), "1/2") })
		w.await("nothing is awaited", func() bool {
			parts, _ := filepath.Glob(s.path("*" + quick.PartSuffix))
			return len(parts) == 0
		})
	})
	if strings.Contains(w.held(s), "1/3") {
		t.Error("a damaged segment is in the spool")
	}
	dest := d.path("pg_wal", "RECOVERYXLOG")
	if taken, _, err := s.Take(t.Context(), mustName(t, seg(1, 3)), dest, false); taken || err != nil {
		t.Errorf("it was taken: %t, %v", taken, err)
	}
	// The server has recovered: all goes.
	p := &Prefetcher{Archive: w.a, System: testSystem, DataDir: d, Spool: s, Limit: 64 << 20, Idle: time.Millisecond}
	w.must(p.Run(t.Context()))
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the spool is still there: %v", err)
	}
}

// TestSpoolPlace: a spool is nobody else's, and not in the data directory.
func TestSpoolPlace(t *testing.T) {
	w := newWorld(t, false)
	d := w.newDataDir(testSystem, 1)
	open := func(root string) error {
		_, err := OpenSpool(root, "repository", "main", "0", testSystem, d)
		return err
	}
	elsewhere := t.TempDir()
	w.must(os.Symlink(string(d), filepath.Join(elsewhere, "link")))
	for _, root := range []string{string(d), d.path("x"), d.path("pg_wal"), filepath.Join(elsewhere, "link", "spool")} {
		if err := open(root); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("%s: %v", root, err)
		}
	}
	w.must(open(string(d) + "-spool"))
	t.Cleanup(func() { _ = os.RemoveAll(string(d) + "-spool") })
	s := w.newSpool(d)
	w.must(os.Chmod(s.dir, 0o777))
	if err := open(filepath.Dir(s.dir)); err == nil {
		t.Error("others can write to it")
	}
	// Other servers, other places.
	root := t.TempDir()
	seen := map[string]bool{}
	for _, where := range [][3]string{{"r1", "main", "0"}, {"r2", "main", "0"}, {"r1", "other", "0"}, {"r1", "main", "1"}} {
		s, err := OpenSpool(root, where[0], where[1], where[2], testSystem, d)
		w.must(err)
		if seen[s.dir] {
			t.Errorf("%v has the spool of another", where)
		}
		seen[s.dir] = true
	}
}

func (s *Spool) find(name Name) (held, bool) {
	all, err := s.list()
	if err != nil {
		return held{}, false
	}
	for _, h := range all {
		if h.name == name {
			return h, true
		}
	}
	return held{}, false
}

// TestSpoiled: what lies in the spool is handed over only as it was put there: it is
// looked at again if it was changed, or if it has lain there for long.
func TestSpoiled(t *testing.T) {
	w := newWorld(t, false)
	d := w.newDataDir(testSystem, 1)
	s := w.newSpool(d)
	name := mustName(t, seg(1, 1))
	dest := d.path("pg_wal", "RECOVERYXLOG")
	data := w.segment(seg(1, 1))
	add := func() held {
		_, err := s.add(name, func(to io.Writer) (digest.ID, error) { _, err := to.Write(data); return digest.Sum(data), err })
		w.must(err)
		h, _ := s.find(name)
		return h
	}
	// since has it lie there without a trace of a change.
	since := func(path string, then time.Time, boot string) error {
		if err := os.Chtimes(path, then, then); err != nil {
			return err
		}
		first := strings.Split(filepath.Base(path), ".")[:2]
		return os.Rename(path, s.path(fmt.Sprintf("%s.%x.%s", strings.Join(first, "."), then.UnixNano(), boot)))
	}
	old := func(path string) error {
		return since(path, time.Now().Add(-time.Hour), strings.Split(filepath.Base(path), ".")[3])
	}
	down := func(path string) error { return since(path, time.Now().Add(-time.Second), "01234567") }
	nameless := func(path string) error { return since(path, time.Now().Add(-time.Second), "") }
	flip := func(p string) error { b := bytes.Clone(data); b[500_000] ^= 4; return os.WriteFile(p, b, 0o600) }
	for what, spoil := range map[string]func(path string) error{
		"a bit":                                 flip,
		"a bit, an hour ago":                    func(p string) error { return errors.Join(flip(p), old(p)) },
		"a bit, and the machine went down":      func(p string) error { return errors.Join(flip(p), down(p)) },
		"a bit, and perhaps the machine did so": func(p string) error { return errors.Join(flip(p), nameless(p)) },
		"cut short":                             func(p string) error { return os.WriteFile(p, data[:4096], 0o600) },
		"empty":                                 func(p string) error { return os.Truncate(p, 0) },
	} {
		w.must(spoil(add().File))
		if taken, _, err := s.Take(t.Context(), name, dest, false); taken || err != nil {
			t.Errorf("%s: taken %t, %v", what, taken, err)
		}
		if _, found := s.find(name); found {
			t.Errorf("%s: it is still there", what)
		}
	}
	for what, age := range map[string]func(path string) error{
		"at once": func(string) error { return nil }, "an hour later": old, "the machine went down": down,
	} {
		w.must(age(add().File))
		taken, _, err := s.Take(t.Context(), name, dest, false)
		got, rerr := os.ReadFile(dest)
		if !taken || err != nil || rerr != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: taken %t, %v, %v", what, taken, err, rerr)
		}
	}
}
