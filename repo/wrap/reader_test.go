package wrap

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

var skippable = []byte{0x5c, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}

func TestReader(t *testing.T) {
	noise := noise(1, 700<<10)
	text := rows(1, 3<<20)
	dictionary := []byte{0x28, 0xb5, 0x2f, 0xfd, 1, 0x38, 9, 5<<3 | 1, 0, 0, 1, 2, 3, 4, 5}
	// The outline of a frame whose window nobody has the memory for.
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 5<<3 | 1, 0, 0, 1, 2, 3, 4, 5}
	for _, x := range []struct {
		name    string
		stream  []byte
		content []byte
		as      manifest.Wrapping
		tail    []byte
	}{
		{"plain", nil, nil, manifest.Plain, nil},
		{"plain", gzipped(t, text)[:1000], gzipped(t, text)[:1000], manifest.Plain, nil},
		{"a.gz", gzipped(t, nil), nil, manifest.Gzip, nil},
		{"a.gz", gzipped(t, text), text, manifest.Gzip, nil},
		{"a.gz", gzipped(t, noise), noise, manifest.Gzip, nil},
		{"a.gz", join(gzipped(t, text), gzipped(t, nil), gzipped(t, noise)), join(text, noise), manifest.Gzip, nil},
		{"a.gz", join(gzipped(t, text), make([]byte, 512)), text, manifest.Gzip, make([]byte, 512)}, // padded, as on a tape
		{"a.gz", join(gzipped(t, text), make([]byte, 512), gzipped(t, text)), text, manifest.Gzip, join(make([]byte, 512), gzipped(t, text))},
		{"a.gz", join(gzipped(t, nil), noise), nil, manifest.Gzip, noise},
		{"a.gz", join(gzipped(t, text), []byte{0x1f, 0x8b, 9}), text, manifest.Gzip, []byte{0x1f, 0x8b, 9}},
		{"a.gz", []byte("0"), []byte("0"), manifest.Plain, nil},
		{"a.gz", text, text, manifest.Plain, nil},
		{"a.gz", zstded(t, text), zstded(t, text), manifest.Plain, nil},
		{"a.zst", nil, nil, manifest.Plain, nil},
		{"a.zst", zstded(t, nil, zstd.WithZeroFrames(true)), nil, manifest.Zstd, nil},
		{"a.zst", zstded(t, text), text, manifest.Zstd, nil},
		{"a.zst", zstded(t, text, zstd.WithEncoderCRC(false)), text, manifest.Zstd, nil},
		{"a.zst", zstded(t, noise), noise, manifest.Zstd, nil},
		{"a.zst", zstded(t, []byte("short"), zstd.WithSingleSegment(true)), []byte("short"), manifest.Zstd, nil},
		{"a.zst", zstded(t, text, zstd.WithWindowSize(8<<20)), text, manifest.Zstd, nil},
		{"a.zst", join(skippable, zstded(t, text), skippable, zstded(t, noise)), join(text, noise), manifest.Zstd, nil},
		{"a.zst", skippable, nil, manifest.Zstd, nil},
		{"a.zst", join(zstded(t, text), []byte("no frame"), noise), text, manifest.Zstd, join([]byte("no frame"), noise)},
		{"a.zst", join(zstded(t, text), []byte{0x28, 0xb4}), text, manifest.Zstd, []byte{0x28, 0xb4}},
		{"a.zst", text, text, manifest.Plain, nil},
		{"a.zst", gzipped(t, text), gzipped(t, text), manifest.Plain, nil},
		{"a.zst", dictionary, dictionary, manifest.Plain, nil},
		{"a.zst", join(window, zstded(t, text)), join(window, zstded(t, text)), manifest.Plain, nil},
	} {
		for _, reader := range []func(io.Reader) io.Reader{asIs, iotest.HalfReader, iotest.DataErrReader} {
			u, err := unwrap(t, x.name, reader(bytes.NewReader(x.stream)))
			if err != nil || u.as != x.as || u.tail != uint64(len(x.tail)) || !bytes.Equal(u.content, join(x.content, x.tail)) {
				t.Errorf("%s of %d bytes, %.20q…: %d bytes, wrapping %d, tail %d, %v; want %d bytes, %d, %d",
					x.name, len(x.stream), x.stream, len(u.content), u.as, u.tail, err, len(x.content)+len(x.tail), x.as, len(x.tail))
			}
		}
	}
	// What cannot be decompressed must not come later either.
	for _, bad := range [][]byte{dictionary, window} {
		if _, err := unwrap(t, "a.zst", bytes.NewReader(join(zstded(t, text), bad))); !errors.Is(err, ErrBeyond) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// TestReaderCut cuts streams at every place: none but the ends of members may pass.
func TestReaderCut(t *testing.T) {
	text := rows(2, 3000)
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
			_, err := unwrap(t, x.name, bytes.NewReader(stream[:cut]))
			if (err == nil) != whole[cut] {
				t.Errorf("%s cut at %d of %d: %v", x.name, cut, len(stream), err)
			}
			var broken *BrokenError
			if err != nil && (!errors.Is(err, ErrCutShort) || !errors.As(err, &broken)) {
				t.Errorf("%s cut at %d of %d: %v is not about a cut", x.name, cut, len(stream), err)
			}
		}
	}
}

