package repo

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// checkPacks reads packs as far as the level asks, and takes note of the chunks
// that can be read.
func (c *checker) checkPacks(ctx context.Context) error {
	if c.o.Level < CheckFooters {
		return nil
	}
	whole, err := c.choose(ctx)
	if err != nil {
		return err
	}
	chosen := make(map[int]bool, len(whole))
	for _, n := range whole {
		chosen[n] = true
		c.total += c.cat.Packs[n].Size
	}
	if c.o.Level < CheckData {
		c.total = c.report.PackBytes
	}
	// Footers of what is not read whole go first: they are the quicker way to most.
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readsInFlight)
	for n := range c.cat.Packs {
		if chosen[n] {
			continue
		}
		g.Go(func() error { return c.checkPack(gctx, n, false) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("check packs: %w", err)
	}
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(c.r.opts.Concurrency) // whole packs are held in memory
	for i, n := range whole {
		late := !c.o.Choose.Deadline.IsZero() && i > 0 && !time.Now().Before(c.o.Choose.Deadline)
		if late {
			c.mu.Lock()
			c.report.Unfinished = true
			c.mu.Unlock()
		}
		g.Go(func() error { return c.checkPack(gctx, n, !late) })
	}
	if err := g.Wait(); err != nil {
		// What was read was read, whatever comes of the rest.
		if e := c.record(context.WithoutCancel(ctx)); e != nil {
			c.r.log.Warn("results of the check are not recorded", "error", e)
		}
		return fmt.Errorf("check packs: %w", err)
	}
	return nil
}

// choose returns the numbers of the packs to read whole, in the order to read them.
func (c *checker) choose(ctx context.Context) ([]int, error) {
	if c.o.Level < CheckData {
		return c.suspects(), nil
	}
	o := &c.o.Choose
	var used map[digest.ID]bool
	if o.New {
		var err error
		if used, err = c.usedPacks(ctx); err != nil {
			return nil, err
		}
	}
	var out []int
	for n := range c.cat.Packs {
		id := c.cat.Packs[n].ID
		at, read := c.results.read(id)
		switch {
		case o.Parts > 0 && int(binary.LittleEndian.Uint64(id[:])%uint64(o.Parts))+1 != o.Part:
		case o.New && (read || !used[id]):
		case !o.OlderThan.IsZero() && read && at.After(o.OlderThan.Before(c.now)):
		default:
			out = append(out, n)
		}
	}
	// Those that were never read come first, the oldest of them first: deltas that were
	// stored together are read together.
	slices.SortFunc(out, func(a, b int) int {
		x, _ := c.results.read(c.cat.Packs[a].ID)
		y, _ := c.results.read(c.cat.Packs[b].ID)
		return cmp.Or(x.Compare(y), c.cat.Packs[a].ModTime.Compare(c.cat.Packs[b].ModTime), cmp.Compare(a, b))
	})
	limit := int64(-1)
	if o.Bytes > 0 {
		limit = o.Bytes
	}
	if o.Percent > 0 {
		if part := int64(o.Percent / 100 * float64(c.report.PackBytes)); limit < 0 || part < limit {
			limit = part
		}
	}
	if limit >= 0 {
		for i, n := range out {
			// The first is always read, or small budgets would never get anywhere.
			if limit -= c.cat.Packs[n].Size; limit < 0 && i > 0 {
				return out[:i], nil
			}
		}
	}
	return out, nil
}

// suspects returns the packs that an earlier check found damaged, for a repair.
func (c *checker) suspects() (out []int) {
	for n := range c.cat.Packs {
		if p, known := c.results.packs[c.cat.Packs[n].ID]; c.repair && known && !p.whole {
			out = append(out, n)
		}
	}
	return out
}

// usedPacks returns the packs that manifests refer to, or hint at for bases.
func (c *checker) usedPacks(ctx context.Context) (map[digest.ID]bool, error) {
	used := make(map[digest.ID]bool)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsInFlight)
	for _, info := range c.streams {
		g.Go(func() error {
			m, err := c.r.readManifest(ctx, info.Key)
			var ids []digest.ID
			if err == nil {
				ids, err = c.r.packsOf(ctx, m)
			}
			if err != nil && (!isUnusable(err) || ctx.Err() != nil) {
				return err // damage is found later
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, id := range ids {
				used[id] = true
			}
			return nil
		})
	}
	return used, g.Wait()
}

// checkPack reads a pack's footer, or the whole of it.
func (c *checker) checkPack(ctx context.Context, n int, whole bool) error {
	p := c.cat.Packs[n]
	key := packKey(p.ID)
	var read *packRead
	err := twice(ctx, func() (err error) {
		read, err = c.readPack(ctx, p.ID, p.Size, whole)
		return err
	})
	if whole || c.o.Level < CheckData {
		c.progress(p.Size)
	}
	if err != nil && (!isUnusable(err) || ctx.Err() != nil) {
		return err
	}
	c.mu.Lock()
	if read != nil {
		c.addPack(n, read, err)
		c.whole[n] = read.whole
	}
	if whole && err == nil {
		c.report.ReadPacks++
		c.results.add(p.ID, c.now, true)
	}
	if errors.Is(err, storage.ErrNotExist) {
		// Pruned meanwhile: no damage unless a stream needs it.
		c.gone[n] = true
		c.cat.Packs[n].First = false
		err = nil
	}
	if err != nil {
		c.bad[n] = err
		if !errors.Is(err, ErrNewer) {
			c.results.add(p.ID, c.now, false)
		}
	}
	c.mu.Unlock()
	if err != nil {
		c.blame(key, err.Error(), nil)
	}
	return nil
}

// packRead is what was found in a pack.
type packRead struct {
	dir    index.Pack
	broken []digest.ID // chunks that cannot be read
	bytes  int64
	whole  bool
}

// readPack reads a pack. With an error, there may still be something to tell.
func (c *checker) readPack(ctx context.Context, id digest.ID, size int64, whole bool) (*packRead, error) {
	if !whole {
		dir, err := c.r.readFooter(ctx, id, size)
		if err != nil {
			return nil, err
		}
		return &packRead{dir: dir}, nil
	}
	object, err := c.r.get(ctx, packKey(id), pack.MaxSize)
	if err != nil {
		return nil, err
	}
	read := &packRead{bytes: int64(len(object)), whole: true}
	if read.dir, err = pack.Parse(c.r.keys, id, object); err != nil {
		// What can still be read of it counts: a stream is damaged only if it
		// needs what cannot.
		if errors.Is(err, ErrNewer) {
			return nil, err
		}
		var broken error
		if read.dir, broken = c.r.directoryOf(ctx, id, size); broken != nil {
			return nil, err
		}
		_ = c.readChunks(read, object) // the damage is known already
		return read, err
	}
	return read, c.readChunks(read, object)
}

// directoryOf returns what a pack holds from its footer or, if that is damaged, from a
// fragment that names it.
func (r *Repo) directoryOf(ctx context.Context, id digest.ID, size int64) (index.Pack, error) {
	dir, err := r.readFooter(ctx, id, size)
	if err == nil || !isDamage(err) || isNotExist(err) {
		return dir, err
	}
	listed, listErr := r.listFragments(ctx)
	if listErr != nil {
		return dir, listErr
	}
	for _, f := range listed {
		packs, loadErr := r.loadFragment(ctx, f.ID)
		if loadErr != nil {
			continue // another may name it too
		}
		for i := range packs {
			if packs[i].ID == id {
				return packs[i], nil
			}
		}
	}
	return dir, err
}

// readChunks opens, decodes and verifies every chunk of a pack, and returns the
// first failure. Deltas are only opened: see checkDeltas.
func (c *checker) readChunks(read *packRead, object []byte) error {
	s, err := c.r.keys.OpenObject(seal.Pack, object)
	if err != nil {
		for i := range read.dir.Entries {
			read.broken = append(read.broken, read.dir.Entries[i].ID)
		}
		return err
	}
	f := c.r.newFetcher()
	defer f.close()
	namer := c.r.keys.Namer()
	var first error
	read.dir.Locations(pack.FirstOffset, func(id digest.ID, loc index.Location) {
		err := c.readChunk(f, s, namer, object, id, &loc)
		if err == nil {
			return
		}
		read.broken = append(read.broken, id)
		if first == nil {
			first = fmt.Errorf("chunk %s: %w", id.Short(), err)
		}
	})
	return first
}

func (c *checker) readChunk(f *fetcher, s *seal.Sealer, namer *digest.Hasher, object []byte, id digest.ID, loc *index.Location) error {
	end := uint64(loc.Offset) + uint64(loc.Stored)
	if end > uint64(len(object)) {
		return fmt.Errorf("%w: it lies beyond the end", ErrDamaged)
	}
	box := object[loc.Offset:end]
	if loc.Encoding == index.Delta {
		out, err := pack.OpenChunk(s, c.r.buffers.get(int(loc.Stored)), id, loc.Ordinal, box)
		c.r.buffers.put(out)
		return err
	}
	row := manifest.Chunk{ID: id, Raw: loc.Raw, Ordinal: loc.Ordinal, Encoding: loc.Encoding}
	out, err := f.decode(s, c.r.buffers.get(int(loc.Raw)+compress.Slack), &row, box, nil, namer)
	c.r.buffers.put(out)
	return err
}

// addPack takes note of what a pack holds. c.mu is held.
func (c *checker) addPack(n int, read *packRead, damage error) {
	c.report.BytesRead += read.bytes
	c.report.Packs++
	c.report.Chunks += len(read.dir.Entries)
	c.cat.AddDirectory(&read.dir)
	for _, id := range read.broken {
		c.cat.MarkBad(n, catalog.KeyOf(id))
	}
	if damage == nil {
		c.sums[n] = directorySum(&read.dir)
	}
}

// directorySum tells directories apart; it is never 0.
func directorySum(p *index.Pack) uint64 {
	sum := digest.Sum(index.AppendEntries(nil, p.Entries))
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}
