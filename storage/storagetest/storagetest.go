// Package storagetest holds the contract of package storage as tests. Every
// implementation runs them against real instances of itself.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/storage"
)

// Run runs the suite. Each call of open returns a store that holds nothing and
// that no other test uses; it registers its own clean-up with t.
func Run(t *testing.T, open func(t *testing.T) storage.Storage) {
	tests := []struct {
		name string
		run  func(t *testing.T, st storage.Storage)
	}{
		{"PutThenRead", testPutThenRead},
		{"Sizes", testSizes},
		{"WriteOnce", testWriteOnce},
		{"RacingPuts", testRacingPuts},
		{"RacingSamePuts", testRacingSamePuts},
		{"Buffers", testBuffers},
		{"Absent", testAbsent},
		{"Ranges", testRanges},
		{"GetLimit", testGetLimit},
		{"Stat", testStat},
		{"Delete", testDelete},
		{"DirectoryIsNoObject", testDirectoryIsNoObject},
		{"InvalidKeys", testInvalidKeys},
		{"OddKeys", testOddKeys},
		{"CancelledContext", testCancelledContext},
		{"CancelBesidePut", testCancelBesidePut},
		{"ListEmpty", testListEmpty},
		{"ListExact", testListExact},
		{"ListMany", testListMany},
		{"ListStops", testListStops},
		{"ListBesideChanges", testListBesideChanges},
		{"DeleteWhileListing", testDeleteWhileListing},
		{"Location", testLocation},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// content makes n bytes that no other seed makes.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = src.Read(b) // never fails
	return b
}

func put(t *testing.T, st storage.Storage, key string, data []byte) {
	t.Helper()
	if err := st.Put(t.Context(), key, data); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// wantObject checks everything the storage says of an object that is there.
func wantObject(t *testing.T, st storage.Storage, key string, want []byte) {
	t.Helper()
	got, err := st.Get(t.Context(), key, -1)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("get %s: %d bytes that differ from the %d stored", key, len(got), len(want))
	}
	info, err := st.Stat(t.Context(), key)
	if err != nil {
		t.Fatalf("stat %s: %v", key, err)
	}
	if info.Key != key || info.Size != int64(len(want)) {
		t.Fatalf("stat %s: %+v, want size %d", key, info, len(want))
	}
}

// wantAbsent checks that every way of asking for an object says it is absent.
func wantAbsent(t *testing.T, st storage.Storage, key string) {
	t.Helper()
	if _, err := st.Get(t.Context(), key, -1); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("get %s: %v, want ErrNotExist", key, err)
	}
	if err := st.Read(t.Context(), key, 0, make([]byte, 1)); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("read %s: %v, want ErrNotExist", key, err)
	}
	if err := st.Read(t.Context(), key, -1, make([]byte, 1)); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("read the end of %s: %v, want ErrNotExist", key, err)
	}
	if err := st.Read(t.Context(), key, 0, nil); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("read nothing of %s: %v, want ErrNotExist", key, err)
	}
	if _, err := st.Stat(t.Context(), key); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("stat %s: %v, want ErrNotExist", key, err)
	}
	if keys := list(t, st, ""); slices.Contains(keys, key) {
		t.Errorf("list shows %s", key)
	}
}

// list returns the keys under prefix, sorted, and checks that none comes twice.
func list(t *testing.T, st storage.Storage, prefix string) []string {
	t.Helper()
	keys := []string{}
	err := st.List(t.Context(), prefix, func(info storage.Info) error {
		keys = append(keys, info.Key)
		return nil
	})
	if err != nil {
		t.Fatalf("list %q: %v", prefix, err)
	}
	slices.Sort(keys)
	if n := len(keys); len(slices.Compact(slices.Clone(keys))) != n {
		t.Errorf("list %q shows an object more than once", prefix)
	}
	return keys
}

// putMany stores n small objects and returns their keys, sorted. name gets the
// number of the object.
func putMany(t *testing.T, st storage.Storage, n int, name func(int) string) []string {
	t.Helper()
	keys := make([]string, n)
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	for i := range n {
		keys[i] = name(i)
		g.Go(func() error { return st.Put(ctx, keys[i], fmt.Append(nil, i)) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
