package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// finder answers whether a chunk is stored already, for one writer. It is safe
// for concurrent use.
type finder struct {
	r     *Repo
	ctx   context.Context //nolint:containedctx // lives as long as the write it belongs to
	gc    *gcState
	view  *index.View
	prev  *previous // nil: none
	packs *packSet

	present sync.Map // digest.ID → func() bool: packs known from the previous manifest only
}

// newFinder looks at gc/ and then at index/. In this order: were index/ listed
// first, a condemned list could come, take effect and go between the two, and a
// fragment that names packs long gone would count.
func (r *Repo) newFinder(ctx context.Context, prev *previous, packs *packSet) (*finder, error) {
	f := &finder{r: r, ctx: ctx, prev: prev, packs: packs}
	if r.broken.writeIndexFirst {
		if err := f.openView(); err != nil {
			return nil, err
		}
	}
	gc, err := r.lookGC(ctx)
	if err != nil {
		return nil, err
	}
	if r.broken.writeHitCondemned {
		clear(gc.packs)
	}
	f.gc = gc
	if f.view == nil {
		if err := f.openView(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// openView lists index/ and opens a view of what it lists.
func (f *finder) openView() error {
	listed, err := f.r.listFragments(f.ctx)
	if err != nil {
		return err
	}
	if f.view, err = f.r.cache.View(f.ctx, listed, f.r.loadFragment); err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	return nil
}

func (f *finder) close() { _ = f.view.Close() } // read-only

// find returns where a chunk is that may be referenced: in packs, its own and its
// bases', that are not condemned. offset is the chunk's in the stream, or -1.
func (f *finder) find(id digest.ID, offset int64) (place, bool) {
	if f.gc.lost[id] {
		return place{}, false
	}
	if f.prev != nil {
		if t, c := f.prev.find(id, offset); c != nil && f.usableRow(t, c) {
			return placeOf(t, c, f.packs), true
		}
	}
	return f.findInIndex(id, index.MaxDepth)
}

// findLeaf is find for a leaf list.
func (f *finder) findLeaf(id digest.ID) (place, bool) {
	if f.prev != nil {
		if n, ok := f.prev.leaves[id]; ok {
			m := f.prev.manifest
			if c := &m.Leaves[n].Chunk; f.usableRow(&m.Table, c) {
				return placeOf(&m.Table, c, f.packs), true
			}
		}
	}
	return f.findInIndex(id, index.MaxDepth)
}

// findInIndex resolves a chunk and its bases through the index.
func (f *finder) findInIndex(id digest.ID, depth int) (place, bool) {
	if f.gc.lost[id] || depth < 0 {
		return place{}, false
	}
	loc, ok := f.view.Find(id, func(pack digest.ID) bool { return !f.gc.packs[pack] })
	if !ok {
		return place{}, false
	}
	var base *place
	if loc.Encoding == index.Delta {
		// A delta whose base has no location is no hit, or a collector that
		// counts on nobody needing the base would be wrong.
		b, ok := f.findInIndex(loc.Base, depth-1)
		if !ok && f.r.broken.writeHitBaseless {
			b, ok = place{id: loc.Base, slot: f.packs.slot(loc.Pack, seal.Header{}), offset: loc.Offset, stored: loc.Stored, raw: loc.Raw}, true
		}
		if !ok || b.depth >= loc.Depth {
			return place{}, false
		}
		base = &b
	}
	return placeAt(id, f.packs.slot(loc.Pack, seal.Header{}), loc, base), true
}

// usableRow reports whether a row of the previous manifest and all its bases lie
// in packs that are there and not condemned.
func (f *finder) usableRow(t *manifest.Table, c *manifest.Chunk) bool {
	if c.Pack == manifest.InlinePack || f.gc.lost[c.ID] || !f.usablePack(t.Packs[c.Pack].ID) {
		return false
	}
	return c.Base == 0 || f.usableRow(t, &t.Bases[c.Base-1])
}

// usablePack asks the storage, once, for a pack that a manifest hints at: no
// listing named it, so it may be long gone.
func (f *finder) usablePack(id digest.ID) bool {
	if f.gc.packs[id] {
		return false
	}
	if f.r.broken.writeTrustPrevious {
		return true
	}
	ask, asked := f.present.Load(id)
	if !asked {
		ask, _ = f.present.LoadOrStore(id, sync.OnceValue(func() bool {
			_, err := f.r.st.Stat(f.ctx, packKey(id))
			return err == nil
		}))
	}
	return ask.(func() bool)()
}

func (r *Repo) listFragments(ctx context.Context) ([]index.FragmentInfo, error) {
	var listed []index.FragmentInfo
	err := r.st.List(ctx, indexPrefix, func(info storage.Info) error {
		id, err := digest.Parse(info.Key[len(indexPrefix):])
		if err != nil || fragmentKey(id) != info.Key {
			r.log.Warn("foreign object", "key", info.Key)
			return nil //nolint:nilerr // it is none of ours
		}
		listed = append(listed, index.FragmentInfo{ID: id, Size: info.Size, ModTime: info.ModTime})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list index: %w", err)
	}
	return listed, nil
}

// loadFragment reads one index fragment.
func (r *Repo) loadFragment(ctx context.Context, id digest.ID) ([]index.Pack, error) {
	key := fragmentKey(id)
	object, err := r.get(ctx, key, seal.MaxDocument)
	if err != nil {
		return nil, err
	}
	packs, err := r.openFragment(id, object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return packs, nil
}

func (r *Repo) openFragment(id digest.ID, object []byte) ([]index.Pack, error) {
	if digest.Sum(object) != id {
		return nil, fmt.Errorf("%w: content does not match the name", ErrDamaged)
	}
	payload, err := r.keys.OpenDocument(seal.Fragment, "", object, r.dec)
	if err != nil {
		return nil, err
	}
	packs, err := index.DecodeFragment(payload)
	if err != nil {
		return nil, damaged(err)
	}
	return packs, nil
}

// RefreshIndex brings the host's index cache up to date, unless another process
// is at it. Without a usable cache it does nothing.
func (r *Repo) RefreshIndex(ctx context.Context) (index.RefreshReport, error) {
	if r.cache == nil {
		return index.RefreshReport{}, nil
	}
	listed, err := r.listFragments(ctx)
	if err != nil {
		return index.RefreshReport{}, err
	}
	return r.cache.Refresh(ctx, listed, r.loadFragment)
}
