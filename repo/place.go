package repo

import (
	"sync"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// place is where one chunk is, and for a delta where the chain of its bases is.
// It is a row of a stream's list in the making.
type place struct {
	id       digest.ID
	slot     int // of its pack in the packSet; inlineSlot: in the manifest
	offset   uint32
	stored   uint32
	raw      uint32
	ordinal  uint32
	encoding index.Encoding
	flags    uint8
	depth    uint8
	base     *place
}

const inlineSlot = -1

func placeAt(id digest.ID, slot int, loc index.Location, base *place) place {
	return place{
		id: id, slot: slot, offset: loc.Offset, stored: loc.Stored, raw: loc.Raw, ordinal: loc.Ordinal,
		encoding: loc.Encoding, flags: loc.Flags, depth: loc.Depth, base: base,
	}
}

// packSet numbers the packs that a stream needs. It is safe for concurrent use.
type packSet struct {
	mu    sync.Mutex
	refs  []manifest.PackRef
	slots map[digest.ID]int
}

func newPackSet() *packSet { return &packSet{slots: make(map[digest.ID]int)} }

// slot returns the number of a stored pack.
func (s *packSet) slot(id digest.ID, header seal.Header) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.slots[id]
	if !ok {
		n = len(s.refs)
		s.slots[id] = n
		s.refs = append(s.refs, manifest.PackRef{ID: id, Header: header})
	} else if s.refs[n].Header.IsZero() {
		s.refs[n].Header = header
	}
	return n
}

// reserve returns a number for a pack that is still being filled.
func (s *packSet) reserve(header seal.Header) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs = append(s.refs, manifest.PackRef{Header: header})
	return len(s.refs) - 1
}

// name gives a reserved number its pack.
func (s *packSet) name(slot int, id digest.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs[slot].ID = id
	s.slots[id] = slot
}

// ref returns the pack of a number; its ID is zero while the pack is being filled.
func (s *packSet) ref(slot int) manifest.PackRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refs[slot]
}

// ids returns the names of all packs that have one.
func (s *packSet) ids() []digest.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]digest.ID, 0, len(s.refs))
	for i := range s.refs {
		if !s.refs[i].ID.IsZero() {
			out = append(out, s.refs[i].ID)
		}
	}
	return out
}

// tableBuilder turns places into a manifest.Table.
type tableBuilder struct {
	packs *packSet
	table manifest.Table
	slots map[int]uint32
	bases map[digest.ID]uint32
}

func newTableBuilder(packs *packSet) *tableBuilder {
	return &tableBuilder{packs: packs, slots: make(map[int]uint32), bases: make(map[digest.ID]uint32)}
}

func (b *tableBuilder) add(p *place) { b.table.Rows = append(b.table.Rows, b.row(p)) }

func (b *tableBuilder) row(p *place) manifest.Chunk {
	c := manifest.Chunk{
		ID: p.id, Raw: p.raw, Pack: manifest.InlinePack, Offset: p.offset, Stored: p.stored, Ordinal: p.ordinal,
		Encoding: p.encoding, Flags: p.flags, Depth: p.depth,
	}
	if p.slot != inlineSlot {
		n, ok := b.slots[p.slot]
		if !ok {
			n = uint32(len(b.table.Packs))
			b.slots[p.slot] = n
			b.table.Packs = append(b.table.Packs, b.packs.ref(p.slot))
		}
		c.Pack = n
	}
	if p.base != nil {
		n, ok := b.bases[p.base.id]
		if !ok {
			row := b.row(p.base) // its own bases come first
			b.table.Bases = append(b.table.Bases, row)
			n = uint32(len(b.table.Bases))
			b.bases[p.base.id] = n
		}
		c.Base = n
	}
	return c
}

// placesOf returns the place of a row of a stored table, its packs numbered in
// packs.
func placeOf(t *manifest.Table, c *manifest.Chunk, packs *packSet) place {
	p := place{
		id: c.ID, slot: inlineSlot, offset: c.Offset, stored: c.Stored, raw: c.Raw, ordinal: c.Ordinal,
		encoding: c.Encoding, flags: c.Flags, depth: c.Depth,
	}
	if c.Pack != manifest.InlinePack {
		ref := t.Packs[c.Pack]
		p.slot = packs.slot(ref.ID, ref.Header)
	}
	if c.Base != 0 {
		base := placeOf(t, &t.Bases[c.Base-1], packs) // depth falls, so this ends
		p.base = &base
	}
	return p
}
