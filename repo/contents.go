package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gpdedup/gpdedup/delta"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// batch is a set of chunks of one table that are read together with the bases that
// they need. What lies near each other in a pack is read at once: a table that
// changed a little has its deltas side by side in one pack, and their bases side by
// side in another.
type batch struct {
	f        *fetcher
	t        *manifest.Table
	payloads map[*manifest.Chunk][]byte
	read     int64 // bytes

	composer delta.Composer
	chain    []*manifest.Chunk
	deltas   [][]byte // that the composer's pieces are of
}

// contents returns the contents of chunks of the table, in pool buffers that the
// caller owns. Those that could not be had are nil, and then the error says why the
// first of them failed. Names are checked; those of bases are not, because a wrong
// base makes a wrong chunk.
func (f *fetcher) contents(ctx context.Context, t *manifest.Table, chunks []*manifest.Chunk, namer *digest.Hasher) ([][]byte, int64, error) {
	b := &batch{f: f, t: t, payloads: make(map[*manifest.Chunk][]byte)}
	defer b.free()
	failed := b.load(ctx, chunks)
	out := make([][]byte, len(chunks))
	for i, c := range chunks {
		content, err := b.content(c)
		if err == nil && namer.Sum(content) != c.ID {
			f.r.buffers.put(content)
			content, err = nil, fmt.Errorf("%w: content does not match the chunk's name", ErrDamaged)
		}
		if out[i] = content; err != nil && failed == nil {
			failed = err
		}
	}
	return out, b.read, failed
}

func (b *batch) free() {
	for _, p := range b.payloads {
		b.f.r.buffers.put(p)
	}
}

// load reads the payloads of the chunks and of their bases, and returns the first
// failure.
func (b *batch) load(ctx context.Context, chunks []*manifest.Chunk) error {
	var need []*manifest.Chunk
	seen := make(map[*manifest.Chunk]bool)
	for _, c := range chunks {
		for ; c != nil && !seen[c]; c = b.base(c) {
			seen[c] = true
			need = append(need, c)
		}
	}
	if b.f.ahead != nil {
		need = b.f.ahead.take(ctx, b, need)
	}
	slices.SortFunc(need, func(x, y *manifest.Chunk) int {
		return cmp.Or(cmp.Compare(x.Pack, y.Pack), cmp.Compare(x.Offset, y.Offset))
	})
	var first error
	for len(need) > 0 {
		n, start, end := 1, int64(need[0].Offset), int64(need[0].Offset)+int64(need[0].Stored)
		for ; n < len(need) && need[n].Pack == need[0].Pack; n++ {
			from, to := int64(need[n].Offset), int64(need[n].Offset)+int64(need[n].Stored)
			if from-end > maxGap || to-start > maxSpan {
				break
			}
			end = max(end, to)
		}
		if err := b.loadSpan(ctx, need[:n], start, end); err != nil && first == nil {
			first = err
		}
		need = need[n:]
	}
	return first
}

// base returns the base of a chunk, nil if it is whole.
func (b *batch) base(c *manifest.Chunk) *manifest.Chunk {
	if c.Base == 0 {
		return nil
	}
	return &b.t.Bases[c.Base-1]
}

// loadSpan reads one range of a pack and opens the chunks in it.
func (b *batch) loadSpan(ctx context.Context, chunks []*manifest.Chunk, start, end int64) error {
	r := b.f.r
	ref := b.t.Packs[chunks[0].Pack]
	s, err := b.f.sealer(ctx, ref)
	if err != nil {
		return err
	}
	boxes := r.buffers.get(int(end - start))[:end-start]
	defer r.buffers.put(boxes)
	if err := r.st.Read(ctx, packKey(ref.ID), start, boxes); err != nil {
		return err
	}
	b.read += end - start
	var first error
	for _, c := range chunks {
		at := int64(c.Offset) - start
		payload, err := pack.OpenChunk(s, r.buffers.get(int(c.Stored)), c.ID, c.Ordinal, boxes[at:at+int64(c.Stored)])
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		b.payloads[c] = payload
	}
	return first
}

var errNotLoaded = errors.New("payload was not loaded")

// content decodes a chunk, from the end of its chain of bases on.
func (b *batch) content(c *manifest.Chunk) ([]byte, error) {
	b.chain = b.chain[:0]
	for ; c != nil; c = b.base(c) {
		if b.payloads[c] == nil {
			return nil, errNotLoaded
		}
		b.chain = append(b.chain, c)
	}
	r := b.f.r
	root := b.chain[len(b.chain)-1]
	content, err := r.dec.Decode(r.buffers.get(int(root.Raw)+compress.Slack), b.payloads[root], root.Encoding, int(root.Raw))
	for deltas := b.chain[:len(b.chain)-1]; len(deltas) > 0 && err == nil; {
		base, n := content, 0
		content, n, err = b.apply(base, deltas)
		r.buffers.put(base)
		deltas = deltas[:len(deltas)-n]
	}
	return content, decodeError(err)
}

// shortPieces is how long the pieces of a content should be on average, in bytes. From
// there on it takes longer to find pieces than to copy them.
const shortPieces = 256

// apply makes the next content of a chain, whose deltas come last first, and returns how
// many deltas it took for that.
func (b *batch) apply(base []byte, deltas []*manifest.Chunk) (content []byte, n int, err error) {
	r := b.f.r
	b.composer.Start(base)
	defer func() {
		for _, d := range b.deltas {
			r.buffers.put(d)
		}
		b.deltas = b.deltas[:0]
	}()
	size := 0
	for n < len(deltas) && (n == 0 || b.composer.Pieces() <= size/shortPieces) {
		c := deltas[len(deltas)-1-n]
		payload := b.payloads[c]
		raw, err := r.dec.Delta(r.buffers.get(compress.DeltaMemory(payload)), payload)
		if err != nil {
			return nil, 0, err
		}
		b.deltas = append(b.deltas, raw)
		if err := b.composer.Apply(raw, int(c.Raw)); err != nil {
			return nil, 0, err
		}
		size = int(c.Raw)
		n++
	}
	return b.composer.AppendTo(r.buffers.get(size + compress.Slack)), n, nil
}

// decodeError says what a payload that does not decode means: it was verified, so
// it is damage unless a newer version wrote it.
func decodeError(err error) error {
	switch {
	case errors.Is(err, delta.ErrNewer):
		return fmt.Errorf("%w: %w", ErrNewer, err)
	case errors.Is(err, compress.ErrDecode), errors.Is(err, delta.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// decode appends the content of a chunk whose box, or inline payload if s is nil,
// is given to dst, having checked its name. base is the content of a delta's base.
func (f *fetcher) decode(s *seal.Sealer, dst []byte, c *manifest.Chunk, box, base []byte, namer *digest.Hasher) ([]byte, error) {
	payload := box
	if s != nil {
		scratch := f.r.buffers.get(len(box))
		defer f.r.buffers.put(scratch)
		var err error
		if payload, err = pack.OpenChunk(s, scratch, c.ID, c.Ordinal, box); err != nil {
			return nil, err
		}
	}
	var out []byte
	var err error
	if c.Encoding == index.Delta {
		out, _, err = f.r.dec.DecodeDelta(dst, nil, payload, base, int(c.Raw))
	} else {
		out, err = f.r.dec.Decode(dst, payload, c.Encoding, int(c.Raw))
	}
	if err != nil {
		return nil, decodeError(err)
	}
	if namer.Sum(out[len(dst):]) != c.ID {
		return nil, fmt.Errorf("%w: content does not match the chunk's name", ErrDamaged)
	}
	return out, nil
}
