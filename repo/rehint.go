package repo

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// moved is what a fetcher knows of packs that are gone. A collector that rewrites packs
// leaves manifests as they are, so hints go stale; as soon as one is found to be, tables are
// looked over before they are read, for else every chunk would have to be missed first.
type moved struct {
	mu    sync.Mutex
	gone  map[digest.ID]bool // packs that were asked for: whether they are gone
	stale bool               // a pack was gone

	rehinting sync.Mutex
	tables    map[*manifest.Table]*manifest.Table // what rehint returned, of the last few

	opening sync.Mutex
	view    *index.View // opened when it is first needed
	built   bool        // the host's cache was brought up to date for it
}

// isGone takes note that a pack is not there.
func (f *fetcher) isGone(id digest.ID) {
	f.moved.mu.Lock()
	defer f.moved.mu.Unlock()
	f.moved.gone[id] = true
	f.moved.stale = true
}

// isStale takes note that some pack that was hinted at is not there.
func (f *fetcher) isStale() {
	f.moved.mu.Lock()
	defer f.moved.mu.Unlock()
	f.moved.stale = true
}

// maxRehinted bounds the tables that are remembered: those of runs that are under way.
const maxRehinted = 16

// rehint returns the table or, if packs that it hints at are gone, one that says where the
// chunks are now, as far as that is known. Rows stay in order.
func (f *fetcher) rehint(ctx context.Context, t *manifest.Table) (*manifest.Table, error) {
	f.moved.mu.Lock()
	stale := f.moved.stale
	f.moved.mu.Unlock()
	if !stale {
		return t, nil
	}
	f.moved.rehinting.Lock()
	defer f.moved.rehinting.Unlock()
	if known, ok := f.moved.tables[t]; ok {
		return known, nil
	}
	fresh, err := f.tryRehint(ctx, t)
	if err != nil {
		return nil, err
	}
	if len(f.moved.tables) >= maxRehinted {
		clear(f.moved.tables)
	}
	f.moved.tables[t], f.moved.tables[fresh] = fresh, fresh
	return fresh, nil
}

func (f *fetcher) tryRehint(ctx context.Context, t *manifest.Table) (*manifest.Table, error) {
	gone, err := f.gonePacks(ctx, t)
	if err != nil || len(gone) == 0 {
		return t, err
	}
	want := make(map[digest.ID]bool)
	for _, rows := range [2][]manifest.Chunk{t.Rows, t.Bases} {
		for i := range rows {
			if c := &rows[i]; c.Pack != manifest.InlinePack && gone[t.Packs[c.Pack].ID] {
				want[c.ID] = true
			}
		}
	}
	found, err := f.lookup(ctx, want)
	if err != nil {
		return nil, err
	}
	packs := newPackSet()
	b := newTableBuilder(packs)
	for i := range t.Rows {
		p := placeOf(t, &t.Rows[i], packs)
		if at, ok := found.repair(p, packs, gone); ok {
			p = at
		}
		b.add(&p)
	}
	return &b.table, nil
}

