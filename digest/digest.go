// Package digest holds the 32-byte identifiers by which a repository names its
// objects and its chunks.
//
// Packs and index fragments are named by the plain BLAKE3 hash of the bytes that
// are stored, so anyone can check them without a key. Chunks are named by keyed
// BLAKE3 of their content, so a name tells nothing to whoever lacks the key.
package digest

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// Size is the length of an ID in bytes.
const Size = 32

// ID names an object or a chunk.
type ID [Size]byte

// Sum returns the unkeyed BLAKE3-256 of data.
func Sum(data []byte) ID { return blake3.Sum256(data) }

// Parse reads the 64 hexadecimal digits that String writes.
func Parse(s string) (ID, error) {
	var id ID
	if len(s) != 2*Size {
		return ID{}, fmt.Errorf("parse id %q: want %d hexadecimal digits", s, 2*Size)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("parse id %q: %w", s, err)
	}
	return id, nil
}

// String returns the ID as 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 10 hexadecimal digits, for messages.
func (id ID) Short() string { return hex.EncodeToString(id[:5]) }

// IsZero reports whether id is the zero ID, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs bytewise.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Hasher names chunks with keyed BLAKE3. It is not safe for concurrent use; each
// goroutine takes its own with Clone.
type Hasher struct{ h *blake3.Hasher }

// NewHasher returns a Hasher for the 32-byte key.
func NewHasher(key [Size]byte) *Hasher {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic("digest: a 32-byte key was refused: " + err.Error())
	}
	return &Hasher{h: h}
}

// Clone returns an independent Hasher with the same key.
func (h *Hasher) Clone() *Hasher { return &Hasher{h: h.h.Clone()} }

// Sum returns the name of data. It does not allocate.
func (h *Hasher) Sum(data []byte) (id ID) {
	h.h.Reset()
	_, _ = h.h.Write(data) // never fails
	h.h.Sum(id[:0])
	return id
}
