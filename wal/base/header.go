package base

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// The parts of a tar archive, in bytes. PostgreSQL writes the ustar format.
const (
	blockSize = 512
	endBlocks = 2 * blockSize // of zeros, at an archive's end
)

// The kinds of members that a base backup has.
const (
	kindFile    = '0'
	kindOldFile = 0
	kindLink    = '2'
	kindDir     = '5'
)

// errTar: an archive is none, or has what no base backup has.
var errTar = errors.New("not a tar archive as pg_basebackup writes it")

// header describes a member of a tar archive.
type header struct {
	name string // clean, relative
	kind byte
	size int64 // of the content, in bytes
	mode int64
	time time.Time
}

// padded returns how many bytes the content takes in the archive.
func (h *header) padded() int64 { return padded(h.size) }

func padded(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

type block [blockSize]byte

func (b *block) isZero() bool { return *b == block{} }

// field returns a text field.
func (b *block) field(from, to int) string {
	f := b[from:to]
	if i := bytes.IndexByte(f, 0); i >= 0 {
		f = f[:i]
	}
	return string(f)
}

// number returns a numeric field: octal digits, or binary if its first bit is set.
func (b *block) number(from, to int) (int64, error) {
	f := b[from:to]
	if f[0]&0x80 != 0 {
		n := int64(f[0] & 0x3f)
		for _, c := range f[1:] {
			if n >= 1<<54 {
				return 0, errors.New("a number in its header is too large")
			}
			n = n<<8 | int64(c)
		}
		return n, nil
	}
	s := strings.Trim(b.field(from, to), " ")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 8, 63)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q in its header is no number", s)
	}
	return n, nil
}

// sum returns the checksum of the header, the field of it counting as blanks.
func (b *block) sum() int64 {
	var n int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		n += int64(c)
	}
	return n
}

// parseHeader reads the header of a member.
func parseHeader(b *block) (header, error) {
	if got, err := b.number(148, 156); err != nil || got != b.sum() {
		return header{}, fmt.Errorf("%w: a header's checksum is wrong", errTar)
	}
	h := header{kind: b[156]}
	name := b.field(0, 100)
	if prefix := b.field(345, 500); prefix != "" && string(b[257:262]) == "ustar" {
		name = prefix + "/" + name
	}
	var err error
	if h.name, err = cleanName(name); err != nil {
		return header{}, err
	}
	var seconds int64
	for _, f := range []struct {
		dst      *int64
		from, to int
	}{{&h.mode, 100, 108}, {&h.size, 124, 136}, {&seconds, 136, 148}} {
		if *f.dst, err = b.number(f.from, f.to); err != nil {
			return header{}, fmt.Errorf("%w: %s: %w", errTar, h.name, err)
		}
	}
	h.time = time.Unix(seconds, 0)
	switch h.kind {
	case kindOldFile:
		h.kind = kindFile
	case kindFile:
	case kindDir, kindLink:
		if h.size != 0 {
			return header{}, fmt.Errorf("%w: %s has content, and is no file", errTar, h.name)
		}
	default:
		return header{}, fmt.Errorf("%w: %s is of kind %q", errTar, h.name, h.kind)
	}
	return h, nil
}

// cleanName returns the name of a member without what leads nowhere, and refuses one
// that leads out of the directory.
func cleanName(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(clean, 0) {
		return "", fmt.Errorf("%w: the name %q leads out of it", errTar, name)
	}
	return clean, nil
}

// setName gives the header another name. What does not fit is refused.
func (b *block) setName(name string, dir bool) error {
	if dir {
		name += "/"
	}
	prefix, rest := "", name
	for len(rest) > 100 {
		at := strings.IndexByte(rest[:len(rest)-1], '/')
		if at < 0 {
			return fmt.Errorf("%w: the name %q is too long", errTar, name)
		}
		prefix, rest = path.Join(prefix, rest[:at]), rest[at+1:]
	}
	if len(prefix) > 155 {
		return fmt.Errorf("%w: the name %q is too long", errTar, name)
	}
	clear(b[0:100])
	copy(b[0:100], rest)
	clear(b[345:500])
	copy(b[345:500], prefix)
	return nil
}

// setSum makes the checksum right again.
func (b *block) setSum() { copy(b[148:156], fmt.Sprintf("%06o\x00 ", b.sum())) }

// newHeader makes the header of a member of our own.
func newHeader(name string, size int64, t time.Time) (*block, error) {
	b := new(block)
	if err := b.setName(name, false); err != nil {
		return nil, err
	}
	copy(b[100:], "0000600\x000000000\x000000000\x00")
	if size < 1<<33 {
		copy(b[124:], fmt.Sprintf("%011o", size))
	} else {
		b[124] = 0x80
		for i, n := 135, size; i > 124 && n > 0; i, n = i-1, n>>8 {
			b[i] = byte(n)
		}
	}
	copy(b[136:], fmt.Sprintf("%011o", t.Unix()))
	b[156] = kindFile
	copy(b[257:], "ustar\x0000")
	b.setSum()
	return b, nil
}
