package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// fetch reads the missing chunks of a run as they are encoded, and checks the name of
// each, bases included.
func (v *chunkMover) fetch(ctx context.Context, r *moveRun) error {
	var missing []*movePiece
	for i := range r.pieces {
		if p := &r.pieces[i]; !p.known && !p.again {
			missing = append(missing, p)
		}
	}
	missing, err := v.read(ctx, r.table, missing)
	if err != nil || len(missing) == 0 {
		return err
	}
	// They are not where the manifest says: prune has moved them, or something is
	// damaged. They are looked for as the repository stands now, still as they are
	// encoded.
	v.c.source.isStale() // the planner looks over what comes
	t, found, err := v.moved(ctx, r.table, missing)
	if err != nil || len(found) == 0 {
		return err
	}
	rows := make([]*movePiece, len(found))
	for i := range found {
		rows[i] = &movePiece{chunk: &t.Rows[i]}
	}
	if _, err := v.read(ctx, t, rows); err != nil {
		return err
	}
	for i, p := range found {
		p.payload, p.sum, p.entry = rows[i].payload, rows[i].sum, rows[i].entry
	}
	// What is left without a payload is read by itself when its turn comes, from any
	// copy that is good, and stored whole.
	return nil
}

// read reads the chunks of the pieces, which are of the table, and returns those that
// could not be had from where it says.
func (v *chunkMover) read(ctx context.Context, t *manifest.Table, pieces []*movePiece) ([]*movePiece, error) {
	b := &batch{f: v.c.source, t: t, payloads: make(map[*manifest.Chunk][]byte)}
	defer b.free()
	var packed []*manifest.Chunk
	for _, p := range pieces {
		if p.chunk.Pack == manifest.InlinePack {
			inline := v.m.Inline[p.chunk.Offset : p.chunk.Offset+p.chunk.Stored]
			b.payloads[p.chunk] = append(v.c.from.buffers.get(len(inline)), inline...)
		} else {
			packed = append(packed, p.chunk)
		}
	}
	if err := b.load(ctx, packed); err != nil && (!isUnusable(err) || ctx.Err() != nil) {
		return nil, err
	}
	namer := v.c.from.keys.Namer()
	var failed []*movePiece
	for _, p := range pieces {
		// The checksum is taken before the payload is proved to be the chunk, and
		// checked when it is sealed: from here on no flipped bit goes unnoticed.
		payload := b.payloads[p.chunk]
		p.sum = pack.Sum(payload)
		content, err := b.content(p.chunk)
		if err == nil && namer.Sum(content) != p.chunk.ID {
			err = fmt.Errorf("%w: content does not match the chunk's name", ErrDamaged)
		}
		if err != nil {
			v.c.from.buffers.put(content)
			if !isUnusable(err) && !errors.Is(err, errNotLoaded) || ctx.Err() != nil {
				return nil, err
			}
			failed = append(failed, p)
			continue
		}
		p.entry = v.entry(p.chunk, content)
		if p.entry.Encoding = p.chunk.Encoding; p.chunk.Base != 0 {
			p.entry.Base = t.Bases[p.chunk.Base-1].ID
		}
		v.c.from.buffers.put(content)
		// A copy: the batch may need it for a chunk that builds on this one.
		p.payload = append(v.c.from.buffers.get(len(payload)), payload...)
	}
	return failed, nil
}

// entry describes a chunk of the target, but for how it is encoded.
func (v *chunkMover) entry(c *manifest.Chunk, content []byte) index.Entry {
	e := index.Entry{ID: c.ID, Raw: c.Raw}
	// Made anew: manifests do not hold them, and those of the source may be of another
	// namespace.
	if features, ok := v.features.Features(content); ok {
		e.Flags, e.Features = index.FlagFeatures, features
	}
	return e
}

// whole reads a chunk from wherever it is good and makes a payload of it that needs no
// other chunk.
func (v *chunkMover) whole(ctx context.Context, t *manifest.Table, p *movePiece) error {
	from, to := v.c.from, v.c.to
	if p.chunk.Pack == manifest.InlinePack {
		return fmt.Errorf("%w: inline chunk %s", ErrDamaged, p.chunk.ID.Short())
	}
	content, err := v.c.source.chunk(ctx, nil, t, p.chunk, from.keys.Namer())
	if err != nil {
		return err
	}
	from.buffers.put(p.payload)
	p.entry = v.entry(p.chunk, content)
	p.payload, p.entry.Encoding, p.sum, err = to.encodeChunk(from.buffers.get(len(content)), content)
	return err
}

// moved returns a table with the present locations of those of the pieces, all of the
// table t, that have any, in the order of its rows.
func (v *chunkMover) moved(ctx context.Context, t *manifest.Table, pieces []*movePiece) (*manifest.Table, []*movePiece, error) {
	l := &movedLocations{f: v.c.source, t: t, packs: newPackSet(), present: make(map[digest.ID]bool)}
	b := newTableBuilder(l.packs)
	var found []*movePiece
	for _, p := range pieces {
		if p.chunk.Pack == manifest.InlinePack {
			continue
		}
		at, err := l.find(ctx, p.chunk.ID, index.MaxDepth+1)
		if err != nil {
			return nil, nil, err
		}
		if at != nil && at.raw == p.chunk.Raw {
			b.add(at)
			found = append(found, p)
		}
	}
	return &b.table, found, nil
}

// movedLocations looks up chunks in all that the source says of itself.
type movedLocations struct {
	f       *fetcher
	t       *manifest.Table
	packs   *packSet
	present map[digest.ID]bool
}

// find returns a location less deep than below, with a chain of bases that have
// locations too; nil if there is none.
func (l *movedLocations) find(ctx context.Context, id digest.ID, below int) (*place, error) {
	locs, err := l.f.places(ctx, l.t, id, true)
	if err != nil {
		return nil, err
	}
	for _, loc := range locs {
		if int(loc.Depth) >= below {
			continue
		}
		if ok, err := l.isPresent(ctx, loc.Pack); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		var base *place
		if loc.Encoding == index.Delta {
			if base, err = l.find(ctx, loc.Base, int(loc.Depth)); err != nil {
				return nil, err
			}
			if base == nil {
				continue
			}
		}
		at := placeAt(id, l.packs.slot(loc.Pack, seal.Header{}), loc, base)
		return &at, nil
	}
	return nil, nil
}

func (l *movedLocations) isPresent(ctx context.Context, id digest.ID) (bool, error) {
	ok, asked := l.present[id]
	if asked {
		return ok, nil
	}
	_, err := l.f.r.st.Stat(ctx, packKey(id))
	if err != nil && !isNotExist(err) {
		return false, err
	}
	l.present[id] = err == nil
	return err == nil, nil
}
