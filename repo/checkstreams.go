package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// checkedStream is a stream whose manifest is being checked.
type checkedStream struct {
	key   string
	name  Name
	label string // class, namespace and name
}

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
	stream := &checkedStream{key: info.Key, name: name, label: string(name.Class) + " " + name.Namespace + " " + name.String()}
	if checkpoint {
		stream.label += " (checkpoint)"
	}
	var m *manifest.Manifest
	err = twice(ctx, func() (err error) {
		m, err = c.r.readManifest(ctx, info.Key)
		return err
	})
	if err != nil {
		if errors.Is(err, storage.ErrNotExist) || !isUnusable(err) || ctx.Err() != nil {
			return err
		}
		c.blame(info.Key, err.Error(), stream)
		c.unreadable(info, err)
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
		return nil
	}
	for i := range m.Leaves {
		t, err := f.leaf(ctx, m, i)
		if err != nil {
			if !isUnusable(err) || ctx.Err() != nil {
				return err
			}
			leaf := &m.Leaves[i].Chunk
			c.lose(leaf.ID, packKey(m.Table.Packs[leaf.Pack].ID), err)
			c.blame(damagedObject(err, info.Key), err.Error(), stream)
			c.unreadable(info, err)
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
		c.unreadable(info, ErrDamaged)
	}
	return nil
}

// unreadable takes note of a manifest of which nobody knows what it roots.
func (c *checker) unreadable(info storage.Info, err error) {
	if errors.Is(err, ErrNewer) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread = append(c.unread, info)
}

// lose takes note of a chunk that cannot be read from anywhere.
func (c *checker) lose(id digest.ID, object string, err error) *row {
	lost := &row{id: id, object: object, cause: err}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed[catalog.KeyOf(id)] = lost
	return lost
}

func damagedObject(err error, otherwise string) string {
	if d := (*DamagedError)(nil); errors.As(err, &d) {
		return d.Object
	}
	return otherwise
}

// checkRow looks for one chunk in what was found to be readable. The error means
// that it could not tell.
func (c *checker) checkRow(ctx context.Context, f *fetcher, m *manifest.Manifest, t *manifest.Table, row *manifest.Chunk, stream *checkedStream) error {
	if row.Pack == manifest.InlinePack {
		payload := m.Inline[row.Offset : row.Offset+row.Stored]
		out, err := f.decode(nil, c.r.buffers.get(int(row.Raw)+compress.Slack), row, payload, nil, c.r.keys.Namer())
		c.r.buffers.put(out)
		if err != nil {
			c.blame(stream.key, "inline data: "+err.Error(), stream)
		}
		return nil
	}
	hint := t.Packs[row.Pack].ID
	key := catalog.KeyOf(row.ID)
	c.mu.Lock()
	readable := c.cat.Placed(key)
	length := c.cat.Length(key, row.Raw)
	failed := c.failed[key]
	n, listed := c.cat.Lookup(hint)
	listed = listed && c.cat.Packs[n].First
	bad := listed && c.bad[n] != nil
	c.mu.Unlock()
	switch {
	case readable && length:
		return nil
	case readable:
		c.blame(packKey(hint), fmt.Sprintf("chunk %s has another length there than in the list", row.ID.Short()), stream)
		return nil
	case failed != nil:
		c.blame(failed.object, failed.cause.Error(), stream)
		return nil
	case listed && !bad && c.o.Level < CheckFooters:
		return nil // the pack of a small stream is in no fragment, and footers were not asked for
	}
	// The way that a restore goes is the second look: it knows where the manifest says the
	// chunk is, and finds what was moved meanwhile.
	out, err := f.chunk(ctx, nil, t, row, c.r.keys.Namer())
	c.r.buffers.put(out)
	if err == nil {
		return nil
	}
	if !isUnusable(err) || ctx.Err() != nil {
		return err
	}
	if _, gone := c.r.st.Stat(ctx, stream.key); errors.Is(gone, storage.ErrNotExist) {
		return storage.ErrNotExist // with what it needed
	}
	object := damagedObject(err, packKey(hint))
	switch {
	case errors.Is(err, storage.ErrNotExist):
		err = errors.New("gone, and chunks of it are nowhere else")
	case bad:
		err = errors.New("damaged") // its own report says more
	}
	failed = c.lose(row.ID, object, err)
	c.blame(failed.object, failed.cause.Error(), stream)
	return nil
}

// checkOthers opens every small object that authenticates itself.
func (c *checker) checkOthers(ctx context.Context, others []storage.Info) error {
	kinds := map[string]seal.Kind{
		tombstonePrefix: seal.Tombstone, condemnedPrefix: seal.Condemned, lostPrefix: seal.Lost,
	}
	for _, info := range others {
		err := twice(ctx, func() error {
			if name, ok := strings.CutPrefix(info.Key, slotPrefix); ok {
				return checkKeyObject(ctx, c.r.st, name)
			}
			for prefix, kind := range kinds {
				if !strings.HasPrefix(info.Key, prefix) {
					continue
				}
				if kind != seal.Tombstone {
					_, err := c.r.gcList(ctx, info.Key)
					return err
				}
				object, err := c.r.get(ctx, info.Key, seal.MaxDocument)
				if err == nil {
					_, err = c.r.keys.OpenDocument(kind, info.Key, object, c.r.dec)
				}
				return err
			}
			return nil
		})
		switch {
		case err == nil || errors.Is(err, storage.ErrNotExist):
		case isUnusable(err):
			c.blame(info.Key, err.Error(), nil)
			if !errors.Is(err, ErrNewer) {
				c.lists = append(c.lists, info.Key)
			}
		default:
			return fmt.Errorf("check %s: %w", info.Key, err)
		}
	}
	for _, key := range c.results.bad {
		c.blame(key, "damaged; nothing is lost but the knowledge of when packs were checked", nil)
	}
	return nil
}
