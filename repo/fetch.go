package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// fetcher reads chunks for one restore or check. It is safe for concurrent use.
type fetcher struct {
	r *Repo

	mu      sync.Mutex
	sealers map[digest.ID]*seal.Sealer // by pack

	// locate finds where chunks are, and their bases, when hints were no good; direct: it is
	// asked first, not the host's cache.
	direct bool
	locate func(ctx context.Context, want map[digest.ID]bool) (locations, error)

	moved moved
	ahead *stretchReader // nil: nothing is read ahead

	locating sync.Mutex
	located  locations // chunks whose hints were no good, and their neighbours
}

func (r *Repo) newFetcher() *fetcher {
	f := &fetcher{r: r, moved: moved{gone: make(map[digest.ID]bool), tables: make(map[*manifest.Table]*manifest.Table)}, sealers: make(map[digest.ID]*seal.Sealer), located: make(locations)}
	f.locate = func(ctx context.Context, want map[digest.ID]bool) (locations, error) {
		return r.locate(ctx, want, true)
	}
	return f
}

// maxLocated bounds the chunks whose places are kept; more than a leaf list has.
const maxLocated = 64 << 10

// maxSealers bounds the sealers kept; each is under a kilobyte.
const maxSealers = 4096

// sealer returns what opens the pack's boxes. If the header is not known, it is
// read.
func (f *fetcher) sealer(ctx context.Context, ref manifest.PackRef) (*seal.Sealer, error) {
	f.mu.Lock()
	s := f.sealers[ref.ID]
	f.mu.Unlock()
	if s != nil {
		return s, nil
	}
	header := ref.Header[:]
	if ref.Header.IsZero() {
		header = make([]byte, seal.HeaderSize)
		if err := f.r.st.Read(ctx, packKey(ref.ID), 0, header); err != nil {
			return nil, err
		}
	}
	s, err := f.r.keys.OpenObject(seal.Pack, header)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sealers) >= maxSealers {
		clear(f.sealers)
	}
	f.sealers[ref.ID] = s
	return s, nil
}

// chunk appends the content of one chunk to dst: from where the table says, or,
// if that fails, from anywhere else that the repository knows.
func (f *fetcher) chunk(ctx context.Context, dst []byte, t *manifest.Table, c *manifest.Chunk, namer *digest.Hasher) ([]byte, error) {
	var base []byte
	var err error
	if c.Base != 0 {
		base, err = f.chunk(ctx, nil, t, &t.Bases[c.Base-1], namer) // depth falls, so this ends
	}
	var out []byte
	if err == nil {
		out, err = f.at(ctx, dst, t.Packs[c.Pack], c, base, namer)
	}
	if err == nil || !isUnusable(err) || ctx.Err() != nil {
		return out, err
	}
	return f.elsewhere(ctx, dst, t, c, namer, err)
}

// at reads a chunk from one place. base is the content of a delta's base.
func (f *fetcher) at(ctx context.Context, dst []byte, ref manifest.PackRef, c *manifest.Chunk, base []byte, namer *digest.Hasher) ([]byte, error) {
	s, err := f.sealer(ctx, ref)
	if err != nil {
		return nil, err
	}
	box := f.r.buffers.get(int(c.Stored))[:c.Stored]
	defer f.r.buffers.put(box)
	if err := f.r.st.Read(ctx, packKey(ref.ID), int64(c.Offset), box); err != nil {
		return nil, err
	}
	return f.decode(s, dst, c, box, base, namer)
}

// places returns where the repository says that the chunk is. What goes away goes
// by the pack, so the table's other chunks are looked up along with it: the index
// is read once for them all.
func (f *fetcher) places(ctx context.Context, t *manifest.Table, id digest.ID, again bool) ([]index.Location, error) {
	f.locating.Lock()
	defer f.locating.Unlock()
	if known, ok := f.located[id]; ok {
		return known, nil
	}
	if len(f.located) >= maxLocated {
		clear(f.located)
	}
	want := map[digest.ID]bool{id: true}
	for i := range t.Rows {
		if _, ok := f.located[t.Rows[i].ID]; !ok && t.Rows[i].Pack != manifest.InlinePack {
			want[t.Rows[i].ID] = true
		}
	}
	look := f.lookup
	if again || f.direct {
		look = f.locate // what is cached was wrong
	}
	found, err := look(ctx, want)
	if err != nil {
		return nil, err
	}
	for id := range want {
		f.located[id] = found[id]
	}
	return found[id], nil
}

