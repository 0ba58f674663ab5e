package repo

import (
	"encoding/binary"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
)

// rowList is a stream's list in the making. Once it is longer than a manifest
// should be, its front is turned into leaf lists, cut where the chunks' names
// say so, so that an unchanged stretch of the stream gives an unchanged leaf list.
type rowList struct {
	w        *writer
	identity *manifest.Identity
	length   uint64
	total    uint64

	leaves []leafRef // stored, or on their way
	rows   []place   // not in a leaf list yet
	cuts   []int     // ends of future leaf lists in rows, ascending
}

type leafRef struct {
	at    place
	bytes uint64
	rows  uint32
}

func newRowList(w *writer) *rowList {
	return &rowList{w: w, identity: manifest.NewIdentity()}
}

// add appends a row and reports whether a future leaf list ends with it.
func (l *rowList) add(p place) bool {
	l.identity.Add(p.id, p.raw)
	l.length += uint64(p.raw)
	l.total++
	l.rows = append(l.rows, p)
	begin := 0
	if len(l.cuts) > 0 {
		begin = l.cuts[len(l.cuts)-1]
	}
	mean := l.w.r.opts.Limits.LeafMean
	n := len(l.rows) - begin
	// Names are uniform, so the first bytes decide as well as a rolling hash.
	if n >= mean/4 && int(binary.LittleEndian.Uint32(p.id[:]))&(mean-1) == 0 || n >= 8*mean {
		l.cuts = append(l.cuts, len(l.rows))
		return true
	}
	return false
}

// encodeLeaves stores the rows up to the last cut as leaf lists, once the list is
// long enough to deserve it. Rows in a pack that is still being filled wait,
// unless all must go.
func (l *rowList) encodeLeaves(p *packer, all bool) error {
	if l.total <= uint64(l.w.r.opts.Limits.DirectRows) {
		return nil
	}
	done := 0
	for _, end := range l.cuts {
		if l.unnamed(l.rows[done:end]) {
			if !all {
				break
			}
			// Leaf lists say where their rows are, so the pack is finished first.
			if err := p.flush(); err != nil {
				return err
			}
		}
		if err := l.encodeLeaf(p, l.rows[done:end]); err != nil {
			return err
		}
		done = end
	}
	if done == 0 {
		return nil
	}
	l.rows = append(l.rows[:0], l.rows[done:]...)
	cuts := l.cuts[:0]
	for _, c := range l.cuts {
		if c > done {
			cuts = append(cuts, c-done)
		}
	}
	l.cuts = cuts
	return nil
}

func (l *rowList) unnamed(rows []place) bool {
	for i := range rows {
		if l.w.packs.ref(rows[i].slot).ID.IsZero() {
			return true
		}
	}
	return false
}

// encodeLeaf stores rows as a leaf list, which is a chunk like any other.
func (l *rowList) encodeLeaf(p *packer, rows []place) error {
	b := newTableBuilder(l.w.packs)
	ref := leafRef{rows: uint32(len(rows))}
	for i := range rows {
		b.add(&rows[i])
		ref.bytes += uint64(rows[i].raw)
	}
	raw, err := b.table.Append(nil)
	if err != nil {
		return err
	}
	id := l.w.r.keys.Namer().Sum(raw)
	at, known := p.finder.findLeaf(id)
	if !known {
		payload, encoding := l.w.r.enc.Encode(nil, raw)
		sum := pack.Sum(payload)
		if err := l.w.r.verifyPayload(payload, encoding, raw); err != nil {
			return err
		}
		entry := index.Entry{ID: id, Raw: uint32(len(raw)), Encoding: encoding, Flags: index.FlagLeaf}
		if at, err = p.addChunk(entry, payload, sum); err != nil {
			return err
		}
	}
	ref.at = at
	l.leaves = append(l.leaves, ref)
	return nil
}

// manifest returns the manifest of the stream so far.
func (l *rowList) manifest() *manifest.Manifest {
	b := newTableBuilder(l.w.packs)
	m := &manifest.Manifest{Length: l.length, Identity: l.identity.Sum()}
	for i := range l.leaves {
		m.Leaves = append(m.Leaves, manifest.Leaf{
			Chunk: b.row(&l.leaves[i].at), Bytes: l.leaves[i].bytes, Rows: l.leaves[i].rows,
		})
	}
	for i := range l.rows {
		b.add(&l.rows[i])
	}
	m.Table = b.table
	return m
}
