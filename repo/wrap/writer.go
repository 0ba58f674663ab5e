package wrap

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// NewWriter returns a writer that takes a stream's content, length bytes with the
// tail, and writes a gzip or zstd stream of it to dst and then the tail as it is; for
// manifest.Plain it writes what it is given.
//
// The content is not compressed: what comes out goes through a pipe to a program that
// takes it apart at once, and stored blocks are by far the cheapest for both.
//
// What ends the stream is written by Close alone, unless the tail is large, so a
// stream that is given up without a Close is not a whole one. Close fails if the
// length was another; it does not close dst. Errors of dst are returned as they are.
func NewWriter(as manifest.Wrapping, length, tail uint64, dst io.Writer) io.WriteCloser {
	return newWriter(as, length, tail, dst, func(out *output) io.WriteCloser {
		if as == manifest.Gzip {
			return newGzipStored(out)
		}
		return newZstdStored(out, length-tail)
	})
}

// NewCompressor is NewWriter for a stream that is to be kept: it compresses, with the
// fastest level there is.
func NewCompressor(as manifest.Wrapping, length, tail uint64, dst io.Writer) io.WriteCloser {
	return newWriter(as, length, tail, dst, func(out *output) io.WriteCloser {
		if as == manifest.Gzip {
			z, _ := gzip.NewWriterLevel(out, gzip.BestSpeed) // it only fails for a level that there is not
			return z
		}
		// One goroutine, or many at once would take all cores, and none that outlives a
		// writer which is given up. An empty stream needs its frame too, or zstd -d finds
		// nothing.
		z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		if err != nil {
			panic("wrap: " + err.Error()) // the options are constants
		}
		return z
	})
}

func newWriter(as manifest.Wrapping, length, tail uint64, dst io.Writer, inside func(*output) io.WriteCloser) io.WriteCloser {
	if tail > length || as > manifest.Zstd {
		panic(fmt.Sprintf("wrap: wrapping %d of %d bytes with a tail of %d", as, length, tail)) // manifests are checked when they are read
	}
	if as == manifest.Plain {
		return plain{dst}
	}
	w := &writer{out: output{dst: dst}, content: length - tail, tail: tail}
	w.inside = inside(&w.out)
	return w
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

type writer struct {
	out           output
	inside        io.WriteCloser // nil: it has ended
	content, tail uint64         // still to come
}

func (w *writer) Write(b []byte) (int, error) {
	if uint64(len(b)) > w.content+w.tail {
		return 0, fmt.Errorf("wrap stream: %d bytes more than it has", uint64(len(b))-w.content-w.tail)
	}
	n := int(min(uint64(len(b)), w.content))
	if n > 0 {
		if _, err := w.inside.Write(b[:n]); err != nil {
			return 0, err
		}
		w.content -= uint64(n)
	}
	if n == len(b) {
		return n, nil
	}
	if err := w.end(); err != nil {
		return n, err
	}
	k, err := w.out.Write(b[n:])
	w.tail -= uint64(k)
	return n + k, err
}

// end writes what ends the member or frame.
func (w *writer) end() error {
	if w.inside == nil {
		return nil
	}
	err := w.inside.Close()
	w.inside = nil
	return err
}

func (w *writer) Close() error {
	if w.content+w.tail > 0 {
		return fmt.Errorf("wrap stream: %d bytes are missing", w.content+w.tail)
	}
	if err := w.end(); err != nil {
		return err
	}
	return w.out.flush()
}

// output collects what goes to dst: a write to a pipe costs as much as many bytes.
type output struct {
	dst  io.Writer
	held []byte
	err  error
}

const outputSize = 256 << 10

func (o *output) Write(b []byte) (n int, err error) {
	if o.held == nil {
		o.held = make([]byte, 0, outputSize)
	}
	for n < len(b) {
		if len(o.held) == cap(o.held) {
			if err := o.flush(); err != nil {
				return n, err
			}
		}
		k := min(cap(o.held)-len(o.held), len(b)-n)
		o.held = append(o.held, b[n:n+k]...)
		n += k
	}
	return n, o.err
}

func (o *output) flush() error {
	if o.err == nil && len(o.held) > 0 {
		_, o.err = o.dst.Write(o.held)
		o.held = o.held[:0]
	}
	return o.err
}
