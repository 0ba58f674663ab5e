package index

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/gpdedup/gpdedup/digest"
)

// batch is a set of records in memory, sorted once it is complete: what a View knows
// beyond the generations, and what a builder sorts at a time. Beside the records
// themselves it takes 12 to 16 bytes for each.
type batch struct {
	arena []byte
	refs  []recordRef
}

// recordRef finds a record in the arena; prefix is the front of its id, which
// settles nearly every comparison without touching the arena.
type recordRef struct {
	prefix uint64
	at     uint32
}

// add appends the chunks of p, which has the number pack.
func (b *batch) add(p *Pack, pack, first uint32) {
	offset := first
	for i := range p.Entries {
		e := &p.Entries[i]
		at := uint32(len(b.arena))
		b.arena = appendRecord(b.arena, e, pack, offset, uint32(i))
		b.refs = append(b.refs, recordRef{binary.BigEndian.Uint64(e.ID[:]), at})
		offset += e.Stored
	}
}

func (b *batch) reset() { b.arena, b.refs = b.arena[:0], b.refs[:0] }

func (b *batch) record(i int) record {
	at := b.arena[b.refs[i].at:]
	return record(at[:recordLen(at)])
}

func (b *batch) id(ref recordRef) []byte { return b.arena[ref.at : ref.at+digest.Size] }

// sort orders the records by chunk id and, where packs share a chunk, by rank, which
// says how recent a pack is, the most recent first.
func (b *batch) sort(rank []uint32) {
	slices.SortFunc(b.refs, func(x, y recordRef) int {
		if c := cmp.Compare(x.prefix, y.prefix); c != 0 {
			return c
		}
		if c := slices.Compare(b.id(x), b.id(y)); c != 0 {
			return c
		}
		rx, ry := record(b.arena[x.at:]).pack(), record(b.arena[y.at:]).pack()
		return cmp.Or(cmp.Compare(rank[ry], rank[rx]), cmp.Compare(x.at, y.at))
	})
}

// find returns the index of the first record of the chunk, and how many follow.
func (b *batch) find(id *digest.ID) (from, to int) {
	prefix := binary.BigEndian.Uint64(id[:])
	from, found := slices.BinarySearchFunc(b.refs, prefix, func(r recordRef, p uint64) int {
		if c := cmp.Compare(r.prefix, p); c != 0 {
			return c
		}
		return slices.Compare(b.id(r), id[:])
	})
	for to = from; found && to < len(b.refs) && digest.ID(b.id(b.refs[to])) == *id; to++ {
	}
	return from, to
}
