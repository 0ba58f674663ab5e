package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
	"github.com/gpdedup/gpdedup/storage/storagetest"
)

var errPasses = errors.New("connection reset")

// noWait is a policy of four attempts that records its pauses instead of waiting.
func noWait(pauses *[]time.Duration) storage.Policy {
	return storage.Policy{
		Attempts: 4, First: 100, Max: 300,
		Sleep: func(ctx context.Context, d time.Duration) error {
			if pauses != nil {
				*pauses = append(*pauses, d)
			}
			return ctx.Err()
		},
	}
}

// failFirst makes the first n operations fail with f.
func failFirst(n int, f mem.Fault) func(string, string) mem.Fault {
	return func(string, string) mem.Fault {
		if n--; n >= 0 {
			return f
		}
		return mem.Fault{}
	}
}

// everyOperation calls each operation of a storage that holds "a".
func everyOperation(ctx context.Context, st storage.Storage) map[string]error {
	_, get := st.Get(ctx, "a", -1)
	_, stat := st.Stat(ctx, "a")
	_, children := st.Children(ctx, "")
	return map[string]error{
		"put": st.Put(ctx, "a", []byte("x")), "read": st.Read(ctx, "a", 0, make([]byte, 1)),
		"get": get, "stat": stat, "children": children,
		"list":   st.List(ctx, "", func(storage.Info) error { return nil }),
		"delete": st.Delete(ctx, "b"),
	}
}

func TestWrappersConform(t *testing.T) {
	t.Run("Retry", func(t *testing.T) {
		storagetest.Run(t, func(*testing.T) storage.Storage { return storage.NewRetry(mem.New(), noWait(nil)) })
	})
	t.Run("Meter", func(t *testing.T) {
		storagetest.Run(t, func(*testing.T) storage.Storage { return storage.NewMeter(mem.New()) })
	})
}

