package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/storage"
)

func TestRefreshThenView(t *testing.T) {
	w := newWorld()
	for i := range 10 {
		w.add(testPack(i, i*10, i*10+1, i*10+2, i*10+3), testPack(100+i, i*10+7, i*10+8))
	}
	c := testCache(t, CacheOptions{})
	report := mustRefresh(t, c, w.list(), w.load)
	if report.Loaded != 10 || report.Entries != 60 || report.Built != "index-1.db" {
		t.Errorf("report %+v", report)
	}
	v := mustView(t, c, w.list(), noLoad(t))
	for id, locs := range w.locations(w.order...) {
		got, ok := v.Find(id, nil)
		if !ok || got != locs[0] {
			t.Errorf("Find(%s) = %+v, %v; want %+v", id.Short(), got, ok, locs[0])
		}
	}
	if _, ok := v.Find(digest.Sum([]byte("absent")), nil); ok {
		t.Error("found a chunk that is not there")
	}
	again := mustRefresh(t, c, w.list(), noLoad(t))
	if again.Built != "" || len(generationFiles(t, c)) != 1 {
		t.Errorf("a second refresh did something: %+v", again)
	}
}

func TestFeaturesSurvive(t *testing.T) {
	w := newWorld()
	w.add(testPack(0, 4, 8, 5))
	c := testCache(t, CacheOptions{})
	check := func(v *View) {
		t.Helper()
		if f, ok := v.Features(chunkID(8)); !ok || f != [3]uint64{8, 0, 1} {
			t.Errorf("features %v, %v", f, ok)
		}
		if _, ok := v.Features(chunkID(5)); ok {
			t.Error("features of a chunk without")
		}
	}
	check(mustView(t, c, w.list(), w.load))
	mustRefresh(t, c, w.list(), w.load)
	check(mustView(t, c, w.list(), noLoad(t)))
}

