package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/catalog"
)

// describe fills in what the first survey found.
func (c *collector) describe() {
	c.report.Chunks = c.cat.Chunks()
	c.began = make(map[int]bool)
	for i := range c.cat.Packs {
		if p := &c.cat.Packs[i]; p.First {
			c.began[i] = true
			c.report.Packs++
			c.report.PackBytes += p.Size
		}
	}
}

// condemn decides which packs are not worth keeping, copies what is needed of them to new
// packs, so that writers find it there, and puts the condemned list. It reports whether it
// put one.
func (c *collector) condemn(ctx context.Context) (bool, error) {
	o := catalog.Choice{
		Eligible:  func(p *catalog.Pack) bool { return c.ripe(p.ModTime, c.o.MinAge) },
		MaxUnused: c.o.MaxUnused,
	}
	if c.o.RepackSmall {
		small := int64(c.r.opts.Limits.PackMin) / 2
		o.Small = func(p *catalog.Pack) bool { return p.Size < small }
	}
	if c.o.MaxUnused < 0 {
		eligible := o.Eligible
		o.Eligible = func(p *catalog.Pack) bool { return p.Used == 0 && eligible(p) }
	}
	packs := c.cat.Choose(o)
	roots := c.doomedRoots()
	packs, err := c.repack(ctx, packs)
	if err != nil {
		return false, err
	}
	c.report.CondemnedRoots = len(roots)
	for _, n := range packs {
		c.report.CondemnedPacks++
		c.report.CondemnedBytes += c.cat.Packs[n].Size
	}
	c.weighKept()
	if c.o.DryRun || len(packs)+len(roots) == 0 {
		return false, nil
	}
	return true, c.putCondemned(ctx, packs, roots)
}

// doomedRoots returns the roots whose manifests this run means to remove.
func (c *collector) doomedRoots() []string {
	seen := make(map[string]bool)
	var roots []string
	for _, info := range c.doomed {
		name, _, err := parseKey(info.Key)
		if root := name.root(); err == nil && !seen[root] {
			seen[root] = true
			roots = append(roots, root)
		}
	}
	slices.Sort(roots)
	return roots
}

// weighKept reports what is kept of no use.
func (c *collector) weighKept() {
	c.report.KeptBytes, c.report.UnusedBytes, c.report.YoungBytes = 0, 0, 0
	for i := range c.cat.Packs {
		if p := &c.cat.Packs[i]; p.First && p.Last && !p.Condemned && p.Known {
			c.report.KeptBytes += p.Size
			if p.Used > 0 || c.ripe(p.ModTime, c.o.MinAge) {
				c.report.UnusedBytes += p.Stored - min(p.Used, p.Stored)
			} else {
				c.report.YoungBytes += p.Size
			}
		}
	}
}

// repack copies what is needed of the packs that are to be condemned, and returns those
// that can be: all, but for damage and time.
func (c *collector) repack(ctx context.Context, packs []int) ([]int, error) {
	plan := c.cat.NewPlan()
	chosen := make(map[int]bool, len(packs))
	rewrite := false
	for _, n := range packs {
		chosen[n] = true
		rewrite = rewrite || c.cat.Packs[n].Used > 0
	}
	if len(packs) > 0 {
		// In the order of the newest manifests, so that a restore of these reads runs.
		if rewrite {
			err := c.roots.inOrder(ctx, c.manifests, func(id digest.ID) {
				key := catalog.KeyOf(id)
				for _, n := range c.cat.PacksOf(key) {
					if chosen[n] {
						plan.Place(key)
						return
					}
				}
			})
			if err != nil {
				return nil, err
			}
		}
		plan.PlaceRooted()
	}
	if c.o.DryRun {
		c.report.CopiedChunks, c.report.CopiedBytes = len(plan.Copies), plan.Bytes()
		for i := range plan.Copies {
			if plan.Copies[i].Recode {
				c.report.RecodedChunks++
			}
		}
		return packs, nil
	}
	if len(plan.Copies) == 0 {
		return packs, nil
	}
	x := c.newCopier(plan)
	err := x.run(ctx, "copying")
	c.report.CopiedChunks, c.report.CopiedBytes, c.report.RecodedChunks = x.chunks, x.bytes, x.recoded
	if err != nil && err != errDeadline { //nolint:errorlint // as run promises
		return nil, err
	}
	keep := make(map[int]bool)
	if err != nil {
		// Not everything was copied. Packs of no use may go all the same.
		c.report.Unfinished = true
		for _, n := range packs {
			keep[n] = c.cat.Packs[n].Used > 0
		}
	}
	for id := range x.failed {
		for _, n := range c.cat.PacksOf(id) {
			keep[n] = true
		}
	}
	packs = slices.DeleteFunc(packs, func(n int) bool {
		if keep[n] {
			c.cat.Packs[n].Condemned = false
		}
		return keep[n]
	})
	return packs, nil
}

// putCondemned puts the list, or the lists, of what will be removed. From then on a
// writer that looks gives what it needs of these packs another location, or fails; and
// only what is listed from then on decides.
func (c *collector) putCondemned(ctx context.Context, packs []int, roots []string) error {
	ids := make([]digest.ID, len(packs))
	for i, n := range packs {
		ids[i] = c.cat.Packs[n].ID
	}
	slices.SortFunc(ids, func(a, b digest.ID) int { return strings.Compare(a.String(), b.String()) })
	for {
		l := &gcList{ids: ids[:min(len(ids), maxListIDs)], roots: roots[:min(len(roots), maxListRoots)]}
		ids, roots = ids[len(l.ids):], roots[len(l.roots):]
		key, err := c.r.putGCList(ctx, condemnedPrefix, l)
		if err != nil {
			return fmt.Errorf("put condemned list: %w", err)
		}
		c.own[key] = true
		if c.r.broken.collectCondemnLate {
			c.sweepable = append(c.sweepable, gcFile{gcList: l, key: key})
		}
		if len(ids)+len(roots) == 0 {
			return nil
		}
	}
}

// maxListRoots keeps a list with as many roots as it may have below the size of a document.
const maxListRoots = 10_000
