package repo

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/delta"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// recoded is a chunk that was encoded anew.
type recoded struct {
	entry   index.Entry
	payload []byte
	err     error
}

// recode encodes chunks anew, several at once.
func (x *copier) recode(ctx context.Context, list []catalog.Copy) error {
	results := make([]recoded, len(list))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(x.c.r.opts.Concurrency)
	for i := range list {
		g.Go(func() error {
			results[i] = x.encode(gctx, &list[i])
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range list {
		k, done := &list[i], &results[i]
		if done.err != nil {
			if err := x.fail(ctx, k.ID, k.Pack, done.err); err != nil {
				return err
			}
			continue
		}
		x.recoded++
		if err := x.add(ctx, done.entry, done.payload); err != nil {
			return err
		}
	}
	return nil
}

// encode encodes one chunk anew: against the base that the plan says, or whole.
func (x *copier) encode(ctx context.Context, k *catalog.Copy) recoded {
	r := x.c.r
	entry, like, content, err := x.content(ctx, k.ID)
	if err != nil {
		return recoded{err: err}
	}
	defer r.buffers.put(content)
	if like != nil && entry.Flags&index.FlagFeatures == 0 {
		// It has none because those of a base were as good. The base may go now, and the next
		// delta against this chunk counts on finding some.
		entry.Flags, entry.Features = entry.Flags|index.FlagFeatures, x.features.of(content, like.Features)
	}
	payload, encoding, _, err := r.encodeChunk(nil, content)
	if err != nil {
		return recoded{err: err}
	}
	entry.Encoding, entry.Depth, entry.Base = encoding, 0, digest.ID{}
	if depth := x.plan.DepthOf(k.Base); k.Delta && depth < int(k.Depth) {
		base, _, baseContent, err := x.content(ctx, k.Base)
		if err != nil {
			return recoded{err: err}
		}
		defer r.buffers.put(baseContent)
		var encoder delta.Encoder
		if raw, ok := encoder.Encode(nil, baseContent, content, 3*len(payload)); ok {
			if smaller := r.enc.EncodeDelta(nil, raw); len(smaller) < len(payload) {
				if err := r.verifyDelta(smaller, baseContent, content, len(raw)); err != nil {
					return recoded{err: err}
				}
				payload = smaller
				entry.Encoding, entry.Depth, entry.Base = index.Delta, uint8(depth+1), base.ID
			}
		}
	}
	return recoded{entry: entry, payload: payload}
}

// content reads a chunk, with its bases. like is the first in the chain, the chunk itself
// or a base, that has features; nil if none has.
func (x *copier) content(ctx context.Context, id catalog.Key) (entry index.Entry, like *index.Entry, content []byte, err error) {
	chain := x.c.cat.Chain(id)
	if chain == nil {
		return entry, nil, nil, fmt.Errorf("%w: a base is nowhere", ErrDamaged)
	}
	t := &manifest.Table{Bases: make([]manifest.Chunk, len(chain)-1)}
	packs := make(map[int]uint32)
	for i, s := range chain {
		d, err := x.dirs.get(ctx, s.Pack)
		if err != nil {
			return entry, nil, nil, err
		}
		at, ok := d.find(s.ID, s.Depth)
		if !ok {
			return entry, nil, nil, fmt.Errorf("%w: %s does not hold what the index says", ErrDamaged, packKey(x.c.cat.Packs[s.Pack].ID))
		}
		if e := &d.entries[at]; like == nil && e.Flags&index.FlagFeatures != 0 {
			like = e
		}
		row := x.row(t, packs, s.Pack, d, at)
		if s.Delta {
			row.Base = uint32(i + 1)
		}
		if i == 0 {
			entry = d.entries[at]
			t.Rows = []manifest.Chunk{row}
		} else {
			t.Bases[i-1] = row
		}
	}
	contents, read, err := x.fetcher.contents(ctx, t, []*manifest.Chunk{&t.Rows[0]}, x.c.r.keys.Namer())
	x.mu.Lock()
	x.c.report.BytesRead += read
	x.mu.Unlock()
	if err != nil {
		return entry, nil, nil, err
	}
	return entry, like, contents[0], nil
}
