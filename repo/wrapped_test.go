package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/wrap"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// takenOff is the option of a stream that lost its wrapping on the way in.
func takenOff(as manifest.Wrapping, tail uint64) WriteOptions {
	return WriteOptions{Wrapping: func() (manifest.Wrapping, uint64) { return as, tail }}
}

func inflated(t *testing.T, as manifest.Wrapping, stream []byte) ([]byte, uint64, error) {
	t.Helper()
	r := wrap.NewReader(map[manifest.Wrapping]string{manifest.Gzip: "x.gz", manifest.Zstd: "x.zst"}[as], bytes.NewReader(stream))
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, err
	}
	got, tail := r.Wrapping()
	if got != as {
		t.Errorf("wrapping %d, want %d", got, as)
	}
	return content, tail, nil
}

// TestWrapped: what was taken off a stream is put on again, unless its content is
// asked for.
func TestWrapped(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: testLimits})
	for _, as := range []manifest.Wrapping{manifest.Gzip, manifest.Zstd} {
		for _, size := range []int{0, 10, 100 << 10, 1 << 20} {
			for _, tail := range []int{0, 10, size} {
				if tail > size {
					continue
				}
				data := bytes.Repeat([]byte{0}, size)
				copy(data, randomText(1, size-tail))
				name := backupName("20261121000000", fmt.Sprint(as, "-", size, "-", tail))
				put(t, r, name, data, takenOff(as, uint64(tail)))
				sizes := map[bool]int{}
				for _, compress := range []bool{false, true} {
					var out bytes.Buffer
					if err := r.Restore(ctx, name, &out, RestoreOptions{Compress: compress}); err != nil {
						t.Fatal(err)
					}
					sizes[compress] = out.Len()
					content, behind, err := inflated(t, as, out.Bytes())
					if err != nil || !bytes.Equal(content, data) || behind != uint64(tail) {
						t.Errorf("%s: %d bytes of %d, tail %d of %d, %v", name, len(content), size, behind, tail, err)
					}
				}
				if size-tail > 1000 && sizes[true] >= sizes[false]*9/10 {
					t.Errorf("%s: %d bytes compressed, %d not", name, sizes[true], sizes[false])
				}
				for want, o := range map[string]RestoreOptions{
					string(data):          {Unwrapped: true},
					string(data[size/2:]): {Ranges: []Range{{uint64(size / 2), uint64(size)}}},
				} {
					var out bytes.Buffer
					if err := r.Restore(ctx, name, &out, o); err != nil || out.String() != want {
						t.Errorf("%s: %+v: %d bytes, %v", name, o, out.Len(), err)
					}
				}
			}
		}
	}
}

// TestWrappedIsCompared: another wrapping or tail is another stream.
func TestWrappedIsCompared(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: testLimits})
	name, data := backupName("20261121000000", "a"), randomText(1, 100<<10)
	put(t, r, name, data, takenOff(manifest.Gzip, 5))
	if rep := put(t, r, name, data, takenOff(manifest.Gzip, 5)); !rep.AlreadyStored {
		t.Error("stored twice")
	}
	for _, o := range []WriteOptions{{}, takenOff(manifest.Zstd, 5), takenOff(manifest.Gzip, 0), takenOff(manifest.Gzip, 6)} {
		_, err := r.Write(ctx, name, bytes.NewReader(data), o)
		if conflict := (*ConflictError)(nil); !errors.As(err, &conflict) {
			t.Errorf("%v", err)
		}
	}
	// A tail of a stream that was in nothing, or longer than the stream, is a mistake.
	for _, o := range []WriteOptions{takenOff(manifest.Plain, 1), takenOff(manifest.Gzip, 200<<10)} {
		if _, err := r.Write(ctx, backupName("20261121000000", "b"), bytes.NewReader(data), o); !errors.Is(err, manifest.ErrCorrupt) {
			t.Errorf("%v", err)
		}
	}
}

// TestWrappedDamage: a stream that cannot be restored whole has no valid end.
func TestWrappedDamage(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
	for _, as := range []manifest.Wrapping{manifest.Gzip, manifest.Zstd} {
		name := backupName("20261121000000", string(rune('a'+as)))
		data := randomText(uint64(as), 1<<20)
		put(t, r, name, data, takenOff(as, 0))
		m, err := r.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Table.Packs {
			key := packKey(m.Table.Packs[i].ID)
			good, err := st.Get(ctx, key, -1)
			if err != nil {
				t.Fatal(err)
			}
			st.Corrupt(key, func(b []byte) []byte { return b[:len(b)/2] })
			var out bytes.Buffer
			if err := r.Restore(ctx, name, &out, RestoreOptions{}); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
			st.Corrupt(key, func([]byte) []byte { return good })
			if out.Len() == 0 {
				continue // no stream at all; nothing was verified
			}
			if _, _, err := inflated(t, as, out.Bytes()); err == nil {
				t.Errorf("%s: %d bytes pass for a whole stream", name, out.Len())
			}
		}
	}
}

// TestWrappedReaders: the Go readers of gpbackup_helper understand what comes out.
func TestWrappedReaders(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{}, Options{Limits: testLimits})
	data := randomText(1, 300<<10)
	for as, reader := range map[manifest.Wrapping]func(io.Reader) (io.Reader, error){
		manifest.Gzip: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		manifest.Zstd: func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		name := backupName("20261121000000", string(rune('a'+as)))
		put(t, r, name, data, takenOff(as, 0))
		in, err := reader(bytes.NewReader(restored(t, r, name)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
		}
	}
}
