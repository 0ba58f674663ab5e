package wrap

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

var writers = map[string]func(manifest.Wrapping, uint64, uint64, io.Writer) io.WriteCloser{
	"stored": NewWriter, "compressed": NewCompressor,
}

// decompress runs the program that reads such streams.
func decompress(t *testing.T, as manifest.Wrapping, stream []byte) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(format(as), "-d", "-c")
	cmd.Stdin = bytes.NewReader(stream)
	return cmd.Output()
}

// TestWriterInterop: the programs that gprestore starts, and the Go readers that its
// helper has, find the content in what a Writer makes.
func TestWriterInterop(t *testing.T) {
	readers := map[manifest.Wrapping]func(io.Reader) (io.Reader, error){
		manifest.Gzip: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		manifest.Zstd: func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	}
	for name := range writers {
		for as, reader := range readers {
			for _, content := range [][]byte{nil, {'x'}, rows(1, 65535), rows(1, 65536), rows(2, 3<<20), noise(2, 128<<10), make([]byte, 1<<20)} {
				out := rewrap(t, unwrapped{content: content, as: as}, name == "compressed", whole)
				got, err := decompress(t, as, out)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s, %s -d: %d bytes of %d, %v", name, format(as), len(got), len(content), err)
				}
				in, err := reader(bytes.NewReader(out))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s, %s reader: %d bytes of %d, %v", name, format(as), len(got), len(content), err)
				}
			}
		}
	}
}

// TestReaderInterop: what the programs that gpbackup starts make is understood.
func TestReaderInterop(t *testing.T) {
	for _, content := range [][]byte{nil, rows(1, 1<<20), noise(2, 300<<10)} {
		for _, x := range []struct {
			as   manifest.Wrapping
			name string
			args []string
		}{
			{manifest.Gzip, "x.gz", []string{"gzip", "-c", "-1"}},
			{manifest.Gzip, "x.gz", []string{"gzip", "-c", "-9"}},
			{manifest.Zstd, "x.zst", []string{"zstd", "--compress", "-1", "-c"}},
			{manifest.Zstd, "x.zst", []string{"zstd", "--compress", "-19", "-c"}},
			{manifest.Zstd, "x.zst", []string{"zstd", "--long=27", "--no-check", "-c"}},
		} {
			cmd := exec.Command(x.args[0], x.args[1:]...)
			cmd.Stdin = bytes.NewReader(content)
			stream, err := cmd.Output()
			if err != nil {
				t.Fatal(x.args, err)
			}
			if u, err := unwrap(t, x.name, bytes.NewReader(stream)); err != nil || u.as != x.as || u.tail != 0 || !bytes.Equal(u.content, content) {
				t.Errorf("%v: %d bytes of %d, wrapping %d, %v", x.args, len(u.content), len(content), u.as, err)
			}
		}
	}
}

// TestWriterPadding: gzip -d passes over zeroes behind a member, as it did before.
func TestWriterPadding(t *testing.T) {
	text := rows(1, 100<<10)
	u := unwrapped{join(text, make([]byte, 512)), manifest.Gzip, 512}
	out := rewrap(t, u, false, whole)
	if !bytes.HasSuffix(out, make([]byte, 512)) {
		t.Error("the padding is not at the end")
	}
	if got, err := decompress(t, manifest.Gzip, out); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
}

// TestWriterGivenUp: without a Close there is no end, wherever the stream broke off,
// and no program takes it for whole.
func TestWriterGivenUp(t *testing.T) {
	text := rows(1, 1<<20)
	for name, around := range writers {
		for _, as := range []manifest.Wrapping{manifest.Gzip, manifest.Zstd} {
			for _, n := range []int{0, 1, 600 << 10, len(text)} {
				var out bytes.Buffer
				w := around(as, uint64(len(text)), 10, &out)
				if _, err := w.Write(text[:n]); err != nil {
					t.Fatal(err)
				}
				if _, err := decompress(t, as, out.Bytes()); err == nil && out.Len() > 0 {
					t.Errorf("%s, %s -d takes %d of %d bytes for whole", name, format(as), n, len(text))
				}
				if n < len(text) {
					if err := w.Close(); err == nil {
						t.Errorf("%s: Close after %d of %d bytes", name, n, len(text))
					}
				}
			}
		}
	}
}

func TestWriterLength(t *testing.T) {
	for name, around := range writers {
		for _, as := range []manifest.Wrapping{manifest.Gzip, manifest.Zstd} {
			w := around(as, 10, 3, io.Discard)
			if n, err := w.Write(rows(1, 11)); n != 0 || err == nil {
				t.Errorf("%s: %d bytes too many taken, %v", name, n, err)
			}
			if n, err := w.Write(rows(1, 10)); n != 10 || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
			if err := w.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestWriterPlain(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(manifest.Plain, 3, 0, &out)
	if _, err := w.Write([]byte("abc")); err != nil || w.Close() != nil || out.String() != "abc" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

type limited struct{ left int }

var errFull = errors.New("full")

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

// TestWriterPassesErrors: a reader that went away is seen, wherever it did.
func TestWriterPassesErrors(t *testing.T) {
	content := noise(1, 1<<20)
	for name, around := range writers {
		for _, as := range []manifest.Wrapping{manifest.Gzip, manifest.Zstd} {
			for at := 0; at < len(content); at += 100_000 {
				w := around(as, uint64(len(content)), 1000, &limited{at})
				_, err := w.Write(content)
				if err == nil {
					err = w.Close()
				}
				if !errors.Is(err, errFull) {
					t.Errorf("%s, %d after %d bytes: %v", name, as, at, err)
				}
			}
		}
	}
}
