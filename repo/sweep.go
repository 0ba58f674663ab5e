package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/storage"
)

// sweep removes what lists that are this run's own, or ripe, name: first manifests of
// deleted roots, then packs, each of which must hold nothing that is live and has no
// other location. It reports whether a new survey would find more to remove.
func (c *collector) sweep(ctx context.Context) (again bool, err error) {
	c.markSwept()
	before := c.countSwept()
	postponed := c.cat.Postpone()
	if postponed > 0 && postponed == before && len(c.doomed) == 0 {
		// They wait for each other.
		postponed = 0
		c.markSwept()
		c.cat.Decide()
	}
	if c.r.broken.collectWithdraw {
		if err := c.withdraw(ctx); err != nil {
			return false, err
		}
	}
	if !c.r.broken.collectNoRescue {
		if err := c.rescue(ctx); err != nil {
			return false, err
		}
	}
	// The order: whoever sees a manifest must be able to read what it roots.
	if !c.r.broken.collectManifestsLast {
		if err := c.removeManifests(ctx); err != nil {
			return false, err
		}
	}
	removed, err := c.removePacks(ctx)
	for _, put := range c.late {
		if err := put(); err != nil {
			return false, err
		}
	}
	c.late = nil
	if err == nil && c.r.broken.collectManifestsLast {
		err = c.removeManifests(ctx)
	}
	return postponed > 0 && removed > 0, err
}

func (c *collector) removeManifests(ctx context.Context) error {
	err := c.remove(ctx, "removing manifests", c.doomed, func(info storage.Info) {
		if _, checkpoint, err := parseKey(info.Key); err == nil && checkpoint {
			c.report.RemovedCheckpoints++
		} else {
			c.report.RemovedManifests++
		}
	})
	if err == nil {
		c.doomed = nil
	}
	return err
}

// removePacks removes the packs of the sweep of which nothing is needed any more, and
// returns how many.
func (c *collector) removePacks(ctx context.Context) (int, error) {
	var packs []storage.Info
	waitingPacks, waitingBytes := 0, int64(0)
	sweepable := c.cat.Sweepable()
	if c.r.broken.collectNoRescue {
		for n := range sweepable {
			sweepable[n] = true
		}
	}
	// Of a damaged pack nobody may know what it holds. When every chunk that is rooted was
	// found elsewhere, nothing in it is needed.
	for n := range c.unreadable {
		if c.cat.Packs[n].Sweep && len(c.lost) == 0 {
			sweepable[n] = true
		}
	}
	for n := range c.cat.Packs {
		p := &c.cat.Packs[n]
		switch {
		case !p.First || !p.Condemned:
		case sweepable[n]:
			packs = append(packs, storage.Info{Key: packKey(p.ID), Size: p.Size})
		default:
			waitingPacks++
			waitingBytes += p.Size
			if p.Sweep {
				c.keep("%s: something in it is needed and could not be copied", packKey(p.ID))
			}
		}
	}
	c.report.WaitingPacks, c.report.WaitingBytes = waitingPacks, waitingBytes
	err := c.remove(ctx, "removing packs", packs, func(info storage.Info) {
		c.report.RemovedPacks++
		c.report.RemovedBytes += info.Size
	})
	for n := range c.cat.Packs {
		if p := &c.cat.Packs[n]; sweepable[n] && err == nil {
			p.First, p.Last = false, false
		}
	}
	return len(packs), err
}

// withdraw is what no collector may do: it takes condemnations back.
func (c *collector) withdraw(ctx context.Context) error {
	sweepable := c.cat.Sweepable()
	for _, f := range c.sweepable {
		for _, id := range f.ids {
			if n, known := c.cat.Lookup(id); known && c.cat.Packs[n].Sweep && !sweepable[n] {
				c.cat.Packs[n].Sweep = false
				if err := c.r.st.Delete(ctx, f.key); err != nil {
					return err
				}
			}
		}
	}
	c.cat.Decide()
	return nil
}

// markSwept marks the packs that the lists name which may be swept. The roots of this
// run's own lists have waited for the grace already; its packs have not.
func (c *collector) markSwept() {
	for _, f := range c.sweepable {
		if c.own[f.key] && c.o.Grace > 0 {
			continue
		}
		for _, id := range f.ids {
			if n, known := c.cat.Lookup(id); known {
				p := &c.cat.Packs[n]
				p.Sweep = p.First && p.Last
			}
		}
	}
}

func (c *collector) countSwept() (n int) {
	for i := range c.cat.Packs {
		if c.cat.Packs[i].Sweep {
			n++
		}
	}
	return n
}

// rescue copies what is live in packs that are to be removed, and has no other location.
func (c *collector) rescue(ctx context.Context) error {
	plan := c.cat.NewPlan()
	plan.PlaceSwept()
	if len(plan.Copies) == 0 {
		return nil
	}
	x := c.newCopier(plan)
	err := x.run(ctx, "rescuing")
	c.report.RescuedChunks += x.chunks
	c.report.RescuedBytes += x.bytes
	if errors.Is(err, errDeadline) {
		c.report.Unfinished = true // what was not copied keeps its pack
		return nil
	}
	return err
}

