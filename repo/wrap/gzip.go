package wrap

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipMagic includes the method, deflate, the only one that there is.
var gzipMagic = []byte{0x1f, 0x8b, 8}

// gzipContent reads the members of a gzip stream (RFC 1952).
type gzipContent struct {
	in      *bufio.Reader // a flate.Reader: not a byte behind a member is read
	z       *gzip.Reader
	members int
	inside  bool // of a member
	rest    *stray
}

func (g *gzipContent) Read(b []byte) (int, error) {
	for {
		if g.rest != nil {
			return g.rest.Read(b)
		}
		if !g.inside {
			if err := g.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := g.z.Read(b)
		if err == io.EOF { //nolint:errorlint // only the bare one is an end
			g.inside, err = false, nil // its checksum and length are right
		}
		if err != nil {
			return n, broken("member", g.members, explain(err))
		}
		if n > 0 {
			return n, nil
		}
	}
}

// next begins the next member, or the tail.
func (g *gzipContent) next() error {
	more, err := starts(g.in, gzipMagic)
	if err != nil {
		return err
	}
	if !more {
		g.rest = &stray{in: g.in}
		return nil
	}
	g.members++
	if g.z == nil {
		g.z, err = gzip.NewReader(g.in)
	} else {
		err = g.z.Reset(g.in)
	}
	if err != nil {
		return broken("member", g.members, explain(err))
	}
	g.z.Multistream(false)
	g.inside = true
	return nil
}

func explain(err error) error {
	switch {
	case errors.Is(err, gzip.ErrChecksum):
		return errors.New("checksum or length does not match the content")
	case errors.Is(err, gzip.ErrHeader):
		return errors.New("its header is not valid")
	}
	return err
}

func (g *gzipContent) tail() uint64 {
	if g.rest == nil {
		return 0
	}
	return g.rest.n
}

func (g *gzipContent) close() {}
