package wal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

// TestRoundTrip: every kind of file and every size of segments comes back as it was.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, encrypted := range []bool{false, true} {
		w := newWorld(t, encrypted)
		files := map[string][]byte{
			"00000002.history":                         []byte("1\t0/5000000\tno recovery target specified\n"),
			"00000003.history":                         {},
			"000000010000000000000002.00000028.backup": []byte("START WAL LOCATION: 0/2000028\n"),
		}
		for i, size := range []uint32{1 << 20, 16 << 20, 64 << 20} {
			name := Name{Timeline: uint32(i + 1), Log: 5, Seg: 3}
			files[name.String()] = segment(testSystem, name, size, 1)
			name.Kind = Partial
			files[name.String()] = segment(testSystem, name, size, 2)
		}
		for file, data := range files {
			w.must(w.put(testSystem, file, data))
			name := mustName(t, file)
			info, got, err := w.a.Get(t.Context(), testSystem, name)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s: %d bytes, %v", file, len(got), err)
			}
			meta, err := w.a.Stat(t.Context(), testSystem, name)
			if err != nil || !meta.Same(info) || meta.Origin.Path != "pg_wal/"+file {
				t.Errorf("%s: %+v, %v", file, meta, err)
			}
		}
		_, _, err := w.a.Get(t.Context(), testSystem, mustName(t, "0000000100000005000000AA"))
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("absent: %v", err)
		}
		_, _, err = w.a.Get(t.Context(), testSystem+1, mustName(t, "00000002.history"))
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("another epoch: %v", err)
		}
	}
}

// TestFirstWriterWins: the same bytes again are a success, others a conflict, and what
// is stored stays.
func TestFirstWriterWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	name := mustName(t, "000000010000000000000002")
	one, two := segment(testSystem, name, 1<<20, 1), segment(testSystem, name, 1<<20, 2)
	w.must(w.put(testSystem, name.String(), one))
	w.must(w.put(testSystem, name.String(), one))
	err := w.put(testSystem, name.String(), two)
	var conflict *ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, repo.ErrConflict) {
		t.Fatalf("other bytes: %v", err)
	}
	if conflict.Stored.Hash == conflict.Incoming.Hash || conflict.Stored.Origin.Path == "" {
		t.Errorf("%+v", conflict)
	}
	_, got, err := w.a.Get(t.Context(), testSystem, name)
	if err != nil || !bytes.Equal(got, one) {
		t.Fatalf("what was stored first is gone: %v", err)
	}
	// What is there is damaged: to call that stored would lose the file.
	w.st.Corrupt(w.a.key(testSystem, name), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if err := w.put(testSystem, name.String(), one); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
}

// TestDamage: no change of any byte, and no object under another name, gets through.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprint(encrypted), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, encrypted)
			name := mustName(t, "000000010000000000000002")
			w.must(w.put(testSystem, name.String(), segment(testSystem, name, 1<<20, 1)))
			key := w.a.key(testSystem, name)
			whole, err := w.st.Get(t.Context(), key, -1)
			w.must(err)
			try := func(what string, edit func([]byte) []byte) {
				w.st.Corrupt(key, func([]byte) []byte { return edit(bytes.Clone(whole)) })
				if _, _, err := w.a.Get(t.Context(), testSystem, name); !errors.Is(err, repo.ErrDamaged) && !errors.Is(err, repo.ErrNewer) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for at := 0; at < len(whole); at += 1 + at/50 {
				if at >= 11 && at < 16 && !encrypted {
					continue
				}
				try(fmt.Sprintf("byte %d", at), func(b []byte) []byte { b[at] ^= 0x40; return b })
			}
			for _, n := range []int{0, 47, 4095, 4096, len(whole) - 1} {
				try(fmt.Sprintf("cut to %d", n), func(b []byte) []byte { return b[:n] })
			}
			try("longer", func(b []byte) []byte { return append(b, 0) })

			other := mustName(t, "000000010000000000000003")
			w.must(w.put(testSystem, other.String(), segment(testSystem, other, 1<<20, 1)))
			moved, err := w.st.Get(t.Context(), w.a.key(testSystem, other), -1)
			w.must(err)
			try("another segment's", func([]byte) []byte { return moved })
		})
	}
}

// TestPieces: how a file is cut, at the borders.
func TestPieces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		length int64
		size   uint32
		n      int
	}{
		{0, 1 << 20, 0},
		{1, 1 << 20, 1},
		{1 << 20, 1 << 20, 1},
		{1<<20 + 1, 1 << 20, 2},
		{16 << 20, 1 << 20, 16},
		{256 << 20, 1 << 20, 256},
		{256<<20 + 1, 2 << 20, 129},
		{512 << 20, 2 << 20, 256},
		{512<<20 + 1, 4 << 20, 129},
		{1 << 30, 4 << 20, 256},
	} {
		if size, n := pieceSize(c.length); size != c.size || n != c.n {
			t.Errorf("%d bytes: %d pieces of %d, want %d of %d", c.length, n, size, c.n, c.size)
		}
	}
}
