package seal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/index"
)

// Kind says what an object is.
type Kind byte

// The kinds of format version 1.
const (
	Config    Kind = 'R'
	Slot      Kind = 'K'
	Pack      Kind = 'P'
	Fragment  Kind = 'F'
	Manifest  Kind = 'M'
	WAL       Kind = 'W'
	Mark      Kind = 'S'
	Point     Kind = 'N'
	Tombstone Kind = 'T'
	Condemned Kind = 'C'
	Lost      Kind = 'L'
	Checked   Kind = 'V'
)

var kindNames = map[Kind]string{
	Config: "config", Slot: "key slot", Pack: "pack", Fragment: "index fragment",
	Manifest: "manifest", WAL: "WAL object", Mark: "standby's mark", Point: "restore point", Tombstone: "tombstone",
	Condemned: "condemned list", Lost: "list of lost chunks", Checked: "list of checked packs",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("object of unknown kind %q", byte(k))
}

const (
	magic = "GPDD"

	// Version is the format version that this package writes and reads.
	Version = 1

	prefixSize = 16
	saltSize   = 32

	// HeaderSize is the length of every object's header in bytes.
	HeaderSize = prefixSize + saltSize
)

// Algorithm says how boxes are sealed.
type Algorithm byte

// The algorithms of format version 1.
const (
	Checksum  Algorithm = 0 // plain bytes and a keyed BLAKE3 checksum
	AES256GCM Algorithm = 1
)

const hashBLAKE3 = 1

// Errors that callers decide on.
var (
	// ErrNewer: the object was written by a version that this one does not know.
	ErrNewer = index.ErrNewer
	// ErrDamaged: the bytes are not what was stored.
	ErrDamaged = errors.New("damaged")
)

// Header is the front of every object. A box binds all of it.
type Header [HeaderSize]byte

func newHeader(kind Kind, alg Algorithm, epoch uint16) (h Header) {
	copy(h[:], magic)
	h[4] = byte(kind)
	h[5] = Version
	h[6] = byte(alg)
	h[7] = hashBLAKE3
	binary.LittleEndian.PutUint16(h[8:], epoch)
	return h
}

// ParseHeader checks that data begins with the header of an object of this kind
// which this version can read.
func ParseHeader(kind Kind, data []byte) (Header, error) {
	var h Header
	if len(data) < HeaderSize || string(data[:4]) != magic {
		return h, fmt.Errorf("%w: no %s begins here", ErrDamaged, kind)
	}
	copy(h[:], data)
	if h.Kind() != kind {
		return h, fmt.Errorf("%w: a %s where a %s was expected", ErrDamaged, h.Kind(), kind)
	}
	if h[5] > Version || Algorithm(h[6]) > AES256GCM || h[7] != hashBLAKE3 || h[10] != 0 {
		return h, fmt.Errorf("%s of version %d, algorithms %d and %d, flags %d: %w", kind, h[5], h[6], h[7], h[10], ErrNewer)
	}
	if h[5] == 0 {
		return h, fmt.Errorf("%w: format version 0", ErrDamaged)
	}
	return h, nil
}

// Kind returns the object's kind.
func (h *Header) Kind() Kind { return Kind(h[4]) }

// Algorithm returns how the object's boxes are sealed.
func (h *Header) Algorithm() Algorithm { return Algorithm(h[6]) }

// Epoch returns the number of the key epoch under which the object was sealed.
func (h *Header) Epoch() uint16 { return binary.LittleEndian.Uint16(h[8:]) }

// IsZero reports whether the header is unknown.
func (h *Header) IsZero() bool { return *h == Header{} }

// PlainHeader returns the header of an object that is not made of boxes: config
// and key slots, which authenticate themselves.
func PlainHeader(kind Kind) Header { return newHeader(kind, Checksum, 0) }
