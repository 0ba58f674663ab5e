package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// look is the second half of "publish, then look", after the manifest m of the
// stream was acknowledged. A collector condemns packs and only then reads
// manifests; we publish the manifest and only then look for condemned packs. So
// either the collector saw our manifest, and rescues what we need, or we see its
// list here, and give every chunk concerned another location.
//
// packs are those that the stream needs: referenced, its own, or holding a base.
func (r *Repo) look(ctx context.Context, name Name, m *manifest.Manifest, packs []digest.ID) error {
	absentEarly, err := r.brokenStatFirst(ctx, packs)
	if err != nil {
		return err
	}
	gc, err := r.lookGC(ctx)
	if err != nil {
		return err
	}
	packs = r.brokenLook(gc, m, packs)
	if gc.tombstones[name.root()] || gc.roots[name.root()] {
		return ErrDeleted
	}
	// Only when the listing is complete are the packs asked for: a collector may
	// delete a pack and then its condemned list, and would be missed by asking in
	// the other order.
	bad, err := r.unsafePacks(ctx, gc, packs)
	if r.broken != (broken{}) {
		bad = r.brokenBad(gc, bad, absentEarly)
	}
	if err != nil || len(bad) == 0 {
		return err
	}
	r.log.Info("packs were condemned meanwhile", "stream", name.String(), "packs", len(bad))
	if err := r.relocate(ctx, gc, m, bad); err != nil {
		return fmt.Errorf("give chunks another location: %w", err)
	}
	return nil
}

// statsInFlight bounds concurrent questions to the storage.
const statsInFlight = 8

// manyPacks is from where on one listing is cheaper than asking for each pack.
const manyPacks = 2000

