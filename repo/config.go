package repo

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

const (
	configKey = "config"

	// configLimit bounds the config object in bytes.
	configLimit = 64 << 10
)

// Config is what a repository's config object says. It never changes.
type Config struct {
	ID         digest.ID `json:"-"`
	IDHex      string    `json:"id"`
	Created    time.Time `json:"created"`
	Encryption string    `json:"encryption"` // "aes-256-gcm" or "none"
	Chunks     Chunks    `json:"chunks"`
	DeltaDepth uint8     `json:"delta_depth,omitempty"` // longest chain of bases; absent: defaultDeltaDepth
	Target     *Target   `json:"target,omitempty"`      // of a bucket; nil: nobody looked, or a directory
}

// Target is what init's probe found of the storage.
type Target struct {
	Probed         time.Time `json:"probed"`
	ConditionalPut bool      `json:"conditional_put"` // of racing writers of one name one wins
	CRC32C         bool      `json:"crc32c"`          // the storage verifies this checksum
}

// traits are what the storage is told to go by.
func (t *Target) traits() storage.Traits {
	known := func(b bool) storage.Support {
		if b {
			return storage.Yes
		}
		return storage.No
	}
	return storage.Traits{ConditionalPut: known(t.ConditionalPut), CRC32C: known(t.CRC32C)}
}

// defaultDeltaDepth balances what thirty days of scattered changes take against how
// long the last of them takes to restore: see docs/performance.md.
const defaultDeltaDepth = 32

const (
	encryptionNone = "none"
	encryptionAES  = "aes-256-gcm"
)

// Chunks are the parameters of content-defined chunking. The mean chunk is
// Min + 2^Bits bytes.
type Chunks struct {
	Min  uint `json:"min"`
	Max  uint `json:"max"`
	Bits int  `json:"bits"`
}

// Bounds of the mean chunk size in bytes, and its default.
const (
	MinChunkSize     = 16 << 10
	MaxChunkSize     = 4 << 20
	DefaultChunkSize = 256 << 10
)

// ChunksFor returns parameters whose true mean is the given size in bytes: about
// half of it is skipped, the other half is the expected way to the next cut.
func ChunksFor(mean int) (Chunks, error) {
	if mean < MinChunkSize || mean > MaxChunkSize {
		return Chunks{}, fmt.Errorf("%w: chunk size %d is not between 16 KiB and 4 MiB", ErrUsage, mean)
	}
	b := bits.Len(uint(mean)) - 2
	return Chunks{Min: uint(mean) - 1<<b, Max: 8 * uint(mean), Bits: b}, nil
}

// Mean returns the expected chunk size in bytes.
func (c Chunks) Mean() int { return int(c.Min) + 1<<c.Bits }

func (c Chunks) validate() error {
	if c.Min < 64 || c.Max < c.Min || c.Max > index.MaxChunk || c.Bits < 1 || c.Bits > 30 {
		return fmt.Errorf("chunk parameters min %d, max %d, bits %d are not valid", c.Min, c.Max, c.Bits)
	}
	return nil
}

// Encrypted reports whether the repository is encrypted.
func (c *Config) Encrypted() bool { return c.Encryption != encryptionNone }

// marshal returns the config object: header, JSON, and an authentication code
// that only who holds the key ring can make.
func (c *Config) marshal(keys *seal.Keys) ([]byte, error) {
	body, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	h := seal.PlainHeader(seal.Config)
	object := append(h[:], body...)
	mac := keys.ConfigMAC(object)
	return append(object, mac[:]...), nil
}

// parseConfig reads a config object. Its authenticity is checked later, by
// authenticate, because only the config says how to get at the keys.
func parseConfig(object []byte) (*Config, error) {
	if _, err := seal.ParseHeader(seal.Config, object); err != nil {
		return nil, err
	}
	if len(object) < seal.HeaderSize+digest.Size {
		return nil, fmt.Errorf("%w: config of %d bytes", ErrDamaged, len(object))
	}
	c := &Config{}
	if err := json.Unmarshal(object[seal.HeaderSize:len(object)-digest.Size], c); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrDamaged, err)
	}
	var err error
	if c.ID, err = digest.Parse(c.IDHex); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrDamaged, err)
	}
	if c.Encryption != encryptionNone && c.Encryption != encryptionAES {
		return nil, fmt.Errorf("config asks for encryption %q: %w", c.Encryption, ErrNewer)
	}
	if err := c.Chunks.validate(); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrDamaged, err)
	}
	if c.DeltaDepth == 0 {
		c.DeltaDepth = defaultDeltaDepth
	}
	return c, nil
}

// authenticate checks that whoever wrote the config held the key ring.
func authenticate(object []byte, keys *seal.Keys) error {
	n := len(object) - digest.Size
	if keys.ConfigMAC(object[:n]) != digest.ID(object[n:]) {
		return errors.Join(ErrDamaged, errors.New("config is not authentic: it was changed by somebody without the key"))
	}
	return nil
}

func newID() (id digest.ID) {
	_, _ = rand.Read(id[:]) // crypto/rand.Read never returns an error
	return id
}
