package wrap

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// Reader reads the content of a stream. Reading the source, decompressing, and
// whoever reads the Reader each have a goroutine, a few MiB apart.
//
// A zstd stream whose first frame cannot be decoded, because it needs a dictionary or
// a window of more than 128 MiB, is read as it is, after a check of its outline.
type Reader struct {
	name  string
	src   io.Reader
	quit  chan struct{}
	close sync.Once
	ended bool

	in      io.Reader // what Read reads; nil: not begun
	as      manifest.Wrapping
	content content
}

const bufferSize = 64 << 10

// NewReader returns a reader of the content of src, a stream of that name. It must be
// closed. Streams that are not named .gz or .zst, or that begin otherwise, are read
// as they are. Reading ends with a *BrokenError if the stream is not whole.
func NewReader(name string, src io.Reader) *Reader {
	return &Reader{name: name, src: src, quit: make(chan struct{})}
}

// Read returns io.EOF only if the stream is whole.
func (r *Reader) Read(b []byte) (int, error) {
	if r.in == nil {
		r.in = r.begin()
	}
	n, err := r.in.Read(b)
	r.ended = r.ended || errors.Is(err, io.EOF)
	return n, err
}

// begin looks at the first bytes of the stream.
func (r *Reader) begin() io.Reader {
	as := wrapping(r.name)
	if as == manifest.Plain {
		return r.src
	}
	raw := newAhead(r.src, false, r.quit, func() {})
	in := bufio.NewReaderSize(raw, bufferSize)
	if as == manifest.Zstd && (&zstdFrames{in: in}).beyond() {
		checked := newChecker(as, in, r.quit)
		return checked
	}
	inside, err := open(as, in)
	if err != nil {
		return &judge{failed{err}, raw, as}
	}
	if inside == nil {
		return in
	}
	r.as, r.content = as, inside
	return newAhead(&judge{inside, raw, as}, true, r.quit, inside.close)
}

// Wrapping returns what Read took off, and how many of the last bytes that it read
// are tail and were not wrapped. It must not be called before Read returned io.EOF.
func (r *Reader) Wrapping() (as manifest.Wrapping, tail uint64) {
	if !r.ended {
		panic("wrap: asked for the wrapping before the end of the stream")
	}
	if r.content == nil {
		return manifest.Plain, 0
	}
	return r.as, r.content.tail()
}

// Close ends the goroutines; it may be called beside a Read, which then returns
// ErrClosed. One that is reading the source ends when that returns.
func (r *Reader) Close() error {
	r.close.Do(func() { close(r.quit) })
	return nil
}

// judge gives errors their names. If the source failed, that is what went wrong,
// whatever it looked like to the decompressor.
type judge struct {
	in  io.Reader
	raw *ahead
	as  manifest.Wrapping
}

func (j *judge) Read(b []byte) (int, error) {
	n, err := j.in.Read(b)
	switch {
	case err == nil, err == io.EOF:
		return n, err
	case j.raw.err != nil && j.raw.err != io.EOF: //nolint:errorlint // likewise
		return n, j.raw.err
	}
	return n, &BrokenError{format(j.as), err}
}

// failed is the reader of a stream that is broken from its beginning.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }
