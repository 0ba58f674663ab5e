package repo

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
)

// stretchReader reads what a whole stream needs of packs with deltas, in pieces that serve
// many runs. What a day
// changed lies side by side in that day's packs, a few kilobytes a chunk. A run of eight
// chunks whose chains are thirty days long would ask for eight deltas of each day, and the
// next run for the eight behind them: after a month twenty times the requests of the first
// day. So of each pack a stretch is read at once, and kept until all of it was used.
//
// And where a collector has copied chunks with their bases, what one run needs lies scattered
// over a pack of which nearly all is needed.
//
// Packs of whole chunks only are left to the runs, which find these in their order.
type stretchReader struct {
	f     *fetcher
	most  int // bytes of the stretches of one table that are in use at the same time
	mu    sync.Mutex
	plans []*aheadPlan // of the tables in use, the latest last
	held  []*stretch   // that are in memory, the oldest first
	bytes int          // of them
}

const (
	// A stretch has at least so many bytes, however many packs there are, and at most so many.
	minStretch, maxStretch = 32 << 10, 1 << 20
	// stretchGap is how many bytes are read in vain rather than begin another stretch: less
	// than a whole chunk takes.
	stretchGap = 32 << 10
	// stretchChunks is what a stretch must hold to be worth it: as many as a run.
	stretchChunks = 8
)

// aheadPlan is what will be read for a table.
type aheadPlan struct {
	t         *manifest.Table
	stretches []*stretch // by pack and place
}

// stretch is a part of a pack of which much is needed.
type stretch struct {
	pack       uint32 // of the table
	start, end int64
	chunks     int

	once sync.Once // reads it

	// Under stretchReader.mu:
	left  int // chunks that were not taken yet; none: it is of no use any more
	users int // that read boxes now
	boxes []byte
}

// newStretchReader returns one that holds at most half of the window's bytes: twice what one
// table takes, because runs of two may be under way.
func newStretchReader(f *fetcher) *stretchReader {
	return &stretchReader{f: f, most: int(f.r.opts.Limits.ReadWindow / 4)}
}

// plan returns what is planned for a table; nil if it has nothing that is worth it.
func (a *stretchReader) plan(t *manifest.Table) *aheadPlan {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.plans {
		if p.t == t {
			return p
		}
	}
	p := &aheadPlan{t: t, stretches: stretches(t, a.most)}
	if a.plans = append(a.plans, p); len(a.plans) > 4 {
		for _, s := range a.plans[0].stretches {
			a.drop(s)
		}
		a.plans = slices.Delete(a.plans, 0, 1)
	}
	return p
}

// stretches finds where the chunks that a table needs lie close together, in packs that hold
// some of its deltas, and cuts that so that one stretch of each pack takes so many bytes in all.
func stretches(t *manifest.Table, bytes int) (out []*stretch) {
	mixed := make([]bool, len(t.Packs)) // packs with deltas
	packs := 0
	each := func(fn func(c *manifest.Chunk)) {
		for _, rows := range [2][]manifest.Chunk{t.Rows, t.Bases} {
			for i := range rows {
				if rows[i].Pack != manifest.InlinePack {
					fn(&rows[i])
				}
			}
		}
	}
	each(func(c *manifest.Chunk) {
		if c.Base != 0 && !mixed[c.Pack] {
			mixed[c.Pack] = true
			packs++
		}
	})
	if packs == 0 {
		return nil
	}
	var chunks []*manifest.Chunk
	each(func(c *manifest.Chunk) {
		if mixed[c.Pack] {
			chunks = append(chunks, c)
		}
	})
	byPlace := func(x, y *manifest.Chunk) int {
		return cmp.Or(cmp.Compare(x.Pack, y.Pack), cmp.Compare(x.Offset, y.Offset))
	}
	slices.SortFunc(chunks, byPlace)
	chunks = slices.CompactFunc(chunks, func(x, y *manifest.Chunk) bool { return byPlace(x, y) == 0 })
	most := min(max(int64(bytes/packs), minStretch), maxStretch)
	var open *stretch
	for _, c := range chunks {
		from, to := int64(c.Offset), int64(c.Offset)+int64(c.Stored)
		if open == nil || open.pack != c.Pack || from-open.end > stretchGap || to-open.start > most {
			open = &stretch{pack: c.Pack, start: from, end: to}
			out = append(out, open)
		}
		open.end = max(open.end, to)
		open.chunks++
		open.left++
	}
	return slices.DeleteFunc(out, func(s *stretch) bool { return s.chunks < stretchChunks })
}

