package repo

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/delta"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
)

// DeltaMode says whether new chunks are compared with similar ones.
type DeltaMode string

// The modes, by the names that users give them.
const (
	DeltaAuto DeltaMode = "auto" // unless it does not pay
	DeltaOn   DeltaMode = "on"
	DeltaOff  DeltaMode = "off"
)

// ParseDeltaMode returns the mode of that name; empty is DeltaAuto.
func ParseDeltaMode(s string) (DeltaMode, error) {
	switch m := DeltaMode(s); m {
	case "":
		return DeltaAuto, nil
	case DeltaAuto, DeltaOn, DeltaOff:
		return m, nil
	}
	return "", fmt.Errorf("%w: unknown delta mode %q: want auto, on or off", ErrUsage, s)
}

// similar finds bases for the new chunks of one stream: the chunk that the previous
// backup had at the same place, or one that the index says has the same features.
// It is safe for concurrent use.
type similar struct {
	w        *writer
	ctx      context.Context //nolint:containedctx // lives as long as the write it belongs to
	finder   *finder
	fetcher  *fetcher
	features *chunking.Featurer
	bases    *baseCache

	drift       atomic.Int64 // offset here minus offset there of the last base that paid
	tried, paid atomic.Int64
	read        atomic.Int64 // bytes of packs
	chunks, raw atomic.Int64 // stored as deltas
}

func newSimilar(ctx context.Context, w *writer, f *finder) *similar {
	return &similar{
		w: w, ctx: ctx, finder: f, fetcher: w.r.newFetcher(), bases: newBaseCache(&w.r.buffers),
		features: chunking.NewFeaturer(w.r.keys.FeatureKey(), w.name.Namespace),
	}
}

// Whether deltas pay is judged anew all the time: by the last of this many tries.
const (
	trialChunks = 64
	trialSkip   = 16 // where they do not pay, one chunk in this many is tried
)

// worthTrying reports whether a base should be looked for. In mode auto, streams in
// which that was of no use are asked only now and then.
func (s *similar) worthTrying(position int) bool {
	switch s.w.r.opts.Delta {
	case DeltaOff:
		return false
	case DeltaOn:
		return true
	}
	tried, paid := s.tried.Load(), s.paid.Load()
	if tried >= 2*trialChunks { // what is long ago counts half
		s.tried.Store(tried / 2)
		s.paid.Store(paid / 2)
	}
	return tried < trialChunks || paid*8 >= tried || position%trialSkip == 0
}

// worker is what one goroutine needs to make deltas.
type deltaWorker struct {
	encoder delta.Encoder
	namer   *digest.Hasher
	raw     []byte // the delta before compression
}

// encode stores the chunk in e as a delta, if there is a base with which that pays:
// if it takes at most half of what the chunk takes whole, as far as the stream's
// chunks so far tell. It always notes the chunk's features.
func (s *similar) encode(d *deltaWorker, e *encoded, data []byte, offset int64, position int) error {
	e.features, e.featured = s.features.Features(data)
	if !s.worthTrying(position) {
		return nil
	}
	base, at := s.inPrevious(offset, len(data))
	ok, err := s.try(d, e, data, base)
	if ok && at >= 0 {
		s.drift.Store(offset - at)
	}
	if !ok && err == nil && e.featured {
		ok, err = s.try(d, e, data, s.inIndex(e.features))
	}
	s.tried.Add(1)
	if ok {
		s.paid.Add(1)
		s.chunks.Add(1)
		s.raw.Add(int64(len(data)))
	}
	return err
}

// candidate is a chunk that may become a base, and where to read it.
type candidate struct {
	table *manifest.Table
	chunk *manifest.Chunk
	ahead []*manifest.Chunk // what will probably be wanted next
}

// inPrevious returns the chunk that the previous backup had where this one is now,
// and that chunk's offset there, or -1.
func (s *similar) inPrevious(offset int64, length int) (*candidate, int64) {
	prev := s.finder.prev
	if prev == nil {
		return nil, -1
	}
	t, row, begin := prev.overlapping(offset-s.drift.Load(), int64(length))
	if t == nil {
		return nil, -1
	}
	c := &candidate{table: t, chunk: &t.Rows[row]}
	if !s.finder.usableRow(t, c.chunk) {
		return nil, -1
	}
	for i := row + 1; i < min(len(t.Rows), row+readAhead) && t.Rows[i].Pack == c.chunk.Pack; i++ {
		if t.Rows[i].Depth < s.w.r.config.DeltaDepth {
			c.ahead = append(c.ahead, &t.Rows[i])
		}
	}
	return s.shallow(c), begin
}

