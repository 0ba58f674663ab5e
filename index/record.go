package index

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/gpdedup/gpdedup/digest"
)

// record is one chunk's location as builder and reader pass it around:
//
//	id 32 | pack u32 | offset u32 | stored u32 | raw u32 | ordinal u32 |
//	encoding u8 | flags u8 | depth u8 | base 32 (a delta) | features 24 (flagged)
//
// The pack is a number that whoever holds the record can resolve. In a generation
// the first keySize bytes are the key and the rest, with a checksum, the value.
type record []byte

const (
	keySize     = 16
	packAt      = digest.Size
	encodingAt  = packAt + 5*4
	recordSize  = encodingAt + 3
	maxRecord   = recordSize + digest.Size + featuresSize
	checksumLen = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // never changes

// recordLen returns how long the record is that begins with the recordSize bytes
// of front.
func recordLen(front []byte) int {
	n := recordSize
	if Encoding(front[encodingAt]) == Delta {
		n += digest.Size
	}
	if front[encodingAt+1]&(FlagFeatures|flagDropped) == FlagFeatures {
		n += featuresSize
	}
	return n
}

// flagDropped is a flag of a record, never of an Entry: the chunk has features, but
// this generation does not keep them. Its location says what the fragment says.
const flagDropped = 1 << 7

// dropFeatures returns r without its features. It changes r.
func (r record) dropFeatures() record {
	if _, ok := r.features(); !ok {
		return r
	}
	r[encodingAt+1] |= flagDropped
	return r[:len(r)-featuresSize]
}

func appendRecord(dst []byte, e *Entry, pack, offset, ordinal uint32) []byte {
	dst = append(dst, e.ID[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, pack)
	dst = binary.LittleEndian.AppendUint32(dst, offset)
	dst = binary.LittleEndian.AppendUint32(dst, e.Stored)
	dst = binary.LittleEndian.AppendUint32(dst, e.Raw)
	dst = binary.LittleEndian.AppendUint32(dst, ordinal)
	dst = append(dst, byte(e.Encoding), e.Flags, e.Depth)
	if e.Encoding == Delta {
		dst = append(dst, e.Base[:]...)
	}
	if e.Flags&FlagFeatures != 0 {
		for _, f := range e.Features {
			dst = binary.LittleEndian.AppendUint64(dst, f)
		}
	}
	return dst
}

func (r record) id() []byte          { return r[:digest.Size] }
func (r record) pack() uint32        { return binary.LittleEndian.Uint32(r[packAt:]) }
func (r record) setPack(pack uint32) { binary.LittleEndian.PutUint32(r[packAt:], pack) }

// location decodes r; pack is the id that stands behind r.pack().
func (r record) location(pack digest.ID) Location {
	loc := Location{
		Pack:     pack,
		Offset:   binary.LittleEndian.Uint32(r[packAt+4:]),
		Stored:   binary.LittleEndian.Uint32(r[packAt+8:]),
		Raw:      binary.LittleEndian.Uint32(r[packAt+12:]),
		Ordinal:  binary.LittleEndian.Uint32(r[packAt+16:]),
		Encoding: Encoding(r[encodingAt]),
		Flags:    r[encodingAt+1] &^ flagDropped,
		Depth:    r[encodingAt+2],
	}
	if loc.Encoding == Delta {
		copy(loc.Base[:], r[recordSize:])
	}
	return loc
}

// features returns the similarity features, if the record has them.
func (r record) features() (f [3]uint64, ok bool) {
	if r[encodingAt+1]&(FlagFeatures|flagDropped) != FlagFeatures {
		return f, false
	}
	at := len(r) - featuresSize
	for i := range f {
		f[i] = binary.LittleEndian.Uint64(r[at+8*i:])
	}
	return f, true
}

// checkPacks refuses packs whose chunks would lie beyond what a u32 offset reaches:
// no writer makes them, and the sum would wrap around to a wrong location.
func checkPacks(first uint32, packs []Pack) error {
	for i := range packs {
		end := uint64(first)
		for j := range packs[i].Entries {
			end += uint64(packs[i].Entries[j].Stored)
		}
		if end > math.MaxUint32 {
			return fmt.Errorf("%w: chunks of pack %s end at %d", ErrCorrupt, packs[i].ID.Short(), end)
		}
	}
	return nil
}

// The rows of the two small buckets, without their checksums.
const (
	packRow     = digest.Size + 4
	fragmentRow = 4 + 4 + 4 + 1
)

// flagLeftOut marks a fragment whose entries the generation does not hold because
// of the size limit. It is covered all the same: nobody reads it again and again.
const flagLeftOut = 1

// checksum is over the generation's salt and what the row says.
func checksum(salt uint32, parts ...[]byte) uint32 {
	for _, p := range parts {
		salt = crc32.Update(salt, castagnoli, p)
	}
	return salt
}

// sealRow appends the checksum over key and value to value.
func sealRow(salt uint32, key, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, checksum(salt, key, value))
}

// openRow verifies what sealRow made and returns the value without the checksum.
func openRow(salt uint32, key, row []byte) ([]byte, error) {
	if len(row) < checksumLen {
		return nil, fmt.Errorf("%w: row of %d bytes", errDamaged, len(row))
	}
	value := row[:len(row)-checksumLen]
	if checksum(salt, key, value) != binary.LittleEndian.Uint32(row[len(value):]) {
		return nil, fmt.Errorf("%w: checksum mismatch", errDamaged)
	}
	return value, nil
}
