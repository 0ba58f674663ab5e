// Package manifest describes one stored stream: how long it is, where it came
// from, and which chunks make it up, in order.
//
// What a manifest roots is chunk names. The locations beside them are hints, so
// that a restore needs no index; a hint that has gone stale is resolved through
// the index, and is never rewritten.
//
// A long stream's chunk list is cut into leaf lists at places that the chunk names
// themselves decide. A leaf list is stored as a chunk like any other, so a list
// that did not change since yesterday is not stored again.
package manifest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/digest"
)

// ErrCorrupt is wrapped by every decoding error of this package but those for what
// a newer version wrote: they wrap seal.ErrNewer.
var ErrCorrupt = errors.New("corrupt manifest")

// Kind says what a manifest stands for.
type Kind uint8

// The kinds of format version 1.
const (
	Stream     Kind = 0 // a whole stream
	Checkpoint Kind = 1 // a prefix of a stream that is still being written, or was cut off
)

// Wrapping is the container that the stream came in and goes out in.
type Wrapping uint8

// The wrappings of format version 1. The chunks hold the content inside it.
const (
	Plain Wrapping = 0
	Gzip  Wrapping = 1
	Zstd  Wrapping = 2
)

// Origin says where a stream came from. Fields may be added in later versions.
type Origin struct {
	Host    string    `json:"host,omitempty"`
	Path    string    `json:"path,omitempty"` // as the caller named it
	Command string    `json:"command,omitempty"`
	Version string    `json:"version,omitempty"`
	Time    time.Time `json:"time"`
}

func (o Origin) String() string {
	s := "host " + o.Host
	if o.Path != "" {
		s += ", path " + o.Path
	}
	return s + ", at " + o.Time.UTC().Format(time.RFC3339)
}

// Source says of which stream of another repository this one is a copy that was cut
// anew. The names of its chunks are others there, so their identities cannot be compared.
type Source struct {
	Repository string `json:"repository"` // id
	Identity   string `json:"identity"`   // of the stream there
}

// Stats says what storing the stream cost, in bytes and chunks.
type Stats struct {
	Chunks       uint64 `json:"chunks"`
	NewChunks    uint64 `json:"new_chunks"`
	NewRaw       uint64 `json:"new_raw"`    // of the new chunks' content
	NewStored    uint64 `json:"new_stored"` // of all objects put for the stream but its manifest
	DeltaChunks  uint64 `json:"delta_chunks,omitempty"`
	DeltaRaw     uint64 `json:"delta_raw,omitempty"`
	DeltaStored  uint64 `json:"delta_stored,omitempty"`
	BaseRead     uint64 `json:"base_read,omitempty"`
	MetaStored   uint64 `json:"meta_stored,omitempty"` // of NewStored: leaf lists
	Milliseconds int64  `json:"milliseconds"`
}

// Leaf is a leaf list: a chunk that holds a Table.
type Leaf struct {
	Chunk Chunk
	Bytes uint64 // of the stream that its rows cover
	Rows  uint32
}

// Manifest is one stream. The stream is the rows of every leaf in order, then the
// rows of the table. Leaves' own locations refer to the table's packs and bases.
type Manifest struct {
	Kind     Kind
	Wrapping Wrapping
	Length   uint64    // of the content, unwrapped, in bytes
	Tail     uint64    // how many of the last bytes came behind the wrapping, as they are
	Identity digest.ID // see Identity
	Origin   Origin
	Stats    Stats
	Source   *Source // nil: not a copy that was cut anew
	Leaves   []Leaf
	Table    Table
	Inline   []byte // payloads of the chunks whose Pack is InlinePack
}

// Identity is the identity of a stream: the hash of its chunks' names and lengths
// in order. Two streams of one repository have the same content if and only if
// they have the same identity.
type Identity struct {
	h   *blake3.Hasher
	buf []byte
}

// NewIdentity returns the identity of the empty stream.
func NewIdentity() *Identity {
	return &Identity{h: blake3.NewDeriveKey("gpdedup v1 stream identity")}
}

// Add appends a chunk.
func (s *Identity) Add(id digest.ID, raw uint32) {
	s.buf = append(s.buf[:0], id[:]...)
	s.buf = binary.LittleEndian.AppendUint32(s.buf, raw)
	_, _ = s.h.Write(s.buf)
}

// Sum returns the identity of what was added so far.
func (s *Identity) Sum() (id digest.ID) {
	s.h.Sum(id[:0])
	return id
}

const (
	encodingVersion = 1
	fixedSize       = 4 + 8 + digest.Size
	flagTail        = 1 << 0 // the length of the tail follows the identity
	leafSize        = 8 + 4
)