// find returns the stretch that a chunk lies in.
func (p *aheadPlan) find(c *manifest.Chunk) *stretch {
	n, found := slices.BinarySearchFunc(p.stretches, c, func(s *stretch, c *manifest.Chunk) int {
		return cmp.Or(cmp.Compare(s.pack, c.Pack), cmp.Compare(s.start, int64(c.Offset)))
	})
	if !found {
		n--
	}
	if n < 0 {
		return nil
	}
	if s := p.stretches[n]; s.pack == c.Pack && int64(c.Offset)+int64(c.Stored) <= s.end {
		return s
	}
	return nil
}

// take gives the batch those of the chunks that lie in stretches, and returns the others.
// What cannot be had in this way is among them: whoever asks for it alone learns why.
func (a *stretchReader) take(ctx context.Context, b *batch, need []*manifest.Chunk) (rest []*manifest.Chunk) {
	plan := a.plan(b.t)
	if len(plan.stretches) == 0 {
		return need
	}
	wanted := make(map[*stretch][]*manifest.Chunk)
	for _, c := range need {
		s := plan.find(c)
		if s == nil || !a.use(s, len(wanted[s]) == 0) {
			rest = append(rest, c)
			continue
		}
		wanted[s] = append(wanted[s], c)
	}
	// Each step of the chains lies in another pack: to ask for one after the other would
	// take as many times as long as an answer of the storage does.
	var g errgroup.Group
	g.SetLimit(8)
	for s := range wanted {
		g.Go(func() error {
			s.once.Do(func() { a.read(ctx, b.t, s) })
			return nil
		})
	}
	_ = g.Wait() // what failed has no boxes
	for s, chunks := range wanted {
		rest = append(rest, a.open(ctx, b, s, chunks)...)
	}
	return rest
}

// use notes that somebody is going to read a stretch, first for the first time in this
// batch; it reports false if the stretch is of no use any more.
func (a *stretchReader) use(s *stretch, first bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.left == 0 {
		return false
	}
	if first {
		s.users++
	}
	return true
}

// read reads a stretch.
func (a *stretchReader) read(ctx context.Context, t *manifest.Table, s *stretch) {
	r := a.f.r
	n := int(s.end - s.start)
	boxes := r.buffers.get(n)[:n]
	if err := r.st.Read(ctx, packKey(t.Packs[s.pack].ID), s.start, boxes); err != nil {
		r.buffers.put(boxes)
		boxes = nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if boxes == nil {
		s.left = 0
		return
	}
	s.boxes = boxes
	a.held = append(a.held, s)
	for a.bytes += n; a.bytes > 2*a.most; {
		a.drop(a.held[0])
	}
}

// drop takes a stretch out of use. Its memory goes when nobody reads it.
func (a *stretchReader) drop(s *stretch) {
	s.left = 0
	if i := slices.Index(a.held, s); i >= 0 {
		a.held = slices.Delete(a.held, i, i+1)
		a.bytes -= int(s.end - s.start)
	}
	if s.users == 0 && s.boxes != nil {
		a.f.r.buffers.put(s.boxes)
		s.boxes = nil
	}
}

// open gives the batch the chunks of one stretch, and returns those that it could not.
func (a *stretchReader) open(ctx context.Context, b *batch, s *stretch, chunks []*manifest.Chunk) (rest []*manifest.Chunk) {
	a.mu.Lock()
	boxes := s.boxes
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		s.users--
		if s.left = max(0, s.left-len(chunks)); s.left == 0 {
			a.drop(s)
		}
	}()
	if boxes == nil {
		return chunks
	}
	r := a.f.r
	sealer, err := a.f.sealer(ctx, b.t.Packs[s.pack])
	if err != nil {
		return chunks
	}
	for _, c := range chunks {
		at := int64(c.Offset) - s.start
		payload, err := pack.OpenChunk(sealer, r.buffers.get(int(c.Stored)), c.ID, c.Ordinal, boxes[at:at+int64(c.Stored)])
		if err != nil {
			rest = append(rest, c)
			continue
		}
		b.payloads[c] = payload
	}
	return rest
}
