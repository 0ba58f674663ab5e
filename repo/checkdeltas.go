package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// deltaBatch is how many bytes of whole chunks are decoded at once, with all that is
// built on them.
const deltaBatch = 4 << 20

// checkDeltas decodes the deltas in the packs that were read, with their bases, and
// verifies their names. It begins with the whole chunks and goes on to what is built on
// them, so that each chunk is decoded once, however long the chains are.
func (c *checker) checkDeltas(ctx context.Context) error {
	for len(c.whole) > 0 {
		tree := c.cat.Tree(func(n int) bool { return c.whole[n] }, func(x catalog.Node) {
			c.cat.MarkBad(x.Pack, x.ID)
			c.blame(packKey(c.cat.Packs[x.Pack].ID), "deltas in it have lost their bases", nil)
		})
		d := &deltaCheck{c: c, tree: tree, f: c.r.newFetcher(), dirs: newDirectories(maxCheckDirectories, c.directory)}
		c.mu.Lock()
		c.total += tree.Bytes()
		c.mu.Unlock()
		err := d.run(ctx)
		d.f.close()
		if err != nil {
			return fmt.Errorf("check deltas: %w", err)
		}
		c.cat.Ask()
		c.report.Deltas = d.verified
		if len(d.bad) == 0 {
			return nil
		}
		// What was built on these copies was not looked at, and may have others.
		for _, x := range d.bad {
			c.cat.MarkBad(x.Pack, x.ID)
		}
	}
	return nil
}

// deltaCheck is one pass over the deltas.
type deltaCheck struct {
	c    *checker
	tree *catalog.Tree
	f    *fetcher
	dirs *directories

	mu       sync.Mutex
	verified int
	bad      []catalog.Node
}

func (d *deltaCheck) run(ctx context.Context) error {
	roots := d.tree.Roots()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(d.c.r.opts.Concurrency)
	for _, n := range slices.Sorted(maps.Keys(roots)) {
		dir, err := d.dirs.get(ctx, n)
		if err != nil {
			if isUnusable(err) && ctx.Err() == nil {
				continue // found bad, or gone, already
			}
			return errors.Join(err, g.Wait())
		}
		nodes := roots[n]
		slices.SortFunc(nodes, func(a, b catalog.Node) int {
			x, _ := dir.find(a.ID, a.Depth)
			y, _ := dir.find(b.ID, b.Depth)
			return x - y
		})
		for len(nodes) > 0 {
			size, k := 0, 0
			for ; k < len(nodes) && (k == 0 || size < deltaBatch); k++ {
				if at, ok := dir.find(nodes[k].ID, nodes[k].Depth); ok {
					size += int(dir.locations[at].Raw)
				}
			}
			part := nodes[:k]
			nodes = nodes[k:]
			g.Go(func() error { return d.descend(ctx, part) })
		}
	}
	return g.Wait()
}

// descend reads whole chunks, then the deltas against them, and so on.
func (d *deltaCheck) descend(ctx context.Context, nodes []catalog.Node) error {
	contents := make(map[catalog.Key][]byte)
	defer func() { d.free(contents) }()
	for level := 0; len(nodes) > 0; level++ {
		next, err := d.level(ctx, nodes, contents, level > 0)
		if err != nil {
			return err
		}
		d.free(contents)
		contents = next
		nodes = nil
		for id := range contents {
			nodes = append(nodes, d.tree.Children(id)...)
		}
	}
	return nil
}

func (d *deltaCheck) free(contents map[catalog.Key][]byte) {
	for id, content := range contents {
		d.c.r.buffers.put(content)
		delete(contents, id)
	}
}

