package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// collector is one run of Prune.
type collector struct {
	r      *Repo
	o      PruneOptions
	now    time.Time
	report *PruneReport
	cat    *catalog.Catalog
	roots  *rootReader

	fragments  map[string]*fragmentRead // by key; what was read once is not read again
	tombstones map[string]bool          // roots whose tombstones were found to be genuine
	began      map[int]bool             // packs that were there in the first survey
	late       []func() error           // what a broken rescue puts too late
	own        map[string]bool          // keys of the condemned lists that this run put

	// Of the last survey:
	first, last *gcState
	sweepable   []gcFile             // this run's lists, and ripe ones
	manifests   []storage.Info       // the roots that are not being deleted
	doomed      []storage.Info       // manifests and checkpoints of roots that are
	listed      []index.FragmentInfo // index/
	unreadable  map[int]error        // packs whose contents nobody knows
	lost        map[catalog.Key]bool // live chunks of which there is no copy
}

// fragmentRead is an index fragment that was read.
type fragmentRead struct {
	packs   []int // numbers in the catalog
	entries int
	bad     error
}

const surveyTries = 5

// survey looks at the whole repository, as often as it takes to see it in one piece.
// deleting says of which roots the manifests are about to be removed.
func (c *collector) survey(ctx context.Context, deleting func(root string) bool) error {
	all := ctx
	if !c.o.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, c.o.Deadline)
		defer cancel()
	}
	lostBefore := map[catalog.Key]bool{}
	for try := 0; ; try++ {
		err := c.surveyOnce(ctx, deleting)
		if err != nil && ctx.Err() != nil && all.Err() == nil {
			return errDeadline
		}
		if errors.Is(err, errAgain) && try < surveyTries {
			c.r.log.Info("the repository changed while it was listed; listing again")
			continue
		}
		if err != nil {
			return err
		}
		// A live chunk that does not resolve may have been moved meanwhile. If a second
		// survey does not find it either, it is lost: rule 8.
		again := false
		for id := range c.lost {
			again = again || !lostBefore[id]
		}
		if !again || c.r.broken.collectIgnore404 {
			return c.markLost(all)
		}
		lostBefore = c.lost
	}
}

// surveyOnce takes the steps in the only order that is safe: gc/, packs, manifests,
// fragments, gc/ again, packs again. Nothing is decided in between.
func (c *collector) surveyOnce(ctx context.Context, deleting func(string) bool) error {
	broken := &c.r.broken
	before := c.first
	var err error
	if c.first, err = c.look(ctx); err != nil {
		return err
	}
	if broken.collectRootsFirst {
		if err := c.listManifests(ctx, deleting); err != nil {
			return err
		}
		if c.first, err = c.look(ctx); err != nil {
			return err
		}
	}
	if broken.collectTombstonesFirst && before != nil {
		c.first.tombstones = before.tombstones
	}
	c.sweepable = c.sweepable[:0]
	for _, f := range c.first.files {
		if !f.lost && (c.own[f.key] || c.ripe(f.at, c.o.Grace)) { // its own packs wait too: see markSwept
			c.sweepable = append(c.sweepable, f)
		}
	}
	for i := range c.cat.Packs {
		p := &c.cat.Packs[i]
		p.First, p.Last, p.Condemned, p.Sweep, p.Named = false, false, false, false, 0
	}
	err = c.r.listPacks(ctx, func(id digest.ID, info storage.Info) error {
		p := &c.cat.Packs[c.cat.Pack(id)]
		p.First, p.Size, p.ModTime = true, info.Size, info.ModTime
		return nil
	})
	if err != nil {
		return err
	}
	if !broken.collectRootsFirst {
		if err := c.listManifests(ctx, deleting); err != nil {
			return err
		}
	}
	if err := c.readFragments(ctx); err != nil {
		return err
	}
	if err := c.readFooters(ctx); err != nil {
		return err
	}
	c.cat.Sort()
	if err := c.readRoots(ctx); err != nil {
		return err
	}
	if c.last = c.first; !broken.collectOneLook {
		if c.last, err = c.look(ctx); err != nil {
			return err
		}
	}
	if err := c.listAgain(ctx); err != nil {
		return err
	}
	if broken.collectSweepLate {
		c.sweepable = slices.DeleteFunc(slices.Clone(c.last.files), func(f gcFile) bool { return f.lost || !c.ripe(f.at, c.o.Grace) })
	}
	for _, g := range []*gcState{c.first, c.last} {
		for id := range g.packs {
			if n, known := c.cat.Lookup(id); known {
				c.cat.Packs[n].Condemned = true
			}
		}
		for _, f := range g.files {
			if f.lost {
				for _, id := range f.ids {
					c.cat.Lost(id, f.at)
				}
			}
		}
	}
	c.cat.Decide()
	c.lost = make(map[catalog.Key]bool)
	for _, id := range c.cat.Unresolved() {
		c.lost[id] = true
	}
	for _, id := range c.roots.unknown {
		c.lost[catalog.KeyOf(id)] = true
	}
	return nil
}

