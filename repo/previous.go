package repo

import (
	"context"
	"slices"
	"sync"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// previous is the manifest of the stream's last backup: the best predictor of
// this one's chunks, and where they are. Of a long list only the leaf lists near
// the place where hits were last found are held in memory.
type previous struct {
	r        *Repo
	ctx      context.Context //nolint:containedctx // lives as long as the write it belongs to
	manifest *manifest.Manifest
	leaves   map[digest.ID]int
	begins   []int64 // of each leaf list, then of the tail: its offset in the stream
	starts   []int   // of each leaf list, then of the tail: number of its first row

	mu    sync.Mutex
	parts map[int]*part
	order []int // of their last use, oldest first
	byID  map[digest.ID]rowRef

	along along // guarded by mu, too
}

// part is one leaf list, or the tail of the manifest.
type part struct {
	table  *manifest.Table
	begins []int64 // of each row, its offset in the stream
}

type rowRef struct {
	part int
	row  int32
}

// maxParts bounds how many leaf lists are held at once.
const maxParts = 8

func (r *Repo) newPrevious(ctx context.Context, m *manifest.Manifest) *previous {
	p := &previous{r: r, ctx: ctx, manifest: m, parts: make(map[int]*part), byID: make(map[digest.ID]rowRef)}
	p.leaves = make(map[digest.ID]int, len(m.Leaves))
	n := 0
	var offset int64
	for i := range m.Leaves {
		p.begins = append(p.begins, offset)
		offset += int64(m.Leaves[i].Bytes)
		p.leaves[m.Leaves[i].Chunk.ID] = i
		p.starts = append(p.starts, n)
		n += int(m.Leaves[i].Rows)
	}
	p.starts = append(p.starts, n, n+len(m.Table.Rows))
	p.begins = append(p.begins, offset)
	p.along.failed = -1
	p.mu.Lock()
	defer p.mu.Unlock()
	p.load(0)
	p.load(len(m.Leaves)) // the tail is in memory already
	return p
}

// load reads a part unless it is held. A part that cannot be read costs hits only.
func (p *previous) load(n int) *part {
	if n < 0 || n > len(p.manifest.Leaves) {
		return nil
	}
	if have, ok := p.parts[n]; ok {
		if at := slices.Index(p.order, n); at < len(p.order)-1 {
			p.order = append(slices.Delete(p.order, at, at+1), n)
		}
		return have
	}
	var t *manifest.Table
	if n == len(p.manifest.Leaves) {
		t = &p.manifest.Table
	} else {
		var err error
		if t, err = p.r.readLeaf(p.ctx, p.manifest, n); err != nil {
			p.r.log.Warn("previous backup's list cannot be used", "leaf", n, "error", err)
			t = &manifest.Table{}
		}
	}
	if len(p.order) >= maxParts {
		p.drop(p.order[0])
		p.order = p.order[1:]
	}
	loaded := &part{table: t, begins: make([]int64, len(t.Rows))}
	offset := p.begins[n]
	for i := range t.Rows {
		loaded.begins[i] = offset
		offset += int64(t.Rows[i].Raw)
	}
	p.parts[n] = loaded
	p.order = append(p.order, n)
	for i := range t.Rows {
		if _, ok := p.byID[t.Rows[i].ID]; !ok {
			p.byID[t.Rows[i].ID] = rowRef{n, int32(i)}
		}
	}
	return loaded
}

func (p *previous) drop(n int) {
	for i := range p.parts[n].table.Rows {
		id := p.parts[n].table.Rows[i].ID
		if p.byID[id].part == n {
			delete(p.byID, id)
		}
	}
	delete(p.parts, n)
}

// find returns the row of a chunk that is near where hits were last found, and takes note
// that the stream at the given offset runs along there; -1 is an offset to learn nothing
// from.
func (p *previous) find(id digest.ID, offset int64) (*manifest.Table, *manifest.Chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	there := offset - p.along.drift
	// Of equal chunks the one at this place is meant.
	if n, row := p.rowAt(there); n != nil && n.begins[row] == there && n.table.Rows[row].ID == id {
		p.along.hit(offset, p.along.drift)
		return n.table, &n.table.Rows[row]
	}
	ref, ok := p.byID[id]
	if !ok {
		// The stream may have moved on without a hit: look where it would be. Or something
		// came, and what was behind the last hit is still to come, or went.
		for _, n := range [2]int{p.partOf(p.along.offset - p.along.drift), p.partOf(there)} {
			p.load(n)
			p.load(n + 1)
		}
		if ref, ok = p.byID[id]; !ok {
			return nil, nil
		}
	}
	part := p.parts[ref.part]
	p.along.hit(offset, offset-part.begins[ref.row])
	if int(ref.row) > len(part.begins)/2 {
		p.load(ref.part + 1)
	}
	return part.table, &part.table.Rows[ref.row]
}

// partOf returns the number of the part that holds the byte at the offset, of the first or
// of the last if none does.
func (p *previous) partOf(offset int64) int {
	n, found := slices.BinarySearch(p.begins, offset)
	if !found {
		n--
	}
	return max(n, 0)
}

// rowAt returns the row that holds the byte at the offset; nil if none does.
func (p *previous) rowAt(offset int64) (*part, int) {
	n := p.partOf(offset)
	part := p.load(n)
	row, found := slices.BinarySearch(part.begins, offset)
	if !found {
		row--
	}
	if row < 0 || offset >= part.begins[row]+int64(part.table.Rows[row].Raw) {
		return nil, 0
	}
	return part, row
}

// overlapping returns the row whose bytes lay where length bytes from offset on
// are, or most of them, and the offset at which it began; nil if there is none.
func (p *previous) overlapping(offset, length int64) (*manifest.Table, int, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, found := slices.BinarySearch(p.begins, offset)
	if !found {
		n--
	}
	part := p.load(n)
	if part == nil || len(part.begins) == 0 {
		return nil, 0, 0
	}
	row, found := slices.BinarySearch(part.begins, offset)
	if !found {
		row = max(row-1, 0)
	}
	// The row that holds the beginning, or the next if more lies in it.
	shared := func(i int) int64 {
		begin := part.begins[i]
		return min(offset+length, begin+int64(part.table.Rows[i].Raw)) - max(offset, begin)
	}
	if row+1 < len(part.begins) && shared(row+1) > shared(row) {
		row++
	}
	if shared(row) <= 0 {
		return nil, 0, 0
	}
	return part.table, row, part.begins[row]
}
