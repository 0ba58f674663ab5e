package storagetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/storage"
)

func testInvalidKeys(t *testing.T, st storage.Storage) {
	ctx := t.Context()
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/..", "../a", "a/../b", "./a", "a/./b",
		"a b", "a\x00b", "a\nb", "a\\b", "ä", "a:b", "a*", "~", "lost+found",
	} {
		_, getErr := st.Get(ctx, key, -1)
		_, statErr := st.Stat(ctx, key)
		for op, err := range map[string]error{
			"put":    st.Put(ctx, key, []byte("x")),
			"read":   st.Read(ctx, key, 0, make([]byte, 1)),
			"get":    getErr,
			"stat":   statErr,
			"delete": st.Delete(ctx, key),
		} {
			if !errors.Is(err, storage.ErrInvalidKey) {
				t.Errorf("%s %q: %v, want ErrInvalidKey", op, key, err)
			}
		}
	}
	for _, prefix := range []string{"a", "/", "a//", "../", "a/../", "./", "a/b", "a b/", "*/"} {
		err := st.List(ctx, prefix, func(storage.Info) error { return nil })
		if !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("list %q: %v, want ErrInvalidKey", prefix, err)
		}
		if _, err := st.Children(ctx, prefix); !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("children %q: %v, want ErrInvalidKey", prefix, err)
		}
	}
	if keys := list(t, st, ""); len(keys) != 0 {
		t.Errorf("invalid keys left objects: %v", keys)
	}
}

// testOddKeys uses every character that keys may have, and the longest component
// that callers make.
func testOddKeys(t *testing.T, st storage.Storage) {
	keys := []string{
		"abcdefghijklmnopqrstuvwxyz/ABCDEFGHIJKLMNOPQRSTUVWXYZ/0123456789._-%",
		"%2F/%00/%25", "...", "a/...", ".hidden", "-", "-rf", "_", "a/.b", "a/b.", "%",
		"long/" + strings.Repeat("x", 200),
		"deep" + strings.Repeat("/d", 20),
	}
	for i, key := range keys {
		put(t, st, key, content(uint64(i), 10))
	}
	for i, key := range keys {
		wantObject(t, st, key, content(uint64(i), 10))
	}
	slices.Sort(keys)
	if got := list(t, st, ""); !slices.Equal(got, keys) {
		t.Errorf("list: %q\nwant %q", got, keys)
	}
	for _, key := range keys {
		if err := st.Delete(t.Context(), key); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if got := list(t, st, ""); len(got) != 0 {
		t.Errorf("list after all were deleted: %q", got)
	}
}

func testCancelledContext(t *testing.T, st storage.Storage) {
	put(t, st, "there", []byte("x"))
	ctx := cancelled(t)
	_, getErr := st.Get(ctx, "there", -1)
	_, statErr := st.Stat(ctx, "there")
	_, childrenErr := st.Children(ctx, "")
	for op, err := range map[string]error{
		"put":      st.Put(ctx, "new", []byte("y")),
		"read":     st.Read(ctx, "there", 0, make([]byte, 1)),
		"get":      getErr,
		"stat":     statErr,
		"children": childrenErr,
		"list": st.List(ctx, "", func(storage.Info) error {
			t.Error("list calls its function although its context has ended")
			return nil
		}),
		"delete": st.Delete(ctx, "there"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v, want context.Canceled", op, err)
		}
	}
	wantAbsent(t, st, "new")
	wantObject(t, st, "there", []byte("x"))
}

func newCancel(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

func testLocation(t *testing.T, st storage.Storage) {
	if st.Location() == "" {
		t.Error("location is empty")
	}
}
