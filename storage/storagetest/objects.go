package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/storage"
)

func testPutThenRead(t *testing.T, st storage.Storage) {
	data := content(1, 1000)
	put(t, st, "packs/ab/abcdef", data)
	put(t, st, "config", []byte("c"))
	wantObject(t, st, "packs/ab/abcdef", data)
	wantObject(t, st, "config", []byte("c"))
}

func testSizes(t *testing.T, st storage.Storage) {
	for i, size := range []int{0, 1, 1 << 10, 1<<20 - 1, 8 << 20} {
		key := fmt.Sprintf("sizes/%d", size)
		data := content(uint64(i), size)
		put(t, st, key, data)
		wantObject(t, st, key, data)
		put(t, st, key, data) // a retry
		if err := st.Put(t.Context(), key, content(99, size+1)); !errors.Is(err, storage.ErrExists) {
			t.Errorf("put other bytes over %d: %v, want ErrExists", size, err)
		}
	}
	put(t, st, "sizes/nil", nil)
	wantObject(t, st, "sizes/nil", []byte{})
}

func testWriteOnce(t *testing.T, st storage.Storage) {
	const key = "a/b"
	data := content(1, 5000)
	put(t, st, key, data)
	put(t, st, key, data) // the acknowledgement got lost
	lastByte := bytes.Clone(data)
	lastByte[len(lastByte)-1] ^= 1
	firstByte := bytes.Clone(data)
	firstByte[0] ^= 1
	for name, other := range map[string][]byte{
		"other first byte": firstByte,
		"other last byte":  lastByte,
		"shorter":          data[:len(data)-1],
		"longer":           append(bytes.Clone(data), 0),
		"empty":            {},
	} {
		if err := st.Put(t.Context(), key, other); !errors.Is(err, storage.ErrExists) {
			t.Errorf("put %s: %v, want ErrExists", name, err)
		}
	}
	wantObject(t, st, key, data)
}

func testRacingPuts(t *testing.T, st storage.Storage) {
	for round := range 8 {
		key := fmt.Sprintf("race/%d/deep/%d", round, round)
		errs := race(func(i int) error {
			return st.Put(t.Context(), key, content(uint64(i), 3000))
		})
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("both %d and %d stored %s", winner, i, key)
			case err == nil:
				winner = i
			case !errors.Is(err, storage.ErrExists):
				t.Fatalf("put %s: %v, want ErrExists", key, err)
			}
		}
		if winner < 0 {
			t.Fatalf("nobody stored %s", key)
		}
		wantObject(t, st, key, content(uint64(winner), 3000))
	}
}

func testRacingSamePuts(t *testing.T, st storage.Storage) {
	data := content(7, 3000)
	for i, err := range race(func(int) error { return st.Put(t.Context(), "same/key", data) }) {
		if err != nil {
			t.Errorf("put %d of the same bytes: %v", i, err)
		}
	}
	wantObject(t, st, "same/key", data)
}

// race runs f 32 times at once.
func race(f func(i int) error) []error {
	errs := make([]error, 32)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func testBuffers(t *testing.T, st storage.Storage) {
	data := content(1, 4096)
	want := bytes.Clone(data)
	put(t, st, "k", data)
	if !bytes.Equal(data, want) {
		t.Fatal("put changed its argument")
	}
	clear(data)
	wantObject(t, st, "k", want)

	got, err := st.Get(t.Context(), "k", -1)
	if err != nil {
		t.Fatal(err)
	}
	clear(got) // it is ours
	wantObject(t, st, "k", want)

	dst := make([]byte, 100)
	for _, offset := range []int64{0, 500, 3996} {
		if err := st.Read(t.Context(), "k", offset, dst); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(dst, want[offset:offset+100]) {
			t.Fatalf("read at %d into a buffer used before: wrong bytes", offset)
		}
		clear(dst)
	}
	wantObject(t, st, "k", want)
}

func testAbsent(t *testing.T, st storage.Storage) {
	put(t, st, "a/bc", []byte("x"))
	for _, key := range []string{"a/b", "a/bcd", "b", "a/x/y/z", "a/bc/d"} {
		wantAbsent(t, st, key)
	}
}

func testRanges(t *testing.T, st storage.Storage) {
	const size = 1000
	data := content(1, size)
	put(t, st, "r", data)
	put(t, st, "empty", nil)
	short := storage.ErrShort
	tests := []struct {
		key    string
		offset int64
		n      int
		from   int // where in data the bytes are
		err    error
	}{
		{"r", 0, size, 0, nil},
		{"r", 0, 1, 0, nil},
		{"r", 999, 1, 999, nil},
		{"r", 17, 400, 17, nil},
		{"r", -1, 1, 999, nil},
		{"r", -size, size, 0, nil},
		{"r", -100, 10, 900, nil}, // not to the end
		{"r", 0, 0, 0, nil},
		{"r", size, 0, 0, nil},
		{"r", -5, 0, 0, nil},
		{"empty", 0, 0, 0, nil},
		{"r", 0, size + 1, 0, short},
		{"r", 999, 2, 0, short},
		{"r", size, 1, 0, short},
		{"r", size + 1, 1, 0, short},
		{"r", 1 << 40, 1, 0, short},
		{"r", math.MaxInt64, 1, 0, short},
		{"r", -10, 11, 0, short},
		{"r", -size - 1, 1, 0, short}, // begins before the object, although the byte count would do
		{"r", -size - 1, size + 1, 0, short},
		{"r", math.MinInt64, 1, 0, short},
		{"empty", 0, 1, 0, short},
		{"empty", -1, 1, 0, short},
	}
	for _, test := range tests {
		dst := make([]byte, test.n)
		err := st.Read(t.Context(), test.key, test.offset, dst)
		if !errors.Is(err, test.err) || (err != nil) != (test.err != nil) {
			t.Errorf("read %d bytes of %s at %d: error %v, want %v", test.n, test.key, test.offset, err, test.err)
		} else if err == nil && !bytes.Equal(dst, data[test.from:test.from+test.n]) {
			t.Errorf("read %d bytes of %s at %d: wrong bytes", test.n, test.key, test.offset)
		}
	}
}

func testGetLimit(t *testing.T, st storage.Storage) {
	data := content(1, 1000)
	put(t, st, "g", data)
	put(t, st, "empty", nil)
	for _, limit := range []int64{-1, 1000, 1001, math.MaxInt64} {
		if got, err := st.Get(t.Context(), "g", limit); err != nil || !bytes.Equal(got, data) {
			t.Errorf("get with limit %d: %d bytes, %v", limit, len(got), err)
		}
	}
	for _, limit := range []int64{0, 1, 999} {
		// ErrTooLong, so that a retrying caller does not fetch it again and again.
		if _, err := st.Get(t.Context(), "g", limit); !errors.Is(err, storage.ErrTooLong) {
			t.Errorf("get 1000 bytes with limit %d: %v, want ErrTooLong", limit, err)
		}
	}
	if got, err := st.Get(t.Context(), "empty", 0); err != nil || len(got) != 0 {
		t.Errorf("get an empty object with limit 0: %d bytes, %v", len(got), err)
	}
	if _, err := st.Get(t.Context(), "absent", 0); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("get an absent object with limit 0: %v, want ErrNotExist", err)
	}
}