func TestRetrySucceedsInTheEnd(t *testing.T) {
	for _, fault := range []mem.Fault{{Before: errPasses}, {After: errPasses}} {
		inner := mem.New()
		if err := inner.Put(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		st := storage.NewRetry(inner, noWait(nil))
		for range 3 {
			inner.SetHook(failFirst(3, fault))
			if err := st.Put(t.Context(), "a", []byte("x")); err != nil {
				t.Error(err)
			}
			inner.SetHook(failFirst(3, fault))
			if got, err := st.Get(t.Context(), "a", -1); err != nil || string(got) != "x" {
				t.Errorf("get: %q, %v", got, err)
			}
			inner.SetHook(failFirst(3, fault))
			if err := st.Delete(t.Context(), "b"); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestRetryGivesUp(t *testing.T) {
	inner := mem.New()
	inner.SetHook(func(string, string) mem.Fault { return mem.Fault{Before: errPasses} })
	var pauses []time.Duration
	var heard []int
	policy := noWait(&pauses)
	policy.Notify = func(op, key string, attempt int, err error) {
		if op != "stat" || key != "a" || !errors.Is(err, errPasses) {
			t.Errorf("notified of %s %s: %v", op, key, err)
		}
		heard = append(heard, attempt)
	}
	_, err := storage.NewRetry(inner, policy).Stat(t.Context(), "a")
	if !errors.Is(err, errPasses) {
		t.Error(err)
	}
	if n := inner.Counts()["stat"]; n != 4 || !slices.Equal(heard, []int{1, 2, 3}) {
		t.Errorf("%d attempts, heard of %v", n, heard)
	}
	for i, top := range []time.Duration{100, 200, 300} {
		if pauses[i] < top/2 || pauses[i] > top {
			t.Errorf("pause %d is %d, want %d to %d", i, pauses[i], top/2, top)
		}
	}
	policy.Notify = nil
	for op, err := range everyOperation(t.Context(), storage.NewRetry(inner, policy)) {
		if !errors.Is(err, errPasses) {
			t.Errorf("%s: %v", op, err)
		}
		if n := inner.Counts()[op]; n != 4 && op != "stat" {
			t.Errorf("%s: %d attempts", op, n)
		}
	}
}

func TestRetryLeavesPermanentErrors(t *testing.T) {
	for _, permanent := range []error{
		storage.ErrNotExist, storage.ErrExists, storage.ErrShort, storage.ErrTooLong,
		storage.ErrInvalidKey, storage.ErrReadOnly, storage.ErrNoSpace,
	} {
		inner := mem.New()
		inner.SetHook(func(string, string) mem.Fault { return mem.Fault{Before: fmt.Errorf("it says: %w", permanent)} })
		for op, err := range everyOperation(t.Context(), storage.NewRetry(inner, noWait(nil))) {
			if n := inner.Counts()[op]; n != 1 || !errors.Is(err, permanent) {
				t.Errorf("%s with %v: %d attempts, %v", op, permanent, n, err)
			}
		}
	}
}

func TestRetryAndContexts(t *testing.T) {
	inner := mem.New()
	st := storage.NewRetry(inner, noWait(nil))

	// A time limit inside the storage passes.
	inner.SetHook(failFirst(2, mem.Fault{Before: context.DeadlineExceeded}))
	if err := st.Put(t.Context(), "a", nil); err != nil {
		t.Errorf("put after two time limits of the storage's own: %v", err)
	}

	// The end of the caller's context does not, wherever it comes.
	ctx, cancel := context.WithCancel(t.Context())
	inner.SetHook(func(string, string) mem.Fault { cancel(); return mem.Fault{Before: errPasses} })
	if err := st.Delete(ctx, "a"); !errors.Is(err, errPasses) || inner.Counts()["delete"] != 1 {
		t.Errorf("%d attempts, %v", inner.Counts()["delete"], err)
	}
	policy := noWait(nil)
	ctx, cancel = context.WithCancel(t.Context())
	policy.Sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	inner.SetHook(func(string, string) mem.Fault { return mem.Fault{Before: errPasses} })
	err := storage.NewRetry(inner, policy).Delete(ctx, "a")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errPasses) {
		t.Errorf("context ended in the pause: %v", err)
	}
	// The real pause, too, ends with its context.
	policy.Sleep, policy.First, policy.Max = nil, time.Hour, time.Hour
	ctx, cancel = context.WithCancel(t.Context())
	policy.Notify = func(string, string, int, error) { cancel() }
	if err := storage.NewRetry(inner, policy).Delete(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("context ended in the pause: %v", err)
	}
}

func TestRetryShowsNothingTwice(t *testing.T) {
	inner := mem.New()
	for _, key := range []string{"a", "b"} {
		if err := inner.Put(t.Context(), key, nil); err != nil {
			t.Fatal(err)
		}
	}
	st := storage.NewRetry(inner, noWait(nil))
	var seen []string
	see := func(i storage.Info) error { seen = append(seen, i.Key); return nil }

	inner.SetHook(failFirst(2, mem.Fault{Before: errPasses}))
	if err := st.List(t.Context(), "", see); err != nil || !slices.Equal(seen, []string{"a", "b"}) {
		t.Errorf("list that failed before it began: %v, %v", seen, err)
	}
	seen = nil
	inner.SetHook(failFirst(1, mem.Fault{After: errPasses}))
	if err := st.List(t.Context(), "", see); !errors.Is(err, errPasses) || len(seen) != 2 {
		t.Errorf("list that failed in the middle: %v, %v", seen, err)
	}
	stop := errors.New("stop")
	if err := st.List(t.Context(), "", func(storage.Info) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestMeter(t *testing.T) {
	ctx := t.Context()
	m := storage.NewMeter(mem.New())
	if err := m.Put(ctx, "a", make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	_ = m.Put(ctx, "a", make([]byte, 99)) // a conflict
	_ = m.Read(ctx, "a", 10, make([]byte, 20))
	_ = m.Read(ctx, "a", 90, make([]byte, 20)) // short
	_, _ = m.Get(ctx, "a", -1)
	_, _ = m.Stat(ctx, "b")
	_ = m.List(ctx, "", func(storage.Info) error { return nil })
	_, _ = m.Children(ctx, "")
	_ = m.Delete(ctx, "a")
	want := storage.Usage{
		Put:      storage.Use{Requests: 2, Errors: 1, Bytes: 100},
		Read:     storage.Use{Requests: 2, Errors: 1, Bytes: 20},
		Get:      storage.Use{Requests: 1, Bytes: 100},
		Stat:     storage.Use{Requests: 1, Errors: 1},
		List:     storage.Use{Requests: 1},
		Children: storage.Use{Requests: 1},
		Delete:   storage.Use{Requests: 1},
	}
	if got := m.Usage(); got != want {
		t.Errorf("usage %+v\nwant %+v", got, want)
	}
}

func TestRetryPatience(t *testing.T) {
	now := time.Unix(0, 0)
	policy := storage.Policy{
		Attempts: 1000, First: time.Second, Max: time.Second, Patience: time.Minute, Greeting: 10 * time.Second,
		Now:   func() time.Time { return now },
		Sleep: func(_ context.Context, d time.Duration) error { now = now.Add(time.Second); return nil },
	}
	inner := mem.New()
	st := storage.NewRetry(inner, policy)
	tries := func() int {
		before := inner.Counts()["put"]
		if err := st.Put(t.Context(), "a", nil); !errors.Is(err, errPasses) {
			t.Fatal(err)
		}
		return inner.Counts()["put"] - before
	}
	inner.SetHook(func(string, string) mem.Fault { return mem.Fault{Before: errPasses} })
	if n := tries(); n != 11 {
		t.Errorf("before anything succeeded: %d tries in ten seconds", n)
	}
	inner.SetHook(nil)
	if _, err := st.Stat(t.Context(), "absent"); !errors.Is(err, storage.ErrNotExist) {
		t.Fatal(err) // an answer all the same
	}
	inner.SetHook(func(string, string) mem.Fault { return mem.Fault{Before: errPasses} })
	if n := tries(); n != 61 {
		t.Errorf("afterwards: %d tries in a minute", n)
	}
	// Each operation may begin again, but not forget that others succeed meanwhile.
	if n := tries(); n != 61 {
		t.Errorf("the next: %d tries", n)
	}
	if m, ok := storage.As[*mem.Store](storage.NewMeter(st)); !ok || m != inner {
		t.Error("As does not find the storage below its wrappers")
	}
	if _, ok := storage.As[interface{ Nothing() }](st); ok {
		t.Error("As finds what is not there")
	}
}
