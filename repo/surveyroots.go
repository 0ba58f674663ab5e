package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

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

// readRoots marks everything that a manifest or a checkpoint roots.
func (c *collector) readRoots(ctx context.Context) error {
	c.report.Manifests = len(c.manifests)
	var unknown []digest.ID // chunks that no pack has
	root := func(id digest.ID) {
		c.mark.Lock()
		defer c.mark.Unlock()
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