// elsewhere tries all places but the one that failed with cause.
func (f *fetcher) elsewhere(ctx context.Context, dst []byte, t *manifest.Table, c *manifest.Chunk, namer *digest.Hasher, cause error) ([]byte, error) {
	failed := t.Packs[c.Pack].ID
	if isNotExist(cause) {
		f.isGone(failed)
		f.r.log.Debug("chunk was moved", "chunk", c.ID.String(), "pack", failed.String())
	} else {
		f.r.log.Warn("chunk is not where its manifest says", "chunk", c.ID.String(), "pack", failed.String(), "error", cause)
	}
	// First where the cache of the index says, then where the index itself does, and then
	// once more if that was moved meanwhile.
	for try := range 3 {
		out, moved, err := f.anyOf(ctx, dst, t, failed, c, namer, try > 0)
		if out != nil || err != nil {
			return out, err
		}
		if try > 0 && !moved {
			break
		}
		f.locating.Lock()
		clear(f.located)
		f.locating.Unlock()
	}
	return nil, &DamagedError{Object: packKey(failed), Chunk: c.ID, Err: cause}
}

// anyOf tries all places of a chunk but the failed one; moved says that a pack was
// not there. Bases that a copy needs are looked for in the same way.
func (f *fetcher) anyOf(ctx context.Context, dst []byte, t *manifest.Table, failed digest.ID, c *manifest.Chunk, namer *digest.Hasher, again bool) (out []byte, moved bool, err error) {
	places, err := f.places(ctx, t, c.ID, again)
	if err != nil {
		return nil, false, err
	}
	for _, loc := range places {
		if loc.Pack == failed && loc.Offset == c.Offset || loc.Raw != c.Raw && c.Raw != 0 {
			continue
		}
		other := manifest.Chunk{
			ID: c.ID, Raw: loc.Raw, Offset: loc.Offset, Stored: loc.Stored, Ordinal: loc.Ordinal,
			Encoding: loc.Encoding, Depth: loc.Depth,
		}
		var base []byte
		if loc.Encoding == index.Delta {
			if c.Depth != 0 && c.Raw == 0 && loc.Depth >= c.Depth {
				continue // a base lies less deep than what needs it, or the search would not end
			}
			var gone bool
			want := manifest.Chunk{ID: loc.Base, Depth: loc.Depth} // of any length
			base, gone, err = f.anyOf(ctx, nil, t, digest.ID{}, &want, namer, again)
			moved = moved || gone
			if err != nil {
				return nil, moved, err
			}
			if base == nil {
				continue
			}
		}
		out, err := f.at(ctx, dst, manifest.PackRef{ID: loc.Pack}, &other, base, namer)
		if err == nil {
			return out, moved, nil
		}
		if !isUnusable(err) || ctx.Err() != nil {
			return nil, moved, err
		}
		moved = moved || isNotExist(err)
	}
	return nil, moved, nil
}

// readLeaf reads a leaf list of the manifest.
func (r *Repo) readLeaf(ctx context.Context, m *manifest.Manifest, n int) (*manifest.Table, error) {
	f := r.newFetcher()
	defer f.close()
	return f.leaf(ctx, m, n)
}

func (f *fetcher) leaf(ctx context.Context, m *manifest.Manifest, n int) (*manifest.Table, error) {
	leaf := &m.Leaves[n]
	raw, err := f.chunk(ctx, nil, &m.Table, &leaf.Chunk, f.r.keys.Namer())
	if err != nil {
		return nil, fmt.Errorf("read leaf list: %w", err)
	}
	t, err := manifest.DecodeTable(raw)
	if err != nil {
		return nil, damaged(err)
	}
	var sum uint64
	for i := range t.Rows {
		if t.Rows[i].Pack == manifest.InlinePack {
			return nil, fmt.Errorf("%w: leaf list has inline rows", ErrDamaged)
		}
		sum += uint64(t.Rows[i].Raw)
	}
	for i := range t.Bases {
		if t.Bases[i].Pack == manifest.InlinePack {
			return nil, fmt.Errorf("%w: leaf list has inline bases", ErrDamaged)
		}
	}
	if sum != leaf.Bytes || len(t.Rows) != int(leaf.Rows) {
		return nil, fmt.Errorf("%w: leaf list covers %d bytes in %d rows, not %d in %d",
			ErrDamaged, sum, len(t.Rows), leaf.Bytes, leaf.Rows)
	}
	return t, nil
}

// eachTable calls fn for every table of the manifest, the leaf lists' in order
// and then its own, whose Rows are the tail; and first for one whose rows are the
// leaf lists themselves, if there are any.
func (f *fetcher) eachTable(ctx context.Context, m *manifest.Manifest, fn func(*manifest.Table) error) error {
	if len(m.Leaves) > 0 {
		leaves := &manifest.Table{Packs: m.Table.Packs, Bases: m.Table.Bases}
		for i := range m.Leaves {
			leaves.Rows = append(leaves.Rows, m.Leaves[i].Chunk)
		}
		if err := fn(leaves); err != nil {
			return err
		}
	}
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

// packsOf returns the packs that a manifest's stream needs.
func (r *Repo) packsOf(ctx context.Context, m *manifest.Manifest) ([]digest.ID, error) {
	seen := make(map[digest.ID]bool)
	var out []digest.ID
	f := r.newFetcher()
	defer f.close()
	err := f.eachTable(ctx, m, func(t *manifest.Table) error {
		for i := range t.Packs {
			if id := t.Packs[i].ID; !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
		return nil
	})
	return out, err
}