func testStat(t *testing.T, st storage.Storage) {
	put(t, st, "s/x", content(1, 12345))
	info, err := st.Stat(t.Context(), "s/x")
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != "s/x" || info.Size != 12345 {
		t.Errorf("stat: %+v", info)
	}
	// The storage's clock need not be ours, but it knows the century.
	if info.ModTime.Before(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("stat: modification time %v", info.ModTime)
	}
	put(t, st, "s/x", content(1, 12345))
	again, err := st.Stat(t.Context(), "s/x")
	if err != nil || !again.ModTime.Equal(info.ModTime) {
		t.Errorf("a repeated put changed the modification time from %v to %v (%v)", info.ModTime, again.ModTime, err)
	}
	var listed storage.Info
	if err := st.List(t.Context(), "s/", func(i storage.Info) error { listed = i; return nil }); err != nil {
		t.Fatal(err)
	}
	// To the second: listings of some storages are more precise than their stat.
	if listed.Key != info.Key || listed.Size != info.Size || listed.ModTime.Sub(info.ModTime).Abs() > time.Second {
		t.Errorf("list says %+v, stat %+v", listed, info)
	}
}

func testDelete(t *testing.T, st storage.Storage) {
	put(t, st, "d/x", []byte("one"))
	put(t, st, "d/xy", []byte("two"))
	for range 2 {
		if err := st.Delete(t.Context(), "d/x"); err != nil {
			t.Fatal(err)
		}
	}
	wantAbsent(t, st, "d/x")
	wantObject(t, st, "d/xy", []byte("two"))
	for _, key := range []string{"never", "never/was/here", "d/xy/z"} {
		if err := st.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s, which is absent: %v", key, err)
		}
	}
	put(t, st, "d/x", []byte("other bytes"))
	wantObject(t, st, "d/x", []byte("other bytes"))
	for i, err := range race(func(int) error { return st.Delete(t.Context(), "d/x") }) {
		if err != nil {
			t.Errorf("delete %d of one object: %v", i, err)
		}
	}
	wantAbsent(t, st, "d/x")
}

func testDirectoryIsNoObject(t *testing.T, st storage.Storage) {
	put(t, st, "a/b/c", []byte("x"))
	for _, key := range []string{"a", "a/b"} {
		wantAbsent(t, st, key)
		if err := st.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s, which is absent: %v", key, err)
		}
	}
	wantObject(t, st, "a/b/c", []byte("x"))
	if err := st.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, st, "a/b/c")
	wantAbsent(t, st, "a/b")
	if keys := list(t, st, ""); len(keys) != 0 {
		t.Errorf("list after the last object went: %v", keys)
	}
	// The directory may be there still, or not: new objects do not care.
	put(t, st, "a/b/d", []byte("y"))
	wantObject(t, st, "a/b/d", []byte("y"))
}

// testCancelBesidePut ends the context at some moment of many Puts: what failed
// with the context's error is either absent for good or, if the context ended
// after the object became visible, whole.
func testCancelBesidePut(t *testing.T, st storage.Storage) {
	var absent []string
	for i := range 40 {
		ctx, cancel := newCancel(t)
		data := content(uint64(i), 100<<10)
		key := fmt.Sprintf("cancel/%d", i)
		var g errgroup.Group
		g.Go(func() error { return st.Put(ctx, key, data) })
		g.Go(func() error { cancel(); return nil })
		err := g.Wait()
		if err != nil && !errors.Is(err, ctx.Err()) {
			t.Fatalf("put beside the end of its context: %v", err)
		}
		got, gerr := st.Get(t.Context(), key, -1)
		switch {
		case gerr == nil && !bytes.Equal(got, data):
			t.Fatalf("%s is visible in part", key)
		case gerr != nil && err == nil:
			t.Fatalf("%s was acknowledged: %v", key, gerr)
		case gerr != nil && !errors.Is(gerr, storage.ErrNotExist):
			t.Fatal(gerr)
		case gerr != nil:
			absent = append(absent, key)
		}
	}
	for _, key := range absent {
		wantAbsent(t, st, key)
	}
}
