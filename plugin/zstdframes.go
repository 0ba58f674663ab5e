package plugin

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
		z.err = broken(err)
		err = io.EOF
	}
	return n, err
}

// take reads n bytes and has them passed on.
func (z *zstdFrames) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(z.in, b); err != nil {
		return nil, broken(err)
	}
	z.head = append(z.head, b...)
	return b, nil
}

// frame begins the next one, if there is one.
func (z *zstdFrames) frame() error {
	peek, _ := z.in.Peek(zstdMagicSize) // it is short only at the end
	if len(peek) < zstdMagicSize {
		z.end = true
		if beginsFrame(peek) {
			return errCutShort
		}
		return nil
	}
	switch magic := binary.LittleEndian.Uint32(peek); {
	case magic&skippableMask == skippableMagic:
		b, err := z.take(zstdMagicSize + skippableSizeSize)
		if err != nil {
			return err
		}
		z.pass, z.step = int64(binary.LittleEndian.Uint32(b[zstdMagicSize:])), nil
		return nil
	case magic != zstdMagic:
		z.end = true
		return nil
	}
	b, err := z.take(zstdMagicSize + 1)
	if err != nil {
		return err
	}
	// The descriptor says how long the header is.
	descriptor := b[zstdMagicSize]
	single := descriptor&0x20 != 0
	size := [4]int{0, 2, 4, 8}[descriptor>>6]
	if single && size == 0 {
		size = 1
	}
	if !single {
		size++ // the window
	}
	size += [4]int{0, 1, 2, 4}[descriptor&3] // the dictionary's id
	z.sum = descriptor&4 != 0
	z.step = (*zstdFrames).block
	_, err = z.take(size)
	return err
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
		return errors.New("it is damaged: a block is of no known kind")
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
