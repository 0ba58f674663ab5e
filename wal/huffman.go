package wal

import (
	"encoding/binary"

	"github.com/klauspost/compress/huff0"
)

// A frame of zstd (RFC 8878) may do without sequences: its blocks are then bytes coded
// by Huffman's method and nothing else. That is the cheap half of zstd: it is applied to
// what another, quicker compressor has taken the repetitions out of already.
const (
	zstdMagic   = 0xFD2FB528
	zstdBlock   = 128 << 10 // bytes of content, at most
	blockRaw    = 0
	blockCoded  = 2
	coderLeast  = 1 << 10 // bytes, below which a block is left as it is
	codedHeader = 5       // bytes before Huffman's table, with lengths of 18 bits
)

// coder codes frames. It is not safe for concurrent use.
type coder struct{ scratch huff0.Scratch }

// encode appends the frame whose content is src, which is not empty, to dst.
func (c *coder) encode(dst, src []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
	dst = append(dst, 0xA0) // the content's length follows, in four bytes; so the window is not given
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	for len(src) > 0 {
		block := src[:min(len(src), zstdBlock)]
		src = src[len(block):]
		last := uint32(0)
		if len(src) == 0 {
			last = 1
		}
		coded := c.code(block)
		if coded == nil {
			dst = appendBlockHeader(dst, last, blockRaw, len(block))
			dst = append(dst, block...)
			continue
		}
		dst = appendBlockHeader(dst, last, blockCoded, codedHeader+len(coded)+1)
		// Literals: 2 = with a table of their own; 3 = four streams, lengths of 18 bits.
		literals := 2 | 3<<2 | uint64(len(block))<<4 | uint64(len(coded))<<22
		dst = binary.LittleEndian.AppendUint32(dst, uint32(literals))
		dst = append(dst, byte(literals>>32))
		dst = append(dst, coded...)
		dst = append(dst, 0) // no sequences
	}
	return dst
}

func appendBlockHeader(dst []byte, last, kind uint32, size int) []byte {
	v := last | kind<<1 | uint32(size)<<3
	return append(dst, byte(v), byte(v>>8), byte(v>>16))
}

// code returns the block with its table, or nil if it is not worth it. The result is
// valid until the next call.
func (c *coder) code(block []byte) []byte {
	if len(block) < coderLeast {
		return nil
	}
	c.scratch.Reuse = huff0.ReusePolicyNone // each block has its table
	coded, _, err := huff0.Compress4X(block, &c.scratch)
	if err != nil || codedHeader+len(coded)+1 > len(block)-len(block)/64 {
		return nil
	}
	return coded
}
