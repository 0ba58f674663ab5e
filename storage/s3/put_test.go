package s3_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
)

// TestWriteOnceWithoutCondition: what is left of write-once where a target has no
// conditional PUT, or nobody knows whether it has.
func TestWriteOnceWithoutCondition(t *testing.T) {
	for name, test := range map[string]struct {
		server s3test.Condition
		traits storage.Traits
	}{
		"refused, unknown": {s3test.Refused, storage.Traits{}},
		"refused, known":   {s3test.Refused, storage.Traits{ConditionalPut: storage.No}},
		"ignored, unknown": {s3test.Ignored, storage.Traits{}},
		"ignored, known":   {s3test.Ignored, storage.Traits{ConditionalPut: storage.No}},
		"required":         {s3test.Required, storage.Traits{}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := s3test.StartFake(t)
			fake.Conditions = test.server
			st := open(t, &fake.Server, "", test.traits)
			for range 2 {
				if err := st.Put(t.Context(), "manifests/a", []byte("one")); err != nil {
					t.Fatal(err)
				}
			}
			if err := st.Put(t.Context(), "manifests/a", []byte("two")); !errors.Is(err, storage.ErrExists) {
				t.Errorf("other bytes: %v", err)
			}
			if got, _ := fake.Object("manifests/a"); string(got) != "one" {
				t.Errorf("now it holds %q", got)
			}
			if test.server == s3test.Refused && st.Traits().ConditionalPut != storage.No {
				t.Error("it does not remember that the condition was refused")
			}
		})
	}
}

// TestOvertakenWriter: without a condition, a writer that was overtaken notices.
func TestOvertakenWriter(t *testing.T) {
	fake := s3test.StartFake(t)
	fake.Conditions = s3test.Ignored
	traits := storage.Traits{ConditionalPut: storage.No}
	st, other := open(t, &fake.Server, "", traits), open(t, &fake.Server, "", traits)
	overtaken := false
	fake.SetHook(func(kind, _ string) s3test.Fault {
		// The other one comes after our put, before we read it again.
		if _, there := fake.Object("wal/a"); kind == "GET" && there && !overtaken {
			overtaken = true
			fake.Replace("wal/a", []byte("two"))
		}
		return s3test.Fault{}
	})
	if err := st.Put(t.Context(), "wal/a", []byte("one")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("put that was overtaken: %v", err)
	}
	if err := other.Put(t.Context(), "wal/a", []byte("two")); err != nil {
		t.Errorf("the one that won: %v", err)
	}
}

// TestRequests: how many requests an operation is. docs/s3.md has the same numbers.
func TestRequests(t *testing.T) {
	fake := s3test.StartFake(t)
	ctx := t.Context()
	st := open(t, &fake.Server, "p", probed)
	want := func(what string, err error, counts map[string]int) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := fake.Counts(); !maps.Equal(got, counts) {
			t.Errorf("%s: requests %v, want %v", what, got, counts)
		}
	}
	data := []byte("some bytes")
	want("put", st.Put(ctx, "packs/aa", data), map[string]int{"PUT": 1})
	want("put again", st.Put(ctx, "packs/aa", data), map[string]int{"PUT": 1, "GET": 1})
	_, err := st.Get(ctx, "packs/aa", -1)
	want("get", err, map[string]int{"GET": 1})
	want("read", st.Read(ctx, "packs/aa", 2, make([]byte, 3)), map[string]int{"GET": 1})
	want("read from the end", st.Read(ctx, "packs/aa", -2, make([]byte, 2)), map[string]int{"GET": 2})
	_, err = st.Stat(ctx, "packs/aa")
	want("stat", err, map[string]int{"GET": 1})
	_, err = st.Get(ctx, "packs/bb", -1)
	if !errors.Is(err, storage.ErrNotExist) {
		t.Error(err)
	}
	want("get of nothing", nil, map[string]int{"GET": 1})
	_, err = st.Stat(ctx, "packs/bb")
	if !errors.Is(err, storage.ErrNotExist) {
		t.Error(err)
	}
	want("stat of nothing", nil, map[string]int{"GET": 1})
	want("list", st.List(ctx, "", func(storage.Info) error { return nil }), map[string]int{"LIST": 1})
	_, err = st.Children(ctx, "packs/")
	want("children", err, map[string]int{"LIST": 1})
	want("delete", st.Delete(ctx, "packs/aa"), map[string]int{"DELETE": 1})

	st.SetTraits(storage.Traits{ConditionalPut: storage.No})
	want("put without condition", st.Put(ctx, "manifests/a", data), map[string]int{"PUT": 1, "GET": 2})
	want("the same of a pack", st.Put(ctx, "packs/cc", data), map[string]int{"PUT": 1})
}
