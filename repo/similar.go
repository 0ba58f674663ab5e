package repo

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/delta"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/spelling"
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
	return "", fmt.Errorf("%w: unknown delta mode %q: want auto, on or off%s", ErrUsage, s,
		spelling.DidYouMean(s, []string{string(DeltaAuto), string(DeltaOn), string(DeltaOff)}))
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
	stored      atomic.Int64 // payloads of these
}

func newSimilar(ctx context.Context, w *writer, f *finder) *similar {
	return &similar{
		w: w, ctx: ctx, finder: f, fetcher: w.r.newFetcher(), bases: newBaseCache(&w.r.buffers),
		features: chunking.NewFeaturer(w.r.keys.FeatureKey(), w.name.Namespace),
	}
}

// Whether deltas pay is judged anew all the time, by tries of which older ones count
// less and less.
const (
	trialChunks = 128 // so many tries come before any judgement
	trialSkip   = 8   // where they do not pay, one chunk in this many is tried
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

// deltaWorker is what one goroutine needs to make deltas.
type deltaWorker struct {
	encoder delta.Encoder
	namer   *digest.Hasher
	raw     []byte // the delta before compression

	resemblance float64 // of the last chunk that became a delta, with its base
}

// leastAlike is how much a chunk must resemble one of its bases, as chunking.Resemblance has
// it, for that one's features to be good for both. Measured on tables, in chunks of 16 KiB, of which 0.3, 1.3
// and 5 % of the rows changed a day, chunks for which alike estimated 0.95 to 1 shared a
// super-feature with that base in 99.8 % of all cases, those with 0.9 to 0.95 in 98.5 %, those
// with 0.85 to 0.9 in 96.8 %. Of table text with 1.3 % of the rows changed a day, at 256 KiB a
// chunk, 0.9 makes features for 28 % of the deltas, 0.95 for 48 % and 0.85 for 19 %.
const leastAlike = 0.9

// alike reports whether the delta in e, the last that d made, needs no features: its base,
// or that one's base, and so on, has some, and the chunk resembles that one.
//
// Rows say what the deltas on the way store, not how much they change: they are taken to
// change as much a byte as this one does. What is stored alone would be a poor measure: a
// changed byte takes few bytes and spoils a whole window, a changed row many for a few windows.
func (d *deltaWorker) alike(e *encoded) bool {
	one := float64(len(e.payload) + index.BoxOverhead)
	stored := one
	for base := e.base; base != nil; base = base.base {
		if base.flags&index.FlagFeatures != 0 {
			return math.Pow(d.resemblance, stored/one) >= leastAlike
		}
		stored += float64(base.stored)
	}
	return false // no base has any
}

// encode stores the chunk in e as a delta, if there is a base with which that pays:
// if the delta takes at most three quarters of what the chunk takes whole, going by
// the root of the base's chain. It notes the chunk's features, unless those of a base
// are as good.
func (s *similar) encode(d *deltaWorker, e *encoded, data []byte, offset int64, position int) (err error) {
	worth, ok := s.worthTrying(position), false
	if worth {
		ok, err = s.tryPrevious(d, e, data, offset, s.drift.Load())
	}
	if err == nil && (!ok || !d.alike(e)) {
		e.features, e.featured = s.features.Features(data)
	}
	if !worth {
		return nil
	}
	if !ok && err == nil && e.featured {
		ok, err = s.try(d, e, data, s.inIndex(e.features))
	}
	if !ok && err == nil && s.drift.Load() != 0 {
		ok, err = s.tryPrevious(d, e, data, offset, 0)
	}
	s.tried.Add(1)
	if ok {
		s.paid.Add(1 + s.tried.Load()/trialChunks) // one that pays ends a time of few tries
		s.chunks.Add(1)
		s.raw.Add(int64(len(data)))
		s.stored.Add(int64(len(e.payload)))
	}
	return err
}

// tryPrevious tries the chunk of the previous backup that lay where this one is,
// less the drift, and takes note of where its content really was.
func (s *similar) tryPrevious(d *deltaWorker, e *encoded, data []byte, offset, drift int64) (bool, error) {
	base, begin := s.inPrevious(offset-drift, len(data))
	ok, err := s.try(d, e, data, base)
	if ok {
		// Content at data[i] was at base[i-shift].
		s.drift.Store(offset + int64(d.encoder.Shift()) - begin)
	}
	return ok, err
}

// candidate is a chunk that may become a base, and where to read it.
type candidate struct {
	table *manifest.Table
	chunk *manifest.Chunk
	ahead []*manifest.Chunk // what will probably be wanted next
}

// inPrevious returns the chunk that the previous backup had at the offset, or most
// of it, and where that chunk began.
func (s *similar) inPrevious(offset int64, length int) (*candidate, int64) {
	prev := s.finder.prev
	if prev == nil {
		return nil, -1
	}
	t, row, begin := prev.overlapping(offset, int64(length))
	if t == nil {
		return nil, -1
	}
	c := &candidate{table: t, chunk: &t.Rows[row]}
	if !s.finder.usableRow(t, c.chunk) {
		return s.moved(t.Rows[row:min(len(t.Rows), row+readAhead)]), begin
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

// moved returns the first of the chunks as it lies now: a collector has moved it, or one of
// its bases, since the manifest was written.
func (s *similar) moved(rows []manifest.Chunk) *candidate {
	p, ok := s.finder.findInIndex(rows[0].ID, index.MaxDepth)
	if !ok {
		return nil
	}
	b := newTableBuilder(s.w.packs)
	b.add(&p)
	if s.bases.has(p.id) {
		rows = rows[:1]
	}
	for i := range rows[1:] {
		next, ok := s.finder.findInIndex(rows[1+i].ID, index.MaxDepth)
		if !ok || next.slot != p.slot {
			break
		}
		if next.depth < s.w.r.config.DeltaDepth {
			b.add(&next)
		}
	}
	c := &candidate{table: &b.table, chunk: &b.table.Rows[0]}
	for i := range b.table.Rows[1:] {
		c.ahead = append(c.ahead, &b.table.Rows[1+i])
	}
	return s.shallow(c)
}

// shallow returns the candidate, or, if it is as deep as a base may be, the root of
// its chain: bases that nobody needs any more can be collected then.
func (s *similar) shallow(c *candidate) *candidate {
	if c.chunk.Depth < s.w.r.config.DeltaDepth {
		return c
	}
	return &candidate{table: c.table, chunk: c.root()}
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
	// Never longer than the chunk itself, which the format rules out.
	limit := min(c.wholeSize(len(data)), len(data)) * 3 / 4
	raw, ok := d.encoder.Encode(d.raw[:0], base.content, data, 3*limit)
	if d.raw = raw; !ok {
		return false, nil
	}
	payload := r.enc.EncodeDelta(r.buffers.get(len(data)), raw)
	if len(payload) > limit {
		r.buffers.put(payload)
		return false, nil
	}
	e.sum = pack.Sum(payload)
	if err := r.verifyDelta(payload, base.content, data, len(raw)); err != nil {
		return false, err
	}
	at := placeOf(c.table, c.chunk, s.w.packs)
	r.buffers.put(e.payload)
	e.payload, e.base = payload, &at
	copied, copies := d.encoder.Copied()
	d.resemblance = chunking.Resemblance(len(base.content), len(data), copied, copies)
	return true, nil
}

// verifyDelta checks that a delta, of length bytes before compression, makes data of base.
func (r *Repo) verifyDelta(payload, base, data []byte, length int) error {
	out, scratch, err := r.dec.DecodeDelta(r.buffers.get(len(data)+compress.Slack), r.buffers.get(length+compress.Slack), payload, base, len(data))
	r.buffers.put(scratch)
	if err != nil || !bytes.Equal(out, data) {
		return fmt.Errorf("make delta: what was made does not give the same bytes: " +
			"this machine's memory or processor is not to be trusted")
	}
	r.buffers.put(out)
	return nil
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

// wholeSize estimates what n bytes take when they are stored whole: in proportion to
// what the root of the candidate's chain takes.
func (c *candidate) wholeSize(n int) int {
	root := c.root()
	return int(int64(n) * int64(root.Stored) / int64(max(root.Raw, 1)))
}

// root returns the chunk that the candidate's chain of bases ends with.
func (c *candidate) root() *manifest.Chunk {
	root := c.chunk
	for root.Base != 0 {
		root = &c.table.Bases[root.Base-1]
	}
	return root
}

// count notes what deltas did for the stream.
func (s *similar) count(stats *manifest.Stats) {
	stats.DeltaChunks, stats.DeltaRaw = uint64(s.chunks.Load()), uint64(s.raw.Load())
	stats.DeltaStored, stats.BaseRead = uint64(s.stored.Load()), uint64(s.read.Load())
}
