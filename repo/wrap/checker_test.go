package wrap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// through passes a stream through a Checker and checks that it comes out unchanged
// unless it is refused.
func through(t testing.TB, name string, stream []byte, reader func(io.Reader) io.Reader) error {
	t.Helper()
	c := NewChecker(name, reader(bytes.NewReader(stream)))
	defer c.Close()
	out, err := io.ReadAll(c)
	if n, again := c.Read(make([]byte, 1)); n != 0 || err != nil && !errors.Is(again, err) || err == nil && !errors.Is(again, io.EOF) {
		t.Fatalf("%s: read error %v, then %d bytes, %v", name, err, n, again)
	}
	if as, tail := c.Wrapping(); as != manifest.Plain || tail != 0 {
		t.Fatalf("%s: wrapping %d, tail %d", name, as, tail)
	}
	if err == nil && !bytes.Equal(out, stream) {
		t.Fatalf("%s: %d bytes became %d", name, len(stream), len(out))
	}
	checkError(t, err)
	return err
}

func TestCheckerWhole(t *testing.T) {
	noise := noise(1, 700<<10)
	text := rows(1, 3<<20)
	skippable := []byte{0x5c, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	for _, x := range []struct {
		name   string
		stream []byte
	}{
		{"plain", nil},
		{"plain", gzipped(t, text)[:1000]},
		{"a.gz", gzipped(t, nil)},
		{"a.gz", gzipped(t, text)},
		{"a.gz", gzipped(t, noise)},
		{"a.gz", join(gzipped(t, text), gzipped(t, nil), gzipped(t, noise))},
		{"a.gz", join(gzipped(t, text), make([]byte, 512))}, // padded, as on a tape
		{"a.gz", join(gzipped(t, text), []byte("that is no member"), noise)},
		{"a.gz", []byte("0")},
		{"a.gz", text},
		{"a.zst", nil},
		{"a.zst", zstded(t, nil, zstd.WithZeroFrames(true))},
		{"a.zst", zstded(t, text)},
		{"a.zst", zstded(t, text, zstd.WithEncoderCRC(false))},
		{"a.zst", zstded(t, noise)},
		{"a.zst", zstded(t, []byte("short"), zstd.WithSingleSegment(true))},
		{"a.zst", join(skippable, zstded(t, text), skippable, zstded(t, noise))},
		{"a.zst", skippable},
		{"a.zst", join(zstded(t, text), []byte("no frame"), noise)},
		{"a.zst", join(zstded(t, text), []byte{0})},
		{"a.zst", join(zstded(t, text), []byte{0x28, 0xb4})},
		{"a.zst", text},
		// The outline of a frame whose window nobody has the memory for.
		{"a.zst", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 5<<3 | 1, 0, 0, 1, 2, 3, 4, 5}},
		// The same of one that needs a dictionary.
		{"a.zst", []byte{0x28, 0xb5, 0x2f, 0xfd, 1, 0x38, 9, 5<<3 | 1, 0, 0, 1, 2, 3, 4, 5}},
	} {
		for _, reader := range []func(io.Reader) io.Reader{asIs, iotest.HalfReader, iotest.DataErrReader} {
			if err := through(t, x.name, x.stream, reader); err != nil {
				t.Errorf("%s of %d bytes, %.20q…: %v", x.name, len(x.stream), x.stream, err)
			}
		}
	}
}

// TestCheckerCut cuts streams at every place: none but the ends of members may pass.
func TestCheckerCut(t *testing.T) {
	text := rows(2, 3000)
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	for _, x := range []struct {
		name  string
		parts [][]byte
		empty bool // nothing at all is fine
	}{
		{"a.gz", [][]byte{gzipped(t, text), gzipped(t, nil), gzipped(t, text[:10])}, false},
		{"a.zst", [][]byte{zstded(t, text), skippable, zstded(t, text, zstd.WithEncoderCRC(false)), zstded(t, text[:1], zstd.WithSingleSegment(true))}, true},
	} {
		whole := map[int]bool{0: x.empty}
		stream := join(x.parts...)
		n := 0
		for _, p := range x.parts {
			n += len(p)
			whole[n] = true
		}
		for cut := range len(stream) + 1 {
			err := through(t, x.name, stream[:cut], asIs)
			if (err == nil) != whole[cut] {
				t.Errorf("%s cut at %d of %d: %v", x.name, cut, len(stream), err)
			}
			if err != nil && !errors.Is(err, ErrCutShort) {
				t.Errorf("%s cut at %d of %d: %v is not about a cut", x.name, cut, len(stream), err)
			}
		}
	}
}

// TestCheckerDamaged flips bits: what carries a checksum cannot pass.
func TestCheckerDamaged(t *testing.T) {
	text := rows(3, 100<<10)
	for name, stream := range map[string][]byte{"a.gz": gzipped(t, text), "a.zst": zstded(t, text)} {
		for _, at := range []int{len(stream) / 2, len(stream) - 2} {
			bad := slices.Clone(stream)
			bad[at] ^= 0x10
			if err := through(t, name, bad, asIs); err == nil {
				t.Errorf("%s with a wrong bit at %d of %d passed", name, at, len(bad))
			}
		}
	}
}

func TestCheckerPassesErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, name := range []string{"a", "a.gz", "a.zst"} {
		c := NewChecker(name, io.MultiReader(bytes.NewReader(gzipped(t, []byte("x"))), iotest.ErrReader(broken)))
		if _, err := io.ReadAll(c); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		_ = c.Close()
	}
}

// FuzzZstdFrames compares the outline with the decoder: what one takes for whole,
// so does the other.
func FuzzZstdFrames(f *testing.F) {
	f.Add(zstded(f, []byte("hello hello hello")))
	f.Add(join(zstded(f, rows(4, 2000)), []byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9}))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		frames := &zstdFrames{in: bufio.NewReader(bytes.NewReader(stream))}
		passed, err := io.ReadAll(frames)
		if err != nil || !bytes.HasPrefix(stream, passed) {
			t.Fatalf("passed on %x, error %v", passed, err)
		}
		if strings.Contains(saidBy(frames), "EOF") {
			t.Fatal("an error that would pass for an end")
		}
		// Where the outline ends too early, the decoder must not be content. (The
		// other way round says nothing: blocks may be wrong inside.)
		z, err := zstd.NewReader(bytes.NewReader(stream), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		_, err = io.Copy(io.Discard, z)
		// Three bytes or fewer may be the beginning of a frame, or nothing.
		if frames.err != nil && err == nil && len(stream)-len(passed) >= 4 {
			t.Fatalf("the decoder is content with %x, the outline says %v", stream, frames.err)
		}
		if err == nil && len(passed) != len(stream) {
			t.Fatalf("the decoder is content with %x, the outline ends after %d bytes", stream, len(passed))
		}
	})
}

func saidBy(z *zstdFrames) string {
	if z.err == nil {
		return ""
	}
	return z.err.Error()
}
