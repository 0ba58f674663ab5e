package repo

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
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

// newSlot wraps ring with secret and returns the slot's name and object.
func newSlot(ctx context.Context, repo digest.ID, ring *seal.Ring, secret Secret, now time.Time) (string, []byte, error) {
	s := slot{Kind: "plain", Created: now}
	var name string
	var material []byte
	switch {
	case secret.IsZero():
		s.Ring = ring.Marshal()
		return encodeSlot(plainSlot, &s)
	case secret.KeyFile != "":
		key, err := readKeyFile(secret.KeyFile)
		if err != nil {
			return "", nil, err
		}
		s.Kind, name, material = "key file", keyFileSlot(key), key[:]
	default:
		password, err := secret.password(ctx)
		if err != nil {
			return "", nil, err
		}
		if s.KDF, err = newKDF(); err != nil {
			return "", nil, err
		}
		if material, err = s.KDF.key(password); err != nil {
			return "", nil, err
		}
		s.Kind, name = "password", passPrefix+hex.EncodeToString(s.KDF.Salt)
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
	return encodeSlot(name, &s)
}

func encodeSlot(name string, s *slot) (string, []byte, error) {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return "", nil, fmt.Errorf("encode key slot: %w", err)
	}
	h := seal.PlainHeader(seal.Slot)
	object := append(h[:], body...)
	sum := digest.Sum(object) // against accidents; the wrapping is what authenticates
	return name, append(object, sum[:]...), nil
}

func readSlot(ctx context.Context, st storage.Storage, name string) (*slot, error) {
	object, err := st.Get(ctx, slotPrefix+name, slotLimit)
	if err != nil {
		return nil, err
	}
	if _, err := seal.ParseHeader(seal.Slot, object); err != nil {
		return nil, fmt.Errorf("key slot %s: %w", name, err)
	}
	n := len(object) - digest.Size
	if n < seal.HeaderSize || digest.Sum(object[:n]) != digest.ID(object[n:]) {
		return nil, fmt.Errorf("key slot %s: %w: wrong checksum", name, ErrDamaged)
	}
	s := &slot{}
	if err := json.Unmarshal(object[seal.HeaderSize:n], s); err != nil {
		return nil, fmt.Errorf("key slot %s: %w: %w", name, ErrDamaged, err)
	}
	return s, nil
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

// openRing finds the slot that secret opens.
func openRing(ctx context.Context, st storage.Storage, c *Config, secret Secret) (*seal.Ring, error) {
	switch {
	case !c.Encrypted():
		if !secret.IsZero() {
			// Else somebody could swap an empty unencrypted repository under a
			// client that means to encrypt.
			return nil, WithHint(fmt.Errorf("%w: a key was given, but the repository is not encrypted", ErrWrongKey),
				"leave the key out if this is the repository you mean")
		}
		s, err := readSlot(ctx, st, plainSlot)
		if errors.Is(err, storage.ErrNotExist) {
			err = cmp.Or(noSlot(ctx, st), fmt.Errorf("%w: %w", ErrDamaged, err))
		}
		if err != nil {
			return nil, err
		}
		return seal.UnmarshalRing(s.Ring)
	case secret.IsZero():
		return nil, WithHint(fmt.Errorf("%w: the repository is encrypted and no key was given", ErrWrongKey),
			"give --key-file, --password-file or --password-command (key_file, password_file, password_command in the YAML)")
	case secret.KeyFile != "":
		key, err := readKeyFile(secret.KeyFile)
		if err != nil {
			return nil, err
		}
		name := keyFileSlot(key)
		s, err := readSlot(ctx, st, name)
		if errors.Is(err, storage.ErrNotExist) {
			return nil, cmp.Or(noSlot(ctx, st), fmt.Errorf("%w: key file %s does not belong to this repository", ErrWrongKey, secret.KeyFile))
		}
		if err != nil {
			return nil, err
		}
		return s.unwrap(c.ID, name, key[:])
	}
	return openWithPassword(ctx, st, c, secret)
}

// noSlot returns an error if there is no key slot at all: then no key is to blame.
func noSlot(ctx context.Context, st storage.Storage) error {
	children, err := st.Children(ctx, slotPrefix)
	if err != nil || len(children) > 0 {
		return err
	}
	return WithHint(fmt.Errorf("%w: the repository has no key slot (keys/ is empty)", ErrDamaged), "put keys/ back from a copy")
}

func openWithPassword(ctx context.Context, st storage.Storage, c *Config, secret Secret) (*seal.Ring, error) {
	password, err := secret.password(ctx)
	if err != nil {
		return nil, err
	}
	children, err := st.Children(ctx, slotPrefix)
	if err != nil {
		return nil, err
	}
	var broken error
	for _, child := range children {
		if !strings.HasPrefix(child.Name, passPrefix) {
			continue
		}
		ring, err := tryPassword(ctx, st, c, child.Name, password)
		if err == nil {
			return ring, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		// A slot that somebody broke must not keep the other passwords out.
		if !errors.Is(err, ErrWrongKey) {
			broken = errors.Join(broken, err)
		}
	}
	if broken != nil {
		return nil, broken
	}
	return nil, cmp.Or(noSlot(ctx, st), fmt.Errorf("%w: the password opens none of the repository's key slots", ErrWrongKey))
}

func tryPassword(ctx context.Context, st storage.Storage, c *Config, name, password string) (*seal.Ring, error) {
	s, err := readSlot(ctx, st, name)
	if err != nil {
		return nil, err
	}
	if s.KDF == nil {
		return nil, fmt.Errorf("key slot %s: %w: no parameters for its password", name, ErrDamaged)
	}
	material, err := s.KDF.key(password)
	if err != nil {
		return nil, fmt.Errorf("key slot %s: %w", name, err)
	}
	return s.unwrap(c.ID, name, material)
}
