package wrap

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Streams of stored blocks, which hold their bytes as they are. Each Write makes a
// block or more, and the last block, an empty one, comes with the end.

// gzipStored writes a gzip member (RFC 1952) of stored blocks (RFC 1951, 3.2.4).
type gzipStored struct {
	out  io.Writer
	sum  uint32
	size uint32 // modulo 2^32
}

// gzipStoredMax is the largest length that a stored block's header can say.
const gzipStoredMax = 1<<16 - 1

func newGzipStored(out *output) *gzipStored {
	// No name, no time, unknown system: the same content is the same stream.
	_, _ = out.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}) // it is only held
	return &gzipStored{out: out}
}

func (g *gzipStored) Write(b []byte) (n int, err error) {
	g.sum = crc32.Update(g.sum, crc32.IEEETable, b)
	g.size += uint32(len(b))
	for n < len(b) {
		k := min(len(b)-n, gzipStoredMax)
		if _, err := g.out.Write(g.header(k, false)); err != nil {
			return n, err
		}
		if _, err := g.out.Write(b[n : n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// header is that of a stored block: final or not, the type 00 up to the next whole
// byte, length, and its complement.
func (g *gzipStored) header(n int, final bool) []byte {
	h := []byte{0, 0, 0, 0, 0}
	if final {
		h[0] = 1
	}
	binary.LittleEndian.PutUint16(h[1:], uint16(n))
	binary.LittleEndian.PutUint16(h[3:], ^uint16(n))
	return h
}

func (g *gzipStored) Close() error {
	end := binary.LittleEndian.AppendUint32(g.header(0, true), g.sum)
	_, err := g.out.Write(binary.LittleEndian.AppendUint32(end, g.size))
	return err
}

// zstdStored writes a zstd frame (RFC 8878) of raw blocks. It has no checksum: every
// byte was verified right before, the frame says how long it is, and its last block
// says that it is the last.
type zstdStored struct{ out io.Writer }

const (
	zstdRawMax = 128 << 10 // no block may be larger, nor larger than the window
	zstdWindow = 7 << 3    // descriptor of a window of 128 KiB, RFC 8878, 3.1.1.1.2
	zstdSize64 = 3 << 6    // frame header descriptor: the content's size in 8 bytes
	zstdLast   = 1
)

func newZstdStored(out *output, length uint64) *zstdStored {
	h := binary.LittleEndian.AppendUint32(nil, zstdMagic)
	h = append(h, zstdSize64, zstdWindow)
	_, _ = out.Write(binary.LittleEndian.AppendUint64(h, length)) // it is only held
	return &zstdStored{out}
}

func (z *zstdStored) Write(b []byte) (n int, err error) {
	for n < len(b) {
		k := min(len(b)-n, zstdRawMax)
		if err := z.header(uint32(k) << 3); err != nil {
			return n, err
		}
		if _, err := z.out.Write(b[n : n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

func (z *zstdStored) header(h uint32) error {
	_, err := z.out.Write([]byte{byte(h), byte(h >> 8), byte(h >> 16)})
	return err
}

func (z *zstdStored) Close() error { return z.header(zstdLast) }
