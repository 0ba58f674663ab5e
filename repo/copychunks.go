package repo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// chunkMover copies the chunks of one stream between repositories that share names. It
// is the pipeline of a write with a list of chunks in the place of the cutter:
//
//	planner (1): what the target lacks ──► fetch (n): read, check names ──► packer (1, in order) ──► uploads
//
// A delta travels as it is encoded. Its base gets a location in the target before it: one
// that counts already, or a copy that comes before the delta in the packs.
type chunkMover struct {
	c        *transfer
	w        *writer
	m        *manifest.Manifest // in the source
	finder   *finder            // in the target
	out      *packer
	features *chunking.Featurer
	window   *semaphore.Weighted // content planned and not packed yet
	decode   *semaphore.Weighted
	runs     chan *moveRun
	group    *errgroup.Group

	open    *moveRun     // the run that the planner is extending
	offset  int64        // in the stream, the planner's
	planned recentPlaces // what the planner has chosen to copy; forgets as packer.own does
}

// moveRun is a stretch of the stream, whose missing chunks are read together.
type moveRun struct {
	table  *manifest.Table
	pieces []movePiece
	raw    int64 // content of the missing chunks, the part of the window that it holds
	done   chan struct{}
}

// movePiece is a row of the stream, or a base that a later piece needs.
type movePiece struct {
	chunk   *manifest.Chunk
	base    bool   // no row of the stream
	known   bool   // at says where it is in the target
	again   bool   // an earlier piece brings it
	at      place  // in the target
	payload []byte // else: what to store
	entry   index.Entry
	sum     uint32
}

// maxMovePieces bounds the pieces of a run.
const maxMovePieces = 1024

// moveChunks stores a stream whose chunks have the same names in both repositories.
func (c *transfer) moveChunks(ctx context.Context, name Name, m *manifest.Manifest, progress func(int64)) (WriteReport, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &writer{
		r: c.to, ctx: ctx, name: name, key: name.Key(), started: time.Now(), packs: newPackSet(),
		o: WriteOptions{
			Origin: m.Origin, Source: m.Source, Previous: c.previous(name), Progress: progress,
			Wrapping: func() (manifest.Wrapping, uint64) { return m.Wrapping, m.Tail },
		},
	}
	copied, err := c.moveInline(w, m)
	if copied == nil && err == nil {
		copied, err = c.movePacked(ctx, cancel, w, m)
	}
	if err == nil && (copied.Identity != m.Identity || copied.Length != m.Length) {
		err = fmt.Errorf("%w: the chunk list does not match the stream's identity", ErrDamaged)
	}
	if err != nil {
		if isUnusable(err) {
			err = fmt.Errorf("read from %s: %w", c.from.st.Location(), err)
		}
		return WriteReport{}, err
	}
	return w.publish(copied)
}

// moveInline returns the manifest of a stream that lies in its manifest, nil for others.
func (c *transfer) moveInline(w *writer, m *manifest.Manifest) (*manifest.Manifest, error) {
	if len(m.Leaves) > 0 {
		return nil, nil
	}
	identity := manifest.NewIdentity()
	namer := c.from.keys.Namer()
	for i := range m.Table.Rows {
		row := &m.Table.Rows[i]
		if row.Pack != manifest.InlinePack {
			return nil, nil
		}
		out, err := c.source.decode(nil, c.from.buffers.get(int(row.Raw)+compress.Slack), row, m.Inline[row.Offset:row.Offset+row.Stored], nil, namer)
		if err != nil {
			return nil, fmt.Errorf("inline chunk %s: %w", row.ID.Short(), err)
		}
		c.from.buffers.put(out)
		identity.Add(row.ID, row.Raw)
	}
	n := uint64(len(m.Table.Rows))
	w.stats = manifest.Stats{Chunks: n, NewChunks: n, NewRaw: m.Length}
	return &manifest.Manifest{Length: m.Length, Identity: identity.Sum(), Table: manifest.Table{Rows: m.Table.Rows}, Inline: m.Inline}, nil
}