func TestRecentFragmentsAreBounded(t *testing.T) {
	w := newWorld()
	for i := range 100 {
		w.add(testPack(i, i))
	}
	big := w.add(testPack(1000, 1000))
	info := w.infos[big]
	info.Size = recentBytes + 1 // does not fit; those behind it do
	w.infos[big] = info
	for name, c := range map[string]*Cache{
		"empty cache":  testCache(t, CacheOptions{}),
		"no directory": must(OpenCache("", CacheOptions{FirstOffset: testFirst})),
	} {
		v := mustView(t, c, w.list(), w.load)
		for i := range 100 {
			if _, ok := v.Find(chunkID(i), nil); ok != (i >= 100-recentFragments) {
				t.Errorf("%s: chunk %d found: %v", name, i, ok)
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestNilCache(t *testing.T) {
	var c *Cache
	w := newWorld()
	w.add(testPack(0, 1))
	if _, ok := mustView(t, c, w.list(), w.load).Find(chunkID(1), nil); ok {
		t.Error("a nil cache cannot know offsets, yet it found a chunk")
	}
	if _, err := c.Refresh(context.Background(), w.list(), w.load); !errors.Is(err, ErrNoCache) {
		t.Errorf("refresh of a nil cache: %v", err)
	}
}

func TestUsablePack(t *testing.T) {
	w := newWorld()
	old := w.add(testPack(1, 5))
	c := testCache(t, CacheOptions{MaxGenerations: 4})
	mustRefresh(t, c, w.list(), w.load)
	// Large enough to become a generation of its own.
	var many []int
	for i := range 500 {
		many = append(many, 1000+i)
	}
	w.add(testPack(2, many...))
	mustRefresh(t, c, w.list(), w.load)
	w.add(testPack(3, 5))
	v := mustView(t, c, w.list(), w.load)
	want := w.locations(old)[chunkID(5)][0]
	var asked []digest.ID
	got, ok := v.Find(chunkID(5), func(pack digest.ID) bool {
		asked = append(asked, pack)
		return pack == want.Pack
	})
	if !ok || got != want || !slices.Equal(asked, []digest.ID{testPack(3).ID, testPack(1).ID}) {
		t.Errorf("Find = %v, %v after asking for %v", got, ok, asked)
	}
	if _, ok := v.Find(chunkID(5), func(digest.ID) bool { return false }); ok {
		t.Error("found a chunk in an unusable pack")
	}
}

func TestLaterFragmentIsPreferred(t *testing.T) {
	w := newWorld()
	w.add(testPack(1, 5))
	w.add(testPack(2, 5))
	c := testCache(t, CacheOptions{})
	l := w.list()
	slices.Reverse(l)
	mustRefresh(t, c, l, w.load)
	if loc, ok := mustView(t, c, l, w.load).Find(chunkID(5), nil); !ok || loc.Pack != testPack(2).ID {
		t.Errorf("found %v, %v", loc, ok)
	}
}

func TestUnlistedFragmentsDoNotCount(t *testing.T) {
	w := newWorld()
	keep := w.add(testPack(1, 1, 2, 3))
	gone := w.add(testPack(2, 4, 5))
	c := testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(), w.load)
	v := mustView(t, c, w.list(keep), noLoad(t))
	for n := 1; n <= 5; n++ {
		if _, ok := v.Find(chunkID(n), nil); ok != (n <= 3) {
			t.Errorf("chunk %d found: %v", n, ok)
		}
	}
	// Half of a generation is not enough to rewrite it, more is.
	if r := mustRefresh(t, c, w.list(keep), noLoad(t)); r.Built != "" {
		t.Errorf("rewritten for two dead of five: %+v", r)
	}
	if r := mustRefresh(t, c, w.list(gone), noLoad(t)); r.Entries != 2 || len(r.Merged) != 1 {
		t.Errorf("not rewritten with three dead of five: %+v", r)
	}
	if r := mustRefresh(t, c, []FragmentInfo{}, noLoad(t)); len(r.Removed) != 1 || len(generationFiles(t, c)) != 0 {
		t.Errorf("a dead generation stays: %+v", r)
	}
}

func TestFragmentsThatCannotBeLoaded(t *testing.T) {
	w := newWorld()
	bad := w.add(testPack(1, 1))
	w.add(testPack(2, 2))
	gone := w.add(testPack(3, 3))
	wraps := w.add(Pack{ID: digest.ID{1}, Entries: []Entry{{ID: chunkID(9), Stored: 1 << 31}, {Stored: 1 << 31}}})
	l := w.list()
	w.broken[bad] = fmt.Errorf("open: %w", ErrCorrupt)
	w.broken[gone] = fmt.Errorf("get: %w", storage.ErrNotExist)
	c := testCache(t, CacheOptions{})
	v := mustView(t, c, l, w.load)
	if _, ok := v.Find(chunkID(2), nil); !ok || len(v.Skipped()) != 3 {
		t.Errorf("found %v, skipped %v", ok, v.Skipped())
	}
	r := mustRefresh(t, c, l, w.load)
	if r.Loaded != 1 || r.Vanished != 1 || len(r.Skipped) != 2 {
		t.Errorf("report %+v", r)
	}
	delete(w.broken, bad)
	w.broken[wraps] = storage.ErrNotExist
	if r := mustRefresh(t, c, l, w.load); r.Loaded != 1 {
		t.Errorf("the repaired fragment was not tried again: %+v", r)
	}
}

func TestContextEnds(t *testing.T) {
	w := newWorld()
	w.add(testPack(1, 1))
	c := testCache(t, CacheOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	load := func(ctx context.Context, id digest.ID) ([]Pack, error) {
		cancel()
		return nil, ctx.Err()
	}
	if _, err := c.View(ctx, w.list(), load); !errors.Is(err, context.Canceled) {
		t.Errorf("view: %v", err)
	}
	if _, err := c.Refresh(ctx, w.list(), load); !errors.Is(err, context.Canceled) {
		t.Errorf("refresh: %v", err)
	}
	if files := must(os.ReadDir(c.dir)); len(files) != 1 || files[0].Name() != lockName {
		t.Errorf("left behind: %v", files)
	}
}

func TestBusy(t *testing.T) {
	w := newWorld()
	w.add(testPack(1, 1))
	c := testCache(t, CacheOptions{})
	other := must(OpenCache(c.dir, c.opts))
	load := func(ctx context.Context, id digest.ID) ([]Pack, error) {
		if r := mustRefresh(t, other, w.list(), w.load); !r.Busy {
			t.Errorf("two builders at once: %+v", r)
		}
		if _, ok := mustView(t, other, w.list(), w.load).Find(chunkID(1), nil); !ok {
			t.Error("a view beside a builder misses")
		}
		return w.load(ctx, id)
	}
	mustRefresh(t, c, w.list(), load)
	if r := mustRefresh(t, other, w.list(), noLoad(t)); r.Busy {
		t.Error("the lock stays")
	}
}

func TestDirectoryMode(t *testing.T) {
	old := syscall.Umask(0o777)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	if err := os.Chmod(filepath.Dir(filepath.Dir(filepath.Dir(dir))), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCache(dir, CacheOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if mode := must(os.Stat(d)).Mode(); mode.Perm() != 0o700 {
			t.Errorf("%s has mode %v", d, mode)
		}
	}
}

func TestRefusedDirectory(t *testing.T) {
	base := t.TempDir()
	for _, mode := range []fs.FileMode{0o770, 0o702, 0o777} {
		dir := filepath.Join(base, fmt.Sprint(mode))
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, dir)
	}
	file := filepath.Join(base, "file")
	mustWrite(t, file, nil)
	checkRefused(t, file)
	checkRefused(t, filepath.Join(file, "below"))
	checkRefused(t, "/proc/nobody-can-create-this")
	if os.Geteuid() != 0 {
		checkRefused(t, "/")
		return
	}
	foreign := filepath.Join(base, "foreign")
	if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, foreign)
}

// checkRefused: the directory is an error, and views work all the same.
func checkRefused(t *testing.T, dir string) {
	t.Helper()
	c, err := OpenCache(dir, CacheOptions{FirstOffset: testFirst})
	if err == nil {
		t.Fatalf("%s was accepted", dir)
	}
	w := newWorld()
	w.add(testPack(1, 1))
	if _, ok := mustView(t, c, w.list(), w.load).Find(chunkID(1), nil); !ok {
		t.Errorf("%s: a view without cache misses the newest fragment", dir)
	}
	if _, err := c.Refresh(context.Background(), w.list(), w.load); !errors.Is(err, ErrNoCache) {
		t.Errorf("%s: refresh: %v", dir, err)
	}
}

func TestDirectoryVanishes(t *testing.T) {
	w := newWorld()
	w.add(testPack(1, 1))
	c := testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(), w.load)
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	if _, ok := mustView(t, c, w.list(), w.load).Find(chunkID(1), nil); !ok {
		t.Error("miss")
	}
	if r := mustRefresh(t, c, w.list(), w.load); r.Built == "" {
		t.Errorf("not rebuilt: %+v", r)
	}
}

func TestViewSurvivesRebuild(t *testing.T) {
	w := newWorld()
	first := w.add(testPack(1, 1, 2, 3))
	c := testCache(t, CacheOptions{MaxGenerations: 1})
	mustRefresh(t, c, w.list(), w.load)
	v := mustView(t, c, w.list(first), noLoad(t))
	w.add(testPack(2, 4))
	if r := mustRefresh(t, c, w.list(), w.load); len(r.Merged) != 1 {
		t.Fatalf("report %+v", r)
	}
	for id, locs := range w.locations(first) {
		if got, ok := v.Find(id, nil); !ok || got != locs[0] {
			t.Errorf("%s: %v, %v", id.Short(), got, ok)
		}
	}
	if d := v.Damaged(); d != nil {
		t.Errorf("damaged: %v", d)
	}
}

// TestViewRacesWithBuilder: between the View's listing and its opening a builder
// replaces what was listed.
func TestViewRacesWithBuilder(t *testing.T) {
	w := newWorld()
	w.add(testPack(1, 1, 2, 3))
	c := testCache(t, CacheOptions{MaxGenerations: 1})
	builder := must(OpenCache(c.dir, c.opts))
	mustRefresh(t, builder, w.list(), w.load)
	for races := range openAttempts {
		w.add(testPack(2+races, 4+races))
		listed := 0
		c.step = func(step string) {
			if listed++; step == "listed" && listed <= races {
				w.add(testPack(100+races*10+listed, 100+races*10+listed))
				mustRefresh(t, builder, w.list(), w.load)
			}
		}
		mustRefresh(t, builder, w.list(), w.load)
		v := mustView(t, c, w.list(), noLoad(t))
		if _, ok := v.Find(chunkID(1), nil); !ok || listed != races+1 {
			t.Errorf("found %v after reading the directory %d times", ok, listed)
		}
	}
}