// level reads and decodes nodes, whose bases' contents are given, and returns the
// contents that others need.
func (d *deltaCheck) level(ctx context.Context, nodes []catalog.Node, bases map[catalog.Key][]byte, deltas bool) (map[catalog.Key][]byte, error) {
	t := &manifest.Table{Rows: make([]manifest.Chunk, 0, len(nodes))} // rows are pointed to
	numbers := make(map[int]uint32)
	kept := nodes[:0:0]
	needs := make([]digest.ID, 0, len(nodes))
	for _, x := range nodes {
		dir, err := d.dirs.get(ctx, x.Pack)
		if err != nil && (!isUnusable(err) || ctx.Err() != nil) {
			return nil, err
		}
		at, ok := 0, false
		if err == nil {
			at, ok = dir.find(x.ID, x.Depth)
		}
		if !ok {
			d.fail(x, err)
			continue
		}
		number, known := numbers[x.Pack]
		if !known {
			number = uint32(len(t.Packs))
			numbers[x.Pack] = number
			t.Packs = append(t.Packs, manifest.PackRef{ID: d.c.cat.Packs[x.Pack].ID})
		}
		e, loc := &dir.entries[at], &dir.locations[at]
		t.Rows = append(t.Rows, manifest.Chunk{
			ID: e.ID, Raw: loc.Raw, Pack: number, Offset: loc.Offset, Stored: loc.Stored, Ordinal: loc.Ordinal, Encoding: loc.Encoding,
		})
		kept = append(kept, x)
		needs = append(needs, e.Base)
	}
	rows := make([]*manifest.Chunk, len(t.Rows))
	for i := range rows {
		rows[i] = &t.Rows[i]
	}
	b := &batch{f: d.f, t: t, payloads: make(map[*manifest.Chunk][]byte)}
	defer b.free()
	_ = b.load(ctx, rows) // what is missing is read again, alone
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	namer := d.c.r.keys.Namer()
	out := make(map[catalog.Key][]byte)
	var bytes int64
	for i, row := range rows {
		content, err := d.decode(b, row, bases[catalog.KeyOf(needs[i])], deltas, namer)
		if err != nil && isUnusable(err) {
			again := &batch{f: d.f, t: t, payloads: b.payloads}
			if err = again.load(ctx, []*manifest.Chunk{row}); err == nil {
				content, err = d.decode(again, row, bases[catalog.KeyOf(needs[i])], deltas, namer)
			}
		}
		if err != nil {
			if !isUnusable(err) || ctx.Err() != nil {
				return nil, err
			}
			d.fail(kept[i], err)
			continue
		}
		if deltas {
			bytes += int64(row.Stored)
		}
		if _, twice := out[kept[i].ID]; kept[i].Inner && !twice {
			out[kept[i].ID] = content
		} else {
			d.c.r.buffers.put(content)
		}
	}
	d.mu.Lock()
	if deltas {
		d.verified += len(rows)
	}
	d.mu.Unlock()
	d.c.mu.Lock()
	d.c.report.BytesRead += b.read
	d.c.mu.Unlock()
	d.c.progress(bytes)
	return out, nil
}

func (d *deltaCheck) decode(b *batch, row *manifest.Chunk, base []byte, delta bool, namer *digest.Hasher) ([]byte, error) {
	payload := b.payloads[row]
	if payload == nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, errNotLoaded)
	}
	r := d.c.r
	var content []byte
	var err error
	if row.Encoding == index.Delta && delta {
		content, _, err = b.apply(base, []*manifest.Chunk{row})
	} else {
		content, err = r.dec.Decode(r.buffers.get(int(row.Raw)+compress.Slack), payload, row.Encoding, int(row.Raw))
	}
	if err != nil {
		return nil, decodeError(err)
	}
	if namer.Sum(content) != row.ID {
		r.buffers.put(content)
		return nil, fmt.Errorf("%w: content does not match the chunk's name", ErrDamaged)
	}
	return content, nil
}

// fail takes note of a copy that cannot be read, or not be decoded.
func (d *deltaCheck) fail(x catalog.Node, err error) {
	if err == nil {
		err = fmt.Errorf("%w: it is not in the pack's list", ErrDamaged)
	}
	d.mu.Lock()
	d.bad = append(d.bad, x)
	d.mu.Unlock()
	if isNotExist(err) {
		return // collected meanwhile
	}
	d.c.blame(packKey(d.c.cat.Packs[x.Pack].ID), fmt.Sprintf("a chunk that is stored as a difference cannot be decoded: %v", err), nil)
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if d.c.bad[x.Pack] == nil && !errors.Is(err, ErrNewer) {
		d.c.bad[x.Pack] = err
		d.c.results.add(d.c.cat.Packs[x.Pack].ID, d.c.now, false)
	}
}

// maxCheckDirectories bounds the directories that are kept; each has some hundred entries.
// Chains lead to as many packs as they are deep.
const maxCheckDirectories = 256

// directory reads what a pack holds.
func (c *checker) directory(ctx context.Context, n int) (*directory, error) {
	p := &c.cat.Packs[n]
	dir, err := c.r.directoryOf(ctx, p.ID, p.Size)
	if err != nil {
		return nil, err
	}
	return newDirectory(&dir), nil
}
