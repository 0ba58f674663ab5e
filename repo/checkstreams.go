package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// checkManifests reads every manifest and looks for every chunk that it roots.
func (c *checker) checkManifests(ctx context.Context, manifests []storage.Info) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsInFlight)
	for _, info := range manifests {
		g.Go(func() error {
			err := c.checkManifest(ctx, info)
			if errors.Is(err, storage.ErrNotExist) {
				return nil // pruned meanwhile
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("check manifests: %w", err)
	}
	return nil
}

func (c *checker) checkManifest(ctx context.Context, info storage.Info) error {
	name, checkpoint, err := parseKey(info.Key)
	if err != nil {
		return err
	}
	stream := string(name.Class) + " " + name.Namespace + " " + name.String()
	if checkpoint {
		stream += " (checkpoint)"
	}
	m, err := c.r.readManifest(ctx, info.Key)
	if err != nil {
		if errors.Is(err, storage.ErrNotExist) || !isUnusable(err) || ctx.Err() != nil {
			return err
		}
		c.blame(info.Key, err.Error(), stream)
		return nil
	}
	c.mu.Lock()
	c.report.Manifests++
	c.report.BytesRead += info.Size
	c.mu.Unlock()
	identity := manifest.NewIdentity()
	f := c.r.newFetcher()
	defer f.close()
	check := func(t *manifest.Table) error {
		for i := range t.Rows {
			identity.Add(t.Rows[i].ID, t.Rows[i].Raw)
			if err := c.checkRow(ctx, f, m, t, &t.Rows[i], stream); err != nil {
				return err
			}
		}
		return c.checkDeltas(ctx, f, t, stream)
	}
	for i := range m.Leaves {
		t, err := f.leaf(ctx, m, i)
		if err != nil {
			if !isUnusable(err) || ctx.Err() != nil {
				return err
			}
			c.blame(damagedObject(err, info.Key), err.Error(), stream)
			return nil
		}
		if err := check(t); err != nil {
			return err
		}
	}
	if err := check(&m.Table); err != nil {
		return err
	}
	if identity.Sum() != m.Identity {
		c.blame(info.Key, "the chunk list does not match the stream's identity", stream)
	}
	return nil
}

func damagedObject(err error, otherwise string) string {
	if d := (*DamagedError)(nil); errors.As(err, &d) {
		return d.Object
	}
	return otherwise
}

// checkDeltas reads the deltas of a table that no other table had, with their bases.
func (c *checker) checkDeltas(ctx context.Context, f *fetcher, t *manifest.Table, stream string) error {
	if c.o.Level < CheckData {
		return nil
	}
	var rows []*manifest.Chunk
	for i := range t.Rows {
		row := &t.Rows[i]
		if row.Base == 0 {
			continue
		}
		c.mu.Lock()
		err, known := c.deltas[row.ID]
		c.mu.Unlock()
		switch {
		case !known:
			rows = append(rows, row)
		case err != nil:
			c.blame(damagedObject(err, packKey(t.Packs[row.Pack].ID)), err.Error(), stream)
		}
	}
	namer := c.r.keys.Namer()
	for part := range slices.Chunk(rows, readAhead) {
		contents, _, _ := f.contents(ctx, t, part, namer) // each failure is looked at below
		for i, row := range part {
			var err error
			if contents[i] == nil {
				contents[i], err = f.chunk(ctx, nil, t, row, namer)
			}
			c.r.buffers.put(contents[i])
			if err != nil && (!isUnusable(err) || ctx.Err() != nil) {
				return err
			}
			c.mu.Lock()
			c.deltas[row.ID] = err
			c.mu.Unlock()
			if err != nil {
				c.blame(damagedObject(err, packKey(t.Packs[row.Pack].ID)), err.Error(), stream)
			}
		}
	}
	return nil
}

// checkRow looks for one chunk in what was found to be readable. The error means
// that it could not tell.
func (c *checker) checkRow(ctx context.Context, f *fetcher, m *manifest.Manifest, t *manifest.Table, row *manifest.Chunk, stream string) error {
	if row.Pack == manifest.InlinePack {
		payload := m.Inline[row.Offset : row.Offset+row.Stored]
		out, err := f.decode(nil, c.r.buffers.get(int(row.Raw)+compress.Slack), row, payload, nil, c.r.keys.Namer())
		c.r.buffers.put(out)
		if err != nil {
			c.blame("inline data", err.Error(), stream)
		}
		return nil
	}
	hint := t.Packs[row.Pack].ID
	c.mu.Lock()
	known := c.chunks[row.ID]
	found := known != nil
	ends := found && c.ends(row.ID, index.MaxDepth+1)
	_, listed := c.packs[hint]
	bad, gone := c.bad[hint], c.gone[hint]
	c.mu.Unlock()
	switch {
	case ends && known.raw == row.Raw:
	case found && known.raw != row.Raw:
		c.blame(packKey(hint), fmt.Sprintf("chunk %s is %d bytes long there and %d in the list", row.ID.Short(), known.raw, row.Raw), stream)
	case found:
		return c.checkBase(ctx, f, m, t, row, stream)
	case !listed || gone:
		c.blame(packKey(hint), "gone, and chunks of it are nowhere else", stream)
	case bad && c.o.Level >= CheckFooters:
		// The manifest says where the chunk is, so a restore needs no footer.
		out, err := f.chunk(ctx, nil, t, row, c.r.keys.Namer())
		c.r.buffers.put(out)
		if err != nil && (!isUnusable(err) || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			c.blame(packKey(hint), "damaged", stream)
		}
	case bad:
		c.blame(packKey(hint), "damaged", stream)
	case c.o.Level < CheckFooters:
		// The pack of a small stream is in no fragment, and footers were not asked for.
	default:
		c.blame(packKey(hint), fmt.Sprintf("chunk %s is not in it, nor anywhere else", row.ID.Short()), stream)
	}
	return nil
}

// checkBase blames what a delta, which is there, cannot be read without.
func (c *checker) checkBase(ctx context.Context, f *fetcher, m *manifest.Manifest, t *manifest.Table, row *manifest.Chunk, stream string) error {
	if row.Base != 0 && !c.ends(t.Bases[row.Base-1].ID, int(row.Depth)) {
		return c.checkRow(ctx, f, m, t, &t.Bases[row.Base-1], stream)
	}
	if c.o.Level >= CheckFooters { // else the base may be in a pack that no fragment names
		c.blame(packKey(t.Packs[row.Pack].ID), fmt.Sprintf("a base of chunk %s is nowhere", row.ID.Short()), stream)
	}
	return nil
}

// checkOthers opens every small object that authenticates itself.
func (c *checker) checkOthers(ctx context.Context, others []storage.Info) error {
	kinds := map[string]seal.Kind{
		tombstonePrefix: seal.Tombstone, condemnedPrefix: seal.Condemned, lostPrefix: seal.Lost,
	}
	for _, info := range others {
		var err error
		if strings.HasPrefix(info.Key, slotPrefix) {
			_, err = readSlot(ctx, c.r.st, strings.TrimPrefix(info.Key, slotPrefix))
		}
		for prefix, kind := range kinds {
			if strings.HasPrefix(info.Key, prefix) {
				var object []byte
				if object, err = c.r.get(ctx, info.Key, seal.MaxDocument); err == nil {
					_, err = c.r.keys.OpenDocument(kind, info.Key, object, c.r.dec)
				}
			}
		}
		switch {
		case err == nil || errors.Is(err, storage.ErrNotExist):
		case isUnusable(err):
			c.blame(info.Key, err.Error(), "")
		default:
			return fmt.Errorf("check %s: %w", info.Key, err)
		}
	}
	return nil
}
