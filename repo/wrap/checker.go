package wrap

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// Checker passes a stream through as it is and checks it beside that. At the end of a
// stream that is not whole it returns a *BrokenError in place of io.EOF.
type Checker struct {
	src   io.Reader
	feed  chan []byte // to the checking goroutine; nil: nothing to check
	free  chan []byte
	done  chan struct{}
	quit  chan struct{} // closed by Close
	ended sync.Once     // closes feed
	shut  sync.Once     // closes quit
	found error         // by the check, when done is closed
	err   error         // that Read returned
}

const (
	feedSize  = 256 << 10
	feedDepth = 8
)

// NewChecker returns a reader of src, a stream of that name. It must be closed.
// Streams that are not named .gz or .zst, or begin otherwise, are not checked.
func NewChecker(name string, src io.Reader) *Checker {
	return newChecker(wrapping(name), src, make(chan struct{}))
}

func newChecker(as manifest.Wrapping, src io.Reader, quit chan struct{}) *Checker {
	c := &Checker{src: src, quit: quit}
	if as == manifest.Plain {
		return c
	}
	c.feed, c.free = make(chan []byte, feedDepth), make(chan []byte, feedDepth+2)
	c.done = make(chan struct{})
	go func() {
		defer close(c.done)
		if err := c.check(as); err != nil {
			c.found = &BrokenError{format(as), err}
		}
	}()
	return c
}

// check reads what comes through feed, to its end.
func (c *Checker) check(as manifest.Wrapping) error {
	in := &feedReader{c: c}
	inside, err := open(as, bufio.NewReaderSize(in, bufferSize))
	if err != nil {
		return err
	}
	if inside == nil {
		for in.next() {
			continue // a stream of another kind may be anything
		}
		return nil
	}
	defer inside.close()
	if z, ok := inside.(*zstdContent); ok {
		z.outline = true
	}
	scratch := make([]byte, bufferSize)
	for err == nil {
		_, err = inside.Read(scratch)
	}
	if err == io.EOF { //nolint:errorlint // only the bare one is an end
		return nil
	}
	return err
}

func (c *Checker) Read(b []byte) (int, error) {
	if c.feed == nil {
		return c.src.Read(b)
	}
	if c.err != nil {
		return 0, c.err
	}
	var n int
	if n, c.err = c.pass(b); c.err != nil {
		c.ended.Do(func() { close(c.feed) })
	}
	return n, c.err
}

// pass reads from the source and feeds the check. Its first error is the last.
func (c *Checker) pass(b []byte) (int, error) {
	n, err := c.src.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		var p []byte
		select {
		case p = <-c.free:
		default:
			p = make([]byte, feedSize)
		}
		k := copy(p[:feedSize], rest)
		rest = rest[k:]
		select {
		case c.feed <- p[:k]:
		case <-c.done: // it is broken, and there is no point in reading on
			if c.found != nil {
				return 0, c.found
			}
			return 0, ErrClosed
		}
	}
	if errors.Is(err, io.EOF) {
		c.ended.Do(func() { close(c.feed) })
		<-c.done
		select {
		case <-c.quit: // perhaps before all was checked
			return 0, ErrClosed
		default:
		}
		if c.found != nil {
			return 0, c.found
		}
	}
	return n, err
}

// Wrapping is what nobody took off.
func (c *Checker) Wrapping() (as manifest.Wrapping, tail uint64) { return manifest.Plain, 0 }

// Close lets the checking goroutine end, even beside a Read.
func (c *Checker) Close() error {
	c.shut.Do(func() { close(c.quit) })
	return nil
}

// feedReader reads what comes through the channel.
type feedReader struct {
	c         *Checker
	buf, rest []byte
}

// next waits for more; false is the end.
func (f *feedReader) next() bool {
	if f.buf != nil {
		f.c.free <- f.buf // never blocks: there are not more buffers than places
		f.buf = nil
	}
	select {
	case p, ok := <-f.c.feed:
		f.buf, f.rest = p, p
		return ok
	case <-f.c.quit:
		return false
	}
}

func (f *feedReader) Read(b []byte) (int, error) {
	for len(f.rest) == 0 {
		if !f.next() {
			return 0, io.EOF // after Close nobody asks what came of it
		}
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}
