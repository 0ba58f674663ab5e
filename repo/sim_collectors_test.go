package repo

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage"
)

// prunes makes an actor of the real collector, which waits for nothing.
func prunes(name string, o PruneOptions) actorSpec {
	return actorSpec{name, func(_ *simActor, ctx context.Context, r *Repo) error {
		_, err := r.Prune(ctx, o)
		return err
	}}
}

var (
	// onlyGarbage leaves what is of any use where it is; everything rewrites all that
	// is not of use as a whole.
	onlyGarbage = PruneOptions{MaxUnused: -1}
	everything  = PruneOptions{MaxUnused: 0, RepackSmall: true}
)

// condemns makes an actor that puts a condemned list and dies: what other collectors
// make of it is theirs.
func condemns(name string, packs ...string) actorSpec {
	return actorSpec{name, func(a *simActor, ctx context.Context, r *Repo) error {
		var l gcList
		for _, p := range packs {
			l.ids = append(l.ids, a.w.pack(p))
		}
		_, err := putCondemned(ctx, r, &l)
		return err
	}}
}

// sweeps makes the least that a collector may be: it removes what is deleted, condemns
// every pack that it finds, keeps those that are needed, however little of them,
// and never rescues. It condemns needlessly, which a collector may.
func sweeps(name string) actorSpec {
	return actorSpec{name, func(_ *simActor, ctx context.Context, r *Repo) error {
		// Which packs to condemn is guesswork and needs no care.
		var list gcList
		err := r.listPacks(ctx, func(id digest.ID, _ storage.Info) error {
			list.ids = append(list.ids, id)
			return nil
		})
		if err != nil {
			return err
		}
		err = r.st.List(ctx, tombstonePrefix, func(info storage.Info) error {
			list.roots = append(list.roots, info.Key[len(tombstonePrefix):])
			return nil
		})
		if err != nil || len(list.ids) == 0 {
			return err
		}
		key, err := putCondemned(ctx, r, &list)
		if err != nil {
			return err
		}
		// From here on writers see the list, or their manifests are seen below.
		gc, err := r.lookGC(ctx)
		if err != nil {
			return err
		}
		var live []string
		err = r.st.List(ctx, manifestPrefix, func(info storage.Info) error {
			name, _, err := parseKey(info.Key)
			if err == nil && (!gc.tombstones[name.root()] || !slices.Contains(list.roots, name.root())) {
				live = append(live, info.Key)
			} else if err == nil {
				live = append(live, "-"+info.Key)
			}
			return err
		})
		if err != nil {
			return err
		}
		needed := map[digest.ID]bool{}
		for _, key := range live {
			if dead, ok := strings.CutPrefix(key, "-"); ok {
				if err := r.st.Delete(ctx, dead); err != nil {
					return err
				}
				continue
			}
			m, err := r.readManifest(ctx, key)
			if err != nil {
				return err
			}
			for _, rows := range [2][]manifest.Chunk{m.Table.Rows, m.Table.Bases} {
				for i := range rows {
					needed[rows[i].ID] = true
				}
			}
		}
		// What a listed copy of a needed chunk is a delta to is needed too.
		var found []index.Pack
		for _, id := range list.ids {
			info, err := r.st.Stat(ctx, packKey(id))
			if isNotExist(err) {
				continue
			}
			if err != nil {
				return err
			}
			p, err := r.readFooter(ctx, id, info.Size)
			if err != nil {
				return err
			}
			found = append(found, p)
		}
		for more := true; more; {
			more = false
			for i := range found {
				for _, e := range found[i].Entries {
					if e.Encoding == index.Delta && needed[e.ID] && !needed[e.Base] {
						needed[e.Base], more = true, true
					}
				}
			}
		}
		doomed := map[digest.ID]bool{}
		for i := range found {
			doomed[found[i].ID] = !slices.ContainsFunc(found[i].Entries, func(e index.Entry) bool { return needed[e.ID] })
		}
		// Removing goes the other way round: fragments before the packs they name.
		fragments, err := r.listFragments(ctx)
		if err != nil {
			return err
		}
		for _, f := range fragments {
			packs, err := r.loadFragment(ctx, f.ID)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(packs, func(p index.Pack) bool { return !doomed[p.ID] }) {
				if err := r.st.Delete(ctx, fragmentKey(f.ID)); err != nil {
					return err
				}
			}
		}
		kept := 0
		for i := range found {
			if !doomed[found[i].ID] {
				kept++
				continue
			}
			if err := r.st.Delete(ctx, packKey(found[i].ID)); err != nil {
				return err
			}
		}
		if kept > 0 {
			return nil
		}
		return r.st.Delete(ctx, key)
	}}
}

// finishes makes the second half of a collector's work, long after the first: what
// is condemned goes, fragments that name it, and then the lists.
func finishes(name string) actorSpec {
	return actorSpec{name, func(_ *simActor, ctx context.Context, r *Repo) error {
		gc, err := r.lookGC(ctx)
		if err != nil {
			return err
		}
		fragments, err := r.listFragments(ctx)
		if err != nil {
			return err
		}
		for _, f := range fragments {
			packs, err := r.loadFragment(ctx, f.ID)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(packs, func(p index.Pack) bool { return gc.packs[p.ID] }) {
				if err := r.st.Delete(ctx, fragmentKey(f.ID)); err != nil {
					return err
				}
			}
		}
		for _, id := range slices.SortedFunc(maps.Keys(gc.packs), digest.ID.Compare) {
			if err := r.st.Delete(ctx, packKey(id)); err != nil {
				return err
			}
		}
		return dropLists(ctx, r)
	}}
}

// dropLists removes the condemned lists that the handle has read.
func dropLists(ctx context.Context, r *Repo) error {
	r.mu.Lock()
	lists := slices.Sorted(maps.Keys(r.lists))
	r.mu.Unlock()
	for _, key := range lists {
		if err := r.st.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
