package mem_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
	"github.com/gpdedup/gpdedup/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return mem.New() })
}

// always makes every operation called op fail as f says, and no other.
func always(op string, f mem.Fault) func(string, string) mem.Fault {
	return func(o, _ string) mem.Fault {
		if o == op {
			return f
		}
		return mem.Fault{}
	}
}

var errBroken = errors.New("broken")

func TestFaultBeforeHasNoEffect(t *testing.T) {
	st := mem.New()
	st.SetHook(always("put", mem.Fault{Before: errBroken}))
	if err := st.Put(t.Context(), "a", nil); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if keys := st.Keys(); len(keys) != 0 {
		t.Fatalf("stored %v", keys)
	}
	st.SetHook(nil)
	if err := st.Put(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
}

func TestFaultAfterHasEffect(t *testing.T) {
	st := mem.New()
	st.SetHook(func(op, key string) mem.Fault { return mem.Fault{After: errBroken} })
	if err := st.Put(t.Context(), "a", []byte("x")); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if keys := st.Keys(); !slices.Equal(keys, []string{"a"}) {
		t.Fatalf("stored %v", keys)
	}
	if err := st.Delete(t.Context(), "a"); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if keys := st.Keys(); len(keys) != 0 {
		t.Fatalf("still there: %v", keys)
	}
}

func TestFaultBlock(t *testing.T) {
	st := mem.New()
	release, reached := make(chan struct{}), make(chan struct{}, 2)
	st.SetHook(func(op, key string) mem.Fault {
		reached <- struct{}{}
		return mem.Fault{Block: release}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- st.Put(ctx, "a", nil) }()
	<-reached
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	go func() { done <- st.Put(t.Context(), "b", nil) }()
	<-reached
	crash := st.Clone()
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if keys := st.Keys(); !slices.Equal(keys, []string{"b"}) {
		t.Errorf("stored %v", keys)
	}
	if keys := crash.Keys(); len(keys) != 0 {
		t.Errorf("a crash while the put was blocked kept %v", keys)
	}
}

func TestFaultEdit(t *testing.T) {
	st := mem.New()
	data := []byte{1, 2, 3, 4}
	if err := st.Put(t.Context(), "a", data); err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 2)
	st.SetHook(always("read", mem.Fault{Edit: mem.Truncate(1)}))
	if err := st.Read(t.Context(), "a", 0, dst); !errors.Is(err, storage.ErrShort) {
		t.Errorf("truncated read: %v", err)
	}
	st.SetHook(always("read", mem.Fault{Edit: mem.FlipBit(9)}))
	if err := st.Read(t.Context(), "a", 2, dst); err != nil || !bytes.Equal(dst, []byte{3, 6}) {
		t.Errorf("read with a flipped bit: %v, %v", dst, err)
	}
	st.SetHook(always("get", mem.Fault{Edit: mem.FlipBit(32)})) // modulo the length
	if got, err := st.Get(t.Context(), "a", -1); err != nil || !bytes.Equal(got, []byte{0, 2, 3, 4}) {
		t.Errorf("get with a flipped bit: %v, %v", got, err)
	}
	st.SetHook(nil)
	if got, err := st.Get(t.Context(), "a", -1); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the object itself changed: %v, %v", got, err)
	}
	st.Corrupt("a", mem.Truncate(3))
	if got, err := st.Get(t.Context(), "a", -1); err != nil || !bytes.Equal(got, data[:1]) {
		t.Errorf("after Corrupt: %v, %v", got, err)
	}
}

func TestCloneIsApart(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	st := mem.New()
	st.SetClock(func() time.Time { return now })
	if err := st.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	other := st.Clone()
	if err := other.Put(t.Context(), "b", nil); err != nil {
		t.Fatal(err)
	}
	other.Corrupt("a", mem.FlipBit(0))
	if got, err := st.Get(t.Context(), "a", -1); err != nil || string(got) != "x" || len(st.Keys()) != 1 {
		t.Errorf("the clone's changes show: %q, %v, %v", got, err, st.Keys())
	}
	info, err := other.Stat(t.Context(), "b")
	if err != nil || !info.ModTime.Equal(now) {
		t.Errorf("stat: %+v, %v", info, err)
	}
}

func TestCounts(t *testing.T) {
	st := mem.New()
	ctx := t.Context()
	_ = st.Put(ctx, "a", nil)
	_ = st.Put(ctx, "a", []byte("conflict"))
	_ = st.Put(ctx, "not valid", nil)
	_, _ = st.Stat(ctx, "a")
	_, _ = st.Children(ctx, "")
	got := st.Counts()
	if got["put"] != 2 || got["stat"] != 1 || got["children"] != 1 || got["get"] != 0 {
		t.Errorf("counts: %v", got)
	}
}