type info struct {
	Origin Origin  `json:"origin"`
	Stats  Stats   `json:"stats"`
	Source *Source `json:"source,omitempty"`
}

// Append appends the encoding of m to dst. It fails only if m is not valid.
func (m *Manifest) Append(dst []byte) ([]byte, error) {
	meta, err := json.Marshal(info{m.Origin, m.Stats, m.Source})
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	var flags byte
	if m.Tail != 0 {
		flags |= flagTail
	}
	dst = append(dst, encodingVersion, byte(m.Kind), byte(m.Wrapping), flags)
	dst = binary.LittleEndian.AppendUint64(dst, m.Length)
	dst = append(dst, m.Identity[:]...)
	if m.Tail != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, m.Tail)
	}
	dst = appendBytes(dst, meta)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Leaves)))
	for i := range m.Leaves {
		dst = binary.LittleEndian.AppendUint64(dst, m.Leaves[i].Bytes)
		dst = binary.LittleEndian.AppendUint32(dst, m.Leaves[i].Rows)
	}
	// One table holds the leaves' chunks and then the stream's own rows: they
	// share packs and bases.
	all := Table{Packs: m.Table.Packs, Bases: m.Table.Bases}
	all.Rows = make([]Chunk, 0, len(m.Leaves)+len(m.Table.Rows))
	for i := range m.Leaves {
		all.Rows = append(all.Rows, m.Leaves[i].Chunk)
	}
	all.Rows = append(all.Rows, m.Table.Rows...)
	if dst, err = all.Append(dst); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return appendBytes(dst, m.Inline), nil
}

// Decode reads what Append wrote.
func Decode(data []byte) (*Manifest, error) {
	m, data, err := decodeHead(data)
	if err != nil {
		return nil, err
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	n := int(binary.LittleEndian.Uint32(data))
	data = data[4:]
	if n > len(data)/leafSize {
		return nil, fmt.Errorf("%w: %d leaf lists do not fit", ErrCorrupt, n)
	}
	m.Leaves = make([]Leaf, n)
	for i := range m.Leaves {
		m.Leaves[i].Bytes = binary.LittleEndian.Uint64(data)
		m.Leaves[i].Rows = binary.LittleEndian.Uint32(data[8:])
		data = data[leafSize:]
	}
	if data, err = m.Table.decode(data); err != nil {
		return nil, err
	}
	if n > len(m.Table.Rows) {
		return nil, fmt.Errorf("%w: %d leaf lists but %d rows", ErrCorrupt, n, len(m.Table.Rows))
	}
	for i := range m.Leaves {
		m.Leaves[i].Chunk = m.Table.Rows[i]
	}
	m.Table.Rows = m.Table.Rows[n:]
	inline, data, err := takeBytes(data)
	if err != nil {
		return nil, err
	}
	if len(data) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrCorrupt, len(data))
	}
	m.Inline = inline
	return m, m.validate()
}

// validate checks what ties the parts together.
func (m *Manifest) validate() error {
	var sum uint64
	for i := range m.Leaves {
		if m.Leaves[i].Chunk.Pack == InlinePack {
			return fmt.Errorf("%w: leaf list %d is inline", ErrCorrupt, i)
		}
		if m.Leaves[i].Bytes > m.Length-sum {
			return fmt.Errorf("%w: leaf lists cover more than %d bytes", ErrCorrupt, m.Length)
		}
		sum += m.Leaves[i].Bytes
	}
	for i := range m.Table.Rows {
		c := &m.Table.Rows[i]
		sum += uint64(c.Raw)
		if c.Pack == InlinePack && uint64(c.Offset)+uint64(c.Stored) > uint64(len(m.Inline)) {
			return fmt.Errorf("%w: row %d lies outside the inline data", ErrCorrupt, i)
		}
	}
	for i := range m.Table.Bases {
		if m.Table.Bases[i].Pack == InlinePack {
			return fmt.Errorf("%w: base %d is inline", ErrCorrupt, i)
		}
	}
	if sum != m.Length {
		return fmt.Errorf("%w: rows cover %d bytes of %d", ErrCorrupt, sum, m.Length)
	}
	if m.Tail > m.Length || m.Tail != 0 && m.Wrapping == Plain {
		return fmt.Errorf("%w: a tail of %d bytes of %d, wrapping %d", ErrCorrupt, m.Tail, m.Length, m.Wrapping)
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

func takeBytes(data []byte) (b, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	n := int(binary.LittleEndian.Uint32(data))
	if data = data[4:]; n > len(data) {
		return nil, nil, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	return data[:n:n], data[n:], nil
}