// TestReaderFlipped flips every bit of a stream: it is refused, or what comes out is
// the content all the same, or the stream as it is. A tail may come of it, where the
// bit says that there is no checksum.
func TestReaderFlipped(t *testing.T) {
	text := rows(3, 600)
	for name, stream := range map[string][]byte{"a.gz": gzipped(t, text), "a.zst": zstded(t, text)} {
		refused := 0
		for bit := range 8 * len(stream) {
			bad := slices.Clone(stream)
			bad[bit/8] ^= 1 << (bit % 8)
			u, err := unwrap(t, name, bytes.NewReader(bad))
			switch {
			case err != nil:
				refused++
			case u.as == manifest.Plain && bytes.Equal(u.content, bad):
			case u.as != manifest.Plain && bytes.Equal(u.content[:len(u.content)-int(u.tail)], text):
			default:
				t.Errorf("%s with bit %d flipped: other content", name, bit)
			}
		}
		if refused < 8*len(stream)*9/10 {
			t.Errorf("%s: only %d of %d refused", name, refused, 8*len(stream))
		}
	}
}

func TestReaderSaysWhy(t *testing.T) {
	text := rows(3, 100<<10)
	good := gzipped(t, text)
	flip := func(stream []byte, at int) []byte {
		bad := slices.Clone(stream)
		bad[(at+len(bad))%len(bad)] ^= 0x10
		return bad
	}
	for _, x := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"a.gz", nil, "gzip stream is not whole: it is cut short: the program that compressed it did not finish"},
		{"a.gz", good[:len(good)-1], "gzip stream is not whole: it is cut short: "},
		{"a.gz", flip(good, -1), "gzip stream is not whole: it is damaged: member 1: checksum or length"},
		{"a.gz", join(good, flip(good, -5)), "gzip stream is not whole: it is damaged: member 2: checksum or length"},
		{"a.gz", flip(good, len(good)/2), "gzip stream is not whole: it is damaged: member 1: "},
		{"a.gz", join(good, []byte{0x1f, 0x8b, 8, 0xff}, make([]byte, 20)), "gzip stream is not whole: it is damaged: member 2: "},
		{"a.zst", []byte{0x28}, "zstd stream is not whole: it is cut short: "},
		{"a.zst", flip(zstded(t, text), -1), "zstd stream is not whole: it is damaged: "},
	} {
		if _, err := unwrap(t, x.name, bytes.NewReader(x.stream)); err == nil || !strings.HasPrefix(err.Error(), x.want) {
			t.Errorf("got %v, want %s", err, x.want)
		}
	}
}

// TestReaderPassesErrors: what the source says is what went wrong, wherever it is.
func TestReaderPassesErrors(t *testing.T) {
	broken := errors.New("broken")
	for name, stream := range map[string][]byte{
		"a": rows(1, 100), "a.gz": join(gzipped(t, rows(1, 9000)), gzipped(t, nil)), "a.zst": zstded(t, rows(1, 9000)),
	} {
		for at := range len(stream) + 1 {
			_, err := unwrap(t, name, io.MultiReader(bytes.NewReader(stream[:at]), iotest.ErrReader(broken)))
			var other *BrokenError
			if !errors.Is(err, broken) || errors.As(err, &other) {
				t.Errorf("%s: error after %d bytes: %v", name, at, err)
			}
		}
	}
}

// TestReaderBounded: memory does not grow with the stream, nor with what is said to be
// inside of it.
func TestReaderBounded(t *testing.T) {
	zeros := gzipped(t, make([]byte, 64<<20))
	for name, stream := range map[string][]byte{
		"a.gz":  bytes.Repeat(zeros, 4),
		"a.zst": bytes.Repeat(zstded(t, make([]byte, 64<<20)), 4),
	} {
		r := NewReader(name, bytes.NewReader(stream))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := io.Copy(io.Discard, r)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; err != nil || n != 256<<20 || allocated > 32<<20 {
			t.Errorf("%s: %d bytes, %v, %d MiB allocated", name, n, err, allocated>>20)
		}
		_ = r.Close()
	}
}

