package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
)

// marks says that chunks are lost of which no good copy is left.
func (x *repairer) marks(ctx context.Context) error {
	lost := make(map[digest.ID]bool)
	for _, f := range x.c.failed {
		lost[f.id] = true
	}
	if err := x.unplaced(ctx, lost); err != nil {
		return err
	}
	for id := range lost {
		if x.c.gc.lost[id] || x.c.cat.Placed(catalog.KeyOf(id)) {
			delete(lost, id)
		}
	}
	if err := x.moved(ctx, lost); err != nil {
		return err
	}
	ids := slices.Collect(maps.Keys(lost))
	if len(ids) == 0 {
		return nil
	}
	x.report.LostChunks = len(ids)
	do := x.step("gc/lost/", fmt.Sprintf("mark %d chunks lost, so that the next backup of the same data stores them again", len(ids)), "")
	if !do {
		return nil
	}
	slices.SortFunc(ids, func(a, b digest.ID) int { return strings.Compare(a.String(), b.String()) })
	for part := range slices.Chunk(ids, maxListIDs) {
		if _, err := x.r.putGCList(ctx, lostPrefix, &gcList{ids: part}); err != nil {
			return fmt.Errorf("mark chunks lost: %w", err)
		}
	}
	return nil
}

// moved takes out what was stored again, or moved, since the check listed the packs.
func (x *repairer) moved(ctx context.Context, lost map[digest.ID]bool) error {
	if len(lost) == 0 {
		return nil
	}
	found, err := x.r.locate(ctx, maps.Clone(lost), true)
	if err != nil {
		return err
	}
	var readable func(id digest.ID, below int) bool
	readable = func(id digest.ID, below int) bool {
		if x.c.cat.Placed(catalog.KeyOf(id)) {
			return true
		}
		for _, loc := range found[id] {
			if _, known := x.c.cat.Lookup(loc.Pack); !known && int(loc.Depth) < below &&
				(loc.Encoding != index.Delta || readable(loc.Base, int(loc.Depth))) {
				return true
			}
		}
		return false
	}
	for id := range lost {
		if readable(id, index.MaxDepth+1) {
			delete(lost, id)
		}
	}
	return nil
}

// unplaced adds the chunks of which the catalog has copies, and none that can be read with
// its bases.
func (x *repairer) unplaced(ctx context.Context, lost map[digest.ID]bool) error {
	for n, keys := range x.c.cat.Unplaced() {
		d, err := x.directory(ctx, n)
		if isUnusable(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, key := range keys {
			if at, ok := d.at[key]; ok {
				lost[d.entries[at].ID] = true
			}
		}
	}
	return nil
}
