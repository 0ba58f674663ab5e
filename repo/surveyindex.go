package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/index"
)

// fragmentRead is an index fragment that was read.
type fragmentRead struct {
	packs   []int // numbers in the catalog
	entries int
	bad     error
}

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
