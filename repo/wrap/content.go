package wrap

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// content reads what is inside of a stream.
type content interface {
	// Read reads the content of all members, and then the tail.
	io.Reader
	// tail is how many of the bytes that were read are tail.
	tail() uint64
	// close ends what runs in the background. Nothing is read after it.
	close()
}

// Named reports whether a stream of that name is looked at: whether it is named .gz or
// .zst.
func Named(name string) bool { return wrapping(name) != manifest.Plain }

// wrapping says what a stream of that name is to be.
func wrapping(name string) manifest.Wrapping {
	switch {
	case strings.HasSuffix(name, ".gz"):
		return manifest.Gzip
	case strings.HasSuffix(name, ".zst"):
		return manifest.Zstd
	}
	return manifest.Plain
}

func format(as manifest.Wrapping) string {
	return map[manifest.Wrapping]string{manifest.Gzip: "gzip", manifest.Zstd: "zstd"}[as]
}

// open looks at the beginning of a stream and returns its content, or nil if it is
// of another kind than its name says.
func open(as manifest.Wrapping, in *bufio.Reader) (content, error) {
	if as == manifest.Gzip {
		// gzip writes a member even for nothing, so an empty stream is cut short.
		if _, err := in.Peek(1); err != nil {
			return nil, ErrCutShort
		}
		if more, err := starts(in, gzipMagic); err != nil || !more {
			return nil, err
		}
		return &gzipContent{in: in}, nil
	}
	frames := &zstdFrames{in: in}
	switch more, err := frames.more(); {
	case err != nil:
		return nil, err
	case !more:
		return nil, nil
	}
	return newZstdContent(frames)
}

// starts reports whether the stream goes on with magic. What ends inside of it is
// cut short.
func starts(in *bufio.Reader, magic []byte) (bool, error) {
	head, _ := in.Peek(len(magic)) // it is short only at the end
	if len(head) > 0 && len(head) < len(magic) && bytes.HasPrefix(magic, head) {
		return false, ErrCutShort
	}
	return bytes.Equal(head, magic), nil
}

// stray is the tail of a stream.
type stray struct {
	in *bufio.Reader
	n  uint64
}

func (s *stray) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	s.n += uint64(n)
	return n, err
}
