package wrap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// zstdFrames reads a stream up to the end of its last zstd frame (RFC 8878). It
// knows the outline of a frame only: where its blocks lie, and so where it ends.
// What follows the last frame and is none is not read.
type zstdFrames struct {
	in   *bufio.Reader
	step func(*zstdFrames) error // what comes when pass is through; nil: a frame
	pass int64                   // bytes to let through
	head []byte                  // the same, read already
	sum  bool                    // the frame ends with a checksum
	n    int                     // frames so far, skippable ones too
	err  error                   // other than io.EOF: the stream is not whole
	end  bool
}

const (
	zstdMagic         = 0xFD2FB528
	skippableMagic    = 0x184D2A50
	skippableMask     = 0xFFFFFFF0
	zstdMagicSize     = 4
	zstdChecksumSize  = 4
	zstdBlockHeader   = 3
	skippableSizeSize = 4

	rleBlock, reservedBlock = 1, 3
)

func (z *zstdFrames) Read(b []byte) (int, error) {
	for len(z.head) == 0 && z.pass == 0 {
		if z.end || z.err != nil {
			return 0, io.EOF
		}
		step := z.step
		if step == nil {
			step = (*zstdFrames).frame
		}
		if z.err = step(z); z.err != nil {
			return 0, io.EOF
		}
	}
	if len(z.head) > 0 {
		n := copy(b, z.head)
		z.head = z.head[n:]
		return n, nil
	}
	n, err := z.in.Read(b[:min(int64(len(b)), z.pass)])
	z.pass -= int64(n)
	if err != nil {
		z.err = broken("frame", z.n, err)
		err = io.EOF
	}
	return n, err
}

// take reads n bytes and has them passed on.
func (z *zstdFrames) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(z.in, b); err != nil {
		return nil, broken("frame", z.n, err)
	}
	z.head = append(z.head, b...)
	return b, nil
}

// more reports whether another frame follows. What ends inside of its magic number
// is cut short.
func (z *zstdFrames) more() (bool, error) {
	peek, _ := z.in.Peek(zstdMagicSize) // it is short only at the end
	if len(peek) < zstdMagicSize {
		if beginsFrame(peek) {
			return false, ErrCutShort
		}
		return false, nil
	}
	magic := binary.LittleEndian.Uint32(peek)
	return magic == zstdMagic || magic&skippableMask == skippableMagic, nil
}

// frame begins the next one, if there is one.
func (z *zstdFrames) frame() error {
	more, err := z.more()
	if err != nil || !more {
		z.end = true
		return err
	}
	z.n++
	b, err := z.take(zstdMagicSize + 1)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) != zstdMagic {
		size, err := z.take(skippableSizeSize - 1)
		if err != nil {
			return err
		}
		z.pass, z.step = int64(binary.LittleEndian.Uint32(append(b[zstdMagicSize:], size...))), nil
		return nil
	}
	h := zstdHeader{descriptor: b[zstdMagicSize]}
	z.sum = h.descriptor&4 != 0
	z.step = (*zstdFrames).block
	_, err = z.take(h.windowSize() + h.dictionarySize() + h.contentSize())
	return err
}

// zstdHeader is a frame header: its descriptor says how long the rest is.
type zstdHeader struct {
	descriptor byte
	rest       []byte // window, dictionary id, content size
}

func (h zstdHeader) single() bool { return h.descriptor&0x20 != 0 }

func (h zstdHeader) windowSize() int {
	if h.single() {
		return 0
	}
	return 1
}

func (h zstdHeader) dictionarySize() int { return [4]int{0, 1, 2, 4}[h.descriptor&3] }

func (h zstdHeader) contentSize() int {
	size := [4]int{0, 2, 4, 8}[h.descriptor>>6]
	if h.single() && size == 0 {
		size = 1
	}
	return size
}

// beyond reports whether the next frame is one that cannot be decoded, although it
// may be whole.
func (z *zstdFrames) beyond() bool {
	const longest = zstdMagicSize + 1 + 1 + 4 + 8
	b, _ := z.in.Peek(longest) // a short one says for itself that it is cut
	if len(b) <= zstdMagicSize || binary.LittleEndian.Uint32(b) != zstdMagic {
		return false
	}
	h := zstdHeader{b[zstdMagicSize], b[zstdMagicSize+1:]}
	w, d, c := h.windowSize(), h.dictionarySize(), h.contentSize()
	if len(h.rest) < w+d+c {
		return false
	}
	for _, x := range h.rest[w : w+d] {
		if x != 0 {
			return true
		}
	}
	if w == 1 {
		exponent, mantissa := h.rest[0]>>3, uint64(h.rest[0]&7)
		base := uint64(1) << (10 + exponent)
		return base+base/8*mantissa > maxWindow
	}
	var size [8]byte
	copy(size[:], h.rest[d:d+c])
	return binary.LittleEndian.Uint64(size[:]) > maxWindow
}

func (z *zstdFrames) block() error {
	b, err := z.take(zstdBlockHeader)
	if err != nil {
		return err
	}
	header := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	last, kind := header&1 != 0, header>>1&3
	switch kind {
	case reservedBlock:
		return broken("frame", z.n, errors.New("a block is of no known kind"))
	case rleBlock:
		z.pass = 1
	default:
		z.pass = int64(header >> 3)
	}
	if last {
		z.step = nil
		if z.sum {
			z.step = (*zstdFrames).checksum
		}
	}
	return nil
}

func (z *zstdFrames) checksum() error {
	z.pass, z.step = zstdChecksumSize, nil
	return nil
}

// beginsFrame reports whether the last bytes of a stream, fewer than a magic
// number has, are the beginning of one.
func beginsFrame(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	begins := func(magic uint32, low byte) bool {
		want := binary.LittleEndian.AppendUint32(nil, magic)
		return b[0]&low == want[0]&low && string(b[1:]) == string(want[1:len(b)])
	}
	return begins(zstdMagic, 0xff) || begins(skippableMagic, 0xf0)
}
