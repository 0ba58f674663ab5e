package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/mem"
)

var ctx = context.Background()

// failer is what *testing.T and *rapid.T share.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func backupName(ts, item string) Name { return Name{Backup, "default", ts, item} }

func put(t failer, r *Repo, name Name, data []byte, o WriteOptions) WriteReport {
	t.Helper()
	rep, err := r.Write(ctx, name, bytes.NewReader(data), o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestRoundTripProperty stores edited versions of a stream under random chunk
// parameters and layouts: each must come back, and check must be clean.
func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := testLimits
		limits.DirectRows = rapid.SampledFrom([]int{2, 16, 1024}).Draw(t, "direct")
		limits.LeafMean = rapid.SampledFrom([]int{4, 8, 64}).Draw(t, "leaf")
		limits.CheckpointBytes = rapid.SampledFrom([]int64{100 << 10, 1 << 30}).Draw(t, "checkpoint")
		st := mem.New()
		size := rapid.IntRange(MinChunkSize, 4*MinChunkSize).Draw(t, "chunk")
		if _, err := Init(ctx, st, InitOptions{ChunkSize: size, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
		r, err := Open(ctx, st, "write", Options{Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		data := randomText(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 2<<20).Draw(t, "length"))
		var previous []Name
		for day := range 3 {
			name := backupName(fmt.Sprintf("2026112%d000000", day), "table")
			if _, err := r.Write(ctx, name, bytes.NewReader(data), WriteOptions{Previous: previous}); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := r.Restore(ctx, name, &out, RestoreOptions{}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), data) {
				t.Fatalf("day %d: restored stream differs", day)
			}
			previous = []Name{name}
			for range rapid.IntRange(0, 5).Draw(t, "edits") {
				at := rapid.IntRange(0, len(data)).Draw(t, "at")
				cut := min(len(data), at+rapid.IntRange(0, 100000).Draw(t, "cut"))
				insert := randomText(rapid.Uint64().Draw(t, "text"), rapid.IntRange(0, 1000).Draw(t, "insert"))
				data = slices.Concat(data[:at], insert, data[cut:])
			}
		}
		report, err := r.Check(ctx, CheckOptions{Level: CheckData})
		if err != nil || len(report.Damage) != 0 {
			t.Fatalf("check: %v, %+v", err, report)
		}
	})
}

// TestPredictionGivesTheSameManifest: whether cuts are predicted from a previous
// backup or computed, the list of chunks is the same.
func TestPredictionGivesTheSameManifest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := randomText(rapid.Uint64().Draw(t, "seed"), 1<<20)
		next := slices.Clone(base)
		for range rapid.IntRange(0, 4).Draw(t, "edits") {
			at := rapid.IntRange(0, len(next)-1).Draw(t, "at")
			next[at] ^= 1
			if rapid.Bool().Draw(t, "shorten") {
				next = next[:max(inlineTrial+1, len(next)-rapid.IntRange(0, 100000).Draw(t, "by"))]
			}
		}
		var ids [2]string
		for i, with := range []bool{true, false} {
			st := mem.New()
			// The same secrets in both, or names and cuts would differ.
			r := fixedRepo(t, st)
			var o WriteOptions
			put(t, r, backupName("20261121000000", "t"), base, o)
			if with {
				o.Previous = []Name{backupName("20261121000000", "t")}
			}
			put(t, r, backupName("20261122000000", "t"), next, o)
			m, err := r.Stream(ctx, backupName("20261122000000", "t"))
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = m.Identity.String()
		}
		if ids[0] != ids[1] {
			t.Fatal("predicted cuts differ from computed ones")
		}
	})
}