func (c *transfer) movePacked(ctx context.Context, cancel context.CancelCauseFunc, w *writer, m *manifest.Manifest) (*manifest.Manifest, error) {
	g, ctx := errgroup.WithContext(ctx)
	prev := w.openPrevious(ctx)
	f, err := c.to.newFinder(ctx, prev, w.packs)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if f.gc.tombstones[w.name.root()] {
		return nil, ErrDeleted // before the work, though only the last look decides
	}
	v := &chunkMover{
		c: c, w: w, m: m, finder: f, group: g, out: newPacker(ctx, cancel, w, f),
		features: chunking.NewFeaturer(c.to.keys.FeatureKey(), w.name.Namespace),
		window:   semaphore.NewWeighted(max(c.from.opts.Limits.ReadWindow, maxRun)),
		decode:   semaphore.NewWeighted(int64(c.from.opts.Concurrency)),
		runs:     make(chan *moveRun, 4*c.from.opts.Concurrency),
		planned:  recentPlaces{generation: recentGeneration},
	}
	g.Go(func() error {
		if err := c.source.eachRows(ctx, m, func(t *manifest.Table) error { return v.plan(ctx, t) }); err != nil {
			return err
		}
		close(v.runs) // only a whole plan ends the stream
		return nil
	})
	var copied *manifest.Manifest
	g.Go(func() (err error) {
		copied, err = v.pack(ctx)
		return err
	})
	if err := g.Wait(); err != nil {
		cancel(err)
		v.out.abort()
		// What an upload died of came through the context.
		if errors.Is(err, context.Canceled) {
			err = context.Cause(w.ctx)
		}
		return nil, err
	}
	return copied, nil
}

// eachRows calls fn for the tables that hold the rows of the stream, in order.
func (f *fetcher) eachRows(ctx context.Context, m *manifest.Manifest, fn func(*manifest.Table) error) error {
	for i := range m.Leaves {
		t, err := f.leaf(ctx, m, i)
		if err != nil {
			return err
		}
		if err := fn(t); err != nil {
			return err
		}
	}
	return fn(&m.Table)
}

// plan says for each row of the table whether the target has it.
func (v *chunkMover) plan(ctx context.Context, t *manifest.Table) error {
	// Where packs are known to be gone it says where the chunks are now.
	t, err := v.c.source.rehint(ctx, t)
	if err != nil {
		return err
	}
	for i := range t.Rows {
		row := &t.Rows[i]
		p := v.lookUp(row, v.offset)
		v.offset += int64(row.Raw)
		if !p.known && !p.again {
			// Its bases come first, and theirs before them.
			if err := v.planBase(ctx, t, row); err != nil {
				return err
			}
		}
		if err := v.add(ctx, t, p); err != nil {
			return err
		}
	}
	return v.flush(ctx) // a run is of one table
}

func (v *chunkMover) planBase(ctx context.Context, t *manifest.Table, row *manifest.Chunk) error {
	if row.Base == 0 {
		return nil
	}
	base := &t.Bases[row.Base-1]
	p := v.lookUp(base, -1)
	if p.known || p.again {
		return nil
	}
	p.base = true
	if err := v.planBase(ctx, t, base); err != nil { // depth falls, so this ends
		return err
	}
	return v.add(ctx, t, p)
}

// lookUp finds a chunk in the target, or among what was planned.
func (v *chunkMover) lookUp(chunk *manifest.Chunk, offset int64) movePiece {
	p := movePiece{chunk: chunk}
	if p.at, p.known = v.finder.find(chunk.ID, offset); p.known {
		// Two contents cannot share a name: the entry is wrong.
		p.known = p.at.raw == chunk.Raw
	}
	if !p.known {
		_, p.again = v.planned.get(chunk.ID)
	}
	return p
}

// add puts a piece into the open run, or begins another.
func (v *chunkMover) add(ctx context.Context, t *manifest.Table, p movePiece) error {
	var raw int64
	if !p.known && !p.again {
		v.planned.put(place{id: p.chunk.ID})
		raw = int64(p.chunk.Raw)
	}
	if r := v.open; r != nil && (len(r.pieces) >= maxMovePieces || r.raw > 0 && r.raw+raw > maxRun) {
		if err := v.flush(ctx); err != nil {
			return err
		}
	}
	if v.open == nil {
		v.open = &moveRun{table: t, done: make(chan struct{})}
	}
	v.open.pieces = append(v.open.pieces, p)
	v.open.raw += raw
	return nil
}

// flush begins to fetch the open run and queues it for packing.
func (v *chunkMover) flush(ctx context.Context) error {
	r := v.open
	if r == nil {
		return nil
	}
	v.open = nil
	r.raw = min(r.raw, max(v.c.from.opts.Limits.ReadWindow, maxRun))
	if err := v.window.Acquire(ctx, r.raw); err != nil {
		return err
	}
	select {
	case v.runs <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.raw == 0 {
		close(r.done)
		return nil
	}
	v.group.Go(func() error {
		if err := v.decode.Acquire(ctx, 1); err != nil {
			return err
		}
		defer v.decode.Release(1)
		if err := v.fetch(ctx, r); err != nil {
			return err
		}
		close(r.done)
		return nil
	})
	return nil
}
