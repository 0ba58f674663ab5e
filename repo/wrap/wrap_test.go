package wrap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// rows is n bytes of something like a table.
func rows(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,row %x,\"quoted \"\" text\",\\N,%d\n", i, rng.Uint64(), rng.Uint32())
	}
	return b.Bytes()[:n]
}

// noise is n bytes that cannot be compressed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	return gzippedAt(t, data, gzip.DefaultCompression)
}

func gzippedAt(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte, o ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, o...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func asIs(r io.Reader) io.Reader { return r }

// unwrapped is what came of a stream.
type unwrapped struct {
	content []byte // and the tail
	as      manifest.Wrapping
	tail    uint64
}

// unwrap reads a stream through a Reader.
func unwrap(t testing.TB, name string, src io.Reader) (unwrapped, error) {
	t.Helper()
	r := NewReader(name, src)
	defer r.Close()
	var u unwrapped
	var err error
	u.content, err = io.ReadAll(r)
	if err != nil {
		checkError(t, err)
		return u, err
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("after the end: %d, %v", n, err)
	}
	u.as, u.tail = r.Wrapping()
	if u.tail > uint64(len(u.content)) || u.as == manifest.Plain && u.tail != 0 {
		t.Fatalf("%d bytes, wrapping %d, tail %d", len(u.content), u.as, u.tail)
	}
	return u, nil
}

// checkError: no error may pass for an end.
func checkError(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error %v would pass for an end", err)
	}
}

// rewrap writes what was unwrapped through a writer, in pieces.
func rewrap(t testing.TB, u unwrapped, compress bool, pieces func(left int) int) []byte {
	t.Helper()
	var out bytes.Buffer
	around := NewWriter
	if compress {
		around = NewCompressor
	}
	w := around(u.as, uint64(len(u.content)), u.tail, &out)
	for rest := u.content; len(rest) > 0; {
		n := min(max(pieces(len(rest)), 1), len(rest))
		if k, err := w.Write(rest[:n]); k != n || err != nil {
			t.Fatalf("write: %d of %d, %v", k, n, err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func whole(left int) int { return left }