// remove deletes objects, several at once, as long as there is time.
func (c *collector) remove(ctx context.Context, stage string, objects []storage.Info, removed func(storage.Info)) error {
	var mu sync.Mutex
	done := int64(0)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.concurrency())
	for _, info := range objects {
		if c.expired() {
			g.Go(func() error { return errDeadline })
			break
		}
		g.Go(func() error {
			if err := c.r.st.Delete(gctx, info.Key); err != nil {
				return fmt.Errorf("remove %s: %w", info.Key, err)
			}
			mu.Lock()
			defer mu.Unlock()
			removed(info)
			done++
			c.o.Progress(stage, done, int64(len(objects)))
			return nil
		})
	}
	return g.Wait()
}

// keepMarks is how long condemned lists and tombstones stay after they have done their
// work: writers that stalled must still find them.
const keepMarks = 30 * 24 * time.Hour

// tidy removes lists, tombstones and checkpoints that have done their work.
func (c *collector) tidy(ctx context.Context) error {
	if err := c.tidyTemporaries(ctx); err != nil {
		return err
	}
	if err := c.tidyCheckpoints(ctx); err != nil {
		return err
	}
	var gone []storage.Info
	named := make(map[int]bool)
	for _, info := range c.listed {
		for _, n := range c.fragments[fragmentKey(info.ID)].packs {
			named[n] = true
		}
	}
	here := make(map[string]bool) // roots that have manifests
	for _, list := range [][]storage.Info{c.manifests, c.doomed} {
		for _, info := range list {
			if name, _, err := parseKey(info.Key); err == nil {
				here[name.root()] = true
			}
		}
	}
	for _, f := range c.first.files {
		switch {
		case f.lost:
			if c.ripe(f.at, c.o.MinAge) && !slices.ContainsFunc(f.ids, c.stillLost) {
				gone = append(gone, storage.Info{Key: f.key})
			}
		case c.ripe(f.at, c.o.Grace+keepMarks) && c.listDone(f, named, here),
			c.r.broken.collectListGoesEarly && !slices.ContainsFunc(f.ids, c.isThere):
			gone = append(gone, storage.Info{Key: f.key})
		}
	}
	for root, at := range c.first.deleted {
		if here[root] {
			c.report.WaitingRoots++
		} else if c.ripe(at, keepMarks) || c.r.broken.collectTombstoneGoesEarly {
			gone = append(gone, storage.Info{Key: tombstonePrefix + root})
		}
	}
	slices.SortFunc(gone, func(a, b storage.Info) int { return strings.Compare(a.Key, b.Key) })
	return c.remove(ctx, "removing lists", gone, func(storage.Info) { c.report.RemovedLists++ })
}

// stillLost reports whether the mark of a lost chunk is needed: there are copies from
// before, or it is rooted and there is none. Of what is neither there nor rooted nobody
// can take a copy for good.
func (c *collector) stillLost(id digest.ID) bool {
	key := catalog.KeyOf(id)
	if len(c.cat.PacksOf(key)) == 0 {
		return c.lost[key]
	}
	return !c.cat.Healed(id)
}

func (c *collector) isThere(id digest.ID) bool {
	n, known := c.cat.Lookup(id)
	return known && c.cat.Packs[n].First
}

// listDone reports whether all that a condemned list names was gone when this run began,
// and no fragment names its packs any more: else hits on packs that are gone would become
// failures.
func (c *collector) listDone(f gcFile, named map[int]bool, here map[string]bool) bool {
	for _, root := range f.roots {
		if here[root] {
			return false
		}
	}
	for _, id := range f.ids {
		if n, known := c.cat.Lookup(id); known && (c.began[n] || named[n]) {
			return false
		}
	}
	return true
}

// tidyCheckpoints removes checkpoints of streams that are stored, and of those that were
// given up long ago. Whoever is still writing one finds out when it looks.
func (c *collector) tidyCheckpoints(ctx context.Context) error {
	stored := make(map[Name]bool)
	newest := make(map[Name]time.Time)
	parts := make(map[Name][]storage.Info)
	for _, info := range c.manifests {
		name, checkpoint, err := parseKey(info.Key)
		switch {
		case err != nil:
		case !checkpoint:
			stored[name] = true
		default:
			parts[name] = append(parts[name], info)
			if info.ModTime.After(newest[name]) {
				newest[name] = info.ModTime
			}
		}
	}
	var gone []storage.Info
	for name, list := range parts {
		if stored[name] && c.ripe(newest[name], c.o.MinAge) || c.o.AbandonedAfter > 0 && c.ripe(newest[name], c.o.AbandonedAfter) {
			gone = append(gone, list...)
		} else if !stored[name] {
			c.report.Checkpoints += len(list)
		}
	}
	slices.SortFunc(gone, func(a, b storage.Info) int { return strings.Compare(a.Key, b.Key) })
	return c.remove(ctx, "removing checkpoints", gone, func(storage.Info) { c.report.RemovedCheckpoints++ })
}