// listAgain lists the packs a second time: what is not there any more, or was not there
// before, is no location to count on.
func (c *collector) listAgain(ctx context.Context) error {
	if c.r.broken.collectOnePackListing {
		for i := range c.cat.Packs {
			c.cat.Packs[i].Last = c.cat.Packs[i].First
		}
		return nil
	}
	return c.r.listPacks(ctx, func(id digest.ID, info storage.Info) error {
		p := &c.cat.Packs[c.cat.Pack(id)]
		p.Last, p.Size, p.ModTime = true, info.Size, info.ModTime
		return nil
	})
}

// look lists gc/, and makes sure that everything which a collector must know is known.
func (c *collector) look(ctx context.Context) (*gcState, error) {
	g, err := c.r.lookGC(ctx)
	if err != nil {
		return nil, err
	}
	return g, checkFeatures(ctx, c.r.st, "gc")
}

func (c *collector) ripe(at time.Time, grace time.Duration) bool {
	return grace <= 0 || c.now.Sub(at) >= grace
}

// planned says which roots this run would like to remove.
func (c *collector) planned(root string) bool {
	at, deleted := c.first.deleted[root]
	return deleted && c.ripe(at, c.o.Grace)
}

// named says which roots may be removed: a list that may be swept names them.
func (c *collector) named(root string) bool {
	for _, f := range c.sweepable {
		if slices.Contains(f.roots, root) {
			return true
		}
	}
	return false
}

