package manifest

import (
	"encoding/binary"
	"fmt"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// InlinePack is the value of Chunk.Pack for a chunk whose payload lies in the
// manifest itself, unsealed there because the whole manifest is.
const InlinePack = ^uint32(0)

// Chunk is one row of a table: a chunk and where it was when the row was written.
type Chunk struct {
	ID       digest.ID
	Raw      uint32 // bytes of the content
	Pack     uint32 // index into Table.Packs, or InlinePack
	Offset   uint32 // of the sealed chunk in the pack, or of the payload in Inline
	Stored   uint32 // bytes there
	Ordinal  uint32 // position among the pack's chunks
	Encoding index.Encoding
	Flags    uint8
	Depth    uint8
	Base     uint32 // 1 + index into Table.Bases of the delta's base; 0: none
}

// PackRef names a pack. Header may be zero: unknown, to be read from the pack.
type PackRef struct {
	ID     digest.ID
	Header seal.Header
}

// Table is a list of chunks with what is needed to read them: their packs, and
// the chunks that deltas among them need, which may be deltas in turn.
type Table struct {
	Packs []PackRef
	Rows  []Chunk
	Bases []Chunk
}

// maxPack bounds where a chunk may end in a pack, in bytes: 128 MiB, as no pack is
// longer.
const maxPack = 128 << 20

const (
	packRefSize = digest.Size + seal.HeaderSize
	rowSize     = digest.Size + 5*4 + 4 + 3
)

// Append appends the encoding of t to dst. Columns lie together, and offsets and
// ordinals are written as their distance from what the row before predicts, so
// that all but the names compresses to little.
func (t *Table) Append(dst []byte) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(t.Packs)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(t.Rows)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(t.Bases)))
	for i := range t.Packs {
		dst = append(dst, t.Packs[i].ID[:]...)
		dst = append(dst, t.Packs[i].Header[:]...)
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	dst = appendRows(dst, t.Rows)
	return appendRows(dst, t.Bases), nil
}

// check verifies that all references within the table hold.
func (t *Table) check() error {
	for _, rows := range [2][]Chunk{t.Rows, t.Bases} {
		for i := range rows {
			c := &rows[i]
			if c.Pack != InlinePack && uint64(c.Pack) >= uint64(len(t.Packs)) ||
				uint64(c.Base) > uint64(len(t.Bases)) {
				return fmt.Errorf("%w: row %d refers beyond the table", ErrCorrupt, i)
			}
			overhead := uint32(index.BoxOverhead)
			if c.Pack == InlinePack {
				overhead = 0
			}
			if c.Raw > index.MaxChunk || c.Stored > c.Raw+overhead || c.Stored < overhead ||
				uint64(c.Offset)+uint64(c.Stored) > maxPack {
				return fmt.Errorf("%w: row %d: %d bytes stored in %d at %d", ErrCorrupt, i, c.Raw, c.Stored, c.Offset)
			}
			if (c.Base != 0) != (c.Encoding == index.Delta) || (c.Depth != 0) != (c.Encoding == index.Delta) {
				return fmt.Errorf("%w: row %d is %s with base %d", ErrCorrupt, i, c.Encoding, c.Base)
			}
			if c.Base != 0 && t.Bases[c.Base-1].Depth >= c.Depth {
				// Depth falls along a chain, so a chain ends.
				return fmt.Errorf("%w: row %d has a base of its own depth", ErrCorrupt, i)
			}
		}
	}
	return nil
}

func appendRows(dst []byte, rows []Chunk) []byte {
	for i := range rows {
		dst = append(dst, rows[i].ID[:]...)
	}
	var previous Chunk
	columns := [6][]byte{}
	for i := range columns {
		columns[i] = make([]byte, 0, 4*len(rows))
	}
	for i := range rows {
		c := rows[i]
		offset, ordinal := previous.next(c.Pack)
		for k, v := range [6]uint32{c.Raw, c.Pack - previous.Pack, c.Offset - offset, c.Stored, c.Ordinal - ordinal, c.Base} {
			columns[k] = binary.LittleEndian.AppendUint32(columns[k], v)
		}
		previous = c
	}
	for i := range columns {
		dst = append(dst, columns[i]...)
	}
	for i := range rows {
		dst = append(dst, byte(rows[i].Encoding), rows[i].Flags, rows[i].Depth)
	}
	return dst
}

// next predicts offset and ordinal of the row that follows c, if it is in pack.
func (c *Chunk) next(pack uint32) (offset, ordinal uint32) {
	if pack != c.Pack {
		return 0, 0
	}
	return c.Offset + c.Stored, c.Ordinal + 1
}

// DecodeTable reads what Table.Append wrote, all of data.
func DecodeTable(data []byte) (*Table, error) {
	t := &Table{}
	rest, err := t.decode(data)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrCorrupt, len(rest))
	}
	return t, nil
}

func (t *Table) decode(data []byte) ([]byte, error) {
	if len(data) < 12 {
		return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	packs := uint64(binary.LittleEndian.Uint32(data))
	rows := uint64(binary.LittleEndian.Uint32(data[4:]))
	bases := uint64(binary.LittleEndian.Uint32(data[8:]))
	data = data[12:]
	if packs*packRefSize+(rows+bases)*rowSize > uint64(len(data)) {
		return nil, fmt.Errorf("%w: %d rows do not fit in %d bytes", ErrCorrupt, rows+bases, len(data))
	}
	t.Packs = make([]PackRef, packs)
	for i := range t.Packs {
		copy(t.Packs[i].ID[:], data)
		copy(t.Packs[i].Header[:], data[digest.Size:])
		data = data[packRefSize:]
	}
	var err error
	if t.Rows, data, err = decodeRows(data, int(rows)); err != nil {
		return nil, err
	}
	if t.Bases, data, err = decodeRows(data, int(bases)); err != nil {
		return nil, err
	}
	return data, t.check()
}

func decodeRows(data []byte, n int) ([]Chunk, []byte, error) {
	rows := make([]Chunk, n)
	for i := range rows {
		copy(rows[i].ID[:], data[i*digest.Size:])
	}
	data = data[n*digest.Size:]
	column := func(k, i int) uint32 { return binary.LittleEndian.Uint32(data[4*(k*n+i):]) }
	bytes := data[6*4*n:]
	var previous Chunk
	for i := range rows {
		c := &rows[i]
		c.Raw, c.Stored, c.Base = column(0, i), column(3, i), column(5, i)
		c.Pack = column(1, i) + previous.Pack
		offset, ordinal := previous.next(c.Pack)
		c.Offset, c.Ordinal = column(2, i)+offset, column(4, i)+ordinal
		c.Encoding, c.Flags, c.Depth = index.Encoding(bytes[3*i]), bytes[3*i+1], bytes[3*i+2]
		if !c.Encoding.Known() {
			return nil, nil, fmt.Errorf("row %d: %s: %w", i, c.Encoding, seal.ErrNewer)
		}
		previous = *c
	}
	return rows, bytes[3*n:], nil
}