// readAhead is how many chunks are read at once where the previous backup says that
// they lie side by side.
const readAhead = 8

// inIndex returns the chunk that shares most features.
func (s *similar) inIndex(features [3]uint64) *candidate {
	id, _, ok := s.finder.view.Similar(features, func(pack digest.ID) bool { return !s.finder.gc.packs[pack] })
	if !ok {
		return nil
	}
	p, ok := s.finder.find(id, -1)
	if !ok {
		return nil
	}
	b := newTableBuilder(s.w.packs)
	b.add(&p)
	return s.shallow(&candidate{table: &b.table, chunk: &b.table.Rows[0]})
}

// shallow returns the candidate, or, if it is as deep as a base may be, the root of
// its chain: bases that nobody needs any more can be collected then.
func (s *similar) shallow(c *candidate) *candidate {
	if c.chunk.Depth < s.w.r.config.DeltaDepth {
		return c
	}
	root := c.chunk
	for root.Base != 0 {
		root = &c.table.Bases[root.Base-1]
	}
	return &candidate{table: c.table, chunk: root}
}

// try makes a delta against the candidate and keeps it in e if it pays.
func (s *similar) try(d *deltaWorker, e *encoded, data []byte, c *candidate) (bool, error) {
	if c == nil || c.chunk.Pack == manifest.InlinePack {
		return false, nil
	}
	base := s.content(d, c)
	if base == nil {
		return false, nil // it costs a delta, no more
	}
	defer s.bases.release(base)
	r := s.w.r
	limit := s.w.wholeSize(len(data)) / 2
	raw, ok := d.encoder.Encode(d.raw[:0], base.content, data, 4*limit)
	if d.raw = raw; !ok {
		return false, nil
	}
	payload := r.enc.EncodeDelta(r.buffers.get(len(data)), raw)
	if len(payload) > limit {
		r.buffers.put(payload)
		return false, nil
	}
	e.sum = pack.Sum(payload)
	out, scratch, err := r.dec.DecodeDelta(r.buffers.get(len(data)+compress.Slack), r.buffers.get(len(raw)+compress.Slack), payload, base.content, len(data))
	r.buffers.put(scratch)
	if err != nil || !bytes.Equal(out, data) {
		return false, fmt.Errorf("make delta: what was made does not give the same bytes: " +
			"this machine's memory or processor is not to be trusted")
	}
	r.buffers.put(out)
	at := placeOf(c.table, c.chunk, s.w.packs)
	r.buffers.put(e.payload)
	e.payload, e.base = payload, &at
	return true, nil
}

// content returns the candidate's content, nil if it cannot be had.
func (s *similar) content(d *deltaWorker, c *candidate) *baseContent {
	if b := s.bases.get(c.chunk.ID); b != nil {
		return b
	}
	// Another worker may be reading the same run: wait for it rather than read it twice.
	s.bases.loading.Lock()
	defer s.bases.loading.Unlock()
	if b := s.bases.get(c.chunk.ID); b != nil {
		return b
	}
	want := append([]*manifest.Chunk{c.chunk}, c.ahead...)
	contents, read, err := s.fetcher.contents(s.ctx, c.table, want, d.namer)
	s.read.Add(read)
	if err != nil && s.ctx.Err() == nil {
		s.w.r.log.Warn("base cannot be read", "chunk", c.chunk.ID.String(), "error", err)
	}
	for i := len(want) - 1; i >= 0; i-- { // the one that is wanted now comes last
		if contents[i] != nil {
			s.bases.put(want[i].ID, contents[i])
		}
	}
	return s.bases.get(c.chunk.ID)
}

// wholeSize estimates what n bytes of this stream take when they are stored whole.
func (w *writer) wholeSize(n int) int {
	raw, stored := w.wholeRaw.Load(), w.wholeStored.Load()
	if raw == 0 {
		return n * 2 / 5 // table text
	}
	return int(float64(n) * float64(stored) / float64(raw))
}
