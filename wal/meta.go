package wal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// Info is what an object says about the file that it holds.
type Info struct {
	Name        Name
	PageMagic   uint16 // as are the next four, 0 for a History or a Backup
	PageTLI     uint32 // timeline of the first page
	Number      uint64 // of the segment
	SegmentSize uint32 // bytes
	PageSize    uint32 // bytes
	System      SystemID
	Length      int64     // of the file, in bytes
	Hash        digest.ID // of the file, without key
	Origin      manifest.Origin

	boxes []uint32 // lengths of the piece boxes
}

// Same reports whether both describe the same bytes of the same cluster.
func (i *Info) Same(other *Info) bool {
	return i.Name == other.Name && i.System == other.System && i.Length == other.Length && i.Hash == other.Hash
}

// An object is laid out as docs/format.md says: header, metadata box, piece boxes,
// and padding where the repository is encrypted.
const (
	metaEnd   = 4096 // of the object: one read gives all that is to be known of the file
	metaSize  = metaEnd - seal.HeaderSize - seal.Overhead
	metaFixed = 88
	metaBox   = 0 // ordinal; pieces count from 1

	metaVersion = 1
	maxOrigin   = 2048
	maxPieces   = 256
	minPiece    = 1 << 20
	maxPiece    = MaxSegmentSize / maxPieces // bytes

	// maxText bounds a .history or .backup file.
	maxText = 16 << 20
)

// pieceSize returns into which pieces a file of length bytes is cut, and how many.
func pieceSize(length int64) (size uint32, n int) {
	size = minPiece
	if pieces := (length + minPiece - 1) / minPiece; pieces > maxPieces {
		size <<= bits.Len64(uint64((pieces - 1) / maxPieces))
	}
	return size, int((length + int64(size) - 1) / int64(size))
}

// marshal returns the plain bytes of the metadata box.
func (i *Info) marshal() ([]byte, error) {
	origin, err := marshalOrigin(i.Origin)
	if err != nil {
		return nil, err
	}
	size, n := pieceSize(i.Length)
	out := make([]byte, metaFixed, metaSize)
	le := binary.LittleEndian
	out[0], out[1] = metaVersion, byte(i.Name.Kind)
	le.PutUint16(out[4:], i.PageMagic)
	le.PutUint16(out[6:], uint16(len(origin)))
	le.PutUint32(out[8:], i.Name.Timeline)
	le.PutUint32(out[12:], i.PageTLI)
	le.PutUint64(out[16:], uint64(i.System))
	le.PutUint64(out[24:], i.Number)
	le.PutUint32(out[32:], i.SegmentSize)
	le.PutUint32(out[36:], i.PageSize)
	le.PutUint64(out[40:], uint64(i.Length))
	copy(out[48:], i.Hash[:])
	le.PutUint32(out[80:], size)
	le.PutUint32(out[84:], uint32(n))
	if n != len(i.boxes) {
		return nil, fmt.Errorf("%d pieces of a file that has %d", len(i.boxes), n)
	}
	for _, b := range i.boxes {
		out = le.AppendUint32(out, b)
	}
	out = append(out, origin...)
	return out[:metaSize], nil
}

// marshalOrigin returns the JSON for people, short enough to fit.
func marshalOrigin(o manifest.Origin) ([]byte, error) {
	o.Command = ""
	for {
		out, err := json.Marshal(o)
		if err != nil || len(out) <= maxOrigin {
			return out, err
		}
		longest := &o.Path
		for _, s := range []*string{&o.Host, &o.Version} {
			if len(*s) > len(*longest) {
				longest = s
			}
		}
		*longest = (*longest)[:len(*longest)/2]
		for !utf8.ValidString(*longest) && *longest != "" { // in the middle of a letter
			*longest = (*longest)[:len(*longest)-1]
		}
	}
}

// unmarshalInfo reads the plain bytes of the metadata box of the object for the name.
// Whatever does not follow from the rest is damage: the box is authentic, so either
// its writer was broken or this reader is.
func unmarshalInfo(name Name, data []byte) (*Info, error) {
	damaged := func(format string, args ...any) (*Info, error) {
		return nil, fmt.Errorf("%w: metadata: %s", repo.ErrDamaged, fmt.Sprintf(format, args...))
	}
	if len(data) != metaSize {
		return damaged("%d bytes", len(data))
	}
	le := binary.LittleEndian
	if v, kind, flags := data[0], data[1], le.Uint16(data[2:]); v > metaVersion || kind > byte(Backup) || flags != 0 {
		return nil, fmt.Errorf("WAL object of version %d, kind %d, flags %04x: %w", v, kind, flags, repo.ErrNewer)
	} else if v == 0 {
		return damaged("version 0")
	}
	i := &Info{
		Name: name, PageMagic: le.Uint16(data[4:]), PageTLI: le.Uint32(data[12:]),
		System: SystemID(le.Uint64(data[16:])), Number: le.Uint64(data[24:]),
		SegmentSize: le.Uint32(data[32:]), PageSize: le.Uint32(data[36:]),
	}
	if Kind(data[1]) != name.Kind || le.Uint32(data[8:]) != name.Timeline {
		return damaged("it is of another file: a %s of timeline %d", Kind(data[1]), le.Uint32(data[8:]))
	}
	length := le.Uint64(data[40:])
	if name.isSegment() {
		number, ok := name.Number(i.SegmentSize)
		if !ok || number != i.Number || length != uint64(i.SegmentSize) {
			return damaged("segment number %d, segment size %d, length %d", i.Number, i.SegmentSize, length)
		}
		if !validPageSize(i.PageSize) {
			return damaged("pages of %d bytes", i.PageSize)
		}
	} else if i.PageMagic != 0 || i.PageTLI != 0 || i.Number != 0 || i.SegmentSize != 0 || i.PageSize != 0 || length > maxText {
		return damaged("a %s of %d bytes, segment size %d", name.Kind, length, i.SegmentSize)
	}
	i.Length = int64(length)
	copy(i.Hash[:], data[48:])
	size, n := pieceSize(i.Length)
	if le.Uint32(data[80:]) != size || le.Uint32(data[84:]) != uint32(n) {
		return damaged("%d pieces of %d bytes", le.Uint32(data[84:]), le.Uint32(data[80:]))
	}
	for b := range n {
		box := le.Uint32(data[metaFixed+4*b:])
		if box < seal.Overhead+1 || box > size+seal.Overhead+1 {
			return damaged("piece %d takes %d bytes", b+1, box)
		}
		i.boxes = append(i.boxes, box)
	}
	rest := data[metaFixed+4*n:]
	used := int(le.Uint16(data[6:]))
	if used > maxOrigin || used > len(rest) {
		return damaged("%d bytes of JSON", used)
	}
	for _, b := range rest[used:] {
		if b != 0 {
			return damaged("bytes that are not zero after the JSON")
		}
	}
	if used > 0 {
		if err := json.Unmarshal(rest[:used], &i.Origin); err != nil {
			return damaged("%v", err)
		}
	}
	return i, nil
}

func (n Name) isSegment() bool { return n.Kind == Segment || n.Kind == Partial }
