package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
)

// Overhead is how many bytes a box is longer than what it holds, encrypted or not.
const Overhead = index.BoxOverhead

// Ordinals that do not count chunks.
const (
	FooterOrdinal  = math.MaxUint64     // a pack's footer
	PaddingOrdinal = math.MaxUint64 - 1 // a pack's padding
	DocumentBox    = 0                  // the only box of a document
)

// Sealer seals and opens the boxes of one object. It is safe for concurrent use.
type Sealer struct {
	Header Header
	prefix [digest.Size + HeaderSize]byte // repository and header, bound to every box
	aead   cipher.AEAD                    // nil: checksums
	mac    *blake3.Hasher                 // keyed template, only cloned
}

// NewObject starts an object with a fresh salt.
func (k *Keys) NewObject(kind Kind) (*Sealer, error) {
	h := newHeader(kind, k.algorithm, k.ring().Newest())
	if _, err := rand.Read(h[prefixSize:]); err != nil {
		return nil, fmt.Errorf("make salt: %w", err)
	}
	return k.sealer(h)
}

// OpenObject returns the sealer for an object that begins with header.
func (k *Keys) OpenObject(kind Kind, header []byte) (*Sealer, error) {
	h, err := ParseHeader(kind, header)
	if err != nil {
		return nil, err
	}
	if h.Algorithm() != k.algorithm {
		// Else whoever can write to the storage could slip plain objects into an
		// encrypted repository.
		return nil, fmt.Errorf("%w: %s is not sealed as the repository's config says", ErrDamaged, kind)
	}
	return k.sealer(h)
}

func (k *Keys) sealer(h Header) (*Sealer, error) {
	secret, ok := k.epochKey(h.Kind(), h.Epoch())
	if !ok {
		if err := k.meet(h.Epoch()); err != nil {
			return nil, fmt.Errorf("%s is sealed with key epoch %d, which is newer than the key ring at hand: %w", h.Kind(), h.Epoch(), err)
		}
		if secret, ok = k.epochKey(h.Kind(), h.Epoch()); !ok {
			return nil, &EpochError{Kind: h.Kind(), Epoch: h.Epoch(), Held: k.ring().Newest()}
		}
	}
	key := derive(contextObject, secret[:], []byte{byte(h.Kind())}, h[prefixSize:])
	s := &Sealer{Header: h}
	copy(s.prefix[:], k.repo[:])
	copy(s.prefix[digest.Size:], h[:])
	if k.algorithm == Checksum {
		mac, err := blake3.NewKeyed(key[:])
		if err != nil {
			return nil, fmt.Errorf("make checksum key: %w", err)
		}
		s.mac = mac
		return s, nil
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return s, nil
}

// Seal appends the box of plain to dst. No two boxes of an object may have the
// same ordinal. dst's spare capacity must not overlap plain, unless plain begins exactly
// where dst ends: then it is sealed in place.
func (s *Sealer) Seal(dst []byte, ordinal uint64, bind, plain []byte) []byte {
	ad := s.associated(ordinal, bind)
	if s.aead == nil {
		sum := s.checksum(ad, plain)
		return append(append(dst, plain...), sum[:]...)
	}
	nonce := boxNonce(ordinal)
	return s.aead.Seal(dst, nonce[:], plain, ad)
}

// Open appends what the box holds to dst, or returns ErrDamaged, wrapped, and
// then no byte of it. dst's spare capacity must not overlap box.
func (s *Sealer) Open(dst []byte, ordinal uint64, bind, box []byte) ([]byte, error) {
	if len(box) < Overhead {
		return nil, fmt.Errorf("%w: a sealed piece of %d bytes", ErrDamaged, len(box))
	}
	ad := s.associated(ordinal, bind)
	if s.aead == nil {
		plain, sum := box[:len(box)-Overhead], box[len(box)-Overhead:]
		want := s.checksum(ad, plain)
		if subtle.ConstantTimeCompare(sum, want[:]) != 1 {
			return nil, fmt.Errorf("%w: wrong checksum", ErrDamaged)
		}
		return append(dst, plain...), nil
	}
	nonce := boxNonce(ordinal)
	plain, err := s.aead.Open(dst, nonce[:], box, ad)
	if err != nil {
		return nil, fmt.Errorf("%w: authentication failed", ErrDamaged)
	}
	return plain, nil
}

func (s *Sealer) associated(ordinal uint64, bind []byte) []byte {
	ad := make([]byte, 0, len(s.prefix)+8+len(bind))
	ad = append(ad, s.prefix[:]...)
	ad = binary.LittleEndian.AppendUint64(ad, ordinal)
	return append(ad, bind...)
}

func (s *Sealer) checksum(ad, plain []byte) (sum [Overhead]byte) {
	var length [8]byte // keeps the two parts apart
	binary.LittleEndian.PutUint64(length[:], uint64(len(ad)))
	h := s.mac.Clone()
	_, _ = h.Write(length[:])
	_, _ = h.Write(ad)
	_, _ = h.Write(plain)
	var full [32]byte
	h.Sum(full[:0])
	copy(sum[:], full[:])
	return sum
}

// boxNonce is unique within an object, and the object's key is its own.
func boxNonce(ordinal uint64) (nonce [12]byte) {
	binary.LittleEndian.PutUint64(nonce[:], ordinal)
	return nonce
}
