package repo

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

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
	order []int // of loading, oldest first
	byID  map[digest.ID]rowRef

	// sync is the last position at which this stream was found to run along the
	// previous one: cut position in the high half, row number in the low.
	sync   atomic.Pointer[alignment]
	failed atomic.Int64 // positions up to this one gave a wrong prediction
}

type alignment struct{ position, row int }

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
	p.failed.Store(-1)
	p.sync.Store(&alignment{})
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

// find returns the row of a chunk that is near where hits were last found, and
// takes note that the stream at the given position runs along there.
func (p *previous) find(id digest.ID, position int) (*manifest.Table, *manifest.Chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ref, ok := p.byID[id]
	if !ok {
		// The stream may have moved on without a hit: look where it would be.
		a := p.sync.Load()
		p.load(p.partOf(a.row + position - a.position))
		if ref, ok = p.byID[id]; !ok {
			return nil, nil
		}
	}
	t := p.parts[ref.part].table
	if a := p.sync.Load(); position > a.position || position == 0 {
		p.sync.Store(&alignment{position, p.starts[ref.part] + int(ref.row)})
	}
	if int(ref.row) > len(t.Rows)/2 {
		p.load(ref.part + 1)
	}
	return t, &t.Rows[ref.row]
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

// partOf returns the part that holds the row of that number, or -1.
func (p *previous) partOf(row int) int {
	if row < 0 || row >= p.starts[len(p.starts)-1] {
		return -1
	}
	lo, hi := 0, len(p.starts)-1
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; p.starts[mid] <= row {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// Predict returns the chunk that the previous stream had where this one is now,
// if both ran alike up to here as far as is known.
func (p *previous) Predict(position int) (id digest.ID, length int, final bool) {
	a := p.sync.Load()
	if position < a.position || int64(a.position) <= p.failed.Load() && position > 0 {
		return digest.ID{}, 0, false
	}
	row := a.row + position - a.position
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.partOf(row)
	if n < 0 {
		return digest.ID{}, 0, false
	}
	t := p.load(n).table
	k := row - p.starts[n]
	if k >= len(t.Rows) {
		return digest.ID{}, 0, false
	}
	return t.Rows[k].ID, int(t.Rows[k].Raw), row == p.starts[len(p.starts)-1]-1
}

// Missed stops predictions until a hit beyond the position shows where the
// streams run together again.
func (p *previous) Missed(position int) { p.failed.Store(int64(position)) }