// TestReaderClose: nothing waits for a reader that nobody wants any more, and no
// goroutine stays but the one that waits for the source.
func TestReaderClose(t *testing.T) {
	for name, stream := range map[string][]byte{"a": nil, "a.gz": gzipped(t, noise(1, 4<<20)), "a.zst": zstded(t, noise(1, 4<<20))} {
		for _, read := range []int{0, 1, 1 << 20} {
			from, to := io.Pipe()
			before := runtime.NumGoroutine()
			r := NewReader(name, from)
			written := make(chan struct{})
			go func() {
				defer close(written)
				_, _ = to.Write(stream) // ends when from is closed
			}()
			if name != "a" {
				if _, err := io.CopyN(io.Discard, r, int64(read)); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error)
			go func() {
				_, err := io.Copy(io.Discard, r)
				done <- err
			}()
			_ = r.Close()
			if name != "a" {
				if err := <-done; !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v after Close", name, err)
				}
			}
			_ = from.Close()
			<-written
			if name == "a" {
				if err := <-done; err == nil {
					t.Error("the source ended well")
				}
			}
			for runtime.NumGoroutine() > before {
				runtime.Gosched()
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestReaderProperties takes apart whatever streams there are.
func TestReaderProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"x.gz", "x.zst"}).Draw(rt, "name")
		var stream, content []byte
		for range rapid.IntRange(1, 4).Draw(rt, "members") {
			part := drawContent(rt)
			content = append(content, part...)
			if name == "x.gz" {
				stream = append(stream, gzippedAt(t, part, rapid.IntRange(-3, 9).Draw(rt, "level"))...)
				continue
			}
			stream = append(stream, zstded(t, part, zstd.WithZeroFrames(true),
				zstd.WithEncoderLevel(zstd.EncoderLevel(rapid.IntRange(1, 4).Draw(rt, "level"))),
				zstd.WithEncoderCRC(rapid.Bool().Draw(rt, "checksum")))...)
			if rapid.Bool().Draw(rt, "skippable") {
				stream = append(stream, skippable...)
			}
		}
		// A tail that begins neither a member nor a frame.
		tail := rapid.SampledFrom([][]byte{nil, {0}, make([]byte, 1000), []byte("trailing"), noise(3, 70000)}).Draw(rt, "tail")
		u, err := unwrap(t, name, bytes.NewReader(join(stream, tail)))
		if err != nil || !bytes.Equal(u.content, join(content, tail)) || u.tail != uint64(len(tail)) {
			rt.Fatalf("%d bytes, tail %d, %v; want %d, %d", len(u.content), u.tail, err, len(content)+len(tail), len(tail))
		}
		out := rewrap(t, u, rapid.Bool().Draw(rt, "compress"), func(left int) int {
			return rapid.IntRange(1, left).Draw(rt, "piece")
		})
		if again, err := unwrap(t, name, bytes.NewReader(out)); err != nil || !bytes.Equal(again.content, u.content) || again.tail != u.tail || again.as != u.as {
			rt.Fatalf("again: %d bytes, wrapping %d, tail %d, %v", len(again.content), again.as, again.tail, err)
		}
		cut := rapid.IntRange(0, len(stream)-1).Draw(rt, "cut")
		if u, err := unwrap(t, name, bytes.NewReader(stream[:cut])); err == nil && !bytes.HasPrefix(content, u.content) {
			rt.Fatalf("cut at %d of %d: other content", cut, len(stream))
		}
	})
}

func drawContent(rt *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 1, 100, 65535, 65536, 300000}).Draw(rt, "size")
	if rapid.Bool().Draw(rt, "text") {
		return rows(rapid.Uint64().Draw(rt, "seed"), n)
	}
	return noise(rapid.Byte().Draw(rt, "seed"), n)
}

// FuzzReader: whatever comes in, nothing panics, errors are told from ends, a checker
// agrees, and what is taken for whole goes out as a stream of the same content.
func FuzzReader(f *testing.F) {
	f.Add(true, gzipped(f, []byte("hello hello hello")))
	f.Add(true, join(gzipped(f, rows(4, 2000)), make([]byte, 7)))
	f.Add(false, zstded(f, []byte("hello hello hello")))
	f.Add(false, join(skippable, zstded(f, rows(4, 2000)), []byte("tail")))
	f.Add(false, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, gz bool, stream []byte) {
		name := map[bool]string{true: "x.gz", false: "x.zst"}[gz]
		r := NewReader(name, bytes.NewReader(stream))
		defer r.Close()
		const most = 32 << 20
		content, err := io.ReadAll(io.LimitReader(r, most))
		if len(content) == most {
			return // a bomb: it is read piece by piece
		}
		checked := through(t, name, stream, asIs)
		if err != nil {
			checkError(t, err)
			if checked == nil && !errors.Is(err, ErrBeyond) {
				t.Fatalf("the reader says %v, the checker nothing", err)
			}
			return
		}
		if checked != nil {
			t.Fatalf("the checker says %v, the reader nothing", checked)
		}
		as, tail := r.Wrapping()
		u := unwrapped{content, as, tail}
		if as == manifest.Plain {
			if !bytes.Equal(content, stream) {
				t.Fatal("a plain stream came out differently")
			}
			return
		}
		again, err := unwrap(t, name, bytes.NewReader(rewrap(t, u, false, whole)))
		if err != nil || again.as != as || again.tail != tail || !bytes.Equal(again.content, content) {
			t.Fatalf("wrapped again: %d bytes of %d, tail %d of %d, %v", len(again.content), len(content), again.tail, tail, err)
		}
	})
}
