package index

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/digest"
)

// Encoding says how a chunk's stored bytes give its content.
type Encoding uint8

// The encodings of format version 1.
const (
	Raw     Encoding = 0 // stored as it is
	Zstd    Encoding = 1 // one zstd frame, no checksum
	Delta   Encoding = 2 // a delta against the base chunk
	Columns Encoding = 3 // by columns, which are zstd frames
)

// Known reports whether this program knows the encoding.
func (e Encoding) Known() bool { return e <= Columns }

func (e Encoding) String() string {
	switch e {
	case Raw:
		return "raw"
	case Zstd:
		return "zstd"
	case Delta:
		return "delta"
	case Columns:
		return "columns"
	}
	return fmt.Sprintf("encoding %d", uint8(e))
}

// Flags of an Entry.
const (
	FlagLeaf     = 1 << 0 // the chunk is a leaf list, not user data
	FlagFeatures = 1 << 1 // three similarity features follow the entry
	knownFlags   = FlagLeaf | FlagFeatures
)

// Entry describes one chunk in a pack. Its offset is not stored: chunks lie back
// to back, so it is the sum of what comes before (see Pack.Location).
type Entry struct {
	ID       digest.ID
	Stored   uint32 // bytes in the pack, the seal included
	Raw      uint32 // bytes of the chunk itself
	Encoding Encoding
	Flags    uint8
	Depth    uint8     // length of the chain of bases; 0 unless Encoding is Delta
	Base     digest.ID // the chunk the delta needs; zero unless Encoding is Delta
	Features [3]uint64 // only with FlagFeatures
}

// Pack is the directory of one pack: what a footer holds and what an index
// fragment repeats.
type Pack struct {
	ID      digest.ID
	Size    uint32 // bytes of the whole object
	Entries []Entry
}

// Location says where a chunk is and what it takes to read it.
type Location struct {
	Pack     digest.ID
	Offset   uint32 // of the sealed chunk in the pack
	Stored   uint32
	Raw      uint32
	Ordinal  uint32 // position of the chunk in its pack; part of its nonce
	Encoding Encoding
	Flags    uint8
	Depth    uint8
	Base     digest.ID
}

// Locations calls fn for every entry of the pack with its location; first is the
// offset of the pack's first chunk.
func (p *Pack) Locations(first uint32, fn func(digest.ID, Location)) {
	offset := first
	for i := range p.Entries {
		e := &p.Entries[i]
		fn(e.ID, Location{
			Pack: p.ID, Offset: offset, Stored: e.Stored, Raw: e.Raw, Ordinal: uint32(i),
			Encoding: e.Encoding, Flags: e.Flags, Depth: e.Depth, Base: e.Base,
		})
		offset += e.Stored
	}
}

// Sizes of the encoded forms, in bytes.
const (
	entrySize    = digest.Size + 4 + 4 + 1 + 1
	deltaSize    = 1 + digest.Size
	featuresSize = 3 * 8
	packSize     = digest.Size + 4 + 4
)

// EntrySize returns the encoded length of e in bytes.
func EntrySize(e *Entry) int {
	n := entrySize
	if e.Encoding == Delta {
		n += deltaSize
	}
	if e.Flags&FlagFeatures != 0 {
		n += featuresSize
	}
	return n
}

// MaxDepth is the longest chain of bases that any reader follows.
const MaxDepth = 255

// MaxChunk is the largest chunk that any decoder accepts, in bytes.
const MaxChunk = 32 << 20

// BoxOverhead is how many bytes a sealed chunk in a pack is longer than its payload.
const BoxOverhead = 16

// Errors that wrap every decoding error of this package.
var (
	// ErrCorrupt: the data is not what was written.
	ErrCorrupt = errors.New("corrupt index data")
	// ErrNewer: the data was written by a version that this one does not know.
	ErrNewer = errors.New("written in a newer format; upgrade gpdedup")
)

// AppendEntries appends the encoding of entries, as footers hold it, to dst.
func AppendEntries(dst []byte, entries []Entry) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(entries)))
	for i := range entries {
		e := &entries[i]
		dst = append(dst, e.ID[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, e.Stored)
		dst = binary.LittleEndian.AppendUint32(dst, e.Raw)
		dst = append(dst, byte(e.Encoding), e.Flags)
		if e.Encoding == Delta {
			dst = append(dst, e.Depth)
			dst = append(dst, e.Base[:]...)
		}
		if e.Flags&FlagFeatures != 0 {
			for _, f := range e.Features {
				dst = binary.LittleEndian.AppendUint64(dst, f)
			}
		}
	}
	return dst
}

// DecodeEntries reads what AppendEntries wrote from the front of data and returns
// what is left of it. An encoding or a flag of a later version is an error.
func DecodeEntries(data []byte) (entries []Entry, rest []byte, err error) {
	n, data, ok := takeUint32(data)
	if !ok {
		return nil, nil, fmt.Errorf("%w: entry count is cut short", ErrCorrupt)
	}
	if uint64(n)*entrySize > uint64(len(data)) {
		return nil, nil, fmt.Errorf("%w: %d entries do not fit in %d bytes", ErrCorrupt, n, len(data))
	}
	entries = make([]Entry, n)
	for i := range entries {
		if data, err = decodeEntry(data, &entries[i]); err != nil {
			return nil, nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return entries, data, nil
}

func decodeEntry(data []byte, e *Entry) ([]byte, error) {
	if len(data) < entrySize {
		return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	copy(e.ID[:], data)
	data = data[digest.Size:]
	e.Stored = binary.LittleEndian.Uint32(data)
	e.Raw = binary.LittleEndian.Uint32(data[4:])
	e.Encoding, e.Flags = Encoding(data[8]), data[9]
	data = data[10:]
	if !e.Encoding.Known() || e.Flags&^knownFlags != 0 {
		return nil, fmt.Errorf("chunk encoding %d, flags %#x: %w", e.Encoding, e.Flags, ErrNewer)
	}
	// What does not shrink is stored as it is, so a payload is never longer than
	// its content.
	if e.Raw > MaxChunk || e.Stored < BoxOverhead || e.Stored > e.Raw+BoxOverhead {
		return nil, fmt.Errorf("%w: chunk of %d bytes, stored in %d", ErrCorrupt, e.Raw, e.Stored)
	}
	if e.Encoding == Delta {
		if len(data) < deltaSize {
			return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
		}
		e.Depth = data[0]
		copy(e.Base[:], data[1:])
		data = data[deltaSize:]
	}
	if e.Flags&FlagFeatures != 0 {
		if len(data) < featuresSize {
			return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
		}
		for i := range e.Features {
			e.Features[i] = binary.LittleEndian.Uint64(data[8*i:])
		}
		data = data[featuresSize:]
	}
	return data, nil
}

func takeUint32(data []byte) (uint32, []byte, bool) {
	if len(data) < 4 {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint32(data), data[4:], true
}
