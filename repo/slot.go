package repo

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// A key slot wraps the key ring for one secret. The slot of a key file is found
// by a name that derives from the key, so that a process needs no listing; the
// slots of passwords are tried one by one; a repository without encryption keeps
// its ring, which then only makes names and checksums, in the open.
const (
	slotPrefix    = "keys/"
	plainSlot     = "plain"
	keyFilePrefix = "file-"
	passPrefix    = "password-"

	slotLimit = 64 << 10

	contextSlotName = "gpdedup v1 key slot name"
	contextSlotKey  = "gpdedup v1 key slot"
)

type slot struct {
	Kind    string     `json:"kind"`
	Created time.Time  `json:"created"`
	KDF     *kdfParams `json:"kdf,omitempty"`
	Nonce   []byte     `json:"nonce,omitempty"`
	Ring    []byte     `json:"ring"`
}

// kdfParams are argon2id's.
type kdfParams struct {
	Time   uint32 `json:"time"`
	Memory uint32 `json:"memory_kib"`
	Lanes  uint8  `json:"lanes"`
	Salt   []byte `json:"salt"`
}

func newKDF() (*kdfParams, error) {
	p := &kdfParams{Time: 3, Memory: 64 << 10, Lanes: 1, Salt: make([]byte, 16)}
	if _, err := rand.Read(p.Salt); err != nil {
		return nil, fmt.Errorf("make salt: %w", err)
	}
	return p, nil
}

// key derives the wrapping key; the bounds keep a hostile slot from taking all
// memory or time.
func (p *kdfParams) key(password string) ([]byte, error) {
	if p.Time < 1 || p.Time > 64 || p.Memory < 8 || p.Memory > 1<<20 || uint64(p.Time)*uint64(p.Memory) > 8<<20 || p.Lanes < 1 || len(p.Salt) < 8 {
		return nil, fmt.Errorf("%w: key slot asks for argon2id with time %d, %d KiB", ErrDamaged, p.Time, p.Memory)
	}
	return argon2.IDKey([]byte(password), p.Salt, p.Time, p.Memory, p.Lanes, 32), nil
}

func keyFileSlot(key [32]byte) string {
	var name [16]byte
	blake3.DeriveKey(contextSlotName, key[:], name[:])
	return keyFilePrefix + hex.EncodeToString(name[:])
}

// wrapCipher returns the cipher that wraps a ring, and what it binds.
func wrapCipher(repo digest.ID, name string, secret []byte) (cipher.AEAD, []byte, error) {
	var key [32]byte
	blake3.DeriveKey(contextSlotKey, secret, key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("make cipher: %w", err)
	}
	return aead, append(repo[:], name...), nil
}

// plainRing is the slot of a repository without encryption.
func plainRing(ring *seal.Ring, now time.Time) *slot {
	return &slot{Kind: "plain", Created: now, Ring: ring.Marshal()}
}

// newSlot wraps ring for whoever has the credential and returns the slot's name, too.
// kind is for people.
func newSlot(repo digest.ID, ring *seal.Ring, cred *credential, kind string, now time.Time) (string, *slot, error) {
	s := &slot{Kind: kind, Created: now}
	name, material := cred.slotName(), cred.key[:]
	if cred.isPassword() {
		var err error
		if s.KDF, err = newKDF(); err != nil {
			return "", nil, err
		}
		if material, err = s.KDF.key(cred.password); err != nil {
			return "", nil, err
		}
		name = passPrefix + hex.EncodeToString(s.KDF.Salt)
	}
	aead, bind, err := wrapCipher(repo, name, material)
	if err != nil {
		return "", nil, err
	}
	s.Nonce = make([]byte, aead.NonceSize())
	if _, err := rand.Read(s.Nonce); err != nil {
		return "", nil, fmt.Errorf("make nonce: %w", err)
	}
	s.Ring = aead.Seal(nil, s.Nonce, ring.Marshal(), bind)
	return name, s, nil
}

// encodeKeyObject returns the object that holds v: a slot, or a set of them.
func encodeKeyObject(v any) ([]byte, error) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode key slot: %w", err)
	}
	h := seal.PlainHeader(seal.Slot)
	object := append(h[:], body...)
	sum := digest.Sum(object) // against accidents; the wrapping is what authenticates
	if object = append(object, sum[:]...); len(object) > slotLimit {
		return nil, fmt.Errorf("encode key slots: %w: they take %d bytes of %d", ErrUsage, len(object), slotLimit)
	}
	return object, nil
}

// decodeKeyObject reads what encodeKeyObject made.
func decodeKeyObject(name string, object []byte, v any) error {
	if _, err := seal.ParseHeader(seal.Slot, object); err != nil {
		return fmt.Errorf("key slot %s: %w", name, err)
	}
	n := len(object) - digest.Size
	if n < seal.HeaderSize || digest.Sum(object[:n]) != digest.ID(object[n:]) {
		return fmt.Errorf("key slot %s: %w: wrong checksum", name, ErrDamaged)
	}
	if err := json.Unmarshal(object[seal.HeaderSize:n], v); err != nil {
		return fmt.Errorf("key slot %s: %w: %w", name, ErrDamaged, err)
	}
	return nil
}

func readSlot(ctx context.Context, st storage.Storage, name string) (*slot, error) {
	object, err := st.Get(ctx, slotPrefix+name, slotLimit)
	if err != nil {
		return nil, err
	}
	s := &slot{}
	if err := decodeKeyObject(name, object, s); err != nil {
		return nil, err
	}
	return s, nil
}

// material is what opens the slot, as far as the credential has it.
func (s *slot) material(name string, cred *credential) ([]byte, error) {
	switch {
	case cred.isPassword() != strings.HasPrefix(name, passPrefix), !cred.isPassword() && name != cred.slotName():
		return nil, ErrWrongKey
	case !cred.isPassword():
		return cred.key[:], nil
	case s.KDF == nil:
		return nil, fmt.Errorf("key slot %s: %w: no parameters for its password", name, ErrDamaged)
	}
	material, err := s.KDF.key(cred.password)
	if err != nil {
		return nil, fmt.Errorf("key slot %s: %w", name, err)
	}
	return material, nil
}

// open returns the ring of the slot, or ErrWrongKey.
func (s *slot) open(repo digest.ID, name string, cred *credential) (*seal.Ring, error) {
	material, err := s.material(name, cred)
	if err != nil {
		return nil, err
	}
	return s.unwrap(repo, name, material)
}

// unwrap opens the slot's ring with material, or returns ErrWrongKey.
func (s *slot) unwrap(repo digest.ID, name string, material []byte) (*seal.Ring, error) {
	aead, bind, err := wrapCipher(repo, name, material)
	if err != nil {
		return nil, err
	}
	if len(s.Nonce) != aead.NonceSize() {
		return nil, fmt.Errorf("key slot %s: %w: nonce of %d bytes", name, ErrDamaged, len(s.Nonce))
	}
	plain, err := aead.Open(nil, s.Nonce, s.Ring, bind)
	if err != nil {
		return nil, ErrWrongKey
	}
	return seal.UnmarshalRing(plain)
}