// gonePacks asks for the packs of a table that were not asked for before.
func (f *fetcher) gonePacks(ctx context.Context, t *manifest.Table) (map[digest.ID]bool, error) {
	gone := make(map[digest.ID]bool)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(statsInFlight)
	for i := range t.Packs {
		id := t.Packs[i].ID
		f.moved.mu.Lock()
		is, asked := f.moved.gone[id]
		f.moved.mu.Unlock()
		if asked {
			if is {
				gone[id] = true
			}
			continue
		}
		g.Go(func() error {
			_, err := f.r.st.Stat(gctx, packKey(id))
			if err != nil && !isNotExist(err) {
				return err
			}
			f.moved.mu.Lock()
			f.moved.gone[id] = err != nil
			f.moved.mu.Unlock()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	f.moved.mu.Lock()
	defer f.moved.mu.Unlock()
	for i := range t.Packs {
		if id := t.Packs[i].ID; f.moved.gone[id] {
			gone[id] = true
		}
	}
	return gone, nil
}

// lookup finds chunks, and the bases that they need there, in the index: in the host's
// cache of it and, for what that does not know, in the fragments and footers themselves.
func (f *fetcher) lookup(ctx context.Context, want map[digest.ID]bool) (locations, error) {
	found := make(locations)
	missing, err := f.lookupCached(ctx, want, found)
	if err != nil || len(missing) == 0 {
		return found, err
	}
	rest, err := f.locate(ctx, missing)
	if err != nil {
		return nil, err
	}
	for id, places := range rest {
		found[id] = append(found[id], places...)
	}
	return found, nil
}

// lookupCached adds what the cache knows to found and returns what it does not know.
func (f *fetcher) lookupCached(ctx context.Context, want map[digest.ID]bool, found locations) (map[digest.ID]bool, error) {
	m := &f.moved
	m.opening.Lock()
	defer m.opening.Unlock()
	for {
		if m.view == nil {
			if err := f.openView(ctx); err != nil {
				return nil, err
			}
		}
		missing := make(map[digest.ID]bool)
		for id := range want {
			if !f.find(id, index.MaxDepth+1, found) {
				missing[id] = true
			}
		}
		if len(missing) == 0 || m.built {
			return missing, nil
		}
		// The host's cache may be old, or not made yet.
		m.built = true
		if _, err := f.r.RefreshIndex(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			f.r.log.Info("index cache cannot be brought up to date", "error", err)
			return missing, nil
		}
		_ = m.view.Close() // read-only
		m.view = nil
	}
}

func (f *fetcher) openView(ctx context.Context) error {
	listed, err := f.r.listFragments(ctx)
	if err != nil {
		return err
	}
	if f.moved.view, err = f.r.cache.View(ctx, listed, f.r.loadFragment); err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	return nil
}

// find adds where the view has a chunk, and its bases, to found.
func (f *fetcher) find(id digest.ID, below int, found locations) bool {
	loc, ok := f.moved.view.Find(id, func(pack digest.ID) bool {
		f.moved.mu.Lock()
		defer f.moved.mu.Unlock()
		return !f.moved.gone[pack]
	})
	if !ok || int(loc.Depth) >= below {
		return false
	}
	if loc.Encoding == index.Delta && !f.find(loc.Base, int(loc.Depth), found) {
		return false
	}
	for _, known := range found[id] {
		if known.Pack == loc.Pack && known.Offset == loc.Offset {
			return true
		}
	}
	found[id] = append(found[id], loc)
	return true
}

// close gives back the view, if one was opened.
func (f *fetcher) close() {
	f.moved.opening.Lock()
	defer f.moved.opening.Unlock()
	if f.moved.view != nil {
		_ = f.moved.view.Close() // read-only
		f.moved.view = nil
	}
}

// repair returns a place for a chunk none of whose packs is gone.
func (l locations) repair(p place, packs *packSet, gone map[digest.ID]bool) (place, bool) {
	if p.slot == inlineSlot {
		return p, true
	}
	if !gone[packs.ref(p.slot).ID] {
		if p.base == nil {
			return p, true
		}
		if base, ok := l.repair(*p.base, packs, gone); ok && base.depth < p.depth {
			p.base = &base
			return p, true
		}
	}
	return l.place(p.id, index.MaxDepth+1, packs, gone)
}

// place returns a place for a chunk at a depth below the given one.
func (l locations) place(id digest.ID, below int, packs *packSet, gone map[digest.ID]bool) (place, bool) {
	for _, loc := range l[id] {
		if int(loc.Depth) >= below || gone[loc.Pack] {
			continue
		}
		var base *place
		if loc.Encoding == index.Delta {
			at, ok := l.place(loc.Base, int(loc.Depth), packs, gone)
			if !ok {
				continue
			}
			base = &at
		}
		return placeAt(id, packs.slot(loc.Pack, seal.Header{}), loc, base), true
	}
	return place{}, false
}
