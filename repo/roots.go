package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage"
)

// rootReader reads which chunks manifests root. What it has read it does not read again,
// in this run and, through a log in the host's cache, in later ones.
type rootReader struct {
	r       *Repo
	locate  func(ctx context.Context, want map[digest.ID]bool) (locations, error)
	log     *rootLog // nil: none
	seen    map[rootKey]bool
	leaves  map[digest.ID]bool // leaf lists whose rows were reported
	unknown []digest.ID        // rooted chunks that no pack has
}

// rootKey names one version of a manifest: a name may be stored anew when what was
// deleted is gone.
type rootKey struct {
	key  string
	size int64
	at   int64 // nanoseconds since 1970 by the storage's clock
}

func rootKeyOf(info storage.Info) rootKey {
	return rootKey{info.Key, info.Size, info.ModTime.UnixNano()}
}

func newRootReader(r *Repo) *rootReader {
	return &rootReader{r: r, log: r.openRootLog(), seen: make(map[rootKey]bool), leaves: make(map[digest.ID]bool)}
}

func (x *rootReader) close() { x.log.close() }

// rootList is what one manifest or leaf list roots.
type rootList struct {
	rows   []digest.ID // leaf lists' own chunks among them
	leaves []digest.ID // whose rows belong to it too
}

// each calls mark for every chunk that a manifest not seen before roots, and done after
// each manifest, one call at a time. A manifest that is gone makes it return errAgain.
func (x *rootReader) each(ctx context.Context, manifests []storage.Info, mark func(digest.ID), done func()) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(x.r.opts.Concurrency)
	for _, info := range manifests {
		key := rootKeyOf(info)
		mu.Lock()
		seen := x.seen[key]
		if seen {
			done()
		}
		mu.Unlock()
		if seen {
			continue
		}
		g.Go(func() error {
			err := x.read(gctx, key, &mu, func(ids []digest.ID) {
				mu.Lock()
				defer mu.Unlock()
				for _, id := range ids {
					mark(id)
				}
			})
			if err != nil && x.r.broken.collectSkipRoots {
				err = nil
			}
			if isNotExist(err) && gctx.Err() == nil {
				// Gone, or a leaf list's pack is: either way the listings are old.
				return fmt.Errorf("%w: %w", errAgain, err)
			}
			if err != nil {
				if isUnusable(err) {
					err = WithHint(err, "nothing is collected while a manifest cannot be read: gpdedup repo check says which; delete what it belongs to, or gpdedup repo repair")
				}
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			x.seen[key] = true
			done()
			return nil
		})
	}
	return g.Wait()
}

func (x *rootReader) read(ctx context.Context, key rootKey, mu *sync.Mutex, mark func([]digest.ID)) error {
	leafSeen := func(id digest.ID) bool {
		mu.Lock()
		defer mu.Unlock()
		return x.leaves[id]
	}
	sawLeaf := func(id digest.ID) {
		mu.Lock()
		defer mu.Unlock()
		x.leaves[id] = true
	}
	if list, ok := x.log.manifest(key); ok {
		whole := true
		for _, leaf := range list.leaves {
			if leafSeen(leaf) {
				continue
			}
			rows, ok := x.log.leaf(leaf)
			if !ok {
				whole = false
				break
			}
			mark(rows)
			sawLeaf(leaf)
		}
		if whole {
			mark(list.rows)
			return nil
		}
	}
	m, err := x.r.readManifest(ctx, key.key)
	if err != nil {
		return err
	}
	f := x.r.newFetcher()
	f.locate, f.direct = x.locate, true
	var list rootList
	for i := range m.Leaves {
		leaf := m.Leaves[i].Chunk.ID
		list.leaves = append(list.leaves, leaf)
		list.rows = append(list.rows, leaf)
		if leafSeen(leaf) {
			continue
		}
		rows, ok := x.log.leaf(leaf)
		if !ok {
			t, err := f.leaf(ctx, m, i)
			if err != nil {
				return fmt.Errorf("%s: %w", key.key, err)
			}
			rows = rowIDs(t)
			x.log.addLeaf(leaf, rows)
		}
		mark(rows)
		sawLeaf(leaf)
	}
	list.rows = append(list.rows, rowIDs(&m.Table)...)
	if x.r.broken.collectHintBases {
		list.rows = append(list.rows, rowIDs(&manifest.Table{Rows: m.Table.Bases})...)
	}
	x.log.addManifest(key, list)
	mark(list.rows)
	return nil
}

// rowIDs returns the chunks of a table that lie in packs.
func rowIDs(t *manifest.Table) []digest.ID {
	ids := make([]digest.ID, 0, len(t.Rows))
	for i := range t.Rows {
		if t.Rows[i].Pack != manifest.InlinePack {
			ids = append(ids, t.Rows[i].ID)
		}
	}
	return ids
}

// inOrder calls fn for every chunk that the manifests root, in the order of the
// manifests, and of their streams. Chunks of leaf lists that occur again are not repeated.
func (x *rootReader) inOrder(ctx context.Context, manifests []storage.Info, fn func(digest.ID)) error {
	again := &rootReader{r: x.r, locate: x.locate, log: x.log, leaves: make(map[digest.ID]bool)}
	var mu sync.Mutex
	for _, info := range manifests {
		err := again.read(ctx, rootKeyOf(info), &mu, func(ids []digest.ID) {
			for _, id := range ids {
				fn(id)
			}
		})
		if err != nil && !errors.Is(err, storage.ErrNotExist) {
			return err
		}
	}
	return nil
}