// listManifests tells the manifests that are roots from those that are about to go. For
// these the tombstone must be there, and be one that somebody with the key has put: it
// is read after the list that names the root was put.
func (c *collector) listManifests(ctx context.Context, deleting func(string) bool) error {
	c.manifests, c.doomed, c.tombstones = nil, nil, make(map[string]bool)
	dies := make(map[string]bool)
	err := c.r.st.List(ctx, manifestPrefix, func(info storage.Info) error {
		name, _, err := parseKey(info.Key)
		if err != nil {
			return WithHint(fmt.Errorf("%s is none of the objects that this version knows, and may be a root: nothing is collected", info.Key),
				"upgrade gpdedup, or move it away if it was not put there by gpdedup")
		}
		root := name.root()
		if _, known := dies[root]; !known {
			dies[root] = c.first.tombstones[root] && deleting(root)
		}
		if dies[root] {
			c.doomed = append(c.doomed, info)
		} else {
			c.manifests = append(c.manifests, info)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list manifests: %w", err)
	}
	c.doomed = slices.DeleteFunc(c.doomed, func(info storage.Info) bool {
		name, _, _ := parseKey(info.Key)
		root := name.root()
		if dies[root] && !c.tombstones[root] && !c.r.broken.collectTombstonesFirst {
			if err = c.readTombstone(ctx, root); err == nil {
				c.tombstones[root] = true
			} else if isUnusable(err) && ctx.Err() == nil {
				c.keep("%s: %v: what it deletes stays", tombstonePrefix+root, err)
				dies[root], err = false, nil
			}
		}
		if !dies[root] {
			c.manifests = append(c.manifests, info)
		}
		return !dies[root]
	})
	// The newest first: what is copied follows their order.
	slices.SortFunc(c.manifests, func(a, b storage.Info) int {
		if d := b.ModTime.Compare(a.ModTime); d != 0 {
			return d
		}
		return strings.Compare(a.Key, b.Key)
	})
	return err
}

// readTombstone authenticates a tombstone: whoever can write to the storage could else
// have backups removed.
func (c *collector) readTombstone(ctx context.Context, root string) error {
	key := tombstonePrefix + root
	object, err := c.r.get(ctx, key, seal.MaxDocument)
	if err != nil {
		return err
	}
	_, err = c.r.keys.OpenDocument(seal.Tombstone, key, object, c.r.dec)
	return err
}

func (c *collector) keep(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(c.report.Kept, text) {
		c.report.Kept = append(c.report.Kept, text)
	}
}

// concurrency is how many requests may be under way.
func (c *collector) concurrency() int { return 4 * c.r.opts.Concurrency }

// readFragments reads the fragments that were not read before.
func (c *collector) readFragments(ctx context.Context) error {
	var err error
	if c.listed, err = c.r.listFragments(ctx); err != nil {
		return err
	}
	slices.SortFunc(c.listed, func(a, b index.FragmentInfo) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	var total, done int64
	var fresh []index.FragmentInfo
	for _, f := range c.listed {
		total += f.Size
		if c.fragments[fragmentKey(f.ID)] != nil {
			done += f.Size
		} else {
			fresh = append(fresh, f)
		}
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.r.opts.Concurrency)
	for _, info := range fresh {
		g.Go(func() error {
			key := fragmentKey(info.ID)
			packs, err := c.r.loadFragment(gctx, info.ID)
			mu.Lock()
			defer mu.Unlock()
			done += info.Size
			c.o.Progress("reading the index", done, total)
			switch {
			case isNotExist(err) && c.r.broken.collectIgnore404:
				c.fragments[key] = &fragmentRead{}
				return nil
			case isNotExist(err):
				return errAgain
			case errors.Is(err, ErrNewer) || err != nil && (!isUnusable(err) || gctx.Err() != nil):
				return err
			case err != nil:
				c.keep("%s: %v", key, err)
				c.fragments[key] = &fragmentRead{bad: err}
				return nil
			}
			if c.cat.Chunks() == 0 {
				c.reserve(packs, info.Size, total)
			}
			f := &fragmentRead{}
			for i := range packs {
				f.packs = append(f.packs, c.cat.AddDirectory(&packs[i]))
				f.entries += len(packs[i].Entries)
			}
			c.fragments[key] = f
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	for _, info := range c.listed {
		for _, n := range c.fragments[fragmentKey(info.ID)].packs {
			c.cat.Packs[n].Named++
		}
	}
	return nil
}

// reserve makes room for what all fragments hold, if they are like this one of the given
// size; names do not compress, so they are.
func (c *collector) reserve(packs []index.Pack, size, total int64) {
	n, deltas := 0, 0
	for i := range packs {
		n += len(packs[i].Entries)
		for j := range packs[i].Entries {
			if packs[i].Entries[j].Encoding == index.Delta {
				deltas++
			}
		}
	}
	share := 1.05 * float64(total) / float64(max(size, 1))
	c.cat.Reserve(int(share*float64(n)), int(share*float64(deltas)))
}

// readFooters reads what packs hold that no fragment names, and gives those that are
// old enough a fragment: only then do they count as another location.
func (c *collector) readFooters(ctx context.Context) error {
	c.unreadable = make(map[int]error)
	var numbers []int
	for n := range c.cat.Packs {
		if p := &c.cat.Packs[n]; p.First && p.Named == 0 {
			numbers = append(numbers, n)
		}
	}
	if c.r.broken.collectSkipUnnamed {
		for _, n := range numbers {
			c.cat.AddDirectory(&index.Pack{ID: c.cat.Packs[n].ID})
		}
		return nil
	}
	slices.SortFunc(numbers, func(a, b int) int {
		return strings.Compare(c.cat.Packs[a].ID.String(), c.cat.Packs[b].ID.String())
	})
	var fold []index.Pack
	entries := 0
	for part := range slices.Chunk(numbers, 1024) {
		dirs, err := c.footersOf(ctx, part)
		if err != nil {
			return err
		}
		for _, n := range part {
			dir := dirs[n]
			if dir == nil {
				continue
			}
			c.cat.AddDirectory(dir)
			if p := &c.cat.Packs[n]; !c.ripe(p.ModTime, c.o.MinAge) || c.first.packs[p.ID] {
				continue
			}
			fold = append(fold, *dir)
			entries += len(dir.Entries)
			if entries >= c.r.opts.Limits.FragmentEntries {
				if err := c.fold(ctx, fold); err != nil {
					return err
				}
				fold, entries = nil, 0
			}
		}
	}
	return c.fold(ctx, fold)
}

// footersOf reads footers side by side.
func (c *collector) footersOf(ctx context.Context, numbers []int) (map[int]*index.Pack, error) {
	dirs := make(map[int]*index.Pack)
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.concurrency())
	if c.r.opts.Concurrency == 1 {
		g.SetLimit(1)
	}
	for _, n := range numbers {
		p := c.cat.Packs[n]
		g.Go(func() error {
			dir, err := c.r.readFooter(gctx, p.ID, p.Size)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case isNotExist(err) && c.r.broken.collectIgnore404:
				c.cat.Packs[n].First = false
				return nil
			case isNotExist(err):
				return errAgain
			case errors.Is(err, ErrNewer) || err != nil && (!isUnusable(err) || gctx.Err() != nil):
				return err
			case err != nil:
				c.unreadable[n] = err
				return nil
			}
			dirs[n] = &dir
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read footers: %w", err)
	}
	return dirs, nil
}

// fold names packs in a fragment.
func (c *collector) fold(ctx context.Context, packs []index.Pack) error {
	if len(packs) == 0 {
		return nil
	}
	if !c.o.DryRun {
		if _, err := c.r.putFragment(ctx, packs); err != nil {
			return fmt.Errorf("name packs in the index: %w", err)
		}
	}
	for i := range packs {
		c.cat.Packs[c.cat.Pack(packs[i].ID)].Named++
	}
	c.report.FoldedPacks += len(packs)
	return nil
}

// readRoots marks everything that a manifest or a checkpoint roots.
func (c *collector) readRoots(ctx context.Context) error {
	c.report.Manifests = len(c.manifests)
	var unknown []digest.ID // chunks that no pack has
	root := func(id digest.ID) {
		if !c.cat.Root(catalog.KeyOf(id)) {
			unknown = append(unknown, id)
		}
	}
	for _, id := range c.roots.unknown {
		root(id)
	}
	done := int64(0)
	defer func() { c.roots.unknown = unknown }()
	return c.roots.each(ctx, c.manifests, root, func() {
		done++
		c.o.Progress("reading manifests", done, int64(len(c.manifests)))
	})
}

// markLost says of the chunks that two surveys did not find that they are lost, so that
// the next backup of the same data stores them again.
func (c *collector) markLost(ctx context.Context) error {
	if len(c.lost) == 0 {
		return nil
	}
	if len(c.unreadable) > 0 {
		n := slices.Min(slices.Collect(maps.Keys(c.unreadable)))
		return WithHint(fmt.Errorf("%s cannot be read, and chunks that streams need are nowhere else: %w",
			packKey(c.cat.Packs[n].ID), c.unreadable[n]), "gpdedup repo repair saves what can be saved; until then nothing is collected")
	}
	if c.o.DryRun {
		return nil
	}
	ids, err := c.lostIDs(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(ids, func(a, b digest.ID) int { return strings.Compare(a.String(), b.String()) })
	ids = slices.Compact(ids)
	for part := range slices.Chunk(ids, maxListIDs) {
		if _, err := c.r.putGCList(ctx, lostPrefix, &gcList{ids: part}); err != nil {
			return fmt.Errorf("mark chunks lost: %w", err)
		}
	}
	c.report.LostChunks += len(ids)
	return nil
}

// lostIDs returns the whole names of the lost chunks that are not marked yet.
func (c *collector) lostIDs(ctx context.Context) ([]digest.ID, error) {
	var ids []digest.ID
	err := c.roots.inOrder(ctx, c.manifests, func(id digest.ID) {
		if c.lost[catalog.KeyOf(id)] && !c.last.lost[id] {
			ids = append(ids, id)
		}
	})
	return ids, err
}
