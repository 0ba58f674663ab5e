package seal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

// Rotated returns a copy of the ring with one more epoch, of fresh random, which
// seals what is written from then on. Its number is above all in the ring and above
// newest.
func (r *Ring) Rotated(newest uint16) (*Ring, error) {
	newest = max(newest, r.Newest())
	if newest == math.MaxUint16 {
		return nil, errors.New("rotate key ring: there is no number left for another epoch")
	}
	e := Epoch{Number: newest + 1}
	if _, err := rand.Read(e.Secret[:]); err != nil {
		return nil, fmt.Errorf("rotate key ring: %w", err)
	}
	next := *r
	next.Epochs = append(slices.Clone(r.Epochs), e)
	return &next, nil
}

// Newest returns the number of the epoch that seals what is written now.
func (r *Ring) Newest() uint16 { return r.Epochs[len(r.Epochs)-1].Number }

// Numbers returns the numbers of the ring's epochs, ascending.
func (r *Ring) Numbers() []uint16 {
	numbers := make([]uint16, len(r.Epochs))
	for i, e := range r.Epochs {
		numbers[i] = e.Number
	}
	return numbers
}

// extends reports whether everything that older opens, r opens too.
func (r *Ring) extends(older *Ring) bool {
	return r.Content == older.Content && !slices.ContainsFunc(older.Epochs, func(e Epoch) bool { return !slices.Contains(r.Epochs, e) })
}

// Keys is a ring ready for use in one repository. It is safe for concurrent use.
type Keys struct {
	repo      digest.ID
	algorithm Algorithm
	current   atomic.Pointer[derived]

	// What follows is for rings that another process has rotated meanwhile.
	mu    sync.Mutex
	ask   func() (*Ring, error)
	asked map[uint16]time.Time // epochs that the newest ring did not hold, and when
}

// derived is what a ring gives.
type derived struct {
	ring *Ring
	data map[uint16][32]byte
	meta map[uint16][32]byte
}

// NewKeys derives the working keys for the repository. Without encryption the
// boxes carry checksums only.
func NewKeys(repo digest.ID, ring *Ring, encrypted bool) *Keys {
	k := &Keys{repo: repo, asked: make(map[uint16]time.Time)}
	if encrypted {
		k.algorithm = AES256GCM
	}
	k.use(ring)
	return k
}

// use makes the ring the one that counts.
func (k *Keys) use(ring *Ring) {
	d := &derived{ring: ring, data: make(map[uint16][32]byte), meta: make(map[uint16][32]byte)}
	for _, e := range ring.Epochs {
		d.data[e.Number] = derive(contextData, e.Secret[:])
		d.meta[e.Number] = derive(contextMeta, e.Secret[:])
	}
	k.current.Store(d)
}

func (k *Keys) ring() *Ring { return k.current.Load().ring }

// Ring returns the ring in use, which must not be changed.
func (k *Keys) Ring() *Ring { return k.ring() }

// Replace uses another ring from now on, which must open all that the one in use does.
func (k *Keys) Replace(ring *Ring) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.replace(ring)
}

func (k *Keys) replace(ring *Ring) error {
	if !ring.extends(k.ring()) {
		return fmt.Errorf("%w: the key ring that is there now does not hold the epochs of the one before", ErrDamaged)
	}
	k.use(ring)
	return nil
}

// AskForNewer has ask called when an object is met that is sealed with an epoch the
// ring does not hold: then the ring was rotated since it was read, and ask reads it
// again. It is called by one goroutine at a time.
func (k *Keys) AskForNewer(ask func() (*Ring, error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ask = ask
}

// askAgain is how long an answer counts that says nothing of an epoch. A header that
// is damaged may name any, and there may be many such objects.
const askAgain = time.Minute

// meet looks for a ring with an epoch that the one in use lacks. It returns an error
// only if it could not be looked for.
func (k *Keys) meet(epoch uint16) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.current.Load()
	if _, met := d.meta[epoch]; met || k.ask == nil || time.Since(k.asked[epoch]) < askAgain {
		return nil
	}
	ring, err := k.ask()
	if err == nil {
		k.asked[epoch] = time.Now()
		err = k.replace(ring)
	}
	if errors.Is(err, ErrDamaged) {
		// It is not the object that is damaged, and nobody may think so.
		err = errors.New(err.Error())
	}
	return err
}

// EpochError says that an object is sealed with an epoch that the ring does not hold.
// For errors.Is it is ErrNewer: nobody may take such an object for a damaged one.
type EpochError struct {
	Kind  Kind
	Epoch uint16
	Held  uint16 // the newest epoch of the ring
}

func (e *EpochError) Error() string {
	return fmt.Sprintf("%s is sealed with key epoch %d, and this key opens epochs up to %d", e.Kind, e.Epoch, e.Held)
}

// Is makes errors.Is(err, ErrNewer) true.
func (e *EpochError) Is(target error) bool { return target == ErrNewer }

// Hint returns the next step.
func (e *EpochError) Hint() string {
	return "if the repository's keys were rotated without this one ('gpdedup repo key list' shows it), give a key that opens the newest epoch"
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
func (k *Keys) SharesNames(other *Keys) bool { return k.ring().Content == other.ring().Content }

// NewRing returns a ring for another repository that shares names, cut points and
// features with this one, and nothing else.
func (k *Keys) NewRing() (*Ring, error) { return NewRing(&k.ring().Content) }

// Encrypted reports whether boxes are encrypted.
func (k *Keys) Encrypted() bool { return k.algorithm != Checksum }

// Polynomial returns the repository's chunker polynomial.
func (k *Keys) Polynomial() chunker.Pol { return k.ring().Polynomial }

// Namer returns a new hasher that names chunks.
func (k *Keys) Namer() *digest.Hasher {
	return digest.NewHasher(derive(contextNames, k.ring().Content[:]))
}

// FeatureKey returns the secret from which similarity features derive.
func (k *Keys) FeatureKey() [32]byte { return derive(contextFeatures, k.ring().Content[:]) }

// ConfigMAC authenticates the repository's config.
func (k *Keys) ConfigMAC(config []byte) digest.ID {
	return digest.NewHasher(derive(contextConfig, k.ring().Content[:], k.repo[:])).Sum(config)
}

// epochKey returns the secret that seals objects of the kind: packs and WAL are
// data, all else is metadata.
func (k *Keys) epochKey(kind Kind, epoch uint16) ([32]byte, bool) {
	if kind == Pack || kind == WAL {
		key, ok := k.current.Load().data[epoch]
		return key, ok
	}
	key, ok := k.current.Load().meta[epoch]
	return key, ok
}
