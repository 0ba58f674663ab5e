package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/storage"
)

// checkedFragment is a fragment as it was found.
type checkedFragment struct {
	id    digest.ID
	packs []int // numbers of those that it describes as they are
	wrong error // why it must not stay
}

// checkFragments reads every index fragment, and compares it with the packs.
func (c *checker) checkFragments(ctx context.Context, fragments []storage.Info) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.r.opts.Concurrency)
	for _, info := range fragments {
		g.Go(func() error {
			id, err := digest.Parse(strings.TrimPrefix(info.Key, indexPrefix))
			if err != nil {
				c.warn("%s is none of gpdedup's objects", info.Key)
				return nil //nolint:nilerr // it is none of ours
			}
			var packs []index.Pack
			err = twice(ctx, func() (err error) {
				packs, err = c.r.loadFragment(ctx, id)
				return err
			})
			if errors.Is(err, storage.ErrNotExist) {
				return nil // merged into another meanwhile
			}
			if err != nil {
				if !isUnusable(err) || ctx.Err() != nil {
					return err
				}
				c.blame(info.Key, err.Error(), nil)
				if !errors.Is(err, ErrNewer) {
					c.addFragment(checkedFragment{id: id, wrong: err})
				}
				return nil
			}
			c.mu.Lock()
			c.report.Fragments++
			c.report.BytesRead += info.Size
			c.mu.Unlock()
			f := checkedFragment{id: id}
			for i := range packs {
				if n, err := c.checkDirectory(info.Key, &packs[i]); err != nil {
					f.wrong = err
				} else if n >= 0 {
					f.packs = append(f.packs, n)
				}
			}
			c.addFragment(f)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("check index: %w", err)
	}
	c.cat.Sort()
	return nil
}

func (c *checker) addFragment(f checkedFragment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fragments = append(c.fragments, f)
}

// checkDirectory compares what a fragment says about a pack with the pack. It returns
// the pack's number, or -1 if there is nothing to be said of it.
func (c *checker) checkDirectory(fragment string, p *index.Pack) (int, error) {
	c.mu.Lock()
	n, there := c.cat.Lookup(p.ID)
	var size int64
	var sum uint64
	var gone, known bool
	if there {
		size, sum, gone, known = c.cat.Packs[n].Size, c.sums[n], c.gone[n], c.cat.Packs[n].Known
	}
	c.mu.Unlock()
	switch {
	case !there && c.swept[p.ID], gone:
		c.warn("%s names pack %s, which was collected", fragment, p.ID.Short())
		return -1, nil
	case !there:
		// Writers would go on to count on it, and fail.
		err := fmt.Errorf("names pack %s, which is gone: backups of what it held fail until gpdedup repo repair", p.ID.Short())
		c.blame(fragment, err.Error(), nil)
		return -1, err
	case size != int64(p.Size):
		c.blame(packKey(p.ID), fmt.Sprintf("%d bytes long; the index says %d", size, p.Size), nil)
		c.mu.Lock()
		c.bad[n] = fmt.Errorf("%w: %d bytes long; the index says %d", ErrDamaged, size, p.Size)
		c.mu.Unlock()
		return -1, nil
	case sum != 0 && sum != directorySum(p):
		// Writers would refer to chunks that are not there, and nobody would notice
		// before a restore.
		err := fmt.Errorf("describes pack %s otherwise than the pack itself", p.ID.Short())
		c.blame(fragment, err.Error(), nil)
		return -1, err
	}
	if !known {
		// At this level nothing else is known, or the pack's own footer cannot be read.
		c.mu.Lock()
		if c.o.Level < CheckFooters {
			c.report.Packs++
			c.report.Chunks += len(p.Entries)
		}
		c.cat.AddDirectory(p)
		c.mu.Unlock()
	}
	return n, nil
}

// checkCache compares this host's index cache with what packs hold: what it says wrongly
// would be referred to by the next backup.
func (c *checker) checkCache(ctx context.Context) error {
	if c.r.cache == nil || c.o.Level < CheckFooters {
		return nil
	}
	listed, err := c.r.listFragments(ctx)
	if err != nil {
		return err
	}
	entries, damaged, err := c.r.cache.Verify(ctx, listed, func(id digest.ID, loc index.Location) bool {
		n, there := c.cat.Lookup(loc.Pack)
		if !there || c.sums[n] == 0 {
			return true // it is gone, or is new, or could not be read: nothing to compare with
		}
		return c.cat.Same(n, catalog.KeyOf(id), &loc)
	})
	if err != nil {
		return fmt.Errorf("check index cache: %w", err)
	}
	c.report.Cached = entries
	for _, text := range damaged {
		c.warn("this host's index cache: %s: it is not used any more, and built anew by the next backup", text)
	}
	return nil
}