// fixedRepo opens a repository in st whose secrets are always the same.
func fixedRepo(t *rapid.T, st *mem.Store) *Repo {
	ring, err := seal.NewRing(&[32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(ctx, st, InitOptions{ChunkSize: MinChunkSize, Now: time.Now(), ring: ring}); err != nil {
		t.Fatal(err)
	}
	r, err := Open(ctx, st, "write", Options{Limits: testLimits})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestUnchangedStreamAddsAlmostNothing(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{Password: "x"}, Options{Limits: testLimits})
	data := randomText(1, 4<<20)
	first := put(t, r, backupName("20261121000000", "t"), data, WriteOptions{})
	second := put(t, r, backupName("20261122000000", "t"), data, WriteOptions{Previous: []Name{backupName("20261121000000", "t")}})
	if second.Stats.NewChunks != 0 || second.Stats.NewStored != 0 {
		t.Errorf("an unchanged stream stored %+v", second.Stats)
	}
	m, err := r.Stream(ctx, backupName("20261122000000", "t"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Leaves) == 0 {
		t.Error("a long list has no leaf lists")
	}
	if second.ManifestBytes > first.ManifestBytes+512 { // padding goes in steps
		t.Errorf("manifest grew from %d to %d bytes", first.ManifestBytes, second.ManifestBytes)
	}
	// Without the previous manifest, the index must find the same.
	third := put(t, r, backupName("20261123000000", "t"), data, WriteOptions{})
	if third.Stats.NewChunks != 0 {
		t.Errorf("through the index alone: %+v", third.Stats)
	}
}

func TestEqualChunksInOneStreamAreStoredOnce(t *testing.T) {
	st := mem.New()
	limits := testLimits
	limits.DirectRows = 1024 // Rabin cuts zeros at the minimum
	r := newTestRepo(t, st, Secret{}, Options{Limits: limits})
	block := make([]byte, 3<<20) // every chunk but the last is the same
	rep := put(t, r, backupName("20261121000000", "z"), block, WriteOptions{})
	if rep.Stats.NewChunks > 2 {
		t.Errorf("%d chunks of zeros were stored", rep.Stats.NewChunks)
	}
	if !bytes.Equal(restored(t, r, backupName("20261121000000", "z")), block) {
		t.Error("restored zeros differ")
	}
	for _, key := range st.Keys() {
		if objectKind(key) == "pack" {
			t.Errorf("a stream of a few bytes' payload made %s", key)
		}
	}
}

func TestSameNameTwice(t *testing.T) {
	for _, size := range []int{100, 2 << 20} {
		r := newTestRepo(t, mem.New(), Secret{Password: "x"}, Options{Limits: testLimits})
		name := backupName("20261121000000", "t")
		data := randomText(1, size)
		put(t, r, name, data, WriteOptions{Origin: manifest.Origin{Host: "one"}})
		if rep := put(t, r, name, data, WriteOptions{}); !rep.AlreadyStored {
			t.Error("the same content again is not reported as stored already")
		}
		other := slices.Clone(data)
		other[size/2] ^= 1
		_, err := r.Write(ctx, name, bytes.NewReader(other), WriteOptions{Origin: manifest.Origin{Host: "two"}})
		var conflict *ConflictError
		if !errors.As(err, &conflict) || conflict.Stored.Host != "one" || conflict.Incoming.Host != "two" {
			t.Errorf("other content: %v", err)
		}
		if !bytes.Equal(restored(t, r, name), data) {
			t.Error("the first writer's content is gone")
		}
		if err := r.Delete(ctx, name); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write(ctx, name, bytes.NewReader(other), WriteOptions{}); !errors.Is(err, ErrDeleted) || errors.Is(err, ErrConflict) {
			t.Errorf("other content after the deletion: %v", err)
		}
	}
}

func TestDeleteAndUndelete(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: testLimits})
	one, next := backupName("20261121000000", "t"), backupName("20261121000001", "t")
	data := randomText(1, 1<<20)
	put(t, r, one, data, WriteOptions{})
	put(t, r, next, data, WriteOptions{})
	for range 2 { // again is a success
		if err := r.Delete(ctx, one); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Restore(ctx, one, io.Discard, RestoreOptions{}); !errors.Is(err, ErrDeleted) {
		t.Errorf("restore of a deleted backup: %v", err)
	}
	for _, size := range []int{10, 1 << 20} {
		_, err := r.Write(ctx, backupName(one.Group, fmt.Sprint(size)), bytes.NewReader(randomText(9, size)), WriteOptions{})
		if !errors.Is(err, ErrDeleted) {
			t.Errorf("storing %d bytes into a deleted backup: %v", size, err)
		}
	}
	restored(t, r, next)
	if err := r.Undelete(ctx, one); err != nil {
		t.Fatal(err)
	}
	restored(t, r, one)
	if err := r.Undelete(ctx, one); !errors.Is(err, ErrNotDeleted) {
		t.Errorf("undelete of what is not deleted: %v", err)
	}
}

func TestRestoreRanges(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{Password: "x"}, Options{Limits: testLimits})
	data := randomText(1, 6<<20)
	name := backupName("20261121000000", "t")
	put(t, r, name, data, WriteOptions{})
	whole := st.Counts()["read"]
	restored(t, r, name)
	whole = st.Counts()["read"] - whole
	rapid.Check(t, func(t *rapid.T) {
		var ranges []Range
		var want []byte
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			a := rapid.IntRange(0, len(data)).Draw(t, "a")
			b := min(len(data), a+rapid.SampledFrom([]int{0, 1, 100, 70000}).Draw(t, "len"))
			ranges = append(ranges, Range{uint64(a), uint64(b)})
			want = append(want, data[a:b]...)
		}
		var out bytes.Buffer
		if err := r.Restore(ctx, name, &out, RestoreOptions{Ranges: ranges}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("ranges %v: got %d bytes, want %d", ranges, out.Len(), len(want))
		}
	})
	before := st.Counts()["read"]
	if err := r.Restore(ctx, name, io.Discard, RestoreOptions{Ranges: []Range{{1000, 2000}}}); err != nil {
		t.Fatal(err)
	}
	if n := st.Counts()["read"] - before; n >= whole/4 {
		t.Errorf("a range of 1000 bytes took %d reads; the whole stream %d", n, whole)
	}
	for _, bad := range []Range{{5, 4}, {0, uint64(len(data)) + 1}} {
		var out bytes.Buffer
		if err := r.Restore(ctx, name, &out, RestoreOptions{Ranges: []Range{{0, 10}, bad}}); !errors.Is(err, ErrUsage) || out.Len() > 0 {
			t.Errorf("range %v: %v, %d bytes went out", bad, err, out.Len())
		}
	}
}

func TestBrokenStreamIsNotCommitted(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	cause := errors.New("pipe broke")
	for _, n := range []int{0, 1000, 3 << 20} {
		src := io.MultiReader(bytes.NewReader(randomText(2, n)), errorReader{cause})
		_, err := r.Write(ctx, backupName("20261121000000", "t"), src, WriteOptions{})
		if !errors.Is(err, cause) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	refused := errors.New("refused")
	for _, n := range []int{10, 3 << 20} {
		_, err := r.Write(ctx, backupName("20261121000000", "t"), bytes.NewReader(randomText(2, n)),
			WriteOptions{BeforePublish: func() error { return refused }})
		if !errors.Is(err, refused) {
			t.Errorf("%d bytes refused: %v", n, err)
		}
	}
	for _, key := range st.Keys() {
		if objectKind(key) == "manifest" {
			t.Errorf("%s was committed", key)
		}
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }
