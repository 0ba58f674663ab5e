package seal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/restic/chunker"
	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/digest"
)

// Contexts of BLAKE3's derive_key mode. They are part of the format: changing one
// makes every repository unreadable.
const (
	contextNames    = "gpdedup v1 chunk names"
	contextPoly     = "gpdedup v1 chunker polynomial"
	contextFeatures = "gpdedup v1 similarity features"
	contextConfig   = "gpdedup v1 config authentication"
	contextData     = "gpdedup v1 data epoch"
	contextMeta     = "gpdedup v1 metadata epoch"
	contextObject   = "gpdedup v1 object"
)

// Ring is a repository's secrets. Content never changes, because chunk names and
// cut points come from it; epochs may be added to rotate what seals data. The
// highest epoch seals what is written now.
type Ring struct {
	Content    [32]byte
	Polynomial chunker.Pol // derived from Content, kept to save the search
	Epochs     []Epoch     // ascending by Number, never empty
}

// Epoch is one generation of sealing secrets.
type Epoch struct {
	Number uint16
	Secret [32]byte
}

// NewRing returns a ring of fresh secrets. Names and cut points are shared with
// the repository that content comes from, if it is given.
func NewRing(content *[32]byte) (*Ring, error) {
	r := &Ring{Epochs: []Epoch{{Number: 1}}}
	if content != nil {
		r.Content = *content
	} else if _, err := rand.Read(r.Content[:]); err != nil {
		return nil, fmt.Errorf("make key ring: %w", err)
	}
	if _, err := rand.Read(r.Epochs[0].Secret[:]); err != nil {
		return nil, fmt.Errorf("make key ring: %w", err)
	}
	h := blake3.NewDeriveKey(contextPoly)
	_, _ = h.Write(r.Content[:])
	pol, err := chunker.DerivePolynomial(h.Digest())
	if err != nil {
		return nil, fmt.Errorf("derive chunker polynomial: %w", err)
	}
	r.Polynomial = pol
	return r, nil
}

const (
	ringVersion = 1

	// polynomialDegree is what the chunker's derivation gives and its tables need.
	polynomialDegree = 53
)

// Marshal returns the ring as key slots wrap it.
func (r *Ring) Marshal() []byte {
	out := []byte{ringVersion}
	out = append(out, r.Content[:]...)
	out = binary.LittleEndian.AppendUint64(out, uint64(r.Polynomial))
	out = binary.LittleEndian.AppendUint16(out, uint16(len(r.Epochs)))
	for _, e := range r.Epochs {
		out = binary.LittleEndian.AppendUint16(out, e.Number)
		out = append(out, e.Secret[:]...)
	}
	return out
}

// UnmarshalRing reads what Marshal wrote.
func UnmarshalRing(data []byte) (*Ring, error) {
	const fixed = 1 + 32 + 8 + 2
	if len(data) < fixed {
		return nil, fmt.Errorf("read key ring: %w: %d bytes", ErrDamaged, len(data))
	}
	if data[0] != ringVersion {
		return nil, fmt.Errorf("read key ring of version %d: %w", data[0], ErrNewer)
	}
	r := &Ring{Polynomial: chunker.Pol(binary.LittleEndian.Uint64(data[33:]))}
	copy(r.Content[:], data[1:])
	n := int(binary.LittleEndian.Uint16(data[41:]))
	data = data[fixed:]
	if n == 0 || len(data) != n*34 {
		return nil, fmt.Errorf("read key ring: %w: %d epochs in %d bytes", ErrDamaged, n, len(data))
	}
	for ; len(data) > 0; data = data[34:] {
		e := Epoch{Number: binary.LittleEndian.Uint16(data)}
		copy(e.Secret[:], data[2:])
		if k := len(r.Epochs); k > 0 && r.Epochs[k-1].Number >= e.Number {
			return nil, fmt.Errorf("read key ring: %w: epochs are not ascending", ErrDamaged)
		}
		r.Epochs = append(r.Epochs, e)
	}
	if d := r.Polynomial.Deg(); d != polynomialDegree {
		return nil, fmt.Errorf("read key ring: %w: chunker polynomial of degree %d", ErrDamaged, d)
	}
	return r, nil
}

// Keys is a ring ready for use in one repository. It is safe for concurrent use.
type Keys struct {
	repo      digest.ID
	algorithm Algorithm
	ring      *Ring
	data      map[uint16][32]byte
	meta      map[uint16][32]byte
}

// NewKeys derives the working keys for the repository. Without encryption the
// boxes carry checksums only.
func NewKeys(repo digest.ID, ring *Ring, encrypted bool) *Keys {
	k := &Keys{
		repo: repo, ring: ring,
		data: make(map[uint16][32]byte), meta: make(map[uint16][32]byte),
	}
	if encrypted {
		k.algorithm = AES256GCM
	}
	for _, e := range ring.Epochs {
		k.data[e.Number] = derive(contextData, e.Secret[:])
		k.meta[e.Number] = derive(contextMeta, e.Secret[:])
	}
	return k
}

func derive(context string, material ...[]byte) (out [32]byte) {
	h := blake3.NewDeriveKey(context)
	for _, m := range material {
		_, _ = h.Write(m)
	}
	h.Sum(out[:0])
	return out
}

// SharesNames reports whether a chunk has the same name, the same cut points and the
// same features in both repositories.
func (k *Keys) SharesNames(other *Keys) bool { return k.ring.Content == other.ring.Content }

// NewRing returns a ring for another repository that shares names, cut points and
// features with this one, and nothing else.
func (k *Keys) NewRing() (*Ring, error) { return NewRing(&k.ring.Content) }

// Encrypted reports whether boxes are encrypted.
func (k *Keys) Encrypted() bool { return k.algorithm != Checksum }

// Polynomial returns the repository's chunker polynomial.
func (k *Keys) Polynomial() chunker.Pol { return k.ring.Polynomial }

// Namer returns a new hasher that names chunks.
func (k *Keys) Namer() *digest.Hasher {
	return digest.NewHasher(derive(contextNames, k.ring.Content[:]))
}

// FeatureKey returns the secret from which similarity features derive.
func (k *Keys) FeatureKey() [32]byte { return derive(contextFeatures, k.ring.Content[:]) }

// ConfigMAC authenticates the repository's config.
func (k *Keys) ConfigMAC(config []byte) digest.ID {
	return digest.NewHasher(derive(contextConfig, k.ring.Content[:], k.repo[:])).Sum(config)
}

// epochKey returns the secret that seals objects of the kind: packs and WAL are
// data, all else is metadata.
func (k *Keys) epochKey(kind Kind, epoch uint16) ([32]byte, bool) {
	if kind == Pack || kind == WAL {
		key, ok := k.data[epoch]
		return key, ok
	}
	key, ok := k.meta[epoch]
	return key, ok
}
