package pack

import (
	"bytes"
	"fmt"
	"hash/crc32"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// Builder assembles one pack in memory. It is not safe for concurrent use.
type Builder struct {
	sealer  *seal.Sealer
	padded  bool
	buf     []byte
	entries []index.Entry
	footer  int    // encoded length of the entries
	check   []byte // scratch: the box just sealed, opened again
}

// NewBuilder starts a pack in buf, whose capacity is used and whose content is
// overwritten. The pack that Finish returns shares its memory.
func NewBuilder(keys *seal.Keys, buf []byte) (*Builder, error) {
	s, err := keys.NewObject(seal.Pack)
	if err != nil {
		return nil, err
	}
	return &Builder{
		sealer: s, padded: keys.Encrypted(),
		buf: append(buf[:0], s.Header[:]...), footer: 4,
	}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum of a payload that Add compares with what it sealed. Whoever
// takes it before checking that the payload decodes closes the gap in which
// memory could change unnoticed.
func Sum(payload []byte) uint32 { return crc32.Checksum(payload, castagnoli) }

// Header returns the pack's header.
func (b *Builder) Header() seal.Header { return b.sealer.Header }

// Len returns the number of chunks in the pack.
func (b *Builder) Len() int { return len(b.entries) }

// Size returns how long the pack would be if it were finished now, in bytes,
// before padding.
func (b *Builder) Size() int {
	n := len(b.buf) + b.footer + seal.Overhead + TrailerSize
	if b.padded {
		n += seal.Overhead
	}
	return n
}

// Payload returns the bytes of all chunks so far, seals included.
func (b *Builder) Payload() int { return len(b.buf) - FirstOffset }

// Add seals the payload of a chunk into the pack. Of entry everything but Stored
// must be set; sum is the payload's Sum. The box is opened again and compared
// before Add returns. Location.Pack of the result is zero: a pack has its name
// only when it is finished.
func (b *Builder) Add(entry index.Entry, payload []byte, sum uint32) (index.Location, error) {
	offset := len(b.buf)
	ordinal := uint64(len(b.entries))
	b.buf = b.sealer.Seal(b.buf, ordinal, entry.ID[:], payload)
	box := b.buf[offset:]
	opened, err := b.sealer.Open(b.check[:0], ordinal, entry.ID[:], box)
	if err != nil || Sum(opened) != sum || !bytes.Equal(opened, payload) {
		return index.Location{}, fmt.Errorf("seal chunk %s: what was sealed does not open to the same bytes: "+
			"this machine's memory or processor is not to be trusted", entry.ID.Short())
	}
	b.check = opened
	entry.Stored = uint32(len(box))
	b.entries = append(b.entries, entry)
	b.footer += index.EntrySize(&entry)
	return index.Location{
		Offset: uint32(offset), Stored: entry.Stored, Raw: entry.Raw, Ordinal: uint32(ordinal),
		Encoding: entry.Encoding, Flags: entry.Flags, Depth: entry.Depth, Base: entry.Base,
	}, nil
}

// Finish completes the pack and returns its directory and its bytes.
func (b *Builder) Finish() (index.Pack, []byte) {
	if b.padded {
		n := b.Size()
		b.buf = b.sealer.Seal(b.buf, seal.PaddingOrdinal, nil, make([]byte, seal.Padme(n)-n))
	}
	footer := index.AppendEntries(make([]byte, 0, b.footer), b.entries)
	at := len(b.buf)
	b.buf = b.sealer.Seal(b.buf, seal.FooterOrdinal, footerBind, footer)
	b.buf = appendTrailer(b.buf, len(b.buf)-at)
	return index.Pack{ID: digest.Sum(b.buf), Size: uint32(len(b.buf)), Entries: b.entries}, b.buf
}

// Inline turns rows that lie in this unfinished pack into rows whose payloads lie
// in the returned bytes, for a manifest.
func (b *Builder) Inline(rows []manifest.Chunk) ([]byte, error) {
	var inline []byte
	at := make(map[uint32]uint32) // ordinal → offset in inline
	for i := range rows {
		c := &rows[i]
		offset, ok := at[c.Ordinal]
		if !ok {
			offset = uint32(len(inline))
			var err error
			inline, err = b.sealer.Open(inline, uint64(c.Ordinal), c.ID[:], b.buf[c.Offset:c.Offset+c.Stored])
			if err != nil {
				return nil, fmt.Errorf("inline chunk %s: %w", c.ID.Short(), err)
			}
			at[c.Ordinal] = offset
		}
		c.Stored -= seal.Overhead
		c.Pack, c.Offset, c.Ordinal = manifest.InlinePack, offset, 0
	}
	return inline, nil
}
