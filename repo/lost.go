package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/catalog"
)

// markLost says of the chunks that two surveys did not find that they are lost, so that
// the next backup of the same data stores them again.
func (c *collector) markLost(ctx context.Context) error {
	if len(c.lost) == 0 {
		return nil
	}
	if len(c.unreadable) > 0 && !c.lostKnown() {
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

// lostKnown reports whether all lost chunks were marked before, as a repair does when it
// has saved what can be read of packs.
func (c *collector) lostKnown() bool {
	marked := make(map[catalog.Key]bool, len(c.last.lost))
	for id := range c.last.lost {
		marked[catalog.KeyOf(id)] = true
	}
	for id := range c.lost {
		if !marked[id] {
			return false
		}
	}
	return true
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
