package plugin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo"
)

// gpbackup's default is to send tables through gzip or zstd. If that program is
// killed, nobody is told: the stream ends cleanly, in the middle. Only the stream
// itself can say whether it is whole, so what is named .gz or .zst, and begins as
// such, has to be a sequence of complete members or frames. The bytes are stored as
// they come.

// errCutShort: the end of the stream is not the end of what is in it.
var errCutShort = errors.New("it is cut short: the program that compressed it did not finish")

// wrapper is a reader that passes a stream through and checks it beside that. At
// the end of a stream that is not whole it returns an error in place of io.EOF.
type wrapper struct {
	src    io.Reader
	kind   string // for messages
	check  func(*bufio.Reader) error
	feed   chan []byte // to the checking goroutine; nil: nothing to check
	free   chan []byte
	done   chan struct{}
	quit   chan struct{} // closed by Close
	ended  sync.Once     // closes feed
	result error         // of the check, when done is closed
}

const (
	feedSize  = 256 << 10
	feedDepth = 8
)

// newWrapper returns a reader for the stream of that name. It must be closed.
func newWrapper(name string, src io.Reader) *wrapper {
	w := &wrapper{src: src}
	switch {
	case strings.HasSuffix(name, ".gz"):
		w.kind, w.check = "gzip", checkGzip
	case strings.HasSuffix(name, ".zst"):
		w.kind, w.check = "zstd", checkZstd
	default:
		return w
	}
	w.feed, w.free = make(chan []byte, feedDepth), make(chan []byte, feedDepth+2)
	w.done, w.quit = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(w.done)
		w.result = w.inspect()
	}()
	return w
}

// inspect checks what comes through feed, to its end.
func (w *wrapper) inspect() error {
	in := &feedReader{w: w}
	err := w.check(bufio.NewReaderSize(in, 64<<10))
	if err != nil {
		return repo.WithHint(fmt.Errorf("%s stream is not whole: %w", w.kind, err),
			"see what ended the program in front of gpdedup, on the host and in the server's log")
	}
	for in.next() {
		continue // what follows the last member may be anything
	}
	return nil
}

func (w *wrapper) Read(b []byte) (int, error) {
	n, err := w.src.Read(b)
	if w.feed == nil {
		return n, err
	}
	for rest := b[:n]; len(rest) > 0; {
		var p []byte
		select {
		case p = <-w.free:
		default:
			p = make([]byte, feedSize)
		}
		k := copy(p[:feedSize], rest)
		rest = rest[k:]
		select {
		case w.feed <- p[:k]:
		case <-w.done: // it is broken, or closed, and there is no point in reading on
			return 0, w.verdict()
		}
	}
	if errors.Is(err, io.EOF) {
		if bad := w.verdict(); bad != nil {
			return 0, bad
		}
	}
	return n, err
}

// verdict ends the check and returns its result. There is nothing to read after it.
func (w *wrapper) verdict() error {
	if w.feed == nil {
		return nil
	}
	w.ended.Do(func() { close(w.feed) })
	<-w.done
	return w.result
}

// Close lets the checking goroutine end, even beside a Read. It must be called once.
func (w *wrapper) Close() {
	if w.quit != nil {
		close(w.quit)
	}
}

// feedReader reads what comes through the channel.
type feedReader struct {
	w         *wrapper
	buf, rest []byte
}

// next waits for more; false is the end.
func (f *feedReader) next() bool {
	if f.buf != nil {
		f.w.free <- f.buf // never blocks: there are not more buffers than places
		f.buf = nil
	}
	select {
	case p, ok := <-f.w.feed:
		f.buf, f.rest = p, p
		return ok
	case <-f.w.quit:
		return false
	}
}

func (f *feedReader) Read(b []byte) (int, error) {
	for len(f.rest) == 0 {
		if !f.next() {
			return 0, io.EOF
		}
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// starts reports whether the stream goes on with magic. What ends inside of it is
// cut short.
func starts(in *bufio.Reader, magic []byte) (bool, error) {
	head, _ := in.Peek(len(magic)) // it is short only at the end
	if len(head) > 0 && len(head) < len(magic) && bytes.HasPrefix(magic, head) {
		return false, errCutShort
	}
	return bytes.Equal(head, magic), nil
}

var gzipMagic = []byte{0x1f, 0x8b}

// checkGzip reads members to the end of the last one. gzip writes one even for
// nothing, so an empty stream is cut short.
func checkGzip(in *bufio.Reader) error {
	if _, err := in.Peek(1); err != nil {
		return errCutShort
	}
	var z *gzip.Reader
	for {
		more, err := starts(in, gzipMagic)
		if err != nil || !more {
			return err // what follows the last member, or a stream of another kind
		}
		if z == nil {
			z, err = gzip.NewReader(in)
		} else {
			err = z.Reset(in)
		}
		if err == nil {
			z.Multistream(false)
			_, err = io.Copy(io.Discard, z)
		}
		if err != nil {
			return broken(err)
		}
	}
}

// broken tells a stream that ended from one that is wrong. It does not wrap what
// the end of a stream is told by.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutShort
	}
	return fmt.Errorf("it is damaged: %w", err)
}

// maxWindow is the largest zstd window that is decoded, in bytes: that of
// zstd --ultra -22. Of frames with a larger one, or that need a dictionary, only the
// outline is checked.
const maxWindow = 128 << 20

// checkZstd reads frames to the end of the last one.
func checkZstd(in *bufio.Reader) error {
	frames := &zstdFrames{in: in}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<63))
	if err != nil {
		return err
	}
	defer z.Close()
	if err = z.Reset(frames); err == nil {
		_, err = io.Copy(io.Discard, z)
	}
	for _, beyond := range []error{zstd.ErrWindowSizeExceeded, zstd.ErrDecoderSizeExceeded, zstd.ErrUnknownDictionary} {
		if errors.Is(err, beyond) {
			_, err = io.Copy(io.Discard, frames)
		}
	}
	switch {
	case frames.err != nil: // it knows better than who reads what it let through
		return frames.err
	case err != nil:
		// Every frame is there to its end, so this is no cut, even if the decoder
		// came to the end of a block too early.
		return fmt.Errorf("it is damaged: %v", err) // not wrapped: it must not pass for an end
	}
	return nil
}
