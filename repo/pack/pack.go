// Package pack reads and writes packs: the objects that hold chunk data.
//
// A pack is a header, sealed chunks back to back in stream order, in an encrypted
// repository a padding box, a sealed footer that lists the chunks, and a trailer
// that says how long the footer is. Nothing of a chunk's name or length is visible
// in clear when the repository is encrypted. The pack's name is the BLAKE3 hash of
// the whole.
package pack

import (
	"encoding/binary"
	"fmt"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/seal"
)

const (
	trailerMagic = "GPDDend\x01"

	// TrailerSize is the length of a pack's trailer in bytes.
	TrailerSize = 4 + 4 + len(trailerMagic)

	// FirstOffset is the offset of a pack's first chunk.
	FirstOffset = seal.HeaderSize

	// MaxSize bounds a pack in bytes: a full target and one more chunk, its
	// footer and padding.
	MaxSize = 128 << 20
)

// footerBind separates the footer's box from all others of the pack.
var footerBind = []byte("footer")

// AppendTrailer appends the trailer for a footer box of n bytes.
func appendTrailer(dst []byte, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = binary.LittleEndian.AppendUint32(dst, ^uint32(n)) // a torn trailer is noticed
	return append(dst, trailerMagic...)
}

// FooterSize reads a trailer, the last TrailerSize bytes of a pack, and returns
// the length of the footer's box that lies before it.
func FooterSize(trailer []byte) (int, error) {
	if len(trailer) != TrailerSize || string(trailer[8:]) != trailerMagic {
		return 0, fmt.Errorf("%w: no pack trailer", seal.ErrDamaged)
	}
	n := binary.LittleEndian.Uint32(trailer)
	if binary.LittleEndian.Uint32(trailer[4:]) != ^n || n > MaxSize || n < seal.Overhead {
		return 0, fmt.Errorf("%w: pack trailer", seal.ErrDamaged)
	}
	return int(n), nil
}

// OpenFooter returns the directory of the pack with the given name and size, from
// its header and its footer's box.
func OpenFooter(keys *seal.Keys, id digest.ID, size int64, header, box []byte) (index.Pack, error) {
	s, err := keys.OpenObject(seal.Pack, header)
	if err != nil {
		return index.Pack{}, err
	}
	plain, err := s.Open(nil, seal.FooterOrdinal, footerBind, box)
	if err != nil {
		return index.Pack{}, fmt.Errorf("open footer: %w", err)
	}
	entries, rest, err := index.DecodeEntries(plain)
	if err != nil {
		return index.Pack{}, fmt.Errorf("read footer: %w: %w", seal.ErrDamaged, err)
	}
	end := int64(FirstOffset)
	for i := range entries {
		if entries[i].Stored < seal.Overhead {
			return index.Pack{}, fmt.Errorf("%w: footer lists a chunk of %d stored bytes", seal.ErrDamaged, entries[i].Stored)
		}
		end += int64(entries[i].Stored)
	}
	if len(rest) != 0 || size > MaxSize || end+int64(len(box))+int64(TrailerSize) > size {
		return index.Pack{}, fmt.Errorf("%w: footer does not describe a pack of %d bytes", seal.ErrDamaged, size)
	}
	return index.Pack{ID: id, Size: uint32(size), Entries: entries}, nil
}

// Parse checks a whole pack against its name and returns its directory.
func Parse(keys *seal.Keys, id digest.ID, object []byte) (index.Pack, error) {
	if digest.Sum(object) != id {
		return index.Pack{}, fmt.Errorf("%w: content does not match the name", seal.ErrDamaged)
	}
	if len(object) < FirstOffset+seal.Overhead+TrailerSize {
		return index.Pack{}, fmt.Errorf("%w: a pack of %d bytes", seal.ErrDamaged, len(object))
	}
	body := object[:len(object)-TrailerSize]
	n, err := FooterSize(object[len(body):])
	if err != nil {
		return index.Pack{}, err
	}
	if n > len(body)-FirstOffset {
		return index.Pack{}, fmt.Errorf("%w: footer longer than the pack", seal.ErrDamaged)
	}
	return OpenFooter(keys, id, int64(len(object)), object, body[len(body)-n:])
}

// OpenChunk appends the payload of the chunk to dst: what its box, read from the
// pack, holds. The payload is still encoded, and its name is not checked yet.
func OpenChunk(s *seal.Sealer, dst []byte, id digest.ID, ordinal uint32, box []byte) ([]byte, error) {
	return s.Open(dst, uint64(ordinal), id[:], box)
}
