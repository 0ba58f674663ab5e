package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/storage"
)

func children(t *testing.T, st storage.Storage, prefix string) []storage.Child {
	t.Helper()
	got, err := st.Children(t.Context(), prefix)
	if err != nil {
		t.Fatalf("children of %q: %v", prefix, err)
	}
	return got
}

func testListEmpty(t *testing.T, st storage.Storage) {
	for _, prefix := range []string{"", "a/", "a/b/c/"} {
		if keys := list(t, st, prefix); len(keys) != 0 {
			t.Errorf("list %q of nothing: %v", prefix, keys)
		}
		if c := children(t, st, prefix); len(c) != 0 {
			t.Errorf("children of %q of nothing: %v", prefix, c)
		}
	}
}

func testListExact(t *testing.T, st storage.Storage) {
	all := []string{"a/b", "a/bc", "a/bd/x", "a/bd/y/z", "a-b/c", "ab/c", "b", "c%2F/d"}
	for i, key := range all {
		put(t, st, key, content(uint64(i), i*10))
	}
	slices.Sort(all)
	for _, prefix := range []string{"", "a/", "a/b/", "a/bd/", "a/bd/y/", "a/bc/", "ab/", "b/", "c/", "c%2F/", "zzz/"} {
		want := slices.DeleteFunc(slices.Clone(all), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		if got := list(t, st, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q: %v, want %v", prefix, got, want)
		}
	}
	sizes := map[string]int64{}
	if err := st.List(t.Context(), "", func(i storage.Info) error { sizes[i.Key] = i.Size; return nil }); err != nil {
		t.Fatal(err)
	}
	for key, size := range sizes {
		if info, err := st.Stat(t.Context(), key); err != nil || info.Size != size {
			t.Errorf("list says %s has %d bytes, stat %d (%v)", key, size, info.Size, err)
		}
	}
	for prefix, want := range map[string][]storage.Child{
		"":        {{Name: "a", Dir: true}, {Name: "a-b", Dir: true}, {Name: "ab", Dir: true}, {Name: "b"}, {Name: "c%2F", Dir: true}},
		"a/":      {{Name: "b"}, {Name: "bc"}, {Name: "bd", Dir: true}},
		"a/bd/":   {{Name: "x"}, {Name: "y", Dir: true}},
		"a/bd/y/": {{Name: "z"}},
		"a/b/":    {},
		"zzz/":    {},
	} {
		if got := children(t, st, prefix); !slices.Equal(got, want) {
			t.Errorf("children of %q: %v, want %v", prefix, got, want)
		}
	}
}

// testListMany has more objects in one directory, and more directories, than any
// storage returns at a time.
func testListMany(t *testing.T, st storage.Storage) {
	const n = 2500
	flat := putMany(t, st, n, func(i int) string { return fmt.Sprintf("flat/%05d", i) })
	wide := putMany(t, st, n, func(i int) string { return fmt.Sprintf("wide/%02x/%05d", i%100, i) })
	put(t, st, "flatter", []byte("x"))
	if got := list(t, st, "flat/"); !slices.Equal(got, flat) {
		t.Errorf("list of one directory shows %d objects, want %d", len(got), n)
	}
	if got := list(t, st, "wide/"); !slices.Equal(got, wide) {
		t.Errorf("list of many directories shows %d objects, want %d", len(got), n)
	}
	if got := list(t, st, ""); len(got) != 2*n+1 {
		t.Errorf("list of all shows %d objects, want %d", len(got), 2*n+1)
	}
	want := make([]storage.Child, n)
	for i := range want {
		want[i].Name = fmt.Sprintf("%05d", i)
	}
	if got := children(t, st, "flat/"); !slices.Equal(got, want) {
		t.Errorf("children of one directory: %d, want %d sorted", len(got), n)
	}
	if got := children(t, st, "wide/"); len(got) != 100 {
		t.Errorf("children: %d directories, want 100", len(got))
	}
}

func testListStops(t *testing.T, st storage.Storage) {
	putMany(t, st, 10, func(i int) string { return fmt.Sprintf("d%d/x", i) })
	stop := errors.New("enough")
	calls := 0
	err := st.List(t.Context(), "", func(storage.Info) error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || calls != 3 {
		t.Errorf("list that was told to stop at the third object: %d calls, error %v", calls, err)
	}
	ctx, cancel := newCancel(t)
	calls = 0
	err = st.List(ctx, "", func(storage.Info) error {
		calls++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("list whose context ended after %d objects: %v, want context.Canceled", calls, err)
	}
}

// testListBesideChanges lists while other objects come and go: those that were
// there all the time are in every listing, each once.
func testListBesideChanges(t *testing.T, st storage.Storage) {
	stay := putMany(t, st, 200, func(i int) string { return fmt.Sprintf("l/%02x/stay%d", i%8, i) })
	ctx, cancel := newCancel(t)
	var g errgroup.Group
	for worker := range 4 {
		g.Go(func() error {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("l/%02x/go%d-%d", i%8, worker, i%40)
				if err := st.Put(t.Context(), key, []byte("x")); err != nil {
					return err
				}
				if err := st.Delete(t.Context(), key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 20 {
		got := slices.DeleteFunc(list(t, st, "l/"), func(k string) bool { return !strings.Contains(k, "stay") })
		if !slices.Equal(got, stay) {
			t.Errorf("list beside changes shows %d of the %d objects that stay", len(got), len(stay))
		}
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := list(t, st, "l/"); !slices.Equal(got, stay) {
		t.Errorf("list after the changes shows %d objects, want %d", len(got), len(stay))
	}
}

func testDeleteWhileListing(t *testing.T, st storage.Storage) {
	const n = 1200 // more than one page
	putMany(t, st, n, func(i int) string { return fmt.Sprintf("x/%02x/%d", i%4, i) })
	calls := 0
	err := st.List(t.Context(), "", func(info storage.Info) error {
		calls++
		return st.Delete(t.Context(), info.Key)
	})
	if err != nil || calls != n {
		t.Errorf("list that deletes what it sees: %d objects of %d, %v", calls, n, err)
	}
	if got := list(t, st, ""); len(got) != 0 {
		t.Errorf("%d objects are left", len(got))
	}
}
