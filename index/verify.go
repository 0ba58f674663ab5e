package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/gpdedup/gpdedup/digest"
)

// Verify reads every row of the generations and calls right for each entry that a listed
// fragment vouches for; right says whether it is as the repository has it. Generations
// that are damaged, or in which an entry is wrong, are taken out of use by a mark, and
// named with the reason; the next Refresh replaces them. The only errors are the
// context's and what the host refused.
func (c *Cache) Verify(ctx context.Context, listed []FragmentInfo, right func(digest.ID, Location) bool) (entries uint64, damaged []string, err error) {
	if c == nil || c.dir == "" {
		return 0, nil, nil
	}
	gens, unusable, err := c.openGenerations()
	if err != nil {
		return 0, nil, err
	}
	defer closeAll(gens)
	for n, err := range unusable {
		if !errors.Is(err, errVersion) {
			damaged = append(damaged, fmt.Sprintf("%s%d%s: %v", generationPrefix, n, generationSuffix, err))
		}
	}
	l := newListing(listed)
	for _, g := range gens {
		n, err := g.verify(ctx, l, right)
		entries += n
		if ctx.Err() != nil {
			return entries, damaged, ctx.Err()
		}
		if err != nil {
			c.markBad(g.number)
			damaged = append(damaged, fmt.Sprintf("%s: %v", g.name(), err))
		}
	}
	slices.Sort(damaged)
	return entries, damaged, nil
}

var errWrongEntry = errors.New("an entry is not as the repository has it")

func (g *generation) verify(ctx context.Context, l listing, right func(digest.ID, Location) bool) (entries uint64, err error) {
	if err := g.markLive(l, make([]bool, len(l))); err != nil {
		return 0, err
	}
	var packs []digest.ID
	next := uint32(0)
	keep := func(fragment uint32) (uint32, bool) {
		_, live := g.position(fragment)
		return 0, live
	}
	numbers, err := g.renumber(&next, keep, func(_ uint32, id []byte, _ uint32) error {
		packs = append(packs, digest.ID(id))
		return nil
	})
	if err != nil {
		return 0, err
	}
	s := &generationSource{g: g, walk: g.tree.walk(g.chunks), renumber: numbers}
	for {
		rec, err := s.next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		if entries++; entries%4096 == 0 && ctx.Err() != nil {
			return entries, ctx.Err()
		}
		if !right(digest.ID(rec.id()), rec.location(packs[rec.pack()])) {
			return entries, fmt.Errorf("%w: chunk %s", errWrongEntry, digest.ID(rec.id()).Short())
		}
	}
}