// unsafePacks returns those of packs that are condemned (true) or absent (false).
func (r *Repo) unsafePacks(ctx context.Context, gc *gcState, packs []digest.ID) (map[digest.ID]bool, error) {
	bad := make(map[digest.ID]bool)
	if len(packs) > manyPacks {
		there := make(map[digest.ID]bool)
		err := r.listPacks(ctx, func(id digest.ID, _ storage.Info) error {
			there[id] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, id := range packs {
			if !there[id] || gc.packs[id] {
				bad[id] = there[id]
			}
		}
		return bad, nil
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(statsInFlight)
	for _, id := range packs {
		g.Go(func() error {
			_, err := r.st.Stat(ctx, packKey(id))
			absent := errors.Is(err, storage.ErrNotExist)
			if err != nil && !absent {
				return err
			}
			if absent || gc.packs[id] {
				mu.Lock()
				bad[id] = !absent
				mu.Unlock()
			}
			return nil
		})
	}
	return bad, g.Wait()
}

// relocation gives chunks in unsafe packs another location.
type relocation struct {
	r       *Repo
	gc      *gcState
	bad     map[digest.ID]bool
	fetcher *fetcher
	found   locations
	safe    map[safeKey]bool // chunks already looked for in the index
	present map[digest.ID]bool
	done    map[digest.ID]int // chunks that were copied: how deep they lie now
	builder *pack.Builder
	written []index.Pack

	features map[digest.ID]map[digest.ID][3]uint64 // of the chunks in packs that were asked for them
}

func (r *Repo) relocate(ctx context.Context, gc *gcState, m *manifest.Manifest, bad map[digest.ID]bool) error {
	l := &relocation{
		r: r, gc: gc, bad: bad, fetcher: r.newFetcher(),
		safe: make(map[safeKey]bool), present: make(map[digest.ID]bool), done: make(map[digest.ID]int),
		features: make(map[digest.ID]map[digest.ID][3]uint64),
	}
	defer l.fetcher.close()
	// First which chunks, with their bases, are concerned; then where the index
	// has them; and only what it does not have is copied.
	concerned := make(map[digest.ID]bool)
	err := l.fetcher.eachTable(ctx, m, func(t *manifest.Table) error {
		for _, rows := range [2][]manifest.Chunk{t.Rows, t.Bases} {
			for i := range rows {
				for c := &rows[i]; ; c = &t.Bases[c.Base-1] {
					if c.Pack != manifest.InlinePack && l.isBad(t.Packs[c.Pack].ID) {
						concerned[c.ID], concerned[rows[i].ID] = true, true
					}
					if c.Base == 0 {
						break // depth falls, so this ends
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.found, err = r.locate(ctx, concerned, false); err != nil {
		return err
	}
	err = l.fetcher.eachTable(ctx, m, func(t *manifest.Table) error {
		for i := range t.Rows {
			if err := l.settle(ctx, t, &t.Rows[i], index.MaxDepth+1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	if len(l.written) == 0 {
		return nil
	}
	// The manifest's hints stay as they are; the fragment is how the copies are found.
	_, err = r.putFragment(ctx, l.written)
	return err
}

// safeKey asks for a chunk as the base of a delta that lies below.
type safeKey struct {
	id    digest.ID
	below int
}

func (l *relocation) isBad(id digest.ID) bool {
	_, bad := l.bad[id]
	return bad
}

// settle makes sure that a chunk has a safe location that lies less deep than below. If it
// stays where the manifest says, or is copied as it is there, its base needs one first. A
// chunk that a collector has encoded anew may have one that does not need that base, which
// may be gone for good.
func (l *relocation) settle(ctx context.Context, t *manifest.Table, c *manifest.Chunk, below int) error {
	key := safeKey{c.ID, below}
	moves := c.Pack != manifest.InlinePack && l.isBad(t.Packs[c.Pack].ID)
	if depth, copied := l.done[c.ID]; moves && (copied && depth < below || l.safeInIndex(ctx, key)) {
		return nil
	}
	if c.Base != 0 && !l.r.broken.writeBaseless {
		if err := l.settle(ctx, t, &t.Bases[c.Base-1], int(c.Depth)); err != nil {
			// Where the chunk stays its base is gone, but it may be elsewhere too: so it is
			// when a stream is stored again that was never acknowledged, and lost its bases.
			if isDamage(err) && l.safeInIndex(ctx, key) {
				return nil
			}
			return err
		}
	}
	if !moves {
		return nil
	}
	if err := l.copyOut(ctx, t.Packs[c.Pack], c, t); err != nil {
		return err
	}
	l.done[c.ID] = int(c.Depth)
	return nil
}

// safeInIndex reports whether the index has the chunk in a pack that is there and
// not condemned, and its bases likewise.
func (l *relocation) safeInIndex(ctx context.Context, key safeKey) bool {
	if safe, known := l.safe[key]; known {
		return safe
	}
	for _, loc := range l.found[key.id] {
		// A base lies less deep than what needs it, so two chunks never vouch for
		// each other.
		condemned := (l.gc.packs[loc.Pack] || l.isBad(loc.Pack)) && !l.r.broken.writeCountCondemned
		if int(loc.Depth) >= key.below || condemned || !l.isPresent(ctx, loc.Pack) {
			continue
		}
		if loc.Encoding != index.Delta || l.r.broken.writeBaseless || l.safeInIndex(ctx, safeKey{loc.Base, int(loc.Depth)}) {
			l.safe[key] = true
			return true
		}
	}
	l.safe[key] = false
	return false
}

func (l *relocation) isPresent(ctx context.Context, id digest.ID) bool {
	ok, asked := l.present[id]
	if !asked {
		_, err := l.r.st.Stat(ctx, packKey(id))
		ok = err == nil
		l.present[id] = ok
	}
	return ok
}

// copyOut copies a chunk as it is encoded to a new pack.
func (l *relocation) copyOut(ctx context.Context, ref manifest.PackRef, c *manifest.Chunk, t *manifest.Table) error {
	payload, err := l.payload(ctx, ref, c)
	if err != nil {
		if isDamage(err) && ctx.Err() == nil {
			err = &DamagedError{Object: packKey(ref.ID), Chunk: c.ID, Err: err}
		}
		return err
	}
	if l.builder != nil && l.builder.Size()+len(payload)+seal.Overhead > l.r.opts.Limits.PackMin {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	if l.builder == nil {
		if l.builder, err = pack.NewBuilder(l.r.keys, nil); err != nil {
			return err
		}
	}
	entry := index.Entry{ID: c.ID, Raw: c.Raw, Encoding: c.Encoding, Flags: c.Flags, Depth: c.Depth}
	if c.Base != 0 {
		entry.Base = t.Bases[c.Base-1].ID
	}
	if entry.Flags&index.FlagFeatures != 0 {
		if features, ok := l.featuresIn(ctx, ref.ID)[c.ID]; ok {
			entry.Features = features
		} else {
			entry.Flags &^= index.FlagFeatures
		}
	}
	_, err = l.builder.Add(entry, payload, pack.Sum(payload))
	return err
}

// featuresIn returns the similarity features that a pack has of its chunks: manifests only
// say that there are some. Without, a chunk is no base for others, nothing worse.
func (l *relocation) featuresIn(ctx context.Context, id digest.ID) map[digest.ID][3]uint64 {
	if known, asked := l.features[id]; asked {
		return known
	}
	features := make(map[digest.ID][3]uint64)
	l.features[id] = features
	info, err := l.r.st.Stat(ctx, packKey(id))
	if err != nil {
		return features
	}
	dir, err := l.r.directoryOf(ctx, id, info.Size)
	if err != nil {
		return features
	}
	for i := range dir.Entries {
		if e := &dir.Entries[i]; e.Flags&index.FlagFeatures != 0 {
			features[e.ID] = e.Features
		}
	}
	return features
}

// payload reads a chunk as it is encoded.
func (l *relocation) payload(ctx context.Context, ref manifest.PackRef, c *manifest.Chunk) ([]byte, error) {
	s, err := l.fetcher.sealer(ctx, ref)
	if err != nil {
		return nil, err
	}
	box := make([]byte, c.Stored)
	if err := l.r.st.Read(ctx, packKey(ref.ID), int64(c.Offset), box); err != nil {
		return nil, err
	}
	return pack.OpenChunk(s, nil, c.ID, c.Ordinal, box)
}

func (l *relocation) flush(ctx context.Context) error {
	if l.builder == nil {
		return nil
	}
	dir, object := l.builder.Finish()
	l.builder = nil
	if err := l.r.st.Put(ctx, packKey(dir.ID), object); err != nil {
		return err
	}
	l.written = append(l.written, dir)
	return nil
}
