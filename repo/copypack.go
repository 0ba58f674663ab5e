package repo

import (
	"context"
	"fmt"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// pack stores what comes, in the stream's order, and returns the stream's manifest.
func (v *chunkMover) pack(ctx context.Context) (*manifest.Manifest, error) {
	limits := v.c.to.opts.Limits
	timer := time.NewTimer(limits.CheckpointTime)
	defer timer.Stop()
	checkpoint := func() error {
		if v.out.uncovered == 0 {
			return nil
		}
		if err := v.out.checkpoint(); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		return nil
	}
	var runs <-chan *moveRun = v.runs
	var fetched chan struct{}
	var r *moveRun
	var done int64
	for {
		select {
		case next, more := <-runs:
			if !more {
				return v.out.finish()
			}
			r, runs, fetched = next, nil, next.done
			continue
		case <-fetched:
		case <-timer.C: // also while the source is silent
			if err := checkpoint(); err != nil {
				return nil, err
			}
			continue
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		first := v.out.uncovered == 0
		for i := range r.pieces {
			n, err := v.packPiece(ctx, r.table, &r.pieces[i])
			if err != nil {
				return nil, err
			}
			done += n
		}
		v.window.Release(r.raw)
		runs, fetched = v.runs, nil
		if v.w.o.Progress != nil {
			v.w.o.Progress(done)
		}
		if first {
			timer.Reset(limits.CheckpointTime)
		}
		if v.out.uncovered >= limits.CheckpointBytes {
			if err := checkpoint(); err != nil {
				return nil, err
			}
		}
	}
}

// packPiece stores one piece, unless it is there, and returns how much of the stream
// that was.
func (v *chunkMover) packPiece(ctx context.Context, t *manifest.Table, p *movePiece) (int64, error) {
	if !p.known {
		if at, ok := v.out.own.get(p.chunk.ID); ok {
			p.at, p.known = at, true
		}
	}
	if !p.known {
		if err := v.store(ctx, t, p); err != nil {
			return 0, err
		}
	}
	if p.payload != nil {
		v.c.from.buffers.put(p.payload)
		p.payload = nil
	}
	if p.base {
		return 0, nil
	}
	return int64(p.chunk.Raw), v.out.addRow(p.at)
}

// store puts a chunk into a pack of the target.
func (v *chunkMover) store(ctx context.Context, t *manifest.Table, p *movePiece) error {
	entry := p.entry
	var base *place
	if p.payload != nil && entry.Encoding == index.Delta {
		// A base without a location in the target, or with one so deep that the delta
		// would lie deeper than it may, is of no use: then the chunk is stored whole.
		if at, ok := v.placeOfBase(entry.Base); ok && at.depth < v.c.to.config.DeltaDepth {
			base = &at
			entry.Depth = at.depth + 1
		}
	}
	if p.payload == nil || entry.Encoding == index.Delta && base == nil {
		if p.base {
			return nil // what builds on it is stored whole
		}
		if err := v.whole(ctx, t, p); err != nil {
			return err
		}
		entry = p.entry
	}
	at, err := v.out.addChunk(entry, p.payload, p.sum)
	if err != nil {
		return err
	}
	if at.base = base; base != nil {
		v.w.stats.DeltaChunks++
		v.w.stats.DeltaRaw += uint64(entry.Raw)
		v.w.stats.DeltaStored += uint64(len(p.payload))
	}
	v.out.own.put(at)
	p.at, p.known = at, true
	return nil
}

// placeOfBase returns where the target has the base of a delta that is about to be
// stored: in a pack of this stream, or in one that is there and not condemned.
func (v *chunkMover) placeOfBase(id digest.ID) (place, bool) {
	if at, ok := v.out.own.get(id); ok {
		return at, true
	}
	return v.finder.find(id, -1)
}
